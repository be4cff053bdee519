//! What instructions do to heights: the part of direct code that is known before any of it is made.
//!
//! Cells are named by their distance from a base: the height of the stack where a tree is entered, or, behind a LEAVE of a
//! frame that was there before, that frame.

use std::fmt;

use crate::opcode::{Instruction, Op};

/// What distances count from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// The height at the tree's root.
    Entry,
    /// The frame pointer there.
    Frame,
}

/// What is known of the frame pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// It is what it was at the root.
    Entry,
    /// ENTER set it to this distance from the base.
    At(i32),
    /// LEAVE took it from the stack.
    Taken,
}

/// What a tree asks for at its root, so that nothing in it need look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// Most instructions on a path.
    pub count: u16,
    /// The lowest cell that is used, from the entry's height: 0 or less.
    pub low: i32,
    /// The greatest height.
    pub high: i32,
    /// Cells below the frame pointer that must be there, if the frame is used.
    pub below_frame: Option<i32>,
    /// The highest cell that is reached from the frame pointer.
    pub above_frame: i32,
    /// The greatest height from the frame pointer, behind LEAVE.
    pub high_frame: i32,
    /// Whether the frame pointer is saved, and so must be one that a frame can have.
    pub saves_frame: bool,
}

impl Needs {
    fn frame(&mut self, below: i32, above: i32) {
        self.below_frame = Some(self.below_frame.unwrap_or(0).max(below));
        self.above_frame = self.above_frame.max(above);
    }

    /// Takes in what another path needs.
    pub fn join(&mut self, other: &Needs) {
        self.count = self.count.max(other.count);
        self.low = self.low.min(other.low);
        self.high = self.high.max(other.high);
        if let Some(below) = other.below_frame {
            self.frame(below, other.above_frame);
        }
        self.high_frame = self.high_frame.max(other.high_frame);
        self.saves_frame |= other.saves_frame;
    }
}

/// Why an instruction has no direct code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It ends the process, asks the host, or touches what all processes share.
    Shared(Op),
    /// It always fails.
    Fault(&'static str),
    /// Its frame is one that LEAVE took from the stack.
    FrameTaken,
    /// A frame that was entered in the same tree was changed.
    FrameChanged,
    /// It takes, reads or writes over a return address otherwise than RET does.
    ReturnAddress,
    /// It reaches too many cells below or above where its routine was entered.
    TooFar,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Shared(Op::Syscall) => f.write_str("a system call"),
            Why::Shared(Op::Halt) => f.write_str("ends the process"),
            Why::Shared(Op::Break) => f.write_str("writes to the debug log"),
            Why::Shared(_) => f.write_str("touches memory that all processes share"),
            Why::Fault(name) => write!(f, "always ends the process with {name}"),
            Why::FrameTaken => f.write_str("the frame pointer was taken from the stack just before"),
            Why::FrameChanged => f.write_str("the saved frame pointer was written over"),
            Why::ReturnAddress => f.write_str("takes the return address for something else"),
            Why::TooFar => f.write_str("reaches too far from its routine's cells"),
        }
    }
}

/// Heights along a path.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub base: Base,
    /// Height of the stack from the base.
    pub height: i32,
    pub frame: Frame,
    /// Frames that ENTER left, to which LEAVE goes back: distance of the cell, and what was before.
    pub entered: Vec<(i32, Frame)>,
    pub needs: Needs,
}

impl Shape {
    pub fn new() -> Shape {
        Shape {
            base: Base::Entry,
            height: 0,
            frame: Frame::Entry,
            entered: Vec::new(),
            needs: Needs::default(),
        }
    }

    /// Whether heights and frame are those of the root.
    pub fn is_as_entered(&self) -> bool {
        self.base == Base::Entry && self.height == 0 && self.frame == Frame::Entry && self.entered.is_empty()
    }

    fn reach_down(&mut self, cell: i32) {
        match self.base {
            Base::Entry => self.needs.low = self.needs.low.min(cell),
            Base::Frame => self.needs.frame(-cell, 0),
        }
    }

    fn reach_up(&mut self, height: i32) {
        match self.base {
            Base::Entry => self.needs.high = self.needs.high.max(height),
            Base::Frame => self.needs.high_frame = self.needs.high_frame.max(height),
        }
    }

