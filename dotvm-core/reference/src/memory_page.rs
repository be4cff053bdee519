//! Page M: protection, blocks, data segments and ranges of memory.

use std::cmp::Ordering;

use dotvm_core::gas;
use dotvm_core::trap::TrapKind;
use num_bigint::BigUint;
use num_traits::ToPrimitive;

use crate::machine::{Fault, Machine};

impl Machine<'_> {
    /// −1 as a word.
    fn minus_one(&self) -> BigUint {
        (BigUint::from(1u32) << self.bits) - 1u32
    }

    /// M.PROTECT.
    pub fn protect(&mut self) -> Result<(), Fault> {
        let (flags, len, address) = (self.pop(), self.pop(), self.pop());
        let gas = &mut self.gas;
        let charge = |cost| gas.charge(cost).map_err(|_| TrapKind::Gas);
        Ok(self.memory.protect([&address, &len, &flags], charge)?)
    }

    /// M.REALLOC.
    pub fn realloc(&mut self) -> Result<(), Fault> {
        let (len, address) = (self.pop(), self.pop());
        let gas = &mut self.gas;
        let charge = |cost| gas.charge(cost).map_err(|_| TrapKind::Gas);
        let address = self.memory.realloc(&address, &len, charge)?;
        self.push(address);
        Ok(())
    }

    /// M.INIT.
    pub fn init_memory(&mut self, segment: usize) -> Result<(), Fault> {
        let (len, start, address) = (self.pop(), self.pop(), self.pop());
        let mut data = self.verified.module().data[segment].bytes.to_vec();
        if self.dropped.contains(&segment) {
            data.clear();
        }
        if &start + &len > BigUint::from(data.len()) {
            return Err(TrapKind::Bounds.into());
        }
        let start = start.to_usize().ok_or(TrapKind::Bounds)?;
        let len = len.to_u64().ok_or(TrapKind::Bounds)?;
        let range = self.memory.writable(&address, 0, len)?;
        self.charge(gas::copy(len))?;
        self.memory.slice_mut(range).copy_from_slice(&data[start..][..len as usize]);
        Ok(())
    }

    /// M.CMP, byte by byte.
    pub fn compare_memory(&mut self) -> Result<(), Fault> {
        let (len, second, first) = (self.pop(), self.pop(), self.pop());
        let len = len.to_u64().ok_or(TrapKind::Bounds)?;
        let first = self.memory.range(&first, 0, len)?;
        let second = self.memory.range(&second, 0, len)?;
        self.charge(gas::copy(len))?;
        let pairs = self.memory.slice(first).iter().zip(self.memory.slice(second));
        let order = pairs.map(|(a, b)| a.cmp(b)).find(|&order| order != Ordering::Equal);
        self.push(match order {
            Some(Ordering::Less) => self.minus_one(),
            Some(Ordering::Greater) => BigUint::from(1u32),
            _ => BigUint::ZERO,
        });
        Ok(())
    }

    /// M.FIND.
    pub fn find_in_memory(&mut self) -> Result<(), Fault> {
        let (byte, len, address) = (self.pop(), self.pop(), self.pop());
        let len = len.to_u64().ok_or(TrapKind::Bounds)?;
        let range = self.memory.range(&address, 0, len)?;
        self.charge(gas::copy(len))?;
        let place = self.memory.slice(range).iter().position(|&at| BigUint::from(at) == &byte % 256u32);
        self.push(place.map_or(self.minus_one(), BigUint::from));
        Ok(())
    }

    /// M.TOUCH.
    pub fn touch_memory(&mut self) -> Result<(), Fault> {
        let (len, address) = (self.pop(), self.pop());
        let gas = &mut self.gas;
        let charge = |cost| gas.charge(cost).map_err(|_| TrapKind::Gas);
        let bytes = self.memory.touch(&address, &len, charge)?;
        self.push(bytes / 32);
        Ok(())
    }
}
