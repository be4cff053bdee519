//! A program's trees: instructions with one way in, from where several ways meet to where they meet again.

use crate::opcode::{Instruction, NoInstruction, Op};
use crate::routines::Routines;
use crate::shape::{Needs, Shape, Why};

/// Most instructions of a tree.
const TREE_INSTRUCTIONS: u32 = 100;
/// How often more a short loop may be in its tree, the most first.
const ROUNDS: [u8; 3] = [7, 3, 1];

/// A tree, named by its root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tree {
    /// Address of its first instruction.
    pub start: u32,
    /// Its instructions that have direct code.
    pub instructions: u32,
    /// What is checked at its root.
    pub needs: Needs,
    /// How often more a loop that it is goes through it before it is left.
    pub rounds: u8,
}

/// An instruction that is left to the general scheme.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    pub at: u32,
    pub end: u32,
    pub why: Why,
}

/// What a walk finds.
pub(crate) struct Trees {
    /// Ascending by start.
    pub list: Vec<Tree>,
    /// What is left, as it was met.
    pub left: Vec<Left>,
    /// One more than the tree that starts at an address, 0 for none.
    index: Vec<u32>,
    /// Where calls and returns belong together.
    pub routines: Routines,
    marks: Vec<u8>,
    /// How often each local is named.
    pub locals: [u32; 256],
    /// Calls, and returns that go by a table.
    pub calls: u32,
    pub returns: u32,
}

impl Trees {
    /// The number of the tree that starts at an address.
    pub fn at(&self, address: u32) -> Option<usize> {
        (*self.index.get(address as usize)? as usize).checked_sub(1)
    }

    /// Whether a jump leads back to an address.
    pub fn is_loop(&self, address: u32) -> bool {
        self.marks.get(address as usize).is_some_and(|mark| mark & LOOP != 0)
    }

    /// Whether several ways lead to an address, or one from afar.
    pub fn is_meeting(&self, address: u32) -> bool {
        self.marks.get(address as usize).is_none_or(|mark| mark & (ROOT | MORE) != 0)
    }
}

/// Marks of an address.
const START: u8 = 1;
const ROOT: u8 = 2;
/// One way in, and more than one.
const ONE: u8 = 4;
const MORE: u8 = 8;
/// A jump from behind leads here.
const LOOP: u8 = 16;

/// Finds the trees of an image.
pub(crate) fn find(image: &[u8]) -> Trees {
    let mut walk = Walk { image, marks: vec![0; image.len() + 1], work: Vec::new(), calls: Vec::new() };
    walk.root(4);
    while let Some(start) = walk.work.pop() {
        walk.line(start);
    }
    let Walk { marks, calls, .. } = walk;
    let routines = Routines::find(image, &calls, |at| marks[at as usize] & LOOP != 0);
    let mut trees = Trees {
        routines,
        marks: Vec::new(),
        list: Vec::new(),
        left: Vec::new(),
        index: vec![0; image.len() + 1],
        locals: [0; 256],
        calls: 0,
        returns: 0,
    };
    let mut plan = Plan {
        image,
        marks,
        roots: Vec::new(),
        trees: &mut trees,
        has_loop: false,
        is_too_long: false,
        is_trial: false,
    };
    for address in 4..image.len() as u32 {
        if plan.is_root(address) && plan.marks[address as usize] & START != 0 {
            plan.roots.push(address);
        }
    }
    let mut next = 0;
    while let Some(&start) = plan.roots.get(next) {
        plan.tree(start);
        next += 1;
    }
    trees.marks = plan.marks;
    trees.list.sort_unstable_by_key(|tree| tree.start);
    for (index, tree) in trees.list.iter().enumerate() {
        trees.index[tree.start as usize] = index as u32 + 1;
    }
    trees
}

/// Whether a jump may lead to an address.
pub(crate) fn is_target(image: &[u8], address: u32) -> bool {
    address >= 4 && (address as usize) < image.len()
}

struct Walk<'a> {
    image: &'a [u8],
    marks: Vec<u8>,
    work: Vec<u32>,
    /// What CALLs lead to.
    calls: Vec<u32>,
}

impl Walk<'_> {
    /// A way leads to an address.
    fn way(&mut self, address: u32) {
        if !is_target(self.image, address) {
            return;
        }
        let mark = &mut self.marks[address as usize];
        *mark |= if *mark & ONE != 0 { MORE } else { ONE };
        if *mark & START == 0 {
            self.work.push(address);
        }
    }

    fn root(&mut self, address: u32) {
        if is_target(self.image, address) {
            self.marks[address as usize] |= ROOT;
            self.way(address);
        }
    }

    /// Walks from an address to the end of the straight line, or to where an earlier walk went.
    fn line(&mut self, start: u32) {
        let mut at = start;
        loop {
            let Some(mark) = self.marks.get_mut(at as usize) else { return };
            if *mark & START != 0 {
                return;
            }
            let Ok(instruction) = Instruction::decode(self.image, at) else { return };
            *mark |= START;
            let next = instruction.next();
            match instruction.op {
                Op::Jmp => {
                    self.jump(at, instruction.operand);
                    return;
                }
                Op::Jz | Op::Jnz => self.jump(at, instruction.operand),
                Op::Call => {
                    if is_target(self.image, instruction.operand) {
                        self.calls.push(instruction.operand);
                    }
                    self.root(instruction.operand);
                    self.root(next);
                    return;
                }
                Op::Push if self.image.get(next as usize) == Some(&(Op::Ret as u8)) => {
                    self.root(instruction.operand);
                }
                Op::Ret | Op::Halt => return,
                Op::Syscall | Op::Break | Op::LoadAbs | Op::StoreAbs => {
                    self.root(next);
                    return;
                }
                _ => {}
            }
            if !is_target(self.image, next) {
                return;
            }
            let mark = &mut self.marks[next as usize];
            *mark |= if *mark & ONE != 0 { MORE } else { ONE };
            at = next;
        }
    }

    fn jump(&mut self, from: u32, to: u32) {
        if to > from {
            return self.way(to);
        }
        if is_target(self.image, to) {
            self.marks[to as usize] |= LOOP;
        }
        self.root(to);
    }
}

