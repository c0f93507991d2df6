use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::Index;

use super::merging::Joiner;
use super::selection::{Selection, Wanted, select};
use super::*;
use crate::gguf::Merging;
use crate::gguf::tests::writer::*;

fn texts(list: &[&str]) -> Vec<Vec<u8>> {
    list.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// By scores: the later a token comes, the later it is joined.
fn by_scores(tokens: &[&str]) -> Vocabulary {
    Vocabulary {
        merging: Merging::Scores,
        tokens: texts(tokens),
        scores: Some((0..tokens.len()).map(|at| -(at as f32)).collect()),
        types: vec![1; tokens.len()],
        merges: Vec::new(),
        named: std::collections::BTreeMap::new(),
    }
}

fn by_pairs(tokens: &[&str], merges: &[&str]) -> Vocabulary {
    Vocabulary { merging: Merging::Pairs, merges: texts(merges), scores: None, ..by_scores(tokens) }
}

fn cut<'t>(vocabulary: &Vocabulary, text: &'t str) -> Vec<&'t str> {
    let parts = Joiner::new(vocabulary).join(text.as_bytes(), |_| ());
    parts.into_iter().map(|part| std::str::from_utf8(part).unwrap()).collect()
}

#[test]
fn the_pair_that_comes_first_is_joined_first_and_of_equals_the_leftmost() {
    let scores = by_scores(&["a", "b", "c", "bc", "ab", "abc", "가", "나", "가나", "aa"]);
    for (text, parts) in [
        ("abc", &["abc"][..]),
        ("abcb", &["abc", "b"]),
        ("bcab", &["bc", "ab"]),
        ("aaa", &["aa", "a"]),
        ("가나다", &["가나", "다"]),
        ("xyz", &["x", "y", "z"]),
        ("", &[]),
    ] {
        assert_eq!(cut(&scores, text), parts, "{text}");
    }
    // No `a bc` among the pairs: `abc` is reached through `ab` alone, which is joined later than `bc`.
    let pairs = by_pairs(&["a", "b", "c", "bc", "ab", "abc"], &["b c", "a b", "ab c"]);
    assert_eq!(cut(&pairs, "abc"), ["a", "bc"]);
    assert_eq!(cut(&pairs, "abb"), ["ab", "b"]);
    assert_eq!(cut(&by_pairs(&["a", "b", "ab", "aab"], &["a ab", "a b"]), "aab"), ["aab"]);
}

#[test]
fn a_token_brings_its_characters_and_all_that_is_joined_on_the_way() {
    let vocabulary = by_scores(&["a", "b", "c", "d", "cd", "ab", "abcd", "bc", "abc"]);
    let joiner = Joiner::new(&vocabulary);
    let parts = |token| joiner.parts(token).into_iter().collect::<HashSet<_>>();
    assert_eq!(parts(6), HashSet::from([0, 1, 2, 3, 4, 5]), "cd, ab, then both");
    assert_eq!(parts(8), HashSet::from([0, 1, 2, 5]));
    assert_eq!(parts(0), HashSet::new());
}

#[test]
fn pairs_stay_where_all_that_they_name_does() {
    let vocabulary = by_pairs(&["a", "b", "ab", "c", "abc"], &["a b", "ab c", "a x"]);
    let joiner = Joiner::new(&vocabulary);
    let kept = [true, true, true, true, false];
    let stays: Vec<bool> = vocabulary.merges.iter().map(|pair| joiner.keeps(pair, &kept)).collect();
    assert_eq!(stays, [true, false, true], "what isn't a token can't go");
}

