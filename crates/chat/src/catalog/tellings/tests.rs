use std::collections::BTreeSet;

use super::*;
use crate::Catalog;

fn catalog() -> Catalog {
    Catalog::of(&Files::built_in()).unwrap()
}

#[test]
fn every_document_is_told_to_those_it_fits() {
    let catalog = catalog();
    for document in catalog.documents() {
        for place in &document.places {
            let told = catalog.tellings().told(document, &[], &[place], |_| 0);
            assert_eq!((&told.id, &told.title), (&document.id, &document.title));
        }
        let codes = document.places.iter().chain(&document.work_types).map(String::as_str);
        let told = catalog.tellings().told(document, &[], &codes.collect::<Vec<_>>(), |_| 0);
        assert!(told.text != document.text && told.short != document.short, "{}", document.id);
        assert_ne!(told.text, told.short);
        let stranger = catalog.tellings().told(document, &["울릉도"], &["어부"], |_| 0);
        assert_eq!(stranger, *document, "own words are nobody's code");
    }
}

#[test]
fn the_one_that_is_drawn_is_told() {
    let catalog = catalog();
    let document = &catalog.documents()[0];
    let codes: Vec<&str> = document.places.iter().map(String::as_str).collect();
    let texts: BTreeSet<String> =
        (0..9).map(|n| catalog.tellings().told(document, &[], &codes, |count| n % count).text).collect();
    assert!(texts.len() > 1 && !texts.contains(&document.text), "{texts:?}");
}

type Change<'a> = &'a dyn Fn(&mut Telling);

#[test]
fn who_somebody_is_counts_more_than_where_they_are() {
    let catalog = catalog();
    let mut told_to_parents = 0;
    for document in catalog.documents() {
        let variants = &catalog.tellings().by_id[&document.id].variants;
        let mut to_parents = variants.iter().filter(|variant| variant.is_for(&["children"]));
        let told = catalog.tellings().told(document, &["children"], &["city", "office"], |_| 0);
        if to_parents.clone().next().is_some() {
            told_to_parents += 1;
            assert!(to_parents.any(|variant| variant.text == told.text), "{}", document.id);
        }
    }
    assert!(told_to_parents > 200, "{told_to_parents}");
}

#[test]
fn people_are_known_by_what_they_say_of_themselves() {
    let catalog = catalog();
    let keywords = catalog.keywords();
    for (message, job, expected) in [
        ("아이랑 할 수 있는 거", "", &["children"][..]),
        ("저는 3교대 간호사예요", "간호사", &["nurse"]),
        ("자취생이라 요리를 잘 안 해요", "", &["alone"]),
        ("전기세가 많이 나와요", "카페 사장", &["shop"]),
        ("딸이랑 걷고 싶어요", "택배 기사", &["children", "courier"]),
        ("메일함이 가득 찼어", "", &[]),
        // Said of others, or only sounding like them.
        ("전기세가 많이 나와요", "카페 알바", &[]),
        ("뭘 하면 좋을까요", "군인 가족", &[]),
        ("뭘 하면 좋을까요", "교대 근무 생산직", &[]),
        ("아이스크림 통이 쌓여요", "", &[]),
        ("이 병은 어떻게 버려요", "", &[]),
        ("슬라이더 지퍼백이 너무 많아요", "", &[]),
        ("결혼식 축사 때문에 종이를 많이 썼어요", "", &[]),
        ("사장님이 컵을 줬어요", "", &[]),
        ("택배 기사님이 상자를 두고 가셨어", "", &[]),
        ("경로당 어르신들이 보시더라", "", &[]),
        ("군대 간 오빠가 남긴 옷", "", &[]),
    ] {
        let [message_words, job_words] = [message, job].map(|text| keywords.words(text));
        let found = catalog.tellings().people(Some(&message_words), Some(&job_words));
        assert_eq!(found, expected, "{message}");
    }
}

#[test]
fn an_idea_is_the_same_or_it_isn_t() {
    let catalog = catalog();
    let document = |id: &str| catalog.documents().iter().find(|document| document.id == id).unwrap();
    let same = |one: &str, other: &str| catalog.tellings().same_idea(document(one), document(other));
    assert!(same("zero-waste-001", "zero-waste-008"));
    assert!(!same("zero-waste-001", "zero-waste-002"));
}

