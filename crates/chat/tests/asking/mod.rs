//! Asking, and the answer that comes back.

use leafresh_chat::{Answer, Command, Event, Recommender};

/// The whole answer, whose texts were what it says.
pub(crate) async fn ask(recommender: &Recommender, request: impl Into<Command>) -> Answer {
    let mut events = recommender.start(&request.into(), None).unwrap();
    let mut text = String::new();
    while let Some(event) = events.next().await {
        match event {
            Event::Text(piece) => text.push_str(&piece),
            Event::Close(answer) => {
                assert_eq!(text, answer.render());
                return answer;
            }
            Event::Challenge { .. } => {}
            Event::Error(failure) => panic!("{failure:?}"),
        }
    }
    panic!("no end");
}
