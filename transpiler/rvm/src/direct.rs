//! Direct code: a unit whose types are known becomes functions in which its values are plain words.
//!
//! A subroutine has one function that direct code calls, with what it takes as parameters, and each unit one that the
//! general scheme enters at its start, at loops, and behind instructions that were left to that scheme. Both leave where
//! something is not as assumed: they write down what they have and where they are, in the state before the instruction, and
//! the general scheme goes on. So direct code knows no errors.
//!
//! The function that is called passes this on to its caller as an exception, which writes down its own part.

use std::collections::{BTreeSet, HashMap, HashSet};

use dotvm_core::builder::{CodeBuilder, Label};
use dotvm_core::module::{Function, Handler, Signature};
use dotvm_core::opcode::{Op, Prefix};
use dotvm_core::trap::TrapKind;

use crate::analysis::{Analysis, MAX_HEIGHT, Slot, State, Ty, apply};
use crate::classify::{Act, How, Named, Next, classify};
use crate::isa::op;
use crate::program::{Program, code};
use crate::runtime::{RUNTIME, Runtime};
use crate::types::Type;

/// What the general scheme throws itself to go on.
const AGAIN: u64 = 1_001;
/// In the types of a site: known only when the program runs.
const TAGGED: u8 = 255;
/// Most words of a function's frame.
const MAX_FRAME_WORDS: usize = 120;
const TEMPS: usize = 4;
/// Most units with direct code: modules have at most 65,535 functions.
const MAX_UNITS: usize = 30_000;

/// A place where the general scheme enters direct code.
pub(crate) struct Entry {
    pub inst: u32,
    /// Number of the unit among those with direct code.
    pub direct: u32,
    /// Number of the entry in its unit.
    pub local: u32,
    pub need: u32,
    pub height: u32,
    pub types: u32,
}

/// Direct code of a program.
#[derive(Default)]
pub(crate) struct Direct {
    /// Functions with their handlers and names, numbered from a first.
    pub functions: Vec<(Function, Vec<Handler>, String)>,
    pub entries: Vec<Entry>,
    /// The functions that the general scheme enters, by number of the unit.
    pub resumes: Vec<u32>,
}

/// A ptr that was moved within its object; the variable that it came from.
#[derive(Clone, Copy)]
struct Moved {
    slot: Option<u32>,
}

/// Whether the ptr that an instruction takes was moved just before: with nothing but a push between for a store.
fn moved_before(before: &[Act], how: &How) -> Option<Moved> {
    let is_push = |act: &Act| matches!(act.how, How::Constant(_) | How::LoadSlot(..) | How::LoadGlobal(_));
    let before = match how {
        How::Deref(_) => before,
        How::Element(..) => before.split_last().filter(|(value, _)| is_push(value))?.1,
        _ => return None,
    };
    let (moving, before) = before.split_last()?;
    let ptr = match moving.how {
        How::Move { number_first: true, .. } | How::Step { .. } => before.last(),
        How::Move { .. } => match before.split_last() {
            Some((number, before)) if is_push(number) => before.last(),
            _ => None,
        },
        _ => return None,
    };
    let slot = match ptr.map(|act| &act.how) {
        Some(How::LoadSlot(slot, _)) => Some(*slot),
        _ => None,
    };
    Some(Moved { slot })
}

/// What is shared by all functions in the making.
pub(crate) struct Shared<'a> {
    pub program: &'a Program,
    pub analysis: &'a Analysis,
    /// Addresses of the types of structures.
    pub structures: &'a [u32],
    /// The read-only memory, to which sites are added.
    pub fixed: Vec<u8>,
    pub signatures: &'a mut Vec<Signature>,
    /// For each unit the function that direct code calls.
    pub calls: HashMap<u32, u32>,
    pub types: HashMap<Vec<u8>, u32>,
}

impl Shared<'_> {
    /// The address of bytes in memory.
    fn bytes(&mut self, bytes: Vec<u8>) -> u32 {
        let Shared { types, fixed, .. } = self;
        *types.entry(bytes).or_insert_with_key(|bytes| {
            let at = fixed.len() as u32;
            fixed.extend_from_slice(bytes);
            at
        })
    }

    fn signature(&mut self, words_in: usize, words_out: usize) -> u32 {
        let wanted =
            Signature { words_in: words_in as u16, words_out: words_out as u16, ..Signature::default() };
        let found = self.signatures.iter().position(|known| *known == wanted);
        found.unwrap_or_else(|| {
            self.signatures.push(wanted);
            self.signatures.len() - 1
        }) as u32
    }
}

