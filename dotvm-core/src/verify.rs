//! The verifier: a module in, a [`Verified`] module or the first thing wrong with it out.
//!
//! Each function is visited in two linear passes without a fix point: decoding, then a walk over its blocks that
//! tracks the height of both stacks. Afterwards no instruction can underflow or overflow a stack within its
//! frame, use a word as a reference, jump into an immediate, or name a table entry that is not there. Left for
//! run time: memory bounds, division by zero, kinds of references, gas, call depth, the signatures of indirect
//! calls, jump-map misses, and the heights of window functions, one check per block.

use std::collections::{HashMap, HashSet};
use std::fmt;

use dotvm_arch::W512;

use crate::capability::Capability;
use crate::decode::{self, Decoded, Inst, Scratch};
use crate::env::EnvField;
use crate::gas::{self, Class};
use crate::hash::HashAlg;
use crate::limits;
use crate::module::{Module, Signature};
use crate::opcode::{Effect, Facts, Flow, Imm, OPS, Op};

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

    /// The instructions of a function, decoded anew: a verified module keeps its code as bytes.
    pub fn decode(&self, function: u32) -> Decoded {
        let code = &self.module.functions[function as usize].code;
        decode::decode(code, self.module.width.bits(), &mut Scratch::default())
            .expect("verified code decodes")
    }
}

/// What the verifier found out about a function.
#[derive(Clone, Debug)]
pub struct VerifiedFunction {
    /// Number of its instructions.
    pub instructions: u32,
    /// Its blocks, ascending by start.
    pub blocks: Vec<Block>,
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

/// Checks a module and shows each function to `visit` as soon as it is verified, with its instructions, which are
/// not kept. `start` makes what `visit` works on. If a later function is refused, so is the module.
pub fn verify_with<S, E: From<VerifyError>>(
    module: Module,
    start: impl FnOnce(&Module) -> S,
    mut visit: impl FnMut(&mut S, &Module, u32, &Decoded, &VerifiedFunction) -> Result<(), E>,
) -> Result<(Verified, S), E> {
    check_tables(&module).map_err(|message| VerifyError { function: None, offset: None, message })?;
    let mut state = start(&module);
    let mut functions = Vec::with_capacity(module.functions.len());
    let mut scratch = Scratch::default();
    let mut buffers = Buffers::default();
    let costs = Costs::new(module.width.bits());
    let maps = maps_by_function(&module);
    for index in 0..module.functions.len() as u32 {
        let function = FunctionVerifier::new(&module, index, &costs, &mut scratch, &mut buffers)
            .and_then(|verifier| verifier.run(maps.get(&index).map_or(&[], Vec::as_slice)));
        let (code, function) = function.map_err(|error| VerifyError {
            function: Some((index, module.function_name(index))),
            offset: error.offset,
            message: error.message,
        })?;
        visit(&mut state, &module, index, &code, &function)?;
        buffers.code = code;
        functions.push(function);
    }
    Ok((Verified { module, functions }, state))
}

/// The jump maps of each window function.
fn maps_by_function(module: &Module) -> HashMap<u32, Vec<usize>> {
    let mut maps: HashMap<u32, Vec<usize>> = HashMap::new();
    for (index, map) in module.jump_maps.iter().enumerate() {
        maps.entry(map.function).or_default().push(index);
    }
    maps
}

/// Everything outside function code.
fn check_tables(module: &Module) -> Result<(), String> {
    let bits = module.width.bits();
    check_name("the module's name", &module.name)?;
    at_most("functions", module.functions.len(), limits::module::FUNCTIONS)?;
    for (what, len) in [
        ("signatures", module.signatures.len()),
        ("word constants", module.word_constants.len()),
        ("reference constants", module.ref_constants.len()),
        ("word globals", module.word_globals.len()),
        ("reference globals", module.ref_globals as usize),
        ("data segments", module.data.len()),
        ("tables", module.tables.len()),
        ("jump maps", module.jump_maps.len()),
        ("collections", module.collections.len()),
        ("exports", module.exports.len()),
    ] {
        at_most(what, len, limits::module::ENTRIES)?;
    }
    for (index, function) in module.functions.iter().enumerate() {
        if function.signature as usize >= module.signatures.len() {
            return Err(format!(
                "function {index} names signature {}, which does not exist",
                function.signature
            ));
        }
        if function.window > 0 && function.word_locals > 0 {
            return Err(format!("function {index} is a window function and cannot have word locals"));
        }
    }
    for (what, words) in [("word constant", &module.word_constants), ("word global", &module.word_globals)] {
        for (index, word) in words.iter().enumerate() {
            if word_bits(word) > bits {
                return Err(format!("{what} {index} does not fit {bits} bits"));
            }
        }
    }
    if let Some(index) =
        module.ref_constants.iter().position(|bytes| bytes.len() as u64 > limits::MAX_BYTES_LEN)
    {
        return Err(format!("reference constant {index} is longer than {} bytes", limits::MAX_BYTES_LEN));
    }
    check_memory(module)?;
    for (index, table) in module.tables.iter().enumerate() {
        at_most("table entries", table.len(), limits::module::ENTRIES)?;
        for function in table.iter().flatten() {
            if *function as usize >= module.functions.len() {
                return Err(format!("table {index} names function {function}, which does not exist"));
            }
        }
    }
    for (index, map) in module.jump_maps.iter().enumerate() {
        if module.functions.get(map.function as usize).is_none_or(|function| function.window == 0) {
            return Err(format!(
                "jump map {index} names function {}, which is no window function",
                map.function
            ));
        }
        if !map.entries.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(format!("jump map {index} is not in ascending order of addresses"));
        }
    }
    let mut collection_names = HashSet::new();
    for collection in &module.collections {
        check_name("a collection's name", &collection.name)?;
        if !collection_names.insert(&collection.name) {
            return Err(format!("collection `{}` is declared twice", collection.name));
        }
    }
    if !module.capabilities.is_sorted_by(|a, b| a < b) {
        return Err("the capabilities are not in ascending order, each once".to_owned());
    }
    for export in &module.exports {
        check_name("an export's name", &export.name)?;
        if export.function as usize >= module.functions.len() {
            return Err(format!(
                "export `{}` names function {}, which does not exist",
                export.name, export.function
            ));
        }
    }
    if !module.exports.is_sorted_by(|a, b| a.name < b.name) {
        return Err("the exports are not in ascending order of names, each once".to_owned());
    }
    if let Some(entry) = module.entry.filter(|entry| *entry as usize >= module.functions.len()) {
        return Err(format!("the entry is function {entry}, which does not exist"));
    }
    Ok(())
}

