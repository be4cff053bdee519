//! The interpreter: one `match` loop over the register form.

use std::cmp::Ordering;

use dotvm_arch::Word;
use dotvm_arch::float::Float;
use dotvm_core::gas::{self, Gas};
use dotvm_core::host::Host;
use dotvm_core::limits::Limits;
use dotvm_core::outcome::{Invocation, Outcome};
use dotvm_core::trap::TrapKind;
use dotvm_core::verify::Verified;
use dotvm_heap::{Axis, Reference};

use crate::cells;
use crate::float::float;
use crate::formulas::Found;
use crate::inst::Inst;
use crate::int;
use crate::lower::word_from;
use crate::machine::{Frame, Machine, Next, Place, State, Stop};
use crate::program::Lowered;
use crate::registers::{Cursor, Registers};

/// Runs a function to its end.
pub(crate) fn run<'a, W: Word>(
    verified: &'a Verified,
    lowered: &'a Lowered<W>,
    invocation: &Invocation,
    limits: &Limits,
    host: &'a mut dyn Host,
) -> Result<(Outcome, Machine<'a, W>), String> {
    invocation.check(verified)?;
    let state = State::new(verified.module(), limits)?;
    let mut machine = Machine::new(verified, lowered, host, state);
    let mut stopped = match enter_first(&mut machine, invocation) {
        Ok(()) => drive(&mut machine, u64::MAX, None),
        Err(stop) => (Some(stop), machine.entry_of(invocation.function)),
    };
    while let (Some(Stop::Call(request)), _) = &stopped {
        let refusal = match machine.host.call(request) {
            Ok(answer) => machine.answer_call(answer),
            Err(error) => Some(Stop::from(error)),
        };
        stopped = drive(&mut machine, u64::MAX, refusal);
    }
    let end = machine.end_of(stopped, invocation.function)?;
    let outcome = Outcome {
        end,
        gas_used: Gas::new(limits.gas).left() - machine.gas.left(),
        guest_gas_used: limits.guest_gas - machine.guest_gas,
    };
    Ok((outcome, machine))
}

/// Makes the frame of the entry function, with which the machine goes on.
pub(crate) fn enter_first<W: Word>(
    machine: &mut Machine<'_, W>,
    invocation: &Invocation,
) -> Result<(), Stop> {
    let function = &machine.lowered.functions[invocation.function as usize];
    if machine.limits.call_depth == 0 {
        return Err(Stop::trap(TrapKind::Depth));
    }
    if function.frame_words > machine.limits.stack_words {
        return Err(Stop::trap(TrapKind::Stack));
    }
    machine.reserve_refs(0, function.frame_refs)?;
    machine.grow_words((function.frame_words.max(function.words_out as u32)) as usize);
    for (slot, argument) in machine.words.iter_mut().zip(&invocation.words) {
        *slot = word_from(*argument);
    }
    for (place, argument) in machine.refs.iter_mut().zip(&invocation.refs) {
        *place = machine.heap.import(argument)?;
    }
    machine.frames.push(Frame {
        return_to: 0,
        caller_slots: 0,
        caller_refs: 0,
        start: 0,
        window: function.window as u32,
    });
    machine.next = Next::Enter(function.entry as usize);
    machine.slots = if function.window > 0 { function.words_in as usize } else { 0 };
    Ok(())
}

/// Goes on from where the machine stands until its first task ends or something stops the machine; answers where it did.
/// It stops at the first transfer of control that does not fit into what is left of `quantum` ([`Stop::Quantum`]), though
/// never at the one it begins with. If a request was refused, it goes on with that trap.
pub(crate) fn drive<W: Word>(
    m: &mut Machine<'_, W>,
    quantum: u64,
    refusal: Option<Stop>,
) -> (Option<Stop>, Place) {
    let (mut quantum, mut refusal, mut is_first) = (quantum, refusal, true);
    loop {
        let before = m.gas.left();
        let stopped = drive_task(m, quantum, is_first, refusal.take());
        let goes_on = matches!(&stopped, (Some(Stop::Spawn { .. } | Stop::Switch), _));
        if !goes_on && m.scheduler.is_none() {
            return stopped;
        }
        let used = before - m.gas.left();
        quantum = quantum.saturating_sub(used);
        is_first = false;
        let before = m.gas.left();
        match m.reschedule(stopped, used, quantum) {
            Ok(trap) => refusal = trap,
            Err(stopped) => return stopped,
        }
        quantum = quantum.saturating_sub(before - m.gas.left());
    }
}

