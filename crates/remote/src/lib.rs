//! Programs written by models on other servers: vLLM, llama-server, SGLang, text-generation-inference, and whatever else
//! continues text behind `/v1/completions`.
//!
//! [`Remote`] is a [`Backend`](leafresh_engine::Backend) as the local engine is. A program is written slot by slot: the server
//! continues the prompt and the text so far, bound to the slot's grammar where it can be. Whether it can be is tried out when it
//! is met, and what it writes is matched against the grammar all the same: what doesn't fit is cut off and asked for anew.
//! Since what was written is all that is needed to go on, another server can, when one fails.
//!
//! | module | what |
//! |---|---|
//! | `settings` | which servers there are, and how they are asked |
//! | `expression`, `notation` | what of a slot is still to be written; as servers read it |
//! | `client`, `sse`, `dialect` | HTTP within deadlines; events; what is said to which kind of server |
//! | `prompt`, `estimate` | a prompt in the server's tokens; how many tokens a text has, about |
//! | `writing` | a program that is being written, without a server |
//! | `server`, `member`, `pool` | what is found out about a server; whether it can be asked; who is asked |
//! | `generation`, `remote` | one generation, and the engine |

#![forbid(unsafe_code)]

mod client;
mod dialect;
mod estimate;
mod expression;
mod generation;
mod member;
mod notation;
mod pool;
mod prompt;
mod remote;
mod server;
mod settings;
mod sse;
mod writing;

pub use remote::Remote;
pub use settings::{Key, Kind, Settings, Upstream};
