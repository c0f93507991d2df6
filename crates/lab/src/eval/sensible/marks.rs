//! Reading a form that was filled in.

use super::form::{ANSWER, Check, MARK, Marked, Read, heading};

/// With the line, from 1.
type Fault = (usize, String);

/// The answers with their marks.
///
/// # Errors
/// With the line, when a mark is missing, or when anything but marks was changed.
pub(super) fn read(text: &str) -> Result<Vec<Read>, Fault> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().map(str::trim_end).enumerate().map(|(index, line)| (index + 1, line));
    let first = lines.next().map_or("", |(_, line)| line);
    let Some([answers, sentences, seed]) = numbers(first) else {
        return Err((
            1,
            format!("expected `{}`: is this a form of `leafresh eval --draw`?", heading(60, 400, 1)),
        ));
    };
    let mut reader = Reader { check: Check::new(seed), read: Vec::new(), sentence: None };
    // What explains the form ends where its first answer begins.
    let rest = lines.skip_while(|(_, line)| !line.starts_with(ANSWER)).filter(|(_, line)| !line.is_empty());
    let mut last = 1;
    for (number, line) in rest {
        last = number;
        reader.line(line).map_err(|reason| (number, reason))?;
    }
    if let Some(sentence) = &reader.sentence {
        return Err((last, format!("no `sensible …:` behind `{sentence}`")));
    }
    let found: u64 = reader.read.iter().map(|answer| answer.sentences.len() as u64).sum();
    if (reader.read.len() as u64, found) != (answers, sentences) {
        let reason = format!(
            "the form ends with {} answers and {found} sentences; its first line says {answers} and {sentences}",
            reader.read.len()
        );
        return Err((last, reason));
    }
    Ok(reader.read)
}

/// Answers, sentences and seed, where a line is the heading.
fn numbers(line: &str) -> Option<[u64; 3]> {
    let runs = line.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty());
    let numbers: Vec<u64> = runs.filter_map(|run| run.parse().ok()).collect();
    let &[answers, sentences, seed] = &numbers[..] else { return None };
    (line == heading(usize::try_from(answers).ok()?, usize::try_from(sentences).ok()?, seed))
        .then_some([answers, sentences, seed])
}

struct Reader {
    check: Check,
    read: Vec<Read>,
    /// Waits for its mark.
    sentence: Option<String>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        match (line.strip_prefix(ANSWER), line.strip_prefix(MARK), self.sentence.take()) {
            (Some(answer), _, None) => self.answer(answer),
            (None, Some(mark), Some(sentence)) => self.mark(mark, sentence),
            (None, Some(_), None) => Err("a mark without a sentence: the one above it is missing".into()),
            (None, None, None) => {
                self.sentence = Some(line.to_owned());
                Ok(())
            }
            (_, None, Some(sentence)) => {
                Err(format!("expected the `sensible …:` of `{sentence}`, found `{line}`"))
            }
            (Some(_), Some(_), Some(_)) => unreachable!("a line begins in one way"),
        }
    }

    fn answer(&mut self, line: &str) -> Result<(), String> {
        let next = self.read.len() + 1;
        let asked = line.strip_prefix(&format!("{next}. "));
        let asked = asked.ok_or_else(|| format!("expected answer {next}, found `{line}`"))?.to_owned();
        self.check.add(&asked);
        self.read.push(Read { asked, sentences: Vec::new() });
        Ok(())
    }

    fn mark(&mut self, mark: &str, text: String) -> Result<(), String> {
        self.check.add(&text);
        let (check, said) = mark.split_once(':').unwrap_or((mark, ""));
        if check != self.check.to_string() {
            return Err("what stands above this mark, or the mark, isn't as it was drawn; undo the change, or draw again".into());
        }
        let said = said.trim();
        let (word, remark) = said.split_once(|c: char| !c.is_alphanumeric()).unwrap_or((said, ""));
        let sensible = match word.to_ascii_lowercase().as_str() {
            "y" | "yes" => true,
            "n" | "no" => false,
            "" => return Err(format!("`{text}` isn't marked: write y or n behind the colon")),
            other => return Err(format!("expected y or n, found `{other}`")),
        };
        let Some(answer) = self.read.last_mut() else { return Err("a mark before the first answer".into()) };
        answer.sentences.push(Marked { text, sensible, remark: remark.trim().to_owned() });
        Ok(())
    }
}