    pub fn pop(&mut self, cells: i32) {
        self.height -= cells;
        self.reach_down(self.height);
    }

    pub fn push(&mut self, cells: i32) {
        self.height += cells;
        self.reach_up(self.height);
    }

    /// Behind a CALL of a routine that reaches so low from its entry, and whose callers' frame pointer it may save.
    pub fn enters(&mut self, low: i32) {
        self.reach_down(self.height + low.min(0));
        self.needs.saves_frame |= self.frame == Frame::Entry;
    }

    /// What an instruction of a frame's cell reaches: `index` from the frame pointer.
    fn frame_cell(&mut self, index: i32) -> Result<(), Why> {
        match self.frame {
            Frame::Taken => return Err(Why::FrameTaken),
            // Only where the base is the entry, or the frame would be taken.
            Frame::Entry => self.needs.frame((-index).max(0), index.max(0)),
            Frame::At(at) => self.reach_down((at + index).min(self.height)),
        }
        Ok(())
    }

    /// Follows an instruction that is no jump.
    ///
    /// # Errors
    /// If it has no direct code; the heights are then as before.
    pub fn step(&mut self, instruction: &Instruction) -> Result<(), Why> {
        let operand = instruction.operand as i32;
        match instruction.op {
            Op::Halt | Op::LoadAbs | Op::StoreAbs | Op::Syscall | Op::Break => {
                return Err(Why::Shared(instruction.op));
            }
            Op::Nop | Op::Jmp => {}
            Op::Push => self.push(1),
            Op::Pop => self.pop(1),
            Op::Dup => {
                self.pop(1);
                self.push(2);
            }
            Op::Swap => {
                self.pop(2);
                self.push(2);
            }
            Op::Add
            | Op::Sub
            | Op::Mul
            | Op::Div
            | Op::Mod
            | Op::Cmp
            | Op::Eq
            | Op::Neq
            | Op::Gt
            | Op::Lt
            | Op::And
            | Op::Or
            | Op::Xor
            | Op::Shl
            | Op::Shr
            | Op::Sar => {
                self.pop(2);
                self.push(1);
            }
            Op::Not | Op::LoadHeap => {
                self.pop(1);
                self.push(1);
            }
            Op::StoreHeap => self.pop(2),
            Op::Jz | Op::Jnz | Op::Ret | Op::Store => self.pop(1),
            Op::Call | Op::Load => self.push(1),
            Op::Enter => {
                if self.frame == Frame::Taken {
                    return Err(Why::FrameTaken);
                }
                self.needs.saves_frame |= self.frame == Frame::Entry;
                self.entered.push((self.height, self.frame));
                self.frame = Frame::At(self.height);
                self.push(1 + operand);
            }
            Op::Leave => match self.frame {
                Frame::Taken => return Err(Why::FrameTaken),
                Frame::Entry => {
                    self.needs.frame(0, 0);
                    self.base = Base::Frame;
                    self.height = 0;
                    self.frame = Frame::Taken;
                }
                Frame::At(at) if self.height <= at => return Err(Why::Fault("bad_frame")),
                Frame::At(at) => match self.entered.pop() {
                    Some((cell, before)) if cell == at => {
                        self.height = at;
                        self.frame = before;
                    }
                    _ => return Err(Why::FrameChanged),
                },
            },
            Op::LoadArg | Op::LoadRel => {
                let index = frame_index(instruction);
                if let Frame::At(at) = self.frame
                    && at + index >= self.height
                {
                    return Err(Why::Fault("bad_frame"));
                }
                self.frame_cell(index)?;
                self.push(1);
            }
            Op::StoreArg | Op::StoreRel => {
                let index = frame_index(instruction);
                self.frame_cell(index)?;
                if let Frame::At(at) = self.frame {
                    // A cell above the stack: without effect, but it must be there.
                    self.reach_up(at + index + 1);
                }
                self.pop(1);
            }
        }
        Ok(())
    }
}

/// The distance of the cell that LOAD_ARG and the like reach from the frame pointer.
pub(crate) fn frame_index(instruction: &Instruction) -> i32 {
    let operand = instruction.operand as i32;
    match instruction.op {
        Op::LoadArg | Op::StoreArg => -2 - operand,
        _ => 1 + operand,
    }
}
