//! What instructions of a routine do to its cells: where its return address and saved frame pointers lie.
//!
//! Cells are named by their distance from the height at which the routine is entered, when its return address is on top: that
//! is cell -1, and its first argument cell -2.

use crate::opcode::{Instruction, Op};
use crate::shape::{Why, frame_index};

/// Most frames that a routine enters one inside of the other.
const MAX_ENTERED: usize = 4;
/// How far below its entry, and above, a routine's cells are followed.
const LOWEST: i32 = -64;
const HIGHEST: i32 = 600;
/// Cells below the entry that are passed in word locals: cell -1 first.
pub(crate) const PASSED: i32 = 6;

/// Cells with saved frame pointers, those entered last behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entered {
    cells: [i32; MAX_ENTERED],
    len: usize,
}

impl Entered {
    pub fn cells(&self) -> &[i32] {
        &self.cells[..self.len]
    }

    fn push(&mut self, cell: i32) -> Result<(), Why> {
        let free = self.cells.get_mut(self.len).ok_or(Why::TooFar)?;
        *free = cell;
        self.len += 1;
        Ok(())
    }

    fn pop(&mut self) -> Option<i32> {
        self.len = self.len.checked_sub(1)?;
        // What is not used stays 0, so that equal lists are equal.
        Some(std::mem::take(&mut self.cells[self.len]))
    }
}

/// What is known before an instruction of a routine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heights {
    /// Height of the stack.
    pub height: i32,
    /// The cell with the return address.
    pub link: i32,
    /// The cells with the frame pointers that ENTER saved; the last is that of the frame.
    pub entered: Entered,
}

/// What a routine does to cells below its entry, and how high it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    /// The lowest cell it reads or writes.
    pub low: i32,
    /// The greatest height.
    pub high: i32,
    /// Passed cells that it reads or writes, and those that it writes, cell -1 in the lowest bit.
    pub touched: u32,
    pub written: u32,
}

impl Reach {
    fn touch(&mut self, cell: i32, is_write: bool) {
        self.low = self.low.min(cell);
        if (-PASSED..0).contains(&cell) {
            self.touched |= bit(cell);
            if is_write {
                self.written |= bit(cell);
            }
        }
    }
}

/// The bit of a passed cell.
pub(crate) fn bit(cell: i32) -> u32 {
    1 << (-1 - cell)
}

impl Heights {
    /// At a routine's entry.
    pub fn new() -> Heights {
        Heights { height: 0, link: -1, entered: Entered::default() }
    }

    fn is_special(&self, cell: i32) -> bool {
        cell == self.link || self.entered.cells().contains(&cell)
    }

    fn ordinary(&self, cell: i32) -> Result<(), Why> {
        if cell == self.link {
            Err(Why::ReturnAddress)
        } else if self.entered.cells().contains(&cell) {
            Err(Why::FrameChanged)
        } else {
            Ok(())
        }
    }

    fn pop(&mut self, cells: i32, reach: &mut Reach) -> Result<(), Why> {
        for _ in 0..cells {
            self.ordinary(self.height - 1)?;
            self.height -= 1;
            reach.touch(self.height, false);
        }
        if self.height < LOWEST { Err(Why::TooFar) } else { Ok(()) }
    }

    fn push(&mut self, cells: i32, reach: &mut Reach) -> Result<(), Why> {
        for cell in self.height..(self.height + cells).min(0) {
            reach.touch(cell, true);
        }
        self.height += cells;
        reach.high = reach.high.max(self.height);
        if self.height > HIGHEST { Err(Why::TooFar) } else { Ok(()) }
    }

    /// Where a routine that is called here is entered.
    pub fn callee(&self) -> i32 {
        self.height + 1
    }

    /// Whether a routine that reaches so far may be called here: it is given cells of this one only, and none that is
    /// special.
    pub fn admits(&self, callee: &Reach) -> bool {
        let lowest = self.callee() + callee.low;
        (callee.low == 0 || lowest >= 0) && !(lowest..self.height).any(|cell| self.is_special(cell))
    }

