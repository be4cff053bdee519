//! Direct code: a tree of the program becomes a piece of the machine's function.
//!
//! At its root a tree checks, once for all of its paths, that its instructions fit the slice, that the stack holds the cells
//! it takes and has room for those it leaves, and that the frame holds what it reaches. Where a check fails the general
//! scheme takes the root's first instruction. Within a tree cells are values that are known, and are stored only where the
//! tree is left. What else may go wrong (a divisor, an offset, a return address) is checked in place; where such
//! a check fails, the state as it was before the instruction is made good and the general scheme takes it from there. So
//! direct code knows no faults.

use dotvm_core::builder::{CodeBuilder, Label};
use dotvm_core::opcode::Op as Code;

use crate::inside::{Inside, Making};
use crate::machine::{STACK_AT, STACK_CELLS};
use crate::opcode::Instruction;
use crate::runtime::Local;
use crate::shape::{Base, Frame, Shape};
use crate::trees::{Tree, Trees};
use crate::values::{Cells, Simple, Value};

/// Locals for values.
pub(crate) const TEMPORARIES: u64 = 40;
/// Most locals of the program that are word locals of the function.
const REGISTERS: usize = 48;
/// Most entries of the jump tables that stand where a return is; beyond, all returns share one.
const TABLE_ENTRIES: usize = 1 << 16;

/// The word locals that direct code uses.
#[derive(Clone, Debug)]
pub(crate) struct Locals {
    pub s: Local,
    pub fa: Local,
    pub ip: Local,
    pub left: Local,
    pub hb: Local,
    /// Always 0.
    pub zero: Local,
    /// The greatest offset of a word in the heap.
    pub heap_limit: Local,
    /// First of the temporaries.
    pub temporaries: Local,
    /// Used when code inside of routines is left: the height that a routine was entered at, where its return address is, and
    /// where a frame pointer is waited for.
    pub walk: Local,
    pub link: Local,
    pub waits: Local,
    /// The first cells below a routine's entry, while they are passed.
    pub first_passed: Local,
    /// The word local of each local that has one.
    pub registers: Vec<Option<Local>>,
}

impl Locals {
    /// The word local that a cell below a routine's entry is passed in.
    pub fn passed(&self, cell: i32) -> Local {
        self.first_passed + i64::from(-1 - cell) as u64
    }

    /// Chooses the locals that become word locals, from `first` on: those that are named most. Answers them, and how many
    /// word locals there are then.
    pub fn registers(trees: &Trees, first: Local) -> (Vec<Option<Local>>, Local) {
        let mut named: Vec<usize> = (0..256).filter(|local| trees.locals[*local] > 0).collect();
        named.sort_by_key(|local| (std::cmp::Reverse(trees.locals[*local]), *local));
        named.truncate(REGISTERS);
        let mut registers = vec![None; 256];
        let mut next = first;
        for local in named {
            registers[local] = Some(next);
            next += 1;
        }
        (registers, next)
    }
}

/// Where the function's parts are.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    /// The general scheme.
    pub general: Label,
    /// Goes on at `ip`, behind a return.
    pub returns: Label,
    /// A return has led to what is no target.
    pub bad_return: Label,
}

/// The program's state along a path.
#[derive(Clone)]
pub(crate) struct State {
    pub shape: Shape,
    /// Cells from the base.
    pub cells: Cells,
    /// Cells from the frame pointer that the tree was entered with.
    pub frame_cells: Cells,
    /// What ENTER saved, parallel to the shape's list.
    pub saved: Vec<Value>,
    /// Holds the frame pointer that LEAVE took.
    pub taken: Local,
    /// Instructions since `left` was counted down.
    pub count: u16,
    /// How often the tree's loop may be gone through again before it is left.
    pub rounds: u8,
    /// Where it is inside of a routine.
    pub inside: Option<Inside>,
}

