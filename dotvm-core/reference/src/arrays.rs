//! Page A: arrays in memory, element by element.

use std::ops::Range;

use dotvm_arch::Lane;
use dotvm_core::gas;
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;
use num_bigint::{BigInt, BigUint};
use num_traits::{ToPrimitive, Zero};

use crate::arithmetic::{signed, truncate, wrap};
use crate::float::{BINARY32, BINARY64, float};
use crate::machine::{Fault, Machine};

/// Elements of a block of a dot product.
const BLOCK: usize = 16_384;

/// The operation on floating-point numbers of a lane.
fn on_floats(op: Op, lane: Lane, operands: &[&BigUint]) -> BigUint {
    let format = if lane == Lane::F32 { BINARY32 } else { BINARY64 };
    let operands: Vec<BigUint> = operands.iter().copied().cloned().collect();
    float(op, format, lane.bits(), &operands, 0).expect("only conversions trap")
}

/// a · b + c, rounded once or modulo the lane's size.
fn fused(lane: Lane, a: &BigUint, b: &BigUint, c: &BigUint) -> BigUint {
    if lane.is_float() { on_floats(Op::Fma, lane, &[a, b, c]) } else { truncate(&(a * b + c), lane.bits()) }
}

/// The dot product of floating-point numbers, in the order that SEMANTICS.md gives.
fn float_dot(lane: Lane, first: &[BigUint], second: &[BigUint]) -> BigUint {
    let sums_of_block = if lane == Lane::F32 { 64 } else { 32 };
    let block = |(first, second): (&[BigUint], &[BigUint])| {
        let mut sums = vec![BigUint::zero(); sums_of_block];
        for (index, (a, b)) in first.iter().zip(second).enumerate() {
            let sum = index % sums_of_block;
            sums[sum] = fused(lane, a, b, &sums[sum]);
        }
        while sums.len() > 1 {
            let upper = sums.split_off(sums.len() / 2);
            sums =
                sums.iter().zip(&upper).map(|(low, high)| on_floats(Op::Fadd, lane, &[low, high])).collect();
        }
        sums.remove(0)
    };
    let blocks = first.chunks(BLOCK).zip(second.chunks(BLOCK)).map(block);
    blocks.reduce(|sum, next| on_floats(Op::Fadd, lane, &[&sum, &next])).unwrap_or_default()
}

impl Machine<'_> {
    fn elements(&self, lane: Lane, range: Range<usize>) -> Vec<BigUint> {
        let bytes = self.memory.slice(range);
        bytes.chunks(lane.bits() as usize / 8).map(BigUint::from_bytes_le).collect()
    }

    fn store_elements(&mut self, lane: Lane, range: Range<usize>, elements: &[BigUint]) {
        let size = lane.bits() as usize / 8;
        for (to, element) in self.memory.slice_mut(range).chunks_mut(size).zip(elements) {
            let mut bytes = element.to_bytes_le();
            bytes.resize(size, 0);
            to.copy_from_slice(&bytes);
        }
    }

    /// Bytes of so many elements, no more than any memory holds.
    fn array_bytes(&self, lane: Lane, elements: &BigUint) -> Result<u64, TrapKind> {
        (elements * (lane.bits() / 8)).to_u64().ok_or(TrapKind::Bounds)
    }

    /// A.DOT.
    pub fn dot_product(&mut self, lane: u64) -> Result<(), Fault> {
        let lane = Lane::from_code(lane).expect("the verifier checked the lane");
        let (count, second, first) = (self.pop(), self.pop(), self.pop());
        let len = self.array_bytes(lane, &count)?;
        let first = self.memory.range(&first, 0, len)?;
        let second = self.memory.range(&second, 0, len)?;
        self.charge(gas::copy(2 * len))?;
        let (first, second) = (self.elements(lane, first), self.elements(lane, second));
        let result = if lane.is_float() {
            float_dot(lane, &first, &second)
        } else {
            let integer = |element| signed(element, lane.bits());
            let sum: BigInt = first.iter().zip(&second).map(|(a, b)| integer(a) * integer(b)).sum();
            wrap(&signed(&wrap(&sum, 64), 64), self.bits)
        };
        self.push(result);
        Ok(())
    }

    /// A.AXPY.
    pub fn scaled_sum(&mut self, lane: u64) -> Result<(), Fault> {
        let lane = Lane::from_code(lane).expect("the verifier checked the lane");
        let (count, to, from, scalar) = (self.pop(), self.pop(), self.pop(), self.pop());
        let len = self.array_bytes(lane, &count)?;
        let from = self.memory.range(&from, 0, len)?;
        let to = self.memory.writable(&to, 0, len)?;
        self.charge(gas::copy(2 * len))?;
        let scalar = truncate(&scalar, lane.bits());
        let pairs = self.elements(lane, from).into_iter().zip(self.elements(lane, to.clone()));
        let results: Vec<BigUint> = pairs.map(|(x, y)| fused(lane, &scalar, &x, &y)).collect();
        self.store_elements(lane, to, &results);
        Ok(())
    }

    /// A.MATMUL.
    pub fn matrix_product(&mut self, lane: u64) -> Result<(), Fault> {
        let lane = Lane::from_code(lane).expect("the verifier checked the lane");
        let (inner, columns, rows) = (self.pop(), self.pop(), self.pop());
        let (to, second, first) = (self.pop(), self.pop(), self.pop());
        let first_len = self.array_bytes(lane, &(&rows * &inner))?;
        let second_len = self.array_bytes(lane, &(&inner * &columns))?;
        let len = self.array_bytes(lane, &(&rows * &columns))?;
        let first = self.memory.range(&first, 0, first_len)?;
        let second = self.memory.range(&second, 0, second_len)?;
        let to = self.memory.writable(&to, 0, len)?;
        let terms = (&rows * &columns * &inner).to_u64().unwrap_or(u64::MAX);
        self.charge(gas::matrices(first_len + second_len + len, terms, u64::from(lane.bits() / 8)))?;
        if len == 0 {
            return Ok(());
        }
        let (first, second) = (self.elements(lane, first), self.elements(lane, second));
        // At least one row and one column: no size is more than memory holds, or there are no terms.
        let [columns, inner] = [columns, inner].map(|size| size.to_usize().unwrap_or_default());
        let mut product = Vec::new();
        for row in 0..rows.to_usize().unwrap_or_default() {
            for column in 0..columns {
                let terms =
                    (0..inner).map(|term| (&first[row * inner + term], &second[term * columns + column]));
                product.push(terms.fold(BigUint::zero(), |sum, (a, b)| fused(lane, a, b, &sum)));
            }
        }
        self.store_elements(lane, to, &product);
        Ok(())
    }
}