fn check_memory(module: &Module) -> Result<(), String> {
    let memory = &module.memory;
    if memory.min_pages > memory.max_pages {
        return Err(format!(
            "memory starts with {} pages but may have only {}",
            memory.min_pages, memory.max_pages
        ));
    }
    // 2^48 pages are all of 64-bit address space; in 32-bit modules an address reaches 2^16 pages.
    let page_limit = if module.width.bits() == 32 { 1 << 16 } else { 1 << 40 };
    if memory.max_pages > page_limit {
        return Err(format!(
            "memory may have {} pages, more than the {page_limit} an address reaches",
            memory.max_pages
        ));
    }
    let size = memory.min_pages * limits::PAGE_BYTES;
    let mut end = 0;
    let mut writable_before = false;
    for (index, segment) in module.data.iter().enumerate() {
        if segment.address < end {
            return Err(format!(
                "data segment {index} overlaps the one before it or is not in ascending order"
            ));
        }
        if segment.read_only && writable_before {
            return Err(format!("data segment {index} is read-only but stands behind a writable one"));
        }
        writable_before |= !segment.read_only;
        end = match segment.address.checked_add(segment.bytes.len() as u64) {
            Some(end) if end <= size => end,
            _ => {
                return Err(format!(
                    "data segment {index} ends beyond the {} pages memory starts with",
                    memory.min_pages
                ));
            }
        };
    }
    if !memory.heap_base.is_multiple_of(16) || memory.heap_base < end {
        return Err(format!(
            "the heap starts at {}, which is not a multiple of 16 behind all data",
            memory.heap_base
        ));
    }
    Ok(())
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > limits::module::NAME_BYTES || name.chars().any(char::is_control) {
        return Err(format!(
            "{what} {name:?} is not 1 to {} bytes of text without control characters",
            limits::module::NAME_BYTES
        ));
    }
    Ok(())
}

fn at_most(what: &str, len: usize, limit: usize) -> Result<(), String> {
    if len > limit { Err(format!("{len} {what} are more than the limit of {limit}")) } else { Ok(()) }
}

