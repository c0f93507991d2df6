//! Texts that end a slot: found across tokens, and never shown, not even their beginning.

/// Looks for a slot's stopping texts while it is written. What may be the beginning of one is held back.
#[derive(Debug, Default)]
pub(crate) struct Stops {
    texts: Vec<String>,
    held: String,
    met: bool,
}

impl Stops {
    /// None of the texts is empty.
    pub(crate) fn new(texts: &[String]) -> Self {
        Self { texts: texts.to_vec(), ..Self::default() }
    }

    /// What can be shown, now that `text` is written.
    pub(crate) fn push(&mut self, text: String) -> String {
        if self.texts.is_empty() {
            return text;
        }
        if self.met {
            return String::new();
        }
        self.held.push_str(&text);
        if let Some(at) = self.first() {
            self.met = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let begun = self.held.split_off(self.held.len() - self.begun());
        std::mem::replace(&mut self.held, begun)
    }

    /// The slot has ended, with `text` as the last of it: what can be shown still.
    pub(crate) fn finish(&mut self, text: String) -> String {
        self.push(text) + &std::mem::take(&mut self.held)
    }

    /// One of the texts is there: the slot has ended before it.
    pub(crate) fn is_met(&self) -> bool {
        self.met
    }

    /// Where the text begins that was complete first.
    fn first(&self) -> Option<usize> {
        let found = |stop: &String| self.held.find(stop.as_str()).map(|at| (at + stop.len(), at));
        self.texts.iter().filter_map(found).min().map(|(_, at)| at)
    }

    /// How many bytes at the end of what is held begin one of the texts.
    fn begun(&self) -> usize {
        let begins = |stop: &String| {
            let mut ends = stop.char_indices().map(|(at, _)| at).rev();
            ends.find(|&end| self.held.ends_with(&stop[..end])).unwrap_or(0)
        };
        self.texts.iter().map(begins).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stops(texts: &[&str]) -> Stops {
        Stops::new(&texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    fn written(stops: &mut Stops, pieces: &[&str]) -> (Vec<String>, String) {
        let shown = pieces.iter().map(|&piece| stops.push(piece.to_owned())).collect();
        (shown, stops.finish(String::new()))
    }

    #[test]
    fn the_beginning_of_a_stop_is_held_until_it_is_none() {
        let (shown, rest) = written(&mut stops(&["\nUser:"]), &["a", "\n", "Us", "b\n", "User", ": c"]);
        assert_eq!((shown, &*rest), (["a", "", "", "\nUsb", "", ""].map(String::from).to_vec(), ""));
        let (shown, rest) = written(&mut stops(&["끝."]), &["시작", "끝"]);
        assert_eq!((shown, &*rest), (["시작", ""].map(String::from).to_vec(), "끝"));
        assert_eq!(written(&mut stops(&[]), &["끝"]).0, ["끝"]);
    }

    #[test]
    fn of_several_the_one_that_is_complete_first_counts() {
        let mut stops = stops(&["abc", "b"]);
        assert_eq!(stops.push("xabc".into()), "xa");
        assert!(stops.is_met());
        assert_eq!((stops.push("more".into()), stops.finish("!".into())), (String::new(), String::new()));
    }

    proptest! {
        /// However the text is cut, what is shown is the text before the stop that is complete first.
        #[test]
        fn fuzz_what_is_shown_does_not_depend_on_the_tokens(
            text in "[ab가]{0,20}",
            stops in proptest::collection::vec("[ab가]{1,3}", 0..4),
        ) {
            let whole = |pieces: &mut dyn Iterator<Item = String>| {
                let mut found = Stops::new(&stops);
                let mut shown: String = pieces.map(|piece| found.push(piece)).collect();
                shown += &found.finish(String::new());
                (shown, found.is_met())
            };
            let by_character = whole(&mut text.chars().map(String::from));
            prop_assert_eq!(&by_character, &whole(&mut [text.clone()].into_iter()));
            let (shown, met) = by_character;
            prop_assert!(text.starts_with(&shown) && !stops.iter().any(|stop| shown.contains(stop.as_str())));
            prop_assert_eq!(met, stops.iter().any(|stop| text.contains(stop.as_str())));
            prop_assert!(met || shown == text);
        }
    }
}
