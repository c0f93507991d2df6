//! Asking, with a model that costs nothing.

use leafresh_chat::{BaseInfo, Command, FreeText};
use leafresh_engine::LocalSettings;
use leafresh_engine::fake::FakeModel;

use super::answers::Answer;
use super::data::{Expect, Kind};
use super::plan::Task;
use super::*;

fn recommender() -> Recommender {
    let catalog = Catalog::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../catalog")).unwrap();
    let backend = Local::start(Box::new(FakeModel::new(1)), &LocalSettings::default()).unwrap();
    Recommender::new(Arc::new(catalog), Arc::new(backend), leafresh_chat::Settings::default())
        .unwrap()
        .with_deadlines(PATIENT)
}

fn subject(recommender: &Recommender) -> Subject {
    let recommender = recommender.clone();
    Arc::new(move |seed| Arc::new(recommender.clone().with_seed(seed)))
}

fn titles(record: &Record) -> Vec<String> {
    record
        .answer
        .iter()
        .flat_map(|answer| &answer.challenges)
        .map(|challenge| challenge.title.clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_whole_and_the_same_for_the_same_seed() {
    let recommender = recommender();
    let chains: Vec<Chain> = plan::grid(recommender.catalog(), 1).into_iter().step_by(16).collect();
    let subject = subject(&recommender);
    let ask = || ask_all(&subject, chains.clone(), 4, std::future::pending(), |_| {});
    let (mut first, mut second) = (ask().await, ask().await);
    for records in [&mut first, &mut second] {
        assert_eq!(records.len(), 8);
        // They end in any order.
        records.sort_by_key(|record| record.task.category.clone());
    }
    for (one, other) in first.iter().zip(&second) {
        assert!(one.valid() && !one.refused(), "{:?}", one.fault);
        assert!(one.ttft_ms.unwrap() <= one.latency_ms);
        assert_eq!(titles(one), titles(other));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_message_is_a_valid_record() {
    let message = FreeText { message: "ㅁㄴㅇㄹㅁㄴㅇㄹ".into(), ..FreeText::default() };
    let task = Task {
        part: Part::Messages,
        seed: Some(1),
        command: Command::FreeText(message),
        kind: Kind::Nonsense,
        expect: Expect::Refusal,
        category: None,
    };
    let records =
        ask_all(&subject(&recommender()), vec![vec![task]], 1, std::future::pending(), |_| {}).await;
    assert!(records[0].valid() && records[0].refused() && records[0].as_expected(), "{:?}", records[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_had_not_ended_when_it_was_stopped_is_left_out() {
    let chains = plan::grid(recommender().catalog(), 1);
    let records = ask_all(&subject(&recommender()), chains, 2, std::future::ready(()), |_| {}).await;
    assert!(records.len() < 128, "{}", records.len());
}

fn column(label: &str, valid: f64) -> Column {
    let request = BaseInfo { category: "VEGAN".into(), ..BaseInfo::default() };
    let task = Task {
        part: Part::Grid,
        seed: Some(1),
        command: Command::BaseInfo(request),
        kind: Kind::OnTopic,
        expect: Expect::Answer,
        category: Some("VEGAN".into()),
    };
    let challenge = answers::Challenge { title: "<b>두부|콩</b>".into(), ..Default::default() };
    let answer = Answer { challenges: vec![challenge; 3], ..Answer::default() };
    Column {
        label: label.into(),
        model: label.into(),
        parameters: 1,
        grounding: "select",
        measures: vec![measures::Measure::plain("valid", "%", valid, "whole answers").more(0.0).goal(100.0)],
        notes: vec![("Not valid".into(), vec!["<b>두부|콩</b>".into()])],
        records: vec![Record { task, ttft_ms: None, latency_ms: 12.4, answer: Some(answer), fault: None }],
    }
}

#[test]
fn a_report_says_the_same_as_text_markdown_html_and_json() {
    let shared = vec![measures::Measure::mean("mrr", "", &[1.0, 0.5], "ranks").more(0.02).goal(0.9)];
    let report = Report { columns: vec![column("a", 100.0), column("b", 99.0)], shared, ..Report::default() };
    let (text, markdown, html) = (report.print(), report.markdown(), report.html().unwrap());
    let row = text.lines().find(|line| line.starts_with("valid %")).unwrap();
    assert_eq!(row.split_whitespace().take(4).collect::<Vec<_>>(), ["valid", "%", "100", "99"]);
    assert!(markdown.contains("| valid % | 100 | 99 | whole answers |"), "{markdown}");
    assert!(html.contains("<td>valid %</td><td>100</td><td>99</td>") && html.contains("<svg"), "{html}");
    assert!(html.contains("&lt;b&gt;두부|콩") && !html.contains("<b>두부") && !html.contains("<script"));
    let json = report.json();
    assert_eq!(json["columns"][1]["figures"]["valid"]["value"], 99.0);
    assert_eq!(json["columns"][0]["requests"][0]["answer"]["challenges"][2]["title"], "<b>두부|콩</b>");
    assert_eq!(report.goals(), ["goal mrr 0.7500 0.9 short", "goal valid 100.0000 100 ok"]);
}

#[test]
fn two_written_reports_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, valid: f64| {
        let path = dir.path().join(name);
        let report = Report { columns: vec![column(name, valid)], ..Report::default() };
        std::fs::write(&path, report.json().to_string()).unwrap();
        path
    };
    let (before, after) = (file("a", 100.0), file("b", 99.0));
    assert_eq!(compare::compare(&before, &after).unwrap().regressions, 1);
    assert_eq!(compare::compare(&after, &before).unwrap().regressions, 0);
    let other = dir.path().join("other.json");
    std::fs::write(&other, r#"{"levels":[]}"#).unwrap();
    let error = compare::compare(&before, &other).unwrap_err().to_string();
    assert!(error.contains("no report of `leafresh eval --json`"), "{error}");
}
