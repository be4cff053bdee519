//! The verifier: a module in, a [`Verified`] module or the first thing wrong with it out.
//!
//! Each function is visited in two linear passes without a fix point: decoding, then a walk over its blocks that
//! tracks the height of both stacks. Afterwards no instruction can underflow or overflow a stack within its
//! frame, use a word as a reference, jump into an immediate, or name a table entry that is not there. Left for
//! run time: memory bounds, division by zero, kinds of references, gas, call depth, the signatures of indirect
//! calls, jump-map misses, and the heights of window functions, one check per block.

mod handlers;
mod rules;
mod tables;

use std::collections::HashMap;
use std::fmt;

use dotvm_arch::Lane;
use dotvm_arch::float::{Conversion, Rounding};

use crate::crypto::{AeadAlg, KdfAlg, MacAlg, SignatureAlg};
use crate::decode::{self, Decoded, Inst, Scratch};
use crate::env::EnvField;
use crate::hash::HashAlg;
use crate::integer::{IntegerFn, Narrowing};
use crate::limits;
use crate::module::{Function, Handler, Module, Signature};
use crate::opcode::{Effect, Flow, Imm, Op};
use crate::verify::handlers::Ranges;
pub use crate::verify::handlers::derive_heights;
use crate::verify::rules::{Rules, call_effect, spawn_effect, static_gas};
use crate::verify::tables::check_tables;

/// A module that has passed the verifier.
#[derive(Clone, Debug)]
pub struct Verified {
    module: Module,
    functions: Vec<VerifiedFunction>,
}

impl Verified {
    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// The functions, parallel to the module's.
    pub fn functions(&self) -> &[VerifiedFunction] {
        &self.functions
    }

    /// The signature of a function.
    pub fn signature(&self, function: u32) -> Signature {
        self.module.signature_of(function)
    }

    /// The instructions and blocks of a function, found anew: a verified module keeps its code as bytes.
    pub fn body(&self, function: u32) -> Body {
        self.bodies(function..=function).next().unwrap_or_default()
    }

    /// The same of several functions.
    pub fn bodies(&self, functions: impl IntoIterator<Item = u32>) -> impl Iterator<Item = Body> {
        let mut verifier = Verifier::new(&self.module);
        functions.into_iter().map(move |function| {
            verifier.function(function).expect("what was verified before is verified again");
            std::mem::take(&mut verifier.body)
        })
    }
}

impl Verified {
    /// Adds functions, which may call those that are there and one another, and reference globals. They have no handlers
    /// and are no window functions. Each is shown to `visit`, as by [`verify_with`].
    ///
    /// # Errors
    /// Nothing is added then.
    pub fn extend<S, E: From<VerifyError>>(
        &mut self,
        functions: Vec<Function>,
        ref_globals: u32,
        start: impl FnOnce(&Module) -> S,
        mut visit: impl FnMut(&mut S, &Module, u32, &Body, &VerifiedFunction) -> Result<(), E>,
    ) -> (S, Result<(), E>) {
        let (first, globals) = (self.module.functions.len(), self.module.ref_globals);
        let signatures = self.module.signatures.len();
        let too_many = first + functions.len() > limits::module::FUNCTIONS
            || globals as usize + ref_globals as usize > limits::module::ENTRIES;
        let is_wrong =
            functions.iter().any(|function| function.window > 0 || function.signature as usize >= signatures);
        self.module.functions.extend(functions);
        self.module.ref_globals = globals.saturating_add(ref_globals);
        let mut state = start(&self.module);
        let mut verify_all = || {
            if too_many || is_wrong {
                let message = if too_many {
                    "there are more functions or reference globals than a program may have"
                } else {
                    "a function that is added is a window function, or has a signature that is not there"
                };
                let error = VerifyError { function: None, offset: None, message: message.to_owned() };
                return Err(error.into());
            }
            let mut verifier = Verifier::new(&self.module);
            let mut verified = Vec::with_capacity(self.module.functions.len() - first);
            for index in first as u32..self.module.functions.len() as u32 {
                let function = verifier.function(index)?;
                visit(&mut state, &self.module, index, &verifier.body, &function)?;
                verified.push(function);
            }
            Ok(verified)
        };
        match verify_all() {
            Ok(verified) => {
                self.functions.extend(verified);
                (state, Ok(()))
            }
            Err(error) => {
                self.module.functions.truncate(first);
                self.module.ref_globals = globals;
                (state, Err(error))
            }
        }
    }
}

/// The code of a function as the verifier sees it.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// Its instructions.
    pub code: Decoded,
    /// Its blocks, ascending by start.
    pub blocks: Vec<Block>,
}

