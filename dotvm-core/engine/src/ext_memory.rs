//! Page M: protection, blocks, data segments and ranges of memory.

use std::cmp::Ordering;

use dotvm_arch::Word;
use dotvm_core::gas;
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;

use crate::guard::{PAGE_BYTES, Permission};
use crate::machine::{Machine, Stop};

const BOUNDS: Stop = Stop::trap(TrapKind::Bounds);

impl<W: Word> Machine<'_, W> {
    /// Does an operation of page M; `a` is its immediate.
    #[inline(never)]
    pub fn memory_page(&mut self, op: Op, w: usize, a: u64) -> Result<(), Stop> {
        let number = |machine: &Self, at: usize| machine.words[w + at].try_u64();
        match op {
            Op::MProtect => {
                self.check_in_turn()?;
                let is_aligned = self.words[w].low_u64().is_multiple_of(PAGE_BYTES);
                let permission = number(self, 2).and_then(Permission::from_flags).filter(|_| is_aligned);
                let permission = permission.ok_or_else(|| Stop::trap(TrapKind::Range))?;
                let len = number(self, 1);
                let pages = self.memory.pages_of(number(self, 0), len)?;
                self.gas.charge(gas::copy(len.unwrap_or_default()))?;
                self.memory.protect(pages, permission);
            }
            Op::MRealloc => {
                let address = self.memory.realloc(number(self, 0), number(self, 1), &mut self.gas)?;
                self.words[w] = W::from_u64(address);
            }
            Op::MUsable => self.words[w] = W::from_u64(self.memory.usable(number(self, 0))?),
            Op::MInit => {
                let segment = a as usize;
                let is_dropped = self.memory.is_dropped(segment);
                let data = &self.verified.module().data[segment].bytes;
                let data = if is_dropped { &[][..] } else { &data[..] };
                let from = number(self, 1).zip(number(self, 2)).and_then(|(start, len)| {
                    let end = start.checked_add(len).filter(|&end| end <= data.len() as u64)?;
                    data.get(start as usize..end as usize)
                });
                let from = from.ok_or(BOUNDS)?;
                let to = self.memory.writable_range(self.words[w], self.words[w + 2], 0)?;
                self.gas.charge(gas::copy(from.len() as u64))?;
                self.memory.bytes_mut()[to].copy_from_slice(from);
            }
            Op::MDrop => {
                self.check_in_turn()?;
                self.memory.drop_data(a as usize);
            }
            Op::MCmp => {
                let len = self.words[w + 2];
                let first = self.memory.range(self.words[w], len, 0)?;
                let second = self.memory.range(self.words[w + 1], len, 0)?;
                self.gas.charge(gas::copy(first.len() as u64))?;
                let bytes = self.memory.bytes();
                self.words[w] = match bytes[first].cmp(&bytes[second]) {
                    Ordering::Less => W::MAX,
                    Ordering::Equal => W::ZERO,
                    Ordering::Greater => W::from_u64(1),
                };
            }
            Op::MFind => {
                let range = self.memory.range(self.words[w], self.words[w + 1], 0)?;
                self.gas.charge(gas::copy(range.len() as u64))?;
                let byte = self.words[w + 2].low_u64() as u8;
                let place = memchr::memchr(byte, &self.memory.bytes()[range]);
                self.words[w] = place.map_or(W::MAX, |place| W::from_u64(place as u64));
            }
            Op::MTouch => {
                let bytes = self.memory.extend_touched(number(self, 0), number(self, 1), &mut self.gas)?;
                self.words[w] = W::from_u64(bytes / 32);
            }
            op => unreachable!("{op:?} is not of page M"),
        }
        Ok(())
    }
}
