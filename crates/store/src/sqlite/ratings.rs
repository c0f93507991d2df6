//! Answers that somebody has rated.

use rusqlite::{Connection, Row};

use super::instant;
use crate::{Error, Rated, Rating};

/// With the question before each, oldest first; what has expired by `now` is left out.
pub(super) fn read(connection: &Connection, now: i64) -> Result<Vec<Rated>, Error> {
    let sql = "SELECT owner, rating, at, text,
                   (SELECT text FROM turns AS asked
                    WHERE asked.session = turns.session AND asked.number < turns.number AND asked.role = 'user'
                    ORDER BY asked.number DESC LIMIT 1)
               FROM turns JOIN sessions ON sessions.number = turns.session
               WHERE rating IS NOT NULL AND expires_at > ?1
               ORDER BY at";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([now], rated)?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// `None` for what only a later version can have written.
fn rated(row: &Row<'_>) -> rusqlite::Result<Option<Rated>> {
    let Some(rating) = Rating::parse(&row.get::<_, String>(1)?) else { return Ok(None) };
    Ok(Some(Rated {
        owner: row.get(0)?,
        rating,
        at: instant(row.get(2)?),
        answer: row.get(3)?,
        question: row.get(4)?,
    }))
}