/// Emits direct code for all units that have some.
pub(crate) fn emit(shared: &mut Shared<'_>, first: u32) -> Direct {
    let program = shared.program;
    let mut direct = Direct::default();
    let units: Vec<u32> = (0..program.units.len() as u32)
        .filter(|unit| {
            let found = &shared.analysis.units[*unit as usize];
            found.why.is_none() && !found.blocks.is_empty()
        })
        .take(MAX_UNITS)
        .collect();
    let mut next = first;
    for &unit in &units {
        let found = &shared.analysis.units[unit as usize];
        direct.resumes.push(next);
        next += 1;
        if program.units[unit as usize].name.is_some() && found.need <= MAX_HEIGHT {
            shared.calls.insert(unit, next);
            next += 1;
        }
    }
    for (number, &unit) in units.iter().enumerate() {
        let name = match &program.units[unit as usize].name {
            Some(name) => String::from_utf8_lossy(name).into_owned(),
            None => format!("module{}", program.units[unit as usize].module),
        };
        let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
        let resume = Emitter::new(shared, unit, false, number as u32).function(&mut direct.entries);
        direct.functions.push((resume.0, resume.1, format!("{name}.resumed")));
        if shared.calls.contains_key(&unit) {
            let called = Emitter::new(shared, unit, true, number as u32).function(&mut Vec::new());
            direct.functions.push((called.0, called.1, name));
        }
    }
    direct
}

/// Where direct code is left.
struct Exit {
    label: Label,
    inst: u32,
    /// Instructions of the block that are not carried out; None where a call has noted that.
    unused: Option<u64>,
    /// The stack, the last values of which are in temporaries.
    stack: Vec<Type>,
    slots: Vec<Slot>,
    restore: Vec<u64>,
    /// Whether it is reached by an exception, whose code and payload are on the stacks.
    caught: bool,
}

struct Emitter<'a, 'b> {
    shared: &'a mut Shared<'b>,
    runtime: &'static Runtime,
    unit: u32,
    /// Whether direct code calls it.
    called: bool,
    number: u32,
    code: CodeBuilder,
    /// Slots that it uses, with the locals of their values and tags.
    slots: Vec<u32>,
    values: HashMap<u32, u64>,
    tags: HashMap<u32, u64>,
    params: u64,
    left: u64,
    room: u64,
    temps: u64,
    site: u64,
    locals: u64,
    exits: Vec<Exit>,
    handlers: Vec<(Label, Label, Label, usize)>,
    blocks: HashMap<u32, Label>,
    pending: BTreeSet<u32>,
    emitted: HashSet<u32>,
    // The instruction at hand.
    inst: u32,
    unused: u64,
    /// The ptr that the instruction takes was just moved within its object, whose entry and place are in the temporaries.
    moved: Option<Moved>,
    state: State,
}

impl<'a, 'b> Emitter<'a, 'b> {
    fn new(shared: &'a mut Shared<'b>, unit: u32, called: bool, number: u32) -> Emitter<'a, 'b> {
        let found = &shared.analysis.units[unit as usize];
        let mut slots: Vec<u32> = Vec::new();
        let mut code = CodeBuilder::new();
        let blocks: HashMap<u32, Label> = found.blocks.iter().map(|block| (block.0, code.label())).collect();
        for inst in unit_insts(shared.program, unit) {
            let inst = shared.program.insts[inst as usize];
            if matches!(inst.op, op::LOAD | op::STORE | code::ELEMENT | code::STORE_R8 | code::STORE_R9) {
                slots.push(inst.arg);
            }
        }
        slots.sort_unstable();
        slots.dedup();
        let need = found.need as u64;
        let params = if called { need + 2 } else { 3 };
        let mut next = params;
        let mut local = || {
            next += 1;
            next - 1
        };
        let values = slots.iter().map(|slot| (*slot, local())).collect();
        let mixed: Vec<u32> = slots
            .iter()
            .copied()
            .filter(|slot| found.blocks.iter().any(|block| block.1.slots[*slot as usize].is_mixed()))
            .collect();
        let tags = mixed.into_iter().map(|slot| (slot, local())).collect();
        let site = local();
        let temps = local();
        let locals = next + TEMPS as u64 - 1;
        Emitter {
            runtime: &RUNTIME,
            unit,
            called,
            number,
            code,
            slots,
            values,
            tags,
            params,
            left: if called { need } else { 1 },
            room: if called { need + 1 } else { 2 },
            temps,
            site,
            locals,
            exits: Vec::new(),
            handlers: Vec::new(),
            blocks,
            pending: BTreeSet::new(),
            emitted: HashSet::new(),
            inst: 0,
            unused: 0,
            moved: None,
            state: State { stack: Vec::new(), slots: Vec::new() },
            shared,
        }
    }

    // Short forms

    fn op(&mut self, op: Op) {
        self.code.op(op, &[]);
    }

    fn push(&mut self, number: u64) {
        self.code.op(Op::Push, &[number]);
    }

    fn get(&mut self, local: u64) {
        self.code.op(Op::Lget, &[local]);
    }

    fn set(&mut self, local: u64) {
        self.code.op(Op::Lset, &[local]);
    }

    fn temp(&self, number: u64) -> u64 {
        self.temps + number
    }

    fn global(&mut self, name: &str) {
        let number = self.runtime.global(name);
        self.code.op(Op::Gget, &[number]);
    }

    fn call(&mut self, name: &str) {
        let number = self.runtime.function(name);
        self.code.op(Op::Call, &[number.into()]);
    }

    /// An exit in the state before the instruction, with these temporaries put back on the stack first.
    fn exit(&mut self, restore: &[u64]) -> Label {
        self.exit_at(self.inst, Some(self.unused), restore, false)
    }