/// Goes on with the task that runs, with handlers where something traps, until it ends, is to be left for another, or
/// something stops the machine. It stops at the first transfer of control that does not fit into the quantum, and leaves
/// the task where it does not fit into what is left of its turn.
fn drive_task<W: Word>(
    m: &mut Machine<'_, W>,
    quantum: u64,
    is_first: bool,
    refusal: Option<Stop>,
) -> (Option<Stop>, Place) {
    let total = m.gas.left();
    let cost = match m.next {
        Next::Enter(entry) if is_first => m.lowered.entry_cost(entry),
        _ => 0,
    };
    let refused = match m.next {
        Next::Inst(next) => refusal.map(|stop| (Some(stop), Place::Inst(next - 1))),
        Next::Enter(_) => None,
    };
    let turn = m.scheduler.as_ref().map_or(u64::MAX, |scheduler| scheduler.turn_left());
    let slice = total.min(quantum.max(cost)).min(turn);
    m.gas = Gas::new(slice);
    m.reserve = total - slice;
    let stopped = catching(m, refused);
    m.gas = Gas::new(m.gas.left() + m.reserve);
    match stopped {
        (Some(Stop::Trap(TrapKind::Gas, _)), Place::Entry(entry)) => {
            m.next = Next::Enter(entry);
            let cost = m.lowered.entry_cost(entry);
            let turn = m.scheduler.as_ref().map_or(u64::MAX, |scheduler| scheduler.turn_left());
            let used = total - m.gas.left();
            // The turn comes first, so that running out of gas and going on with more changes nothing.
            let stop = if cost > turn.saturating_sub(used) {
                Stop::Switch
            } else if m.gas.left() >= cost {
                Stop::Quantum
            } else {
                Stop::trap(TrapKind::Gas)
            };
            (Some(stop), Place::Entry(entry))
        }
        // An operation that cannot be paid has done nothing: it is begun again.
        (Some(Stop::Trap(TrapKind::Gas, detail)), Place::Inst(inst)) => {
            m.next = Next::Inst(inst);
            (Some(Stop::Trap(TrapKind::Gas, detail)), Place::Inst(inst))
        }
        // Something else is to be done before the operation.
        (Some(Stop::Quantum), Place::Inst(inst)) => {
            m.next = Next::Inst(inst);
            (Some(Stop::Quantum), Place::Inst(inst))
        }
        // The operation is begun again when the function is there.
        (Some(Stop::Formula), Place::Inst(inst)) => {
            m.next = Next::Inst(inst);
            (Some(Stop::Formula), Place::Inst(inst))
        }
        // Behind a request the run goes on with the next instruction.
        (Some(stop @ (Stop::Call(_) | Stop::Spawn { .. } | Stop::Switch)), Place::Inst(inst)) => {
            m.next = Next::Inst(inst + 1);
            (Some(stop), Place::Inst(inst))
        }
        stopped => stopped,
    }
}

/// Interprets, with handlers where something traps; begins with what stopped already, if something did.
fn catching<W: Word>(
    m: &mut Machine<'_, W>,
    mut stopped: Option<(Option<Stop>, Place)>,
) -> (Option<Stop>, Place) {
    loop {
        let (stop, place) = match stopped.take() {
            Some(stopped) => stopped,
            None => match m.pay_entry() {
                Ok(inst) => execute(m, inst),
                Err(stopped) => stopped,
            },
        };
        let Place::Inst(inst) = place else { return (stop, place) };
        let handler = match stop {
            Some(Stop::Trap(kind, detail)) => {
                match m.catch(kind, inst, W::from_u64(kind as u64), &mut Reference::default()) {
                    Some(handler) => handler,
                    None => return (Some(Stop::Trap(kind, detail)), place),
                }
            }
            Some(Stop::Throw(mut exception)) => {
                let (code, payload) = &mut *exception;
                match m.catch(TrapKind::User, inst, word_from(*code), payload) {
                    Some(handler) => handler,
                    None => return (Some(Stop::Throw(exception)), place),
                }
            }
            stop => return (stop, place),
        };
        m.next = Next::Enter(handler);
        m.slots = m.frames.last().map_or(0, |frame| frame.start as usize);
    }
}

/// Leaves the interpreter at the instruction before `next`. Out of line and with few arguments, so that handlers stay
/// short.
#[cold]
#[inline(never)]
fn stop_at<W: Word>(
    m: &mut Machine<'_, W>,
    gas: Gas,
    slots: *const W,
    next: *const Inst,
    stop: Stop,
) -> (Option<Stop>, Place) {
    (Some(stop), Place::Inst(m.leave(gas, slots, next) - 1))
}

