//! The engine through its public door: with the fake model, and with the real ones that `make model` fetched.

mod fake;
mod real;
mod support;
