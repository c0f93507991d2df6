//! Conversations and other shared state on disk.
//!
//! Calls block: whoever serves others meanwhile makes them on a thread that may wait.

mod error;
mod examine;
mod fault;
mod schema;
mod session;
mod sqlite;
mod upkeep;

pub use error::Error;
pub use examine::{Examined, examine};
pub use fault::Faults;
pub use session::{
    Rated, Rating, Role, Session, SessionKey, SessionLimits, SessionStore, Standing, Turn, Update,
};
pub use sqlite::{Options, Sqlite};
