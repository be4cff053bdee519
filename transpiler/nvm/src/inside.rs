//! Direct code inside of routines, whose calls and returns are known to belong together.
//!
//! Here `s` is the height at which the routine was entered, and stays. A call leaves in the cell of the return address not the
//! address but the number of the place that it came from, by which RET goes back; saved frame pointers and the return addresses
//! of calls that are part of their caller's code are not stored at all. The first cells below the entry are passed in word
//! locals, there and back. So memory is not as the program left it, and the frame pointer is that of whoever called the first
//! such routine.
//!
//! Where something comes that has no direct code, or a check fails, all of that is made good: the routine stores what it knows,
//! then the callers are gone through, each by a piece of code of its own, up to the first, which was direct code outside of
//! routines. Then the general scheme takes over.

use std::collections::HashMap;

use dotvm_core::builder::{Label, Targets};
use dotvm_core::opcode::Op as Code;

use crate::cells::Passing;
use crate::direct::{Direct, Exit, State, Then, offset};
use crate::heights::{Heights, PASSED, Reach, bit};
use crate::machine::{FRAME_WORD, STACK_CELLS};
use crate::opcode::{Instruction, Op};
use crate::routines::Routines;
use crate::shape::{Frame, Shape, frame_index};
use crate::trees::is_target;
use crate::values::{Cells, Simple, Value};

/// Instructions that a path has at most between two looks at what is left of the slice.
const PATH: i64 = 256;
/// The path is cut where it has so many: less than [`PATH`], because some cannot be parted from the next.
const PATH_CUT: u16 = 240;
/// Instructions of a piece of code beyond which it ends where ways meet.
const PIECE: u32 = 700;
/// CALLs of a routine beyond which all of its returns share one table.
const OWN_TABLES: u32 = 32;

/// A call that is part of its caller's code; the first of a chain is the routine itself.
#[derive(Clone, Copy, Debug)]
struct Level {
    routine: usize,
    /// Where it is entered, from where the outermost is.
    base: i32,
    /// The chain without it.
    outer: usize,
    /// Calls around it.
    depth: usize,
    /// Whether it is the callee only up to where it is entered late.
    is_late: bool,
    /// What its caller knew at the CALL, and where that goes on.
    at_call: Heights,
    back: u32,
}

/// Where a path is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inside {
    /// The chain of calls.
    level: usize,
    /// What is known of the innermost.
    heights: Heights,
    /// How many of the next instructions were already looked at, so that nothing may come between.
    pub bound: u8,
    /// Instructions since the last look at what is left of the slice.
    path: u16,
}

/// Where code begins that is reached by jumps.
#[derive(Clone, Copy, Debug)]
struct Root {
    label: Label,
    level: usize,
    address: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Entry,
    /// Behind the first branch, which the caller made.
    Late,
    Inner,
    /// Behind a call of this routine.
    Behind(usize),
}

/// A place that a routine is called from.
#[derive(Clone, Copy, Debug)]
struct Caller {
    /// The chain of calls with the heights at the CALL, or nothing outside of routines.
    inside: Option<(usize, Heights)>,
    /// Where it goes on.
    next: u32,
    /// Where the routine returns to.
    landing: Label,
}

/// The code of one routine as it is called.
#[derive(Clone, Debug, Default)]
struct Called {
    callers: Vec<Caller>,
    /// By chain of calls (`None` outside) and the address behind: the number of the caller.
    numbers: HashMap<(Option<usize>, u32), usize>,
    code: Option<Parts>,
}

#[derive(Clone, Copy, Debug)]
struct Parts {
    level: usize,
    entry: Label,
    /// Goes back by number, with the number on the stack; and makes good, likewise.
    returns: Targets,
    makes_good: Targets,
    /// A return that others share.
    shared: Label,
    /// Makes good what the callers know, from the cell of the return address that `link` names.
    undo: Label,
}

/// What was made and what is still to be made.
#[derive(Default)]
pub(crate) struct Making {
    levels: Vec<Level>,
    /// The number of a chain by the one it is in and the address of the CALL.
    chains: HashMap<(usize, u32), usize>,
    roots: Vec<Root>,
    by_place: HashMap<(usize, u32, Kind), usize>,
    called: Vec<Called>,
    next_root: usize,
    /// Instructions of the piece that is being made, and of all.
    pub piece: u32,
    pub total: u32,
}

