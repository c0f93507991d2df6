//! Server-sent events as they arrive (WHATWG HTML, 9.2): of each event its data.

/// More of one event than any server says in it.
const LONGEST: usize = 1 << 20;

/// Bytes in, whole events out, wherever the bytes were cut.
#[derive(Debug, Default)]
pub(crate) struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    any: bool,
}

impl Events {
    /// The data of all events that end in these bytes.
    ///
    /// # Errors
    /// A sentence, when an event is longer than any should be.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let mut events = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                if self.line.len() + self.data.len() > LONGEST {
                    return Err(format!("one event has more than {LONGEST} bytes"));
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(&line);
            if line.is_empty() {
                events.extend(std::mem::take(&mut self.any).then(|| std::mem::take(&mut self.data)));
            } else if let Some(data) = line.strip_prefix(b"data:") {
                if self.any {
                    self.data.push(b'\n');
                }
                self.any = true;
                self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            }
        }
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_wherever_the_bytes_were_cut() {
        let stream = ": keep-alive\n\nevent: x\ndata: {\"a\":\"가\"}\nid: 1\n\r\ndata:b\r\ndata:  c\r\n\r\n\n\ndata: [DONE]\n\ndata: cut";
        let expected = ["{\"a\":\"가\"}", "b\n c", "[DONE]"];
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let mut events = Events::default();
                let mut found = Vec::new();
                for part in [
                    &stream.as_bytes()[..first],
                    &stream.as_bytes()[first..second],
                    &stream.as_bytes()[second..],
                ] {
                    found.extend(events.push(part).unwrap());
                }
                let found: Vec<String> =
                    found.into_iter().map(|data| String::from_utf8(data).unwrap()).collect();
                assert_eq!(found, expected, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn an_event_without_an_end_is_given_up() {
        let mut events = Events::default();
        let piece = [b'x'; 4096];
        assert!((0..LONGEST / piece.len()).all(|_| events.push(&piece).is_ok()));
        assert!(events.push(&piece).is_err());
    }
}
