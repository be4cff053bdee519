//! Contracts calling contracts: what is asked and what is answered.

use bytes::Bytes;
use dotvm_arch::W512;

use crate::module::Module;
use crate::outcome::{End, Invocation, Ref};

/// A call of another contract, whose entry function is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallRequest {
    /// Bit 0 = static, bit 1 = delegate.
    pub flags: u8,
    /// Gas that the callee may use, at most what the caller has left.
    pub gas: u64,
    /// Guest gas that the caller has left.
    pub guest_gas: u64,
    /// Amount sent along.
    pub value: W512,
    /// Name of the contract, any bytes.
    pub contract: Bytes,
    /// Input of the callee.
    pub input: Bytes,
    /// Pages of memory that the caller has, which the callee's limit is lower by.
    pub pages: u64,
    /// What the caller's references count, which the limit of the callee's heap is lower by.
    pub heap_bytes: u64,
}

impl CallRequest {
    /// Whether nothing may be written.
    pub fn is_static(&self) -> bool {
        self.flags & 1 != 0
    }

    /// Whether the callee's code works on the caller's state and environment.
    pub fn is_delegate(&self) -> bool {
        self.flags & 2 != 0
    }
}

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CallStatus {
    /// The callee returned or halted with 0; its changes stay.
    Success = 0,
    /// It halted with another code; its changes are undone.
    Halted = 1,
    /// It trapped or ran out of gas; its changes are undone.
    Trapped = 2,
    /// There is no such contract, or its entry cannot be called.
    NotCalled = 3,
}

/// The answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallAnswer {
    /// How it went.
    pub status: CallStatus,
    /// The byte string that the callee returned or halted with.
    pub output: Option<Bytes>,
    /// Gas used by the callee.
    pub gas_used: u64,
    /// Guest gas used by it.
    pub guest_gas_used: u64,
}

impl CallAnswer {
    /// The callee could not be called.
    pub const NOT_CALLED: CallAnswer =
        CallAnswer { status: CallStatus::NotCalled, output: None, gas_used: 0, guest_gas_used: 0 };

    /// The callee ended like this.
    pub fn of_end(end: End, gas_used: u64, guest_gas_used: u64) -> CallAnswer {
        let (status, output) = match end {
            End::Return { refs, .. } => (CallStatus::Success, refs.into_iter().next().unwrap_or_default()),
            End::Halt { code, result } if code == W512::ZERO => (CallStatus::Success, result),
            End::Halt { result, .. } => (CallStatus::Halted, result),
            End::Trap(_) => (CallStatus::Trapped, Ref::Null),
        };
        let output = match output {
            Ref::Bytes(output) => Some(output),
            _ => None,
        };
        CallAnswer { status, output, gas_used, guest_gas_used }
    }
}

/// How a contract is called from another: its entry function takes no words and at most one reference, the input, and
/// returns no words and at most one reference, the output. `None` if the module has no such entry.
pub fn entry_invocation(module: &Module, input: &Bytes) -> Option<Invocation> {
    let function = module.entry?;
    let signature = module.signature_of(function);
    if signature.words_in > 0 || signature.words_out > 0 || signature.refs_in > 1 || signature.refs_out > 1 {
        return None;
    }
    let refs = (0..signature.refs_in).map(|_| Ref::Bytes(input.clone())).collect();
    Some(Invocation { function, words: Vec::new(), refs })
}