fn word_bits(word: &W512) -> u32 {
    word.bit_len() as u32
}

/// An error inside a function.
struct FunctionError {
    offset: Option<u32>,
    message: String,
}

const UNSEEN: u32 = u32::MAX;

/// Heights of the two stacks, locals not counted.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Heights {
    words: u32,
    refs: u32,
}

/// Memory that is reused from function to function.
#[derive(Default)]
struct Buffers {
    /// The instructions that start blocks.
    leaders: BitSet,
    /// Blocks to walk from.
    work: Vec<u32>,
    code: Decoded,
}

/// A set of small numbers that knows how many are below each.
#[derive(Default)]
struct BitSet {
    words: Vec<u64>,
    /// Number of members below each word.
    below: Vec<u32>,
    total: usize,
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

    /// Counts the members, for `rank` and `total`.
    fn count(&mut self) {
        let mut total = 0;
        self.below.clear();
        self.below.extend(self.words.iter().map(|word| {
            let below = total;
            total += word.count_ones();
            below
        }));
        self.total = total as usize;
    }

    fn total(&self) -> usize {
        self.total
    }

    /// Number of members below a number.
    #[inline]
    fn rank(&self, number: usize) -> u32 {
        let word = self.words[number / 64] & ((1 << (number % 64)) - 1);
        self.below[number / 64] + word.count_ones()
    }

    /// The members, ascending.
    fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(index * 64 + bit)
            })
        })
    }
}

struct FunctionVerifier<'a> {
    module: &'a Module,
    costs: &'a Costs,
    /// For each kind of immediate a bound below which it is right without a closer look.
    surely_below: [u64; 32],
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
    granted: [bool; Capability::ALL.len()],
    /// Reference height with which the entries of a jump map were entered.
    entered_maps: HashMap<u64, u32>,
    index: u32,
}

impl<'a> FunctionVerifier<'a> {
    fn new(
        module: &'a Module,
        index: u32,
        costs: &'a Costs,
        scratch: &'a mut Scratch,
        buffers: &'a mut Buffers,
    ) -> Result<Self, FunctionError> {
        let function = &module.functions[index as usize];
        if function.code.len() > i32::MAX as usize {
            return Err(FunctionError { offset: None, message: "the code is longer than 2 GiB".to_owned() });
        }
        let mut code = std::mem::take(&mut buffers.code);
        decode::decode_into(&function.code, module.width.bits(), scratch, &mut code)
            .map_err(|error| FunctionError { offset: Some(error.offset), message: error.kind.to_string() })?;
        let signature = module.signatures[function.signature as usize];
        let is_window = function.window > 0;
        let mut granted = [false; Capability::ALL.len()];
        for &capability in &module.capabilities {
            granted[capability as usize] = true;
        }
        let mut verifier = FunctionVerifier {
            borders: scratch.borders(),
            module,
            costs,
            surely_below: [u64::MAX; 32],
            code,
            blocks: Vec::new(),
            buffers,
            signature,
            word_locals: if is_window { 0 } else { signature.words_in as u32 + function.word_locals as u32 },
            ref_locals: signature.refs_in as u32 + function.ref_locals as u32,
            is_window,
            window: function.window as u32,
            max: Heights { words: 0, refs: 0 },
            granted,
            entered_maps: HashMap::new(),
            index,
        };
        for imm in Imm::ALL {
            verifier.surely_below[imm as usize] = verifier.surely_below(imm);
        }
        Ok(verifier)
    }

    /// Verifies the function, to which the jump maps with these indices belong.
    fn run(mut self, maps: &[usize]) -> Result<(Decoded, VerifiedFunction), FunctionError> {
        self.find_blocks()?;
        self.check_jump_maps(maps)?;
        self.enter_block(0, Heights { words: 0, refs: 0 }, 0)?;
        while let Some(block) = self.buffers.work.pop() {
            self.walk(block)?;
        }
        if let Some(block) = self.blocks.iter().find(|block| block.words == UNSEEN) {
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
            return Err(FunctionError { offset: None, message });
        }
        if self.is_window && (self.signature.words_in as u32) > self.window {
            let message = format!("the window of {} words does not hold the parameters", self.window);
            return Err(FunctionError { offset: None, message });
        }
        let instructions = self.code.insts.len() as u32;
        Ok((self.code, VerifiedFunction { instructions, blocks: self.blocks, frame_words, frame_refs }))
    }

