use serde_json::json;

use super::*;

fn compile(schema: &Value) -> regex::Regex {
    let regex = of_schema(schema, "schema").unwrap_or_else(|refusal| panic!("{schema}: {}", refusal.message));
    regex::RegexBuilder::new(&format!("^(?:{regex})$")).size_limit(100 << 20).build().unwrap()
}

/// Each text is JSON, or the test is wrong.
#[expect(clippy::needless_pass_by_value, reason = "tables read better without a reference in each row")]
fn check(schema: Value, allowed: &[&str], refused: &[&str]) {
    let regex = compile(&schema);
    for text in allowed {
        assert!(serde_json::from_str::<Value>(text).is_ok(), "{text}");
        assert!(regex.is_match(text), "{schema} allows {text}");
    }
    for text in refused {
        assert!(!regex.is_match(text), "{schema} doesn't allow {text}");
    }
}

#[test]
fn scalars() {
    check(
        json!({ "type": "string" }),
        &[r#""""#, r#""가 \" \\ \n 🌱""#, r#"" ""#],
        &[r#"""#, r#""a"b""#, "\"\n\"", r#""\x""#, "a", r#""\u0041""#],
    );
    check(
        json!({ "type": "string", "minLength": 2, "maxLength": 3 }),
        &[r#""가나""#, r#""\n\n""#, r#""abc""#],
        &[r#""a""#, r#""abcd""#],
    );
    check(json!({ "type": "integer" }), &["0", "-1", "120"], &["01", "1.5", "-", "", "1e5", "\"1\""]);
    check(
        json!({ "type": "integer", "minimum": 1, "exclusiveMaximum": 10 }),
        &["1", "9"],
        &["0", "10", "-1"],
    );
    check(json!({ "type": "number" }), &["0", "-0.5", "12.25"], &["1.", ".5", "+1", "00"]);
    check(json!({ "type": "number", "minimum": 0 }), &["0", "0.5"], &["-0.5"]);
    check(json!({ "type": "boolean" }), &["true", "false"], &["True", "null"]);
    check(json!({ "type": ["string", "null"], "maxLength": 1 }), &["null", r#""a""#], &[r#""ab""#, "1"]);
}

#[test]
fn what_is_listed() {
    check(
        json!({ "enum": ["a.b", 1, null, { "a": [1] }] }),
        &[r#""a.b""#, "1", "null", r#"{"a":[1]}"#],
        &[r#""axb""#],
    );
    check(json!({ "enum": ["a", 1], "type": "integer" }), &["1"], &[r#""a""#]);
    check(json!({ "const": "가\n", "type": "string" }), &[r#""가\n""#], &[r#""가""#]);
    check(
        json!({ "anyOf": [{ "type": "integer" }, { "type": "null" }], "description": "maybe", "default": null }),
        &["5", "null"],
        &[r#""5""#],
    );
}

#[test]
fn objects_name_their_properties_in_order_and_may_leave_out_what_is_not_required() {
    let properties = json!({
        "a": { "type": "integer" }, "b": { "type": "string" }, "c": { "type": "null" },
    });
    let of = |required: Value| json!({ "type": "object", "properties": properties, "required": required });
    let all = r#"{"a":1,"b":"x","c":null}"#;
    check(
        of(json!(["a", "b", "c"])),
        &[all, r#"{"a": 1, "b": "x", "c": null}"#],
        &[
            "{}",
            r#"{"b":"x","a":1,"c":null}"#,
            r#"{"a":1,"b":"x"}"#,
            r#"{"a":1,"b":"x","c":null,"d":1}"#,
            r#"{"a":1,"b":"x","c":null,}"#,
            "{ \"a\":1,\"b\":\"x\",\"c\":null}",
        ],
    );
    check(
        of(json!(["b"])),
        &[all, r#"{"b":""}"#, r#"{"a":1,"b":""}"#, r#"{"b":"","c":null}"#],
        &["{}", r#"{"a":1}"#, r#"{,"b":""}"#, r#"{"b":"",}"#],
    );
    check(
        of(json!([])),
        &[all, "{}", r#"{"c":null}"#, r#"{"a":1,"c":null}"#],
        &[r#"{"c":null,"a":1}"#, "{,}"],
    );
    check(json!({ "type": "object" }), &["{}"], &[r#"{"a":1}"#]);
    let map = json!({ "type": "object", "additionalProperties": { "type": "integer" } });
    check(map, &["{}", r#"{"x":1, "y": 2}"#], &[r#"{"x":"1"}"#]);
}

#[test]
fn lists_and_what_refers_to_other_places() {
    let items = |more: Value| {
        let mut schema = json!({ "type": "array", "items": { "$ref": "#/$defs/Point" }, "$defs": {
            "Point": { "type": "object", "properties": { "x": { "type": "integer" } }, "required": ["x"] },
        } });
        for (key, value) in more.as_object().unwrap() {
            schema[key] = value.clone();
        }
        schema
    };
    let (one, two, three) = (r#"{"x":1}"#, r#"{"x":1},{"x":2}"#, r#"{"x":1}, {"x":2}, {"x":3}"#);
    let list = |inside: &str| format!("[{inside}]");
    let texts = [list(""), list(one), list(two), list(three)];
    for (more, counts) in [
        (json!({}), 0..=3),
        (json!({ "minItems": 1 }), 1..=3),
        (json!({ "maxItems": 2 }), 0..=2),
        (json!({ "minItems": 2, "maxItems": 2 }), 2..=2),
        (json!({ "maxItems": 0 }), 0..=0),
        (json!({ "uniqueItems": false }), 0..=3),
    ] {
        let regex = compile(&items(more.clone()));
        for (count, text) in texts.iter().enumerate() {
            assert_eq!(regex.is_match(text), counts.contains(&count), "{more}: {text}");
        }
        assert!(!regex.is_match("[,]") && !regex.is_match(r#"[{"x":1},]"#));
    }
    check(json!({ "allOf": [{ "type": "null" }] }), &["null"], &["1"]);
}

#[test]
fn patterns_and_formats() {
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    check(pattern("^[a-z]{2}\\d+$"), &[r#""ab12""#], &[r#""ab""#, r#""xab1""#, r#""ab１""#]);
    check(pattern("b"), &[r#""abc""#, r#""b""#, r#""\"b""#], &[r#""ac""#]);
    check(pattern("^a|b$"), &[r#""ax""#, r#""xb""#], &[r#""xa""#]);
    check(pattern("^(가|나)+$"), &[r#""가나가""#], &[r#""""#]);
    check(pattern(r#"^"\\$"#), &[r#""\"\\""#], &[r#"""""#]);
    check(pattern(r#"^["\n]$"#), &[r#""\"""#, r#""\n""#], &["\"\n\""]);
    check(pattern("^[^a]$"), &[r#""\"""#, r#""가""#, r#""\\""#], &[r#""a""#, "\"\n\""]);
    check(pattern("^[\\w-]+\\/x$"), &[r#""a-b/x""#], &[r#""a b/x""#]);
    let format = |format: &str| json!({ "type": "string", "format": format });
    check(format("date"), &[r#""2026-02-28""#, r#""2026-12-31""#], &[r#""2026-02-30""#, r#""2026-04-31""#]);
    check(
        format("date-time"),
        &[r#""2026-01-01T10:00:00Z""#, r#""2026-01-01T10:00:00.5+09:00""#],
        &[r#""2026-01-01""#],
    );
    check(format("uuid"), &[r#""123e4567-e89b-12d3-a456-426614174000""#], &[r#""123""#]);
    check(format("ipv4"), &[r#""127.0.0.1""#], &[r#""256.0.0.1""#]);
}

#[test]
fn any_json_object_of_a_few_levels() {
    let regex =
        regex::RegexBuilder::new(&format!("^(?:{})$", any_object())).size_limit(100 << 20).build().unwrap();
    for text in ["{}", r#"{"a": [1, {"b": "c"}], "d": null}"#, r#"{"a":{"b":[true,-1.5]}}"#] {
        assert!(regex.is_match(text), "{text}");
    }
    for text in ["[]", "1", r#"{"a":}"#, r#"{"a":1,}"#, r#"{"a":[[[[1]]]]}"#, "{} "] {
        assert!(!regex.is_match(text), "{text}");
    }
}

#[test]
fn what_can_not_be_followed_is_refused_with_its_keyword_and_the_way_to_it() {
    let deep = json!({ "type": "object", "properties": { "a": { "type": "array", "items": { "type": "string", "format": "email" } } } });
    let circle = json!({ "$ref": "#/$defs/A", "$defs": { "A": { "type": "array", "items": { "$ref": "#/$defs/A" } } } });
    let cases = [
        (deep, "schema.properties.a.items.format", "`format` can't be followed other than date-time"),
        (circle, "#/$defs/A.items.$ref", "holds itself"),
        (json!({ "not": {} , "type": "string" }), "schema.not", "`not`"),
        (json!({ "oneOf": [{ "type": "null" }] }), "schema.type", "is missing"),
        (
            json!({ "type": "object", "patternProperties": {} }),
            "schema.patternProperties",
            "`patternProperties`",
        ),
        (json!({ "type": "array" }), "schema.items", "is missing"),
        (
            json!({ "type": "array", "items": { "type": "null" }, "uniqueItems": true }),
            "schema.uniqueItems",
            "false",
        ),
        (json!({ "type": "number", "maximum": 5 }), "schema.maximum", "integer"),
        (json!({ "type": "integer", "multipleOf": 5 }), "schema.multipleOf", "`multipleOf`"),
        (json!({ "type": "integer", "minimum": 5, "maximum": 4 }), "schema", "no whole number"),
        (
            json!({ "type": "string", "minLength": 5, "maxLength": 4 }),
            "schema.maxLength",
            "less than minLength",
        ),
        (json!({ "type": "string", "maxLength": 100_000 }), "schema.maxLength", "4096"),
        (json!({ "type": "string", "pattern": "(?=a)" }), "schema.pattern", "look"),
        (json!({ "type": "string", "pattern": "a^b" }), "schema.pattern", "`^`"),
        (json!({ "type": "string", "pattern": "a", "minLength": 1 }), "schema.pattern", "length"),
        (json!({ "type": "text" }), "schema.type", "found \"text\""),
        (json!({ "type": 1 }), "schema.type", "expected"),
        (json!({ "enum": [] }), "schema.enum", "isn't empty"),
        (json!({ "enum": ["a"], "type": "integer" }), "schema", "none of its values"),
        (json!({ "$ref": "#/$defs/None" }), "schema.$ref", "place in this schema"),
        (json!({ "$ref": "https://example.com/schema" }), "schema.$ref", "place in this schema"),
        (json!({ "allOf": [{}, {}] }), "schema.allOf", "more than one"),
        (json!(true), "schema", "expected an object"),
        (json!({}), "schema.type", "is missing"),
        (json!({ "type": "object", "required": ["a"] }), "schema.required", "\"a\""),
    ];
    for (schema, path, words) in cases {
        let refusal = of_schema(&schema, "schema").expect_err(&schema.to_string());
        assert_eq!(refusal.param.as_deref(), Some(path), "{schema}: {}", refusal.message);
        assert!(refusal.message.contains(words), "{schema}: {}", refusal.message);
    }
}

#[test]
fn schemas_that_multiply_are_refused_early() {
    let mut defs = Map::new();
    defs.insert("L0".into(), json!({ "type": "string" }));
    for level in 1..30 {
        let below = json!({ "$ref": format!("#/$defs/L{}", level - 1) });
        let both =
            json!({ "type": "object", "properties": { "a": below, "b": below }, "required": ["a", "b"] });
        defs.insert(format!("L{level}"), both);
    }
    let schema = json!({ "$ref": "#/$defs/L29", "$defs": defs });
    let refusal = of_schema(&schema, "schema").unwrap_err();
    assert!(refusal.message.contains("too large"), "{}", refusal.message);
}