impl Direct<'_> {
    /// Whether a CALL at an address outside of routines goes into one; which.
    pub(crate) fn routine_of(&self, instruction: &Instruction) -> Option<usize> {
        if !is_target(self.image, instruction.next()) {
            return None;
        }
        self.trees.routines.called(instruction.operand)
    }

    fn routines(&self) -> &Routines {
        &self.trees.routines
    }

    /// The code of a routine, which is made sometime if it is not yet.
    fn parts(&mut self, routine: usize) -> Parts {
        if self.making.called.is_empty() {
            self.making.called.resize(self.trees.routines.list.len(), Called::default());
        }
        if let Some(parts) = self.making.called[routine].code {
            return parts;
        }
        let level = self.making.levels.len();
        self.making.levels.push(Level {
            routine,
            base: 0,
            outer: level,
            depth: 0,
            is_late: false,
            at_call: Heights::new(),
            back: 0,
        });
        let entry = self.root(level, self.routines().list[routine].entry, Kind::Entry);
        let parts = Parts {
            level,
            entry,
            returns: self.code.targets(),
            makes_good: self.code.targets(),
            shared: self.code.label(),
            undo: self.code.label(),
        };
        self.making.called[routine].code = Some(parts);
        parts
    }

    fn root(&mut self, level: usize, address: u32, kind: Kind) -> Label {
        let next = self.making.roots.len();
        let index = *self.making.by_place.entry((level, address, kind)).or_insert(next);
        if index == next {
            let label = self.code.label();
            self.making.roots.push(Root { label, level, address, kind });
        }
        self.making.roots[index].label
    }

    /// The number by which a routine returns to a caller.
    fn caller(&mut self, routine: usize, inside: Option<(usize, Heights)>, next: u32) -> i64 {
        let key = (inside.map(|inside| inside.0), next);
        if let Some(&number) = self.making.called[routine].numbers.get(&key) {
            return number as i64;
        }
        let landing = match inside {
            Some((level, _)) => self.root(level, next, Kind::Behind(routine)),
            None => self.code.label(),
        };
        let called = &mut self.making.called[routine];
        let number = called.callers.len();
        called.callers.push(Caller { inside, next, landing });
        called.numbers.insert(key, number);
        number as i64
    }

    // Pieces

    /// Makes all routines that anything calls, and what else they lead to.
    pub(crate) fn routine_code(&mut self) {
        while let Some(&root) = self.making.roots.get(self.making.next_root) {
            self.making.next_root += 1;
            self.making.piece = 0;
            self.piece(&root);
        }
        let called = std::mem::take(&mut self.making.called);
        if called.is_empty() {
            return;
        }
        let undo: Vec<Option<Label>> = called.iter().map(|called| Some(called.code?.undo)).collect();
        let end = self.code.label();
        for (routine, called) in called.iter().enumerate() {
            let Some(parts) = called.code else { continue };
            self.callers(routine, called, parts, &undo, end);
        }
        // The first caller was reached: its frame pointer is the one that was kept.
        self.code.bind(end);
        self.push(FRAME_WORD as i64);
        self.code.op(Code::Load32, &[0]);
        self.push(2);
        self.op(Code::Shl);
        self.set(self.locals.fa);
        self.code.jump(Code::Jmp, self.places.general);
    }

    fn piece(&mut self, root: &Root) {
        self.line(root.address);
        self.code.bind(root.label);
        let level = self.making.levels[root.level];
        let mut state = State {
            shape: Shape::new(),
            cells: Cells::default(),
            frame_cells: Cells::default(),
            saved: Vec::new(),
            taken: 0,
            count: 0,
            rounds: 0,
            inside: None,
        };
        let heights = match root.kind {
            Kind::Behind(callee) => {
                let number = self.making.called[callee].numbers[&(Some(root.level), root.address)];
                let at_call = self.making.called[callee].callers[number].inside.map(|inside| inside.1);
                let callee = &self.trees.routines.list[callee];
                let (left, written) = (callee.left.unwrap_or_default(), callee.reach.written);
                at_call.map(|mut heights| {
                    let entry = level.base + heights.callee();
                    self.add_to(self.locals.s, -4 * i64::from(entry));
                    for cell in (-PASSED..left.min(0)).filter(|cell| written & bit(*cell) != 0) {
                        let value = Value::Simple(Simple::Local(self.locals.passed(cell)));
                        state.cells.set(entry + cell, value, true);
                    }
                    if heights.after_call(left, &mut Reach::default()).is_err() {
                        unreachable!("this was asked at the call");
                    }
                    heights
                })
            }
            Kind::Entry | Kind::Late | Kind::Inner => {
                self.routines().heights(level.routine, root.address).copied()
            }
        };
        let Some(heights) = heights else { unreachable!("roots are places that were followed") };
        let is_entry = matches!(root.kind, Kind::Entry | Kind::Late);
        if is_entry {
            let Reach { touched, written, .. } = self.trees.routines.list[level.routine].reach;
            let left = self.trees.routines.list[level.routine].left.unwrap_or_default();
            for cell in (-PASSED..-1).filter(|cell| touched & bit(*cell) != 0) {
                // What the caller needs again it has stored.
                let is_stored = written & bit(cell) == 0 && cell < left;
                let value = Value::Simple(Simple::Local(self.locals.passed(cell)));
                state.cells.set(cell, value, !is_stored);
            }
        }
        state.shape.height = level.base + heights.height;
        state.inside = Some(Inside { level: root.level, heights, bound: 0, path: 0 });
        for (cell, value) in self.unstored(root.level, &heights) {
            state.cells.set(cell, value, true);
        }
        let fail = self.code.label();
        self.exits.push(Exit { label: fail, state: state.clone(), address: root.address });
        self.get(self.locals.left);
        self.push(PATH);
        self.op(Code::Lt);
        self.code.jump(Code::Jnz, fail);
        if is_entry {
            let room = STACK_CELLS as i64 - i64::from(self.trees.routines.list[level.routine].high);
            self.get(self.locals.s);
            self.push(4 * room);
            self.op(Code::Sgt);
            self.code.jump(Code::Jnz, fail);
        }
        self.path(state, root.address, true);
        self.pending_and_exits();
    }

    /// The cells that are not stored, with what they hold: the return addresses and saved frame pointers of a chain of calls.
    fn unstored(&self, level: usize, heights: &Heights) -> Vec<(i32, Value)> {
        let mut found = Vec::new();
        let mut chain = Vec::new();
        let (mut at, mut known) = (level, *heights);
        loop {
            let level = self.making.levels[at];
            chain.push((level, known));
            if level.depth == 0 {
                break;
            }
            (at, known) = (level.outer, level.at_call);
        }
        let mut frame = None;
        for (level, known) in chain.into_iter().rev() {
            if level.depth > 0 {
                found.push((level.base + known.link, Value::Return(level.back)));
            }
            for cell in known.entered.cells() {
                found.push((level.base + cell, Value::Saved(frame)));
                frame = Some(level.base + cell);
            }
        }
        found
    }

    /// The frame of a chain of calls, or `None` if it is that of the outermost's caller; and the first frame entered.
    fn frames(&self, level: usize, heights: &Heights) -> Option<(i32, i32)> {
        let cells = self.unstored(level, heights);
        let mut entered = cells.iter().filter(|(_, value)| matches!(value, Value::Saved(_)));
        let first = entered.next()?.0;
        Some((entered.next_back().map_or(first, |last| last.0), first))
    }

    /// The cell with the return address of the outermost of a chain.
    fn link(&self, level: usize, heights: &Heights) -> i32 {
        let (mut at, mut known) = (level, *heights);
        while self.making.levels[at].depth > 0 {
            (at, known) = (self.making.levels[at].outer, self.making.levels[at].at_call);
        }
        known.link
    }

    // Instructions

    /// Whether a path ends before an address because the code there is reached in other ways too; then it leaves.
    pub(crate) fn ends_before(&mut self, state: &State, address: u32, is_first: bool) -> bool {
        let Some(inside) = state.inside else { return false };
        let routine = self.making.levels[inside.level].routine;
        if self.routines().heights(routine, address) != Some(&inside.heights) {
            // Another way came here with other heights, or nobody followed it.
            self.abandon(state, address);
            return true;
        }
        let level = self.making.levels[inside.level];
        if level.is_late && self.routines().list[routine].late == Some(address) {
            self.enter_late(state, &inside, &level, address);
            return true;
        }
        if is_first || inside.bound > 0 {
            return false;
        }
        if self.making.total > 2 * self.most {
            // Chains of calls that repeat each other's code without end are left to jumps.
            self.abandon(state, address);
            return true;
        }
        let is_large = self.making.piece > PIECE || self.making.total > self.most;
        if self.trees.is_loop(address)
            || inside.path >= PATH_CUT
            || (is_large && self.trees.is_meeting(address))
        {
            let label = self.root(inside.level, address, Kind::Inner);
            self.leave_inside(state);
            self.code.jump(Code::Jmp, label);
            return true;
        }
        false
    }

    /// Stores all but what is not stored inside, and counts.
    fn leave_inside(&mut self, state: &State) {
        self.store_all(state);
        self.add_to(self.locals.left, -i64::from(state.count));
    }

    /// An instruction inside of a routine.
    pub(crate) fn inside(&mut self, state: &mut State, inside: Inside, instruction: &Instruction) -> Then {
        self.making.piece += 1;
        self.making.total += 1;
        let inside = Inside { bound: inside.bound.saturating_sub(1), path: inside.path + 1, ..inside };
        let level = self.making.levels[inside.level];
        if instruction.op == Op::Call {
            return self.call(state, inside, instruction);
        }
        let mut heights = inside.heights;
        if heights.step(instruction, &mut Reach::default()).is_err() {
            return self.give_up(state, instruction);
        }
        let operand = instruction.operand;
        let then = match instruction.op {
            Op::Enter => {
                state.count += 1;
                let at = state.shape.height;
                let frame = self.frames(inside.level, &inside.heights).map(|frames| frames.0);
                state.shape.frame = Frame::At(at);
                self.put(state, Value::Saved(frame));
                self.zeros(state, operand as i32);
                Then::Go(instruction.next())
            }
            Op::Leave => {
                state.count += 1;
                state.shape.height = level.base + heights.height;
                state.cells.cut(state.shape.height);
                Then::Go(instruction.next())
            }
            Op::Ret => return self.ret_inside(state, inside, heights, instruction),
            op => {
                if matches!(op, Op::LoadArg | Op::LoadRel | Op::StoreArg | Op::StoreRel)
                    && let Some(at) = inside.heights.entered.cells().last()
                {
                    state.shape.frame = Frame::At(level.base + at);
                }
                // Where a check in it fails, the cells that matter are where they were.
                state.inside = Some(Inside { heights, ..inside });
                return self.plain(state, instruction);
            }
        };
        state.inside = Some(Inside { heights, ..inside });
        then
    }

    /// A branch back to where the same is known, which a loop takes without leaving anything.
    pub(crate) fn loop_back(&mut self, state: &mut State, target: u32) -> Option<Label> {
        let inside = state.inside?;
        let routine = self.making.levels[inside.level].routine;
        let is_same = self.trees.is_loop(target)
            && self.routines().heights(routine, target) == Some(&inside.heights)
            && !state.cells.iter().any(|cell| cell.dirty && cell.value.is_stored());
        is_same.then(|| self.root(inside.level, target, Kind::Inner))
    }

    fn call(&mut self, state: &mut State, inside: Inside, instruction: &Instruction) -> Then {
        let Some(callee) = self.routine_of(instruction) else { return self.give_up(state, instruction) };
        let level = self.making.levels[inside.level];
        let heights = inside.heights;
        let known = &self.trees.routines.list[callee];
        let left = known.left.unwrap_or_default();
        let mut behind = heights;
        if !heights.admits(&known.reach) || behind.after_call(left, &mut Reach::default()).is_err() {
            return self.give_up(state, instruction);
        }
        state.count += 1;
        let is_late = !self.is_inlined(&inside);
        if !is_late || (self.may_be_late(&inside) && self.routines().list[callee].late.is_some()) {
            let next = self.making.levels.len();
            let key = (inside.level, instruction.address);
            let chain = *self.making.chains.entry(key).or_insert(next);
            if chain == next {
                self.making.levels.push(Level {
                    routine: callee,
                    base: level.base + heights.callee(),
                    outer: inside.level,
                    depth: level.depth + 1,
                    is_late,
                    at_call: heights,
                    back: instruction.next(),
                });
            }
            self.put(state, Value::Return(instruction.next()));
            state.inside = Some(Inside { level: chain, heights: Heights::new(), ..inside });
            return Then::Go(instruction.operand);
        }
        let parts = self.parts(callee);
        let number = self.caller(callee, Some((inside.level, heights)), instruction.next());
        let entry = state.shape.height + 1;
        let (moves, gone) = self.passing(callee, entry);
        let mut stored = state.cells.clone();
        gone.iter().for_each(|cell| stored.forget(*cell));
        self.store(&stored, self.locals.s);
        self.move_to_passed(state, &moves);
        self.get(self.locals.s);
        self.push(number);
        self.code.op(Code::Store32, &[offset(entry - 1)]);
        self.add_to(self.locals.s, 4 * i64::from(entry));
        self.add_to(self.locals.left, -i64::from(state.count));
        self.code.jump(Code::Jmp, parts.entry);
        Then::Left
    }

    /// Whether the first branch of a routine that is called becomes part of the code here.
    fn may_be_late(&self, inside: &Inside) -> bool {
        !self.making.levels[inside.level].is_late
            && self.making.piece <= PIECE
            && self.making.total <= self.most
            && inside.path < PATH_CUT
    }

    /// A call whose first branch was made here.
    fn enter_late(&mut self, state: &State, inside: &Inside, level: &Level, address: u32) {
        let callee = level.routine;
        let parts = self.parts(callee);
        let number = self.caller(callee, Some((level.outer, level.at_call)), level.back);
        let entry = self.root(parts.level, address, Kind::Late);
        let (moves, gone) = self.passing(callee, level.base);
        let mut stored = state.cells.clone();
        gone.iter().for_each(|cell| stored.forget(*cell));
        self.store(&stored, self.locals.s);
        self.move_to_passed(state, &moves);
        self.get(self.locals.s);
        self.push(number);
        self.code.op(Code::Store32, &[offset(level.base + inside.heights.link)]);
        self.add_to(self.locals.s, 4 * i64::from(level.base));
        self.add_to(self.locals.left, -i64::from(state.count));
        self.code.jump(Code::Jmp, entry);
    }

    /// Whether a call becomes part of the code here.
    fn is_inlined(&self, inside: &Inside) -> bool {
        let Level { depth, .. } = self.making.levels[inside.level];
        depth < self.trees.routines.list[self.outermost(inside.level)].depth
            && self.making.piece <= PIECE
            && self.making.total <= self.most
            && inside.path < PATH_CUT
    }

    /// The routine that a chain of calls begins with.
    fn outermost(&self, level: usize) -> usize {
        let mut at = level;
        while self.making.levels[at].depth > 0 {
            at = self.making.levels[at].outer;
        }
        self.making.levels[at].routine
    }

    /// A call outside of routines that goes into one.
    pub(crate) fn call_routine(&mut self, state: &mut State, callee: usize, instruction: &Instruction) {
        let parts = self.parts(callee);
        let number = self.caller(callee, None, instruction.next());
        let (moves, gone) = self.passing(callee, state.shape.height + 1);
        self.move_to_passed(state, &moves);
        gone.iter().for_each(|cell| state.cells.forget(*cell));
        self.put(state, Value::Simple(Simple::Constant(number as i32)));
        self.leave(state);
        self.code.jump(Code::Jmp, parts.entry);
    }

    /// What is passed to a routine that is entered at a height; and the cells that need not be stored, because it passes them
    /// back or takes them.
    fn passing(&self, callee: usize, entry: i32) -> (Vec<Passing>, Vec<i32>) {
        let known = &self.trees.routines.list[callee];
        let (Reach { touched, written, .. }, left) = (known.reach, known.left.unwrap_or_default());
        let cells = (-PASSED..-1).filter(|cell| touched & bit(*cell) != 0);
        let gone = cells.clone().filter(|cell| written & bit(*cell) != 0 || *cell >= left);
        let gone = gone.map(|cell| entry + cell).collect();
        (cells.map(|cell| Passing { cell, at: entry + cell }).collect(), gone)
    }

    /// The word local in which the cell that an instruction stores to is passed back, if no other cell uses it.
    pub(crate) fn passed_back(&self, state: &State, instruction: &Instruction) -> Option<u64> {
        let inside = state.inside?;
        let level = self.making.levels[inside.level];
        let cell = inside.heights.entered.cells().last()? + frame_index(instruction);
        let known = &self.trees.routines.list[level.routine];
        if level.depth > 0 || !(-PASSED..-1).contains(&cell) || known.reach.written & bit(cell) == 0 {
            return None;
        }
        let local = self.locals.passed(cell);
        let is_free = !state.cells.iter().any(|other| other.at != cell && other.value.uses(local));
        is_free.then_some(local)
    }

    /// Whether other ways may lead to an address than the one at hand, or none that is known.
    pub(crate) fn is_apart(&self, state: &State, address: u32) -> bool {
        match state.inside {
            None => self.trees.at(address).is_some(),
            Some(inside) => {
                let routine = self.making.levels[inside.level].routine;
                self.trees.is_meeting(address) || self.routines().heights(routine, address).is_none()
            }
        }
    }

    fn ret_inside(
        &mut self,
        state: &mut State,
        inside: Inside,
        heights: Heights,
        instruction: &Instruction,
    ) -> Then {
        let level = self.making.levels[inside.level];
        let known = &self.trees.routines.list[level.routine];
        let (reach, callers) = (known.reach, known.callers);
        if known.left != Some(heights.height) {
            return self.give_up(state, instruction);
        }
        let top = state.shape.height - 1;
        if level.depth > 0 {
            state.count += 1;
            state.shape.height = top;
            state.cells.cut(top);
            let mut heights = level.at_call;
            if heights.after_call(known.left.unwrap_or_default(), &mut Reach::default()).is_err() {
                unreachable!("it was called so");
            }
            state.inside = Some(Inside { level: level.outer, heights, ..inside });
            return Then::Go(level.back);
        }
        state.count += 1;
        let link = state.cells.get(top);
        let moves: Vec<Passing> = (-PASSED..heights.height.min(0))
            .filter(|cell| reach.written & bit(*cell) != 0)
            .map(|cell| Passing { cell, at: cell })
            .collect();
        let mut others = state.cells.clone();
        others.cut(top);
        for cell in (-PASSED..0).filter(|cell| reach.touched & bit(*cell) != 0) {
            others.forget(cell);
        }
        self.store(&others, self.locals.s);
        self.move_to_passed(state, &moves);
        self.add_to(self.locals.left, -i64::from(state.count));
        match link {
            Some(number) => self.value(number),
            None => {
                self.get(self.locals.s);
                self.code.op(Code::Load32, &[offset(top)]);
            }
        }
        let parts = self.parts(level.routine);
        if callers <= OWN_TABLES {
            self.code.table_of(parts.returns);
        } else {
            self.set(self.locals.ip);
            self.code.jump(Code::Jmp, parts.shared);
        }
        Then::Left
    }

    // Making good

    /// Leaves a path inside of a routine for the general scheme, before the instruction at an address.
    pub(crate) fn abandon(&mut self, state: &State, address: u32) {
        let Some(inside) = state.inside else {
            self.leave(state);
            return self.go_general(address);
        };
        let link = self.link(inside.level, &inside.heights);
        self.store_all(state);
        let cells: Vec<(i32, Value)> = state
            .cells
            .iter()
            .filter(|cell| cell.dirty && !cell.value.is_stored())
            .map(|cell| (cell.at, cell.value))
            .collect();
        self.store_unstored(&cells, self.locals.s);
        self.set_pending(inside.level, &inside.heights, self.locals.s, true);
        self.get(self.locals.s);
        self.set(self.locals.walk);
        self.set_link(link);
        self.add_to(self.locals.s, 4 * i64::from(state.shape.height));
        self.add_to(self.locals.left, -i64::from(state.count));
        self.push(i64::from(address.cast_signed()));
        self.set(self.locals.ip);
        let outermost = self.outermost(inside.level);
        let parts = self.parts(outermost);
        self.code.jump(Code::Jmp, parts.undo);
    }

    /// Stores return addresses and saved frame pointers; the first of these is not known yet.
    fn store_unstored(&mut self, cells: &[(i32, Value)], base: u64) {
        for &(cell, value) in cells {
            match value {
                Value::Saved(None) => {}
                Value::Saved(Some(frame)) => {
                    self.get(base);
                    self.frame_pointer(frame, base);
                    self.code.op(Code::Store32, &[offset(cell)]);
                }
                value => {
                    self.get(base);
                    self.value(value);
                    self.code.op(Code::Store32, &[offset(cell)]);
                }
            }
        }
    }

    /// Pushes the frame pointer of a frame.
    pub(crate) fn frame_pointer(&mut self, frame: i32, base: u64) {
        self.get(base);
        self.push(2);
        self.op(Code::Shr);
        self.code.op(Code::Addi, &[i64::from(frame) as u64]);
    }

    /// Stores the frame pointer where it was waited for, if a frame was entered, and then waits for the one before at its
    /// first frame.
    fn set_pending(&mut self, level: usize, heights: &Heights, base: u64, is_innermost: bool) {
        let waits = self.locals.waits;
        if is_innermost {
            self.push(FRAME_WORD as i64);
            self.set(waits);
        }
        let Some((frame, first)) = self.frames(level, heights) else { return };
        self.get(waits);
        self.frame_pointer(frame, base);
        self.code.op(Code::Store32, &[0]);
        self.get(base);
        self.code.op(Code::Addi, &[offset(first)]);
        self.set(waits);
    }

    /// Where the number of the caller is.
    fn set_link(&mut self, link: i32) {
        self.get(self.locals.walk);
        self.code.op(Code::Addi, &[offset(link)]);
        self.set(self.locals.link);
    }

    /// What is done for each caller of a routine: landing, and making good.
    fn callers(&mut self, routine: usize, called: &Called, parts: Parts, undo: &[Option<Label>], end: Label) {
        let landings: Vec<Label> = called.callers.iter().map(|caller| caller.landing).collect();
        let labels: Vec<Label> = called.callers.iter().map(|_| self.code.label()).collect();
        self.code.set_targets(parts.returns, &landings);
        // No number leads beyond them. But perhaps no return was made, and no code may be there that nothing leads to.
        let beyond = [&labels[..], &[parts.shared]].concat();
        self.code.set_targets(parts.makes_good, &beyond);
        self.code.bind(parts.shared);
        self.get(self.locals.ip);
        self.code.table_of(parts.returns);
        self.code.bind(parts.undo);
        self.get(self.locals.link);
        self.code.op(Code::Load32, &[0]);
        self.code.table_of(parts.makes_good);
        let known = &self.trees.routines.list[routine];
        let (reach, left) = (known.reach, known.left.unwrap_or_default());
        for (caller, label) in called.callers.iter().zip(labels) {
            self.code.bind(label);
            self.get(self.locals.link);
            self.push(caller.next.into());
            self.code.op(Code::Store32, &[0]);
            let Some((level, heights)) = caller.inside else {
                self.get(self.locals.waits);
                self.get(self.locals.fa);
                self.push(2);
                self.op(Code::Sar);
                self.code.op(Code::Store32, &[0]);
                self.code.jump(Code::Jmp, end);
                self.land_outside(caller, reach, left);
                continue;
            };
            let walk = self.locals.walk;
            self.add_to(walk, -4 * i64::from(self.making.levels[level].base + heights.callee()));
            let cells = self.unstored(level, &heights);
            self.store_unstored(&cells, walk);
            self.set_pending(level, &heights, walk, false);
            self.set_link(self.link(level, &heights));
            let outermost = self.outermost(level);
            let Some(undo) = undo[outermost] else {
                unreachable!("code in a routine is there if that is called")
            };
            self.code.jump(Code::Jmp, undo);
        }
    }

    /// A return out of routines: what was passed back is stored.
    fn land_outside(&mut self, caller: &Caller, reach: Reach, left: i32) {
        self.code.bind(caller.landing);
        for cell in (-PASSED..left.min(0)).filter(|cell| reach.written & bit(*cell) != 0) {
            self.get(self.locals.s);
            self.get(self.locals.passed(cell));
            self.code.op(Code::Store32, &[offset(cell)]);
        }
        self.add_to(self.locals.s, 4 * i64::from(left));
        match self.trees.at(caller.next) {
            Some(index) => self.code.jump(Code::Jmp, self.roots[index]),
            None => self.go_general(caller.next),
        }
    }
}

/// Word locals that code inside of routines uses besides.
pub(crate) fn names() -> impl Iterator<Item = String> {
    let passed = (0..PASSED).map(|number| format!("passed{number}"));
    ["walk", "link", "waits"].into_iter().map(str::to_owned).chain(passed)
}
