//! One vector for a document and for what people ask whom it would help.

use leafresh_engine::Embedder;

use crate::vector::{PASSAGE, QUERY, embed_as, meaning_text};
use crate::{Document, Error};

/// What the middle of a document's questions counts beside its own text. Questions are nearer to questions than texts are;
/// anything from 4 to 12 finds about the same.
const QUESTIONS_WEIGHT: f32 = 8.0;

/// The vectors of documents, each of length 1. A document's questions are embedded as questions are, and their mean is
/// added to the vector of its text: so one vector, and one comparison, stands for all of them.
pub(crate) fn vectors_of<'a>(
    embedder: &dyn Embedder,
    documents: impl Iterator<Item = &'a Document> + Clone,
) -> Result<Vec<Vec<f32>>, Error> {
    let texts: Vec<String> = documents.clone().map(meaning_text).collect();
    let texts = embed_as(embedder, PASSAGE, texts.iter().map(String::as_str))?;
    let mut vectors: Vec<Vec<f32>> = texts.into_iter().map(|text| text.meaning).collect();
    let questions = documents.clone().flat_map(|document| &document.questions);
    let mut questions = embed_as(embedder, QUERY, questions.map(String::as_str))?.into_iter();
    for (vector, document) in vectors.iter_mut().zip(documents) {
        let count = document.questions.len();
        for question in questions.by_ref().take(count) {
            for (sum, value) in vector.iter_mut().zip(question.meaning) {
                *sum += QUESTIONS_WEIGHT * value / count as f32;
            }
        }
        normalize(vector);
    }
    Ok(vectors)
}

fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in vector {
            *value /= length;
        }
    }
}

#[cfg(test)]
mod tests {
    use leafresh_engine::fake::FakeEmbedder;

    use super::*;

    fn document(text: &str, questions: &[&str]) -> Document {
        let questions = questions.iter().map(|&question| question.to_owned()).collect();
        Document { title: "제목".into(), text: text.into(), questions, ..Document::default() }
    }

    #[test]
    fn questions_pull_a_document_towards_themselves_and_others_stay_where_they_are() {
        let embedder = FakeEmbedder::new(64);
        let plain = [document("전등을 꺼요.", &[]), document("컵을 챙겨요.", &[])];
        let asked = [document("전등을 꺼요.", &["요금이 많이 나와요", "집이 너무 환해요"]), plain[1].clone()];
        let (before, after) =
            (vectors_of(&embedder, plain.iter()).unwrap(), vectors_of(&embedder, asked.iter()).unwrap());
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        for question in &asked[0].questions {
            let asked = embed_as(&embedder, QUERY, [question.as_str()].into_iter()).unwrap();
            let asked = &asked[0].meaning;
            assert!(dot(asked, &after[0]) > dot(asked, &before[0]), "{question}");
        }
        assert_eq!(before[1], after[1]);
        for vector in after {
            assert!((dot(&vector, &vector) - 1.0).abs() < 1e-5);
        }
    }
}