/// Characters, and tokens made of the ones before them; for pairs, the pair that each is made by.
fn grown(merging: Merging, joined: &[(Index, Index)], order: &[u32]) -> Vocabulary {
    let mut tokens: Vec<String> = ["a", "b", "가", "나", "▁"].map(String::from).to_vec();
    let mut merges = Vec::new();
    for (left, right) in joined {
        let (left, right) = (left.get(&tokens).clone(), right.get(&tokens).clone());
        let both = format!("{left}{right}");
        if both.chars().count() <= 8 {
            merges.push(format!("{left} {right}"));
            if !tokens.contains(&both) {
                tokens.push(both);
            }
        }
    }
    // In another order than they grew in.
    merges.sort_by_key(|pair| order[pair.len() * 31 % order.len()]);
    let scores = (0..tokens.len()).map(|at| order[at % order.len()] as f32);
    Vocabulary {
        merging,
        scores: Some(scores.collect()),
        types: vec![1; tokens.len()],
        merges: merges.into_iter().map(String::into_bytes).collect(),
        tokens: tokens.into_iter().map(String::into_bytes).collect(),
        named: std::collections::BTreeMap::new(),
    }
}

fn without(vocabulary: &Vocabulary, kept: &[bool]) -> Vocabulary {
    let joiner = Joiner::new(vocabulary);
    Vocabulary {
        tokens: only(kept, &vocabulary.tokens),
        scores: vocabulary.scores.as_ref().map(|scores| only(kept, scores)),
        types: only(kept, &vocabulary.types),
        merges: vocabulary.merges.iter().filter(|pair| joiner.keeps(pair, kept)).cloned().collect(),
        ..vocabulary.clone()
    }
}

proptest! {
    /// What the closure is for: whatever is kept, a text whose tokens all stay is cut as before.
    #[test]
    fn a_text_whose_tokens_stay_is_cut_as_before(
        pairs: bool,
        joined in proptest::collection::vec(any::<(Index, Index)>(), 1..40),
        order in proptest::collection::vec(0u32..50, 1..60),
        chosen in proptest::collection::vec(any::<Index>(), 1..12),
        said in proptest::collection::vec(any::<Index>(), 1..12),
        noise in "[ab가나▁]{0,24}",
    ) {
        let merging = if pairs { Merging::Pairs } else { Merging::Scores };
        let vocabulary = grown(merging, &joined, &order);
        let joiner = Joiner::new(&vocabulary);
        let mut selection = Selection { kept: vec![false; vocabulary.tokens.len()], reasons: Vec::new() };
        for index in &chosen {
            selection.kept[index.index(vocabulary.tokens.len())] = true;
        }
        selection.close(&joiner);
        let kept = selection.kept;
        let trimmed = without(&vocabulary, &kept);
        let staying = only(&kept, &vocabulary.tokens);
        let of_kept: Vec<u8> = said.iter().flat_map(|index| index.get(&staying).clone()).collect();
        let mut texts = vec![String::from_utf8(of_kept).unwrap(), noise];
        texts.extend(staying.iter().map(|text| String::from_utf8(text.clone()).unwrap()));
        for text in texts {
            let before = cut(&vocabulary, &text);
            let stays = |part: &&str| joiner.token(part.as_bytes()).is_none_or(|token| kept[token as usize]);
            if before.iter().all(stays) {
                prop_assert_eq!(before, cut(&trimmed, &text));
            }
        }
        // Each kept token, in a text that is cut into it, so that the property says something.
        for text in staying.iter().map(|text| std::str::from_utf8(text).unwrap()) {
            if cut(&vocabulary, text).len() == 1 {
                prop_assert_eq!(cut(&trimmed, text).len(), 1, "{}", text);
            }
        }
    }
}

