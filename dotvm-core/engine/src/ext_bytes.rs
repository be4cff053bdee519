//! Page R: operations on byte strings. Like all operations these check their operands first, then charge, then take
//! effect.

use bytes::Bytes;
use dotvm_arch::Word;
use dotvm_core::gas;
use dotvm_core::limits::MAX_BYTES_LEN;
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;

use crate::machine::{Machine, Stop};
use crate::references::bytes_of;

/// A length that a byte string may have, or a Size trap.
fn size(len: usize) -> Result<u64, Stop> {
    let len = len as u64;
    if len > MAX_BYTES_LEN { Err(Stop::trap(TrapKind::Size)) } else { Ok(len) }
}

impl<W: Word> Machine<'_, W> {
    /// Does an operation of page R; `a` is its immediate.
    #[inline(never)]
    pub fn bytes_page(&mut self, op: Op, w: usize, r: usize, a: u64) -> Result<(), Stop> {
        match op {
            Op::RSlice => {
                let bytes = bytes_of(&self.heap, &self.refs[r])?;
                let start = self.words[w].try_u64().and_then(|start| usize::try_from(start).ok());
                let len = self.words[w + 1].try_u64().and_then(|len| usize::try_from(len).ok());
                let range = start.zip(len).and_then(|(start, len)| {
                    let end = start.checked_add(len).filter(|&end| end <= bytes.len())?;
                    Some(start..end)
                });
                let range = range.ok_or_else(|| Stop::trap(TrapKind::Index))?;
                let part =
                    self.heap.slice(&self.refs[r], range).ok_or_else(|| Stop::trap(TrapKind::Index))??;
                self.set_ref(r, part);
            }
            Op::RCat => {
                let (first, second) =
                    (bytes_of(&self.heap, &self.refs[r])?, bytes_of(&self.heap, &self.refs[r + 1])?);
                let len = size(first.len() + second.len())?;
                self.gas.charge(gas::copy(len))?;
                let both = [first.as_ref(), second.as_ref()].concat();
                self.set_bytes(r, both.into())?;
                self.clear_refs(r + 1, 1);
            }
            Op::RW2b => {
                let mut buffer = [0; 64];
                let digits = self.words[w].to_be_trimmed(&mut buffer);
                let bytes = match (a as usize).checked_sub(digits.len()) {
                    _ if a == 0 => Bytes::copy_from_slice(digits),
                    Some(zeros) => [&[0; 64][..zeros], digits].concat().into(),
                    None => return Err(Stop::trap(TrapKind::Overflow)),
                };
                self.set_bytes(r, bytes)?;
            }
            Op::RB2w => {
                let bytes = bytes_of(&self.heap, &self.refs[r])?;
                self.gas.charge(gas::copy(bytes.len() as u64))?;
                self.words[w] = W::from_be_slice(bytes).ok_or_else(|| Stop::trap(TrapKind::Overflow))?;
                self.clear_refs(r, 1);
            }
            Op::RFind => {
                let (bytes, pattern) =
                    (bytes_of(&self.heap, &self.refs[r])?, bytes_of(&self.heap, &self.refs[r + 1])?);
                self.gas.charge(gas::copy(bytes.len() as u64 + pattern.len() as u64))?;
                let place = memchr::memmem::find(bytes, pattern);
                self.words[w] = place.map_or(W::MAX, |place| W::from_u64(place as u64));
                self.clear_refs(r, 2);
            }
            Op::RHex => {
                let bytes = bytes_of(&self.heap, &self.refs[r])?;
                let len = size(2 * bytes.len())?;
                self.gas.charge(gas::copy(len))?;
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                let text: Vec<u8> =
                    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
                self.set_bytes(r, text.into())?;
            }
            Op::RUnhex => {
                let text = bytes_of(&self.heap, &self.refs[r])?;
                self.gas.charge(gas::copy(text.len() as u64))?;
                let bytes = from_hex(text).map(Bytes::from);
                self.set_optional_bytes(r, bytes)?;
            }
            Op::RUtf8 => {
                let bytes = bytes_of(&self.heap, &self.refs[r])?;
                self.gas.charge(gas::copy(bytes.len() as u64))?;
                self.words[w] = W::from_bool(std::str::from_utf8(bytes).is_ok());
                self.clear_refs(r, 1);
            }
            Op::RLoadw => {
                let bytes = bytes_of(&self.heap, &self.refs[r])?;
                let rest = tail(bytes, self.words[w]);
                let mut word = [0; 64];
                let word = &mut word[..W::BYTES];
                let len = rest.len().min(W::BYTES);
                word[..len].copy_from_slice(&rest[..len]);
                word.reverse();
                self.words[w] = W::read_le(word);
                self.clear_refs(r, 1);
            }
            Op::RCopyz => {
                let bytes = bytes_of(&self.heap, &self.refs[r])?;
                let to = self.memory.writable_range(self.words[w], self.words[w + 2], 0)?;
                self.gas.charge(gas::copy(to.len() as u64))?;
                let rest = tail(bytes, self.words[w + 1]);
                let len = rest.len().min(to.len());
                let to = &mut self.memory.bytes_mut()[to];
                to[..len].copy_from_slice(&rest[..len]);
                to[len..].fill(0);
                self.clear_refs(r, 1);
            }
            op => unreachable!("{op:?} is not of page R"),
        }
        Ok(())
    }
}

/// The bytes from a place on, none if it is behind the end.
fn tail<W: Word>(bytes: &[u8], from: W) -> &[u8] {
    let from = from.try_u64().and_then(|from| usize::try_from(from).ok());
    from.and_then(|from| bytes.get(from..)).unwrap_or_default()
}

/// The bytes that pairs of hexadecimal digits stand for.
fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|digit| digit as u8);
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}