/// What the verifier found out about a function.
#[derive(Clone, Debug)]
pub struct VerifiedFunction {
    /// Number of its instructions.
    pub instructions: u32,
    /// Number of its blocks.
    pub blocks: u32,
    /// Words of its frame: parameters, locals and operand stack. For window functions, the window.
    pub frame_words: u32,
    /// References of its frame: parameters, locals and operand stack.
    pub frame_refs: u32,
}

/// A basic block: entered only at its start.
///
/// Gas is charged where control is transferred: entering a block by a jump, a call, a return, a branch (taken or
/// not) or behind an operation that reports gas costs everything up to the next such transfer. Falling into a
/// block costs nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Index of its first instruction.
    pub start: u32,
    /// Height of the word stack on entry, locals not counted. In window functions: relative, so that the lowest
    /// value used since the last BLK is at height 0.
    pub words: u32,
    /// Height of the reference stack on entry, locals not counted.
    pub refs: u32,
    /// Static gas of this block and of those it falls into, charged when control is transferred to it.
    pub gas: u32,
}

/// Why a module is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyError {
    /// Index and name of the function, if it is about one.
    pub function: Option<(u32, String)>,
    /// Byte offset of the instruction, if it is about one.
    pub offset: Option<u32>,
    /// What is wrong, as a part of a sentence.
    pub message: String,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.function, self.offset) {
            (Some((_, name)), Some(offset)) => {
                write!(f, "function {name}, offset {offset}: {}", self.message)
            }
            (Some((_, name)), None) => write!(f, "function {name}: {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for VerifyError {}

/// Checks a module.
pub fn verify(module: Module) -> Result<Verified, VerifyError> {
    verify_with(module, |_| (), |(), _, _, _, _| Ok(())).map(|(verified, ())| verified)
}

/// Checks a module and shows each function to `visit` as soon as it is verified, with its instructions and blocks,
/// which are not kept. `start` makes what `visit` works on. If a later function is refused, so is the module.
pub fn verify_with<S, E: From<VerifyError>>(
    module: Module,
    start: impl FnOnce(&Module) -> S,
    mut visit: impl FnMut(&mut S, &Module, u32, &Body, &VerifiedFunction) -> Result<(), E>,
) -> Result<(Verified, S), E> {
    check_tables(&module).map_err(|message| VerifyError { function: None, offset: None, message })?;
    let mut state = start(&module);
    let mut functions = Vec::with_capacity(module.functions.len());
    let mut verifier = Verifier::new(&module);
    for index in 0..module.functions.len() as u32 {
        let function = verifier.function(index)?;
        visit(&mut state, &module, index, &verifier.body, &function)?;
        functions.push(function);
    }
    Ok((Verified { module, functions }, state))
}

/// Verifies the functions of a module whose tables are right.
struct Verifier<'a> {
    module: &'a Module,
    rules: Rules,
    /// The jump maps of each window function.
    maps: HashMap<u32, Vec<usize>>,
    scratch: Scratch,
    buffers: Buffers,
    /// Of the function verified last.
    body: Body,
}

impl<'a> Verifier<'a> {
    fn new(module: &'a Module) -> Verifier<'a> {
        let mut maps: HashMap<u32, Vec<usize>> = HashMap::new();
        for (index, map) in module.jump_maps.iter().enumerate() {
            maps.entry(map.function).or_default().push(index);
        }
        Verifier {
            module,
            rules: Rules::new(module),
            maps,
            scratch: Scratch::default(),
            buffers: Buffers::default(),
            body: Body::default(),
        }
    }

    fn function(&mut self, index: u32) -> Result<VerifiedFunction, VerifyError> {
        let mut ranges = Ranges::new(self.module.handlers_of(index));
        self.function_with(index, &mut ranges)
    }

    fn function_with(&mut self, index: u32, ranges: &mut Ranges) -> Result<VerifiedFunction, VerifyError> {
        let body = std::mem::take(&mut self.body);
        let maps = self.maps.get(&index).map_or(&[][..], Vec::as_slice);
        let Verifier { module, rules, scratch, buffers, .. } = self;
        let (body, function) = FunctionVerifier::new(module, index, rules, scratch, buffers, body)
            .and_then(|verifier| verifier.run(maps, ranges))
            .map_err(|error| VerifyError {
                function: Some((index, self.module.function_name(index))),
                offset: error.offset,
                message: error.message,
            })?;
        self.body = body;
        Ok(function)
    }
}

/// An error inside a function.
struct FunctionError {
    offset: Option<u32>,
    message: String,
}

impl FunctionError {
    /// In a box, so that the many results that are no errors stay small.
    #[cold]
    fn new(offset: Option<u32>, message: String) -> Box<FunctionError> {
        Box::new(FunctionError { offset, message })
    }
}

const UNSEEN: u32 = u32::MAX;

/// Heights of the two stacks, locals not counted.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Heights {
    words: u32,
    refs: u32,
}

/// A walk along a straight line.
struct Walk {
    heights: Heights,
    /// The lowest and the highest height since the walk began.
    lowest: u32,
    lowest_refs: u32,
    highest: Heights,
    /// Static gas of the current block.
    gas: u64,
}

impl Walk {
    fn new(heights: Heights) -> Walk {
        let Heights { words, refs } = heights;
        Walk { heights, lowest: words, lowest_refs: refs, highest: heights, gas: 0 }
    }

    /// Takes and leaves what an instruction takes and leaves, which must be there.
    fn take(&mut self, effect: Effect) {
        self.heights.words -= effect.words_in;
        self.lowest = self.lowest.min(self.heights.words);
        self.heights.words += effect.words_out;
        self.heights.refs -= effect.refs_in;
        self.lowest_refs = self.lowest_refs.min(self.heights.refs);
        self.heights.refs += effect.refs_out;
        self.highest.words = self.highest.words.max(self.heights.words);
        self.highest.refs = self.highest.refs.max(self.heights.refs);
    }

    fn is_too_high(&self) -> bool {
        self.highest.words > limits::module::FRAME_WORDS || self.highest.refs > limits::module::FRAME_REFS
    }
}

/// Memory that is reused from function to function.
#[derive(Default)]
struct Buffers {
    /// The instructions that start blocks.
    leaders: BitSet,
    /// Number of the block at each instruction that starts one; elsewhere what earlier functions left.
    block_at: Vec<u32>,
    /// Blocks to walk from.
    work: Vec<u32>,
}

/// A set of small numbers.
#[derive(Default)]
struct BitSet {
    words: Vec<u64>,
}

impl BitSet {
    /// Empties the set, for numbers below `limit`.
    fn reset(&mut self, limit: usize) {
        self.words.clear();
        self.words.resize(limit.div_ceil(64), 0);
    }

    #[inline]
    fn set(&mut self, number: usize) {
        self.words[number / 64] |= 1 << (number % 64);
    }

    /// Calls a function with each member, ascending.
    #[inline]
    fn for_each(&self, mut act: impl FnMut(usize)) {
        for (index, &word) in self.words.iter().enumerate() {
            let mut left = word;
            while left != 0 {
                act(index * 64 + left.trailing_zeros() as usize);
                left &= left - 1;
            }
        }
    }
}

struct FunctionVerifier<'a> {
    module: &'a Module,
    rules: &'a Rules,
    code: Decoded,
    /// Indices of the instructions that end a block or start one themselves.
    borders: &'a [u32],
    blocks: Vec<Block>,
    buffers: &'a mut Buffers,
    signature: Signature,
    /// Word locals including parameters; 0 in window functions.
    word_locals: u32,
    /// Reference locals including parameters.
    ref_locals: u32,
    is_window: bool,
    window: u32,
    max: Heights,
    /// Number of blocks walked through.
    visited: usize,
    /// Reference height with which the entries of a jump map were entered.
    entered_maps: HashMap<u64, u32>,
    index: u32,
    code_len: usize,
}

