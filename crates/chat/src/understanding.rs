//! What is understood by words alone, without any model, and where a conversation stands with one: for measuring it.

use leafresh_store::Standing;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::answering::Meant;
use crate::catalog::Catalog;
use crate::guard::Refusal;
use crate::reading::{Reading, Reply, Wish};
use crate::words::{Term, plain};
use crate::{Error, Recommender};

/// What was understood of the last message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Understood {
    /// Why it gets a fixed reply, as far as lists tell.
    pub refusal: Option<Refusal>,
    /// Code of the category that it is about; and of those that are excluded.
    pub category: Option<String>,
    pub excluded: Vec<String>,
    /// Where the person says that they live and work: codes, or what they wrote.
    pub location: Option<String>,
    pub work_type: Option<String>,
    /// `consent`, `refusal`, `number` (which then is in `number`), `restore`, `another`; empty for anything else.
    pub says: &'static str,
    pub number: Option<usize>,
    /// Where the conversation stood before the message, and where it stands after it.
    pub before: Option<String>,
    pub after: String,
}

/// Reads a conversation that began in the category with the code `base`, or with its first message. Each message but the
/// last one is taken to have been answered with challenges.
///
/// # Panics
/// Without a message.
pub fn understand(catalog: &Catalog, base: Option<&str>, messages: &[&str]) -> Understood {
    let (last, earlier) = messages.split_last().expect("a conversation has a message");
    let mut rng = StdRng::seed_from_u64(0);
    let mut standing = base.map(|code| Standing {
        base_category: code.to_owned(),
        category: code.to_owned(),
        ..Standing::default()
    });
    for message in earlier {
        let reading = Reading::of(message, catalog);
        standing = Some(reading.apply(standing.as_ref(), None, catalog, &mut rng));
    }
    let reading = Reading::of(last, catalog);
    let refusal = Refusal::at_sight(last, &reading, !earlier.is_empty(), catalog);
    let after = reading.apply(standing.as_ref(), None, catalog, &mut rng).category;
    let (says, number) = says(&reading);
    Understood {
        refusal,
        category: reading.categories.into_iter().next(),
        excluded: reading.except,
        location: reading.location,
        work_type: reading.work_type,
        says,
        number,
        before: standing.map(|standing| standing.category),
        after,
    }
}

impl Understood {
    /// Whether just this place and this work are remembered: by code, or in words of which one text holds the other.
    pub fn remembers(&self, location: Option<&str>, work_type: Option<&str>, catalog: &Catalog) -> bool {
        let keywords = catalog.keywords();
        let same = |remembered: &Option<String>, wanted: Option<&str>, coded: &[(String, Term)]| match (
            remembered, wanted,
        ) {
            (None, None) => true,
            (Some(remembered), Some(wanted)) => {
                let (ours, theirs) = (plain(remembered), plain(wanted));
                ours.contains(&theirs)
                    || theirs.contains(&ours)
                    || keywords.words(wanted).coded(coded).iter().any(|(code, _)| *code == remembered)
            }
            _ => false,
        };
        same(&self.location, location, &keywords.places)
            && same(&self.work_type, work_type, &keywords.work_types)
    }
}

/// What it says to what was offered.
fn says(reading: &Reading) -> (&'static str, Option<usize>) {
    match (reading.reply, reading.wish) {
        (Some(Reply::Consent), _) => ("consent", None),
        (Some(Reply::Refusal), _) => ("refusal", None),
        (Some(Reply::Number(number)), _) => ("number", Some(number)),
        (None, Some(Wish::Restore)) => ("restore", None),
        (None, Some(Wish::Another)) if reading.categories.is_empty() => ("another", None),
        (None, _) => ("", None),
    }
}

