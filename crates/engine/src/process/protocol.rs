//! What a server and its engine's process say to each other, as length-delimited frames of postcard.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec};

use crate::fake::Recipe;
use crate::{Delta, Error, Health, LocalSettings, ModelInfo, Program, Prompt, Request};

/// Changes with whatever is sent below: two programs that say different things here would misunderstand each other.
const VERSION: u32 = 4;

/// What both sides say first, in a frame of its own.
pub(super) fn greeting() -> String {
    format!("leafresh {}, engine protocol {VERSION}", env!("CARGO_PKG_VERSION"))
}

/// Which model an engine's process loads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Source {
    /// A GGUF file.
    File(PathBuf),
    /// For tests and measurements.
    Fake(Recipe),
}

/// The number of a generation; later ones have greater ones.
pub(super) type Number = u64;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToEngine {
    /// The first message, and only that.
    Load {
        source: Source,
        settings: LocalSettings,
    },
    Start {
        id: Number,
        request: Request,
        terms: Terms,
    },
    Park(Number),
    Resume(Number),
    Cancel(Number),
    Check {
        call: Number,
        prompt: Prompt,
        program: Program,
    },
}

/// On which a request waits in the engine's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terms {
    pub(super) client: u64,
    /// How long it may still wait: the two processes share no clock that could be sent.
    pub(super) wait: Option<Duration>,
    /// It ran in an engine that died: it comes before those that haven't.
    pub(super) returning: bool,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum FromEngine {
    Loaded(ModelInfo),
    Refused(Error),
    Delta { id: Number, delta: Delta },
    Position { id: Number, position: Option<usize> },
    Checked { call: Number, result: Result<(), Error> },
    Health(Health),
}

/// Longer frames are a fault: all prompts that may wait together are shorter.
const LONGEST_FRAME: usize = 64 << 20;

/// What is read from the other side at once.
const READ: usize = 16 << 10;

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(LONGEST_FRAME).new_codec()
}

/// Appends a message to what is to be written.
///
/// # Errors
/// When it is longer than a frame may be.
pub(super) fn encode(message: &impl Serialize, out: &mut BytesMut) -> io::Result<()> {
    let bytes = postcard::to_allocvec(message).map_err(io::Error::other)?;
    codec().encode(Bytes::from(bytes), out)
}

/// Appends what comes before all messages.
///
/// # Errors
/// None in practice: it is short.
pub(super) fn encode_greeting(out: &mut BytesMut) -> io::Result<()> {
    codec().encode(Bytes::from(greeting()), out)
}

/// Messages as they come.
#[derive(Debug)]
pub(super) struct Messages<R> {
    from: R,
    buffer: BytesMut,
    codec: LengthDelimitedCodec,
}

impl<R: AsyncRead + Unpin> Messages<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, buffer: BytesMut::new(), codec: codec() }
    }

    /// The next one; `None` when the other side is gone, whatever it was about to say. May be dropped while it waits
    /// without losing anything.
    ///
    /// # Errors
    /// When the other side says what isn't a message.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        match self.frame().await? {
            Some(frame) => postcard::from_bytes(&frame).map(Some).map_err(io::Error::other),
            None => Ok(None),
        }
    }

    /// Reads what the other side says first. `None`: it is gone.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`] when it is another version of this program.
    pub(super) async fn greeted(&mut self) -> io::Result<Option<()>> {
        let Some(frame) = self.frame().await? else { return Ok(None) };
        if *frame == *greeting().as_bytes() {
            return Ok(Some(()));
        }
        let theirs = if frame.starts_with(b"leafresh ") {
            String::from_utf8_lossy(&frame).into_owned()
        } else {
            "no version".to_owned()
        };
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("it says it is {theirs:?}, this is {:?}; restart the server", greeting()),
        ))
    }

    async fn frame(&mut self) -> io::Result<Option<BytesMut>> {
        loop {
            if let Some(frame) = self.codec.decode(&mut self.buffer)? {
                return Ok(Some(frame));
            }
            self.buffer.reserve(READ);
            if self.from.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests;