impl<'a> FunctionVerifier<'a> {
    fn new(
        module: &'a Module,
        index: u32,
        rules: &'a mut Rules,
        scratch: &'a mut Scratch,
        buffers: &'a mut Buffers,
        body: Body,
    ) -> Result<Self, Box<FunctionError>> {
        let function = &module.functions[index as usize];
        if function.code.len() > i32::MAX as usize {
            return Err(FunctionError::new(None, "the code is longer than 2 GiB".to_owned()));
        }
        let Body { mut code, mut blocks } = body;
        blocks.clear();
        decode::decode_into(&function.code, module.width.bits(), scratch, &mut code)
            .map_err(|error| FunctionError::new(Some(error.offset), error.kind.to_string()))?;
        let signature = module.signatures[function.signature as usize];
        let is_window = function.window > 0;
        let word_locals = if is_window { 0 } else { signature.words_in as u32 + function.word_locals as u32 };
        rules.set_function(word_locals, !module.handlers_of(index).is_empty());
        Ok(FunctionVerifier {
            borders: scratch.borders(),
            module,
            rules,
            code,
            blocks,
            buffers,
            signature,
            word_locals,
            ref_locals: signature.refs_in as u32 + function.ref_locals as u32,
            is_window,
            window: function.window as u32,
            max: Heights { words: 0, refs: 0 },
            visited: 0,
            entered_maps: HashMap::new(),
            index,
            code_len: function.code.len(),
        })
    }

