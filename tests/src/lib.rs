//! Tests across crates: conformance, differential runs, crash loops.

pub mod call_model;
pub mod damaged_machine;
pub mod differential;
pub mod dot_model;
pub mod dotdb_model;
pub mod generate;
pub mod heap_model;
pub mod measure;
pub mod mock_host;
pub mod nock;
pub mod nvm;
pub mod outside;
pub mod pvm;
pub mod rvm;
pub mod stepped;
pub mod task_model;
pub mod text_test;
