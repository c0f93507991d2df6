//! Programs from their first to their last character, where nothing goes wrong.

use leafresh_engine::{Backend, Error, Grammar, Piece, Program, Progress, Prompt, Request, Segment, Slot};
use leafresh_remote::{Kind, Upstream};

use crate::double::{Double, Options, Trick};
use crate::support::{connect, finish, free, remote, request, select, short, upstream};

#[tokio::test]
async fn programs_are_written_by_every_kind_of_server() {
    for kind in [Kind::Vllm, Kind::Sglang, Kind::Tgi, Kind::Openai, Kind::Leafresh] {
        let double = Double::new(Options { kind, ..Options::default() }).await;
        let remote = remote(&[&double]).await;
        for program in [free(), select()] {
            let written =
                finish(&remote, request(program)).await.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
            assert!(written.usage.sampled_tokens > 20, "{kind:?}: {:?}", written.usage);
        }
        let health = remote.health();
        assert_eq!((health.upstreams[0].faults, health.upstreams[0].misfits), (0, 0), "{kind:?}");
    }
}

#[tokio::test]
async fn the_prompt_and_what_was_written_are_sent_as_tokens_and_a_space_belongs_to_the_slot() {
    let double = Double::new(Options::default()).await;
    let remote = remote(&[&double]).await;
    let written = finish(&remote, request(select())).await.unwrap();
    let tokens = |text: &str| {
        let hangul = |c: char| u32::from(c).checked_sub(0xAC00).map_or(u32::from(c), |index| 256 + index);
        let mut tokens = vec![2];
        tokens.extend(text.chars().map(hangul));
        serde_json::json!(tokens)
    };
    let asked = double.asked();
    assert_eq!(asked[0]["prompt"], tokens("질문:"));
    let second = asked
        .iter()
        .find(|body| body["structured_outputs"]["regex"].as_str().is_some_and(|regex| regex.contains("계단")))
        .unwrap();
    assert_eq!(second["prompt"], tokens(&format!("질문: {}\n\n1.", written.slots[0])));
    assert!(second["structured_outputs"]["regex"].as_str().unwrap().starts_with(' '));
    assert_eq!((written.usage.prompt_tokens, written.usage.cached_tokens > 0), (4, true));
}

#[tokio::test]
async fn special_tokens_of_people_are_text_and_those_of_the_template_are_not() {
    let double = Double::new(Options::default()).await;
    let remote = remote(&[&double]).await;
    let pieces = vec![
        Piece::Template("\u{2}<eos>".into()),
        Piece::Text("가<eos>".into()),
        Piece::Template("<eos>".into()),
    ];
    let prompt = Prompt { pieces };
    finish(&remote, Request { prompt, ..request(short()) }).await.unwrap();
    let sent = &double.asked()[0]["prompt"];
    let eos = 256 + 11_172;
    let spelled: Vec<u32> = "<eos>".bytes().map(u32::from).collect();
    let expected = [vec![2, eos, 256], spelled, vec![eos]].concat();
    assert_eq!(*sent, serde_json::json!(expected), "and the template's own beginning isn't doubled");

    let double = Double::new(Options { kind: Kind::Openai, ..Options::default() }).await;
    let remote = crate::support::remote(&[&double]).await;
    let pieces = vec![
        Piece::Template("<user>".into()),
        Piece::Text("가<eos>".into()),
        Piece::Template("<eos>".into()),
    ];
    finish(&remote, Request { prompt: Prompt { pieces }, ..request(short()) }).await.unwrap();
    assert_eq!(double.asked()[0]["prompt"], "<user>가< eos><eos>");
}

#[tokio::test]
async fn any_progress_is_gone_on_from() {
    let double = Double::new(Options::default()).await;
    let remote = remote(&[&double]).await;
    for program in [free(), select()] {
        let whole = finish(&remote, request(program.clone())).await.unwrap().slots;
        for (index, slot) in whole.iter().enumerate() {
            let cuts = slot.char_indices().map(|(at, _)| at).chain([slot.len()]);
            for at in cuts.step_by(5) {
                let progress = Progress { done: whole[..index].to_vec(), partial: slot[..at].into() };
                let written =
                    finish(&remote, Request { progress, ..request(program.clone()) }).await.unwrap();
                assert!(written.slots[index].starts_with(&slot[..at]));
                assert_eq!(written.slots[..index], whole[..index]);
            }
        }
    }
    let misfit = Progress { done: Vec::new(), partial: "abc".into() };
    let error = finish(&remote, Request { progress: misfit, ..request(short()) }).await.unwrap_err();
    assert!(matches!(error, Error::Program(_)), "{error}");
}

#[tokio::test]
async fn a_slot_that_its_budget_cuts_off_is_led_to_an_end() {
    let double = Double::new(Options::default()).await;
    let remote = remote(&[&double]).await;
    let slot = Slot {
        name: "opening".into(),
        grammar: Grammar::Regex("[가-힣]{4,60}(?:니다|요)\\.".into()),
        max_tokens: 8,
        distinct_from: Vec::new(),
    };
    let program = Program::new(vec![Segment::Slot(slot)]).unwrap();
    for seed in 0..8 {
        let mut request = request(program.clone());
        request.sampling.seed = Some(seed);
        let written = finish(&remote, request).await.unwrap();
        assert!(written.slots[0].chars().count() <= 8 + 5, "{:?}", written.slots);
    }
    let ends = double.asked().iter().filter(|body| body["structured_outputs"]["choice"].is_array()).count();
    assert_eq!(ends, 0, "the shortest end is one: 요.");
}

