use super::*;
use proptest::prelude::*;

/// What comes of a stream that is cut at these bytes.
fn read(api: Api, strict: bool, stream: &str, cuts: &[usize]) -> (Result<Outcome, String>, String) {
    let mut text = String::new();
    let mut answer = || {
        let (mut parser, mut reader) = (Parser::default(), Reader::new(api, strict));
        let mut bytes = stream.as_bytes();
        let mut taken = 0;
        for cut in cuts.iter().copied().filter(|cut| *cut < stream.len()).chain([stream.len()]) {
            let (piece, rest) = bytes.split_at(cut - taken);
            (bytes, taken) = (rest, cut);
            for event in parser.push(piece)? {
                if reader.event(&event, &mut text)? {
                    return Ok(reader.verdict(&text));
                }
            }
        }
        reader.end_of_body()?;
        Ok(reader.verdict(&text))
    };
    (answer(), text)
}

fn whole(api: Api, strict: bool, stream: &str) -> Result<Outcome, String> {
    read(api, strict, stream, &[]).0
}

fn invalid(reason: &str) -> Outcome {
    Outcome::Invalid(reason.into())
}

/// A JSON answer with these titles.
fn json_answer(titles: &[&str]) -> String {
    let challenges: Vec<_> =
        titles.iter().map(|title| serde_json::json!({"title": title, "description": "설명"})).collect();
    serde_json::json!({"recommend": "추천합니다.", "challenges": challenges}).to_string()
}

fn leafresh_stream(texts: &[&str], close: &str) -> String {
    let mut stream = String::from("retry: 1000\n");
    for (index, text) in texts.iter().enumerate() {
        let data = serde_json::json!({"status": 200, "message": "토큰 생성", "data": text});
        let index = index.to_string();
        stream.extend([":\nid: a:", &index, "\nevent: challenge\ndata: ", &data.to_string(), "\n\n"]);
    }
    stream += "id: a:9\nevent: challenge\ndata: {\"status\":200,\"data\":{\"challenges\":{\"title\":\"하나\"}}}\n\n";
    stream
        + &format!(
            "id: a:end\nevent: close\ndata: {{\"status\":200,\"message\":\"끝\",\"data\":{close}}}\n\n"
        )
}

fn llama_stream(text: &str, stop: &str) -> String {
    let (first, rest) = text.split_at(1);
    let piece = |text: &str| serde_json::json!({"content": text, "stop": false});
    format!(
        "data: {}\n\ndata: {}\n\ndata: {{\"content\":\"\",\"stop\":true,\"stop_type\":\"{stop}\"}}\n\n",
        piece(first),
        piece(rest)
    )
}

fn openai_stream(text: &str, reason: &str, done: &str) -> String {
    let delta = serde_json::json!({"choices": [{"delta": {"content": text}, "finish_reason": null}]});
    format!(
        "data: {{\"choices\":[{{\"delta\":{{\"role\":\"assistant\",\"content\":null}}}}]}}\n\ndata: {delta}\n\n\
         data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"{reason}\"}}]}}\n\n\
         data: {{\"choices\":[],\"usage\":{{\"completion_tokens\":3}}}}\n\n{done}"
    )
}

#[test]
fn an_answer_of_ours_is_valid_when_its_texts_are_what_close_says() {
    let texts = ["추천", "합니다.", "\n\n1. ", "하나\n설명", "\n\n2. 둘\n설명", "\n\n3. 셋\n설명"];
    let close = json_answer(&["하나", "둘", "셋"]);
    let good = leafresh_stream(&texts, &close);
    assert_eq!(whole(Api::Leafresh, false, &good), Ok(Outcome::Valid));
    assert_eq!(read(Api::Leafresh, false, &good, &[]).1, texts.concat());

    let other = leafresh_stream(&texts[1..], &close);
    assert_eq!(
        whole(Api::Leafresh, false, &other),
        Ok(invalid("the texts joined are not what `close` says"))
    );
    let two = leafresh_stream(&texts[..5], &json_answer(&["하나", "둘"]));
    assert_eq!(whole(Api::Leafresh, false, &two), Ok(invalid("2 challenges instead of 3")));
    let degraded = close.replacen('{', "{\"degraded\":true,\"degradedReason\":\"timeout\",", 1);
    assert_eq!(
        whole(Api::Leafresh, false, &leafresh_stream(&texts, &degraded)),
        Ok(invalid("from the catalogue instead of the model: timeout"))
    );
}

