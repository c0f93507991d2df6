use std::path::Path;

use leafresh_chat::{BaseInfo, FreeText};

use super::*;
use crate::eval::plan::Task;

fn catalog() -> Catalog {
    Catalog::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalog")).unwrap()
}

fn challenge(title: &str, description: &str) -> Challenge {
    Challenge {
        title: title.into(),
        description: description.into(),
        category: "VEGAN".into(),
        label: "비건".into(),
    }
}

fn answer(titles: [&str; 3]) -> Answer {
    let challenges = titles.map(|title| challenge(title, &format!("{title} 설명"))).to_vec();
    Answer { recommend: "추천합니다.".into(), challenges, ..Answer::default() }
}

fn refusal() -> Answer {
    Answer { recommend: "다시 말씀해 주세요.".into(), ..Answer::default() }
}

fn record(part: Part, command: Command, answer: Option<Answer>) -> Record {
    Record {
        task: Task {
            part,
            seed: None,
            command,
            kind: Kind::OnTopic,
            expect: Expect::Answer,
            category: Some("VEGAN".into()),
        },
        ttft_ms: Some(100.0),
        latency_ms: 1000.0,
        fault: answer.is_none().then(|| "failed".into()),
        answer,
    }
}

fn grid(answer: Option<Answer>) -> Record {
    record(Part::Grid, Command::BaseInfo(BaseInfo::default()), answer)
}

fn repeat(session: &str, titles: [&str; 3]) -> Record {
    let request = BaseInfo { session_id: Some(session.into()), ..BaseInfo::default() };
    record(Part::Repeats, Command::BaseInfo(request), Some(answer(titles)))
}

fn message(kind: Kind, category: Option<&str>, answer: Option<Answer>) -> Record {
    let mut record = record(Part::Messages, Command::FreeText(FreeText::default()), answer);
    record.task.kind = kind;
    record.task.expect = if kind == Kind::OnTopic { Expect::Answer } else { Expect::Refusal };
    record.task.category = category.map(str::to_owned);
    record
}

fn values(records: &[Record]) -> BTreeMap<String, f64> {
    let catalog = catalog();
    let alphabet = Alphabet::of(&catalog);
    let measures = compute(records, &Yardstick { catalog: &catalog, alphabet: &alphabet, meaning: None });
    measures.into_iter().map(|measure| (measure.figure.key, measure.figure.value.unwrap())).collect()
}

#[track_caller]
fn check(values: &BTreeMap<String, f64>, key: &str, expected: f64) {
    let value = values.get(key).unwrap_or_else(|| panic!("no {key} in {values:?}"));
    assert!((value - expected).abs() < 1e-9, "{key}: {value}, not {expected}");
}

#[test]
fn the_grids_answers_are_counted_by_what_is_wrong_with_them() {
    let copied = catalog().documents()[0].clone();
    let mut quoting = answer(["가가", "나나", "다다"]);
    quoting.challenges[0] = challenge(&copied.title, &copied.short);
    let mut twice = answer(["가가", "나나", "다다"]);
    twice.challenges[1].description = twice.challenges[0].description.clone();
    let mut foreign = answer(["라라", "마마", "바바"]);
    foreign.recommend = "漢字입니다.".into();
    foreign.degraded = true;
    let values = values(&[grid(Some(quoting)), grid(Some(twice)), grid(Some(foreign)), grid(None)]);
    check(&values, "grid_answers", 4.0);
    check(&values, "valid", 75.0);
    check(&values, "distinct_within", 200.0 / 3.0);
    // 가가, 나나 and 다다 come twice but for the one that a quoted title replaced.
    check(&values, "distinct_titles", 700.0 / 9.0);
    check(&values, "titles_copied", 100.0 / 9.0);
    check(&values, "descriptions_copied", 100.0 / 9.0);
    check(&values, "alphabet", 200.0 / 3.0);
    check(&values, "degraded", 100.0 / 3.0);
    assert!(!values.contains_key("category_accuracy") && !values.contains_key("messages_answered"));
}

#[test]
fn titles_that_differ_by_spaces_and_marks_only_are_the_same() {
    assert!(!distinct_within(&answer(["물 아끼기", "물아끼기.", "전기"])));
    assert!(distinct_within(&answer(["물 아끼기", "불 아끼기", "전기"])));
}

#[test]
fn repeats_count_different_titles_of_whole_sessions() {
    let mut records: Vec<Record> = (0..TURNS).map(|_| repeat("a", ["가", "나", "다"])).collect();
    let other = [["1", "2", "3"], ["4", "5", "6"], ["7", "8", "9"], ["1", "2", "3"], ["10", "11", "12"]];
    records.extend(other.map(|titles| repeat("b", titles)));
    // What comes later counts for openings alone.
    let later = |turn: usize| {
        let mut record = repeat("b", ["13", "14", "15"]);
        record.answer.as_mut().unwrap().recommend = format!("{turn}번째로 추천합니다.");
        record
    };
    records.extend((REPEATS..TURNS).map(later));
    let of_all = values(&records);
    check(&of_all, "repeats_distinct", 3.0);
    check(&of_all, "repeats_distinct_mean", 7.5);
    check(&of_all, "openings_session", 1.0);
    // The first session without its last answer isn't whole.
    let of_whole = values(&records[1..]);
    check(&of_whole, "repeats_distinct", 12.0);
    check(&of_whole, "openings_session", 6.0);
}

#[test]
fn messages_are_right_when_answered_and_refused_as_expected() {
    let yes = || Some(answer(["가", "나", "다"]));
    let records = [
        message(Kind::OnTopic, Some("VEGAN"), yes()),
        message(Kind::OnTopic, Some("MEDIA"), yes()),
        message(Kind::OnTopic, None, yes()),
        message(Kind::OnTopic, Some("VEGAN"), Some(refusal())),
        message(Kind::OffTopic, None, Some(refusal())),
        message(Kind::OffTopic, None, yes()),
        message(Kind::Insult, None, Some(refusal())),
        message(Kind::Nonsense, None, None),
    ];
    let values = values(&records);
    check(&values, "messages_answered", 75.0);
    check(&values, "messages_refused", 50.0);
    check(&values, "refused_off_topic", 50.0);
    check(&values, "refused_insult", 100.0);
    check(&values, "refused_nonsense", 0.0);
    check(&values, "messages_category", 50.0);
    check(&values, "messages_valid", 87.5);
    // Fixed replies are no answers of the model.
    check(&values, "latency_p50", 1000.0);
    check(&values, "refusal_p95", 1000.0);
}

#[test]
fn what_went_wrong_is_listed() {
    let records = [
        grid(None),
        message(Kind::OnTopic, Some("MEDIA"), Some(answer(["가", "나", "다"]))),
        message(Kind::OffTopic, None, Some(answer(["가", "나", "다"]))),
    ];
    let catalog = catalog();
    let alphabet = Alphabet::of(&catalog);
    let notes = notes(&records, &Yardstick { catalog: &catalog, alphabet: &alphabet, meaning: None });
    let titles: Vec<&str> = notes.iter().map(|(title, _)| title.as_str()).collect();
    assert_eq!(
        titles,
        [
            "Not valid, or failed",
            "Messages answered or refused wrongly",
            "Messages answered with another category"
        ]
    );
    assert!(notes[2].1[0].ends_with("expected MEDIA, got VEGAN, VEGAN, VEGAN"), "{:?}", notes[2]);
}
