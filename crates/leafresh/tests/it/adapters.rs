//! Adapters of the real model, in the confined process of its engine and merged into its file.

use serde_json::json;

use crate::lora;
use crate::process::assert_fails;
use crate::program::{Program, model};
use crate::run::{leafresh, text};
use crate::support::{Connection, DETAILED, SSE, get, read};

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_s_process_loads_adapters_while_it_serves() {
    let Some(model) = model() else { return };
    let folder = tempfile::tempdir().unwrap();
    let adapters = folder.path().join("adapters");
    std::fs::create_dir(&adapters).unwrap();
    for (seed, name) in ["a", "b", "c"].iter().enumerate() {
        lora::write(&adapters.join(format!("{name}.gguf")), lora::GEMMA, seed as u64 + 1, 0.3);
    }
    // The folder as somebody writes it who starts the server beside it.
    let program = Program::start_with("127.0.0.1:0", &model, |command| {
        command.current_dir(folder.path()).env("LEAFRESH_ENGINE__ADAPTERS", "adapters");
        command.env("LEAFRESH_ENGINE__ADAPTERS_IN_MEMORY", "1");
    })
    .await;
    for adapter in ["a", "", "b", "c", "a"] {
        let response =
            Connection::ask(program.address, &get(&format!("{DETAILED}&adapter={adapter}"), &[SSE])).await;
        let events = read(&response.body());
        let close = events.last().unwrap();
        assert_eq!(close.name, "close", "{adapter}: {close:?}");
        assert_eq!(close.data["data"]["degraded"], json!(false), "{adapter}: {close:?}");
    }
    let unknown =
        Connection::ask(program.address, &get(&format!("{DETAILED}&adapter=d&errors=http"), &[])).await;
    assert_eq!(unknown.status(), 400);
}

#[test]
fn a_model_is_merged_with_an_adapter_whole_or_not_at_all() {
    let Some(model) = model() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    lora::write(&folder.path().join("polite.gguf"), lora::GEMMA, 1, 0.3);
    let (adapter, target) = (file("polite.gguf"), file("merged.gguf"));
    let merge = |more: &[&str]| {
        let arguments = [&["models", "merge", &*model, &*adapter, &*target], more].concat();
        leafresh(&arguments).output().unwrap()
    };
    let output = merge(&[]);
    assert!(output.status.success(), "{output:?}");
    let said = text(&output.stderr);
    assert!(said.contains("as Q4_K_M (sha256 "), "{said}");
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["merged.gguf", "merged.gguf.sha256", "polite.gguf"]);
    assert_fails(&merge(&[]), &["leafresh: ", "exists", "--force"]);
    assert!(merge(&["Q8_0", "--force"]).status.success());
    let itself = leafresh(&["models", "merge", &model, &adapter, &adapter, "--force"]).output().unwrap();
    assert_fails(&itself, &["is the file that is read"]);
    let swapped = leafresh(&["models", "merge", &model, &model, &file("x.gguf")]).output().unwrap();
    assert_fails(&swapped, &["isn't an adapter"]);
    std::fs::write(&adapter, &std::fs::read(&adapter).unwrap()[..1000]).unwrap();
    let cut = leafresh(&["models", "merge", &model, &adapter, &file("x.gguf")]).output().unwrap();
    assert_fails(&cut, &["polite.gguf", "cut off"]);
}
