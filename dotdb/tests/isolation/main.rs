//! Isolation: the classic anomalies one by one, what must not conflict, and random concurrent histories that are
//! checked for serializability.

mod anomalies;
mod checker;
mod client;
mod histories;
mod no_conflict;
mod restoring;
mod session;
