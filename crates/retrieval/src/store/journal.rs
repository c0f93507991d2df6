//! What counts as indexed in a folder: one line for each point that was added or removed, written after the shard is on
//! the disk. A crash in between leaves points that don't count, and those are removed at the next start.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{PointId, Record};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Add(Record),
    Remove(PointId),
    /// Everything up to here counts. What follows the last of these was never finished.
    Commit,
}

/// The records of an index, in memory and on the disk.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    records: HashMap<PointId, Record>,
    lines: usize,
}

/// Lines beyond those that the records need before the file is written anew.
const SPARE_LINES: usize = 10_000;

impl Journal {
    /// Reads what there is, or begins with nothing. What was not finished is dropped.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let (records, lines, end) = replay(&text);
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        if end < text.len() {
            file.set_len(end as u64)?;
            file.sync_all()?;
        }
        let mut journal = Self { path: path.to_owned(), file, records, lines };
        if journal.lines > 2 * journal.records.len() + SPARE_LINES {
            journal.rewrite()?;
        }
        Ok(journal)
    }

    pub(super) fn records(&self) -> &HashMap<PointId, Record> {
        &self.records
    }

    /// Writes one step down; when this returns it is on the disk.
    pub(super) fn commit(&mut self, added: Vec<Record>, removed: &[PointId]) -> io::Result<()> {
        let mut text = Vec::new();
        for record in &added {
            write_line(&mut text, &Line::Add(record.clone()))?;
        }
        for &id in removed {
            write_line(&mut text, &Line::Remove(id))?;
        }
        write_line(&mut text, &Line::Commit)?;
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a step behind which a later one would be appended: both would be read as one.
            self.file.set_len(before)?;
            return Err(error);
        }
        self.lines += added.len() + removed.len() + 1;
        self.records.extend(added.into_iter().map(|record| (record.id, record)));
        for id in removed {
            self.records.remove(id);
        }
        Ok(())
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let mut text = Vec::new();
        for record in self.records.values() {
            write_line(&mut text, &Line::Add(record.clone()))?;
        }
        write_line(&mut text, &Line::Commit)?;
        write_whole(&self.path, &text)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.lines = self.records.len() + 1;
        Ok(())
    }
}

/// The records that count in a journal, without touching it; none where there is no journal.
pub(super) fn read(path: &Path) -> io::Result<Vec<Record>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    Ok(replay(&text).0.into_values().collect())
}

/// Records, lines, and how many bytes of the text count.
fn replay(text: &[u8]) -> (HashMap<PointId, Record>, usize, usize) {
    let (mut records, mut lines, mut end, mut position) = (HashMap::new(), 0, 0, 0);
    let mut step = Vec::new();
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        position += line.len();
        // A line that was cut off, or never reached the disk: nothing behind it counts either. One without its end would
        // be joined with the next one.
        let Some(Ok(line)) = line.strip_suffix(b"\n").map(serde_json::from_slice) else { break };
        lines += 1;
        if !matches!(line, Line::Commit) {
            step.push(line);
            continue;
        }
        end = position;
        for line in step.drain(..) {
            match line {
                Line::Add(record) => records.insert(record.id, record),
                Line::Remove(id) => records.remove(&id),
                Line::Commit => None,
            };
        }
    }
    (records, lines, end)
}

fn write_line(text: &mut Vec<u8>, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}

/// Replaces a file by a whole new one: under a temporary name, on the disk, then renamed.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: u128) -> Record {
        Record { id: PointId(id), fingerprint: format!("{id}"), origins: ["a".to_owned()].into() }
    }

    fn ids(journal: &Journal) -> Vec<u128> {
        let mut ids: Vec<u128> = journal.records().keys().map(|id| id.0).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn a_journal_cut_at_any_byte_holds_whole_steps_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        journal.commit(vec![record(1), record(2)], &[]).unwrap();
        let first = std::fs::metadata(&path).unwrap().len() as usize;
        journal.commit(vec![record(3)], &[PointId(1)]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut journal = Journal::open(&path).unwrap();
            let expected = match cut {
                _ if cut == whole.len() => vec![2, 3],
                _ if cut >= first => vec![1, 2],
                _ => vec![],
            };
            assert_eq!(ids(&journal), expected, "cut at {cut}");
            journal.commit(vec![record(9)], &[]).unwrap();
            let again = Journal::open(&path).unwrap();
            assert_eq!(ids(&again), [expected, vec![9]].concat(), "cut at {cut}, then one more");
        }
    }

    #[test]
    fn a_line_of_zeros_left_by_a_crash_ends_what_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        Journal::open(&path).unwrap().commit(vec![record(1)], &[]).unwrap();
        let mut text = std::fs::read(&path).unwrap();
        text.extend([0; 100]);
        std::fs::write(&path, text).unwrap();
        assert_eq!(ids(&Journal::open(&path).unwrap()), [1]);
    }

    #[test]
    fn a_journal_of_things_long_gone_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = Journal::open(&path).unwrap();
        for _ in 0..3 {
            journal.commit((0..5000).map(record).collect(), &[]).unwrap();
        }
        let before = std::fs::metadata(&path).unwrap().len();
        assert_eq!(ids(&Journal::open(&path).unwrap()).len(), 5000);
        journal = Journal::open(&path).unwrap();
        journal.commit((0..8000).map(record).collect(), &[]).unwrap();
        journal.commit((0..8000).map(record).collect(), &[]).unwrap();
        journal.commit(Vec::new(), &(1..8000).map(PointId).collect::<Vec<_>>()).unwrap();
        assert_eq!(ids(&Journal::open(&path).unwrap()), [0]);
        assert!(std::fs::metadata(&path).unwrap().len() < before / 100);
    }
}