    fn exit_at(&mut self, inst: u32, unused: Option<u64>, restore: &[u64], caught: bool) -> Label {
        let label = self.code.label();
        self.exits.push(Exit {
            label,
            inst,
            unused,
            stack: self.state.stack.iter().map(|known| known.ty()).collect(),
            slots: self.slots.iter().map(|slot| self.state.slots[*slot as usize]).collect(),
            restore: restore.to_vec(),
            caught,
        });
        label
    }

    fn leave_if(&mut self, jump: Op, restore: &[u64]) {
        let exit = self.exit(restore);
        self.code.jump(jump, exit);
    }

    /// The whole function with its handlers; entries are added to the list.
    fn function(mut self, entries: &mut Vec<Entry>) -> (Function, Vec<Handler>) {
        let analysis = self.shared.analysis;
        let found = &analysis.units[self.unit as usize];
        let source = &self.shared.program.units[self.unit as usize];
        let start = if source.name.is_some() { source.begin + 1 } else { source.begin };
        if self.called {
            for slot in self.slots.clone() {
                if let Some(&tag) = self.tags.get(&slot).filter(|_| slot < 10) {
                    self.push(Type::I64.code().into());
                    self.set(tag);
                }
            }
            for param in 0..found.need as u64 {
                self.get(param);
            }
        } else {
            self.entries(start, entries);
        }
        if self.called {
            self.pending.insert(start);
        }
        // Blocks that something leads to, each followed by what it falls into.
        let mut next = None;
        while let Some(at) = next.take().or_else(|| self.pending.pop_first()) {
            self.pending.remove(&at);
            self.emitted.insert(at);
            if let Ok(index) = found.blocks.binary_search_by_key(&at, |block| block.0) {
                self.state = found.blocks[index].1.clone();
                next = self.block(at);
            }
        }
        self.leave();
        let Emitter { code, handlers, locals, params, called, unit, shared, .. } = self;
        let code = code.finish();
        let mut handlers: Vec<Handler> = handlers
            .into_iter()
            .map(|(from, to, target, words)| Handler {
                from: code.offset_of(from),
                to: code.offset_of(to),
                target: code.offset_of(target),
                kinds: TrapKind::User.bit(),
                words: words as u16,
                refs: 0,
            })
            .collect();
        handlers.sort_unstable_by_key(|handler| handler.from);
        let gives = if called { gives(shared, unit) + 1 } else { 0 };
        let signature = shared.signature(params as usize, gives);
        let word_locals = (locals - params) as u16;
        (Function { signature, word_locals, ref_locals: 0, window: 0, code: code.bytes }, handlers)
    }

    /// Where the general scheme enters, and the code that brings its state.
    fn entries(&mut self, start: u32, entries: &mut Vec<Entry>) {
        let analysis = self.shared.analysis;
        let program = self.shared.program;
        let found = &analysis.units[self.unit as usize];
        let mut chosen = vec![false; found.blocks.len()];
        let index_of = |at: u32| found.blocks.binary_search_by_key(&at, |block| block.0).ok();
        if let Some(index) = index_of(start) {
            chosen[index] = true;
        }
        for (at, state) in &found.blocks {
            let mut state = state.clone();
            let mut at = *at;
            loop {
                let inst = program.insts[at as usize];
                let act = classify(program, analysis, inst, &state);
                if matches!(act.next, Next::Jump | Next::Branch)
                    && inst.arg <= at
                    && let Some(index) = index_of(inst.arg)
                {
                    chosen[index] = true;
                }
                if act.how == How::General
                    && act.next == Next::Apart
                    && let Some(index) = index_of(at + 1)
                {
                    chosen[index] = true;
                }
                if act.next != Next::On || !apply(&mut state, &act) {
                    break;
                }
                at += 1;
                if self.blocks.contains_key(&at) {
                    break;
                }
            }
        }
        let chosen: Vec<usize> = (0..chosen.len()).filter(|index| chosen[*index]).collect();
        let labels: Vec<Label> = chosen.iter().map(|_| self.code.label()).collect();
        self.get(0);
        self.code.table(&labels);
        for (local, (&index, &label)) in chosen.iter().zip(&labels).enumerate() {
            let (at, state) = found.blocks[index].clone();
            self.code.bind(label);
            self.global("sp");
            self.push((state.stack.len() as u64 * 16).wrapping_neg());
            self.op(Op::Add);
            self.set(self.temps);
            for position in 0..state.stack.len() as u64 {
                self.get(self.temps);
                self.code.op(Op::Load64, &[position * 16]);
            }
            self.get(self.temps);
            let sp = self.runtime.global("sp");
            self.code.op(Op::Gset, &[sp]);
            self.global("fp");
            self.set(self.temps);
            let mut types = vec![state.stack.len() as u8];
            types.extend(state.stack.iter().map(|known| known.ty().code()));
            types.push(self.slots.len() as u8);
            for slot in self.slots.clone() {
                let known = state.slots[slot as usize];
                types.push(slot as u8);
                types.push(match known {
                    Slot::Unset => 0,
                    Slot::Set(known) => known.ty().code(),
                    Slot::Maybe(ty) => 0x80 | ty.code(),
                    Slot::Any => TAGGED,
                });
                if known != Slot::Unset {
                    self.get(self.temps);
                    self.code.op(Op::Load64, &[48 + 16 * u64::from(slot)]);
                    self.set(self.values[&slot]);
                }
                if let Some(&tag) = self.tags.get(&slot) {
                    self.get(self.temps);
                    self.code.op(Op::Load64, &[56 + 16 * u64::from(slot)]);
                    self.code.op(Op::Ltee, &[tag]);
                    if slot < 10 {
                        let there = self.code.label();
                        self.code.jump(Op::Jnz, there);
                        self.push(Type::I64.code().into());
                        self.set(tag);
                        self.code.bind(there);
                    } else {
                        self.op(Op::Pop);
                    }
                }
            }
            let target = self.target(at);
            self.code.jump(Op::Jmp, target);
            let types = self.shared.bytes(types);
            entries.push(Entry {
                inst: at,
                direct: self.number,
                local: local as u32,
                need: found.need as u32,
                height: state.stack.len() as u32,
                types,
            });
        }
    }

