//! Versions of the state that an execution reads besides its own transaction's.

use std::collections::VecDeque;

use dotdb::DbError;

use crate::open_tx::{OpenTx, Refusal};

/// Most versions kept open at a time.
const MAX_OPEN: usize = 8;

/// The versions read last. What an operation answers and costs does not depend on which they are.
#[derive(Default)]
pub(crate) struct Past {
    /// Those opened first in front.
    versions: VecDeque<(u64, OpenTx)>,
}

impl Past {
    /// The contract's state as of a version, which `open` opens if it is not open.
    pub(crate) fn at(
        &mut self,
        version: u64,
        open: impl FnOnce() -> Result<OpenTx, DbError>,
    ) -> Result<&mut OpenTx, Refusal> {
        let place = match self.versions.iter().position(|(open, _)| *open == version) {
            Some(place) => place,
            None => {
                let opened = open()?;
                if self.versions.len() == MAX_OPEN {
                    self.versions.pop_front();
                }
                self.versions.push_back((version, opened));
                self.versions.len() - 1
            }
        };
        Ok(&mut self.versions[place].1)
    }
}
