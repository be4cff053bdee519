//! A program's blocks: found by a walk from address 0 and from every number that the program may jump to.

use crate::class::{Class, Why, classify, is_checked};
use crate::machine::STACK_BASE;
use crate::track::Tracker;
use crate::word::{Instruction, Load};

/// Most instructions of a block.
const BLOCK_INSTRUCTIONS: u16 = 100;

/// How a block ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The next block begins behind it.
    Fall,
    /// With a jump, call or return by this service, its last instruction.
    Transfer(u8),
    /// Before an instruction of the general scheme.
    General(Why),
}

/// What is known of D.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing reaches it yet.
    Nothing,
    /// It is this number.
    Constant(u64),
    /// It is what it was at the block's start.
    Same,
    /// It may be anything.
    Anything,
}

/// A block: instructions that are carried out one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    /// Address of its first instruction.
    pub start: u32,
    /// Address behind its last one.
    pub end: u32,
    /// Number of instructions.
    pub count: u16,
    /// How it ends.
    pub ending: End,
    /// The lowest value of the stack pointer, relative to that at the start.
    pub low: i16,
    /// The highest.
    pub high: i16,
    /// The stack pointer at the end, relative to that at the start.
    pub delta: i16,
    /// Whether the result flags at its start are overwritten before anything may ask for them.
    pub sets_flags: bool,
    /// D at its start, by all paths that are known.
    pub d_in: Known,
    /// D at its end.
    pub d_out: Known,
}

impl Block {
    /// Where control goes at the end if D is known and the block jumps.
    pub fn target(&self) -> Option<u64> {
        let End::Transfer(0x84..=0x88) = self.ending else { return None };
        match (self.d_out, self.d_in) {
            (Known::Constant(target), _) | (Known::Same, Known::Constant(target)) => Some(target),
            _ => None,
        }
    }

    /// Whether control may also go to what lies behind it.
    pub fn falls(&self) -> bool {
        matches!(self.ending, End::Fall | End::Transfer(0x85..=0x87))
    }
}

/// What a walk finds.
pub(crate) struct Blocks {
    /// Ascending by start.
    pub list: Vec<Block>,
    /// One more than the block that starts at an address, 0 for none.
    index: Vec<u32>,
    /// Whether a number of the program is an address in the vector table, or just below: it may set handlers.
    pub names_vectors: bool,
}

impl Blocks {
    /// The number of the block that starts at an address.
    pub fn at(&self, address: u64) -> Option<usize> {
        let index = *self.index.get(usize::try_from(address).ok()?)?;
        (index as usize).checked_sub(1)
    }
}

/// Marks of an address.
const LEADER: u8 = 1;
const START: u8 = 2;

/// Finds the blocks of an image.
pub(crate) fn find(image: &[u8], services: bool) -> Blocks {
    let mut walk =
        Walk { image, services, marks: vec![0; image.len() + 1], work: Vec::new(), names_vectors: false };
    walk.lead(0);
    while let Some(start) = walk.work.pop() {
        walk.line(start);
    }
    let Walk { marks, names_vectors, .. } = walk;
    let mut blocks = Blocks { list: Vec::new(), index: vec![0; image.len() + 1], names_vectors };
    let mut summary = Summary::default();
    for start in 0..image.len() as u32 {
        if marks[start as usize] & LEADER != 0 {
            blocks.list.push(summary.block(image, services, &marks, start));
            blocks.index[start as usize] = blocks.list.len() as u32;
        }
    }
    follow_d(&mut blocks);
    blocks
}

struct Walk<'a> {
    image: &'a [u8],
    services: bool,
    marks: Vec<u8>,
    work: Vec<u32>,
    names_vectors: bool,
}