    /// Behind a call of a routine that leaves the stack at `left` from where it was entered.
    ///
    /// # Errors
    /// If cells are gone that this routine needs.
    pub fn after_call(&mut self, left: i32, reach: &mut Reach) -> Result<(), Why> {
        let entry = self.callee();
        reach.high = reach.high.max(entry);
        self.height = entry + left;
        reach.high = reach.high.max(self.height);
        let is_gone = |cell: &i32| *cell >= self.height;
        if is_gone(&self.link) || self.entered.cells().iter().any(is_gone) || self.height > HIGHEST {
            return Err(Why::ReturnAddress);
        }
        Ok(())
    }

    /// Follows an instruction that is no call; behind RET is the height that it leaves.
    ///
    /// # Errors
    /// If it does what is not followed.
    pub fn step(&mut self, instruction: &Instruction, reach: &mut Reach) -> Result<(), Why> {
        let operand = instruction.operand as i32;
        match instruction.op {
            Op::Halt | Op::LoadAbs | Op::StoreAbs | Op::Syscall | Op::Break | Op::Call => {
                return Err(Why::Shared(instruction.op));
            }
            Op::Nop | Op::Jmp => {}
            Op::Push | Op::Load => self.push(1, reach)?,
            Op::Pop | Op::Jz | Op::Jnz | Op::Store => self.pop(1, reach)?,
            Op::Dup => {
                self.pop(1, reach)?;
                self.push(2, reach)?;
            }
            Op::Swap => {
                let (low, high) = (self.height - 2, self.height - 1);
                if self.entered.cells().iter().any(|cell| *cell == low || *cell == high) {
                    return Err(Why::FrameChanged);
                }
                for cell in [low, high] {
                    if cell < 0 {
                        reach.touch(cell, true);
                    }
                }
                if self.link == low {
                    self.link = high;
                } else if self.link == high {
                    self.link = low;
                }
                if low < LOWEST {
                    return Err(Why::TooFar);
                }
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
                self.pop(2, reach)?;
                self.push(1, reach)?;
            }
            Op::Not | Op::LoadHeap => {
                self.pop(1, reach)?;
                self.push(1, reach)?;
            }
            Op::StoreHeap => self.pop(2, reach)?,
            Op::Ret => {
                if self.link != self.height - 1 || !self.entered.cells().is_empty() {
                    return Err(Why::ReturnAddress);
                }
                self.height -= 1;
            }
            Op::Enter => {
                self.entered.push(self.height)?;
                self.push(1 + operand, reach)?;
            }
            Op::Leave => {
                let Some(at) = self.entered.pop() else { return Err(Why::FrameTaken) };
                if self.link > at {
                    return Err(Why::ReturnAddress);
                }
                self.height = at;
            }
            Op::LoadArg | Op::LoadRel => {
                let cell = self.frame_cell(instruction)?;
                if cell >= self.height {
                    return Err(Why::Fault("bad_frame"));
                }
                self.ordinary(cell)?;
                reach.touch(cell.min(0), false);
                self.push(1, reach)?;
            }
            Op::StoreArg | Op::StoreRel => {
                let cell = self.frame_cell(instruction)?;
                self.pop(1, reach)?;
                if cell < self.height {
                    self.ordinary(cell)?;
                    reach.touch(cell.min(0), true);
                }
                reach.high = reach.high.max(cell + 1);
            }
        }
        Ok(())
    }

    /// The cell that LOAD_ARG and the like reach.
    fn frame_cell(&self, instruction: &Instruction) -> Result<i32, Why> {
        let Some(at) = self.entered.cells().last() else { return Err(Why::FrameTaken) };
        let cell = at + frame_index(instruction);
        if (LOWEST..HIGHEST).contains(&cell) { Ok(cell) } else { Err(Why::TooFar) }
    }
}