    /// Entries of jump maps must be BLK instructions of their function.
    fn check_jump_maps(&self, maps: &[usize]) -> Result<(), FunctionError> {
        for &index in maps {
            for &(address, offset) in &self.module.jump_maps[index].entries {
                let inst = self.code.index_of(offset).map(|inst| self.code.insts[inst as usize]);
                if inst.is_none_or(|inst| inst.op != Op::Blk) {
                    let message =
                        format!("jump map {index} leads address {address} here, but this is no BLK");
                    return Err(FunctionError { offset: Some(offset), message });
                }
            }
        }
        Ok(())
    }

    fn error(&self, inst: &Inst, message: String) -> FunctionError {
        FunctionError { offset: Some(inst.offset), message }
    }

    /// Cuts the function into blocks.
    fn find_blocks(&mut self) -> Result<(), FunctionError> {
        let Buffers { leaders, work, .. } = &mut *self.buffers;
        work.clear();
        leaders.reset(self.code.insts.len() + 1);
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
        leaders.count();
        let count = self.code.insts.len();
        self.blocks.reserve_exact(leaders.total());
        self.blocks.extend(leaders.iter().filter(|&start| start < count).map(|start| Block {
            start: start as u32,
            words: UNSEEN,
            refs: UNSEEN,
            gas: 0,
        }));
        if self.is_window && self.code.insts[0].op != Op::Blk {
            return Err(self.error(&self.code.insts[0], "a window function starts with BLK".to_owned()));
        }
        Ok(())
    }

    /// What a block falls into is paid together with it.
    fn sum_gas(&mut self) -> Result<(), FunctionError> {
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
    fn too_much_gas(&self, last: usize) -> FunctionError {
        let message = format!("the straight-line code up to here costs more than {} gas", u32::MAX);
        self.error(&self.code.insts[last], message)
    }

    /// An edge to the block that starts at instruction `target`.
    fn enter_block(&mut self, target: u32, heights: Heights, from: usize) -> Result<(), FunctionError> {
        let inst = &self.code.insts[target as usize];
        let index = self.buffers.leaders.rank(target as usize);
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
            let message = format!(
                "the stacks hold {} words and {} references here, but {} and {} on another path to offset {}",
                words, heights.refs, block.words, block.refs, inst.offset
            );
            Err(self.error(&self.code.insts[from], message))
        }
    }

    /// A jump's edge to the block that starts at instruction `target`.
    fn jump_to(&mut self, target: u32, heights: Heights, from: usize) -> Result<(), FunctionError> {
        if self.is_window && self.code.insts[target as usize].op != Op::Blk {
            let message = "in a window function a jump can lead only to BLK".to_owned();
            return Err(self.error(&self.code.insts[from], message));
        }
        self.enter_block(target, heights, from)
    }

