//! What is found out about a server when it is met, and what is said when it can't be used.

use std::time::Duration;

use leafresh_engine::{Backend, Error};
use leafresh_remote::{Key, Kind, Upstream};

use crate::double::{Double, Options};
use crate::support::{connect, finish, remote, request, short, until, upstream};

#[tokio::test]
async fn a_server_tells_what_it_is_and_what_its_model_is() {
    let double = Double::new(Options::default()).await;
    let remote = remote(&[&double]).await;
    let model = remote.model();
    assert_eq!((model.name.as_str(), model.context, model.parameters), ("fake", 8192, 0));
    // By what it makes of a turn.
    let template = model.chat_template.as_deref().unwrap();
    assert_eq!(template, "{{ \"<bos><user>\" }}{{ messages[0]['content'] }}{{ \"<eos>\\n<model>\" }}");
    assert_eq!(model.bos, "<bos>");
    assert!(remote.health().ready);
}

#[tokio::test]
async fn a_server_that_says_200_and_keeps_to_nothing_is_told_apart() {
    for kind in [Kind::Vllm, Kind::Sglang, Kind::Tgi, Kind::Openai] {
        let double = Double::new(Options { kind, binds: false, ..Options::default() }).await;
        let error =
            connect(vec![Upstream { steer: false, ..upstream(&double) }]).await.unwrap_err().to_string();
        assert!(
            error.contains("can't be bound to a grammar") && error.contains("steer = true"),
            "{kind:?}: {error}"
        );
        connect(vec![Upstream { steer: true, ..upstream(&double) }]).await.unwrap();
    }
}

#[tokio::test]
async fn what_will_not_pass_by_itself_is_said_at_once() {
    let folder = std::env::temp_dir().join(format!("leafresh-remote-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        Some(Key::File(folder.join(name)))
    };
    let double = Double::new(Options { key: Some("sesame"), ..Options::default() }).await;
    let with = |key| Upstream { key, ..upstream(&double) };
    let cases = [
        (with(None), "401: Unauthorized"),
        (with(file("wrong", "simsim\n")), "401: Unauthorized"),
        (with(file("empty", " \n")), "empty is empty"),
        (with(Some(Key::File(folder.join("none")))), "can't be read"),
        (with(Some(Key::Variable("LEAFRESH_TEST_NO_SUCH_KEY".into()))), "LEAFRESH_TEST_NO_SUCH_KEY"),
        (with(file("lines", "a\nb")), "characters that no header may hold"),
        (
            Upstream { model: Some("other".into()), ..with(file("right", "sesame\n")) },
            "no model \"other\"; it has fake",
        ),
    ];
    for (upstream, expected) in cases {
        let error = connect(vec![upstream.clone()]).await.unwrap_err();
        let Error::Upstream { reason, late: false } = &error else { panic!("{error}") };
        assert!(reason.starts_with(&double.url()) && reason.contains(expected), "{reason}");
        assert!(!reason.contains("simsim"), "{reason}");
    }
    let remote = connect(vec![with(file("right", "sesame\n"))]).await.unwrap();
    finish(&remote, request(short())).await.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() {
    let mut double = Double::new(Options::default()).await;
    double.die().await;
    let waiting = tokio::spawn(connect(vec![upstream(&double)]));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    double.rise().await;
    let remote = waiting.await.unwrap().unwrap();
    finish(&remote, request(short())).await.unwrap();
}

#[tokio::test]
async fn of_several_one_is_enough_and_the_others_join_when_they_are_there() {
    let first = Double::new(Options::default()).await;
    let mut second = Double::new(Options::default()).await;
    second.die().await;
    let remote = connect(vec![upstream(&first), upstream(&second)]).await.unwrap();
    let ready = || remote.health().upstreams.iter().map(|upstream| upstream.ready).collect::<Vec<_>>();
    assert_eq!(ready(), [true, false]);
    second.rise().await;
    until("both are there", || ready() == [true, true]).await;
}
