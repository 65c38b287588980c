//! Suites over the whole.
