//! `.env`, which other programs may use as well: what can't be read of it is passed over, and named by its line only.

use std::path::Path;

/// Lines that one value in quotes may have.
const LONGEST_VALUE: usize = 64;

/// The variables of the file, and what to say in the log. No file is no variables.
pub(super) fn read(path: &Path) -> (Vec<(String, String)>, Vec<String>) {
    match std::fs::read(path) {
        Ok(bytes) => parse(&String::from_utf8_lossy(&bytes), &path.display().to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Default::default(),
        Err(error) => (Vec::new(), vec![format!("{}: {error}; it is passed over", path.display())]),
    }
}

fn parse(text: &str, name: &str) -> (Vec<(String, String)>, Vec<String>) {
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
    let (mut good, mut notes) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < lines.len() {
        let most = LONGEST_VALUE.min(lines.len() - at);
        // A value in quotes may go on over several lines.
        match (1..=most).find(|&count| pairs(&lines[at..at + count]).is_some()) {
            Some(count) => {
                good.extend(&lines[at..at + count]);
                at += count;
            }
            None => {
                at += 1;
                notes.push(format!(
                    "{name}, line {at}: no NAME=value, so it is passed over; a value with spaces needs quotes"
                ));
            }
        }
    }
    // All together: a value may name an earlier variable.
    (pairs(&good).unwrap_or_default(), notes)
}

fn pairs(lines: &[&str]) -> Option<Vec<(String, String)>> {
    dotenvy::from_read_iter(lines.join("\n").as_bytes()).collect::<Result<_, _>>().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field report 5.
    #[test]
    fn lines_that_can_not_be_read_are_named_by_their_number_and_the_rest_counts() {
        let text = "\u{feff}LEAFRESH_A=1\r\nSMTP_FROM=Leaf Fresh Team\n\n# note\nKEY=\"two\nlines\"\nLEAFRESH_B=${LEAFRESH_A}2\n\
                    OPEN=\"secret\nLEAFRESH_C=3\n";
        let (variables, notes) = parse(text, ".env");
        let expected =
            [("LEAFRESH_A", "1"), ("KEY", "two\nlines"), ("LEAFRESH_B", "12"), ("LEAFRESH_C", "3")];
        let expected: Vec<(String, String)> =
            expected.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        assert_eq!(variables, expected);
        assert_eq!(notes.len(), 2, "{notes:?}");
        for (note, line) in notes.iter().zip(["line 2", "line 8"]) {
            assert!(note.starts_with(&format!(".env, {line}:")), "{note}");
            assert!(!note.contains("Team") && !note.contains("secret"), "{note}");
        }
    }

    /// Field report 5.
    #[test]
    fn a_file_that_can_not_be_read_is_a_note_and_none_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (variables, notes) = read(dir.path());
        assert!(variables.is_empty() && notes.len() == 1, "{notes:?}");
        assert_eq!(read(&dir.path().join("none")), (Vec::new(), Vec::new()));
        let file = dir.path().join("bytes");
        std::fs::write(&file, b"A=\xff\nLEAFRESH_B=2\n").unwrap();
        assert_eq!(read(&file).0.last().unwrap().1, "2");
    }
}
