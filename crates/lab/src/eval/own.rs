//! Whether answers open sensibly for people who say in their own words where they live and work, whatever they wrote.
//!
//! By rules that share nothing with what makes the openings: an opening has to be one that the catalogue's authors wrote, with
//! nothing put into it but words that a reader would repeat, and with the particles that these words ask for.

use std::collections::BTreeSet;

use leafresh_chat::{BaseInfo, Catalog, Files, Recommender};
use serde::Deserialize;

use super::alphabet::Alphabet;
use super::data::lines_of;
use super::measures::Measure;

/// Labelled by reading. A catalogue may go without.
pub(super) const OWN: &str = "eval/own.jsonl";

/// A place and a kind of work in somebody's own words.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    place: String,
    work: String,
    /// What whoever does this is called, where the work isn't such a word.
    called: Option<String>,
    /// Its code.
    category: String,
    /// What of them a reader would repeat.
    repeat: BTreeSet<Words>,
    /// Nobody lives or works there.
    #[serde(default)]
    odd: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Words {
    Place,
    Work,
}

/// Characters of an opening, at most: the catalogue's own have 80, and two short phrases come into them.
const LONGEST: usize = 120;

/// The figures, and what isn't sensible.
///
/// # Errors
/// With file and line, when the labelled data can't be used.
pub(super) fn measure(
    files: &Files,
    catalog: &Catalog,
    recommender: &Recommender,
) -> anyhow::Result<(Vec<Measure>, Vec<String>)> {
    let alphabet = Alphabet::of(catalog);
    let (mut sensible, mut spoken_to, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for (_, line) in lines_of::<Line>(files, OWN)? {
        let patterns: Vec<&str> = catalog.opening_patterns(&line.category).collect();
        let asked = |place: &str, work: &str| BaseInfo {
            location: place.to_owned(),
            work_type: work.to_owned(),
            category: line.category.clone(),
            ..BaseInfo::default()
        };
        let openings = recommender.openings(&asked(&line.place, &line.work));
        let faults = openings.iter().filter_map(|opening| {
            let fault = line.fault(opening, &patterns, &alphabet)?;
            Some(format!("own: {:?}, {:?}: {fault}: {opening}", line.place, line.work))
        });
        let before = wrong.len();
        wrong.extend(faults);
        sensible.push(!openings.is_empty() && wrong.len() == before);
        if !line.odd && !line.repeat.is_empty() {
            let for_all = recommender.openings(&asked("", ""));
            spoken_to.push(openings.iter().all(|opening| !for_all.contains(opening)));
        }
    }
    Ok((
        vec![
            Measure::share(
                "own_openings",
                sensible,
                "places and kinds of work in people's own words, odd ones among them, for which everything that an answer may open with is sensible",
            )
            .more(0.0)
            .goal(100.0),
            Measure::share(
                "own_spoken_to",
                spoken_to,
                "of those that say where somebody lives or works, those whose opening is for them, and not for all",
            )
            .more(2.0),
        ],
        wrong,
    ))
}

impl Line {
    fn words(&self, which: Words) -> &str {
        match which {
            Words::Place => &self.place,
            Words::Work => self.called.as_ref().unwrap_or(&self.work),
        }
    }

    /// What is wrong with an opening.
    fn fault(&self, opening: &str, patterns: &[&str], alphabet: &Alphabet) -> Option<String> {
        let Some(parts) =
            patterns.iter().map(|pattern| parts(pattern)).find(|parts| self.said(parts) == opening)
        else {
            return Some("no opening of the catalogue, or another particle than its words ask for".into());
        };
        let repeated: BTreeSet<Words> = parts
            .iter()
            .filter_map(|part| if let Part::Own(words, _) = part { Some(*words) } else { None })
            .collect();
        if let Some(words) = repeated.iter().find(|words| !self.repeat.contains(words)) {
            return Some(format!("repeats {:?}", self.words(*words)));
        }
        if let Some(words) = repeated.iter().map(|words| self.words(*words)).find(|words| !is_plain(words)) {
            return Some(format!("repeats signs, numbers or letters of {words:?}"));
        }
        let by_authors: String = parts
            .iter()
            .filter_map(|part| if let Part::Text(text) = part { Some(*text) } else { None })
            .collect();
        if let Some(stranger) = alphabet.strangers(&by_authors).first() {
            return Some(format!("outside the catalogue's alphabet: {stranger}"));
        }
        let words: Vec<&str> = opening.split(' ').collect();
        if let Some([twice, ..]) = words.windows(2).find(|pair| pair[0] == pair[1]) {
            return Some(format!("twice: {twice}"));
        }
        if opening.chars().count() > LONGEST {
            return Some("too long".into());
        }
        let ended = opening.strip_suffix(['.', '!', '?']).is_some_and(|text| text.ends_with(['요', '죠']));
        (!ended).then(|| "doesn't end as a sentence".into())
    }

    /// What the parts of an author's sentence say with these words put in.
    fn said(&self, parts: &[Part]) -> String {
        let said = |part: &Part| match part {
            Part::Text(text) => (*text).to_owned(),
            Part::Own(words, particle) => {
                let words = self.words(*words);
                format!("{words}{}", after(words, particle))
            }
        };
        parts.iter().map(said).collect()
    }
}

#[derive(Debug, PartialEq)]
enum Part<'a> {
    Text(&'a str),
    /// With the particle behind it as it is after a consonant, or nothing.
    Own(Words, &'a str),
}

/// Cuts an author's sentence where own words come: `{place}`, `{work:이라면}`.
fn parts(pattern: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    for (index, piece) in pattern.split('{').enumerate() {
        let text = match piece.split_once('}').filter(|_| index > 0) {
            Some((inside, text)) => {
                let (name, particle) = inside.split_once(':').unwrap_or((inside, ""));
                let words = if name == "place" { Words::Place } else { Words::Work };
                parts.push(Part::Own(words, particle));
                text
            }
            None => piece,
        };
        parts.push(Part::Text(text));
    }
    parts
}

/// How the last letter of words sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sound {
    Vowel,
    Rieul,
    Consonant,
}

/// As words are read aloud: "PM" is 피엠, "3" is 삼. Signs and brackets aren't.
fn sound(words: &str) -> Sound {
    const FIRST: u32 = '가' as u32;
    let Some(last) = words.chars().rev().find(|c| c.is_alphanumeric()) else { return Sound::Vowel };
    match last.to_ascii_uppercase() {
        '가'..='힣' => match (u32::from(last) - FIRST) % 28 {
            0 => Sound::Vowel,
            8 => Sound::Rieul,
            _ => Sound::Consonant,
        },
        '1' | '7' | '8' | 'L' | 'R' => Sound::Rieul,
        '0' | '3' | '6' | 'M' | 'N' => Sound::Consonant,
        _ => Sound::Vowel,
    }
}

/// The form of a particle, given as it is after a consonant, that these words ask for.
fn after<'a>(words: &str, particle: &'a str) -> &'a str {
    let sound = sound(words);
    match particle {
        "으로" if sound != Sound::Consonant => "로",
        _ if sound != Sound::Vowel => particle,
        "은" => "는",
        "이" => "가",
        "을" => "를",
        "과" => "와",
        "이라면" => "라면",
        "이라도" => "라도",
        "이라는" => "라는",
        _ => particle,
    }
}

