//! Integration tests.

mod bad_trees;