impl Recommender {
    /// As [`understand`], with search and what is learned, as far as there is an embedding model: as it would be answered. What the
    /// gate says isn't asked.
    ///
    /// # Errors
    /// [`Error::Retrieval`] when a message can't be embedded.
    pub async fn understand(&self, base: Option<&str>, messages: &[&str]) -> Result<Understood, Error> {
        self.learn().await?;
        let mut rng = StdRng::seed_from_u64(0);
        let begun = |code: &str| Standing {
            base_category: code.to_owned(),
            category: code.to_owned(),
            ..Standing::default()
        };
        let mut understood = understand(&self.catalog, base, messages);
        let mut standing = base.map(begun);
        for (index, message) in messages.iter().enumerate() {
            let offered = base.is_some() || index > 0;
            let mut reading = Reading::of(message, &self.catalog);
            let vector = match &self.library.search {
                Some(search) if search.can_embed() => Some(search.embed(message).await?),
                _ => None,
            };
            let meant = self.meant(message, &reading, vector.as_ref(), offered);
            meant.amend(&mut reading);
            understood.before = standing.as_ref().map(|standing| standing.category.clone());
            (understood.says, understood.number) = match says(&reading) {
                ("", None) if meant.wishes().next().is_some() => ("another", None),
                said => said,
            };
            // What is answered in words moves nothing.
            let answered = reading.reply == Some(Reply::Consent)
                || reading.reply.is_none() && !meant.intents.is_empty() && meant.wishes().next().is_none();
            if answered && standing.is_some() {
                continue;
            }
            let nearest = if Self::looks_for_category(&reading, &meant, offered) {
                self.library.nearest_category(message, vector.as_ref(), meant.is_new).await
            } else {
                None
            };
            standing = Some(reading.apply(standing.as_ref(), nearest, &self.catalog, &mut rng));
        }
        understood.refusal = None;
        understood.after = standing.map(|standing| standing.category).unwrap_or_default();
        Ok(understood)
    }

