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
    Candidate { id: PointId(number), document, dense: vec![1.0] }
}

fn ids(candidates: &[Candidate]) -> Vec<&str> {
    candidates.iter().map(|candidate| candidate.document.id.as_str()).collect()
}

#[test]
fn what_both_lists_hold_comes_before_what_one_holds() {
    let [a, b, c, d] = [1, 2, 3, 4].map(|number| candidate(number, "A", &format!("제목 {number}")));
    let fused =
        fuse(Candidates { by_meaning: vec![a.clone(), b.clone(), c.clone()], by_words: vec![c, d, b] });
    assert_eq!(ids(&fused), ["d3", "d2", "d1", "d4"]);
    let alone = fuse(Candidates { by_meaning: vec![a], by_words: Vec::new() });
    assert_eq!(ids(&alone), ["d1"]);
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