    /// Walks from a block to the end of its straight line: through the blocks it falls into for the first time.
    fn walk(&mut self, first_block: u32) -> Result<(), FunctionError> {
        let mut block = first_block as usize;
        let Block { start, words, refs, .. } = self.blocks[block];
        let mut heights = Heights { words, refs };
        let mut index = start as usize;
        let first = self.code.insts[index];
        // The lowest and the highest height since the BLK, which its immediates must state exactly.
        let mut lowest = words;
        let mut highest = words;
        let mut highest_refs = refs;
        loop {
            let end = self.blocks.get(block + 1).map_or(self.code.insts.len(), |next| next.start as usize);
            let mut gas = 0;
            for inst in &self.code.insts[index..end] {
                let facts = Facts::of(inst.op as u8);
                let is_plain = facts.is_plain && inst.prefix.is_none();
                let effect = if is_plain && !self.needs_a_closer_look(facts, inst) {
                    gas += self.costs.plain[inst.op as usize];
                    let [words_in, words_out, refs_in, refs_out] = facts.effect.map(u32::from);
                    Effect { words_in, words_out, refs_in, refs_out }
                } else {
                    gas += static_gas(self.module, inst, self.costs.bits);
                    self.look_closer(inst, heights)?
                };
                if heights.words < effect.words_in || heights.refs < effect.refs_in {
                    return Err(self.underflow(inst, effect, heights));
                }
                lowest = lowest.min(heights.words - effect.words_in);
                heights.words = heights.words - effect.words_in + effect.words_out;
                heights.refs = heights.refs - effect.refs_in + effect.refs_out;
                highest = highest.max(heights.words);
                highest_refs = highest_refs.max(heights.refs);
                // Plain instructions alone cannot bring a height near 2^32; the others are looked at each time.
                if !is_plain
                    && (highest > limits::module::FRAME_WORDS || highest_refs > limits::module::FRAME_REFS)
                {
                    return Err(self.overflow(inst));
                }
            }
            index = end;
            self.blocks[block].gas = u32::try_from(gas).map_err(|_| self.too_much_gas(end - 1))?;
            // Only the last instruction of a block goes elsewhere than to the next.
            let last = self.code.insts[end - 1];
            if highest > limits::module::FRAME_WORDS || highest_refs > limits::module::FRAME_REFS {
                return Err(self.overflow(&last));
            }
            let flow = last.op.flow();
            match flow {
                Flow::Next | Flow::NextBlock | Flow::Leave => {}
                Flow::Jump | Flow::Branch => self.jump_to(last.a as u32, heights, end - 1)?,
                Flow::Multi if last.op == Op::Jtab => {
                    for entry in 0..last.b as usize {
                        let target = self.code.targets[last.a as usize + entry];
                        self.jump_to(target, heights, end - 1)?;
                    }
                }
                Flow::Multi => self.enter_mapped_blocks(&last, heights, end - 1)?,
            }
            if matches!(flow, Flow::Jump | Flow::Multi | Flow::Leave) {
                break;
            }
            block += 1;
            let Some(next) = self.blocks.get_mut(block) else {
                return Err(self.error(&last, "the code ends without a jump, RET, HALT or TRAP".to_owned()));
            };
            if next.words != UNSEEN || self.code.insts[end].op == Op::Blk {
                self.enter_block(end as u32, heights, end - 1)?;
                break;
            }
            next.words = heights.words;
            next.refs = heights.refs;
        }
        self.max.words = self.max.words.max(highest);
        self.max.refs = self.max.refs.max(highest_refs);
        if first.op == Op::Blk && (lowest != 0 || highest - words != first.b) {
            let message = format!(
                "BLK states need {} and grow {}, but the block needs {} and grows by {}",
                first.a,
                first.b,
                words - lowest,
                highest - words
            );
            return Err(self.error(&first, message));
        }
        Ok(())
    }

    #[cold]
    fn overflow(&self, inst: &Inst) -> FunctionError {
        self.error(inst, format!("the stacks grow beyond the limit of {}", limits::module::FRAME_WORDS))
    }

