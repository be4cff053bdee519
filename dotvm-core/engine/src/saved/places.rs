//! Whether frames and a place to go on with can be those of a program.
//!
//! The interpreter trusts them: it reads and writes slots without looking (`registers` says why it may). So everything
//! that makes that true of a run is checked here of what was read.

use dotvm_arch::Word;
use dotvm_core::limits::Limits;
use dotvm_core::opcode::Op;

use crate::inst::Inst;
use crate::lower;
use crate::machine::{Frame, Next};
use crate::program::{Lowered, LoweredFunction, Program};

/// Frames, and where to go on.
pub(crate) struct Layout<'a> {
    /// The function that the run began with.
    pub function: u32,
    pub stands: Stands,
    pub next: Next,
    pub slots: usize,
    pub frames: &'a [Frame],
    pub ref_start: usize,
}

/// What a task is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stands {
    /// It runs, or goes on where control is transferred.
    Runs,
    /// A contract call is to be answered.
    Calls,
    /// It has given up its turn, and may wait for something.
    Parked,
}

/// How far the stacks reach.
pub(crate) struct Extent {
    pub words: usize,
    pub refs: usize,
    /// Where the answer goes that is waited for.
    pub answer_at: (usize, usize),
    /// The operation in front of the place, if that is what the task is in the middle of.
    pub after: Option<Op>,
}

type Problem = &'static str;

fn require(holds: bool, problem: Problem) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(problem) }
}

/// The function that an instruction belongs to.
fn function_at<W>(lowered: &Lowered<W>, inst: usize) -> Result<&LoweredFunction, Problem> {
    let first = lowered.functions.first().map_or(usize::MAX, |function| function.entry as usize);
    require((first..lowered.code.len() / 2).contains(&inst), "a place lies outside the code")?;
    Ok(&lowered.functions[lowered.function_at(inst)])
}

/// Checks a layout; answers how large the stacks are.
pub(crate) fn check<W: Word>(
    program: &Program,
    lowered: &Lowered<W>,
    layout: &Layout<'_>,
    limits: &Limits,
) -> Result<Extent, Problem> {
    let (is_entry, place) = match layout.next {
        Next::Enter(place) => (true, place),
        Next::Inst(place) => (false, place),
    };
    let Some(entry) = lowered.functions.get(layout.function as usize) else {
        return Err("the module has no such function");
    };
    let current = function_at(lowered, place)?;
    let after = check_place(program, lowered, place, is_entry, layout.stands)?;
    require(!layout.frames.is_empty(), "there are no frames")?;
    require(layout.frames.len() <= limits.call_depth as usize, "there are too many frames")?;
    let answer_at = match after {
        Some((_, w, r)) => (layout.slots + w as usize, layout.ref_start + r as usize),
        None => (0, 0),
    };
    let after_op = after.map(|(op, ..)| op);
    let mut extent = Extent { words: entry.words_out as usize, refs: 0, answer_at, after: after_op };
    let mut ref_start = layout.ref_start;
    // What is in the middle of an operation has the slots of that.
    let (mut function, mut at, mut slots) = (current, place - usize::from(after.is_some()), layout.slots);
    for (depth, frame) in layout.frames.iter().enumerate().rev() {
        require(frame.window == u32::from(function.window), "a frame is of another function")?;
        check_slots(lowered, function, frame, at, slots)?;
        let end = frame.start as usize + function.frame_words as usize;
        require(end <= limits.stack_words as usize, "the word stack is over its limit")?;
        extent.words = extent.words.max(end);
        if function.frame_refs > 0 {
            let end = ref_start + function.frame_refs as usize;
            require(end <= limits.stack_refs as usize, "the reference stack is over its limit")?;
            extent.refs = extent.refs.max(end);
        }
        if depth == 0 {
            let is_first = frame.return_to == 0
                && frame.caller_slots == 0
                && frame.caller_refs == 0
                && frame.start == 0
                && ref_start == 0;
            require(is_first, "the first frame is no first frame")?;
            let is_entry = (function.words_out, function.refs_out) == (entry.words_out, entry.refs_out);
            require(is_entry, "the first frame is of another function")?;
            break;
        }
        let call = (frame.return_to as usize).checked_sub(1).ok_or("a frame returns to nowhere")?;
        let caller = function_at(lowered, call)?;
        let (w, r, results) = match lowered.code[call] {
            Inst::Call { w, r, f } => {
                let callee = &lowered.functions[f as usize];
                (w, r, (callee.words_out, callee.refs_out))
            }
            Inst::CallIndirect { w, r, x } => {
                let [signature, _] = lowered.immediates[x as usize];
                let signature = program.verified().module().signatures[signature as usize];
                (w, r, (signature.words_out, signature.refs_out))
            }
            _ => return Err("a frame returns to where nothing was called"),
        };
        require(results == (function.words_out, function.refs_out), "a frame is of another function")?;
        let starts_at = frame.caller_slots as usize + w as usize;
        require(starts_at == frame.start as usize, "a frame starts elsewhere than its arguments")?;
        let refs_at = frame.caller_refs as usize + r as usize;
        require(refs_at == ref_start, "a frame's references start elsewhere than its arguments")?;
        ref_start = frame.caller_refs as usize;
        (function, at, slots) = (caller, frame.return_to as usize, frame.caller_slots as usize);
    }
    Ok(extent)
}