    /// The code of a block that was reached.
    fn target(&mut self, at: u32) -> Label {
        if !self.emitted.contains(&at) {
            self.pending.insert(at);
        }
        self.blocks[&at]
    }

    /// The instructions of a block; answers the block that must be emitted behind it, if it falls into one.
    fn block(&mut self, first: u32) -> Option<u32> {
        let program = self.shared.program;
        let analysis = self.shared.analysis;
        self.code.bind(self.blocks[&first]);
        // How many instructions it has.
        let mut acts = Vec::new();
        let mut state = self.state.clone();
        let mut at = first;
        loop {
            let act = classify(program, analysis, program.insts[at as usize], &state);
            let ends = act.next == Next::Ends || act.how == How::General;
            let mut after = state.clone();
            let applies = ends || apply(&mut after, &act);
            let act = if applies {
                act
            } else {
                Act { how: How::General, takes: 0, gives: None, next: Next::Ends }
            };
            state = after;
            let stops = act.next != Next::On || act.how == How::General;
            acts.push(act);
            at += 1;
            if stops || self.blocks.contains_key(&at) {
                break;
            }
        }
        let is_left = |act: &Act| matches!(act.how, How::General | How::Awaits(_));
        let count = (acts.len() - usize::from(acts.last().is_some_and(is_left))) as u64;
        let mut falls = true;
        self.inst = first;
        self.unused = 0;
        if count > 0 {
            self.get(self.left);
            self.push(count);
            self.op(Op::Lt);
            self.leave_if(Op::Jnz, &[]);
            self.get(self.left);
            self.code.op(Op::Addi, &[count.wrapping_neg()]);
            self.set(self.left);
        }
        for (index, act) in acts.iter().enumerate() {
            self.inst = first + index as u32;
            self.moved = moved_before(&acts[..index], &act.how);
            self.unused = count.saturating_sub(index as u64);
            falls = self.instruction(act);
            if !falls {
                break;
            }
            apply(&mut self.state, act);
        }
        if !falls {
            return None;
        }
        if !self.blocks.contains_key(&at) {
            let exit = self.exit_at(at, Some(0), &[], false);
            self.code.jump(Op::Jmp, exit);
            return None;
        }
        if self.emitted.contains(&at) {
            let label = self.target(at);
            self.code.jump(Op::Jmp, label);
            return None;
        }
        Some(at)
    }

