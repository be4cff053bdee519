//! Routines: where a CALL and its RET are known to belong together.
//!
//! From a routine's entry each path is followed with the heights that it has. While nothing but RET takes the return
//! address, and nothing is written over it, a RET with it on top goes back to the CALL, whatever else the program does with
//! its stack: so the return need not be looked up, what the caller knew still holds, and arguments and results can be passed
//! in word locals. What a path does that is not followed ends it: there the program goes on by jumps, with all cells as they
//! are. A routine that is called while it is looked at is taken to return like its other paths do; whoever calls it waits
//! for the first path that returns.

use std::collections::HashMap;

use crate::heights::{Heights, Reach};
use crate::opcode::{Instruction, Op};
use crate::shape::Why;
use crate::trees::is_target;

/// Most calls within each other that become one piece of code.
const MAX_DEPTH: usize = 6;
/// Most instructions that a routine's first piece has with the calls in it.
const EXPANSION: u32 = 512;
/// Most instructions up to the branch behind which a routine is entered late, and behind it up to its return.
const SHORT: u32 = 24;

/// A routine.
#[derive(Clone, Debug)]
pub(crate) struct Routine {
    pub entry: u32,
    /// The height that it returns at, from its entry; `None` if no path was followed to a return.
    pub left: Option<i32>,
    pub reach: Reach,
    /// Instructions followed.
    pub instructions: u32,
    /// How many calls within each other become one piece of code.
    pub depth: usize,
    /// The greatest height with the calls in the piece.
    pub high: i32,
    /// Where it is entered by callers that have made its first branch themselves, because the other way soon returns.
    pub late: Option<u32>,
    /// CALLs of it that the program has.
    pub callers: u32,
    /// Why a path was not followed, for the first such.
    pub why: Option<(u32, Why)>,
    /// Its calls: the routine, and the height where that is entered.
    calls: Vec<(usize, i32)>,
}

/// What is known of all routines.
#[derive(Default)]
pub(crate) struct Routines {
    pub list: Vec<Routine>,
    by_entry: HashMap<u32, usize>,
    /// What is known before an instruction of a routine.
    heights: HashMap<(usize, u32), Heights>,
}

impl Routines {
    /// The routine that a CALL leads to, if it is known how it returns.
    pub fn called(&self, address: u32) -> Option<usize> {
        let index = *self.by_entry.get(&address)?;
        self.list[index].left.map(|_| index)
    }

    /// What is known before an instruction of a routine.
    pub fn heights(&self, routine: usize, address: u32) -> Option<&Heights> {
        self.heights.get(&(routine, address))
    }

    /// Follows the routines that these CALLs lead to, each address once for each CALL that does.
    pub fn find(image: &[u8], calls: &[u32], is_loop: impl Fn(u32) -> bool) -> Routines {
        let mut search = Search {
            image,
            // Routines that share instructions are followed one by one, but that is not to take longer than the image is.
            budget: image.len() as u32 / 2 + 1000,
            routines: Routines::default(),
            work: Vec::new(),
            waiting: HashMap::new(),
        };
        for &entry in calls {
            let routine = search.routine(entry);
            search.routines.list[routine].callers += 1;
        }
        while let Some((routine, at, heights)) = search.work.pop() {
            search.path(routine, at, heights);
        }
        let mut routines = search.routines;
        for index in 0..routines.list.len() {
            routines.list[index].late = routines.late_entry(image, index, &is_loop);
        }
        routines.choose_depths(image, is_loop);
        routines
    }

    /// Chooses how deep calls become part of their caller's code.
    fn choose_depths(&mut self, image: &[u8], is_loop: impl Fn(u32) -> bool) {
        let mut chosen = vec![0; self.list.len()];
        for (index, routine) in self.list.iter().enumerate() {
            if routine.left.is_none() || routine.calls.is_empty() {
                continue;
            }
            let limit = EXPANSION.min(24 + 32 * routine.instructions);
            chosen[index] = (1..=MAX_DEPTH)
                .take_while(|depth| self.fits(image, index, *depth, limit, &is_loop))
                .last()
                .unwrap_or(0);
        }
        let mut high = Vec::new();
        for depth in 0..=MAX_DEPTH + 1 {
            let next = |routine: &Routine| {
                let within =
                    routine.calls.iter().filter_map(|(callee, entry)| Some(entry + high.get(*callee)?));
                within.fold(routine.reach.high, i32::max)
            };
            high = self.list.iter().map(next).collect();
            // One more, because of the branches that callers make.
            for (index, routine) in self.list.iter_mut().enumerate() {
                if chosen[index] + 1 == depth {
                    (routine.depth, routine.high) = (chosen[index], high[index]);
                }
            }
        }
    }

    /// Where a routine is entered late: one way of its first branch, if the other soon returns and it does not.
    fn late_entry(&self, image: &[u8], routine: usize, is_loop: &impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.list[routine].entry;
        for _ in 0..SHORT {
            let known = self.heights.contains_key(&(routine, at)) && !is_loop(at);
            let instruction = Instruction::decode(image, at).ok().filter(|_| known)?;
            match instruction.op {
                Op::Call | Op::Ret => return None,
                Op::Jmp => at = instruction.operand,
                Op::Jz | Op::Jnz => {
                    let ways = [instruction.operand, instruction.next()];
                    let [first, second] = ways.map(|way| self.soon_returns(image, routine, way, is_loop));
                    let late = if first { ways[1] } else { ways[0] };
                    let is_known = self.heights.contains_key(&(routine, late)) && !is_loop(late);
                    return (first != second && is_known).then_some(late);
                }
                _ => at = instruction.next(),
            }
        }
        None
    }