/// Marks, numbers that were set aside, all bytes, and letters of some scripts.
fn sample() -> Vec<(String, i32)> {
    let mut tokens: Vec<(String, i32)> = vec![("<unk>".into(), 2), ("<s>".into(), 3), ("</s>".into(), 3)];
    tokens.extend((0..300).map(|number| (format!("<unused{number}>"), 3)));
    tokens.extend((0..=255).map(|byte| (format!("<0x{byte:02X}>"), 6)));
    tokens.extend(["\n", "\n\n", "<turn>"].map(|text| (text.into(), 4)));
    tokens.extend(
        ('a'..='z').chain('가'..='깋').chain('ぁ'..='ゖ').chain('а'..='я').map(|c| (c.to_string(), 1)),
    );
    let words = ["▁", "ab", "abc", "abcd", "▁abc", "가나", "▁가", "가a", "да", "да▁", "xyzxyz", "🌱", "🌱🌱"];
    tokens.extend(words.map(|text| (text.into(), 1)));
    tokens
}

fn model(change: impl FnOnce(&mut Writer)) -> (tempfile::TempDir, PathBuf) {
    let tokens = sample();
    let count = tokens.len();
    let mut writer = Writer::model();
    let names: Vec<&str> = tokens.iter().map(|(text, _)| &**text).collect();
    let types: Vec<i32> = tokens.iter().map(|(_, kind)| *kind).collect();
    let scores: Vec<u8> = (0..count).flat_map(|at| (-(at as f32)).to_le_bytes()).collect();
    writer.set("tokenizer.ggml.tokens", texts_value(&names));
    writer.set("tokenizer.ggml.token_type", numbers_value(&types));
    writer.set("tokenizer.ggml.scores", list_value(6, count as u64, &scores));
    writer.set("tokenizer.ggml.bos_token_id", u32_value(1));
    writer.set("tokenizer.ggml.eot_token_id", u32_value(40));
    writer.set("tokenizer.ggml.suppress_tokens", numbers_value(&[2, 200, 40]));
    writer.set("llama.vocab_size", u32_value(count as u32));
    let rows = count as u64;
    writer.tensors = vec![
        tensor("token_embd.weight", &[64, rows], 2, count * 2 * 18),
        tensor("blk.0.attn_norm.weight", &[64], 0, 256),
        tensor("output.bias", &[rows], 0, count * 4),
    ];
    change(&mut writer);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    fs::write(&path, writer.bytes()).unwrap();
    (dir, path)
}

fn wanted(texts: &[String]) -> Wanted<'_> {
    Wanted { letters: |c| ('가'..='힣').contains(&c), ascii_length: 3, texts }
}

#[test]
fn what_is_special_wanted_or_a_part_of_that_stays() {
    let tokens = sample();
    let (_dir, path) = model(|_| ());
    let vocabulary = Vocabulary::read(&path, &gguf::check(&path).unwrap()).unwrap();
    let texts = ["да".to_owned()];
    let selection = select(&vocabulary, &Joiner::new(&vocabulary), &wanted(&texts));
    let stays = |text: &str| selection.kept[tokens.iter().position(|(known, _)| known == text).unwrap()];
    for (text, expected) in [
        ("<s>", true),
        ("<0x00>", true),
        ("<0xFF>", true),
        ("\n\n", true),
        ("<turn>", true),
        ("<unused8>", true),  // The numbers below 12, whatever they are.
        ("<unused37>", true), // Named by a key.
        ("<unused38>", false),
        ("<unused299>", false),
        ("깋", true),
        ("가a", true),
        ("abc", true),
        ("▁abc", true),
        ("abcd", false),
        ("xyzxyz", false),
        ("да", true),
        ("д", true),
        ("да▁", false),
        ("🌱", true),
        ("🌱🌱", false),
    ] {
        assert_eq!(stays(text), expected, "{text}");
    }
    let count = selection.kept.iter().filter(|kept| **kept).count();
    assert_eq!(count % 64, 0, "a round number");
    assert_eq!(selection.reasons.iter().map(|(_, count)| count).sum::<usize>(), count);
}

