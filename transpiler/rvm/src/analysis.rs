//! What is proved of a program: for each subroutine its effect on the stack, and the types of the stack and of locals before
//! every block. Where nothing is proved the general scheme takes over; where it hands back, what is assumed is checked.

use std::collections::{HashMap, VecDeque};

use crate::classify::{Act, How, Next, classify};
use crate::isa::op;
use crate::program::{BAD_TARGET, FIRST_LOCAL, Program, code};
use crate::types::Type;

/// Most values of a unit's stack, those that it takes included: so that 4,096 frames fit the operand stack.
pub(crate) const MAX_HEIGHT: usize = 15;
/// Most slots of a unit: registers and locals.
pub(crate) const MAX_SLOTS: usize = 36;
/// How often a unit is looked at before it is left to the general scheme.
const MAX_ROUNDS: u32 = 40;

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ty {
    /// Its type.
    Plain(Type),
    /// An i32 that is the code of a type.
    Code(u8),
    /// A ptr that probably points into an array of this type.
    Array(Type),
    /// A ptr that probably points to this field of a structure.
    Field(u32, u32),
}

impl Ty {
    pub fn ty(self) -> Type {
        match self {
            Ty::Plain(ty) => ty,
            Ty::Code(_) => Type::I32,
            Ty::Array(_) | Ty::Field(..) => Type::Ptr,
        }
    }

    /// What holds of both.
    fn join(self, other: Ty) -> Option<Ty> {
        match (self, other) {
            _ if self == other => Some(self),
            _ if self.ty() == other.ty() => Some(Ty::Plain(self.ty())),
            _ => None,
        }
    }
}

/// What is known of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Slot {
    /// It is not set.
    Unset,
    /// It holds such a value.
    Set(Ty),
    /// It is not set, or holds a value of this type.
    Maybe(Type),
    /// Nothing.
    Any,
}

impl Slot {
    fn join(self, other: Slot) -> Slot {
        match (self, other) {
            _ if self == other => self,
            (Slot::Set(a), Slot::Set(b)) => a.join(b).map_or(Slot::Any, Slot::Set),
            (Slot::Unset, Slot::Set(ty)) | (Slot::Set(ty), Slot::Unset) => Slot::Maybe(ty.ty()),
            (Slot::Maybe(a), Slot::Set(b)) | (Slot::Set(b), Slot::Maybe(a)) if a == b.ty() => Slot::Maybe(a),
            (Slot::Maybe(a), Slot::Unset) | (Slot::Unset, Slot::Maybe(a)) => Slot::Maybe(a),
            _ => Slot::Any,
        }
    }

    /// Whether its type is known only when the program runs.
    pub fn is_mixed(self) -> bool {
        matches!(self, Slot::Maybe(_) | Slot::Any)
    }
}

/// What is known before an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The stack from the first value on that the unit takes.
    pub stack: Vec<Ty>,
    pub slots: Vec<Slot>,
}

impl State {
    /// Takes another path into account; whether something changed. None if the two do not fit.
    fn join(&mut self, other: &State) -> Option<bool> {
        if self.stack.len() != other.stack.len() {
            return None;
        }
        let mut changed = false;
        for (a, b) in self.stack.iter_mut().zip(&other.stack) {
            let joined = a.join(*b)?;
            changed |= joined != *a;
            *a = joined;
        }
        for (a, b) in self.slots.iter_mut().zip(&other.slots) {
            let joined = a.join(*b);
            changed |= joined != *a;
            *a = joined;
        }
        Some(changed)
    }
}

/// Why a unit has no direct code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    NotCalled,
    Unbalanced,
    Types,
    TooLarge,
    Rounds,
}

impl Why {
    pub fn text(self) -> &'static str {
        match self {
            Why::NotCalled => "no call with known types leads here",
            Why::Unbalanced => "the height of its stack differs between paths",
            Why::Types => "the types on its stack differ between paths or calls",
            Why::TooLarge => "it has too many variables or values on the stack",
            Why::Rounds => "its types are found too slowly",
        }
    }
}

/// What is found out about a unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unit {
    /// Values that it takes.
    pub need: usize,
    /// Values that it leaves less those that it takes, once a return is found.
    pub delta: Option<isize>,
    /// Types of what it takes.
    pub takes: Option<Vec<Ty>>,
    /// Types of what it leaves in their place.
    pub gives: Option<Vec<Ty>>,
    /// What is known before each block that was reached.
    pub blocks: Vec<(u32, State)>,
    /// Why it is left to the general scheme.
    pub why: Option<Why>,
    rounds: u32,
}

