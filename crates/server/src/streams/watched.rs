//! A stream as the log tells of it.

use std::sync::Arc;

use leafresh_chat::{BaseInfo, Command, FreeText};

use super::log::{Live, Part, Reader};
use crate::config::LogText;
use crate::log::line::{Asked, Stream};
use crate::log::words;

/// What a request reads, for whoever tells of the request when it is over.
#[derive(Clone)]
pub(crate) struct Watched {
    live: Arc<Live>,
    part: Part,
}

impl Watched {
    pub(super) fn new(live: Arc<Live>, part: Part) -> Self {
        Self { live, part }
    }

    /// May tell of the stream when the reader has gone.
    pub(crate) fn of(reader: &Reader) -> Self {
        Self::new(reader.live.clone(), reader.part)
    }

    /// As it is now, with people's words as far as they are wanted.
    pub(crate) fn tell(&self, text: LogText) -> Stream {
        let command = &self.live.asked().command;
        Stream {
            id: self.live.id().to_string(),
            part: self.part.name(),
            session: command.session_id().is_some(),
            asked: asked(command, text),
            answered: self.live.answered(),
        }
    }
}

fn asked(command: &Command, text: LogText) -> Asked {
    let told = |given: &str| words(given, text).filter(|told| !told.is_empty());
    match command {
        Command::BaseInfo(BaseInfo { location, work_type, .. }) => {
            Asked { message: None, location: told(location), work_type: told(work_type) }
        }
        Command::FreeText(FreeText { message, location, work_type, .. }) => Asked {
            message: told(message),
            location: location.as_deref().and_then(told),
            work_type: work_type.as_deref().and_then(told),
        },
    }
}