/// Hangul, single digits, spaces, and short Latin words in capitals: no address, no number of anything, no markup.
fn is_plain(words: &str) -> bool {
    let runs = |of: fn(char) -> bool| words.split(move |c: char| !of(c)).map(str::len).max().unwrap_or(0);
    let known = |c: char| matches!(c, '가'..='힣' | '0'..='9' | 'A'..='Z' | ' ' | '(' | ')');
    words.chars().all(known) && runs(|c| c.is_ascii_digit()) <= 1 && runs(|c| c.is_ascii_uppercase()) <= 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(place: &str, work: &str, repeat: &[Words]) -> Line {
        let (place, work) = (place.to_owned(), work.to_owned());
        Line {
            place,
            work,
            called: None,
            category: "VEGAN".into(),
            repeat: repeat.iter().copied().collect(),
            odd: false,
        }
    }

    #[test]
    fn an_opening_is_an_authors_with_fitting_particles_and_words_that_may_be_repeated() {
        let catalog = Catalog::of(&Files::built_in()).unwrap();
        let alphabet = Alphabet::of(&catalog);
        let patterns = [
            "{place}에서 사는 {work:이라면} 좋아요.",
            "{work:으로} 지내도 괜찮죠.",
            "오늘은 쉬어요.",
            "끝이 없는 말",
        ];
        let both = [Words::Place, Words::Work];
        for (place, work, repeat, opening, fault) in [
            ("부산", "교사", &both[..], "부산에서 사는 교사라면 좋아요.", None),
            ("부산", "군인", &both, "부산에서 사는 군인이라면 좋아요.", None),
            ("부산", "군인", &both, "부산에서 사는 군인라면 좋아요.", Some("another particle")),
            ("부산", "교사", &both, "부산에서 사는 교사이라면 좋아요.", Some("another particle")),
            ("부산", "교사", &both, "부산에서는 교사라면 좋아요.", Some("no opening")),
            ("부산", "경찰", &both, "경찰로 지내도 괜찮죠.", None),
            ("부산", "군인", &both, "군인로 지내도 괜찮죠.", Some("another particle")),
            ("부산", "팀장(PM)", &both, "팀장(PM)으로 지내도 괜찮죠.", None),
            ("부산", "팀장(HR)", &both, "팀장(HR)로 지내도 괜찮죠.", None),
            ("부산", "교대 3", &both, "교대 3으로 지내도 괜찮죠.", None),
            ("부산", "교대 7", &both, "교대 7로 지내도 괜찮죠.", None),
            ("부산", "IT", &both, "IT로 지내도 괜찮죠.", None),
            ("부산", "교사", &[Words::Place], "교사로 지내도 괜찮죠.", Some("repeats \"교사\"")),
            ("부산", "<b>교사", &both, "<b>교사로 지내도 괜찮죠.", Some("signs")),
            ("부산", "교\u{200b}사", &both, "교\u{200b}사로 지내도 괜찮죠.", Some("signs")),
            ("부산", "교사 010", &both, "교사 010으로 지내도 괜찮죠.", Some("signs")),
            ("부산", "teacher", &both, "teacher로 지내도 괜찮죠.", Some("signs")),
            ("부산", "쉬는 쉬는 일", &both, "쉬는 쉬는 일로 지내도 괜찮죠.", Some("twice")),
            ("부산", "교사", &[], "오늘은 쉬어요.", None),
            ("부산", "교사", &[], "끝이 없는 말", Some("end")),
        ] {
            let found = line(place, work, repeat).fault(opening, &patterns, &alphabet);
            match (&found, fault) {
                (None, None) => {}
                (Some(found), Some(fault)) if found.contains(fault) => {}
                _ => panic!("{opening}: {found:?}, not {fault:?}"),
            }
        }
    }

    #[test]
    fn there_are_two_hundred_places_and_jobs_and_some_are_odd() {
        let files = Files::built_in();
        let catalog = Catalog::of(&files).unwrap();
        let lines: Vec<Line> = lines_of(&files, OWN).unwrap().into_iter().map(|(_, line)| line).collect();
        let different: BTreeSet<(&str, &str)> =
            lines.iter().map(|line| (&*line.place, &*line.work)).collect();
        assert_eq!((lines.len(), different.len()), (200, 200));
        assert_eq!(lines.iter().filter(|line| line.odd).count(), 60);
        for line in &lines {
            assert!(catalog.category(&line.category).is_some(), "{}", line.category);
            // What the contract takes.
            assert!([&line.place, &line.work].iter().all(|text| (1..=50).contains(&text.chars().count())));
            // A place or work of the catalogue's is known, not repeated.
            let known =
                [(Words::Place, catalog.place(&line.place)), (Words::Work, catalog.work_type(&line.work))];
            assert!(
                known.iter().all(|(words, term)| term.is_none() || !line.repeat.contains(words)),
                "{line:?}"
            );
        }
    }
}
