use std::collections::HashMap;

use super::*;

fn catalog() -> (Files, Catalog) {
    let files = Files::built_in();
    let catalog = Catalog::of(&files).unwrap();
    (files, catalog)
}

/// Beginnings of words: particles and endings are joined to Korean words, so whole words hardly ever agree.
fn stems(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.chars().count() > 1);
    words.map(|word| word.chars().take(2).collect()).collect()
}

#[test]
fn questions_share_few_words_with_the_documents_that_answer_them() {
    let (files, catalog) = catalog();
    let queries = queries(&files, &catalog).unwrap();
    assert!(queries.len() >= 100, "{}", queries.len());
    let documents: HashMap<&str, HashSet<String>> = catalog
        .documents()
        .iter()
        .map(|document| {
            (&*document.id, stems(&format!("{} {}", document.title, document.text)).into_iter().collect())
        })
        .collect();
    let mut most = Vec::new();
    for query in &queries {
        assert!(query.fresh || query.relevant.len() >= 2, "one document only: {}", query.query);
        let stems = stems(&query.query);
        let shared = |id: &String| stems.iter().filter(|stem| documents[&**id].contains(*stem)).count();
        let shared = query.relevant.iter().map(shared).max().unwrap_or(0) as f64 / stems.len() as f64;
        assert!(query.fresh || shared <= 0.5, "{shared:.2} of its words are in a document: {}", query.query);
        most.push(shared);
    }
    let mean = most.iter().sum::<f64>() / most.len() as f64;
    assert!(mean < 0.2, "{mean:.2} of the words on average are in the likest relevant document");
}

#[test]
fn every_category_is_asked_about() {
    let (files, catalog) = catalog();
    let asked: Vec<_> =
        queries(&files, &catalog).unwrap().into_iter().flat_map(|query| query.relevant).collect();
    let messages = messages(&files, &catalog).unwrap();
    for category in catalog.categories() {
        let of_category = |document: &&leafresh_chat::Document| document.category == category.code;
        let count = catalog
            .documents()
            .iter()
            .filter(of_category)
            .filter(|document| asked.contains(&document.id))
            .count();
        assert!(count >= 30, "{count} documents of {} are relevant to a question", category.code);
        let messages = messages.iter().filter(|message| message.category.as_ref() == Some(&category.code));
        assert!(messages.count() >= 5, "{}", category.code);
    }
}

#[test]
fn there_are_a_hundred_messages_of_every_kind_and_none_comes_twice() {
    let (files, catalog) = catalog();
    let messages = messages(&files, &catalog).unwrap();
    assert_eq!(messages.len(), 100);
    assert_eq!(messages.iter().map(|message| &message.text).collect::<HashSet<_>>().len(), 100);
    for kind in Kind::REFUSED {
        let count = messages.iter().filter(|message| message.kind == kind).count();
        assert!(count >= 8, "{count} of {}", kind.name());
    }
}

#[test]
fn a_fault_is_named_with_its_line() {
    let (_, catalog) = catalog();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("eval")).unwrap();
    let good = r#"{"query":"가","relevant":["vegan-001"]}"#;
    for (line, reason) in [
        (r#"{"query":"나","relevant":["vegan-999"]}"#, "no document \"vegan-999\""),
        (r#"{"query":"나","relevant":[]}"#, "`relevant` is empty"),
        (good, "comes twice"),
        (r#"{"query":"나"}"#, "missing field `relevant`"),
    ] {
        std::fs::write(dir.path().join(QUERIES), format!("{good}\n\n{line}\n")).unwrap();
        let error = format!("{:#}", queries(&Files::in_folder(dir.path()), &catalog).unwrap_err());
        assert!(error.contains("line 3") && error.contains(reason), "{error}");
    }
    for (line, reason) in [
        (r#"{"text":"가","expect":"answer","kind":"on_topic","category":"NONE"}"#, "no category \"NONE\""),
        (r#"{"text":"가","expect":"answer","kind":"insult"}"#, "kind `insult`"),
    ] {
        std::fs::write(dir.path().join(MESSAGES), line).unwrap();
        let error = format!("{:#}", messages(&Files::in_folder(dir.path()), &catalog).unwrap_err());
        assert!(error.contains("line 1") && error.contains(reason), "{error}");
    }
    std::fs::remove_file(dir.path().join(QUERIES)).unwrap();
    let error = format!("{:#}", queries(&Files::in_folder(dir.path()), &catalog).unwrap_err());
    assert!(error.contains("eval/queries.jsonl") && error.contains("--parts"), "{error}");
}
