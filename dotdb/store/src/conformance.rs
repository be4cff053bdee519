//! Checks that every backend must pass: call [`check_store`] from its tests.