/// The analysis.
pub(crate) struct Analysis {
    pub units: Vec<Unit>,
    /// Whether an instruction begins a block.
    pub leaders: Vec<bool>,
    /// Whether ptrs may be made of numbers.
    pub forged: bool,
}

/// Analyses a program.
pub(crate) fn analyse(program: &Program) -> Analysis {
    let mut analysis = Analysis {
        units: vec![Unit::default(); program.units.len()],
        leaders: leaders(program),
        forged: program
            .insts
            .iter()
            .any(|inst| inst.op == op::ITOP || inst.op == op::CONV && inst.ty == Type::Ptr.code()),
    };
    analysis.heights(program);
    analysis.types(program);
    analysis
}

/// Blocks begin at targets, and behind branches, calls, returns.
fn leaders(program: &Program) -> Vec<bool> {
    let mut leaders = vec![false; program.insts.len() + 1];
    for (at, inst) in program.insts.iter().enumerate() {
        match inst.op {
            op::BR..=op::BNE => {
                if inst.arg != BAD_TARGET {
                    leaders[inst.arg as usize] = true;
                }
                leaders[at + 1] = true;
            }
            op::BEGIN => {
                leaders[inst.arg as usize] = true;
                leaders[at + 1] = true;
            }
            op::CALL | op::RET | op::END | op::HALT | code::LIBRARY => leaders[at + 1] = true,
            code::END_OF_BUFFER | code::INVALID => {
                leaders[at] = true;
                leaders[at + 1] = true;
            }
            _ => {}
        }
    }
    for callee in &program.callees {
        leaders[callee.entry as usize] = true;
    }
    leaders
}

impl Analysis {
    /// How far each unit reaches below its base, and what it leaves there.
    fn heights(&mut self, program: &Program) {
        let mut callers: Vec<Vec<u32>> = vec![Vec::new(); program.units.len()];
        let mut work: Vec<u32> = (0..program.units.len() as u32).rev().collect();
        let mut queued = vec![true; program.units.len()];
        let mut height_at: HashMap<u32, isize> = HashMap::new();
        while let Some(number) = work.pop() {
            queued[number as usize] = false;
            let before = (self.units[number as usize].need, self.units[number as usize].delta);
            if self.units[number as usize].why.is_some() {
                continue;
            }
            self.units[number as usize].rounds += 1;
            height_at.clear();
            let why = match self.unit_heights(program, number, &mut height_at, &mut callers) {
                Ok(()) if self.units[number as usize].need > MAX_HEIGHT => Some(Why::TooLarge),
                Ok(()) if self.units[number as usize].rounds > MAX_ROUNDS => Some(Why::Rounds),
                Ok(()) => None,
                Err(why) => Some(why),
            };
            let unit = &mut self.units[number as usize];
            unit.why = why;
            if why.is_some() || before != (unit.need, unit.delta) {
                for &caller in &callers[number as usize] {
                    if !std::mem::replace(&mut queued[caller as usize], true) {
                        work.push(caller);
                    }
                }
            }
        }
    }

