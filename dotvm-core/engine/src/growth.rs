//! Programs that grow while an instance of them exists: functions are verified, lowered and put behind the others, so
//! that nothing that is there moves.

use dotvm_core::module::Function;
use dotvm_core::verify::{Verified, VerifyError};
use dotvm_heap::Reference;

use crate::inst::Inst;
use crate::lower::Lowerer;
use crate::program::{AnyLowered, CompileError, Lowered, Program, Wrap};

/// Functions to be added to a running instance.
#[derive(Debug)]
pub struct Unit {
    /// The functions. They have the numbers behind those that are there, and signatures of the module.
    pub functions: Vec<Function>,
    /// What new reference globals hold, with the numbers behind those that are there.
    pub globals: Vec<Reference>,
    /// The number of the function that stands for the formula.
    pub entry: u32,
    /// Whether it does so only on subjects with the same head.
    pub has_battery: bool,
}

impl Program {
    /// Adds functions and reference globals.
    ///
    /// # Errors
    /// Nothing is added then.
    pub(crate) fn extend(&mut self, functions: Vec<Function>, ref_globals: u32) -> Result<(), CompileError> {
        let verified = &mut self.verified;
        match &mut self.lowered {
            AnyLowered::W32(lowered) => extend(verified, lowered, functions, ref_globals),
            AnyLowered::W64(lowered) => extend(verified, lowered, functions, ref_globals),
            AnyLowered::W128(lowered) => extend(verified, lowered, functions, ref_globals),
            AnyLowered::W256(lowered) => extend(verified, lowered, functions, ref_globals),
            AnyLowered::W512(lowered) => extend(verified, lowered, functions, ref_globals),
        }
    }
}

fn extend<W: Wrap>(
    verified: &mut Verified,
    lowered: &mut Lowered<W>,
    functions: Vec<Function>,
    ref_globals: u32,
) -> Result<(), CompileError> {
    let (lowerer, result) = verified.extend::<_, CompileError>(
        functions,
        ref_globals,
        |module| Lowerer::of_more(module, lowered),
        |lowerer, module, index, body, function| Ok(lowerer.function(module, index, body, function)?),
    );
    let (more, entries) = lowerer.give_back(lowered);
    result?;
    let base = lowered.used;
    if base + more.code.len() > i32::MAX as usize {
        let message = "the program has more than 2,147,483,647 instructions".to_owned();
        return Err(VerifyError { function: None, offset: None, message }.into());
    }
    lowered.make_room(more.code.len());
    let half = lowered.code.len() / 2;
    lowered.code[base..base + more.code.len()].copy_from_slice(&more.code);
    for (at, cost) in entries {
        lowered.code[half + base + at as usize] = Inst::Gas { cost };
    }
    lowered.used += more.code.len();
    let tables = lowered.tables.len() as u32;
    if !more.tables.is_empty() {
        for inst in &mut lowered.code[base..base + more.code.len()] {
            if let Inst::JumpTable { start, .. } = inst {
                *start += tables;
            }
        }
        let mut targets = more.tables.into_iter();
        while let Some(count) = targets.next() {
            lowered.tables.push(count);
            lowered.tables.extend(targets.by_ref().take(count as usize).map(|target| target + base as u32));
        }
    }
    lowered.functions.extend(more.functions.into_iter().map(|mut function| {
        function.entry += base as u32;
        function
    }));
    Ok(())
}

impl<W> Lowered<W> {
    /// Makes room for more instructions: each half becomes at least twice as long where it does not suffice.
    fn make_room(&mut self, more: usize) {
        let half = self.code.len() / 2;
        if self.used + more <= half {
            return;
        }
        let new_half = (self.used + more).max(2 * half);
        let mut code = vec![Inst::Gas { cost: 0 }; 2 * new_half];
        code[..self.used].copy_from_slice(&self.code[..self.used]);
        code[new_half..new_half + self.used].copy_from_slice(&self.code[half..half + self.used]);
        self.code = code;
    }
}
