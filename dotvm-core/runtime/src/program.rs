//! A program: a module that was read, verified and lowered, with the hash that names its code.

use std::sync::Arc;

use dotdb::CodeHash;
use dotvm_arch::Width;
use dotvm_core::container::{self, KEY_BYTES};
use dotvm_core::module::Module;
use dotvm_core::verify::Verified;
use dotvm_engine::CompileError;

use crate::error::RuntimeError;

/// A module ready to run. Clones share it.
#[derive(Clone)]
pub struct Program {
    lowered: Arc<dotvm_engine::Program>,
    hash: CodeHash,
    signer: Option<[u8; KEY_BYTES]>,
}

impl Program {
    /// Reads, verifies and lowers a module file, or the one in an envelope that is not encrypted. Of a signed one the
    /// signature is checked.
    ///
    /// # Errors
    /// [`RuntimeError::Open`], [`RuntimeError::Read`], [`RuntimeError::Verify`], [`RuntimeError::Lower`].
    pub fn load(bytes: &[u8]) -> Result<Program, RuntimeError> {
        let container::Opened { module: bytes, signer, .. } = container::open(bytes, &[])?;
        let lowered = dotvm_engine::compile(container::read(&bytes)?).map_err(|error| match error {
            CompileError::Verify(error) => RuntimeError::Verify(error),
            CompileError::Lower(error) => RuntimeError::Lower(error.to_string()),
        })?;
        Ok(Program { lowered: Arc::new(lowered), hash: container::content_hash(&bytes), signer })
    }

    /// The lowered form.
    pub fn lowered(&self) -> &dotvm_engine::Program {
        &self.lowered
    }

    /// The lowered form, shared.
    pub(crate) fn shared(&self) -> &Arc<dotvm_engine::Program> {
        &self.lowered
    }

    /// The verified module.
    pub fn verified(&self) -> &Verified {
        self.lowered.verified()
    }

    /// The module.
    pub fn module(&self) -> &Module {
        self.verified().module()
    }

    /// The module's word width.
    pub fn width(&self) -> Width {
        self.module().width
    }

    /// The public key of who signed the envelope that it was loaded from.
    pub fn signer(&self) -> Option<&[u8; KEY_BYTES]> {
        self.signer.as_ref()
    }

    /// The hash under which the code is kept.
    pub fn hash(&self) -> &CodeHash {
        &self.hash
    }
}
