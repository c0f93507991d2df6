use serde::Deserialize;

use super::values;

/// The paths below `/v1`, for clients of OpenAI's API.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenAi {
    /// Whether there are any.
    pub enabled: bool,
    /// Tokens of an answer in a chat, where the request names no bound and as far as the context has room.
    #[serde(deserialize_with = "values::at_least_one")]
    pub max_tokens: usize,
    /// The largest body of a request: a long conversation, or many texts to embed.
    #[serde(deserialize_with = "values::at_least_one")]
    pub body_kib: usize,
}

impl Default for OpenAi {
    fn default() -> Self {
        Self { enabled: true, max_tokens: 1024, body_kib: 4096 }
    }
}