    /// Emits an instruction; whether control goes on behind it.
    fn instruction(&mut self, act: &Act) -> bool {
        let inst = self.shared.program.insts[self.inst as usize];
        match &act.how {
            How::Nothing => {}
            How::Constant(bits) => self.push(*bits),
            How::LoadSlot(slot, checked) => {
                if *checked {
                    let ty = act.gives.as_ref().map_or(0, |gives| gives[0].ty().code());
                    self.get(self.tags[slot]);
                    self.push(ty.into());
                    self.op(Op::Ne);
                    self.leave_if(Op::Jnz, &[]);
                }
                self.get(self.values[slot]);
            }
            How::StoreSlot(slot) => {
                self.set(self.values[slot]);
                if let Some(&tag) = self.tags.get(slot) {
                    let ty = self.state.stack[self.state.stack.len() - 1].ty();
                    self.push(ty.code().into());
                    self.set(tag);
                }
            }
            How::StoreR8 => {
                self.set(self.temp(0));
                self.get(self.temp(0));
                self.push(13);
                self.op(Op::And);
                self.leave_if(Op::Jnz, &[self.temp(0)]);
                self.get(self.temp(0));
                self.set(self.values[&8]);
            }
            How::LoadGlobal(global) => {
                self.global("GLOBALS");
                self.code.op(Op::Load64, &[u64::from(*global) * 8]);
            }
            How::StoreGlobal(global) => {
                self.set(self.temp(0));
                self.global("GLOBALS");
                self.get(self.temp(0));
                self.code.op(Op::Store64, &[u64::from(*global) * 8]);
            }
            How::Pop => self.op(Op::Pop),
            How::Dup => self.op(Op::Dup),
            How::Swap => self.op(Op::Swap),
            How::Rot => self.code.op(Op::Rot, &[2]),
            How::Jump => {
                let target = self.target(inst.arg);
                self.code.jump(Op::Jmp, target);
                return false;
            }
            How::Truth(wanted, ty) => {
                self.magnitude(*ty);
                let target = self.target(inst.arg);
                self.code.jump(if *wanted { Op::Jnz } else { Op::Jz }, target);
            }
            How::Compare(how, ty, branches) => {
                self.compare(*how, *ty);
                if *branches {
                    let target = self.target(inst.arg);
                    self.code.jump(Op::Jnz, target);
                }
            }
            How::ComparePtr(how, a, b, branches) => {
                self.set(self.temp(1));
                self.set(self.temp(0));
                self.push((*how).into());
                for (ty, temp) in [(a, 0), (b, 1)] {
                    self.push(ty.code().into());
                    self.get(self.temp(temp));
                }
                self.call("compare");
                if *branches {
                    let target = self.target(inst.arg);
                    self.code.jump(Op::Jnz, target);
                }
            }
            How::Logic(code, a, b) => {
                self.truth(*b);
                self.op(Op::Swap);
                self.truth(*a);
                self.op(if *code == op::LAND { Op::And } else { Op::Or });
            }
            How::Arithmetic(code, ty) => self.arithmetic(*code, *ty),
            How::Unary(code, ty) => self.unary(*code, *ty),
            How::Convert(from, to) => self.convert(*from, *to),
            How::Move { number_first, back, by } => self.move_by(*number_first, *back, *by),
            How::Step { back } => {
                self.push(1);
                self.move_by_with(false, *back, Type::I64, true);
            }
            How::Deref(known) => self.deref(*known),
            How::Element(named, ty) => self.element(*named, *ty),
            How::Runtime("", extra, _) => {
                self.op(Op::Pop);
                self.push(extra[0]);
            }
            How::Runtime(name, extra, typed) => self.runtime(name, extra, *typed, act.takes),
            How::NewArray(ty, cells) => {
                let operands = [ty.code().into(), (*cells).into()];
                self.guarded(&[], "new_array", &operands);
            }
            How::NewStructure(number) => self.guarded(&[], "new_structure", &[(*number).into()]),
            How::Call(callee) => {
                let Some(&function) = self.shared.calls.get(&callee.unit) else { return self.leave_here() };
                self.get(self.room);
                self.leave_if(Op::Jz, &[]);
                self.get(self.left);
                self.get(self.room);
                self.code.op(Op::Addi, &[u64::MAX]);
                let (from, to) = (self.code.label(), self.code.label());
                self.code.bind(from);
                self.code.op(Op::Call, &[function.into()]);
                self.code.bind(to);
                self.set(self.left);
                // What is written down of this function is what lies below the arguments.
                let whole = self.state.stack.clone();
                self.state.stack.truncate(whole.len() - act.takes);
                let exit = self.exit_at(self.inst + 1, None, &[], true);
                self.handlers.push((from, to, exit, self.state.stack.len()));
                self.state.stack = whole;
            }
            How::Return => {
                let returns = Type::from_code(self.shared.program.units[self.unit as usize].returns);
                let top = self.state.stack.last().map(|known| known.ty());
                if !self.called || returns.is_some() && top != returns {
                    return self.leave_here();
                }
                if self.state.stack.len() != gives(self.shared, self.unit) {
                    return self.leave_here();
                }
                self.get(self.left);
                self.op(Op::Ret);
                return false;
            }
            How::General | How::Awaits(_) => return self.leave_here(),
        }
        true
    }

    fn leave_here(&mut self) -> bool {
        self.leave_if(Op::Jmp, &[]);
        false
    }

    // Values

    /// Not zero where the value is true.
    fn magnitude(&mut self, ty: Type) {
        match ty {
            Type::F32 => self.code.op(Op::Zext, &[31]),
            Type::F64 => self.code.op(Op::Zext, &[63]),
            _ => {}
        }
    }

    fn truth(&mut self, ty: Type) {
        self.magnitude(ty);
        if ty != Type::Bool {
            self.push(0);
            self.op(Op::Ne);
        }
    }

    /// Brings a result back to its type.
    fn wrap(&mut self, ty: Type) {
        match ty {
            Type::I8 | Type::I16 | Type::I32 => self.code.op(Op::Sext, &[ty.size() as u64 * 8]),
            Type::U8 | Type::U16 | Type::U32 | Type::Char | Type::Bool => {
                self.code.op(Op::Zext, &[ty.size() as u64 * 8]);
            }
            _ => {}
        }
    }

    fn float(&mut self, ty: Type, op: Op) {
        let prefix = (ty == Type::F32).then_some(Prefix::W32);
        self.code.prefixed(prefix, op, &[]);
    }