/// Whether the engine stops at this place; the operation in front of it that a task is in the middle of, with its slots.
fn check_place<W: Word>(
    program: &Program,
    lowered: &Lowered<W>,
    place: usize,
    is_entry: bool,
    stands: Stands,
) -> Result<Option<(Op, u16, u16)>, Problem> {
    const PROBLEM: Problem = "the engine does not stop at this place";
    if is_entry {
        require(stands != Stands::Calls, "nothing is called where control is transferred")?;
        let function = lowered.function_at(place);
        let body = program.verified().body(function as u32);
        let trace = lower::trace(program.verified(), lowered, function as u32, &body);
        let at = (place - lowered.functions[function].entry as usize) as u32;
        let is_one = trace.entries.binary_search_by_key(&at, |entry| entry.0).is_ok();
        return require(is_one, PROBLEM).map(|()| None);
    }
    if stands == Stands::Runs {
        let is_one = matches!(
            lowered.code[place],
            Inst::Ext { .. }
                | Inst::Int { .. }
                | Inst::Narrow { .. }
                | Inst::Float { .. }
                | Inst::Increment { .. }
                | Inst::RefEq { .. }
                | Inst::AxisOf { .. }
                | Inst::CallIndirect { .. }
        );
        return require(is_one, PROBLEM).map(|()| None);
    }
    let before = place.checked_sub(1).ok_or(PROBLEM)?;
    let Inst::Ext { w, r, x } = lowered.code[before] else { return Err(PROBLEM) };
    let op = lowered.operations[x as usize].op;
    let is_one = match stands {
        Stands::Calls => op == Op::Xcall,
        _ => matches!(op, Op::Yield | Op::Join | Op::Recv | Op::AWait),
    };
    let first = lowered.functions.first().map_or(usize::MAX, |function| function.entry as usize);
    let is_same = before >= first && lowered.function_at(place) == lowered.function_at(before);
    require(is_one && is_same, PROBLEM)?;
    Ok(Some((op, w, r)))
}

/// Whether a frame's slot 0 can be there when its function goes on at a place.
fn check_slots<W>(
    lowered: &Lowered<W>,
    function: &LoweredFunction,
    frame: &Frame,
    at: usize,
    slots: usize,
) -> Result<(), Problem> {
    const PROBLEM: Problem = "a frame's slots lie outside the frame";
    if function.window == 0 {
        return require(slots == frame.start as usize, PROBLEM);
    }
    let below = slots.checked_sub(frame.start as usize).ok_or(PROBLEM)?;
    // Slots are used as the last BLK has checked them; at one they are still to be.
    let code = &lowered.code[function.entry as usize..=at];
    let above = match code.split_last() {
        Some((Inst::Block { .. }, _)) | None => 0,
        Some((_, before)) => match before.iter().rfind(|inst| matches!(inst, Inst::Block { .. })) {
            Some(&Inst::Block { need, grow }) => need as usize + grow as usize,
            _ => return Err("a window function goes on before its first BLK"),
        },
    };
    require(below + above <= function.window as usize, PROBLEM)
}
