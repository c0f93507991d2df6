use leafresh_engine::fake::FakeEmbedder;

use super::*;

fn read(name: &str, content: &str, codes: Codes) -> Result<Vec<Document>, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), content).unwrap();
    let corpus = Corpus::files(&[folder.path().to_owned()], codes).unwrap();
    let mut found = Vec::new();
    let read = corpus.for_each(&FakeEmbedder::new(8), |_, document| {
        found.push(document);
        Ok(())
    });
    read.map(|()| found).map_err(|error| error.to_string().replace(folder.path().to_str().unwrap(), ""))
}

#[test]
fn markdown_is_a_document_for_each_heading() {
    let text = "---\ncategory: VEGAN\n---\n머리말.\n\n# 하나\n첫 글.\n\n## 둘\n```\n# 제목이 아님\n```\n둘째 글.\n# 빈 것\n# 셋\n셋째 글.\n";
    let found = read("a.md", text, Codes::default()).unwrap();
    let titles: Vec<&str> = found.iter().map(|document| document.title.as_str()).collect();
    assert_eq!(titles, ["a", "하나", "하나 › 둘", "셋"]);
    assert!(found.iter().all(|document| document.category == "VEGAN" && document.source == "a.md"));
    assert_eq!(found[2].text, "# 제목이 아님 둘째 글.");
    assert_eq!(found[3].id, "a.md/4");
}

#[test]
fn a_long_text_becomes_passages_with_numbers_and_short_ones_stay_whole() {
    let text = "이것은 한 문장이에요. ".repeat(200);
    let found = read("긴글.txt", &text, Codes::default()).unwrap();
    assert!(found.len() > 3, "{}", found.len());
    assert_eq!(found[1].id, "긴글.txt#2");
    let embedder = FakeEmbedder::new(8);
    for document in &found {
        let tokens = embedder.count_tokens(&format!("{PASSAGE}{}", indexed_text(document)));
        assert!(tokens <= PASSAGE_TOKENS, "{tokens}");
        assert!(document.text.ends_with('.') && document.title == "긴글");
    }
    assert_eq!(read("a.txt", "짧은 글.", Codes::default()).unwrap()[0].id, "a.txt");
}

#[test]
fn a_wrong_line_is_named_with_what_was_expected() {
    let codes = Codes { categories: vec!["VEGAN".into()], places: vec!["city".into()], ..Codes::default() };
    let cases = [
        (
            "{\"text\": \"글.\", \"category\": \"VEGANS\"}",
            "/a.jsonl:1: `category`: the catalogue has no code `VEGANS`; known are VEGAN",
        ),
        (
            "\n{\"text\": \"글.\", \"places\": [\"moon\"]}",
            "/a.jsonl:2: `places`: the catalogue has no code `moon`; known are city",
        ),
        ("{\"title\": \"글\"}", "/a.jsonl:1: column 16: missing field `text`"),
        ("{\"text\": \" \"}", "/a.jsonl:1: `text` is empty"),
        ("글", "/a.jsonl:1: expected one JSON object on a line, `{\"title\": …, \"text\": …}`"),
    ];
    for (content, expected) in cases {
        let error = read("a.jsonl", content, codes.clone()).unwrap_err();
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
    let any = read(
        "a.jsonl",
        "{\"text\": \"글.\", \"category\": \"ANY\", \"work_types\": [\"x\"]}",
        Codes::default(),
    );
    assert_eq!(any.unwrap()[0].category, "ANY");
}

#[test]
fn a_file_that_is_no_text_and_one_of_an_unknown_kind_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.txt");
    std::fs::write(&path, b"first\n\xff\xfe").unwrap();
    let corpus = Corpus::files(&[path], Codes::default()).unwrap();
    let error = corpus.for_each(&FakeEmbedder::new(8), |_, _| Ok(())).unwrap_err().to_string();
    assert!(error.contains("a.txt:2: not UTF-8"), "{error}");
    let path = folder.path().join("a.pdf");
    std::fs::write(&path, "x").unwrap();
    let error = Corpus::files(&[path], Codes::default()).unwrap_err().to_string();
    assert!(error.contains(".jsonl, .ndjson, .md"), "{error}");
    assert!(Corpus::files(&["/nowhere".into()], Codes::default()).is_err());
}

#[test]
fn folders_are_searched_hidden_files_and_other_kinds_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("b");
    std::fs::create_dir(&inner).unwrap();
    for name in ["a.TXT", "b/c.md", ".hidden.txt", "d.png"] {
        std::fs::write(folder.path().join(name), "글.").unwrap();
    }
    let corpus = Corpus::files(&[folder.path().to_owned()], Codes::default()).unwrap();
    assert_eq!((corpus.file_count(), corpus.skipped), (2, 1));
    let origin =
        inner.join("gone.txt").canonicalize().unwrap_or(inner.canonicalize().unwrap().join("gone.txt"));
    assert!(corpus.covers(&origin.to_string_lossy()) && !corpus.covers("/elsewhere/a.txt"));
}

/// Field report 27.
#[test]
fn line_breaks_in_own_documents_become_spaces() {
    for broken in ["\\n\\n4. ", "\\r\\n", "\\u2028", "\\u2029", "\\u0085", "\\u000b", "\\f"] {
        let line = format!(
            "{{\"title\": \"가{broken}나\", \"text\": \"다{broken}라\", \"short\": \"마{broken}바\"}}\n"
        );
        let found = read("a.jsonl", &line, Codes::default()).unwrap();
        let [document] = &found[..] else { panic!("{found:?}") };
        let space = if broken.ends_with(' ') { " 4. " } else { " " };
        let expected = [format!("가{space}나"), format!("다{space}라"), format!("마{space}바")];
        assert_eq!([&document.title, &document.text, &document.short], expected.each_ref());
    }
}