    fn compare(&mut self, how: u8, ty: Type) {
        if ty.is_float() {
            let (swapped, op) = match how {
                0 | 5 => (false, Op::Feq),
                1 => (true, Op::Fle),
                2 => (true, Op::Flt),
                3 => (false, Op::Fle),
                _ => (false, Op::Flt),
            };
            if swapped {
                self.op(Op::Swap);
            }
            self.float(ty, op);
            if how == 5 {
                self.op(Op::Eqz);
            }
            return;
        }
        let ops = if ty.is_signed() {
            [Op::Eq, Op::Sge, Op::Sgt, Op::Sle, Op::Slt, Op::Ne]
        } else {
            [Op::Eq, Op::Ge, Op::Gt, Op::Le, Op::Lt, Op::Ne]
        };
        self.op(ops[usize::from(how)]);
    }

    fn arithmetic(&mut self, code: u8, ty: Type) {
        if ty.is_float() {
            let op = [Op::Fadd, Op::Fsub, Op::Fmul, Op::Fdiv][usize::from(code - op::ADD)];
            return self.float(ty, op);
        }
        let bits = ty.size() as u64 * 8;
        match code {
            op::ADD | op::SUB | op::MUL => {
                self.op([Op::Add, Op::Sub, Op::Mul][usize::from(code - op::ADD)]);
                self.wrap(ty);
            }
            op::DIV | op::MOD => {
                self.set(self.temp(1));
                self.get(self.temp(1));
                let temp = self.temp(1);
                self.leave_if(Op::Jz, &[temp]);
                self.get(temp);
                match (code, ty.is_signed()) {
                    (op::DIV, true) => {
                        self.op(Op::Sdivz);
                        self.wrap(ty);
                    }
                    (op::DIV, false) => self.op(Op::Divz),
                    (_, true) => self.op(Op::Smodz),
                    (_, false) => self.op(Op::Modz),
                }
            }
            op::AND => self.op(Op::And),
            op::OR => self.op(Op::Or),
            op::XOR => self.op(Op::Xor),
            _ => {
                self.push(bits - 1);
                self.op(Op::And);
                match (code, ty.is_signed()) {
                    (op::SHL, _) => {
                        self.op(Op::Shl);
                        self.wrap(ty);
                    }
                    (_, true) => self.op(Op::Sar),
                    (_, false) => self.op(Op::Shr),
                }
            }
        }
    }

    fn unary(&mut self, code: u8, ty: Type) {
        match code {
            op::LNOT => {
                self.magnitude(ty);
                self.op(Op::Eqz);
            }
            op::NOT if ty == Type::Bool => self.op(Op::Eqz),
            op::NOT => {
                self.op(Op::Not);
                self.wrap(ty);
            }
            op::NEG if ty.is_float() => self.float(ty, Op::Fneg),
            op::NEG => {
                self.op(Op::Neg);
                self.wrap(ty);
            }
            _ if ty.is_float() => {
                let one = if ty == Type::F32 { u64::from(1f32.to_bits()) } else { 1f64.to_bits() };
                self.push(one);
                self.float(ty, if code == op::INC { Op::Fadd } else { Op::Fsub });
            }
            _ => {
                self.code.op(Op::Addi, &[if code == op::INC { 1 } else { u64::MAX }]);
                self.wrap(ty);
            }
        }
    }

    fn convert(&mut self, from: Type, to: Type) {
        if from == to || from == Type::Ptr || to == Type::Ptr {
        } else if to == Type::Bool {
            self.truth(from);
        } else if from.is_float() || to.is_float() {
            self.set(self.temp(0));
            self.push(to.code().into());
            self.push(from.code().into());
            self.get(self.temp(0));
            self.call("convert");
        } else {
            self.wrap(to);
        }
    }

    // Objects

    /// The entry of the object that the ptr in a temporary names, to another.
    fn entry_of(&mut self, ptr: u64, to: u64) {
        self.get(ptr);
        self.push(28);
        self.op(Op::Shr);
        self.push(-16i64 as u64);
        self.op(Op::And);
        self.global("objects");
        self.op(Op::Add);
        self.set(to);
    }

    fn move_by(&mut self, number_first: bool, back: bool, by: Type) {
        self.move_by_with(number_first, back, by, false);
    }

    /// Moves a ptr. `step`: the number was pushed here and is not put back.
    fn move_by_with(&mut self, number_first: bool, back: bool, by: Type, step: bool) {
        let (ptr, number, entry, index) = (self.temp(0), self.temp(1), self.temp(2), self.temp(3));
        if number_first {
            self.set(ptr);
            self.set(number);
        } else {
            self.set(number);
            self.set(ptr);
        }
        let restore: Vec<u64> = match (step, number_first) {
            (true, _) => vec![ptr],
            (_, true) => vec![number, ptr],
            (_, false) => vec![ptr, number],
        };
        if by == Type::U64 {
            self.get(number);
            self.push(1 << 32);
            self.op(Op::Ge);
            self.leave_if(Op::Jnz, &restore);
        }
        let op = if back { Op::Sub } else { Op::Add };
        self.entry_of(ptr, entry);
        self.get(ptr);
        self.code.op(Op::Zext, &[32]);
        self.get(number);
        self.op(op);
        self.set(index);
        self.get(index);
        self.get(entry);
        self.code.op(Op::Load32, &[4]);
        self.op(Op::Ge);
        self.leave_if(Op::Jnz, &restore);
        self.get(ptr);
        self.get(number);
        self.op(op);
    }

