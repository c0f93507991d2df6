//! Conversations and other shared state on disk.