    /// Verifies the function, to which the jump maps with these indices belong.
    fn run(
        mut self,
        maps: &[usize],
        ranges: &mut Ranges,
    ) -> Result<(Body, VerifiedFunction), Box<FunctionError>> {
        self.find_blocks(ranges.handlers())?;
        ranges.set_floors(&self.code, &self.blocks);
        self.check_jump_maps(maps)?;
        self.enter_block(0, Heights { words: 0, refs: 0 }, 0)?;
        while let Some(block) = self.buffers.work.pop() {
            self.walk(block, ranges)?;
        }
        if self.visited < self.blocks.len()
            && let Some(block) = self.blocks.iter().find(|block| block.words == UNSEEN)
        {
            let inst = self.code.insts[block.start as usize];
            return Err(self.error(&inst, "no path leads to this instruction".to_owned()));
        }
        self.sum_gas()?;
        let frame_words = if self.is_window { self.window } else { self.word_locals + self.max.words };
        let frame_refs = self.ref_locals + self.max.refs;
        if frame_words > limits::module::FRAME_WORDS || frame_refs > limits::module::FRAME_REFS {
            let message = format!(
                "a frame of {frame_words} words and {frame_refs} references is larger than the limit of {}",
                limits::module::FRAME_WORDS
            );
            return Err(FunctionError::new(None, message));
        }
        if self.is_window && (self.signature.words_in as u32) > self.window {
            let message = format!("the window of {} words does not hold the parameters", self.window);
            return Err(FunctionError::new(None, message));
        }
        let instructions = self.code.insts.len() as u32;
        let blocks = self.blocks.len() as u32;
        let body = Body { code: self.code, blocks: self.blocks };
        Ok((body, VerifiedFunction { instructions, blocks, frame_words, frame_refs }))
    }

    /// Entries of jump maps must be BLK instructions of their function.
    fn check_jump_maps(&self, maps: &[usize]) -> Result<(), Box<FunctionError>> {
        for &index in maps {
            for &(address, offset) in &self.module.jump_maps[index].entries {
                let inst = self.code.index_of(offset).map(|inst| self.code.insts[inst as usize]);
                if inst.is_none_or(|inst| inst.op != Op::Blk) {
                    let message =
                        format!("jump map {index} leads address {address} here, but this is no BLK");
                    return Err(FunctionError::new(Some(offset), message));
                }
            }
        }
        Ok(())
    }

    fn error(&self, inst: &Inst, message: String) -> Box<FunctionError> {
        FunctionError::new(Some(inst.offset), message)
    }

    /// Cuts the function into blocks.
    fn find_blocks(&mut self, handlers: &[Handler]) -> Result<(), Box<FunctionError>> {
        let Buffers { leaders, block_at, work, .. } = &mut *self.buffers;
        let count = self.code.insts.len();
        work.clear();
        leaders.reset(count + 1);
        leaders.set(0);
        for &border in self.borders {
            let index = border as usize;
            let inst = &self.code.insts[index];
            if inst.op == Op::Blk {
                leaders.set(index);
                continue;
            }
            leaders.set(index + 1);
            match inst.op.flow() {
                Flow::Jump | Flow::Branch => leaders.set(inst.a as usize),
                Flow::Multi if inst.op == Op::Jtab => {
                    self.code.table(inst).iter().for_each(|&target| leaders.set(target as usize));
                }
                _ => {}
            }
        }
        for handler in handlers {
            for (border, (offset, what)) in handlers::borders(handler).into_iter().enumerate() {
                match self.code.index_of(offset) {
                    Some(index) => leaders.set(index as usize),
                    // Only a range may end where the code does.
                    None if border == 1 && offset as usize == self.code_len => {}
                    None => {
                        let message = format!("a handler's {what} is here, where no instruction starts");
                        return Err(FunctionError::new(Some(offset), message));
                    }
                }
            }
        }
        if block_at.len() <= count {
            block_at.resize(count + 1, 0);
        }
        let blocks = &mut self.blocks;
        leaders.for_each(|start| {
            block_at[start] = blocks.len() as u32;
            blocks.push(Block { start: start as u32, words: UNSEEN, refs: UNSEEN, gas: 0 });
        });
        // Behind the last instruction there is no block.
        blocks.pop_if(|block| block.start as usize == count);
        if self.is_window && self.code.insts[0].op != Op::Blk {
            return Err(self.error(&self.code.insts[0], "a window function starts with BLK".to_owned()));
        }
        Ok(())
    }

    /// What a block falls into is paid together with it.
    fn sum_gas(&mut self) -> Result<(), Box<FunctionError>> {
        for index in (1..self.blocks.len()).rev() {
            let next = self.blocks[index];
            let last = &self.code.insts[next.start as usize - 1];
            if last.op.flow() == Flow::Next {
                let sum = self.blocks[index - 1].gas.checked_add(next.gas);
                self.blocks[index - 1].gas = sum.ok_or_else(|| self.too_much_gas(next.start as usize - 1))?;
            }
        }
        Ok(())
    }

