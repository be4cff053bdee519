//! What a user would pick instead of DotVM, each as a contender that workloads can fill with a program.

pub mod native;
pub mod redb;
pub mod revm;
pub mod sqlite;
pub mod wasmi;