#[test]
fn what_is_wrong_with_a_telling_is_named() {
    let files = Files::built_in();
    let catalog = catalog();
    let document = &catalog.documents()[0];
    let all = String::from_utf8(files.read("tellings/carbon_footprint.jsonl").unwrap()).unwrap();
    let line = all.lines().find(|line| line.contains(&format!("\"{}\"", document.id))).unwrap();
    let rules = Rules::load(&files, &Lists::load(&files).unwrap()).unwrap();
    let check = |change: &dyn Fn(&mut Telling)| {
        let mut telling: Telling = serde_json::from_str(line).unwrap();
        change(&mut telling);
        rules.check(&telling, document, &mut rules::Seen::default()).err().unwrap_or_default()
    };
    assert_eq!(check(&|_| {}), "");
    let cases: [(Change<'_>, &str); 15] = [
        (
            &|t| {
                t.variants[0].text =
                    "하루에 77번씩 걸어서 다녀 보세요. 짧은 거리부터 시작하면 훨씬 쉬워져요.".into();
            },
            "77 isn't in the document",
        ),
        (&|t| t.variants[0].text = t.variants[0].text.replace('.', "?"), "no `description`"),
        (&|t| t.variants[1].audience = t.variants[0].audience.clone(), "two variants are for"),
        (&|t| t.variants[0].audience = vec!["ofice".into()], "office"),
        (&|t| t.variants[0].title = "걷".into(), "expected 4..=24"),
        (
            &|t| t.openings[0] = "가까운 거리는 걸어서 다녀오는 편이 훨씬 더 가볍고 좋습니다.".into(),
            "no `sentence`",
        ),
        (&|t| t.openings[1] = t.openings[0].clone(), "told twice"),
        (&|t| t.openings.truncate(4), "`openings` has 4"),
        (&|t| t.more.why = "Walking이 차보다 좋아요. 가까운 거리일수록 그래요.".into(), "no `text`"),
        (&|t| t.needs = vec!["무엇".into()], "`needs`"),
        (&|t| t.minutes = 0, "`minutes`"),
        (&|t| t.proof = "신발 사진 😀 한 장이에요".into(), "no `text`"),
        (&|t| t.seasons = vec![Season::Spring; 2], "`seasons`"),
        (&|t| t.more.begin = "하나를 골라요. 가방에 넣어요. 문 앞에 둬요.".into(), "3 sentences"),
        (&|t| t.idea = "Walk".into(), "`idea`"),
    ];
    for (change, expected) in cases {
        let found = check(change);
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn what_somebody_would_rather_have_is_told_by_effort_time_company_season_and_who_they_are() {
    let catalog = catalog();
    let tellings = catalog.tellings();
    let suiting = |liking: Liking| -> Vec<&Document> {
        catalog.documents().iter().filter(|document| tellings.suits(document, &liking)).collect()
    };
    let all = catalog.documents().len();
    assert_eq!(suiting(Liking::default()).len(), all);
    let of = |document: &Document| &tellings.by_id[&document.id];
    let easy = suiting(Liking { easy: true, ..Liking::default() });
    assert!(easy.iter().all(|document| matches!(of(document).effort, Effort::Easy)) && easy.len() < all);
    let short = suiting(Liking { minutes: Some(10), ..Liking::default() });
    assert!(short.iter().all(|document| of(document).minutes <= 10) && (1..all).contains(&short.len()));
    let together = suiting(Liking { with: vec!["children".into()], ..Liking::default() });
    assert!(
        together.iter().all(|document| of(document).with.contains(&"children".into()))
            && together.len() < all
    );
    let winter = suiting(Liking { season: Some(Season::Winter), ..Liking::default() });
    let summer = |document: &&Document| of(document).seasons == [Season::Summer];
    assert!(!winter.iter().any(summer) && catalog.documents().iter().any(|document| summer(&document)));
    let nurse = suiting(Liking { people: vec!["nurse".into()], ..Liking::default() });
    assert!(nurse.len() < all, "what is for some work only and told to no nurse isn't hers");
    let unknown = Document { id: "of-somebody-else".into(), ..Document::default() };
    assert!(tellings.suits(&unknown, &Liking { easy: true, minutes: Some(1), ..Liking::default() }));
}

#[test]
fn somebody_of_whom_nothing_is_known_gets_what_is_for_everybody() {
    let catalog = catalog();
    let is_for = |document: &Document, liking: &Liking| catalog.tellings().is_for_strangers(document, liking);
    let everywhere = |document: &&Document| document.places.len() == 4 && document.work_types.len() == 4;
    let stranger = Liking { somewhere: true, at_some_work: true, ..Liking::default() };
    let by_the_sea = Liking { mentioned: vec!["beach".into()], ..stranger.clone() };
    let (mut some, mut sea) = (0, 0);
    for document in catalog.documents() {
        assert_eq!(is_for(document, &stranger), everywhere(&document), "{}", document.id);
        assert!(is_for(document, &Liking::default()), "whose place and work are known");
        some += usize::from(!everywhere(&document));
        sea += usize::from(is_for(document, &by_the_sea) && document.places == ["beach"]);
    }
    assert!(some > 50 && sea > 3, "{some} {sea}");
}

#[test]
fn what_needs_a_shop_or_a_field_is_for_those_who_have_one() {
    let catalog = catalog();
    let tellings = catalog.tellings();
    let having = |who: &[&str], mentioned: &[&str]| {
        let [who, mentioned] =
            [who, mentioned].map(|codes| codes.iter().map(|code| (*code).to_owned()).collect());
        let liking = Liking { who: Some(who), mentioned, ..Liking::default() };
        let has = |document: &&Document| tellings.has_needs(document, &liking);
        catalog
            .documents()
            .iter()
            .filter(has)
            .flat_map(|document| &tellings.by_id[&document.id].needs)
            .collect::<BTreeSet<_>>()
    };
    let needs = |who: &[&str]| having(who, &[]);
    for (who, has, hasn_t) in [
        (
            &["city", "sales"][..],
            &["car", "phone", "sea"][..],
            &["shop", "field", "garden", "office", "pet"][..],
        ),
        (&["city", "office"], &["office"], &["shop", "field", "garden"]),
        (&["rural", "remote"], &["farmland", "garden"], &["field", "shop", "office", "child", "patient"]),
        (&["city", "shop"], &["shop", "crew"], &["field", "delivery"]),
        (&["city", "office", "children"], &["child", "study"], &["school", "barracks"]),
        (&["mountain", "courier"], &["delivery"], &["ward", "shift", "senior"]),
        (&["city", "farmer"], &["field", "garden"], &["shop"]),
        (&[], &["kitchen"], &["shop", "field", "pet"]),
    ] {
        let found = needs(who);
        assert!(has.iter().all(|need| found.contains(&(*need).to_owned())), "{who:?}: {found:?}");
        assert!(!hasn_t.iter().any(|need| found.contains(&(*need).to_owned())), "{who:?}: {found:?}");
    }
    assert!(having(&["city"], &["rural"]).contains(&"garden".to_owned()), "who writes of the country");
    assert!(catalog.documents().iter().all(|document| tellings.has_needs(document, &Liking::default())));
}
