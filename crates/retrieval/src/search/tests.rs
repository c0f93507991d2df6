use super::*;

fn candidate(number: u128, category: &str, title: &str) -> Candidate {
    let document = Document {
        id: format!("d{number}"),
        category: category.into(),
        title: title.into(),
        text: format!("{title}를 해요."),
        short: "짧게.".into(),
        ..Document::default()
    };
    Candidate { id: PointId(number), document, dense: vec![1.0], score: 1.0 }
}

fn ids(candidates: &[Candidate]) -> Vec<&str> {
    candidates.iter().map(|candidate| candidate.document.id.as_str()).collect()
}

#[test]
fn what_is_near_in_meaning_and_in_words_comes_before_what_is_near_in_one() {
    let near = |number, cosine: f32, words: f32| Candidate {
        dense: vec![cosine],
        score: words,
        ..candidate(number, "A", &format!("제목 {number}"))
    };
    let [first, both, last, words] =
        [near(1, 0.9, 0.0), near(2, 0.89, 8.0), near(3, 0.8, 1.0), near(4, 0.7, 10.0)];
    let vector = QueryVector::of(&[1.0]);
    let lists = Candidates {
        by_meaning: vec![first.clone(), both.clone(), last.clone()],
        by_words: vec![words.clone(), both.clone(), last.clone()],
    };
    assert_eq!(ids(&fuse(lists, Some(&vector), None)), ["d2", "d1", "d3", "d4"]);

    let alone = |by_meaning, by_words| Candidates { by_meaning, by_words };
    let meaning = fuse(alone(vec![first.clone(), both.clone()], Vec::new()), Some(&vector), None);
    assert_eq!(ids(&meaning), ["d1", "d2"]);
    assert_eq!(ids(&fuse(alone(Vec::new(), vec![words, both]), None, None)), ["d4", "d2"], "without a model");
    assert_eq!(
        ids(&fuse(alone(vec![first], Vec::new()), Some(&vector), None)),
        ["d1"],
        "nothing to compare with"
    );
}

#[test]
fn with_a_metric_what_is_only_put_in_another_way_is_nearer() {
    let found = |number, dense: [f32; 3]| Candidate {
        dense: dense.to_vec(),
        ..candidate(number, "A", &format!("제목 {number}"))
    };
    let lists = || Candidates {
        by_meaning: vec![found(1, [0.74, 0.0, 0.67]), found(2, [0.71, 0.71, 0.0])],
        by_words: Vec::new(),
    };
    let asked = QueryVector::of(&[1.0, 0.0, 0.0]);
    assert_eq!(ids(&fuse(lists(), Some(&asked), None)), ["d1", "d2"]);
    assert_eq!(ids(&fuse(lists(), Some(&asked), Some(&metric::tests::metric()))), ["d2", "d1"]);
}

#[test]
fn at_most_so_many_of_a_category_and_none_twice() {
    let found = vec![
        candidate(1, "A", "하나"),
        candidate(2, "A", "하 나"),
        candidate(3, "A", "둘"),
        candidate(4, "A", "셋"),
        candidate(5, "B", "넷"),
        candidate(6, "", "다섯"),
        candidate(7, "", "여섯"),
        candidate(8, "", "일곱"),
    ];
    assert_eq!(ids(&choose(found.clone(), 10, 2)), ["d1", "d3", "d5", "d6", "d7", "d8"]);
    assert_eq!(ids(&choose(found.clone(), 10, usize::MAX)), ["d1", "d3", "d4", "d5", "d6", "d7", "d8"]);
    assert_eq!(ids(&choose(found, 2, 2)), ["d1", "d3"]);
}

#[test]
fn passages_of_one_text_may_share_its_title() {
    let mut passages = [candidate(1, "A", "안내"), candidate(2, "A", "안내")];
    for (number, passage) in passages.iter_mut().enumerate() {
        passage.document.short.clear();
        passage.document.text = format!("{number}번째 문단이에요.");
    }
    assert_eq!(choose(passages.into(), 5, 2).len(), 2);
}
