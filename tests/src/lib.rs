//! Suites over the whole: conformance, scenarios, crash sweep, benchmarks.
#![expect(
    clippy::indexing_slicing,
    reason = "indexing a JSON value yields null, and a suite may stop on what it did not expect"
)]

pub mod bench;
pub mod conform;
pub mod crash;
pub mod site;
