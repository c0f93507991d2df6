//! `leafresh eval` as a program.

use std::path::Path;

use serde_json::json;

use crate::run::{leafresh, text};

fn report(path: &Path, valid: f64) -> String {
    let figures = json!({"valid": {"value": valid, "unit": "%", "definition": "whole", "better": "more", "slack": 0.0}});
    let columns = json!([{"label": "model select", "figures": figures}]);
    let report = json!({"kind": "leafresh eval", "machine": "a machine", "columns": columns, "search": {"figures": {}}});
    std::fs::write(path, report.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_run_that_became_worse_ends_with_a_status_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let before = report(&dir.path().join("a.json"), 100.0);
    let after = report(&dir.path().join("b.json"), 98.0);
    for (first, second, status, says) in [
        (&before, &after, 1, "1 figure became worse"),
        (&after, &before, 0, "no figure became worse"),
        (&before, &before, 0, "no figure became worse"),
    ] {
        let output = leafresh(&["eval", "--compare", first, second]).output().unwrap();
        let printed = text(&output.stdout);
        assert_eq!(output.status.code(), Some(status), "{printed}{}", text(&output.stderr));
        assert!(printed.contains(says) && printed.contains("model select"), "{printed}");
    }
}

#[test]
fn a_model_that_cannot_be_used_is_named_before_anything_is_asked() {
    let output = leafresh(&["eval", "--models", "missing.gguf"]).output().unwrap();
    let said = text(&output.stderr);
    assert!(
        !output.status.success() && said.contains("missing.gguf") && said.contains("make model"),
        "{said}"
    );
}
