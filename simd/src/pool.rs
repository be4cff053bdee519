//! The threads that large kernels are spread over.
//!
//! One pool for the process, made when it is needed first, of as many threads as the machine has cores but at most
//! [`MOST_THREADS`]. How work is cut into pieces, and in which order results are put together, is fixed by its size alone.

use std::sync::OnceLock;
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// Threads at most.
const MOST_THREADS: usize = 16;

static POOL: OnceLock<Option<ThreadPool>> = OnceLock::new();

/// The pool; `None` on a machine of one core, and where no threads can be had.
fn pool() -> Option<&'static ThreadPool> {
    POOL.get_or_init(|| {
        let threads = thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST_THREADS));
        let named = |index| format!("dotvm-kernel-{index}");
        let build = || ThreadPoolBuilder::new().num_threads(threads).thread_name(named).build().ok();
        if threads > 1 { build() } else { None }
    })
    .as_ref()
}

/// Whether work is cut into pieces that threads do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// One piece after the other, on the calling thread.
    Never,
    /// If it is large.
    IfLarge,
    /// Always.
    Always,
}

/// Does all pieces of work of `cost`, at once if that is worth it.
pub(crate) fn for_each<T: Send>(
    spread: Spread,
    cost: usize,
    pieces: impl Iterator<Item = T> + Send,
    work: impl Fn(T) + Sync,
) {
    /// Cost, in bytes gone through once, that is worth waking threads: some tens of microseconds.
    const LARGE: usize = 1 << 20;
    let is_spread = match spread {
        Spread::Never => false,
        Spread::IfLarge => cost >= LARGE,
        Spread::Always => true,
    };
    match if is_spread { pool() } else { None } {
        None => pieces.for_each(work),
        Some(pool) => pool.scope(|scope| {
            let work = &work;
            for piece in pieces {
                scope.spawn(move |_| work(piece));
            }
        }),
    }
}
