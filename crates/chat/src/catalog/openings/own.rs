//! Sentences that repeat somebody's own words for their place and work: `{place}에서`, `{work:이라면}`.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Person;

/// What of a person's own words is put into a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Words {
    Place,
    Work,
}

impl Words {
    pub(super) fn of<'a>(self, person: &'a Person<'_>) -> Option<&'a str> {
        match self {
            Self::Place => person.own_place,
            Self::Work => person.own_work.as_deref(),
        }
    }
}

/// Of a person's own words as they might be.
pub(super) fn example() -> Person<'static> {
    Person {
        own_place: Some("산골 마을"), own_work: Some("카페 운영자".into()), ..Person::default()
    }
}

/// A sentence, cut where own words come.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Sentence {
    pattern: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// With the particle behind it, as it is after a consonant.
    Own(Words, Option<Particle>),
}

/// A particle after a consonant, and after a vowel.
type Particle = (&'static str, &'static str);

/// Longer ones first would not matter: they are compared as a whole.
const PARTICLES: [Particle; 8] = [
    ("이라면", "라면"),
    ("이라도", "라도"),
    ("이라는", "라는"),
    ("은", "는"),
    ("이", "가"),
    ("을", "를"),
    ("과", "와"),
    ("으로", "로"),
];

impl Sentence {
    pub(super) fn pattern(&self) -> &str {
        &self.pattern
    }

    pub(super) fn repeats(&self) -> BTreeSet<Words> {
        let own = |part: &Part| if let Part::Own(words, _) = part { Some(*words) } else { None };
        self.parts.iter().filter_map(own).collect()
    }

    pub(super) fn said(&self, person: &Person<'_>) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Own(words, particle) => {
                let words = words.of(person).unwrap_or_default();
                format!("{words}{}", particle.map_or("", |particle| fitting(words, particle)))
            }
        };
        self.parts.iter().map(part).collect()
    }
}

/// The form of a particle that comes after these words.
fn fitting(words: &str, (after_consonant, after_vowel): Particle) -> &'static str {
    match sound(words) {
        Sound::Vowel => after_vowel,
        // "으로" loses its vowel after it too.
        Sound::Rieul if after_vowel == "로" => after_vowel,
        Sound::Rieul | Sound::Consonant => after_consonant,
    }
}

/// What a word ends with when it is read aloud.
enum Sound {
    Vowel,
    Rieul,
    Consonant,
}

/// Letters and digits are read by their names: "PM" is 피엠, "3" is 삼.
fn sound(words: &str) -> Sound {
    const HANGUL: std::ops::RangeInclusive<char> = '가'..='힣';
    const FINALS: u32 = 28;
    const RIEUL: u32 = 8;
    let last = words.chars().rfind(|c| c.is_alphanumeric()).map(|last| last.to_ascii_uppercase());
    match last {
        Some(last) if HANGUL.contains(&last) => match (u32::from(last) - u32::from(*HANGUL.start())) % FINALS
        {
            0 => Sound::Vowel,
            RIEUL => Sound::Rieul,
            _ => Sound::Consonant,
        },
        Some('L' | 'R' | '1' | '7' | '8') => Sound::Rieul,
        Some('M' | 'N' | '0' | '3' | '6') => Sound::Consonant,
        _ => Sound::Vowel,
    }
}

impl TryFrom<String> for Sentence {
    type Error = String;

    fn try_from(pattern: String) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = pattern.as_str();
        while let Some((text, more)) = rest.split_once('{') {
            let (inside, after) =
                more.split_once('}').ok_or_else(|| format!("a `{{` without its `}}`: {pattern}"))?;
            let (name, particle) = match inside.split_once(':') {
                Some((name, particle)) => (name, Some(particle)),
                None => (inside, None),
            };
            let words = match name {
                "place" => Words::Place,
                "work" => Words::Work,
                _ => return Err(format!("there is no `{{{name}}}`; known are `place`, `work`: {pattern}")),
            };
            let known =
                |text: &str| PARTICLES.into_iter().find(|(after_consonant, _)| *after_consonant == text);
            let particle = match particle {
                Some(text) => Some(known(text).ok_or_else(|| {
                    let known = PARTICLES.map(|(after_consonant, _)| after_consonant).join(", ");
                    format!("`{text}` is no particle; known are {known}: {pattern}")
                })?),
                None => None,
            };
            parts.extend([Part::Text(text.to_owned()), Part::Own(words, particle)]);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self { pattern, parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn particles_follow_the_words() {
        for (words, particle, expected) in [
            ("학생", "이라면", "학생이라면"),
            ("간호사", "이라면", "간호사라면"),
            ("카페 운영", "은", "카페 운영은"),
            ("농사", "은", "농사는"),
            ("서울", "으로", "서울로"),
            ("부산", "으로", "부산으로"),
            ("제주", "으로", "제주로"),
            ("경찰", "을", "경찰을"),
            ("기자", "과", "기자와"),
            ("군인", "과", "군인과"),
            ("프리랜서", "이", "프리랜서가"),
            ("은행원", "이", "은행원이"),
            ("의사", "이라도", "의사라도"),
            ("IT", "이", "IT가"),
            ("지원팀 PM", "이", "지원팀 PM이"),
            ("지원팀 HR", "으로", "지원팀 HR로"),
            ("영업(부산)", "을", "영업(부산)을"),
            ("교대 3", "으로", "교대 3으로"),
            ("교대 7", "으로", "교대 7로"),
            ("교대 2", "과", "교대 2와"),
        ] {
            let sentence = Sentence::try_from(format!("{{work:{particle}}} 쉬어요.")).unwrap();
            let person = Person { own_work: Some(words.into()), ..Person::default() };
            assert_eq!(sentence.said(&person), format!("{expected} 쉬어요."));
        }
    }

    #[test]
    fn what_is_put_in_is_known_at_once() {
        let sentence = Sentence::try_from("{place}에서 지내는 {work:이라면} 좋아요.".to_owned()).unwrap();
        assert_eq!(sentence.repeats(), BTreeSet::from([Words::Place, Words::Work]));
        assert_eq!(sentence.said(&example()), "산골 마을에서 지내는 카페 운영자라면 좋아요.");
        for (pattern, reason) in [
            ("{name}님", "no `{name}`"),
            ("{work:이고}", "no particle"),
            ("{work", "without its `}`"),
            ("{}", "no `{}`"),
        ] {
            let error = Sentence::try_from(pattern.to_owned()).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