    fn deref(&mut self, known: Ty) {
        let (ptr, entry, index) = (self.temp(0), self.temp(2), self.temp(3));
        self.set(ptr);
        let is_moved = self.moved.is_some();
        if !is_moved {
            self.entry_of(ptr, entry);
        }
        self.get(entry);
        match known {
            Ty::Field(number, _) => {
                self.code.op(Op::Load32, &[12]);
                self.push(self.shared.structures[number as usize].into());
            }
            known => {
                let ty = if let Ty::Array(ty) = known { ty } else { Type::Ptr };
                self.code.op(Op::Load8, &[8]);
                self.push(ty.code().into());
            }
        }
        self.op(Op::Ne);
        self.leave_if(Op::Jnz, &[ptr]);
        if !is_moved {
            self.get(ptr);
            self.code.op(Op::Zext, &[32]);
            self.set(index);
        }
        match known {
            Ty::Field(_, field) => {
                self.get(index);
                self.push(field.into());
                self.op(Op::Ne);
                self.leave_if(Op::Jnz, &[ptr]);
                self.get(entry);
                self.code.op(Op::Load32, &[0]);
                self.code.op(Op::Load64, &[u64::from(field) * 8]);
            }
            known => {
                let ty = if let Ty::Array(ty) = known { ty } else { Type::Ptr };
                self.cell(entry, index, ty, &[ptr]);
                match ty.size() {
                    8 => self.code.op(Op::Load64, &[0]),
                    1 if ty != Type::I8 => self.code.op(Op::Load8, &[0]),
                    size => {
                        let format = size.trailing_zeros() as u64 + if ty.is_signed() { 8 } else { 0 };
                        self.code.op(Op::Loadx, &[format, 0]);
                    }
                }
            }
        }
    }

    /// The address of a cell whose index is on the stack, if it is there.
    fn cell(&mut self, entry: u64, index: u64, ty: Type, restore: &[u64]) {
        if self.moved.is_none() {
            self.get(index);
            self.get(entry);
            self.code.op(Op::Load32, &[4]);
            self.op(Op::Ge);
            self.leave_if(Op::Jnz, restore);
        }
        self.get(entry);
        self.code.op(Op::Load32, &[0]);
        self.get(index);
        if ty.size() > 1 {
            self.push(ty.size().trailing_zeros().into());
            self.op(Op::Shl);
        }
        self.op(Op::Add);
    }

    fn element(&mut self, named: Named, ty: Type) {
        let (ptr, value, entry, index) = (self.temp(0), self.temp(1), self.temp(2), self.temp(3));
        let restore = [ptr, value];
        self.set(value);
        self.set(ptr);
        let moved = self.moved;
        // The object that a ptr was moved in is that of the variable it came from.
        let is_named = match (named, moved) {
            (Named::Nothing, _) => false,
            (Named::Slot(slot), Some(moved)) => moved.slot != Some(slot),
            _ => true,
        };
        match named {
            _ if !is_named => {}
            Named::Slot(slot) => self.get(self.values[&slot]),
            Named::Global(global) => {
                self.global("GLOBALS");
                self.code.op(Op::Load64, &[u64::from(global) * 8]);
            }
            Named::Constant(bits) => self.push(bits >> 32),
            Named::Nothing => {}
        }
        if is_named {
            if !matches!(named, Named::Constant(_)) {
                self.push(32);
                self.op(Op::Shr);
            }
            self.get(ptr);
            self.push(32);
            self.op(Op::Shr);
            self.op(Op::Ne);
            self.leave_if(Op::Jnz, &restore);
        }
        if moved.is_none() {
            self.entry_of(ptr, entry);
        }
        // The type of an array that is not constant.
        self.get(entry);
        self.code.op(Op::Load16, &[8]);
        self.push(ty.code().into());
        self.op(Op::Ne);
        self.leave_if(Op::Jnz, &restore);
        if moved.is_none() {
            self.get(ptr);
            self.code.op(Op::Zext, &[32]);
            self.set(index);
        }
        self.cell(entry, index, ty, &restore);
        self.get(value);
        let op = match ty.size() {
            1 => Op::Store8,
            2 => Op::Store16,
            4 => Op::Store32,
            _ => Op::Store64,
        };
        self.code.op(op, &[0]);
    }

    // Calls

    /// A call of the runtime with numbers; what it throws leaves direct code with the temporaries put back.
    fn guarded(&mut self, restore: &[u64], name: &str, numbers: &[u64]) {
        for number in numbers {
            self.push(*number);
        }
        self.guarded_call(restore, name);
    }

    fn guarded_call(&mut self, restore: &[u64], name: &str) {
        let (from, to) = (self.code.label(), self.code.label());
        self.code.bind(from);
        self.call(name);
        self.code.bind(to);
        // A range ends where an instruction begins: there is always one.
        let exit = self.exit_at(self.inst, Some(self.unused), restore, true);
        let below = self.state.stack.len() - restore.len();
        self.handlers.push((from, to, exit, below));
    }

