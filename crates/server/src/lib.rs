//! The server: HTTP, server-sent events, configuration and command line around the chat.

#![forbid(unsafe_code)]

pub mod config;