impl State {
    /// A value that is computed from a local, if a cell has one.
    pub(crate) fn value_of(&self, local: Local) -> Option<Value> {
        let mut cells = self.cells.iter().chain(self.frame_cells.iter());
        cells.find(|cell| cell.value.uses(local)).map(|cell| cell.value)
    }
}

/// A check that failed: back to before an instruction, in the general scheme.
pub(crate) struct Exit {
    pub label: Label,
    pub state: State,
    pub address: u32,
}

/// Makes direct code.
pub(crate) struct Direct<'a> {
    pub(crate) code: &'a mut CodeBuilder,
    pub(crate) image: &'a [u8],
    pub(crate) trees: &'a Trees,
    pub(crate) locals: &'a Locals,
    pub(crate) places: Places,
    pub(crate) roots: Vec<Label>,
    /// The tree that is being made: its number, behind the checks that hold as long as the heights are as they were, behind all
    /// checks, and where they fail.
    pub(crate) current: Option<Current>,
    targets: Vec<Label>,
    /// The same behind a return, where what is no target is a fault.
    pub(crate) return_targets: Vec<Label>,
    pub(crate) has_own_tables: bool,
    pub(crate) has_shared_returns: bool,
    pub(crate) exits: Vec<Exit>,
    /// Paths of the tree that are not made yet.
    pub(crate) pending: Vec<(Label, State, u32)>,
    /// Line of each instruction, or nothing where addresses are lines.
    lines: &'a [u32],
    /// Code inside of routines, and how many instructions of it before it is made without repetitions.
    pub(crate) making: Making,
    pub(crate) most: u32,
}

/// Where a tree's parts are.
#[derive(Clone, Copy)]
pub(crate) struct Current {
    pub index: usize,
    pub again: Label,
    pub body: Label,
    pub fail: Label,
    /// Least instructions that the slice must have left.
    pub count: u16,
}

/// What comes behind an instruction.
pub(crate) enum Then {
    /// The instruction at this address.
    Go(u32),
    /// Nothing: the path was left.
    Left,
}