    #[cold]
    fn too_much_gas(&self, last: usize) -> Box<FunctionError> {
        let message = format!("the straight-line code up to here costs more than {} gas", u32::MAX);
        self.error(&self.code.insts[last], message)
    }

    /// An edge to the block that starts at instruction `target`.
    #[inline]
    fn enter_block(&mut self, target: u32, heights: Heights, from: usize) -> Result<(), Box<FunctionError>> {
        let inst = &self.code.insts[target as usize];
        let index = self.buffers.block_at[target as usize];
        let block = &mut self.blocks[index as usize];
        // In window functions the height at a BLK is checked when it runs; it starts its own count.
        let words = if inst.op == Op::Blk { inst.a as u32 } else { heights.words };
        if block.words == UNSEEN {
            block.words = words;
            block.refs = heights.refs;
            self.buffers.work.push(index);
            Ok(())
        } else if block.words == words && block.refs == heights.refs {
            Ok(())
        } else {
            Err(self.other_heights(index, Heights { words, ..heights }, from))
        }
    }

    #[cold]
    fn other_heights(&self, block: u32, heights: Heights, from: usize) -> Box<FunctionError> {
        let Block { start, words, refs, .. } = self.blocks[block as usize];
        let message = format!(
            "the stacks hold {} words and {} references here, but {words} and {refs} on another path to offset {}",
            heights.words, heights.refs, self.code.insts[start as usize].offset
        );
        self.error(&self.code.insts[from], message)
    }

    /// A jump's edge to the block that starts at instruction `target`.
    #[inline]
    fn jump_to(&mut self, target: u32, heights: Heights, from: usize) -> Result<(), Box<FunctionError>> {
        if self.is_window && self.code.insts[target as usize].op != Op::Blk {
            let message = "in a window function a jump can lead only to BLK".to_owned();
            return Err(self.error(&self.code.insts[from], message));
        }
        self.enter_block(target, heights, from)
    }

    /// Walks from a block to the end of its straight line: through the blocks it falls into for the first time.
    fn walk(&mut self, first_block: u32, ranges: &mut Ranges) -> Result<(), Box<FunctionError>> {
        let mut block = first_block as usize;
        let Block { start, words, refs, .. } = self.blocks[block];
        let mut index = start as usize;
        let mut walk = Walk::new(Heights { words, refs });
        loop {
            self.visited += 1;
            if !ranges.is_empty() {
                self.enter_ranges(block, &mut walk, ranges)?;
            }
            let end = self.blocks.get(block + 1).map_or(self.code.insts.len(), |next| next.start as usize);
            walk.gas = 0;
            loop {
                index += self.rules.walk_plain(&self.code.insts[index..end], &mut walk);
                if index == end {
                    break;
                }
                self.step(&self.code.insts[index], &mut walk)?;
                index += 1;
            }
            self.blocks[block].gas = u32::try_from(walk.gas).map_err(|_| self.too_much_gas(end - 1))?;
            if walk.is_too_high() {
                return Err(self.overflow(&self.code.insts[end - 1]));
            }
            if !ranges.is_empty() {
                self.check_floor(block, &walk, ranges, end - 1)?;
            }
            // Only the last instruction of a block goes elsewhere than to the next.
            let Inst { op, a, b, .. } = self.code.insts[end - 1];
            let heights = walk.heights;
            let flow = op.flow();
            match flow {
                Flow::Next | Flow::NextBlock | Flow::Leave => {}
                Flow::Jump | Flow::Branch => self.jump_to(a as u32, heights, end - 1)?,
                Flow::Multi if op == Op::Jtab => {
                    for entry in a as usize..a as usize + b as usize {
                        self.jump_to(self.code.targets[entry], heights, end - 1)?;
                    }
                }
                Flow::Multi => self.enter_mapped_blocks(heights, end - 1)?,
            }
            if matches!(flow, Flow::Jump | Flow::Multi | Flow::Leave) {
                break;
            }
            block += 1;
            let Some(next) = self.blocks.get_mut(block) else {
                let message = "the code ends without a jump, RET, HALT or TRAP".to_owned();
                return Err(self.error(&self.code.insts[end - 1], message));
            };
            if next.words != UNSEEN || self.code.insts[end].op == Op::Blk {
                self.enter_block(end as u32, heights, end - 1)?;
                break;
            }
            next.words = heights.words;
            next.refs = heights.refs;
        }
        self.max.words = self.max.words.max(walk.highest.words);
        self.max.refs = self.max.refs.max(walk.highest.refs);
        let first = &self.code.insts[start as usize];
        let growth = walk.highest.words - words;
        if first.op == Op::Blk && (walk.lowest != 0 || growth != first.b) {
            let message = format!(
                "BLK states need {} and grow {}, but the block needs {} and grows by {growth}",
                first.a,
                first.b,
                words - walk.lowest,
            );
            return Err(self.error(first, message));
        }
        Ok(())
    }

