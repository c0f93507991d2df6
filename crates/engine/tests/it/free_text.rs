//! A slot that holds any text: what ends it.

use leafresh_engine::fake::FakeModel;
use leafresh_engine::{Grammar, Local, LocalSettings, Program, Request, Segment, Slot};

use crate::support::{Written, cuts, finish, fixed, idle, request};

fn engine() -> Local {
    Local::start(Box::new(FakeModel::new(1)), &LocalSettings::default()).unwrap()
}

fn any_text(max_tokens: usize, stop: &[&str]) -> Slot {
    Slot {
        name: "any".into(),
        grammar: Grammar::Regex("(?s:.)*".into()),
        max_tokens,
        distinct_from: vec![],
        stop: stop.iter().map(|&text| text.to_owned()).collect(),
    }
}

async fn write(engine: &Local, seed: u64, max_tokens: usize, stop: &[&str]) -> Written {
    let program = Program::new(vec![Segment::Slot(any_text(max_tokens, stop))]).unwrap();
    finish(engine, request("질문", program, seed)).await.unwrap()
}

/// The fake model's end is one of eleven thousand tokens; a line break is one, too.
#[tokio::test]
async fn any_text_goes_on_over_line_breaks_to_its_budget_or_to_the_model_s_own_end() {
    let engine = engine();
    let (mut lines, mut ends) = (0, 0);
    for seed in 0..200 {
        let written = write(&engine, seed, 400, &[]).await;
        lines += usize::from(written.slots[0].contains('\n'));
        if written.usage.out_of_budget {
            assert_eq!(written.usage.sampled_tokens + written.usage.forced_tokens, 400);
        } else {
            ends += 1;
        }
    }
    assert!(lines > 0 && ends > 0 && ends < 200, "{lines} with line breaks, {ends} ended by themselves");
    idle(&engine).await;
}

#[tokio::test]
async fn a_grammar_that_is_complete_at_the_end_of_its_budget_is_not_out_of_it() {
    let engine = engine();
    for (regex, out_of_budget) in [("[가-힣]{4}", false), ("[가-힣]{4,}", true)] {
        let slot = Slot { grammar: Grammar::Regex(regex.into()), ..any_text(4, &[]) };
        let program = Program::new(vec![Segment::Slot(slot)]).unwrap();
        let written = finish(&engine, request("질문", program, 1)).await.unwrap();
        assert_eq!(written.usage.out_of_budget, out_of_budget, "{regex}");
    }
}

#[tokio::test]
async fn a_slot_ends_before_the_text_that_stops_it_and_the_program_goes_on() {
    let engine = engine();
    let whole = write(&engine, 3, 60, &[]).await.slots.remove(0);
    let characters: Vec<char> = whole.chars().collect();
    let stop: String = characters[20..23].iter().collect();
    let expected = &whole[..whole.find(&stop).unwrap()];
    let stopped = write(&engine, 3, 60, &["nowhere to be found", &stop]).await;
    assert_eq!((stopped.slots[0].as_str(), stopped.usage.out_of_budget), (expected, false));
    assert!(stopped.usage.sampled_tokens < 60);
    let segments = vec![Segment::Slot(any_text(60, &[&stop])), fixed("|"), Segment::Slot(any_text(5, &[]))];
    let both = finish(&engine, request("질문", Program::new(segments).unwrap(), 3)).await.unwrap();
    assert_eq!(both.slots.len(), 2);
    idle(&engine).await;
}

#[tokio::test]
async fn an_answer_cut_anywhere_goes_on_and_shows_no_stop() {
    let engine = engine();
    let whole = write(&engine, 3, 40, &[]).await.slots;
    let stop: String = whole[0].chars().skip(15).take(1).collect();
    let program = Program::new(vec![Segment::Slot(any_text(40, &[&stop]))]).unwrap();
    let stopped = finish(&engine, request("질문", program.clone(), 3)).await.unwrap().slots;
    for progress in cuts(&stopped) {
        let begun = progress.partial.clone();
        let resumed = Request { progress, ..request("질문", program.clone(), 9) };
        let written = finish(&engine, resumed).await.unwrap();
        assert!(written.slots[0].starts_with(&begun) && !written.slots[0].contains(&stop), "{written:?}");
    }
}

#[test]
fn a_text_that_stops_a_slot_is_not_empty() {
    let error = Program::new(vec![Segment::Slot(any_text(4, &[""]))]).unwrap_err();
    assert!(error.to_string().contains("any"), "{error}");
}
