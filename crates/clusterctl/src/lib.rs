#![doc = include_str!("../README.md")]

pub mod cli;
pub mod compose;
pub mod engine;
pub mod error;
pub mod lab;
pub mod ops;
pub mod spec;
pub mod state;