#[test]
fn a_trimmed_file_names_the_same_tokens_by_new_numbers() {
    let (dir, path) = model(|_| ());
    let trim = Trim::plan(&path, &wanted(&[])).unwrap();
    let target = dir.path().join("small.gguf");
    trim.write(&target).unwrap();
    assert!(fs::metadata(&target).unwrap().len() <= trim.bytes());
    let (before, after) = (gguf::check(&path).unwrap(), gguf::check(&target).unwrap());
    let [old, new] =
        [(&path, &before), (&target, &after)].map(|(path, header)| Vocabulary::read(path, header).unwrap());
    let kept = trim.kept();
    assert!(kept.len() < old.tokens.len() && after.vocabulary == kept.len());
    for (number, &id) in kept.iter().enumerate() {
        let id = id as usize;
        assert_eq!(
            (&new.tokens[number], new.types[number], new.scores.as_ref().unwrap()[number]),
            (&old.tokens[id], old.types[id], old.scores.as_ref().unwrap()[id])
        );
    }
    let number = |id: u32| kept.binary_search(&id).unwrap() as i64;
    let is = |key: &str, value: Value| assert_eq!(after.metadata.get(key), Some(&value), "{key}");
    is("tokenizer.ggml.bos_token_id", Value::Integer(1));
    is("tokenizer.ggml.eot_token_id", Value::Integer(number(40)));
    is("tokenizer.ggml.suppress_tokens", Value::Integers(vec![2, number(40)]));
    is("llama.vocab_size", Value::Integer(kept.len() as i64));
    is("general.name", Value::Text("작은 모델".into()));
    is(SOURCE_TOKENS, Value::Integer(old.tokens.len() as i64));
    is(SOURCE_IDS, Value::Integers(kept.iter().map(|&id| id.into()).collect()));
    is(SOURCE_SHA256, Value::Text(gguf::checksum(&path).unwrap().sha256));
    assert_eq!(after.tensors[0].dims, [64, kept.len() as u64]);
    assert_eq!(after.tensors[1], before.tensors[1]);
    assert_eq!(after.tensors[2].dims, [kept.len() as u64]);

    let again = Trim::plan(&target, &wanted(&[])).unwrap_err().to_string();
    assert!(again.contains("was trimmed already"), "{again}");
}

#[test]
fn models_of_another_layout_are_refused_before_anything_is_written() {
    let count = sample().len() as u64;
    let refused = |change: &dyn Fn(&mut Writer), parts: &[&str]| {
        let (_dir, path) = model(change);
        let reason = Trim::plan(&path, &wanted(&[])).unwrap_err().to_string();
        for part in parts {
            assert!(reason.contains(part), "expected {part:?} in {reason:?}");
        }
    };
    refused(&|w| w.set("tokenizer.ggml.model", text_value("bert")), &["`bert`", "`llama`"]);
    refused(&|w| w.set("llama.vocab_size", u32_value(7)), &["7 tokens"]);
    refused(
        &|w| w.tensors[0] = tensor("token_embd.weight", &[64, count + 1], 2, (count as usize + 1) * 36),
        &["token_embd.weight", "a row for each token"],
    );
    refused(&|w| w.tensors[0].name = "tok.weight".into(), &["`tok.weight`", "isn't known here"]);
    refused(&|w| _ = w.tensors.remove(0), &["no tensor `token_embd.weight`"]);
    refused(&|w| w.tensors[2].name = "blk.1.ids".into(), &["`blk.1.ids`", "output.bias"]);
    let list = list_value(6, count, &vec![0; count as usize * 4]);
    refused(&|w| w.set("tokenizer.ggml.weights", list.clone()), &["tokenizer.ggml.weights"]);
    let everything: Vec<String> = sample().into_iter().map(|(text, _)| text.replace('▁', " ")).collect();
    let (_dir, path) =
        model(|w| w.set("tokenizer.ggml.token_type", numbers_value(&vec![1; everything.len()])));
    let reason = Trim::plan(&path, &wanted(&everything)).unwrap_err().to_string();
    assert!(reason.contains("nothing to trim"), "{reason}");
}
