//! The layout of the file, and how an older one becomes the present one.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::Error;

/// Written into the file's header, so that `file` and we know whose it is: "Leaf".
pub(crate) const APPLICATION_ID: i32 = 0x4c65_6166;

/// Each takes the layout one version further; the file's `user_version` says how many it has seen. Never change one
/// that was released: add another.
pub(crate) const MIGRATIONS: &[&str] = &[
    // 1. Times are milliseconds since 1970. A session's turns and documents go with it.
    "CREATE TABLE sessions (
         number INTEGER PRIMARY KEY,
         owner TEXT NOT NULL,
         id TEXT NOT NULL,
         base_category TEXT NOT NULL,
         category TEXT NOT NULL,
         location TEXT,
         work_type TEXT,
         expires_at INTEGER NOT NULL,
         UNIQUE (owner, id)
     ) STRICT;
     CREATE INDEX sessions_by_expiry ON sessions (expires_at);
     CREATE TABLE turns (
         session INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
         number INTEGER NOT NULL,
         role TEXT NOT NULL,
         text TEXT NOT NULL,
         at INTEGER NOT NULL,
         PRIMARY KEY (session, number)
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE offered (
         session INTEGER NOT NULL REFERENCES sessions (number) ON DELETE CASCADE,
         document TEXT NOT NULL,
         number INTEGER NOT NULL,
         PRIMARY KEY (session, document)
     ) STRICT, WITHOUT ROWID;",
    // 2. Which of an owner's sessions were used last.
    "CREATE INDEX sessions_by_owner ON sessions (owner, expires_at);",
    // 3. The adapter that a conversation is written with.
    "ALTER TABLE sessions ADD COLUMN adapter TEXT;",
    // 4. What people think of an answer, which is known by the name under which they got it.
    "ALTER TABLE turns ADD COLUMN answer TEXT;
     ALTER TABLE turns ADD COLUMN rating TEXT;",
];

/// Brings the file's layout up to the end of `migrations`, each step whole or not at all.
pub(crate) fn migrate(connection: &mut Connection, path: &Path, migrations: &[&str]) -> Result<(), Error> {
    let version = |connection: &Connection| -> Result<usize, Error> {
        Ok(connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))? as usize)
    };
    let found = version(connection)?;
    if found > migrations.len() {
        return Err(Error::Newer { path: path.to_owned(), found, known: migrations.len() });
    }
    for (index, step) in migrations.iter().enumerate().skip(found) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have been faster.
        if version(&transaction)? == index {
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "user_version", index + 1)?;
            transaction.commit()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(connection: &Connection) -> usize {
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0)).unwrap() as usize
    }

    #[test]
    fn an_older_file_is_brought_up_to_date_and_keeps_its_rows() {
        let mut connection = Connection::open_in_memory().unwrap();
        let path = Path::new("x");
        let steps =
            ["CREATE TABLE a (x); INSERT INTO a VALUES (1);", "ALTER TABLE a ADD COLUMN y DEFAULT 2;"];
        migrate(&mut connection, path, &steps[..1]).unwrap();
        assert_eq!(version(&connection), 1);
        migrate(&mut connection, path, &steps).unwrap();
        migrate(&mut connection, path, &steps).unwrap();
        let sum: i64 = connection.query_row("SELECT x + y FROM a", [], |row| row.get(0)).unwrap();
        assert_eq!((version(&connection), sum), (2, 3));
    }

    #[test]
    fn conversations_of_the_second_layout_are_kept_and_can_be_gone_on_with() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, Path::new("x"), &MIGRATIONS[..2]).unwrap();
        let session = "INSERT INTO sessions VALUES (1, '', 'a', 'VEGAN', 'VEGAN', NULL, NULL, 9)";
        connection.execute_batch(session).unwrap();
        connection.execute_batch("INSERT INTO turns VALUES (1, 1, 'user', 'question', 5)").unwrap();
        migrate(&mut connection, Path::new("x"), MIGRATIONS).unwrap();
        let sql = "SELECT text, answer IS NULL AND rating IS NULL FROM turns";
        let row = connection.query_row(sql, [], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)));
        assert_eq!(row.unwrap(), ("question".into(), true));
    }

    #[test]
    fn a_step_that_fails_leaves_the_layout_before_it() {
        let mut connection = Connection::open_in_memory().unwrap();
        let steps = ["CREATE TABLE a (x);", "CREATE TABLE b (x); CREATE TABLE a (x);"];
        assert!(migrate(&mut connection, Path::new("x"), &steps).is_err());
        assert_eq!(version(&connection), 1);
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1);
    }

    #[test]
    fn a_file_of_a_newer_version_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 7).unwrap();
        let error = migrate(&mut connection, Path::new("x.db"), MIGRATIONS).unwrap_err().to_string();
        assert!(error.contains("x.db") && error.contains("layout 7"), "{error}");
    }
}