    /// Walks over an instruction of any kind.
    fn step(&self, inst: &Inst, walk: &mut Walk) -> Result<(), Box<FunctionError>> {
        let effect = match self.rules.callees.get(inst.a as usize) {
            Some(callee) if inst.op == Op::Call => {
                walk.gas += u64::from(callee.gas);
                call_effect(self.module.signatures[callee.signature as usize])
            }
            _ => {
                walk.gas += static_gas(self.module, inst, self.rules.bits);
                self.look_closer(inst, walk.heights)?
            }
        };
        if walk.heights.words < effect.words_in || walk.heights.refs < effect.refs_in {
            return Err(self.underflow(inst, effect, walk.heights));
        }
        if !self.is_window && matches!(inst.op, Op::Dup | Op::Dupn | Op::Rdup) {
            // What is only read stays untouched, also below what a handler keeps.
            let refs_out = effect.refs_out - effect.refs_in;
            let words_out = effect.words_out - effect.words_in;
            walk.take(Effect { words_in: 0, words_out, refs_in: 0, refs_out });
        } else {
            walk.take(effect);
        }
        if walk.is_too_high() { Err(self.overflow(inst)) } else { Ok(()) }
    }

    #[cold]
    fn overflow(&self, inst: &Inst) -> Box<FunctionError> {
        self.error(inst, format!("the stacks grow beyond the limit of {}", limits::module::FRAME_WORDS))
    }

    #[cold]
    fn underflow(&self, inst: &Inst, effect: Effect, heights: Heights) -> Box<FunctionError> {
        let message = format!(
            "{} takes {} words and {} references, but the stacks hold {} and {}",
            inst.op.mnemonic(),
            effect.words_in,
            effect.refs_in,
            heights.words,
            heights.refs
        );
        self.error(inst, message)
    }

    /// Checks what most instructions need no check for, and answers the instruction's effect.
    #[inline(never)]
    fn look_closer(&self, inst: &Inst, heights: Heights) -> Result<Effect, Box<FunctionError>> {
        let info = inst.op.info();
        self.check_immediates(inst)?;
        let capability = match inst.op {
            // Its index is checked.
            Op::Sys => self.module.host_calls[inst.a as usize].capability(),
            _ => info.capability,
        };
        if let Some(capability) = capability.filter(|&capability| !self.rules.granted[capability as usize]) {
            let message = format!(
                "{} needs the capability {}, which the module does not list",
                match inst.op {
                    Op::Sys => self.module.host_calls[inst.a as usize].name(),
                    _ => info.mnemonic,
                },
                capability.name()
            );
            return Err(self.error(inst, message));
        }
        if inst.op == Op::Blk && !self.is_window {
            return Err(self.error(inst, "BLK stands only in window functions".to_owned()));
        }
        let effect = match info.effect {
            Some(effect) => effect,
            None => self.effect(inst)?,
        };
        if inst.op == Op::Ret
            && (heights.refs != effect.refs_in
                || heights.words < effect.words_in
                || (heights.words != effect.words_in && !self.is_window))
        {
            let message = format!(
                "the function returns {} words and {} references, but the stacks hold {} and {}",
                effect.words_in, effect.refs_in, heights.words, heights.refs
            );
            return Err(self.error(inst, message));
        }
        Ok(effect)
    }

    /// Edges of JMAP: to every entry of its map.
    fn enter_mapped_blocks(&mut self, heights: Heights, from: usize) -> Result<(), Box<FunctionError>> {
        let inst = self.code.insts[from];
        let map = &self.module.jump_maps[inst.a as usize];
        if map.function != self.index {
            return Err(
                self.error(&inst, format!("jump map {} belongs to function {}", inst.a, map.function))
            );
        }
        // All entries were entered with one reference height; a later JMAP with the same has nothing to add.
        if self.entered_maps.insert(inst.a, heights.refs) == Some(heights.refs) {
            return Ok(());
        }
        for &(_, offset) in &map.entries {
            // Every map's entries were checked before the walk.
            if let Some(target) = self.code.index_of(offset) {
                self.enter_block(target, heights, from)?;
            }
        }
        Ok(())
    }