#[test]
fn an_answer_of_others_is_valid_when_it_is_the_json_that_was_asked_for() {
    let good = json_answer(&["하나", "둘", "셋"]);
    let cases = [
        (good.as_str(), Outcome::Valid),
        (&good[..good.len() - 1], invalid("the text is not JSON")),
        (r#"{"challenges":[]}"#, invalid("no `recommend`")),
        (&json_answer(&["하나", "둘", "둘"]), invalid("a title comes twice")),
        (&json_answer(&["하나", "둘", " "]), invalid("a challenge without title or description")),
    ];
    for (text, expected) in cases {
        let expected = Ok(expected);
        assert_eq!(whole(Api::LlamaServer, true, &llama_stream(text, "eos")), expected, "{text}");
        assert_eq!(
            whole(Api::Openai, true, &openai_stream(text, "stop", "data: [DONE]\n\n")),
            expected,
            "{text}"
        );
        // Some servers close the connection instead of saying that they are done.
        assert_eq!(whole(Api::Openai, true, &openai_stream(text, "stop", "")), expected, "{text}");
    }
    let cut = Ok(invalid("cut off at the token cap"));
    assert_eq!(whole(Api::LlamaServer, true, &llama_stream(&good, "limit")), cut);
    assert_eq!(whole(Api::Openai, true, &openai_stream(&good, "length", "data: [DONE]\n\n")), cut);
    assert_eq!(whole(Api::LlamaServer, false, &llama_stream("any text", "eos")), Ok(Outcome::Valid));
    let completions = "data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: {\"choices\":[{\"text\":\"b\",\"finish_reason\":\"stop\"}]}\n\n";
    assert_eq!(read(Api::Openai, false, completions, &[]), (Ok(Outcome::Valid), "ab".into()));
}

#[test]
fn a_stream_that_breaks_off_says_why() {
    let cases = [
        (Api::Leafresh, "", "the stream ended without its end mark"),
        (
            Api::Leafresh,
            "event: error\ndata: {\"status\":500,\"message\":\"no\",\"data\":null}\n\n",
            "error event: no",
        ),
        (Api::Leafresh, "event: challenge\ndata: {\n\n", "an event's data is not JSON"),
        (Api::LlamaServer, "error: {\"code\":500,\"message\":\"no slot\"}\n\n", "error event: no slot"),
        (Api::Openai, "data: {\"error\":{\"message\":\"too long\"}}\n\n", "error event: too long"),
        (
            Api::LlamaServer,
            "data: {\"content\":\"a\",\"stop\":false}\n\n",
            "the stream ended without its end mark",
        ),
    ];
    for (api, stream, reason) in cases {
        assert_eq!(whole(api, true, stream), Err(reason.into()), "{stream}");
    }
    let endless = "a".repeat(MAX_EVENT + 1);
    assert_eq!(whole(Api::Openai, true, &endless), Err("a line of the stream is over 1 MiB".into()));
    assert!(Parser::default().push(b"data: \xFF\n").is_err());
}

proptest! {
    #[test]
    fn cuts_and_line_ends_make_no_difference(
        mut cuts in proptest::collection::vec(0usize..2000, 0..20),
        line_end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
    ) {
        let texts = ["추천합니다.", "\n\n1. 하나\n설명\n\n2. 둘\n설명\n\n3. 셋\n설명"];
        let stream = leafresh_stream(&texts, &json_answer(&["하나", "둘", "셋"])).replace('\n', line_end);
        cuts.sort_unstable();
        let (outcome, text) = read(Api::Leafresh, false, &stream, &cuts);
        prop_assert_eq!(outcome, Ok(Outcome::Valid));
        prop_assert_eq!(text, texts.concat());
    }
}
