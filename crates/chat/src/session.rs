//! The rules of a conversation: where it stands after a message.

use leafresh_store::Standing;
use rand::Rng;
use rand::seq::IndexedRandom;

use crate::catalog::Catalog;
use crate::library::Nearest;
use crate::reading::{Reading, Wish};

impl Reading {
    /// Where the conversation stands after this message. It goes back where that is wished for; else to what is named;
    /// else to any other category where that is wished for; else to the category that the words are nearest to, if that
    /// is clear or the conversation has none yet; else it stays.
    pub(crate) fn apply(
        &self,
        before: Option<&Standing>,
        nearest: Option<Nearest>,
        catalog: &Catalog,
        rng: &mut impl Rng,
    ) -> Standing {
        let default =
            || catalog.categories().first().map(|category| category.code.clone()).unwrap_or_default();
        let current = before.map(|standing| standing.category.clone());
        let named = self.categories.first().cloned();
        let category = match (self.wish, named) {
            (Some(Wish::Restore), _) => before.map(|standing| standing.base_category.clone()),
            (_, Some(named)) => Some(named),
            (Some(Wish::Another), None) => {
                let left_out = |code: &String| current.as_ref() == Some(code) || self.except.contains(code);
                let codes = catalog.categories().iter().map(|category| &category.code);
                codes
                    .filter(|code| !left_out(code))
                    .collect::<Vec<_>>()
                    .choose(rng)
                    .map(|code| (*code).clone())
            }
            (None, None) => None,
        };
        let clear = nearest.as_ref().filter(|nearest| nearest.clear).map(|nearest| nearest.category.clone());
        let category = category.or(clear).or(current).or(nearest.map(|nearest| nearest.category));
        let category = category.unwrap_or_else(default);
        // A catalogue that was changed since may know the stored category no longer.
        let category = if catalog.category(&category).is_some() { category } else { default() };
        Standing {
            base_category: before.map_or_else(|| category.clone(), |standing| standing.base_category.clone()),
            category,
            location: self.location.clone().or_else(|| before?.location.clone()),
            work_type: self.work_type.clone().or_else(|| before?.work_type.clone()),
            adapter: before.and_then(|before| before.adapter.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn catalog() -> Catalog {
        Catalog::load(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../catalog"))).unwrap()
    }

    fn standing(base: &str, category: &str) -> Standing {
        Standing {
            base_category: base.into(),
            category: category.into(),
            location: Some("city".into()),
            work_type: Some("office".into()),
            adapter: None,
        }
    }

    #[test]
    fn a_message_moves_the_conversation_where_it_says() {
        let catalog = catalog();
        let before = standing("VEGAN", "PLOGGING");
        for (message, expected) in [
            ("원래대로 해 줘", "VEGAN"),
            ("처음 걸로 돌아가자", "VEGAN"),
            ("이번에는 에너지 절약 쪽으로 알려 줘", "ENERGY_SAVING"),
            ("에너지절약은요?", "ENERGY_SAVING"),
            ("디지털 탄소 발자국 줄이고 싶어", "DIGITAL_CARBON"),
            ("upcycling 해 보고 싶어", "UPCYCLING"),
            ("플로깅 말고 제로 웨이스트", "ZERO_WASTE"),
            ("메일함이 꽉 찼어요", "DIGITAL_CARBON"),
            ("좀 더 쉬운 걸로", "PLOGGING"),
            ("비 오는 날에 할 만한 게 있을까?", "PLOGGING"),
            ("계산하는 법이 궁금해", "PLOGGING"),
        ] {
            let reading = Reading::of(message, &catalog);
            let after = reading.apply(
                Some(&before),
                Some(Nearest { category: "MEDIA".into(), clear: false }),
                &catalog,
                &mut rand::rng(),
            );
            assert_eq!(after.category, expected, "{message}: {reading:?}");
            assert_eq!(after.base_category, "VEGAN", "{message}");
        }
    }

    #[test]
    fn whatever_is_anything_but_the_current_category() {
        let catalog = catalog();
        let before = standing("VEGAN", "PLOGGING");
        for (message, never) in [
            ("아무거나", "PLOGGING"),
            ("다른 거 추천해 줘", "PLOGGING"),
            ("다른거!", "PLOGGING"),
            ("플로깅은 질렸어", "PLOGGING"),
            ("비건 빼고 아무거나 좋아요", "VEGAN"),
        ] {
            let mut seen = std::collections::BTreeSet::new();
            for seed in 0..40 {
                let mut rng = StdRng::seed_from_u64(seed);
                let after = Reading::of(message, &catalog).apply(Some(&before), None, &catalog, &mut rng);
                assert!(after.category != never && after.category != "PLOGGING", "{message}: {after:?}");
                seen.insert(after.category);
            }
            assert!(seen.len() > 3, "{message}: always {seen:?}");
        }
    }

    #[test]
    fn a_place_or_a_job_that_is_mentioned_is_remembered() {
        let catalog = catalog();
        for (message, location, work_type) in [
            ("저는 바닷가에 살고 재택근무를 해요", Some("beach"), Some("remote")),
            ("시골에서 지내는데 뭐가 좋을까", Some("rural"), None),
            ("영업직이라 차를 오래 타요", None, Some("sales")),
            ("울릉도에 살아요", Some("울릉도"), None),
            ("요리사로 일하는데 남는 채소가 많아요", None, Some("요리사")),
            ("집에서 일해요", None, Some("remote")),
            ("도시락을 싸 다녀요", None, None),
            ("부산 여행 계산해 줘", None, None),
            ("산책하면서 할 수 있는 거", None, None),
            ("혼자 살아요", None, None),
        ] {
            let reading = Reading::of(message, &catalog);
            assert_eq!(
                (reading.location.as_deref(), reading.work_type.as_deref()),
                (location, work_type),
                "{message}"
            );
        }
        let after = Reading::of("바닷가에 살아요", &catalog).apply(
            Some(&standing("VEGAN", "VEGAN")),
            None,
            &catalog,
            &mut rand::rng(),
        );
        assert_eq!((after.location.as_deref(), after.work_type.as_deref()), (Some("beach"), Some("office")));
    }

    #[test]
    fn a_first_message_begins_with_what_it_names_or_with_what_it_is_nearest_to() {
        let catalog = catalog();
        let category = |message: &str, nearest: Option<&str>| {
            let reading = Reading::of(message, &catalog);
            let after = reading.apply(
                None,
                nearest.map(|category| Nearest { category: category.into(), clear: false }),
                &catalog,
                &mut rand::rng(),
            );
            assert_eq!(after.base_category, after.category);
            after.category
        };
        assert_eq!(category("비건으로 추천해 줘", Some("MEDIA")), "VEGAN");
        assert_eq!(category("뭘 하면 좋을까", Some("MEDIA")), "MEDIA");
        assert_eq!(category("뭘 하면 좋을까", None), catalog.categories()[0].code);
        assert_eq!(category("원래대로", None), catalog.categories()[0].code);
    }

    #[test]
    fn a_category_that_the_catalogue_no_longer_has_becomes_the_default() {
        let catalog = catalog();
        let after =
            Reading::default().apply(Some(&standing("GONE", "GONE")), None, &catalog, &mut rand::rng());
        assert_eq!(after.category, catalog.categories()[0].code);
    }
}
