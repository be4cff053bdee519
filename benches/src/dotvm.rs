//! DotVM, in forms that workloads can fill with a program.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use dotvm_arch::{W256, W512, Width, Word};
use dotvm_core::env::{Env, RandomStream};
use dotvm_core::gas::Gas;
use dotvm_core::host::{Host, HostError, HostResult, SlotValue};
use dotvm_core::limits::Limits;
use dotvm_core::module::Module;
use dotvm_core::outcome::{End, Invocation, Outcome};
use dotvm_core::trap::TrapKind;

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
        let module = assemble(source, width)?;
        let invocation = invocation(&module, "run", &[W512::from(argument)])?;
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

/// The host of programs that have no state: every operation traps.
#[derive(Default)]
struct NoState {
    env: Env,
    random: RandomStream,
}

fn refuse<T>() -> HostResult<T> {
    Err(HostError::Trap(TrapKind::Tx, "this program runs without state".to_owned()))
}

impl Host for NoState {
    fn random(&mut self, bytes: &mut [u8]) {
        self.random.fill(&self.env.seed, bytes);
    }

    fn env(&self) -> &Env {
        &self.env
    }

    fn slot_load(&mut self, _: &[u8], _: &mut Gas) -> HostResult<SlotValue> {
        refuse()
    }

    fn slot_store(&mut self, _: &[u8], _: &[u8], _: &mut Gas) -> HostResult<()> {
        refuse()
    }

    fn slot_delete(&mut self, _: &[u8], _: &mut Gas) -> HostResult<bool> {
        refuse()
    }

    fn slot_exists(&mut self, _: &[u8], _: &mut Gas) -> HostResult<bool> {
        refuse()
    }

    fn scratch_load(&mut self, _: &[u8]) -> HostResult<SlotValue> {
        refuse()
    }

    fn scratch_store(&mut self, _: &[u8], _: &[u8]) -> HostResult<()> {
        refuse()
    }

    fn db_get(&mut self, _: u32, _: &[u8], _: &mut Gas) -> HostResult<Option<Bytes>> {
        refuse()
    }

    fn db_put(&mut self, _: u32, _: &[u8], _: &Bytes, _: &mut Gas) -> HostResult<bool> {
        refuse()
    }

    fn db_delete(&mut self, _: u32, _: &[u8], _: &mut Gas) -> HostResult<bool> {
        refuse()
    }

    fn db_exists(&mut self, _: u32, _: &[u8], _: &mut Gas) -> HostResult<bool> {
        refuse()
    }

    fn db_insert(&mut self, _: u32, _: &Bytes, _: &mut Gas) -> HostResult<Bytes> {
        refuse()
    }

    fn db_patch(&mut self, _: u32, _: &[u8], _: &[u8], _: &mut Gas) -> HostResult<bool> {
        refuse()
    }

    fn db_get_at(&mut self, _: u32, _: u64, _: &[u8], _: &mut Gas) -> HostResult<Option<Bytes>> {
        refuse()
    }

    fn db_query(&mut self, _: u32, _: &[u8], _: Option<&[u8]>, _: &mut Gas) -> HostResult<u64> {
        refuse()
    }

    fn db_query_count(&mut self, _: u32, _: &[u8], _: Option<&[u8]>, _: &mut Gas) -> HostResult<u64> {
        refuse()
    }

    fn slot_load_at(&mut self, _: u64, _: &[u8], _: &mut Gas) -> HostResult<SlotValue> {
        refuse()
    }

    fn state_root(&mut self, _: &mut Gas) -> HostResult<Bytes> {
        refuse()
    }

    fn state_prove(&mut self, _: &[u8], _: &mut Gas) -> HostResult<Bytes> {
        refuse()
    }

    fn db_prove(&mut self, _: u32, _: &[u8], _: &mut Gas) -> HostResult<Bytes> {
        refuse()
    }

    fn state_verify(&mut self, _: &[u8], _: &[u8], _: &[u8], _: &[u8], _: &mut Gas) -> HostResult<bool> {
        refuse()
    }

    fn db_count(&mut self, _: u32, _: &mut Gas) -> HostResult<u64> {
        refuse()
    }

    fn db_scan(
        &mut self,
        _: u32,
        _: Option<&[u8]>,
        _: Option<&[u8]>,
        _: bool,
        _: &mut Gas,
    ) -> HostResult<u64> {
        refuse()
    }

    fn db_next(&mut self, _: u64, _: &mut Gas) -> HostResult<Option<(Bytes, Bytes)>> {
        refuse()
    }

    fn db_close(&mut self, _: u64) -> HostResult<()> {
        refuse()
    }

    fn tx_begin(&mut self, _: bool) -> HostResult<()> {
        refuse()
    }

    fn tx_commit(&mut self, _: &mut Gas) -> HostResult<bool> {
        refuse()
    }

    fn tx_abort(&mut self) -> HostResult<()> {
        refuse()
    }

    fn savepoint(&mut self) -> HostResult<u64> {
        refuse()
    }

    fn rollback(&mut self, _: u64) -> HostResult<()> {
        refuse()
    }

    fn emit(&mut self, _: &[SlotValue], _: &Bytes, _: &mut Gas) -> HostResult<()> {
        refuse()
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