#[tokio::test]
async fn a_server_that_keeps_to_nothing_is_cut_off_and_asked_anew() {
    let double = Double::new(Options { kind: Kind::Openai, binds: false, ..Options::default() }).await;
    double.plays([
        Trick::Say(&["날씨가", " 좋은 날!"]),
        Trick::Say(&["에", " 나무를 심\u{FFFD}"]),
        Trick::Say(&["습니다.", " 그리고 나무가 자랍니다."]),
    ]);
    let remote = remote(&[&double]).await;
    let written = finish(&remote, request(short())).await.unwrap();
    assert_eq!(written.slots, ["날씨가 좋은 날에 나무를 심습니다."]);
    let prompts: Vec<_> =
        double.asked().iter().map(|body| body["prompt"].as_str().unwrap().to_owned()).collect();
    assert_eq!(prompts, ["질문:", "질문: 날씨가 좋은 날", "질문: 날씨가 좋은 날에 나무를 심"]);
    assert_eq!(remote.health().upstreams[0].misfits, 2);
}

#[tokio::test]
async fn a_server_that_never_fits_is_given_up_with_a_reason() {
    let double = Double::new(Options { kind: Kind::Openai, binds: false, ..Options::default() }).await;
    double.plays(std::iter::repeat_n(Trick::Say(&["Sure! Here"]), 40));
    let remote = remote(&[&double]).await;
    let error = finish(&remote, request(short())).await.unwrap_err();
    let Error::Upstream { reason, late: false } = &error else { panic!("{error}") };
    assert!(reason.starts_with(&double.url()) && reason.contains("doesn't fit"), "{reason}");
}

#[tokio::test]
async fn a_grammar_that_is_refused_is_done_without() {
    let double = Double::new(Options::default()).await;
    double.plays([Trick::Say(&["객", "체를 모아 봅니다."])]);
    let remote = remote(&[&double]).await;
    // The double refuses whatever holds this syllable.
    let slot = Slot {
        name: "opening".into(),
        grammar: Grammar::Regex("(?:객체|나무)를 모아 봅니다\\.".into()),
        max_tokens: 30,
        distinct_from: Vec::new(),
    };
    let program = Program::new(vec![Segment::Slot(slot)]).unwrap();
    let progress = Progress::default();
    let written = finish(&remote, Request { progress, ..request(program) }).await;
    assert_eq!(written.unwrap().slots, ["객체를 모아 봅니다."]);
}

#[tokio::test]
async fn an_adapter_is_asked_for_by_its_name_and_who_asks_for_another_hears_so() {
    let double = Double::new(Options { adapters: &["polite", "plain"], ..Options::default() }).await;
    let remote = remote(&[&double]).await;
    assert_eq!(remote.model().adapters, ["plain", "polite"]);
    let with = |adapter: &str| Request { adapter: Some(adapter.into()), ..request(short()) };
    let polite = finish(&remote, with("polite")).await.unwrap();
    assert_eq!(double.asked()[0]["model"], "polite");
    let without = finish(&remote, request(short())).await.unwrap();
    assert_eq!(double.asked().last().unwrap()["model"], "fake");
    assert_ne!(polite.slots, without.slots);
    let error = finish(&remote, with("rude")).await.unwrap_err().to_string();
    assert!(error.contains("\"rude\"; there are plain, polite"), "{error}");
}

#[tokio::test]
async fn checks_say_what_does_not_fit() {
    let double = Double::new(Options::default()).await;
    let remote = std::sync::Arc::new(remote(&[&double]).await);
    let check = |program: Program, words: usize| {
        let remote = remote.clone();
        let prompt = Prompt { pieces: vec![Piece::Text("가".repeat(words))] };
        tokio::task::spawn_blocking(move || remote.check(&prompt, &program))
    };
    assert_eq!(check(free(), 100).await.unwrap(), Ok(()));
    assert_eq!(remote.count_tokens(&"가".repeat(50)), 51, "as many as the prompt showed, and its beginning");
    let error = check(free(), 8000).await.unwrap().unwrap_err();
    assert!(matches!(&error, Error::Unfit(reason) if reason.contains("8192")), "{error}");
    let tight = |regex: &str| {
        let slot = Slot {
            name: "text".into(),
            grammar: Grammar::Regex(regex.into()),
            max_tokens: 3,
            distinct_from: vec![],
        };
        Program::new(vec![Segment::Slot(slot)]).unwrap()
    };
    let error = check(tight("[가-힣]{20}"), 100).await.unwrap().unwrap_err().to_string();
    assert!(
        error.contains("slot text may take 3 tokens")
            && error.contains("at least") | error.contains("about 2"),
        "{error}"
    );
    let error = check(tight("^가"), 100).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("looks around"), "{error}");
}

#[tokio::test]
async fn an_upstream_is_named_with_or_without_v1() {
    let double = Double::new(Options::default()).await;
    for url in [
        double.url(),
        format!("{}/", double.url()),
        format!("{}/v1", double.url()),
        format!("{}/v1/", double.url()),
    ] {
        let remote =
            connect(vec![Upstream { url: Upstream::new(&url).url, ..upstream(&double) }]).await.unwrap();
        assert_eq!(remote.model().name, "fake");
    }
}
