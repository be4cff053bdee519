//! Tests across crates: conformance, differential runs, crash loops.

pub mod differential;
pub mod generate;
pub mod mock_host;
pub mod text_test;
