//! A response body that is written piece by piece, by whoever waits for what comes next.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// What a body is written by.
pub(super) trait Write: Sized + Send + 'static {
    /// Why a body breaks off.
    type Error: Error + Send + Sync + 'static;

    /// Waits for the next piece; `None` after the last one.
    fn write(self) -> impl Future<Output = Result<Option<(String, Self)>, Self::Error>> + Send;
}

/// The body. Dropping it drops what it is written by.
pub(super) struct Pieces<W: Write> {
    /// `None` after the end.
    next: Option<Next<W>>,
}

type Next<W> = Pin<Box<dyn Future<Output = Result<Option<(String, W)>, <W as Write>::Error>> + Send>>;

impl<W: Write> Pieces<W> {
    pub(super) fn of(writer: W) -> Self {
        Self { next: Some(Box::pin(writer.write())) }
    }
}

impl<W: Write> Body for Pieces<W> {
    type Data = Bytes;
    type Error = W::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, W::Error>>> {
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        let written = ready!(next.as_mut().poll(context));
        self.next = None;
        Poll::Ready(match written {
            Ok(Some((text, writer))) => {
                self.next = Some(Box::pin(writer.write()));
                Some(Ok(Frame::data(text.into())))
            }
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