    /// Checks the immediates that name table entries or depend on the width.
    fn check_immediates(&self, inst: &Inst) -> Result<(), Box<FunctionError>> {
        let info = inst.op.info();
        for (position, &imm) in info.imms.iter().enumerate() {
            let value = if position == 0 { inst.a } else { inst.b as u64 };
            let limit = match imm {
                Imm::Signed | Imm::Rel | Imm::Table | Imm::Count | Imm::Offset | Imm::Amount => continue,
                Imm::ScanFlags | Imm::TxFlags | Imm::ByteCount | Imm::StringKind | Imm::CallFlags => continue,
                Imm::Axis if value == 0 => {
                    return Err(self.error(inst, format!("{} has no tree address 0", info.mnemonic)));
                }
                Imm::Axis | Imm::Signedness => continue,
                Imm::IntegerFn => IntegerFn::ALL.len(),
                Imm::Narrowing => Narrowing::ALL.len(),
                Imm::LaneIndex | Imm::LaneNarrowing | Imm::Widening | Imm::TaskKind => continue,
                Imm::Lane => {
                    self.check_lane(inst)?;
                    continue;
                }
                Imm::Local => self.word_locals as usize,
                Imm::RefLocal => self.ref_locals as usize,
                Imm::Global => self.module.word_globals.len(),
                Imm::RefGlobal => self.module.ref_globals as usize,
                Imm::WordConst => self.module.word_constants.len(),
                Imm::RefConst => self.module.ref_constants.len(),
                Imm::Func => self.module.functions.len(),
                Imm::Sig => self.module.signatures.len(),
                Imm::FuncTable => self.module.tables.len(),
                Imm::JumpMap => self.module.jump_maps.len(),
                Imm::Coll => self.module.collections.len(),
                Imm::Data => self.module.data.len(),
                Imm::HostCall => self.module.host_calls.len(),
                Imm::Hash => HashAlg::ALL.len(),
                Imm::Mac => MacAlg::ALL.len(),
                Imm::Kdf => KdfAlg::ALL.len(),
                Imm::Aead => AeadAlg::ALL.len(),
                Imm::Signature => SignatureAlg::ALL.len(),
                Imm::Env => EnvField::ALL.len(),
                Imm::Rounding => Rounding::ALL.len(),
                Imm::Conversion => Conversion::ALL.len(),
                Imm::Format | Imm::Bits => {
                    if position == 0 {
                        self.check_bits(inst)?;
                    }
                    continue;
                }
            };
            if value >= limit as u64 {
                let message =
                    format!("{} names {} {value}, but there are only {limit}", info.mnemonic, imm.name());
                return Err(self.error(inst, message));
            }
        }
        let bits = self.module.width.bits();
        match inst.op {
            Op::Fcvt | Op::VCvt => self.check_conversion(inst),
            Op::Recover if inst.a != SignatureAlg::Secp256k1 as u64 => {
                let name = SignatureAlg::from_code(inst.a).map_or("", SignatureAlg::name);
                Err(self.error(inst, format!("no public key can be recovered from a signature of {name}")))
            }
            Op::Load64 | Op::Store64 if bits < 64 => {
                Err(self.error(inst, format!("{} does not exist in a 32-bit module", info.mnemonic)))
            }
            Op::Hashw | Op::Hashm => {
                let digest_bits = HashAlg::from_code(inst.a).map_or(0, |alg| alg.digest_bytes() * 8);
                if digest_bits > bits {
                    let message =
                        format!("a digest of {digest_bits} bits does not fit a word of {bits} bits");
                    return Err(self.error(inst, message));
                }
                Ok(())
            }
            Op::Spawn => {
                let callee = self.module.signature_of(inst.b);
                if callee.words_out > 1 || callee.refs_out > 1 {
                    let message = "SPAWN begins functions with at most one word and one reference as results";
                    return Err(self.error(inst, message.to_owned()));
                }
                Ok(())
            }
            Op::Jmap if !self.is_window => {
                Err(self.error(inst, "JMAP stands only in window functions".to_owned()))
            }
            Op::Emit if inst.a > limits::module::TOPICS => {
                Err(self.error(inst, format!("an event has at most {} topics", limits::module::TOPICS)))
            }
            _ => Ok(()),
        }
    }

    /// The word holds what is converted, and a conversion between the formats says both already.
    fn check_conversion(&self, inst: &Inst) -> Result<(), Box<FunctionError>> {
        let Some(conversion) = Conversion::from_code(inst.a) else { return Ok(()) };
        let name = format!("{} {}", inst.op.mnemonic(), conversion.name());
        if inst.prefix.is_some() && conversion.is_between_formats() {
            return Err(self.error(inst, format!("{name} takes no width prefix")));
        }
        if inst.op == Op::VCvt && !conversion.has_lanes() {
            return Err(
                self.error(inst, format!("{name} does not exist: lanes do not trap, and none is a word"))
            );
        }
        if self.module.width.bits() < conversion.narrowest_word() {
            return Err(self.error(inst, format!("{name} does not exist in a 32-bit module")));
        }
        Ok(())
    }

