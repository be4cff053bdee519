//! Isolation: the classic anomalies one by one, and what must not conflict.

mod anomalies;
mod no_conflict;
