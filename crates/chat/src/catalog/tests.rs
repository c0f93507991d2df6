use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;
use tempfile::TempDir;

use super::*;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../catalog");

const SMALL_CATEGORIES: &str = r#"# A catalogue as small as it can be.
[[category]]
code = "VEGAN"
label = "비건"
aliases = ["채식", "plant based"]
description = "식물성 음식을 고르는 실천입니다."

[[place]]
code = "city"
label = "큰 도시"
aliases = ["큰도시", "urban"]
phrase = "도시에서"

[[place]]
code = "rural"
label = "농촌"
phrase = "농촌에서"

[[work_type]]
code = "office"
label = "사무직"
phrase = "사무직으로 일하는"
"#;

const SMALL_DOCUMENTS: &str = r#"{"id":"v-1","category":"VEGAN","places":["city","rural"],"work_types":["office"],"title":"채식 한 끼 먹기","text":"한 끼를 고기 없이 드세요. 1.5배 가벼워져요.","short":"한 끼를 채소로 먹어요.","source":"시험"}
{"id":"v-2","category":"VEGAN","places":["city"],"work_types":["office"],"title":"두부 요리 하기","text":"두부로 반찬을 만들어 보세요!","short":"두부를 먹어요.","source":"시험"}

{"id":"v-3","category":"VEGAN","places":["rural","city"],"work_types":["office"],"title":"콩밥 지어 먹기","text":"콩을 섞어 밥을 지으세요.","short":"콩밥을 먹어요.","source":"시험"}
{"id":"v-4","category":"VEGAN","places":["rural"],"work_types":["office"],"title":"텃밭 상추 따기","text":"텃밭에서 상추를 따서 드세요.","short":"상추를 따요.","source":"시험"}
"#;

const SMALL_KEYWORDS: &str = r#"particles = ["은", "는"]

[wishes]
restore = ["원래대로"]
another = ["아무거나"]
excluded = ['@말고']
not_excluded = []
also = ["랑"]
follow_up = ["그거"]

[replies]
laughter = "ㅋ"
consent = ["네"]
refusal = ["아니"]
filler = ["음"]
numbers = [["1"], ["2"], ["3"]]
mentioned = ['1번', '2번', '3번']
turned_down = '싫'
question = ["왜"]

[categories]
VEGAN = ["두부"]

[mentions]
ends = '[.]|요 '
self = '저는'
living = ['@{at} 살']
not_living = []
working = ['@로 일']
not_working = []
running = ['@ 운영']
there = '@에서'
beside = '^$'
place = ['(\S+)에 살아']
work = ['(\S+)로 일해']
ignore = ["집"]

[mentions.parts]
at = '(?:에|{from})'
from = '에서'

[nonsense]
runs = ["asdf"]

[topic]
on = ["환경"]
off = ["주식"]
"#;

/// A folder with the small catalogue and the shipped replies, answer form and prompts.
fn small() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("documents")).unwrap();
    fs::write(dir.path().join("categories.toml"), SMALL_CATEGORIES).unwrap();
    fs::write(dir.path().join("documents/vegan.jsonl"), SMALL_DOCUMENTS).unwrap();
    fs::write(dir.path().join("keywords.toml"), SMALL_KEYWORDS).unwrap();
    for folder in ["prompts", "gate", "gate/alarm"] {
        fs::create_dir(dir.path().join(folder)).unwrap();
        let entries = fs::read_dir(Path::new(SHIPPED).join(folder)).unwrap().map(Result::unwrap);
        for file in entries.filter(|entry| entry.path().is_file()) {
            let text = fs::read_to_string(file.path()).unwrap();
            // Of thousands of examples some are enough.
            let text = match file.path().extension() {
                Some(extension) if extension == "jsonl" => text.split_inclusive('\n').take(40).collect(),
                _ => text,
            };
            fs::write(dir.path().join(folder).join(file.file_name()), text).unwrap();
        }
    }
    for file in ["replies.toml", "answer.toml"] {
        fs::copy(Path::new(SHIPPED).join(file), dir.path().join(file)).unwrap();
    }
    dir
}