    /// Lanes that the operation has and the word holds.
    fn check_lane(&self, inst: &Inst) -> Result<(), Box<FunctionError>> {
        let bits = self.module.width.bits();
        let lane = Lane::from_code(inst.a).filter(|&lane| inst.op.takes_lane(lane, bits));
        let Some(lane) = lane else {
            let name = Lane::from_code(inst.a).map_or("?", Lane::name);
            let message =
                format!("{} does not exist for lanes of {name} in words of {bits} bits", inst.op.mnemonic());
            return Err(self.error(inst, message));
        };
        let count = bits / lane.bits();
        if matches!(inst.op, Op::VExtract | Op::VReplace) && inst.b >= count {
            let message = format!("{} names lane {}, but there are only {count}", inst.op.mnemonic(), inst.b);
            return Err(self.error(inst, message));
        }
        Ok(())
    }

    /// Bit counts within the operating width, formats within the word.
    fn check_bits(&self, inst: &Inst) -> Result<(), Box<FunctionError>> {
        let bits = inst.prefix.map_or(self.module.width.bits(), |prefix| prefix.bits()) as u64;
        let fits = match inst.op {
            Op::Sext | Op::Zext => (1..=bits).contains(&inst.a),
            Op::Bextr | Op::Bins => inst.b >= 1 && inst.a + inst.b as u64 <= bits,
            Op::Loadx | Op::AWait => (8u64 << (inst.a & 7)) <= bits && inst.a & 7 <= 6,
            Op::Storex => (8u64 << (inst.a & 7)) <= bits && inst.a & 7 <= 6 && inst.a & 8 == 0,
            _ => true,
        };
        if fits {
            return Ok(());
        }
        let message =
            format!("an immediate of {} does not fit the operating width of {bits} bits", inst.op.mnemonic());
        Err(self.error(inst, message))
    }

    /// The effect of an operation whose row does not state one.
    fn effect(&self, inst: &Inst) -> Result<Effect, Box<FunctionError>> {
        let n = inst.a as u32;
        let words = |words_in, words_out| Effect { words_in, words_out, refs_in: 0, refs_out: 0 };
        let refs = |refs_in, refs_out| Effect { words_in: 0, words_out: 0, refs_in, refs_out };
        Ok(match inst.op {
            Op::Dupn => words(n + 1, n + 2),
            Op::Swapn | Op::Rot => words(n + 1, n + 1),
            Op::Popn => words(n, 0),
            Op::Rdup => refs(n + 1, n + 2),
            Op::Rswap => refs(n + 1, n + 1),
            // The verifier has refused what is no function.
            Op::Zfn => IntegerFn::from_code(inst.a).unwrap_or(IntegerFn::Gcd).effect(),
            Op::RList => refs(n, 1),
            Op::RUnlist => refs(1, n),
            Op::Call => call_effect(self.module.signature_of(inst.a as u32)),
            Op::Calli => {
                let effect = call_effect(self.module.signatures[inst.a as usize]);
                Effect { words_in: effect.words_in + 1, ..effect }
            }
            Op::Tcall => {
                let callee = self.module.signature_of(inst.a as u32);
                if (callee.words_out, callee.refs_out) != (self.signature.words_out, self.signature.refs_out)
                {
                    let message = "the results of the tail call are not those of this function".to_owned();
                    return Err(self.error(inst, message));
                }
                Effect { words_out: 0, refs_out: 0, ..call_effect(callee) }
            }
            Op::Tnock => {
                if (self.signature.words_out, self.signature.refs_out) != (0, 1) {
                    let message = "the result of TNOCK, a reference, is not that of this function".to_owned();
                    return Err(self.error(inst, message));
                }
                refs(2, 0)
            }
            Op::Ret => Effect {
                words_in: self.signature.words_out as u32,
                words_out: 0,
                refs_in: self.signature.refs_out as u32,
                refs_out: 0,
            },
            Op::Env => match EnvField::from_code(inst.a) {
                Some(field) if field.is_word() => words(0, 1),
                _ => refs(0, 1),
            },
            Op::Sys => self.module.host_calls[inst.a as usize].effect(),
            Op::Spawn => spawn_effect(self.module.signature_of(inst.b)),
            Op::Emit => Effect { words_in: n, words_out: 0, refs_in: 1, refs_out: 0 },
            op => {
                debug_assert!(false, "{op:?} states no effect");
                words(0, 0)
            }
        })
    }
}
