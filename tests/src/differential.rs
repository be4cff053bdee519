//! Differential runs: one generated program through two implementations, everything compared, and the smallest
//! program that still differs in the report.

use std::fmt::Write;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use dotvm_arch::Width;
use dotvm_core::builder::{CodeBuilder, Label};
use dotvm_core::decode::{Decoded, Scratch, decode};
use dotvm_core::limits::Limits;
use dotvm_core::module::Module;
use dotvm_core::opcode::{Flow, Imm};
use dotvm_core::outcome::{FinalState, Invocation, Outcome};
use dotvm_core::verify::{Verified, verify};

use crate::generate::{self, generate};
use crate::mock_host::MockHost;
use crate::outside::Script;

/// An implementation: a verified module, a call into it, limits and a host in, everything visible out.
pub type Run<'a> =
    dyn Fn(&Verified, &Invocation, &Limits, &mut MockHost) -> Result<(Outcome, FinalState), String> + 'a;

/// The reference interpreter as a [`Run`].
pub fn reference(
    verified: &Verified,
    invocation: &Invocation,
    limits: &Limits,
    host: &mut MockHost,
) -> Result<(Outcome, FinalState), String> {
    dotvm_reference::run(verified, invocation, limits, host)
}

/// A program and everything around it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The seed it came from.
    pub seed: u64,
    /// The module.
    pub module: Module,
    /// The call.
    pub invocation: Invocation,
    /// The limits.
    pub limits: Limits,
}

impl Case {
    /// The case of a seed: four in ten run out of gas or stack somewhere of their own.
    pub fn generate(seed: u64, width: Width, size: usize) -> Case {
        let (module, invocation) = generate(seed, width, size);
        let mut limits = generate::limits();
        match seed % 16 {
            1 | 5 | 9 | 13 => limits.gas = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 & 0x1FFF,
            2 => limits.stack_words = (seed / 16 % 100) as u32,
            3 => limits.call_depth = (seed / 16 % 4) as u32,
            4 => limits.stack_refs = (seed / 16 % 30) as u32,
            7 => limits.tasks = (seed / 16 % 6) as u32,
            10 => limits.mailbox = (seed / 16 % 3) as u32,
            6 => limits.heap_bytes = seed / 16 % 1500,
            _ => {}
        }
        Case { seed, module, invocation, limits }
    }

    fn host(&self) -> MockHost {
        let mut host = MockHost::new(generate::env(self.seed, self.module.width));
        host.conflict_every = self.seed % 4;
        host.outside = Script {
            input: Bytes::from_static(b"one line\nand another, longer one\n"),
            arguments: vec![Bytes::from_static(b"first"), Bytes::new()],
            clock: Duration::from_secs(self.seed),
            ..Script::default()
        };
        host
    }

    /// What differs between two implementations, or `None`. A module that does not verify is a difference too.
    pub fn difference(&self, left: &Run, right: &Run) -> Option<String> {
        let verified = match verify(self.module.clone()) {
            Ok(verified) => verified,
            Err(error) => return Some(format!("the module does not verify: {error}")),
        };
        let run = |run: &Run| {
            let mut host = self.host();
            (run(&verified, &self.invocation, &self.limits, &mut host), host)
        };
        let ((left, left_host), (right, right_host)) = (run(left), run(right));
        let (left, right) = match (left, right) {
            (Ok(left), Ok(right)) => (left, right),
            (Err(_), Err(_)) => return None,
            (left, right) => {
                let (left, right) = (left.map(|result| result.0), right.map(|result| result.0));
                return Some(format!("one refuses to run:\n  {left:?}\n  {right:?}"));
            }
        };
        if left.0 != right.0 {
            return Some(format!("the outcomes differ:\n  {:?}\n  {:?}", left.0, right.0));
        }
        if left.1.memory != right.1.memory {
            let at = left.1.memory.iter().zip(&right.1.memory).position(|(left, right)| left != right);
            return Some(match at {
                Some(at) => format!(
                    "memory differs at {at}: {:#04x} and {:#04x}",
                    left.1.memory[at], right.1.memory[at]
                ),
                None => format!("memory is {} and {} bytes long", left.1.memory.len(), right.1.memory.len()),
            });
        }
        if left.1 != right.1 {
            let globals = |state: &FinalState| format!("{:?} {:?}", state.word_globals, state.ref_globals);
            return Some(format!("globals differ:\n  {}\n  {}", globals(&left.1), globals(&right.1)));
        }
        (left_host != right_host).then(|| format!("the hosts differ:\n  {left_host:?}\n  {right_host:?}"))
    }

