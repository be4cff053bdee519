//! Tests across crates: conformance, differential runs, crash loops.