impl Walk<'_> {
    /// A block starts at this address, if it is in the image.
    fn lead(&mut self, address: u64) {
        if address >= self.image.len() as u64 {
            return;
        }
        let mark = &mut self.marks[address as usize];
        if *mark & LEADER == 0 {
            *mark |= LEADER;
            if *mark & START == 0 {
                self.work.push(address as u32);
            }
        }
    }

    /// Walks from an address to the end of the straight line, or to where an earlier walk went.
    fn line(&mut self, start: u32) {
        let mut at = start;
        let mut count = 0;
        loop {
            if at as usize >= self.image.len() {
                return;
            }
            let mark = &mut self.marks[at as usize];
            if *mark & START != 0 {
                *mark |= LEADER;
                return;
            }
            *mark |= START;
            if *mark & LEADER != 0 {
                count = 0;
            } else if count == BLOCK_INSTRUCTIONS {
                *mark |= LEADER;
                count = 0;
            }
            count += 1;
            let Some(instruction) = Instruction::decode(self.image, at) else { return };
            let word = instruction.word;
            if word.load() == Load::Immediate {
                let number = instruction.immediate;
                self.names_vectors |= (STACK_BASE - 7..STACK_BASE + 0x800).contains(&number);
                // Only numbers of eight bytes can be popped into D, or into a vector.
                if word.operation() == 0xD && word.size() == 8
                    || matches!(word.operation(), 0x0 | 0x5 | 0x8) && word.destination() == 7
                {
                    self.lead(number);
                }
            } else {
                self.names_vectors |= word.load() == Load::Register && word.source() == 9;
            }
            at = instruction.next();
            if let Class::Transfer(_) | Class::General(_) = classify(&instruction, self.services) {
                self.lead(at.into());
                return;
            }
        }
    }
}

/// Sums blocks up.
#[derive(Default)]
struct Summary {
    tracker: Tracker,
    /// For each instruction whether it sets the result flags, and whether its code may ask for those before it.
    effects: Vec<(bool, bool)>,
}

impl Summary {
    fn block(&mut self, image: &[u8], services: bool, marks: &[u8], start: u32) -> Block {
        // What D is at the start is not known yet; a register that keeps it is.
        self.tracker.start(None);
        self.effects.clear();
        let mut block = Block {
            start,
            end: start,
            count: 0,
            ending: End::Fall,
            low: 0,
            high: 0,
            delta: 0,
            sets_flags: false,
            d_in: Known::Nothing,
            d_out: Known::Same,
        };
        loop {
            if block.end as usize >= image.len() || block.count > 0 && marks[block.end as usize] & LEADER != 0
            {
                break;
            }
            let Some(instruction) = Instruction::decode(image, block.end) else {
                block.ending = End::General(Why::Truncated);
                break;
            };
            let class = classify(&instruction, services);
            if let Class::General(why) = class {
                block.ending = End::General(why);
                break;
            }
            self.tracker.apply(&instruction, class);
            self.effects.push((class == Class::Arithmetic, is_checked(&instruction, class)));
            if writes_d(&instruction, class) {
                block.d_out = self.tracker.constants[3].map_or(Known::Anything, Known::Constant);
            }
            block.low = block.low.min(self.tracker.delta as i16);
            block.high = block.high.max(self.tracker.delta as i16);
            block.count += 1;
            block.end = instruction.next();
            if let Class::Transfer(vector) = class {
                block.ending = End::Transfer(vector);
                break;
            }
        }
        block.delta = self.tracker.delta as i16;
        let first = self.effects.iter().find(|(sets, asks)| *sets || *asks);
        block.sets_flags = first.is_some_and(|(_, asks)| !*asks);
        block
    }
}

fn writes_d(instruction: &Instruction, class: Class) -> bool {
    matches!(class, Class::Arithmetic | Class::Pop) && instruction.word.destination() == 7
}

/// Finds what D is at the start of each block. Only paths that are known count: a block that is also entered from a
/// jump whose target is computed checks D there.
fn follow_d(blocks: &mut Blocks) {
    let mut work = Vec::new();
    if !blocks.list.is_empty() {
        meet(&mut blocks.list[0], 0, Known::Constant(0), &mut work);
        drain(blocks, &mut work);
    }
    for index in 0..blocks.list.len() {
        if blocks.list[index].d_in == Known::Nothing {
            meet(&mut blocks.list[index], index, Known::Anything, &mut work);
            drain(blocks, &mut work);
        }
    }
}

fn drain(blocks: &mut Blocks, work: &mut Vec<usize>) {
    while let Some(index) = work.pop() {
        let block = blocks.list[index];
        let out = if block.d_out == Known::Same { block.d_in } else { block.d_out };
        let behind = if block.falls() { blocks.at(block.end.into()) } else { None };
        let target = block.target().and_then(|target| blocks.at(target));
        for next in [behind, target].into_iter().flatten() {
            meet(&mut blocks.list[next], next, out, work);
        }
    }
}

fn meet(block: &mut Block, index: usize, d: Known, work: &mut Vec<usize>) {
    let met = match (block.d_in, d) {
        (Known::Nothing, d) => d,
        (Known::Constant(a), Known::Constant(b)) if a == b => return,
        (Known::Anything, _) => return,
        _ => Known::Anything,
    };
    block.d_in = met;
    work.push(index);
}
