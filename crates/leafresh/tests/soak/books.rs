//! What was seen of every stream, by whomever: the same number has to say the same to all.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard};

use serde_json::Value;

use crate::support::Event;

#[derive(Default)]
pub(crate) struct Books(Mutex<Pages>);

#[derive(Default)]
struct Pages {
    streams: HashMap<String, Page>,
    wrong: Vec<String>,
}

#[derive(Default)]
struct Page {
    /// Text or finished challenge, by number.
    said: BTreeMap<u64, Said>,
    end: Option<(String, Value)>,
}

#[derive(Debug, PartialEq)]
enum Said {
    Text(String),
    Challenge,
}

impl Books {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap()
    }

    /// Notes an event, and whether it contradicts what was seen before.
    pub(crate) fn note(&self, event: &Event) {
        let mut pages = self.pages();
        let Pages { streams, wrong } = &mut *pages;
        let page = streams.entry(event.stream().to_owned()).or_default();
        if event.is_terminal() {
            // Dialects differ in the message, not in the data.
            let end = (event.name.clone(), event.data["data"].clone());
            match &page.end {
                Some(known) if *known != end => {
                    wrong.push(format!("two ends of {}: {known:?}, {end:?}", event.id));
                }
                _ => page.end = Some(end),
            }
            return;
        }
        let said = match (event.text(), event.name.as_str()) {
            (Some(text), _) => Said::Text(text.to_owned()),
            (None, "challenge") => Said::Challenge,
            _ => return, // `progress` and `complete` have no number of their own
        };
        let number = event.number().parse().unwrap();
        match page.said.get(&number) {
            Some(known) if *known != said => wrong.push(format!("{}: {known:?}, then {said:?}", event.id)),
            _ => _ = page.said.insert(number, said),
        }
    }

    pub(crate) fn streams(&self) -> usize {
        self.pages().streams.len()
    }

    pub(crate) fn ended(&self, name: &str) -> usize {
        let pages = self.pages();
        pages.streams.values().filter(|page| page.end.as_ref().is_some_and(|(end, _)| end == name)).count()
    }

    /// What contradicts itself: two readers of one event, or texts and the object at the end.
    pub(crate) fn wrong_texts(&self) -> Vec<String> {
        let pages = self.pages();
        let unlike = pages
            .streams
            .iter()
            .filter_map(|(id, page)| page.unlike_its_end().map(|how| format!("{id}: {how}")));
        pages.wrong.iter().cloned().chain(unlike).collect()
    }
}

impl Page {
    fn unlike_its_end(&self) -> Option<String> {
        let (name, data) = self.end.as_ref()?;
        let last = self.said.keys().next_back().copied().unwrap_or(0);
        // Seen in part, or by readers of a dialect without some events.
        if name != "close" || data.is_null() || self.said.len() as u64 != last {
            return None;
        }
        let mut expected = data["recommend"].as_str()?.to_owned();
        for (index, challenge) in data["challenges"].as_array()?.iter().enumerate() {
            let part = |key: &str| challenge[key].as_str().unwrap_or_default().to_owned();
            let number = (index + 1).to_string();
            expected.extend(["\n\n", &number, ". ", &part("title"), "\n", &part("description")]);
        }
        let said = self.said.values().filter_map(|said| match said {
            Said::Text(text) => Some(text.as_str()),
            Said::Challenge => None,
        });
        let said: String = said.collect();
        (said != expected).then(|| format!("{said:?} is not {expected:?}"))
    }
}