    fn unit_heights(
        &mut self,
        program: &Program,
        number: u32,
        height_at: &mut HashMap<u32, isize>,
        callers: &mut [Vec<u32>],
    ) -> Result<(), Why> {
        let source = &program.units[number as usize];
        let start = if source.name.is_some() { source.begin + 1 } else { source.begin };
        let mut work = vec![(start, 0isize)];
        while let Some((mut at, mut height)) = work.pop() {
            loop {
                if self.leaders[at as usize] || at == start {
                    match height_at.insert(at, height) {
                        Some(known) if known != height => return Err(Why::Unbalanced),
                        Some(_) => break,
                        None => {}
                    }
                }
                let inst = program.insts[at as usize];
                let (takes, gives) = match inst.op {
                    op::CALL => {
                        let callee = program.callees[inst.arg as usize];
                        let list = &mut callers[callee.unit as usize];
                        if list.last() != Some(&number) {
                            list.push(number);
                        }
                        let unit = &self.units[callee.unit as usize];
                        let is_whole = program.units[callee.unit as usize].name.is_some()
                            && program.units[callee.unit as usize].begin + 1 == callee.entry;
                        match unit.delta {
                            Some(delta) if is_whole && unit.why.is_none() => {
                                (unit.need as isize, unit.need as isize + delta)
                            }
                            _ => break,
                        }
                    }
                    op::RET | op::END => {
                        let need = self.units[number as usize].need;
                        let unit = &mut self.units[number as usize];
                        if unit.delta.is_some_and(|known| known != height) {
                            return Err(Why::Unbalanced);
                        }
                        unit.delta = Some(height);
                        unit.need = need.max((-height).max(0) as usize);
                        break;
                    }
                    _ => match crate::classify::counts(inst) {
                        Some((takes, gives)) => (takes as isize, gives as isize),
                        None => break,
                    },
                };
                height -= takes;
                let unit = &mut self.units[number as usize];
                unit.need = unit.need.max((-height).max(0) as usize);
                height += gives;
                if height > MAX_HEIGHT as isize || unit.need > MAX_HEIGHT {
                    return Err(Why::TooLarge);
                }
                match inst.op {
                    op::BR | op::BEGIN => {
                        if inst.arg == BAD_TARGET {
                            break;
                        }
                        at = inst.arg;
                    }
                    op::BRF..=op::BNE => {
                        if inst.arg != BAD_TARGET {
                            work.push((inst.arg, height));
                        }
                        at += 1;
                    }
                    _ => at += 1,
                }
            }
        }
        Ok(())
    }

    /// The types of everything, from the main module's first instruction on, through calls.
    fn types(&mut self, program: &Program) {
        for (unit, source) in self.units.iter_mut().zip(&program.units) {
            unit.rounds = 0;
            let slots = FIRST_LOCAL as usize + source.locals.len();
            if slots > MAX_SLOTS || !crate::direct::fits(slots, unit.need) {
                unit.why = Some(Why::TooLarge);
            }
        }
        let main = program.modules[0].outside;
        self.units[main as usize].takes = Some(Vec::new());
        if self.units[main as usize].need > 0 {
            self.units[main as usize].why = Some(Why::Types);
        }
        let mut callers: Vec<Vec<u32>> = vec![Vec::new(); program.units.len()];
        let mut work = VecDeque::from([main]);
        let mut queued = vec![false; program.units.len()];
        queued[main as usize] = true;
        while let Some(number) = work.pop_front() {
            queued[number as usize] = false;
            let unit = &mut self.units[number as usize];
            unit.rounds += 1;
            if unit.rounds > MAX_ROUNDS {
                unit.why = Some(Why::Rounds);
            }
            let before = unit.gives.clone();
            let mut again = Vec::new();
            if self.units[number as usize].why.is_none()
                && let Err(why) = self.unit_types(program, number, &mut callers, &mut again)
            {
                self.units[number as usize].why = Some(why);
            }
            let unit = &mut self.units[number as usize];
            if unit.why.is_some() {
                unit.blocks.clear();
                unit.gives = None;
            }
            if unit.gives != before || unit.why.is_some() {
                again.extend(&callers[number as usize]);
            }
            for unit in again {
                let is_left = self.units[unit as usize].why.is_some();
                if !is_left && !std::mem::replace(&mut queued[unit as usize], true) {
                    work.push_back(unit);
                }
            }
        }
        for unit in &mut self.units {
            if unit.takes.is_none() {
                unit.why = unit.why.or(Some(Why::NotCalled));
            }
        }
    }

