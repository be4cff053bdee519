//! Page R: operations on byte strings.

use dotvm_core::gas;
use dotvm_core::limits;
use dotvm_core::trap::TrapKind;
use num_bigint::BigUint;
use num_traits::ToPrimitive;

use crate::machine::{Fault, Machine};
use crate::value::Value;

impl Machine<'_> {
    fn check_size(len: usize) -> Result<(), Fault> {
        if len as u64 > limits::MAX_BYTES_LEN { Err(TrapKind::Size.into()) } else { Ok(()) }
    }

    /// R.SLICE.
    pub fn slice(&mut self) -> Result<(), Fault> {
        let Value::Bytes(text) = self.pop_ref() else { return Err(TrapKind::Kind.into()) };
        let bytes = &text.bytes;
        let (len, start) = (self.pop(), self.pop());
        if &start + &len > BigUint::from(bytes.len()) {
            return Err(TrapKind::Index.into());
        }
        let start = start.to_usize().ok_or(TrapKind::Index)?;
        let len = len.to_usize().ok_or(TrapKind::Index)?;
        let part = bytes[start..][..len].to_vec();
        self.push_new(Value::slice(&text, part.into()))
    }

    /// R.CAT.
    pub fn cat(&mut self) -> Result<(), Fault> {
        let (second, first) = (self.pop_bytes()?, self.pop_bytes()?);
        let mut both = first.to_vec();
        both.extend_from_slice(&second);
        Self::check_size(both.len())?;
        self.charge(gas::copy(both.len() as u64))?;
        self.push_new(Value::bytes(both.into()))
    }

    /// R.W2B.
    pub fn word_to_bytes(&mut self, len: u64) -> Result<(), Fault> {
        let word = self.pop();
        let mut bytes = Vec::new();
        let mut rest = word;
        while rest > BigUint::ZERO {
            bytes.insert(0, (&rest % 256u32).to_u8().unwrap_or_default());
            rest /= 256u32;
        }
        if len > 0 {
            if bytes.len() as u64 > len {
                return Err(TrapKind::Overflow.into());
            }
            while (bytes.len() as u64) < len {
                bytes.insert(0, 0);
            }
        }
        self.push_new(Value::bytes(bytes.into()))
    }

    /// R.B2W.
    pub fn bytes_to_word(&mut self) -> Result<(), Fault> {
        let bytes = self.pop_bytes()?;
        self.charge(gas::copy(bytes.len() as u64))?;
        let number = BigUint::from_bytes_be(&bytes);
        if number.bits() > u64::from(self.bits) {
            return Err(TrapKind::Overflow.into());
        }
        self.push(number);
        Ok(())
    }

    /// R.FIND.
    pub fn find(&mut self) -> Result<(), Fault> {
        let (pattern, bytes) = (self.pop_bytes()?, self.pop_bytes()?);
        self.charge(gas::copy((bytes.len() + pattern.len()) as u64))?;
        match (0..=bytes.len()).find(|&place| bytes[place..].starts_with(&pattern)) {
            Some(place) => self.push(place),
            None => self.push((BigUint::from(1u32) << self.bits) - 1u32),
        }
        Ok(())
    }

    /// R.HEX.
    pub fn hex(&mut self) -> Result<(), Fault> {
        let bytes = self.pop_bytes()?;
        Self::check_size(2 * bytes.len())?;
        self.charge(gas::copy(2 * bytes.len() as u64))?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.push_new(Value::bytes(text.into()))
    }

    /// R.UNHEX.
    pub fn unhex(&mut self) -> Result<(), Fault> {
        let text = self.pop_bytes()?;
        self.charge(gas::copy(text.len() as u64))?;
        let is_hex = text.len() % 2 == 0 && text.iter().all(u8::is_ascii_hexdigit);
        let pairs = text.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap_or_default());
        self.push_new(if is_hex {
            Value::bytes(pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap_or_default()).collect())
        } else {
            Value::Null
        })
    }

    /// R.UTF8.
    pub fn utf8(&mut self) -> Result<(), Fault> {
        let bytes = self.pop_bytes()?;
        self.charge(gas::copy(bytes.len() as u64))?;
        self.push(u32::from(String::from_utf8(bytes.to_vec()).is_ok()));
        Ok(())
    }

    /// The byte at a place, 0 behind the end.
    fn byte_or_zero(bytes: &[u8], place: &BigUint) -> u8 {
        place.to_usize().and_then(|place| bytes.get(place)).copied().unwrap_or(0)
    }

    /// R.LOADW.
    pub fn load_word(&mut self) -> Result<(), Fault> {
        let (bytes, start) = (self.pop_bytes()?, self.pop());
        let word: Vec<u8> = (0..self.bits / 8).map(|at| Self::byte_or_zero(&bytes, &(&start + at))).collect();
        self.push(BigUint::from_bytes_be(&word));
        Ok(())
    }

    /// R.COPYZ.
    pub fn copy_with_zeros(&mut self) -> Result<(), Fault> {
        let bytes = self.pop_bytes()?;
        let (len, start, address) = (self.pop(), self.pop(), self.pop());
        let len = len.to_u64().ok_or(TrapKind::Bounds)?;
        let range = self.memory.writable(&address, 0, len)?;
        self.charge(gas::copy(len))?;
        for (at, byte) in self.memory.slice_mut(range).iter_mut().enumerate() {
            *byte = Self::byte_or_zero(&bytes, &(&start + at));
        }
        Ok(())
    }
}
