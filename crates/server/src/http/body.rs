//! JSON request bodies, bounded in size and time.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::BytesMut;
use tokio_stream::StreamExt;

use super::error::Error;

/// The largest body of a request for challenges, in bytes.
pub(super) const SHORT: usize = 64 * 1024;

/// How much of a larger one is read nevertheless: a client that writes everything before it reads would not see the
/// answer on a connection that is closed in its face.
const DISCARD: usize = 1024 * 1024;

/// Reads a body that is declared as JSON.
///
/// # Errors
/// Another content type, more than `most` bytes, slower than `deadline`, broken off.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    most: usize,
    deadline: Duration,
) -> Result<BytesMut, Error> {
    if !is_json(headers) {
        return Err(Error::UnsupportedMediaType);
    }
    tokio::time::timeout(deadline, collect(body, most)).await.map_err(|_| Error::TooSlow)?
}

async fn collect(body: Body, most: usize) -> Result<BytesMut, Error> {
    let mut chunks = body.into_data_stream();
    let mut bytes = BytesMut::new();
    let mut total = 0;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Error::MalformedJson)?;
        total += chunk.len();
        if total <= most {
            bytes.extend_from_slice(&chunk);
        } else if total > most + DISCARD {
            break;
        }
    }
    if total > most { Err(Error::TooLarge) } else { Ok(bytes) }
}

/// `application/json` or a type built on it, whatever its parameters. A browser sends neither from another origin
/// without asking first.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind =
        value.and_then(|value| value.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}
