//! Reading a stream as the strictest client does.

use serde_json::Value;

/// A block of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: Value,
    pub(crate) retry: Option<String>,
    /// Comment lines in the block: keep-alives.
    pub(crate) comments: usize,
}

impl Event {
    /// The part of the id after the stream's name.
    pub(crate) fn number(&self) -> &str {
        self.id.split_once(':').unwrap().1
    }

    pub(crate) fn stream(&self) -> &str {
        self.id.split_once(':').unwrap().0
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.number() == "end"
    }

    /// The text in it, in either dialect.
    pub(crate) fn text(&self) -> Option<&str> {
        match self.name.as_str() {
            "challenge" => self.data["data"].as_str(),
            "token" => self.data["data"]["token"].as_str(),
            _ => None,
        }
    }
}

/// Spring's rule: lines are collected until an empty one. A block without event or data, a second terminal event and
/// any byte after the first one fail the test.
pub(crate) fn read(stream: &[u8]) -> Vec<Event> {
    read_in_chunks([stream])
}

/// The same for a stream that comes in pieces, cut anywhere.
pub(crate) fn read_in_chunks<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut reader = Reader::default();
    for chunk in chunks {
        reader.read(chunk);
    }
    assert!(reader.line.is_empty() && reader.block.is_empty(), "the stream ends inside a block");
    assert!(reader.events.last().is_some_and(Event::is_terminal), "no terminal event: {:?}", reader.events);
    reader.events
}

/// The whole events of a stream that is cut off anywhere.
pub(crate) fn read_begun(stream: &[u8]) -> Vec<Event> {
    let mut reader = Reader::default();
    reader.read(stream);
    reader.events
}

/// Reads a stream as it comes.
#[derive(Default)]
pub(crate) struct Reader {
    line: Vec<u8>,
    block: Vec<String>,
    pub(crate) events: Vec<Event>,
}

impl Reader {
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.byte(*byte);
        }
    }

    fn byte(&mut self, byte: u8) {
        assert!(
            !self.events.last().is_some_and(Event::is_terminal),
            "a byte after the terminal event: {byte:#04x}"
        );
        if byte != b'\n' {
            assert_ne!(byte, b'\r', "a carriage return is a line break for readers of events");
            self.line.push(byte);
            return;
        }
        let line = String::from_utf8(std::mem::take(&mut self.line)).expect("UTF-8");
        if line.is_empty() {
            let event = event(&std::mem::take(&mut self.block));
            self.events.push(event);
        } else {
            self.block.push(line);
        }
    }
}

fn event(lines: &[String]) -> Event {
    let all = |name: &str| -> Vec<&str> {
        lines.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
    };
    let one = |name: &str| -> String {
        let [value] = all(name)[..] else { panic!("a block needs exactly one {name}: {lines:?}") };
        value.to_owned()
    };
    let comments = lines.iter().filter(|line| line.starts_with(':')).count();
    let retry = all("retry").first().map(|retry| (*retry).to_owned());
    assert_eq!(lines.len(), 3 + comments + usize::from(retry.is_some()), "{lines:?}");
    let size: usize = lines.iter().map(|line| line.len() + 1).sum();
    assert!(size < 32 * 1024, "an event of {size} bytes");
    let data = serde_json::from_str(&one("data")).unwrap_or_else(|error| panic!("{error}: {lines:?}"));
    Event { id: one("id"), name: one("event"), data, retry, comments }
}