/// Leaves the interpreter before what it was to enter at `next`.
#[cold]
#[inline(never)]
fn out_of_gas_at<W: Word>(
    m: &mut Machine<'_, W>,
    gas: Gas,
    slots: *const W,
    next: *const Inst,
) -> (Option<Stop>, Place) {
    (Some(Stop::trap(TrapKind::Gas)), Place::Entry(m.leave(gas, slots, next)))
}

/// Interprets from an instruction of the current frame until the entry function returns (`None`) or something stops it;
/// answers where it did.
#[inline(never)]
fn execute<W: Word>(m: &mut Machine<'_, W>, inst: usize) -> (Option<Stop>, Place) {
    let lowered = m.lowered;
    let code = &lowered.code[..];
    let mut regs = Registers::new(&mut m.words, m.slots);
    let mut cursor = Cursor::new(code, inst);
    let mut gas = m.gas;

    /// Ends the run at the instruction before the cursor.
    macro_rules! stop {
        ($stop:expr) => {{
            return stop_at(m, gas, regs.address(), cursor.address(), $stop);
        }};
    }
    /// The value of a `Result`, or the end of the run.
    macro_rules! check {
        ($result:expr) => {
            match $result {
                Ok(value) => value,
                Err(error) => stop!(Stop::from(error)),
            }
        };
    }
    /// Charges for what the cursor enters.
    macro_rules! charge {
        ($cost:expr) => {{
            let cost = $cost;
            if gas.charge(cost as u64).is_err() {
                return out_of_gas_at(m, gas, regs.address(), cursor.address());
            }
        }};
    }
    macro_rules! binary {
        ($operation:ident, $d:ident, $a:ident, $b:ident) => {{
            let value = regs.get($a).$operation(regs.get($b));
            regs.set($d, value);
        }};
    }
    macro_rules! with_imm {
        ($operation:ident, $d:ident, $a:ident, $imm:ident) => {{
            let value = regs.get($a).$operation(W::from_i64($imm as i64));
            regs.set($d, value);
        }};
    }
    macro_rules! with_const {
        ($operation:ident, $d:ident, $a:ident, $k:ident) => {{
            let value = regs.get($a).$operation(lowered.constants[$k as usize]);
            regs.set($d, value);
        }};
    }
    macro_rules! compare {
        ($operation:ident, $d:ident, $a:ident, $b:expr) => {{
            let value = W::from_bool(regs.get($a).$operation($b));
            regs.set($d, value);
        }};
    }
    /// Something in the floating-point format of the words.
    macro_rules! with_format {
        (|$format:ident| $body:expr) => {
            if W::BITS < 64 {
                type $format = f32;
                $body
            } else {
                type $format = f64;
                $body
            }
        };
    }
    macro_rules! float_binary {
        ($operation:ident, $d:ident, $a:ident, $b:ident) => {{
            let (a, b) = (regs.get($a).low_u64(), regs.get($b).low_u64());
            let bits = with_format!(|F| F::from_low_bits(a).$operation(F::from_low_bits(b)));
            regs.set($d, W::from_u64(bits));
        }};
    }
    macro_rules! float_compare {
        ($operation:ident, $d:ident, $a:ident, $b:ident) => {{
            let (a, b) = (regs.get($a).low_u64(), regs.get($b).low_u64());
            let holds = with_format!(|F| F::from_low_bits(a).$operation(F::from_low_bits(b)));
            regs.set($d, W::from_bool(holds));
        }};
    }
    macro_rules! jump_if {
        ($condition:expr, $to:ident) => {{
            if $condition {
                charge!(cursor.enter_by($to as isize));
            } else {
                charge!(cursor.enter());
            }
        }};
    }
    /// Does something with the machine as a whole; gas and frame are handed over and taken back.
    macro_rules! out_of_line {
        (|$start:ident| $body:expr) => {{
            m.lend_gas(gas);
            let $start = regs.start(&m.words);
            let result = $body;
            gas = m.take_gas_back();
            regs = Registers::new(&mut m.words, $start);
            check!(result)
        }};
    }
    macro_rules! call {
        ($f:expr, $w:expr, $r:expr) => {{
            let callee = &lowered.functions[$f as usize];
            let caller_slots = regs.start(&m.words);
            let start = caller_slots + $w as usize;
            let end = start + callee.frame_words as usize;
            if m.frames.len() >= m.limits.call_depth as usize {
                stop!(Stop::trap(TrapKind::Depth));
            }
            if callee.frame_refs > 0 {
                check!(m.reserve_refs(m.ref_start + $r as usize, callee.frame_refs));
            }
            // Nothing stops from here on: the words may move.
            if end > m.words.len() {
                if end > m.limits.stack_words as usize {
                    stop!(Stop::trap(TrapKind::Stack));
                }
                m.grow_words(end);
            }
            m.frames.push(Frame {
                return_to: cursor.index(code) as u32,
                caller_slots: caller_slots as u32,
                caller_refs: m.ref_start as u32,
                start: start as u32,
                window: callee.window as u32,
            });
            m.ref_start += $r as usize;
            enter_function!(callee, start)
        }};
    }
    /// Goes to the start of a function whose frame starts at `start` and has room.
    macro_rules! enter_function {
        ($callee:expr, $start:expr) => {{
            let first = $callee.words_in;
            if $callee.window > 0 {
                regs = Registers::new(&mut m.words, $start + first as usize);
            } else {
                regs = Registers::new(&mut m.words, $start);
                for local in first..first + $callee.word_locals {
                    regs.set(local, W::ZERO);
                }
            }
            charge!(cursor.enter_at(code, $callee.entry as usize));
        }};
    }
    /// Replaces the frame by one of a function.
    macro_rules! tail_call {
        ($f:expr, $w:expr, $r:expr) => {{
            let callee = &lowered.functions[$f as usize];
            let Some(frame) = m.frames.last_mut() else { unreachable!("code runs in a frame") };
            let start = frame.start as usize;
            let end = start + callee.frame_words as usize;
            if end > m.limits.stack_words as usize {
                stop!(Stop::trap(TrapKind::Stack));
            }
            frame.window = callee.window as u32;
            let arguments = regs.start(&m.words) + $w as usize;
            check!(m.replace_refs($r as usize, callee));
            m.words.copy_within(arguments..arguments + callee.words_in as usize, start);
            if end > m.words.len() {
                m.grow_words(end);
            }
            enter_function!(callee, start)
        }};
    }
    macro_rules! ret {
        () => {{
            let Some(frame) = m.frames.pop() else { unreachable!("a return without a frame") };
            m.ref_start = frame.caller_refs as usize;
            regs = Registers::new(&mut m.words, frame.caller_slots as usize);
            charge!(cursor.enter_at(code, frame.return_to as usize));
        }};
    }
    /// Whether the two references from a place on are equal; they are given back.
    macro_rules! are_equal {
        ($r:ident) => {{
            let r = m.ref_start + $r as usize;
            let [a, b] = &mut m.refs[r..r + 2] else { unreachable!("a range of two") };
            if a.as_small().is_some() && b.as_small().is_some() {
                let are_equal = a == b;
                (*a, *b) = (Reference::NULL, Reference::NULL);
                are_equal
            } else {
                m.lend_gas(gas);
                let order = m.heap.compare(&m.refs[r], &m.refs[r + 1], |cost| m.gas.charge(cost));
                gas = m.take_gas_back();
                let are_equal = check!(order) == Ordering::Equal;
                m.clear_refs(r, 2);
                are_equal
            }
        }};
    }
    macro_rules! load {
        ($d:ident, $p:ident, $off:ident, $number:ident) => {{
            let bytes = check!(m.memory.load(regs.get($p), $off as u64));
            regs.set($d, W::from_u64($number::from_le_bytes(*bytes) as u64));
        }};
    }
    macro_rules! store {
        ($p:ident, $value:expr, $off:ident, $number:ident) => {{
            let value = $value as $number;
            *check!(m.memory.store(regs.get($p), $off as u64)) = value.to_le_bytes();
        }};
    }

    loop {
        match *cursor.fetch() {
            Inst::Gas { cost } => charge!(cost),
            Inst::Exit => {
                m.gas = gas;
                return (None, Place::Inst(0));
            }

            Inst::Mov { d, a } => regs.set(d, regs.get(a)),
            Inst::LoadI { d, imm } => regs.set(d, W::from_i64(imm as i64)),
            Inst::LoadK { d, k } => regs.set(d, lowered.constants[k as usize]),
            Inst::Swap { a, b } => {
                let (x, y) = (regs.get(a), regs.get(b));
                regs.set(a, y);
                regs.set(b, x);
            }
            Inst::Rot { from, n } => {
                let raised = regs.get(from);
                for slot in from..from + n {
                    regs.set(slot, regs.get(slot + 1));
                }
                regs.set(from + n, raised);
            }
            Inst::Select { d, b, c } => {
                if regs.get(c).is_zero() {
                    regs.set(d, regs.get(b));
                }
            }
            Inst::GlobalGet { d, g } => {
                let value = match m.word_globals.get(g as usize) {
                    Some(&value) => value,
                    None => *m.first_word_global(g as usize),
                };
                regs.set(d, value);
            }
            Inst::GlobalSet { g, a } => {
                let value = regs.get(a);
                match m.word_globals.get_mut(g as usize) {
                    Some(place) => *place = value,
                    None => *m.first_word_global(g as usize) = value,
                }
            }

            Inst::AddR { d, a, b } => binary!(add, d, a, b),
            Inst::AddI { d, a, imm } => with_imm!(add, d, a, imm),
            Inst::AddK { d, a, k } => with_const!(add, d, a, k),
            Inst::SubR { d, a, b } => binary!(sub, d, a, b),
            Inst::MulR { d, a, b } => binary!(mul, d, a, b),
            Inst::MulI { d, a, imm } => with_imm!(mul, d, a, imm),
            Inst::MulK { d, a, k } => with_const!(mul, d, a, k),
            Inst::MulAddI { imm, d, a, b } => {
                let value = regs.get(a).mul(W::from_i64(imm as i64)).add(regs.get(b));
                regs.set(d, value);
            }
            Inst::AndR { d, a, b } => binary!(and, d, a, b),
            Inst::AndI { d, a, imm } => with_imm!(and, d, a, imm),
            Inst::AndK { d, a, k } => with_const!(and, d, a, k),
            Inst::OrR { d, a, b } => binary!(or, d, a, b),
            Inst::OrI { d, a, imm } => with_imm!(or, d, a, imm),
            Inst::OrK { d, a, k } => with_const!(or, d, a, k),
            Inst::XorR { d, a, b } => binary!(xor, d, a, b),
            Inst::XorI { d, a, imm } => with_imm!(xor, d, a, imm),
            Inst::XorK { d, a, k } => with_const!(xor, d, a, k),
            Inst::ShlR { d, a, b } => binary!(shl, d, a, b),
            Inst::ShlI { d, a, imm } => regs.set(d, regs.get(a).shl_u32(imm as u32)),
            Inst::ShrR { d, a, b } => binary!(shr, d, a, b),
            Inst::ShrI { d, a, imm } => regs.set(d, regs.get(a).shr_u32(imm as u32)),
            Inst::SarR { d, a, b } => binary!(sar, d, a, b),
            Inst::SarI { d, a, imm } => regs.set(d, regs.get(a).sar_u32(imm as u32)),
            Inst::DivR { d, a, b } => match regs.get(a).div(regs.get(b)) {
                Some(quotient) => regs.set(d, quotient),
                None => stop!(Stop::trap(TrapKind::DivZero)),
            },
            Inst::ModR { d, a, b } => match regs.get(a).rem(regs.get(b)) {
                Some(remainder) => regs.set(d, remainder),
                None => stop!(Stop::trap(TrapKind::DivZero)),
            },
            Inst::Not { d, a } => regs.set(d, regs.get(a).not()),

            Inst::FaddR { d, a, b } => float_binary!(fadd, d, a, b),
            Inst::FsubR { d, a, b } => float_binary!(fsub, d, a, b),
            Inst::FmulR { d, a, b } => float_binary!(fmul, d, a, b),
            Inst::FdivR { d, a, b } => float_binary!(fdiv, d, a, b),
            Inst::Fsqrt { d, a } => {
                let a = regs.get(a).low_u64();
                regs.set(d, W::from_u64(with_format!(|F| F::from_low_bits(a).fsqrt())));
            }
            Inst::FltR { d, a, b } => float_compare!(flt, d, a, b),
            Inst::FleR { d, a, b } => float_compare!(fle, d, a, b),

            Inst::EqR { d, a, b } => compare!(eq, d, a, regs.get(b)),
            Inst::EqI { d, a, imm } => compare!(eq, d, a, W::from_i64(imm as i64)),
            Inst::NeR { d, a, b } => compare!(ne, d, a, regs.get(b)),
            Inst::NeI { d, a, imm } => compare!(ne, d, a, W::from_i64(imm as i64)),
            Inst::LtR { d, a, b } => compare!(lt, d, a, regs.get(b)),
            Inst::LtI { d, a, imm } => compare!(lt, d, a, W::from_i64(imm as i64)),
            Inst::GeR { d, a, b } => compare!(ge, d, a, regs.get(b)),
            Inst::GeI { d, a, imm } => compare!(ge, d, a, W::from_i64(imm as i64)),
            Inst::SltR { d, a, b } => compare!(slt, d, a, regs.get(b)),
            Inst::SltI { d, a, imm } => compare!(slt, d, a, W::from_i64(imm as i64)),
            Inst::SgeR { d, a, b } => compare!(sge, d, a, regs.get(b)),
            Inst::SgeI { d, a, imm } => compare!(sge, d, a, W::from_i64(imm as i64)),

            Inst::Jump { to } => charge!(cursor.enter_by(to as isize)),
            Inst::JumpZ { a, to } => jump_if!(regs.get(a).is_zero(), to),
            Inst::JumpNz { a, to } => jump_if!(!regs.get(a).is_zero(), to),
            Inst::JumpEqR { a, b, to } => jump_if!(regs.get(a).eq(regs.get(b)), to),
            Inst::JumpEqI { a, imm, to } => jump_if!(regs.get(a).eq(W::from_i64(imm as i64)), to),
            Inst::JumpNeR { a, b, to } => jump_if!(regs.get(a).ne(regs.get(b)), to),
            Inst::JumpNeI { a, imm, to } => jump_if!(regs.get(a).ne(W::from_i64(imm as i64)), to),
            Inst::JumpLtR { a, b, to } => jump_if!(regs.get(a).lt(regs.get(b)), to),
            Inst::JumpLtI { a, imm, to } => jump_if!(regs.get(a).lt(W::from_i64(imm as i64)), to),
            Inst::JumpGeR { a, b, to } => jump_if!(regs.get(a).ge(regs.get(b)), to),
            Inst::JumpGeI { a, imm, to } => jump_if!(regs.get(a).ge(W::from_i64(imm as i64)), to),
            Inst::JumpSltR { a, b, to } => jump_if!(regs.get(a).slt(regs.get(b)), to),
            Inst::JumpSltI { a, imm, to } => jump_if!(regs.get(a).slt(W::from_i64(imm as i64)), to),
            Inst::JumpSgeR { a, b, to } => jump_if!(regs.get(a).sge(regs.get(b)), to),
            Inst::JumpSgeI { a, imm, to } => jump_if!(regs.get(a).sge(W::from_i64(imm as i64)), to),
            Inst::JumpTable { a, start } => {
                let table = &lowered.tables[start as usize..];
                let last = table[0] as u64 - 1;
                let entry = regs.get(a).try_u64().map_or(last, |index| index.min(last));
                charge!(cursor.enter_at(code, table[1 + entry as usize] as usize));
            }

            Inst::Call { w, r, f } => call!(f, w, r),
            Inst::CallIndirect { w, r, x } => {
                let [sig, table] = lowered.immediates[x as usize];
                let module = m.verified.module();
                let wanted = module.signatures[sig as usize];
                let table = &module.tables[table as usize];
                let index = regs.get(w + wanted.words_in).try_u64();
                let Some(entry) = index.and_then(|index| table.get(usize::try_from(index).ok()?)) else {
                    stop!(Stop::trap(TrapKind::Index));
                };
                let Some(f) = *entry else { stop!(Stop::trap(TrapKind::Null)) };
                if m.verified.signature(f) != wanted {
                    stop!(Stop::trap(TrapKind::Sig));
                }
                let locals = gas::locals(lowered.functions[f as usize].word_locals as u32);
                if gas.charge(locals).is_err() {
                    check!(m.charge_beyond_slice(&mut gas, locals));
                }
                call!(f, w, r)
            }
            Inst::TailCall { w, r, f } => tail_call!(f, w, r),
            Inst::Nock { w, r } => {
                let at = m.ref_start + r as usize;
                let f = match m.known_formula(at, cursor.index(code)) {
                    Some(f) => {
                        m.heap.clear(&mut m.refs[at + 1]);
                        f
                    }
                    None => {
                        let place = cursor.index(code);
                        match out_of_line!(|start| m.formula(at, place)) {
                            Found::Function(f) => {
                                m.heap.clear(&mut m.refs[at + 1]);
                                f
                            }
                            Found::Through(f) => f,
                            Found::Product => {
                                charge!(cursor.enter());
                                continue;
                            }
                        }
                    }
                };
                let locals = gas::locals(lowered.functions[f as usize].word_locals as u32);
                if gas.charge(locals).is_err() {
                    check!(m.charge_beyond_slice(&mut gas, locals));
                }
                call!(f, w, r)
            }
            Inst::TailNock { w, r } => {
                let at = m.ref_start + r as usize;
                let f = match m.known_formula(at, cursor.index(code)) {
                    Some(f) => {
                        m.heap.clear(&mut m.refs[at + 1]);
                        f
                    }
                    None => {
                        let place = cursor.index(code);
                        match out_of_line!(|start| m.formula(at, place)) {
                            Found::Function(f) => {
                                m.heap.clear(&mut m.refs[at + 1]);
                                f
                            }
                            Found::Through(f) => f,
                            Found::Product => m.identity_function(),
                        }
                    }
                };
                let locals = gas::locals(lowered.functions[f as usize].word_locals as u32);
                if gas.charge(locals).is_err() {
                    check!(m.charge_beyond_slice(&mut gas, locals));
                }
                tail_call!(f, w, r)
            }
            Inst::Ret0 => ret!(),
            Inst::Ret1 { a } => {
                regs.set(0, regs.get(a));
                ret!()
            }
            Inst::RetN { a, n } => {
                for result in 0..n {
                    regs.set(result, regs.get(a + result));
                }
                ret!()
            }
            Inst::RetRefs { w, r, f } => {
                let function = &lowered.functions[f as usize];
                for result in 0..function.words_out {
                    regs.set(result, regs.get(w + result));
                }
                m.return_refs(r as usize, function);
                ret!()
            }

            Inst::Block { need, grow } => {
                let Some(frame) = m.frames.last() else { unreachable!("code runs in a frame") };
                let top = regs.start(&m.words);
                let height = top - frame.start as usize;
                if height < need as usize || height + grow as usize > frame.window as usize {
                    stop!(Stop::trap(TrapKind::Stack));
                }
                regs = Registers::new(&mut m.words, top - need as usize);
            }
            Inst::Shift { by } => {
                let start = regs.start(&m.words);
                regs = Registers::new(&mut m.words, start + by as usize);
            }
            Inst::JumpMapped { a, map, by } => {
                let target =
                    regs.get(a).try_u64().and_then(|address| lowered.maps[map as usize].get(&address));
                let Some(&target) = target else { stop!(Stop::trap(TrapKind::Jump)) };
                let start = regs.start(&m.words);
                regs = Registers::new(&mut m.words, start + by as usize);
                charge!(cursor.enter_at(code, target as usize));
            }
            Inst::WindowEnd { w, n } => {
                let Some(frame) = m.frames.last() else { unreachable!("code runs in a frame") };
                let start = frame.start as usize;
                if regs.start(&m.words) + w as usize != start + n as usize {
                    stop!(Stop::trap(TrapKind::Stack));
                }
                regs = Registers::new(&mut m.words, start);
            }

            Inst::Load8 { d, p, off } => load!(d, p, off, u8),
            Inst::Load16 { d, p, off } => load!(d, p, off, u16),
            Inst::Load32 { d, p, off } => load!(d, p, off, u32),
            Inst::Load64 { d, p, off } => load!(d, p, off, u64),
            Inst::LoadW { d, p, off } => {
                let bytes = check!(m.memory.word(regs.get(p), off as u64));
                regs.set(d, W::read_le(bytes));
            }
            Inst::Store8 { p, a, off } => store!(p, regs.get(a).low_u64(), off, u8),
            Inst::Store16 { p, a, off } => store!(p, regs.get(a).low_u64(), off, u16),
            Inst::Store32 { p, a, off } => store!(p, regs.get(a).low_u64(), off, u32),
            Inst::Store64 { p, a, off } => store!(p, regs.get(a).low_u64(), off, u64),
            Inst::StoreW { p, a, off } => {
                let bytes = check!(m.memory.word_mut(regs.get(p), off as u64));
                regs.get(a).write_le(bytes);
            }
            Inst::Store8I { p, imm, off } => store!(p, imm, off, u8),
            Inst::Store16I { p, imm, off } => store!(p, imm, off, u16),
            Inst::Store32I { p, imm, off } => store!(p, imm, off, u32),
            Inst::Store64I { p, imm, off } => store!(p, imm, off, u64),
            Inst::StoreWI { p, imm, off } => {
                let bytes = check!(m.memory.word_mut(regs.get(p), off as u64));
                W::from_i64(imm as i64).write_le(bytes);
            }

            Inst::RefCopy { d, a } => {
                let copy = m.heap.share(&m.refs[m.ref_start + a as usize]);
                m.refs[m.ref_start + d as usize] = copy;
            }
            Inst::RefMove { d, a } => {
                let moved = std::mem::take(&mut m.refs[m.ref_start + a as usize]);
                m.set_ref(m.ref_start + d as usize, moved);
            }
            Inst::RefDrop { a } => m.heap.clear(&mut m.refs[m.ref_start + a as usize]),
            Inst::RefGlobal { d, g } => {
                let copy = match m.ref_globals.get(g as usize) {
                    Some(global) => m.heap.share(global),
                    None => check!(m.first_ref_global(g as usize)),
                };
                m.refs[m.ref_start + d as usize] = copy;
            }
            Inst::RefNull { d } => m.refs[m.ref_start + d as usize] = Reference::NULL,
            Inst::Cons { r } => check!(m.cons(m.ref_start + r as usize)),
            Inst::Head { r } => check!(m.head(m.ref_start + r as usize)),
            Inst::Tail { r } => check!(m.tail(m.ref_start + r as usize)),
            Inst::HeadOf { d, a } => check!(m.part_of(d, a, Axis::Short(2))),
            Inst::TailOf { d, a } => check!(m.part_of(d, a, Axis::Short(3))),
            Inst::AxisOf { d, a, axis } => {
                let axis = Axis::Short(axis as u64);
                if gas.charge(axis.depth()).is_err() {
                    check!(m.charge_beyond_slice(&mut gas, axis.depth()));
                }
                check!(m.part_of(d, a, axis));
            }
            Inst::IsCell { d, r } => {
                let place = &mut m.refs[m.ref_start + r as usize];
                regs.set(d, W::from_bool(place.is_cell()));
                m.heap.clear(place);
            }
            Inst::Increment { r } => {
                let r = m.ref_start + r as usize;
                m.lend_gas(gas);
                let next = cells::increment(&mut m.heap, &m.refs[r], &mut m.gas);
                gas = m.take_gas_back();
                let next = check!(next);
                m.set_ref(r, next);
            }
            Inst::IncrementOf { d, a } => {
                let d = m.ref_start + d as usize;
                let a = m.ref_start + a as usize;
                if let Some(next) = m.refs[a].as_small().and_then(|number| Reference::small(number + 1)) {
                    m.refs[d] = next;
                } else {
                    m.lend_gas(gas);
                    let next = cells::increment(&mut m.heap, &m.refs[a], &mut m.gas);
                    gas = m.take_gas_back();
                    m.refs[d] = check!(next);
                }
            }
            Inst::IncrementLocal { a } => {
                let a = m.ref_start + a as usize;
                if let Some(next) = m.refs[a].as_small().and_then(|number| Reference::small(number + 1)) {
                    m.refs[a] = next;
                } else {
                    m.lend_gas(gas);
                    let next = cells::increment(&mut m.heap, &m.refs[a], &mut m.gas);
                    gas = m.take_gas_back();
                    let next = check!(next);
                    m.set_ref(a, next);
                }
            }
            Inst::JumpRefEq { r, to } => jump_if!(are_equal!(r), to),
            Inst::JumpRefNe { r, to } => jump_if!(!are_equal!(r), to),
            Inst::JumpCell { r, to } => {
                let place = &mut m.refs[m.ref_start + r as usize];
                let is_cell = place.is_cell();
                m.heap.clear(place);
                jump_if!(is_cell, to)
            }
            Inst::JumpNoCell { r, to } => {
                let place = &mut m.refs[m.ref_start + r as usize];
                let is_cell = place.is_cell();
                m.heap.clear(place);
                jump_if!(!is_cell, to)
            }
            Inst::RefEq { d, r } => {
                let r = m.ref_start + r as usize;
                m.lend_gas(gas);
                let order = m.heap.compare(&m.refs[r], &m.refs[r + 1], |cost| m.gas.charge(cost));
                gas = m.take_gas_back();
                let is_equal = check!(order) == Ordering::Equal;
                m.clear_refs(r, 2);
                regs.set(d, W::from_bool(is_equal));
            }

            Inst::Int { op, w, x } => {
                let imms = lowered.immediates[x as usize];
                out_of_line!(|start| int::integer(op, &mut m.words[start + w as usize..], imms, &mut m.gas))
            }
            Inst::Narrow { op, prefix, w, x } => {
                let imms = lowered.immediates[x as usize];
                out_of_line!(|start| int::narrow(
                    op,
                    prefix,
                    &mut m.words[start + w as usize..],
                    imms,
                    &mut m.gas
                ))
            }
            Inst::Float { op, is_single, w, x } => {
                let [imm, _] = lowered.immediates[x as usize];
                out_of_line!(|start| float(op, is_single, &mut m.words[start + w as usize..], imm))
            }
            Inst::Ext { w, r, x } => {
                let operation = lowered.operations[x as usize];
                let r = m.ref_start + r as usize;
                out_of_line!(|start| m.operation(operation, start + w as usize, r))
            }
        }
    }
}