impl<'a> Direct<'a> {
    /// For the trees of an image.
    pub fn new(
        code: &'a mut CodeBuilder,
        image: &'a [u8],
        trees: &'a Trees,
        locals: &'a Locals,
        places: Places,
        lines: &'a [u32],
    ) -> Direct<'a> {
        let roots: Vec<Label> = trees.list.iter().map(|_| code.label()).collect();
        let mut targets = vec![places.general; image.len() + 1];
        for (tree, root) in trees.list.iter().zip(&roots) {
            targets[tree.start as usize] = *root;
        }
        let mut return_targets = targets.clone();
        return_targets[..4].fill(places.bad_return);
        return_targets[image.len()] = places.bad_return;
        Direct {
            has_shared_returns: false,
            return_targets,
            has_own_tables: (trees.returns as usize).saturating_mul(image.len() + 1) <= TABLE_ENTRIES,
            code,
            image,
            trees,
            locals,
            places,
            roots,
            targets,
            current: None,
            exits: Vec::new(),
            pending: Vec::new(),
            lines,
            making: Making::default(),
            most: 2 * image.len() as u32 + 20_000,
        }
    }

    /// The code that goes on at each address; and the same behind a return, if returns share it.
    pub fn targets(self) -> (Vec<Label>, Option<Vec<Label>>) {
        (self.targets, self.has_shared_returns.then_some(self.return_targets))
    }

    /// Makes all trees.
    pub fn trees(&mut self) {
        for index in 0..self.trees.list.len() {
            let tree = self.trees.list[index];
            self.line(tree.start);
            self.code.bind(self.roots[index]);
            self.tree(index, &tree);
        }
        self.current = None;
        self.routine_code();
        self.code.line(0);
    }

    pub(crate) fn line(&mut self, address: u32) {
        let line = self.lines.get(address as usize).copied().unwrap_or(address);
        self.code.line(line);
    }

    // Short forms

    pub(crate) fn op(&mut self, op: Code) {
        self.code.op(op, &[]);
    }

    pub(crate) fn get(&mut self, local: Local) {
        self.code.op(Code::Lget, &[local]);
    }

    pub(crate) fn set(&mut self, local: Local) {
        self.code.op(Code::Lset, &[local]);
    }

    pub(crate) fn push(&mut self, number: i64) {
        self.code.op(Code::Push, &[number as u64]);
    }

    pub(crate) fn simple(&mut self, simple: Simple) {
        match simple {
            Simple::Constant(constant) => self.push(constant.into()),
            Simple::Local(local) => self.get(local),
        }
    }

    pub(crate) fn value(&mut self, value: Value) {
        match value {
            Value::Simple(simple) => self.simple(simple),
            Value::Compare(op, a, b) => {
                self.simple(a);
                self.simple(b);
                self.op(op);
            }
            Value::Sum(local, number) => {
                self.get(local);
                self.code.op(Code::Addi, &[i64::from(number) as u64]);
            }
            Value::Return(address) => self.push(address.cast_signed().into()),
            Value::Saved(Some(frame)) => self.frame_pointer(frame, self.locals.s),
            Value::Saved(None) => unreachable!("nobody asks for a frame pointer that is not known"),
        }
    }

    pub(crate) fn add_to(&mut self, local: Local, number: i64) {
        if number != 0 {
            self.get(local);
            self.code.op(Code::Addi, &[number as u64]);
            self.set(local);
        }
    }

    pub(crate) fn go_general(&mut self, address: u32) {
        self.push(i64::from(address.cast_signed()));
        self.set(self.locals.ip);
        self.code.jump(Code::Jmp, self.places.general);
    }

    // Trees

    fn tree(&mut self, index: usize, tree: &Tree) {
        let (fail, again, body) = (self.code.label(), self.code.label(), self.code.label());
        self.current = Some(Current { index, again, body, fail, count: tree.needs.count });
        self.checks(tree, fail);
        self.code.bind(again);
        self.get(self.locals.left);
        self.push(tree.needs.count.into());
        self.op(Code::Lt);
        self.code.jump(Code::Jnz, fail);
        self.code.bind(body);
        let state = State {
            shape: Shape::new(),
            cells: Cells::default(),
            frame_cells: Cells::default(),
            saved: Vec::new(),
            taken: 0,
            count: 0,
            rounds: tree.rounds,
            inside: None,
        };
        self.path(state, tree.start, true);
        self.pending_and_exits();
        self.line(tree.start);
        self.code.bind(fail);
        self.go_general(tree.start);
    }

    /// Makes the paths that wait, and what is behind checks that fail.
    pub(crate) fn pending_and_exits(&mut self) {
        while let Some((label, state, address)) = self.pending.pop() {
            self.code.bind(label);
            self.path(state, address, false);
        }
        for exit in std::mem::take(&mut self.exits) {
            self.code.bind(exit.label);
            self.abandon(&exit.state, exit.address);
        }
    }

    /// Checks what the tree needs.
    fn checks(&mut self, tree: &Tree, fail: Label) {
        let needs = &tree.needs;
        let Locals { s, fa, .. } = *self.locals;
        let room = |height: i32| 4 * (STACK_CELLS as i64 - i64::from(height));
        let check = |direct: &mut Self, local: Local, limit: i64, op: Code| {
            direct.get(local);
            direct.push(limit);
            direct.op(op);
            direct.code.jump(Code::Jnz, fail);
        };
        if needs.low < 0 {
            check(self, s, -4 * i64::from(needs.low), Code::Slt);
        }
        if needs.high > 0 {
            check(self, s, room(needs.high), Code::Sgt);
        }
        if let Some(below) = needs.below_frame {
            check(self, fa, 4 * i64::from(below), Code::Slt);
            self.get(s);
            self.get(fa);
            self.op(Code::Sub);
            self.push(4 * (i64::from(needs.above_frame) + 1 - i64::from(needs.low)));
            self.op(Code::Slt);
            self.code.jump(Code::Jnz, fail);
            if needs.high_frame > 1 {
                check(self, fa, room(needs.high_frame), Code::Sgt);
            }
        } else if needs.saves_frame {
            check(self, fa, -8, Code::Eq);
        }
    }

    /// Makes a path to its end.
    pub(crate) fn path(&mut self, mut state: State, from: u32, is_root: bool) {
        let mut at = from;
        let mut is_first = is_root;
        loop {
            if state.inside.is_some() {
                if self.ends_before(&state, at, is_first) {
                    return;
                }
            } else if let Some(index) = self.trees.at(at)
                && !is_first
            {
                let is_round = self.current.is_some_and(|current| current.index == index);
                if !is_round || state.rounds == 0 || !state.shape.is_as_entered() {
                    return self.go(&state, at);
                }
                state.rounds -= 1;
            }
            is_first = false;
            let Ok(instruction) = Instruction::decode(self.image, at) else {
                return self.abandon(&state, at);
            };
            self.line(at);
            match self.instruction(&mut state, &instruction) {
                Then::Go(next) => at = next,
                Then::Left => return,
            }
        }
    }

    // Leaving

    /// Brings memory, the stack pointer and the frame pointer up to date, and counts.
    pub(crate) fn leave(&mut self, state: &State) {
        let Locals { s, fa, left, .. } = *self.locals;
        self.store_all(state);
        let shape = &state.shape;
        let height = 4 * i64::from(shape.height);
        match shape.base {
            Base::Entry => {
                if let Frame::At(at) = shape.frame {
                    self.get(s);
                    self.code.op(Code::Addi, &[(4 * i64::from(at)) as u64]);
                    self.set(fa);
                }
                self.add_to(s, height);
            }
            Base::Frame => {
                self.get(fa);
                self.code.op(Code::Addi, &[height as u64]);
                self.set(s);
                self.get(state.taken);
                self.set(fa);
            }
        }
        self.add_to(left, -i64::from(state.count));
    }

    /// Stores what waits.
    pub(crate) fn store_all(&mut self, state: &State) {
        self.store(&state.cells, self.base(state.shape.base));
        self.store(&state.frame_cells, self.locals.fa);
    }

    /// Stores those of the cells that wait, which count from a local.
    pub(crate) fn store(&mut self, cells: &Cells, base: Local) {
        for cell in cells.iter().filter(|cell| cell.dirty && cell.value.is_stored()) {
            self.get(base);
            self.value(cell.value);
            self.code.op(Code::Store32, &[offset(cell.at)]);
        }
    }

    pub(crate) fn base(&self, base: Base) -> Local {
        match base {
            Base::Entry => self.locals.s,
            Base::Frame => self.locals.fa,
        }
    }

    /// Leaves for an address.
    pub(crate) fn go(&mut self, state: &State, address: u32) {
        self.leave(state);
        if let (Some(index), Some(current)) = (self.trees.at(address), self.current)
            && index == current.index
            && state.shape.is_as_entered()
        {
            // Another round of a loop: only the slice is asked for again.
            self.get(self.locals.left);
            self.push(current.count.into());
            self.op(Code::Ge);
            self.code.jump(Code::Jnz, current.body);
            return self.code.jump(Code::Jmp, current.fail);
        }
        match self.trees.at(address) {
            Some(index) => self.code.jump(Code::Jmp, self.roots[index]),
            None => self.go_general(address),
        }
    }

    /// Leaves before an instruction that has no direct code here.
    pub(crate) fn give_up(&mut self, state: &State, instruction: &Instruction) -> Then {
        self.abandon(state, instruction.address);
        Then::Left
    }

    /// Where a check fails that stands before an instruction.
    pub(crate) fn exit(&mut self, before: &State, instruction: &Instruction) -> Label {
        let label = self.code.label();
        self.exits.push(Exit { label, state: before.clone(), address: instruction.address });
        label
    }
}

/// The offset of a cell from its base in memory.
pub(crate) fn offset(at: i32) -> u64 {
    (STACK_AT as i64 + 4 * i64::from(at)) as u64
}