    fn runtime(&mut self, name: &str, extra: &[u64], typed: bool, takes: usize) {
        let temps: Vec<u64> = (0..takes as u64).map(|number| self.temp(number)).collect();
        for temp in temps.iter().rev() {
            self.set(*temp);
        }
        for number in extra {
            self.push(*number);
        }
        let height = self.state.stack.len();
        for (index, temp) in temps.iter().enumerate() {
            let ty = self.state.stack[height - takes + index].ty();
            self.push(ty.code().into());
            self.get(*temp);
        }
        self.guarded_call(&temps, name);
        if typed {
            self.set(self.temps);
            self.op(Op::Pop);
            self.get(self.temps);
        }
    }

    /// The exits: what there is is written down, from the last value of the stack to the first, then the slots.
    fn leave(&mut self) {
        let exits = std::mem::take(&mut self.exits);
        let highest = exits.iter().map(|exit| exit.stack.len()).max();
        let dumps: Vec<Label> = (0..=highest.unwrap_or(0)).map(|_| self.code.label()).collect();
        let slots = self.slots.clone();
        let mut tags: Vec<(u32, u64)> = self.tags.iter().map(|(slot, tag)| (*slot, *tag)).collect();
        tags.sort_unstable();
        let stack_at = 16 + 8 * (slots.len() + tags.len()) as u64;
        let source = &self.shared.program.units[self.unit as usize];
        let (need, returns) = (self.shared.analysis.units[self.unit as usize].need as u32, source.returns);
        for exit in exits {
            self.code.bind(exit.label);
            if exit.caught {
                self.op(Op::Rpop);
                self.op(Op::Pop);
            }
            for temp in &exit.restore {
                self.get(*temp);
            }
            if let Some(unused) = exit.unused {
                self.get(self.left);
                if unused > 0 {
                    self.code.op(Op::Addi, &[unused]);
                }
                let quota = self.runtime.global("quota");
                self.code.op(Op::Gset, &[quota]);
            }
            let mut types = vec![exit.stack.len() as u8];
            types.extend(exit.stack.iter().map(|ty| ty.code()));
            types.push(slots.len() as u8);
            for (slot, known) in slots.iter().zip(&exit.slots) {
                types.push(*slot as u8);
                types.push(if self.tags.contains_key(slot) {
                    TAGGED
                } else {
                    match known {
                        Slot::Unset => 0,
                        Slot::Set(known) => known.ty().code(),
                        Slot::Maybe(_) | Slot::Any => TAGGED,
                    }
                });
            }
            let types = self.shared.bytes(types);
            let fixed = &mut self.shared.fixed;
            fixed.resize(fixed.len().next_multiple_of(4), 0);
            let site = fixed.len() as u64;
            for word in [exit.inst, self.unit, types, need, stack_at as u32, returns.into()] {
                fixed.extend_from_slice(&word.to_le_bytes());
            }
            self.push(site);
            self.set(self.site);
            self.code.jump(Op::Jmp, dumps[exit.stack.len()]);
        }
        let Some(highest) = highest else { return };
        for height in (1..=highest as u64).rev() {
            self.code.bind(dumps[height as usize]);
            self.set(self.temps);
            self.call("pend_room");
            self.global("pend");
            self.get(self.temps);
            self.code.op(Op::Store64, &[stack_at + 8 * (height - 1)]);
        }
        self.code.bind(dumps[0]);
        self.call("pend_room");
        for (index, slot) in slots.iter().enumerate() {
            self.global("pend");
            self.get(self.values[slot]);
            self.code.op(Op::Store64, &[16 + 8 * index as u64]);
        }
        for (index, (_, tag)) in tags.iter().enumerate() {
            self.global("pend");
            self.get(*tag);
            self.code.op(Op::Store64, &[16 + 8 * (slots.len() + index) as u64]);
        }
        self.get(self.site);
        self.push(stack_at + 8 * highest as u64);
        self.call("pend_close");
        if self.called {
            self.push(AGAIN);
            self.op(Op::Rnull);
            self.op(Op::Throw);
        } else {
            self.call("rebuild");
            self.op(Op::Ret);
        }
    }
}

/// Values that a subroutine leaves.
fn gives(shared: &Shared<'_>, unit: u32) -> usize {
    let found = &shared.analysis.units[unit as usize];
    let left = found.need as isize + found.delta.unwrap_or(-(found.need as isize));
    left.max(0) as usize
}

fn unit_insts(program: &Program, unit: u32) -> impl Iterator<Item = u32> + '_ {
    let source = &program.units[unit as usize];
    let is_subroutine = source.name.is_some();
    let mut at = if is_subroutine { source.begin + 1 } else { source.begin };
    let end = source.end;
    std::iter::from_fn(move || {
        while at < end {
            let here = at;
            let inst = program.insts[here as usize];
            // Subroutines in the code outside are not a part of it.
            at = if inst.op == op::BEGIN { inst.arg } else { here + 1 };
            if inst.op != op::BEGIN {
                return Some(here);
            }
        }
        None
    })
}

/// Whether a frame of the unit is small enough for many of them.
pub(crate) fn fits(slots: usize, need: usize) -> bool {
    need + 2 + 2 * slots + TEMPS + 2 * MAX_HEIGHT + 8 <= MAX_FRAME_WORDS
}
