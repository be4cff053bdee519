//! What an acknowledged commit promises.

/// What is promised when [`Tx::commit`](crate::Tx::commit) returns. Whatever is chosen, a commit is seen whole or
/// not at all, after a crash too, and no commit survives one that it follows and that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Durability {
    /// The commit survives a power cut. It is flushed at once, with those that wait at that moment.
    Sync,
    /// The commit survives a power cut. Its flush waits, for half a millisecond at most, for the transactions
    /// that are open to join: fewer flushes where many clients commit, a longer wait for each.
    Group,
    /// The commit is visible. A crash may lose it, with all after it, until the next durable commit or
    /// [`Database::sync`](crate::Database::sync).
    None,
}
