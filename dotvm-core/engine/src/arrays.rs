//! Page A: kernels over arrays in memory.

use std::ops::Range;

use dotvm_arch::{Lane, Word};
use dotvm_core::gas;
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;
use dotvm_simd::kernels::{self, How, Sizes};

use crate::guard::Access;
use crate::machine::{Machine, Stop};

const BOUNDS: Stop = Stop::trap(TrapKind::Bounds);

/// Bytes of so many elements in each of so many rows.
fn bytes<W: Word>(rows: W, columns: W, lane: Lane) -> Result<u64, Stop> {
    if rows.is_zero() || columns.is_zero() {
        return Ok(0);
    }
    let elements =
        rows.try_u64().zip(columns.try_u64()).and_then(|(rows, columns)| rows.checked_mul(columns));
    elements.and_then(|elements| elements.checked_mul(u64::from(lane.bits() / 8))).ok_or_else(|| BOUNDS)
}

fn no_memory(range: &Range<usize>) -> Stop {
    Stop::Machine(format!("The machine has no memory for a copy of {} bytes.", range.len()).into_boxed_str())
}

impl<W: Word> Machine<'_, W> {
    /// Does a kernel of page A; `code` is its lane.
    #[inline(never)]
    pub fn array_kernel(&mut self, op: Op, w: usize, code: u64) -> Result<(), Stop> {
        let lane = Lane::from_code(code).expect("the verifier checked the lane");
        let one = W::from_u64(1);
        let operand = |machine: &Self, at: usize| machine.words[w + at];
        match op {
            Op::ADot => {
                let len = bytes(operand(self, 2), one, lane)?;
                let first = self.memory.array(operand(self, 0), len, Access::Read)?;
                let second = self.memory.array(operand(self, 1), len, Access::Read)?;
                self.gas.charge(gas::copy(2 * first.len() as u64))?;
                let bytes = self.memory.bytes();
                let sum = kernels::dot(How::best(), lane, &bytes[first], &bytes[second]);
                self.words[w] = if lane.is_float() { W::from_u64(sum) } else { W::from_i64(sum as i64) };
            }
            Op::AAxpy => {
                let len = bytes(operand(self, 3), one, lane)?;
                let from = self.memory.array(operand(self, 1), len, Access::Read)?;
                let to = self.memory.array(operand(self, 2), len, Access::Write)?;
                self.gas.charge(gas::copy(2 * from.len() as u64))?;
                let scalar = operand(self, 0).low_u64();
                kernels::axpy(How::best(), lane, scalar, self.memory.bytes_mut(), from.clone(), to)
                    .map_err(|_| no_memory(&from))?;
            }
            Op::AMatmul => {
                let [rows, columns, inner] = [3, 4, 5].map(|at| operand(self, at));
                let lens = [(rows, inner), (inner, columns), (rows, columns)]
                    .map(|(rows, columns)| bytes(rows, columns, lane));
                let [first_len, second_len, product_len] = lens;
                let (first_len, second_len, product_len) = (first_len?, second_len?, product_len?);
                let first = self.memory.array(operand(self, 0), first_len, Access::Read)?;
                let second = self.memory.array(operand(self, 1), second_len, Access::Read)?;
                let product = self.memory.array(operand(self, 2), product_len, Access::Write)?;
                let [rows, columns, inner] = [rows, columns, inner].map(|size| size.low_u64());
                let all = [&first, &second, &product].map(|range| range.len() as u64).iter().sum();
                let terms = rows.saturating_mul(columns).saturating_mul(inner);
                self.gas.charge(gas::matrices(all, terms, u64::from(lane.bits() / 8)))?;
                // Within memory, unless nothing is to be done.
                let sizes = Sizes { rows: rows as usize, columns: columns as usize, inner: inner as usize };
                let ranges = [first, second, product.clone()];
                kernels::matmul(How::best(), lane, self.memory.bytes_mut(), ranges, sizes)
                    .map_err(|_| no_memory(&product))?;
            }
            op => unreachable!("{op:?} is no kernel of page A"),
        }
        Ok(())
    }
}
