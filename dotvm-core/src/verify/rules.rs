//! What the verifier knows of a module before it looks at a function: its gas, its capabilities, and all that is to be
//! checked of plain instructions.

use super::Walk;
use crate::capability::Capability;
use crate::decode::Inst;
use crate::gas::{self, Class};
use crate::limits;
use crate::module::{Module, Signature};
use crate::opcode::{Effect, Imm, OPS, Op, OpInfo};

/// The effect of a call of a function with a signature.
pub(super) fn call_effect(signature: Signature) -> Effect {
    Effect {
        words_in: signature.words_in as u32,
        words_out: signature.words_out as u32,
        refs_in: signature.refs_in as u32,
        refs_out: signature.refs_out as u32,
    }
}

/// The effect of SPAWN of a function with a signature.
pub(super) fn spawn_effect(signature: Signature) -> Effect {
    Effect {
        words_in: signature.words_in as u32 + 1,
        words_out: 1,
        refs_in: signature.refs_in as u32,
        refs_out: 0,
    }
}

/// What holds in all functions of a module.
pub(super) struct Rules {
    pub bits: u32,
    pub granted: [bool; Capability::ALL.len()],
    /// By code, of those of one byte.
    plain: [Plain; 256],
    /// By index of the function.
    pub callees: Vec<Callee>,
}

/// What calls of a function need to know. They ask for it in no order, and these are close together.
pub(super) struct Callee {
    pub signature: u16,
    /// Static gas of the call.
    pub gas: u16,
}

/// What is to be checked of an operation that only takes and leaves words.
#[derive(Clone, Copy)]
struct Plain {
    /// The greatest first immediate that is surely right.
    greatest: u64,
    /// Words taken, or [`Plain::NEVER`] if each such instruction needs a closer look.
    words_in: u32,
    words_out: u16,
    gas: u16,
}

impl Plain {
    /// More words than there are on any stack.
    const NEVER: u32 = u32::MAX;

    const NONE: Plain = Plain { greatest: 0, words_in: Plain::NEVER, words_out: 0, gas: 0 };

    fn of(info: &OpInfo, module: &Module) -> Option<Plain> {
        let effect = info.effect.filter(|effect| (effect.refs_in, effect.refs_out) == (0, 0))?;
        if info.capability.is_some() || info.op == Op::Blk {
            return None;
        }
        let gas = info.gas.static_cost(operating_bits(info.op, 0, module.width.bits()));
        Some(Plain {
            greatest: match info.imms {
                [] => u64::MAX,
                [imm] => surely_right(*imm, module)?,
                _ => return None,
            },
            words_in: effect.words_in,
            words_out: effect.words_out as u16,
            gas: u16::try_from(gas).ok()?,
        })
    }
}

impl Rules {
    pub fn new(module: &Module) -> Rules {
        let mut granted = [false; Capability::ALL.len()];
        for &capability in &module.capabilities {
            granted[capability as usize] = true;
        }
        let mut plain = [Plain::NONE; 256];
        for info in OPS.iter().filter(|info| !info.op.is_paged()) {
            plain[info.code as usize] = Plain::of(info, module).unwrap_or(Plain::NONE);
        }
        let call = Class::Call.static_cost(module.width.bits());
        // The tables are checked: no module has more signatures.
        let callees = module.functions.iter().map(|function| Callee {
            signature: function.signature as u16,
            gas: (call + gas::locals(function.word_locals as u32)) as u16,
        });
        Rules { bits: module.width.bits(), granted, plain, callees: callees.collect() }
    }

    /// Bounds the operations on word locals for the next function. In one with handlers DUP is looked at closer: there
    /// it makes a difference whether a value is taken or only read.
    pub fn set_function(&mut self, count: u32, has_handlers: bool) {
        self.plain[Op::Dup as usize].words_in = if has_handlers { Plain::NEVER } else { 1 };
        for (op, words_in) in [(Op::Lget, 0), (Op::Lset, 1), (Op::Ltee, 1)] {
            let rule = &mut self.plain[op as usize];
            rule.greatest = u64::from(count.saturating_sub(1));
            rule.words_in = if count > 0 { words_in } else { Plain::NEVER };
        }
    }

    /// Walks over plain instructions; answers how many there are before one that needs a closer look, or is wrong.
    #[inline(never)]
    pub fn walk_plain(&self, insts: &[Inst], walk: &mut Walk) -> usize {
        let mut words = walk.heights.words;
        let (mut lowest, mut highest, mut gas) = (walk.lowest, walk.highest.words, walk.gas);
        let mut count = 0;
        for inst in insts {
            let rule = &self.plain[inst.op as u8 as usize];
            let is_special = inst.op.is_paged() | inst.prefix.is_some();
            if (words < rule.words_in) | (inst.a > rule.greatest) | is_special {
                break;
            }
            // A block is too short to bring a height near 2^32.
            words -= rule.words_in;
            lowest = lowest.min(words);
            words += rule.words_out as u32;
            highest = highest.max(words);
            gas += rule.gas as u64;
            count += 1;
        }
        walk.heights.words = words;
        (walk.lowest, walk.highest.words, walk.gas) = (lowest, highest, gas);
        count
    }
}

/// The greatest immediate of a kind up to which none is refused, whatever the operation.
fn surely_right(imm: Imm, module: &Module) -> Option<u64> {
    let below = |count: usize| (count as u64).checked_sub(1);
    match imm {
        // Word locals are bounded at each function.
        Imm::Local => Some(0),
        Imm::Global => below(module.word_globals.len()),
        Imm::WordConst => below(module.word_constants.len()),
        Imm::Func => below(module.functions.len()),
        Imm::Count => Some(limits::module::TOPICS),
        Imm::Signed | Imm::Rel | Imm::Table => Some(u64::MAX),
        // In 32-bit modules two operations with an offset do not exist.
        Imm::Offset if module.width.bits() >= 64 => Some(u64::MAX),
        _ => None,
    }
}

/// The width at which an operation without prefix works in a module with words of `bits`.
fn operating_bits(op: Op, first_immediate: u64, bits: u32) -> u32 {
    match op {
        Op::Load8 | Op::Store8 => 8,
        Op::Load16 | Op::Store16 => 16,
        Op::Load32 | Op::Store32 => 32,
        Op::Load64 | Op::Store64 => 64,
        Op::Loadx | Op::Storex => 8 << (first_immediate & 7),
        _ => bits,
    }
}

/// The static gas of an instruction in a module with words of `bits`.
pub(super) fn static_gas(module: &Module, inst: &Inst, bits: u32) -> u64 {
    let bits = inst.prefix.map_or(bits, |prefix| prefix.bits());
    let class = inst.op.info().gas;
    let cost = class.static_cost(operating_bits(inst.op, inst.a, bits));
    if class != Class::Call {
        return cost;
    }
    // A function that does not exist is refused later, in the walk.
    cost + module.functions.get(inst.a as usize).map_or(0, |callee| gas::locals(callee.word_locals as u32))
}
