use leafresh_chat::{BaseInfo, Files, FreeText};

use super::super::answers::Challenge;
use super::super::data::{Expect, Kind};
use super::super::plan::{Part, Task};
use super::*;

fn record(command: Command, recommend: &str) -> Record {
    let challenge = |title: &str, description: &str| Challenge {
        title: title.into(),
        description: description.into(),
        ..Challenge::default()
    };
    let challenges = vec![
        challenge("두부 고르기", "두부를 골라요. 값도 싸요!"),
        challenge("콩 삶기", "콩을 삶아요."),
        challenge("1. 나물 무치기", "나물을 무쳐요."),
    ];
    let task = Task {
        part: Part::Grid,
        seed: Some(1),
        command,
        kind: Kind::OnTopic,
        expect: Expect::Answer,
        category: None,
    };
    let answer = Answer { recommend: recommend.into(), challenges, ..Answer::default() };
    Record { task, ttft_ms: None, latency_ms: 1.0, answer: Some(answer), fault: None }
}

fn records() -> Vec<Record> {
    let chosen = BaseInfo {
        location: "city".into(),
        work_type: "어부".into(),
        category: "VEGAN".into(),
        ..BaseInfo::default()
    };
    let said = FreeText { message: "고기를 줄이고 싶어요".into(), ..FreeText::default() };
    vec![record(chosen.into(), "점심이 고민이죠? 콩을 골라 봐요."), record(said.into(), "조금씩 줄여 봐요.")]
}

fn drawn() -> String {
    form(&records(), &Catalog::of(&Files::built_in()).unwrap(), 7).unwrap()
}

/// With this mark behind every sentence.
fn filled(form: &str, mark: &str) -> String {
    let line = |line: &str| {
        if line.starts_with(form::MARK) { format!("{line}{mark}\n") } else { format!("{line}\n") }
    };
    form.lines().map(line).collect()
}

#[test]
fn a_form_has_what_was_asked_and_every_sentence_once() {
    let form = drawn();
    assert!(form.starts_with("# 2 answers, 17 sentences, seed 7\n"), "{form}");
    for text in [
        "## 1. 도시 · 어부 · 비건\n\n점심이 고민이죠?\nsensible ",
        "\n콩을 골라 봐요.\nsensible ",
        "\n1. 두부 고르기\nsensible ",
        "\n값도 싸요!\nsensible ",
        "\n3. 1. 나물 무치기\nsensible ",
        "## 2. 고기를 줄이고 싶어요\n\n조금씩 줄여 봐요.\n",
    ] {
        assert!(form.contains(text), "{text}\n{form}");
    }
    let again = super::form(&records(), &Catalog::of(&Files::built_in()).unwrap(), 7).unwrap();
    assert_eq!(form, again);
}

#[test]
fn an_answer_counts_when_every_sentence_of_it_is_marked() {
    let form = filled(&drawn(), " y");
    assert!(
        report(&marks::read(&form).unwrap()).starts_with("2 of 2 answers are sensible in every sentence\n")
    );
    for mark in [" Y", "yes", " y, gut", "\ty 좋아요", " y:)"] {
        assert!(report(&marks::read(&filled(&drawn(), mark)).unwrap()).starts_with("2 of 2"), "{mark}");
    }
    // The first sentence of the first answer, and a title of the second.
    let one = form.replacen(": y", ": n 계절이 안 맞음", 1);
    let report_of_one = report(&marks::read(&one).unwrap());
    assert!(report_of_one.starts_with("1 of 2"), "{report_of_one}");
    assert!(
        report_of_one.contains("\n도시 · 어부 · 비건\n  점심이 고민이죠? (계절이 안 맞음)\n"),
        "{report_of_one}"
    );
    assert!(report_of_one.contains("openings 50 ("), "{report_of_one}");
    let dos = "\u{feff}".to_owned() + &one.replace('\n', "\r\n");
    assert_eq!(report(&marks::read(&dos).unwrap()), report_of_one, "as some editors save it");
}

#[test]
fn what_is_left_out_or_changed_is_named_with_its_line() {
    let form = filled(&drawn(), " y");
    let without =
        |text: &str| form.split_inclusive('\n').filter(|line| line.trim_end() != text).collect::<String>();
    let mark = form.lines().find(|line| line.starts_with(form::MARK)).unwrap();
    let last = form.lines().last().unwrap();
    for (changed, at, reason) in [
        (form.replacen(": y", ":", 1), "sensible ", "`점심이 고민이죠?` isn't marked"),
        (form.replacen(": y", ": maybe", 1), "sensible ", "y or n, found `maybe`"),
        (form.replace("콩을 삶아요.", "콩을 볶아요."), "sensible ", "isn't as it was drawn"),
        (form.replace("고기를 줄이고", "고기를 늘리고"), "sensible ", "isn't as it was drawn"),
        (form.replace("seed 7", "seed 8"), "sensible ", "isn't as it was drawn"),
        (without(mark), "콩을 골라 봐요.", "expected the `sensible …:` of `점심이 고민이죠?`"),
        (without("콩을 골라 봐요."), "sensible ", "without a sentence"),
        (without("## 2. 고기를 줄이고 싶어요"), "sensible ", "isn't as it was drawn"),
        (form.replace("## 2.", "## 3."), "## 3.", "expected answer 2"),
        (without(last), "나물을 무쳐요.", "no `sensible …:` behind `나물을 무쳐요.`"),
        (form[..form.find("\n## 2").unwrap()].to_owned(), "sensible ", "ends with 1 answers"),
        (String::new(), "", "a form of `leafresh eval --draw`"),
        (form.replacen("# 2 answers", "# two answers", 1), "# two", "a form of"),
    ] {
        let (line, said) = marks::read(&changed).unwrap_err();
        assert!(said.contains(reason), "{said}, not {reason}");
        let found = changed.lines().nth(line - 1).unwrap_or_default();
        assert!(found.starts_with(at), "line {line}, `{found}`: {said}");
    }
}

#[test]
fn an_answer_that_failed_is_no_answer_to_read() {
    let mut records = records();
    records[1].fault = Some("it broke".into());
    let error = form(&records, &Catalog::of(&Files::built_in()).unwrap(), 7).unwrap_err().to_string();
    assert!(error.contains("고기를 줄이고 싶어요: it broke"), "{error}");
}
