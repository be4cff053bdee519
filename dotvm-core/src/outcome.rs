//! The outcome of an execution, the same for every tier and width.

use dotvm_arch::W512;

use crate::trap::Trap;
pub use crate::value::{Cell, Ref};
use crate::verify::Verified;

/// How an execution ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The entry function returned.
    Return {
        /// Its word results, zero-extended.
        words: Vec<W512>,
        /// Its reference results.
        refs: Vec<Ref>,
    },
    /// HALT: code 0 keeps the state changes, any other undoes them.
    Halt {
        /// The code, zero-extended.
        code: W512,
        /// The result.
        result: Ref,
    },
    /// A trap: the state changes are undone.
    Trap(Trap),
}

impl End {
    /// Whether the state changes are kept.
    pub fn is_success(&self) -> bool {
        match self {
            End::Return { .. } => true,
            End::Halt { code, .. } => *code == W512::ZERO,
            End::Trap(_) => false,
        }
    }
}

/// The outcome of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Gas used.
    pub gas_used: u64,
    /// Guest gas used.
    pub guest_gas_used: u64,
}

/// A call into a module: which function, with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Index of the function.
    pub function: u32,
    /// Word arguments; each fits the module's width.
    pub words: Vec<W512>,
    /// Reference arguments.
    pub refs: Vec<Ref>,
}

impl Invocation {
    /// Whether the module has the function, the arguments are as many as its parameters, and words fit the
    /// module's width; otherwise a sentence that says what does not.
    pub fn check(&self, verified: &Verified) -> Result<(), String> {
        let module = verified.module();
        if self.function as usize >= module.functions.len() {
            return Err(format!("The module has no function {}.", self.function));
        }
        let signature = verified.signature(self.function);
        let wanted = (signature.words_in as usize, signature.refs_in as usize);
        let given = (self.words.len(), self.refs.len());
        if given != wanted {
            return Err(format!(
                "{} takes {} word and {} reference arguments, but {} and {} were given.",
                module.function_name(self.function),
                wanted.0,
                wanted.1,
                given.0,
                given.1
            ));
        }
        let bits = module.width.bits();
        match self.words.iter().position(|word| word.bit_len() > bits as usize) {
            Some(index) => Err(format!("Word argument {} does not fit {bits} bits.", index + 1)),
            None => Ok(()),
        }
    }
}

/// What is left in an instance after its execution, for comparisons and inspection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalState {
    /// Linear memory.
    pub memory: Vec<u8>,
    /// Word globals, zero-extended.
    pub word_globals: Vec<W512>,
    /// Reference globals.
    pub ref_globals: Vec<Ref>,
}

/// The detail of a User trap: the exception's code, and the payload if it is text or a number.
pub fn exception_detail(code: &W512, payload: &Ref) -> String {
    match payload {
        Ref::Bytes(bytes) if !bytes.is_empty() => match std::str::from_utf8(bytes) {
            Ok(text) if !text.chars().any(char::is_control) => format!("exception {code}: {text}"),
            _ => format!("exception {code} with {} bytes of payload", bytes.len()),
        },
        Ref::Int(number) if number.bits() <= 512 => format!("exception {code}: {number}"),
        _ => format!("exception {code}"),
    }
}
