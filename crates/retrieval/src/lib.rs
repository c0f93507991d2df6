//! Documents found by meaning and by words; the only crate that knows Qdrant.
