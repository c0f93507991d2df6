use proptest::prelude::*;

use super::super::{from_json, from_query};
use super::*;
use crate::streams::tests::catalog;

/// With these adapters.
fn known(catalog: &Catalog) -> Known<'_> {
    static ADAPTERS: std::sync::LazyLock<[String; 2]> =
        std::sync::LazyLock::new(|| ["polite".into(), "짧게".into()]);
    Known { catalog, adapters: Some(&*ADAPTERS) }
}

fn base_info(query: &str) -> Result<Values, Error> {
    check(&Table::BASE_INFO, &from_query(query), known(&catalog()))
}

#[test]
fn values_become_codes_where_the_catalogue_knows_them() {
    let cases = [
        ("도시", "사무직", "제로웨이스트", ("city", "office", "ZERO_WASTE")),
        ("BEACH", "Remote", "zero_waste", ("beach", "remote", "ZERO_WASTE")),
        ("시골", "재택", "업사이클링", ("rural", "remote", "UPCYCLING")),
        (" 바닷가 ", "영업직", "에너지절약", ("beach", "sales", "ENERGY_SAVING")),
        // What it doesn't know stays as it was written, normalised.
        ("\u{1112}\u{1161}\u{11ab}강", " 우주 비행사 ", "비건", ("한강", "우주 비행사", "VEGAN")),
    ];
    for (location, work_type, category, expected) in cases {
        let values =
            base_info(&format!("location={location}&workType={work_type}&category={category}")).unwrap();
        assert_eq!((&*values.location, &*values.work_type, &*values.category), expected);
        assert_eq!((values.session_id, values.dialect), (None, Dialect::Challenge));
    }
}

#[test]
fn an_adapter_is_one_that_the_engine_has() {
    let valid = "location=city&workType=office&category=VEGAN";
    let adapter = |value: &str| base_info(&format!("{valid}&adapter={value}")).map(|values| values.adapter);
    assert_eq!(adapter("polite"), Ok(Some("polite".into())));
    assert_eq!(adapter("+짧게"), Ok(Some("짧게".into())));
    assert_eq!(adapter(""), Ok(None));
    for unknown in ["Polite", "polite.gguf", "..", "x"] {
        assert_eq!(adapter(unknown), Err(Error::InvalidFields(vec![Name::Adapter])), "{unknown}");
    }
    // Before a model is loaded nobody knows.
    let (catalog, given) = (catalog(), from_query(&format!("{valid}&adapter=x")));
    let values = check(&Table::BASE_INFO, &given, Known { catalog: &catalog, adapters: None }).unwrap();
    assert_eq!(values.adapter.as_deref(), Some("x"));
}

#[test]
fn optional_values_are_taken_over() {
    let valid = "location=city&workType=office&category=VEGAN";
    let values =
        base_info(&format!("{valid}&sessionId=+a-1+&dialect=token&adapter=&requestId=x&progress=1")).unwrap();
    assert_eq!((values.session_id.as_deref(), values.dialect), (Some("a-1"), Dialect::Token));
    assert_eq!((values.request_id.as_deref(), values.progress), (Some("x"), true));
    let longest = "~".repeat(MAX_ID);
    let values = base_info(&format!("{valid}&sessionId={longest}")).unwrap();
    assert_eq!(values.session_id, Some(longest));
}

#[test]
fn lengths_are_counted_in_characters_after_normalisation() {
    let decomposed = "\u{1112}\u{1161}\u{11ab}";
    let accepted = |count: usize| {
        base_info(&format!("location={}&workType=office&category=VEGAN", decomposed.repeat(count))).is_ok()
    };
    assert!(accepted(MAX_TERM));
    assert!(!accepted(MAX_TERM + 1));
}

#[test]
fn the_first_missing_field_is_named_before_any_bad_one() {
    let missing = |query: &str| base_info(query).unwrap_err();
    assert_eq!(missing("sessionId=%01"), Error::Missing(Name::Location));
    assert_eq!(missing("location=%01&category=x"), Error::Missing(Name::WorkType));
    assert_eq!(missing("location=a&workType=b"), Error::Missing(Name::Category));
    assert_eq!(missing("location=%FF"), Error::InvalidEncoding);
    assert_eq!(missing("location=a&workType=b&errors=%FF"), Error::InvalidEncoding);
}

#[test]
fn json_switches_may_be_true_false_or_numbers_but_no_structures() {
    let progress = |value: &str| {
        let body = format!(r#"{{"location":"a","workType":"b","category":"VEGAN","progress":{value}}}"#);
        check(&Table::BASE_INFO, &from_json(body.as_bytes()).unwrap(), known(&catalog()))
    };
    for good in ["true", "false", "1", "0", "\"1\"", "null"] {
        assert!(progress(good).is_ok(), "{good}");
    }
    for bad in ["[]", "{}"] {
        assert_eq!(progress(bad), Err(Error::InvalidFields(vec![Name::Progress])), "{bad}");
    }
}

proptest! {
    #[test]
    fn fuzz_whatever_is_accepted_is_clean(location in any::<String>(), work_type in "\\PC{0,60}", id in "[ -~가]{0,140}") {
        let mut given = Given::default();
        for (name, value) in [(Name::Location, location), (Name::WorkType, work_type), (Name::SessionId, id)] {
            given.set(name, Some(Raw::Text(value)));
        }
        given.set(Name::Category, Some(Raw::Text("VEGAN".into())));
        if let Ok(values) = check(&Table::BASE_INFO, &given, known(&catalog())) {
            for text in [&values.location, &values.work_type] {
                prop_assert!(!text.contains(char::is_control) && text.trim() == text && !text.is_empty());
                prop_assert!(text.chars().count() <= MAX_TERM);
            }
            prop_assert!(values.session_id.is_none_or(|id| id.bytes().all(|byte| byte.is_ascii_graphic())));
        }
    }
}
