//! DotVM, in forms that workloads can fill with a program.

use anyhow::{Context, Result, bail};
use dotvm_arch::{W256, W512, Width, Word};
use dotvm_core::gas::Gas;
use dotvm_core::host::NoState;
use dotvm_core::limits::Limits;
use dotvm_core::module::Module;
use dotvm_core::outcome::{End, Invocation, Outcome};

use crate::harness::{Contender, OURS};
use crate::workloads::fold;

/// The module of a program in assembly text.
pub fn assemble(source: &str, width: Width) -> Result<Module> {
    let options = dotvm_asm::Options { width: Some(width), ..dotvm_asm::Options::default() };
    Ok(dotvm_asm::assemble(source, &options)?.module)
}

/// A call of the export `function` with word arguments.
pub fn invocation(module: &Module, function: &str, words: &[W512]) -> Result<Invocation> {
    let function = module.export(function).with_context(|| format!("no export {function}"))?;
    Ok(Invocation { function, words: words.to_vec(), refs: Vec::new() })
}

/// Gas is metered, but does not run out.
pub fn limits() -> Limits {
    Limits { gas: Gas::MAX, ..Limits::default() }
}

/// The one word that a successful call returned.
pub fn returned_word(outcome: &Outcome) -> Result<W512> {
    match &outcome.end {
        End::Return { words, .. } if words.len() == 1 => Ok(words[0]),
        other => bail!("the call did not return one word: {other:?}"),
    }
}

/// A program that touches no state and returns one word, called once a run. Assembling, verifying and
/// lowering are not timed; making the instance, memory included, is.
pub struct Call {
    program: dotvm_engine::Program,
    invocation: Invocation,
    limits: Limits,
    host: NoState,
}

impl Call {
    /// The export `run` of a program in assembly text, called with one argument. Words of up to 64 bits are
    /// their own checksum, others are folded.
    pub fn new(source: &str, width: Width, argument: u64) -> Result<Self> {
        Self::of(source, width, "run", argument)
    }

    /// Another export.
    pub fn of(source: &str, width: Width, function: &str, argument: u64) -> Result<Self> {
        let module = assemble(source, width)?;
        let invocation = invocation(&module, function, &[W512::from(argument)])?;
        let program = dotvm_engine::compile(module)?;
        Ok(Self { program, invocation, limits: limits(), host: NoState::default() })
    }
}

impl Contender for Call {
    fn name(&self) -> &str {
        OURS
    }

    fn run(&mut self) -> Result<u64> {
        let outcome = dotvm_engine::run(&self.program, &self.invocation, &self.limits, &mut self.host)
            .map_err(anyhow::Error::msg)?;
        Ok(fold(returned_word(&outcome)?.resize::<W256>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_traps_is_an_error() {
        let source = ".func pub run [n] -> [r]\n  LGET n SLOAD RET\n.end\n";
        let message = Call::new(source, Width::W64, 1).unwrap().run().unwrap_err().to_string();
        assert!(message.contains("this program runs without state"), "{message}");
    }

    #[test]
    fn gas_is_used() {
        let mut call = Call::new(include_str!("../programs/arith.dasm"), Width::W64, 10).unwrap();
        let outcome =
            dotvm_engine::run(&call.program, &call.invocation, &call.limits, &mut call.host).unwrap();
        assert!(outcome.gas_used > 10);
        call.limits.gas = 10;
        assert!(call.run().unwrap_err().to_string().contains("Gas"));
    }
}