/// Replaces the first `from` in a file of the small catalogue. Returns the error's text without the folder, and the
/// line it should name: `line`, or for 0 that of `from`.
fn broken(file: &str, from: &str, to: &str, line: usize) -> (usize, String) {
    let dir = small();
    let path = dir.path().join(file);
    let text = fs::read_to_string(&path).unwrap();
    let offset = text.find(from).expect(from);
    fs::write(&path, text.replacen(from, to, 1)).unwrap();
    let Err(error) = Catalog::load(dir.path()) else {
        panic!("{file}: {from:?} → {to:?} was accepted");
    };
    let line = if line == 0 { source::line_of(&text, offset) } else { line };
    (line, error.to_string().replace(&format!("{}/", dir.path().display()), ""))
}

/// Each row: what is replaced, by what, the line that the message names (0: where the change begins), and what else
/// it holds.
fn check(file: &str, cases: &[(&str, &str, usize, &[&str])]) {
    for (from, to, line, expected) in cases {
        let (line, message) = broken(file, from, to, *line);
        let position = format!("{file}:{line}: ");
        assert!(
            message.starts_with(&position),
            "{from:?} → {to:?}\n  expected {position:?} in\n  {message:?}"
        );
        for part in *expected {
            assert!(message.contains(part), "{from:?} → {to:?}\n  expected {part:?} in\n  {message:?}");
        }
    }
}

#[test]
fn the_shipped_catalogue_loads() {
    let catalog = Catalog::load(Path::new(SHIPPED)).unwrap();
    assert_eq!(catalog.categories().len(), 8);
    assert_eq!(catalog.places().len(), 4);
    assert_eq!(catalog.work_types().len(), 4);
    for category in catalog.categories() {
        assert!(catalog.fitting(&category.code, Some("산"), Some("재택근무")).len() >= 3);
    }
    assert_eq!(catalog.replies().required.location, "location은 필수입니다.");
    assert_eq!(catalog.replies().events.challenge(2), "2번째 챌린지 추천");
    assert_eq!(
        catalog.replies().errors.invalid_fields(&["category", "location"]),
        "값을 확인해 주세요: category, location"
    );
}

#[test]
fn the_contract_s_names_are_found() {
    let catalog = Catalog::load(Path::new(SHIPPED)).unwrap();
    let categories = [
        ("제로웨이스트", "ZERO_WASTE"),
        ("플로깅", "PLOGGING"),
        ("탄소발자국", "CARBON_FOOTPRINT"),
        ("에너지 절약", "ENERGY_SAVING"),
        ("업사이클", "UPCYCLING"),
        ("UPCYCLE", "UPCYCLING"),
        ("문화 공유", "MEDIA"),
        ("디지털 탄소", "DIGITAL_CARBON"),
        ("비건", "VEGAN"),
    ];
    for (text, code) in categories {
        assert_eq!(catalog.category(text).map(|category| category.code.as_str()), Some(code), "{text}");
    }
    for (text, code) in [("도시", "city"), ("바닷가", "beach"), ("산", "mountain"), ("농촌", "rural")]
    {
        assert_eq!(catalog.place(text).map(|place| place.code.as_str()), Some(code), "{text}");
    }
    for (text, code) in
        [("사무직", "office"), ("현장직", "field"), ("영업직", "sales"), ("재택근무", "remote")]
    {
        assert_eq!(catalog.work_type(text).map(|work| work.code.as_str()), Some(code), "{text}");
    }
}

#[test]
fn names_are_found_whatever_their_spaces_case_and_composition() {
    let dir = small();
    let catalog = Catalog::load(dir.path()).unwrap();
    let decomposed = "\u{1107}\u{1175}\u{1100}\u{1165}\u{11ab}";
    for text in ["비건", " 비 건\u{3000}", decomposed, "VEGAN", "vegan", "Vegan", "채식", "PlantBased"]
    {
        assert!(catalog.category(text).is_some(), "{text:?}");
    }
    for text in ["", " ", "비건식", "vega", "농촌"] {
        assert!(catalog.category(text).is_none(), "{text:?}");
    }
    assert_eq!(catalog.place("큰 도 시").unwrap().phrase, "도시에서");
    assert!(catalog.work_type("city").is_none());
}

#[test]
fn fitting_documents_fit_place_and_work_and_unknown_values_fit_any() {
    let dir = small();
    let catalog = Catalog::load(dir.path()).unwrap();
    let ids = |category: &str, place: Option<&str>, work_type: Option<&str>| -> Vec<String> {
        catalog.fitting(category, place, work_type).iter().map(|document| document.id.clone()).collect()
    };
    assert_eq!(ids("VEGAN", Some("city"), Some("office")), ["v-1", "v-2", "v-3"]);
    assert_eq!(ids("비건", Some("농촌"), None), ["v-1", "v-3", "v-4"]);
    assert_eq!(ids("VEGAN", Some("우주 정거장"), Some("조종사")), ["v-1", "v-2", "v-3", "v-4"]);
    assert!(ids("MEDIA", None, None).is_empty());
}

