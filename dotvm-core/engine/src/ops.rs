//! Where operations without an instruction of their own are done: those of one byte in `ext`, those of a page in a
//! file of their own.

use dotvm_arch::Word;
use dotvm_core::opcode::Op;

use crate::lanes;
use crate::machine::{Machine, Stop};
use crate::program::Operation;

/// Rows 0xC0 to 0xCF and lists.
#[inline(always)]
fn is_cell_op(op: Op) -> bool {
    matches!(op as u16, 0xC0..=0xCF) || matches!(op, Op::RList | Op::RUnlist)
}

impl<W: Word> Machine<'_, W> {
    /// Does an operation in place: words from `words[w]` on, references from `refs[r]` on.
    #[inline(always)]
    pub fn operation(&mut self, operation: Operation, w: usize, r: usize) -> Result<(), Stop> {
        let Operation { a, b, op } = operation;
        match op.page() {
            0 if (0xA3..0xB0).contains(&(op as u16)) => self.crypto(op, w, r, a),
            0 if (0xE1..=0xE7).contains(&(op as u16)) => self.task_op(op, w, r, [a, b.into()]),
            _ if is_cell_op(op) => self.cell_op(op, w, r, a),
            _ if matches!(op as u16, 0xD0..=0xDF) => self.integer_op(op, w, r, a),
            0 => self.ext(op, w, r, [a, b.into()]),
            0xF8 => {
                lanes::lanes(op, &mut self.words[w..], [a, b.into()], &self.lowered.constants);
                Ok(())
            }
            0xF9 if op < Op::ADot => self.task_op(op, w, r, [a, b.into()]),
            0xF9 => self.array_kernel(op, w, a),
            0xFA => self.memory_page(op, w, a),
            0xFB if (Op::RDparse..=Op::RDiter).contains(&op) => self.documents(op, w, r, a),
            0xFB => self.bytes_page(op, w, r, a),
            _ => unreachable!("{op:?} is of no page that has operations"),
        }
    }
}