    /// Whether a message may be about another category than its words name.
    pub(crate) fn looks_for_category(reading: &Reading, meant: &Meant, begun: bool) -> bool {
        reading.categories.is_empty()
            && !reading.is_about_conversation()
            && !(begun && (reading.follow_up && !meant.is_new || !meant.intents.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::Files;

    fn catalog() -> Catalog {
        Catalog::of(&Files::built_in()).unwrap()
    }

    /// Field report 28.
    #[test]
    fn innocent_messages_that_contain_syllables_of_insults_are_no_insults() {
        let catalog = catalog();
        for message in [
            "북극곰이 새끼를 키우기 어렵다는데 뭘 할 수 있을까",
            "화분 하나가 죽어가요",
            "상추씨발아가 안돼요",
            "물병신청하고 싶어요",
            "분리수거 쓰레기 챗봇 추천해줘",
        ] {
            assert_eq!(understand(&catalog, None, &[message]).refusal, None, "{message}");
        }
        let insult = understand(&catalog, None, &["야 이 씨발아"]).refusal;
        assert_eq!(insult, Some(Refusal::Insult));
    }

    /// Field report 29.
    #[test]
    fn short_replies_answer_challenges_and_are_asked_back_without_any() {
        let catalog = catalog();
        for (message, says, number) in [
            ("ㅇㅇ", "consent", None),
            ("👍", "consent", None),
            ("2", "number", Some(2)),
            ("네네네네", "consent", None),
            ("세 번째 거요", "number", Some(3)),
            ("별로", "refusal", None),
            ("1번은 싫어", "refusal", None),
        ] {
            let within = understand(&catalog, Some("VEGAN"), &["비건 추천해 줘", message]);
            assert_eq!((within.says, within.number, within.refusal), (says, number, None), "{message}");
            assert_eq!(within.after, "VEGAN", "{message}");
            let alone = understand(&catalog, None, &[message]);
            assert_eq!(alone.refusal, Some(Refusal::Short), "{message}");
        }
        assert_eq!(understand(&catalog, None, &["ㅋㅋㅋㅋ"]).refusal, Some(Refusal::Nonsense));
    }

    /// Field report 30.
    #[test]
    fn only_categories_can_be_excluded_and_never_things() {
        let catalog = catalog();
        for (message, category, excluded) in [
            ("비닐봉지 그만 쓰고 싶어요", Some("ZERO_WASTE"), &[][..]),
            ("에어컨 말고 시원하게 지내는 법", Some("ENERGY_SAVING"), &[]),
            ("고기 말고 다른 거 먹자고 했더니", Some("VEGAN"), &[]),
            ("비건 말고", None, &["VEGAN"]),
            ("플로깅 말고 제로 웨이스트", Some("ZERO_WASTE"), &["PLOGGING"]),
        ] {
            let understood = understand(&catalog, None, &[message]);
            assert_eq!(understood.category.as_deref(), category, "{message}");
            assert_eq!(understood.excluded, excluded, "{message}");
        }
    }

    /// Field report 31.
    #[test]
    fn places_and_jobs_that_are_only_mentioned_are_nobodys() {
        let catalog = catalog();
        for (message, location, work_type) in [
            ("택배 상자가 현관을 막았어", None, None),
            ("산 지 세 달 된 이어폰이 고장 났어요", None, None),
            ("제주 여행 가서 할 수 있는 거", None, None),
            ("제주에 살아요", Some("beach"), None),
            ("택배 일을 하고 있어요", None, Some("field")),
        ] {
            let understood = understand(&catalog, None, &[message]);
            let found = (understood.location.as_deref(), understood.work_type.as_deref());
            assert_eq!(found, (location, work_type), "{message}");
        }
    }

    #[test]
    fn places_and_jobs_are_told_by_what_is_said_of_them() {
        let catalog = catalog();
        for (message, location, work_type) in [
            ("부산에 살고 있어요", Some("부산"), None),
            ("전남 고흥 사는데 수거차가 안 와요", Some("전남 고흥"), None),
            ("고향은 안동인데 직장 때문에 구미에 살아요", Some("구미"), None),
            ("남편 따라 울산 내려온 지 두 달 됐어요", Some("울산"), None),
            ("대구에서 구미로 출퇴근해요", Some("대구"), None),
            ("구미로 출퇴근해요", Some("구미"), None),
            ("김포에 살아요 엄마는 시골에 계세요", Some("김포"), None),
            ("아파트에서 경비원으로 일해요", None, Some("경비원")),
            ("대구 섬유공장에서 일합니다", Some("대구"), Some("field")),
            ("시골 약방 주인이에요", Some("rural"), Some("약방 주인")),
            ("서산에서 굴 까는 일을 해요", Some("서산"), Some("굴 까는 일")),
            ("특허 심사관으로 일한 지 3년", None, Some("특허 심사관")),
            ("요양병원 간병인으로 있습니다", None, Some("간병인")),
            ("구청 공무원인데 시험 때문에 바빠요", None, Some("office")),
            ("형부가 울산에서 조선소 다니는데요", None, None),
            ("산에 사는 동물들은 뭘 먹나요", None, None),
            ("너 혹시 상담사야?", None, None),
        ] {
            let understood = understand(&catalog, None, &[message]);
            let found = (understood.location.as_deref(), understood.work_type.as_deref());
            assert_eq!(found, (location, work_type), "{message}");
        }
    }

    /// Field report 32.
    #[test]
    fn a_message_that_is_clearly_about_another_category_moves_the_conversation() {
        let after = |message| understand(&catalog(), Some("VEGAN"), &["비건 라면", message]).after;
        assert_eq!(after("에어캡이 한가득"), "ZERO_WASTE");
        assert_eq!(after("더 쉬운 걸로"), "VEGAN");
    }

    #[derive(Deserialize)]
    struct Mention {
        text: String,
        not: Vec<String>,
        location: Option<String>,
        #[serde(rename = "workType")]
        work_type: Option<String>,
        split: String,
    }

    #[test]
    fn what_a_person_would_remember_is_remembered() {
        let catalog = catalog();
        let text = String::from_utf8(Files::built_in().read("eval/mentions.jsonl").unwrap()).unwrap();
        let (mut all, mut wrong) = (0, Vec::new());
        let mentions = text.lines().map(|line| serde_json::from_str::<Mention>(line).unwrap());
        for mention in mentions.filter(|mention| mention.split == "test") {
            all += 1;
            let understood = understand(&catalog, None, &[&mention.text]);
            let (location, work_type) = (mention.location.as_deref(), mention.work_type.as_deref());
            let right =
                understood.remembers(location, work_type, &catalog) && understood.excluded == mention.not;
            if !right {
                wrong.push(mention.text);
            }
        }
        assert!(all > 100 && wrong.len() * 100 <= all * 3, "{} of {all}: {wrong:?}", wrong.len());
    }
}
