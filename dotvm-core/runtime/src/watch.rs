//! Looking at a run while it goes on.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use dotvm_engine::Instance;

type Look = dyn FnMut(&Instance) -> bool + Send;

/// Looks at a run each time that control is transferred: at the instance that runs then. Once it answers no, the run is
/// stopped with [`RuntimeError::Stopped`](crate::RuntimeError::Stopped), and nothing of it is kept.
#[derive(Clone)]
pub struct Watch(Arc<Mutex<Look>>);

impl Watch {
    /// Looks with a function.
    pub fn new(look: impl FnMut(&Instance) -> bool + Send + 'static) -> Watch {
        Watch(Arc::new(Mutex::new(look)))
    }

    /// Whether the run is to go on.
    pub(crate) fn look(&self, instance: &Instance) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)(instance)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}