    /// A smaller case that still differs: instructions are left out, in halves, quarters and so on down to single
    /// ones, as long as the module verifies and the difference stays. It may cost no more gas than the case did.
    pub fn shrink(&self, left: &Run, right: &Run) -> Case {
        let mut best = self.clone();
        let differs = |case: &Case| case.difference(left, right).is_some();
        // A loop that lost its counter must not run for long.
        while best.limits.gas > 1 {
            let mut candidate = best.clone();
            candidate.limits.gas /= 2;
            if !differs(&candidate) {
                break;
            }
            best = candidate;
        }
        let mut attempts = 2_000;
        for function in (0..best.module.functions.len()).rev() {
            let mut piece = instruction_count(&best.module, function);
            while piece > 0 {
                let mut start = instruction_count(&best.module, function);
                while start > 0 && attempts > 0 {
                    start = start.saturating_sub(piece);
                    let Some(candidate) = best.without(function, start..start + piece) else { continue };
                    attempts -= 1;
                    if differs(&candidate) {
                        best = candidate;
                    }
                }
                piece /= 2;
            }
        }
        best
    }

    /// The case without some instructions of a function, if it still verifies. A jump to one that is left out leads
    /// to the next one that is not.
    fn without(&self, function: usize, range: Range<usize>) -> Option<Case> {
        let Decoded { insts, targets } = decoded(&self.module, function)?;
        let mut builder = CodeBuilder::new();
        let labels: Vec<Label> = insts.iter().map(|_| builder.label()).collect();
        for (index, inst) in insts.iter().enumerate() {
            builder.bind(labels[index]);
            if range.contains(&index) {
                continue;
            }
            match inst.op.info().imms {
                [Imm::Rel] => builder.jump(inst.op, labels[inst.a as usize]),
                [Imm::Table] => {
                    let targets = &targets[inst.a as usize..inst.a as usize + inst.b as usize];
                    let targets: Vec<Label> = targets.iter().map(|&target| labels[target as usize]).collect();
                    builder.table(&targets);
                }
                imms => builder.prefixed(inst.prefix, inst.op, &[inst.a, inst.b.into()][..imms.len()]),
            }
        }
        let code = builder.finish();
        let mut case = self.clone();
        for map in case.module.jump_maps.iter_mut().filter(|map| map.function as usize == function) {
            for (_, offset) in &mut map.entries {
                let index = insts.binary_search_by_key(offset, |inst| inst.offset).ok()?;
                *offset = code.offset_of(labels[index]);
            }
        }
        let end = case.module.functions[function].code.len() as u32;
        for table in case.module.handlers.iter_mut().filter(|table| table.function as usize == function) {
            for handler in &mut table.entries {
                for offset in [&mut handler.from, &mut handler.to, &mut handler.target] {
                    if *offset == end {
                        *offset = code.bytes.len() as u32;
                        continue;
                    }
                    let index = insts.binary_search_by_key(offset, |inst| inst.offset).ok()?;
                    *offset = code.offset_of(labels[index]);
                }
            }
        }
        case.module.functions[function].code = code.bytes;
        verify(case.module.clone()).is_ok().then_some(case)
    }