struct Plan<'a, 't> {
    image: &'a [u8],
    marks: Vec<u8>,
    /// Roots to plan, the later ones found on the way.
    roots: Vec<u32>,
    trees: &'t mut Trees,
    /// Whether a path comes back to its root as it left it, whether one had too many instructions, and whether what is found
    /// counts.
    has_loop: bool,
    is_too_long: bool,
    is_trial: bool,
}

/// A path that is to be followed.
struct Path {
    at: u32,
    shape: Shape,
    /// How often it may go through its tree again.
    rounds: u8,
    is_first: bool,
}

impl Plan<'_, '_> {
    fn is_root(&self, address: u32) -> bool {
        self.marks[address as usize] & (ROOT | MORE) != 0
    }

    fn make_root(&mut self, address: u32) {
        if is_target(self.image, address) && !self.is_root(address) && !self.is_trial {
            self.marks[address as usize] |= ROOT;
            self.roots.push(address);
        }
    }

    fn tree(&mut self, start: u32) {
        let mut tree = Tree { start, instructions: 0, needs: Needs::default(), rounds: 0 };
        self.has_loop = false;
        self.paths(&mut tree);
        if self.has_loop && tree.instructions <= TREE_INSTRUCTIONS / 2 {
            // A short loop: several rounds of it are one tree, if they are not too many instructions.
            self.is_trial = true;
            for rounds in ROUNDS {
                let mut trial = Tree { start, instructions: 0, needs: Needs::default(), rounds };
                self.is_too_long = false;
                self.paths(&mut trial);
                if !self.is_too_long {
                    tree.needs = trial.needs;
                    tree.rounds = rounds;
                    break;
                }
            }
            self.is_trial = false;
        }
        if tree.instructions > 0 {
            self.trees.list.push(tree);
        }
    }

    fn paths(&mut self, tree: &mut Tree) {
        let first = Path { at: tree.start, shape: Shape::new(), rounds: tree.rounds, is_first: true };
        let mut paths = vec![first];
        while let Some(path) = paths.pop() {
            let needs = self.path(tree, path, &mut paths);
            tree.needs.join(&needs);
        }
    }

    /// Follows a path to its end.
    fn path(&mut self, tree: &mut Tree, path: Path, paths: &mut Vec<Path>) -> Needs {
        let Path { mut at, mut shape, mut rounds, mut is_first } = path;
        loop {
            if at as usize >= self.image.len() {
                return shape.needs;
            }
            if self.is_root(at) && !is_first {
                let is_round = at == tree.start && shape.is_as_entered();
                self.has_loop |= is_round;
                if !is_round || rounds == 0 {
                    return shape.needs;
                }
                rounds -= 1;
            }
            is_first = false;
            if tree.instructions >= TREE_INSTRUCTIONS {
                self.is_too_long = true;
                self.make_root(at);
                return shape.needs;
            }
            let instruction = match Instruction::decode(self.image, at) {
                Ok(instruction) => instruction,
                Err(NoInstruction::Truncated(op)) => {
                    let end = at + op.form().bytes();
                    self.leave(at, end, Why::Fault("bad_operand"));
                    return shape.needs;
                }
                Err(_) => {
                    self.leave(at, at + 1, Why::Fault("invalid_opcode"));
                    return shape.needs;
                }
            };
            let (op, next) = (instruction.op, instruction.next());
            let leads_nowhere =
                matches!(op, Op::Jmp | Op::Call) && !is_target(self.image, instruction.operand);
            let followed = if leads_nowhere { Err(Why::Fault("bad_jump")) } else { shape.step(&instruction) };
            if let Err(why) = followed {
                self.leave(at, next, why);
                if op != Op::Halt && !leads_nowhere {
                    self.make_root(next);
                }
                return shape.needs;
            }
            shape.needs.count += 1;
            tree.instructions += 1;
            let counted = u32::from(!self.is_trial);
            match op {
                Op::Load | Op::Store => self.trees.locals[instruction.operand as usize & 255] += counted,
                Op::Jmp => {
                    at = instruction.operand;
                    continue;
                }
                Op::Jz | Op::Jnz => {
                    let target = instruction.operand;
                    let is_round = target == tree.start && shape.is_as_entered();
                    self.has_loop |= is_round;
                    if is_target(self.image, target) && (!self.is_root(target) || (is_round && rounds > 0)) {
                        paths.push(Path { at: target, shape: shape.clone(), rounds, is_first: false });
                    }
                }
                Op::Call => {
                    let routines = &self.trees.routines;
                    if is_target(self.image, next)
                        && let Some(routine) = routines.called(instruction.operand)
                    {
                        shape.enters(routines.list[routine].reach.low);
                    }
                    self.trees.calls += counted;
                    return shape.needs;
                }
                Op::Ret => {
                    self.trees.returns += counted;
                    return shape.needs;
                }
                _ => {}
            }
            at = next;
        }
    }

    fn leave(&mut self, at: u32, end: u32, why: Why) {
        if self.is_trial {
            return;
        }
        let end = end.min(self.image.len() as u32);
        self.trees.left.push(Left { at, end, why });
    }
}