    #[cold]
    fn underflow(&self, inst: &Inst, effect: Effect, heights: Heights) -> FunctionError {
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
    fn look_closer(&self, inst: &Inst, heights: Heights) -> Result<Effect, FunctionError> {
        let info = inst.op.info();
        self.check_immediates(inst)?;
        if let Some(capability) = info.capability.filter(|&capability| !self.granted[capability as usize]) {
            let message = format!(
                "{} needs the capability {}, which the module does not list",
                info.mnemonic,
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
    fn enter_mapped_blocks(
        &mut self,
        inst: &Inst,
        heights: Heights,
        from: usize,
    ) -> Result<(), FunctionError> {
        let map = &self.module.jump_maps[inst.a as usize];
        if map.function != self.index {
            return Err(self.error(inst, format!("jump map {} belongs to function {}", inst.a, map.function)));
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

    /// Whether an immediate may be wrong.
    #[inline(always)]
    fn needs_a_closer_look(&self, facts: &Facts, inst: &Inst) -> bool {
        let [first, second] = facts.imm_kinds;
        let below = |kind: u8| self.surely_below[kind as usize % 32];
        (inst.a >= below(first)) | (inst.b as u64 >= below(second))
    }

    /// A bound below which [`check_immediates`](Self::check_immediates) refuses no immediate of a kind.
    fn surely_below(&self, imm: Imm) -> u64 {
        match imm {
            Imm::Local => self.word_locals as u64,
            Imm::Global => self.module.word_globals.len() as u64,
            Imm::WordConst => self.module.word_constants.len() as u64,
            Imm::Func => self.module.functions.len() as u64,
            Imm::Count => limits::module::TOPICS + 1,
            Imm::Signed | Imm::Rel | Imm::Table => u64::MAX,
            // In 32-bit modules two operations with an offset do not exist.
            Imm::Offset if self.module.width.bits() >= 64 => u64::MAX,
            _ => 0,
        }
    }

    /// Checks the immediates that name table entries or depend on the width.
    fn check_immediates(&self, inst: &Inst) -> Result<(), FunctionError> {
        let info = inst.op.info();
        for (position, &imm) in info.imms.iter().enumerate() {
            let value = if position == 0 { inst.a } else { inst.b as u64 };
            let limit = match imm {
                Imm::Signed | Imm::Rel | Imm::Table | Imm::Count | Imm::Offset | Imm::Amount => continue,
                Imm::ScanFlags | Imm::TxFlags => continue,
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
                Imm::Hash => HashAlg::ALL.len(),
                Imm::Env => EnvField::ALL.len(),
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
            Op::Jmap if !self.is_window => {
                Err(self.error(inst, "JMAP stands only in window functions".to_owned()))
            }
            Op::Emit if inst.a > limits::module::TOPICS => {
                Err(self.error(inst, format!("an event has at most {} topics", limits::module::TOPICS)))
            }
            _ => Ok(()),
        }
    }

    /// Bit counts within the operating width, formats within the word.
    fn check_bits(&self, inst: &Inst) -> Result<(), FunctionError> {
        let bits = inst.prefix.map_or(self.module.width.bits(), |prefix| prefix.bits()) as u64;
        let fits = match inst.op {
            Op::Sext | Op::Zext => (1..=bits).contains(&inst.a),
            Op::Bextr | Op::Bins => inst.b >= 1 && inst.a + inst.b as u64 <= bits,
            Op::Loadx => (8u64 << (inst.a & 7)) <= bits && inst.a & 7 <= 6,
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
    fn effect(&self, inst: &Inst) -> Result<Effect, FunctionError> {
        let n = inst.a as u32;
        let words = |words_in, words_out| Effect { words_in, words_out, refs_in: 0, refs_out: 0 };
        let refs = |refs_in, refs_out| Effect { words_in: 0, words_out: 0, refs_in, refs_out };
        let call = |signature: Signature| Effect {
            words_in: signature.words_in as u32,
            words_out: signature.words_out as u32,
            refs_in: signature.refs_in as u32,
            refs_out: signature.refs_out as u32,
        };
        let callee = || self.module.signatures[self.module.functions[inst.a as usize].signature as usize];
        Ok(match inst.op {
            Op::Dupn => words(n + 1, n + 2),
            Op::Swapn | Op::Rot => words(n + 1, n + 1),
            Op::Popn => words(n, 0),
            Op::Rdup => refs(n + 1, n + 2),
            Op::Rswap => refs(n + 1, n + 1),
            Op::Call => call(callee()),
            Op::Calli => {
                let effect = call(self.module.signatures[inst.a as usize]);
                Effect { words_in: effect.words_in + 1, ..effect }
            }
            Op::Tcall => {
                let callee = callee();
                if (callee.words_out, callee.refs_out) != (self.signature.words_out, self.signature.refs_out)
                {
                    let message = "the results of the tail call are not those of this function".to_owned();
                    return Err(self.error(inst, message));
                }
                Effect { words_out: 0, refs_out: 0, ..call(callee) }
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
            Op::Emit => Effect { words_in: n, words_out: 0, refs_in: 1, refs_out: 0 },
            op => {
                debug_assert!(false, "{op:?} states no effect");
                words(0, 0)
            }
        })
    }
}

/// The static gas of each plain operation at the module's width, by code.
struct Costs {
    bits: u32,
    plain: [u64; 256],
}

impl Costs {
    fn new(bits: u32) -> Costs {
        let mut plain = [0; 256];
        for info in OPS {
            plain[info.code as usize] = info.gas.static_cost(operating_bits(info.op, 0, bits));
        }
        Costs { bits, plain }
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
fn static_gas(module: &Module, inst: &Inst, bits: u32) -> u64 {
    let bits = inst.prefix.map_or(bits, |prefix| prefix.bits());
    let class = inst.op.info().gas;
    let cost = class.static_cost(operating_bits(inst.op, inst.a, bits));
    if class != Class::Call {
        return cost;
    }
    // A function that does not exist is refused later, in the walk.
    cost + module.functions.get(inst.a as usize).map_or(0, |callee| gas::locals(callee.word_locals as u32))
}
