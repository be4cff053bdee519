//! Handlers of traps: their ranges during the walk over a function.
//!
//! Ranges begin and end at borders of blocks. Entering a range is an edge to its handler, at the heights that the
//! handler keeps and one more of each stack. No instruction of the range takes a value from below what the handler keeps:
//! so whatever traps, those values are where they were when the range was entered.

use super::{Block, FunctionError, FunctionVerifier, Heights, Verifier, Walk};
use crate::decode::Decoded;
use crate::module::{Handler, Module};
use crate::verify::tables::check_tables;

/// The offsets of a handler that must be starts of instructions, and what they are.
pub(super) fn borders(handler: &Handler) -> [(u32, &'static str); 3] {
    [(handler.from, "range"), (handler.to, "range's end"), (handler.target, "code")]
}

/// The handlers of a function in the making.
pub(super) struct Ranges {
    handlers: Vec<Handler>,
    /// Where heights are found out instead of checked: the handlers whose heights are given.
    given: Option<Vec<bool>>,
    /// What the ranges around each block keep; empty while heights are found out.
    floors: Vec<Heights>,
}

impl Ranges {
    pub fn new(handlers: &[Handler]) -> Ranges {
        Ranges { handlers: handlers.to_vec(), given: None, floors: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.handlers.is_empty()
    }

    pub fn handlers(&self) -> &[Handler] {
        &self.handlers
    }

    /// Finds out what the ranges around each block keep. Ranges nest in few levels, so this takes linear time.
    pub fn set_floors(&mut self, code: &Decoded, blocks: &[Block]) {
        if self.handlers.is_empty() || self.given.is_some() {
            return;
        }
        self.floors = vec![Heights { words: 0, refs: 0 }; blocks.len()];
        let offset = |block: &Block| code.insts[block.start as usize].offset;
        for handler in &self.handlers {
            let first = blocks.partition_point(|block| offset(block) < handler.from);
            for (block, floor) in blocks.iter().zip(&mut self.floors).skip(first) {
                if offset(block) >= handler.to {
                    break;
                }
                floor.words = floor.words.max(handler.words.into());
                floor.refs = floor.refs.max(handler.refs.into());
            }
        }
    }
}

impl FunctionVerifier<'_> {
    /// Edges to the handlers of the ranges that start with a block.
    pub(super) fn enter_ranges(
        &mut self,
        block: usize,
        walk: &mut Walk,
        ranges: &mut Ranges,
    ) -> Result<(), Box<FunctionError>> {
        (walk.lowest, walk.lowest_refs) = (walk.heights.words, walk.heights.refs);
        let start = self.blocks[block].start as usize;
        let offset = self.code.insts[start].offset;
        let first = ranges.handlers.partition_point(|handler| handler.from < offset);
        for index in first..ranges.handlers.len() {
            let handler = &mut ranges.handlers[index];
            if handler.from != offset {
                break;
            }
            if ranges.given.as_ref().is_some_and(|given| !given[index]) {
                handler.words = u16::try_from(walk.heights.words).unwrap_or(u16::MAX);
                handler.refs = u16::try_from(walk.heights.refs).unwrap_or(u16::MAX);
            }
            let heights = Heights { words: u32::from(handler.words) + 1, refs: u32::from(handler.refs) + 1 };
            let target = self.code.index_of(handler.target);
            let target = target.expect("the borders of handlers were looked up when blocks were found");
            self.enter_block(target, heights, start)?;
        }
        self.check_floor(block, walk, ranges, start)
    }

    /// Whether nothing was taken from below what the ranges around a block keep.
    pub(super) fn check_floor(
        &self,
        block: usize,
        walk: &Walk,
        ranges: &Ranges,
        inst: usize,
    ) -> Result<(), Box<FunctionError>> {
        let Some(floor) = ranges.floors.get(block) else { return Ok(()) };
        if walk.lowest >= floor.words && walk.lowest_refs >= floor.refs {
            return Ok(());
        }
        let message = format!(
            "the code up to here leaves {} words and {} references untouched, but a handler around it keeps {} and {}",
            walk.lowest, walk.lowest_refs, floor.words, floor.refs
        );
        Err(self.error(&self.code.insts[inst], message))
    }
}

/// The handlers of a function with the heights that the stacks have where the ranges begin, except where `given` says
/// that a handler's own heights count. What the code's errors keep from being found out stays as it was.
pub fn derive_heights(module: &Module, function: u32, given: &[bool]) -> Vec<Handler> {
    let handlers = module.handlers_of(function);
    let mut ranges = Ranges::new(handlers);
    if given.len() == handlers.len() && check_tables(module).is_ok() {
        ranges.given = Some(given.to_vec());
        // The verifier refuses the function again, with a sentence.
        let _ = Verifier::new(module).function_with(function, &mut ranges);
    }
    ranges.handlers
}
