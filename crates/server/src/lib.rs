//! The server: HTTP, server-sent events and configuration around the chat.
//!
//! [`run`] is the whole server on a listener, until `shutdown`: tests bind port 0 and call it. What it answers with is
//! installed while it runs ([`AppState::install`]); until then it says 503.
//!
//! | module | what |
//! |---|---|
//! | `http` | paths, parameters, envelope, server-sent events |
//! | `streams` | live streams: event log, readers, joining, parking, retention, memory |
//! | `door` | who asks: keys, cookies, addresses behind proxies, allowances |
//! | `queue` | work that is done one at a time |
//! | `life`, `phase` | how far the server is from its end; how far an answer is |
//! | `state` | the parts that handlers take |
//! | `serve`, `socket` | connections: accepting, counting, giving up on peers that don't read, ending in order |
//! | [`config`] | one configuration from file, environment and flags |
//! | [`assemble`], [`setup`] | from the configuration to what answers are made with |
//! | `retrieval` | the index beside the server |
//! | `log` | the log's way to stderr, which holds nobody up; one line for each request |
//! | `metrics`, `otlp` | figures; spans for a receiver elsewhere |

#![forbid(unsafe_code)]

pub mod assemble;
pub mod config;
mod door;
mod http;
mod installed;
mod life;
mod log;
mod metrics;
mod otlp;
mod phase;
mod queue;
mod retrieval;
mod serve;
pub mod setup;
mod socket;
mod state;
mod streams;

pub use door::{count_keys, fresh_key, is_name};
pub use http::{Refused, base_info, sentence};
pub use retrieval::Retrieval;
pub use serve::{DESCRIPTORS_KEPT, Listeners, allow_many_descriptors, run};
pub use socket::try_options;
pub use state::AppState;