#[test]
#[rustfmt::skip]
fn a_fault_in_categories_is_named_with_line_and_key() {
    check("categories.toml", &[
        ("label = \"비건\"", "lable = \"비건\"", 4, &["`lable` in `category`; did you mean `label`?"]),
        ("label = \"비건\"", "colour = \"비건\"", 4, &["`colour`", "known are `code`, `label`"]),
        ("label = \"비건\"\n", "", 2, &["missing key `label` in `category`"]),
        ("label = \"비건\"", "label = 3", 4, &["expected a string in `category.label`"]),
        ("label = \"비건\"", "code = \"B\"", 4, &["duplicate key `code`"]),
        ("label = \"비건\"", "label = \"비건", 4, &["string"]),
        ("[[work_type]]", "[[worktype]]", 19, &["`worktype`", "did you mean `work_type`?"]),
        ("[[category]]", "[category]", 2, &["expected a sequence in `category`"]),
        ("code = \"VEGAN\"", "code = \"VE GAN\"", 3, &["`code`", "ASCII"]),
        ("code = \"VEGAN\"", "code = \"\"", 3, &["`code`", "is empty"]),
        ("\"비건\"", "\"비건 \"", 4, &["`label`", "ends with a space"]),
        ("\"비건\"", "\"비\\n건\"", 4, &["`label`", "line break"]),
        ("\"비건\"", "\"비\\u0007건\"", 4, &["`label`", "U+0007"]),
        ("code = \"rural\"", "code = \"CITY\"", 15, &["`code` repeats the `code` of line 9"]),
        ("label = \"농촌\"", "label = \"URBAN\"", 16, &["`label` repeats the `aliases` of line 11"]),
        ("plant based", "채 식", 5, &["`aliases` repeats the `aliases` of line 5: `채 식`"]),
        ("\"큰도시\", \"urban\"", "\n\"큰도시\",\n\"큰 도시\"", 13, &["`aliases` repeats the `label` of line 10"]),
        ("식물성 음식을", "식물성\\t음식을", 6, &["`description`", "U+0009"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_fault_in_replies_is_named_with_line_and_key() {
    check("replies.toml", &[
        ("off_topic =", "of_topic =", 0, &["`of_topic` in `fixed`; did you mean `off_topic`?"]),
        ("[ok]\n", "[okay]\n", 0, &["unknown key `okay`", "`errors`, `ok`"]),
        ("[ok]\nsuccess = \"성공\"\n", "[ok]\n", 0, &["missing key `success` in `ok`"]),
        ("{n}번째", "번째", 0, &["`events.challenge`", "lacks `{n}`"]),
        ("{n}번째", "{m}번째 {n}", 0, &["`events.challenge`", "brace"]),
        (": {fields}", "", 0, &["`errors.invalid_fields`", "lacks `{fields}`"]),
        ("\"대기 중\"", "\"대기 중 {n}\"", 0, &["`events.queued`", "brace"]),
        ("\"대기 중\"", "\"\"", 0, &["`events.queued`", "is empty"]),
        ("\"대기 중\"", "[]", 0, &["expected a string in `events.queued`"]),
    ]);
}

#[test]
#[rustfmt::skip]
fn a_fault_in_a_document_is_named_with_line_and_key() {
    check("documents/vegan.jsonl", &[
        ("\"id\":\"v-3\"", "\"id\":\"v-3", 4, &["malformed JSON at column"]),
        ("{\"id\":\"v-3\"", "[\"v-3\"", 4, &["JSON object"]),
        ("\"id\":\"v-3\",", "", 4, &["missing key `id`"]),
        ("\"id\":\"v-3\"", "\"id\":3", 4, &["`id`", "expected a string"]),
        ("\"id\":\"v-3\"", "\"id\":\"v 3\"", 4, &["`id`", "`v 3`"]),
        ("\"id\":\"v-3\"", "\"id\":\"v-1\"", 4, &["`id` repeats", "vegan.jsonl:1"]),
        ("\"id\":\"v-3\"", "\"id\":\"a\",\"id\":\"b\"", 4, &["duplicate key `id`"]),
        ("\"places\":[\"rural\",\"city\"]", "\"place\":[]", 4, &["`place`; did you mean `places`?"]),
        ("[\"rural\",\"city\"]", "[]", 4, &["`places` is empty", "city, rural"]),
        ("[\"rural\",\"city\"]", "\"rural\"", 4, &["`places`", "expected a sequence"]),
        ("[\"rural\",\"city\"]", "[\"rurall\"]", 4, &["`places`", "`rurall`; did you mean `rural`?"]),
        ("[\"rural\",\"city\"]", "[\"city\",\"city\"]", 4, &["`places` names `city` twice"]),
        ("[\"office\"]", "[\"moon\"]", 1, &["`work_types`", "`moon`; known are `office`"]),
        ("\"VEGAN\"", "\"VEGAM\"", 1, &["`category`", "did you mean `VEGAN`?"]),
        ("채식 한 끼 먹기", "채식", 1, &["`title` has 2 characters", "4 to 24"]),
        ("채식 한 끼 먹기", "채식 한 끼 먹기 채식 한 끼 먹기 채식 한 끼", 1, &["`title` has 26"]),
        ("콩밥 지어 먹기", "채식 한끼 먹기", 4, &["`title` repeats", "vegan.jsonl:1"]),
        ("지으세요.", "지으세요", 4, &["`text` has to end with"]),
        ("지으세요.", "지으세요. 둘. 셋.", 4, &["`text` has 3 sentences"]),
        ("지으세요.", "지으\\n세요.", 4, &["`text`", "line break"]),
        ("두부를 먹어요.", "", 2, &["`short` is empty"]),
        ("시험", "시\u{fffd}험", 1, &["`source`", "U+FFFD"]),
    ]);
}

#[test]
fn a_combination_with_too_few_documents_is_named_at_its_category() {
    let (_, message) = broken("documents/vegan.jsonl", "[\"city\"]", "[\"rural\"]", 0);
    for part in ["categories.toml:3:", "`VEGAN`", "3 documents", "place `city`", "work type `office` has 2"] {
        assert!(message.contains(part), "{part:?} in {message:?}");
    }
}

#[test]
fn text_in_another_encoding_is_named_with_its_line() {
    let dir = small();
    let mut bytes = b"# first\n# ".to_vec();
    bytes.extend([0xba, 0xf1, 0xb0, 0xc7]);
    fs::write(dir.path().join("categories.toml"), bytes).unwrap();
    let message = Catalog::load(dir.path()).unwrap_err().to_string();
    assert!(message.contains("categories.toml:2: not UTF-8"), "{message}");
}

#[test]
fn decomposed_text_and_a_byte_order_mark_are_read_as_nfc() {
    use unicode_normalization::UnicodeNormalization;
    let dir = small();
    let path = dir.path().join("documents/vegan.jsonl");
    let decomposed: String = SMALL_DOCUMENTS.nfd().collect();
    fs::write(&path, format!("\u{feff}{}", decomposed.replace('\n', "\r\n"))).unwrap();
    let catalog = Catalog::load(dir.path()).unwrap();
    assert_eq!(catalog.documents()[0].title, "채식 한 끼 먹기");
}

#[test]
fn what_is_missing_is_named_by_its_path() {
    for name in ["categories.toml", "replies.toml", "documents/vegan.jsonl"] {
        let dir = small();
        fs::remove_file(dir.path().join(name)).unwrap();
        let message = Catalog::load(dir.path()).unwrap_err().to_string();
        let shown = name.strip_suffix("/vegan.jsonl").unwrap_or(name);
        assert!(message.contains(shown), "{message}");
    }
    let message = Catalog::load(Path::new("/nowhere/at/all")).unwrap_err().to_string();
    assert!(message.contains("/nowhere/at/all/categories.toml"), "{message}");
}

#[test]
fn faults_in_the_keywords_are_named() {
    check(
        "keywords.toml",
        &[
            ("VEGAN = ", "VEGEN = ", 0, &["no code `VEGEN`", "did you mean `VEGAN`?"]),
            ("place = ['(", "place = ['((", 0, &["`place`"]),
            ("work = ['(\\S+)로", "work = ['로", 0, &["mentions.work", "no group"]),
            ("living = ['@{at}", "living = ['@{to}", 0, &["`living`", "holds `{to}`", "no `to`"]),
            ("excluded = ", "excuded = ", 0, &["unknown key `excuded`", "did you mean `excluded`?"]),
        ],
    );
}

#[test]
fn a_part_that_holds_itself_is_named() {
    let (_, message) = broken("keywords.toml", "from = '에서'", "from = '{at}'", 0);
    assert!(message.contains("`living`: `from` of [mentions.parts] holds itself"), "{message}");
}

#[test]
fn faults_in_the_gate_are_named() {
    check("gate/examples.jsonl", &[("\"topic\": \"on\"", "\"topic\": \"in\"", 0, &["in"])]);
    check(
        "gate/alarm/danger.jsonl",
        &[("\"kind\": \"danger\"", "\"kind\": \"dangerous\"", 0, &["dangerous"])],
    );
    let (_, message) = broken("gate/insults.toml", "\"병신\"", "\"병신이라는 말\"", 1);
    assert!(message.contains("gate/insults.toml:") && message.contains("has to be an insult"), "{message}");
}

/// Catalogues from before there were such examples.
#[test]
fn without_alarming_examples_lists_have_to_do() {
    let dir = small();
    let alarming = |dir: &TempDir| Catalog::load(dir.path()).unwrap().gate().alarming().len();
    assert!(alarming(&dir) > 100);
    fs::remove_dir_all(dir.path().join("gate/alarm")).unwrap();
    assert_eq!(alarming(&dir), 0);
    fs::create_dir(dir.path().join("gate/alarm")).unwrap();
    assert_eq!(alarming(&dir), 0);
}

const FILES: [&str; 8] = [
    "categories.toml",
    "keywords.toml",
    "replies.toml",
    "answer.toml",
    "documents/vegan.jsonl",
    "prompts/base-info.j2",
    "prompts/free-text.j2",
    "gate/insults.toml",
];

/// What hurts in TOML, JSON, templates, expressions and texts.
const NOISE: [&[u8]; 18] = [
    b"\"",
    b"'",
    b"[",
    b"]]",
    b"{",
    b"}}",
    b"{{",
    b"{%",
    b"=",
    b"\n",
    b"\\",
    b"(?",
    b"{1,9999}",
    b"99999999999999999999",
    b"-1",
    b"\0",
    b"\xff",
    b"null",
];

/// A change of the kind that hands and disks make.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Cut(Index, usize),
    Insert(Index, usize),
    TwiceTheLine(Index),
    WithoutTheLine(Index),
    End(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (at(), 1usize..40).prop_map(|(at, length)| Change::Cut(at, length)),
        (at(), 0..NOISE.len()).prop_map(|(at, noise)| Change::Insert(at, noise)),
        at().prop_map(Change::TwiceTheLine),
        at().prop_map(Change::WithoutTheLine),
        at().prop_map(Change::End),
    ]
}

fn changed(mut bytes: Vec<u8>, change: &Change) -> Vec<u8> {
    if bytes.is_empty() {
        return bytes;
    }
    let with_lines = |bytes: &[u8], change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut lines: Vec<_> = bytes.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        change(&mut lines);
        lines.join(&b'\n')
    };
    match change {
        Change::Flip(at, bit) => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            bytes
        }
        Change::Cut(at, length) => {
            let at = at.index(bytes.len());
            bytes.drain(at..(at + length).min(bytes.len()));
            bytes
        }
        Change::Insert(at, noise) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, NOISE[*noise].iter().copied());
            bytes
        }
        Change::TwiceTheLine(at) => with_lines(&bytes, &|lines| {
            let at = at.index(lines.len());
            lines.insert(at, lines[at].clone());
        }),
        Change::WithoutTheLine(at) => with_lines(&bytes, &|lines| _ = lines.remove(at.index(lines.len()))),
        Change::End(at) => bytes[..at.index(bytes.len())].to_vec(),
    }
}

proptest! {
    #[test]
    fn fuzz_a_damaged_catalogue_loads_or_names_file_and_line(
        file in 0..FILES.len(),
        changes in proptest::collection::vec(change(), 1..4),
    ) {
        let dir = small();
        let path = dir.path().join(FILES[file]);
        let bytes = changes.iter().fold(fs::read(&path).unwrap(), changed);
        fs::write(&path, &bytes).unwrap();
        match Catalog::load(dir.path()) {
            Ok(catalog) => prop_assert!(!catalog.categories().is_empty()),
            Err(Error::Catalog { path, line, reason }) => {
                prop_assert!(path.starts_with(dir.path()) && !reason.is_empty());
                let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                prop_assert!((1..=text.lines().count() + 1).contains(&line), "{}:{line}: {reason}", path.display());
            }
            Err(Error::Io { path, .. }) => prop_assert!(path.starts_with(dir.path())),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}
