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
/// A panic inside [`call_out`] is not the engine's: it goes on through here.
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
    let inside = CONTAINED.replace(outer);
    result.unwrap_or_else(|payload| {
        if !inside {
            panic::resume_unwind(payload);
        }
        let message = match (payload.downcast_ref::<String>(), payload.downcast_ref::<&str>()) {
            (Some(message), _) => message,
            (None, Some(message)) => *message,
            (None, None) => "no message",
        };
        let line = message.lines().next().unwrap_or_default();
        Err(StoreError::Corrupt { detail: format!("the storage engine met something impossible ({line})") })
    })
}

/// Calls back, from inside [`contain`], what is not part of the engine.
#[inline]
pub fn call_out<T>(call: impl FnOnce() -> T) -> T {
    let inside = CONTAINED.replace(false);
    let result = call();
    CONTAINED.set(inside);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_of_who_is_called_back_go_on() {
        let call = || contain(|| Ok(call_out(|| -> u8 { panic!("mine") })));
        let payload = panic::catch_unwind(call).unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"mine"));
        assert!(!CONTAINED.get());
        let nested = contain(|| call_out(|| contain::<()>(|| panic!("the engine's"))));
        assert!(nested.unwrap_err().to_string().contains("the engine's") && !CONTAINED.get());
        let after = contain::<()>(|| {
            call_out(|| ());
            panic!("the engine's")
        });
        assert!(after.is_err() && !CONTAINED.get());
    }

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