    /// The functions of the module, one instruction a line.
    pub fn dump(&self) -> String {
        let mut text = String::new();
        for (index, function) in self.module.functions.iter().enumerate() {
            let signature = self.module.signatures[function.signature as usize];
            let _ = writeln!(
                text,
                "function {index}: {} {} → {} {}, {} + {} locals, window {}",
                signature.words_in,
                signature.refs_in,
                signature.words_out,
                signature.refs_out,
                function.word_locals,
                function.ref_locals,
                function.window
            );
            let Some(code) = decoded(&self.module, index) else { continue };
            let insts = &code.insts;
            for inst in insts {
                let info = inst.op.info();
                let prefix = inst.prefix.map_or(String::new(), |prefix| format!("{} ", prefix.mnemonic()));
                let _ = write!(text, "{:6}  {prefix}{}", inst.offset, info.mnemonic);
                for (position, &imm) in info.imms.iter().enumerate() {
                    let value = if position == 0 { inst.a } else { inst.b.into() };
                    let _ = match imm {
                        Imm::Signed => write!(text, " {}", value as i64),
                        Imm::Rel => write!(text, " →{}", insts[value as usize].offset),
                        Imm::Table => code
                            .table(inst)
                            .iter()
                            .try_for_each(|&target| write!(text, " →{}", insts[target as usize].offset)),
                        _ => write!(text, " {value}"),
                    };
                }
                text.push_str(if info.flow == Flow::Leave { "\n\n" } else { "\n" });
            }
        }
        text
    }
}

fn decoded(module: &Module, function: usize) -> Option<Decoded> {
    decode(&module.functions[function].code, module.width.bits(), &mut Scratch::default()).ok()
}

fn instruction_count(module: &Module, function: usize) -> usize {
    decoded(module, function).map_or(0, |decoded| decoded.insts.len())
}

/// Runs the cases of `seeds` through both implementations.
///
/// # Panics
/// At the first case that differs, with the seed, the width, the difference, and the smallest program found that
/// still shows one.
pub fn compare(seeds: Range<u64>, width: Width, size: usize, left: &Run, right: &Run) {
    for seed in seeds {
        let case = Case::generate(seed, width, size);
        let Some(difference) = case.difference(left, right) else { continue };
        let small = case.shrink(left, right);
        panic!(
            "seed {seed}, {width}, size {size}: {difference}\n\nshrunk: {}\ncalled with {:?} under {:?}\n{}",
            small.difference(left, right).unwrap_or_default(),
            small.invocation,
            small.limits,
            small.dump()
        );
    }
}

#[cfg(test)]
mod tests {
    use dotvm_core::decode::Inst;
    use dotvm_core::opcode::Op;

    use super::*;

    /// A reference whose MULW gives a wrong gas count is found out, and what is left still has a MULW.
    #[test]
    fn a_wrong_implementation_is_found_and_shrunk() {
        let wrong = |verified: &Verified, invocation: &Invocation, limits: &Limits, host: &mut MockHost| {
            let mut has_mulw = false;
            let mut inspect = |_, inst: &Inst| has_mulw |= inst.op == Op::Mulw;
            let result = dotvm_reference::run_with(verified, invocation, limits, host, &mut inspect);
            result.map(|(mut outcome, state)| {
                outcome.gas_used += u64::from(has_mulw);
                (outcome, state)
            })
        };
        let cases = (0..).map(|seed| Case::generate(seed, Width::W128, 10));
        let case = cases.into_iter().find(|case| case.difference(&wrong, &reference).is_some()).unwrap();
        let small = case.shrink(&wrong, &reference);
        assert!(small.difference(&wrong, &reference).is_some_and(|text| text.contains("outcomes differ")));
        let count = |case: &Case| case.dump().lines().count();
        assert!(small.dump().contains("MULW"));
        assert!(count(&small) < count(&case), "{}", small.dump());
    }

    #[test]
    fn an_implementation_agrees_with_itself() {
        for seed in 0..50 {
            assert_eq!(Case::generate(seed, Width::W64, 10).difference(&reference, &reference), None);
        }
    }
}