    /// Whether all ways from an address of a routine return after a few instructions.
    fn soon_returns(&self, image: &[u8], routine: usize, from: u32, is_loop: &impl Fn(u32) -> bool) -> bool {
        let mut ways = vec![from];
        let mut count = 0;
        while let Some(mut at) = ways.pop() {
            loop {
                count += 1;
                let known = self.heights.contains_key(&(routine, at)) && !is_loop(at) && count <= SHORT;
                let Ok(instruction) = Instruction::decode(image, at) else { return false };
                match instruction.op {
                    _ if !known => return false,
                    Op::Call => return false,
                    Op::Ret => break,
                    Op::Jmp => at = instruction.operand,
                    Op::Jz | Op::Jnz => {
                        ways.push(instruction.operand);
                        at = instruction.next();
                    }
                    _ => at = instruction.next(),
                }
            }
        }
        true
    }

    /// Whether a routine with the calls in it up to a depth has at most so many instructions up to its loops and to the
    /// calls that are left.
    fn fits(
        &self,
        image: &[u8],
        routine: usize,
        depth: usize,
        limit: u32,
        is_loop: &impl Fn(u32) -> bool,
    ) -> bool {
        let mut count = 0;
        let mut paths = vec![(self.list[routine].entry, vec![(routine, 0, false)])];
        while let Some((mut at, mut levels)) = paths.pop() {
            let mut is_first = at == self.list[routine].entry;
            while let Some(&(inner, back, is_late)) = levels.last() {
                if is_late && self.list[inner].late == Some(at) {
                    break;
                }
                let known = self.heights.contains_key(&(inner, at));
                let Ok(instruction) = Instruction::decode(image, at) else { break };
                if !known || (is_loop(at) && !is_first) {
                    break;
                }
                is_first = false;
                count += 1;
                if count > limit {
                    return false;
                }
                at = instruction.next();
                match instruction.op {
                    Op::Jmp => at = instruction.operand,
                    Op::Jz | Op::Jnz => paths.push((instruction.operand, levels.clone())),
                    Op::Call => match self.called(instruction.operand) {
                        Some(callee) if levels.len() <= depth || self.list[callee].late.is_some() => {
                            levels.push((callee, at, levels.len() > depth));
                            at = instruction.operand;
                        }
                        _ => break,
                    },
                    Op::Ret => {
                        levels.pop();
                        at = back;
                    }
                    _ => {}
                }
            }
        }
        true
    }
}

struct Search<'a> {
    image: &'a [u8],
    budget: u32,
    routines: Routines,
    /// What is still to be followed.
    work: Vec<(usize, u32, Heights)>,
    /// By routine who waits for it to return: a routine, where it goes on, and what it knows at its CALL.
    waiting: HashMap<usize, Vec<(usize, u32, Heights)>>,
}

impl Search<'_> {
    /// The routine with this entry, which is new if it was not met yet.
    fn routine(&mut self, entry: u32) -> usize {
        let list = &mut self.routines.list;
        let index = *self.routines.by_entry.entry(entry).or_insert(list.len());
        if index == list.len() {
            list.push(Routine {
                entry,
                left: None,
                reach: Reach::default(),
                instructions: 0,
                depth: 0,
                high: 0,
                late: None,
                callers: 0,
                why: None,
                calls: Vec::new(),
            });
            self.work.push((index, entry, Heights::new()));
        }
        index
    }

    /// Follows a path of a routine to its end, or to where another went.
    fn path(&mut self, routine: usize, from: u32, mut heights: Heights) {
        let mut at = from;
        loop {
            if self.budget == 0 || self.routines.heights.contains_key(&(routine, at)) {
                return;
            }
            self.budget -= 1;
            let Ok(instruction) = Instruction::decode(self.image, at) else { return };
            self.routines.heights.insert((routine, at), heights);
            self.routines.list[routine].instructions += 1;
            let (next, operand) = (instruction.next(), instruction.operand);
            if instruction.op == Op::Call {
                if !is_target(self.image, operand) || !is_target(self.image, next) {
                    return;
                }
                let callee = self.routine(operand);
                self.routines.list[routine].calls.push((callee, heights.callee()));
                let Some(left) = self.routines.list[callee].left else {
                    self.waiting.entry(callee).or_default().push((routine, next, heights));
                    return;
                };
                if !self.goes_on(routine, next, left, &mut heights) {
                    return;
                }
                at = next;
                continue;
            }
            if let Err(why) = heights.step(&instruction, &mut self.routines.list[routine].reach) {
                self.routines.list[routine].why.get_or_insert((at, why));
                return;
            }
            match instruction.op {
                Op::Ret => {
                    if self.routines.list[routine].left.is_none() {
                        self.returns(routine, heights.height);
                    }
                    return;
                }
                Op::Jmp => at = operand,
                Op::Jz | Op::Jnz => {
                    if is_target(self.image, operand) {
                        self.work.push((routine, operand, heights));
                    }
                    at = next;
                }
                _ => at = next,
            }
        }
    }

    /// Goes behind a call.
    fn goes_on(&mut self, routine: usize, next: u32, left: i32, heights: &mut Heights) -> bool {
        let routine = &mut self.routines.list[routine];
        let followed = heights.after_call(left, &mut routine.reach);
        if let Err(why) = followed {
            routine.why.get_or_insert((next, why));
        }
        followed.is_ok()
    }

    /// It is known now how a routine returns.
    fn returns(&mut self, routine: usize, left: i32) {
        self.routines.list[routine].left = Some(left);
        for (caller, next, mut heights) in self.waiting.remove(&routine).unwrap_or_default() {
            if self.goes_on(caller, next, left, &mut heights) {
                self.work.push((caller, next, heights));
            }
        }
    }
}