    fn unit_types(
        &mut self,
        program: &Program,
        number: u32,
        callers: &mut [Vec<u32>],
        again: &mut Vec<u32>,
    ) -> Result<(), Why> {
        let source = &program.units[number as usize];
        let start = if source.name.is_some() { source.begin + 1 } else { source.begin };
        let Some(takes) = self.units[number as usize].takes.clone() else { return Err(Why::NotCalled) };
        let mut slots = vec![Slot::Unset; FIRST_LOCAL as usize + source.locals.len()];
        slots[..FIRST_LOCAL as usize].fill(Slot::Set(Ty::Plain(Type::I64)));
        let mut known: HashMap<u32, State> = HashMap::new();
        let mut work = vec![start];
        let mut visits = 0usize;
        known.insert(start, State { stack: takes, slots });
        let mut gives: Option<Vec<Ty>> = None;
        while let Some(first) = work.pop() {
            visits += 1;
            if visits > 16 * (known.len() + 4) {
                return Err(Why::Rounds);
            }
            let mut state = known[&first].clone();
            let mut at = first;
            let flows = |to: u32, state: &State, known: &mut HashMap<u32, State>, work: &mut Vec<u32>| {
                match known.get_mut(&to) {
                    Some(there) => match there.join(state) {
                        None => return Err(Why::Types),
                        Some(true) => work.push(to),
                        Some(false) => {}
                    },
                    None => {
                        known.insert(to, state.clone());
                        work.push(to);
                    }
                }
                Ok(())
            };
            loop {
                let inst = program.insts[at as usize];
                let act = classify(program, self, inst, &state);
                if let How::Call(callee) | How::Awaits(callee) = act.how {
                    // What is passed becomes what the callee takes.
                    let list = &mut callers[callee.unit as usize];
                    if list.last() != Some(&number) {
                        list.push(number);
                    }
                    let need = self.units[callee.unit as usize].need;
                    if let Some(split) = state.stack.len().checked_sub(need) {
                        let passed = &state.stack[split..];
                        let unit = &mut self.units[callee.unit as usize];
                        match &mut unit.takes {
                            None => {
                                unit.takes = Some(passed.to_vec());
                                again.push(callee.unit);
                            }
                            Some(takes) => {
                                let joined: Option<Vec<Ty>> =
                                    takes.iter().zip(passed).map(|(a, b)| a.join(*b)).collect();
                                match joined {
                                    None if unit.why.is_none() => {
                                        unit.why = Some(Why::Types);
                                        again.extend(&callers[callee.unit as usize]);
                                    }
                                    Some(joined) if joined != *takes => {
                                        *takes = joined;
                                        again.push(callee.unit);
                                    }
                                    _ => {}
                                }
                            }
                        }
                    }
                }
                if matches!(act.how, How::Return) {
                    let returned = Type::from_code(source.returns);
                    if returned.is_some_and(|ty| state.stack.last().is_none_or(|top| top.ty() != ty)) {
                        break;
                    }
                    let joined = match gives {
                        None => Some(state.stack.clone()),
                        Some(known) if known.len() == state.stack.len() => {
                            known.iter().zip(&state.stack).map(|(a, b)| a.join(*b)).collect()
                        }
                        Some(_) => None,
                    };
                    gives = Some(joined.ok_or(Why::Types)?);
                    break;
                }
                let Act { next, .. } = act;
                if next == Next::Ends || !apply(&mut state, &act) {
                    break;
                }
                match next {
                    Next::Jump => {
                        flows(inst.arg, &state, &mut known, &mut work)?;
                        break;
                    }
                    Next::Branch => {
                        if inst.arg != BAD_TARGET {
                            flows(inst.arg, &state, &mut known, &mut work)?;
                        }
                        flows(at + 1, &state, &mut known, &mut work)?;
                        break;
                    }
                    Next::Apart => {
                        flows(at + 1, &state, &mut known, &mut work)?;
                        break;
                    }
                    _ if self.leaders[at as usize + 1] => {
                        flows(at + 1, &state, &mut known, &mut work)?;
                        break;
                    }
                    _ => at += 1,
                }
            }
        }
        let unit = &mut self.units[number as usize];
        unit.gives = gives;
        let mut blocks: Vec<(u32, State)> = known.into_iter().collect();
        blocks.sort_unstable_by_key(|block| block.0);
        unit.blocks = blocks;
        Ok(())
    }
}

/// Carries out what is known of an instruction; false if its result is unknown.
pub(crate) fn apply(state: &mut State, act: &Act) -> bool {
    match &act.how {
        How::Dup => state.stack.push(state.stack[state.stack.len() - 1]),
        How::Swap => {
            let top = state.stack.len() - 1;
            state.stack.swap(top, top - 1);
        }
        How::Rot => {
            let at = state.stack.len() - 3;
            state.stack[at..].rotate_left(1);
        }
        how => {
            let top = state.stack.last().copied();
            state.stack.truncate(state.stack.len() - act.takes);
            if let (How::StoreSlot(slot), Some(top)) = (how, top) {
                state.slots[*slot as usize] = Slot::Set(top);
            }
            match &act.gives {
                None => return false,
                Some(gives) => state.stack.extend(gives),
            }
        }
    }
    state.stack.len() <= 2 * MAX_HEIGHT
}
