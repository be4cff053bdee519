//! Catching the panics of storage engines on damaged files, and keeping them quiet.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use crate::StoreError;

thread_local! {
    /// Whether this thread is inside [`contain`].
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `call`; a panic inside it becomes [`StoreError::Corrupt`].
///
/// The message of such a panic is in the error and is not printed as well: the first call puts a
/// hook before the process's own that holds back only what this thread does in here.
///
/// What `call` was changing may be broken afterwards: the caller must not use it again. In a build with
/// `panic = "abort"` nothing can be caught.
///
/// # Errors
/// Those of `call`, and [`StoreError::Corrupt`].
pub fn contain<T>(call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !CONTAINED.get() {
                print(panic);
            }
        }));
    });
    let outer = CONTAINED.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    CONTAINED.set(outer);
    result.unwrap_or_else(|payload| {
        let message = match (payload.downcast_ref::<String>(), payload.downcast_ref::<&str>()) {
            (Some(message), _) => message,
            (None, Some(message)) => *message,
            (None, None) => "no message",
        };
        let line = message.lines().next().unwrap_or_default();
        Err(StoreError::Corrupt { detail: format!("the storage engine met something impossible ({line})") })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_errors() {
        let error = contain::<()>(|| panic!("the page {} is odd", 7)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the store is damaged: the storage engine met something impossible (the page 7 is odd)"
        );
        assert!(!CONTAINED.get());
        assert_eq!(contain(|| Ok(5)).unwrap(), 5);
    }
}
