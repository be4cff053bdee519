//! Nouns as bit strings: jam and cue, byte for byte those of Urbit's Hoon (standard library 2p).
//!
//! Bits count from the lowest of the first byte. An atom is 0 and its number, a cell 1 0 and its parts, and what was
//! written before 1 1 and the place where it starts; an atom is written again where that is not longer. A number n > 0
//! of b bits is as many zeros as b has bits, a one, b without its top bit, n; zero is a one.

use bytes::Bytes;
use dotvm_core::gas;
use dotvm_core::limits::MAX_BYTES_LEN;
use hashbrown::HashMap;
use num_bigint::{BigInt, BigUint, Sign};

use crate::heap::Heap;
use crate::mug::{NounError, Task};
use crate::reference::{Integer, Reference};

/// A noun by value: what is equal has the same number.
enum Class {
    Small(u64),
    Large(BigUint),
    Cell(u32, u32),
}

/// The classes of a noun's parts.
#[derive(Default)]
struct Classes {
    all: Vec<Class>,
    small: HashMap<u64, u32>,
    large: HashMap<BigUint, u32>,
    cells: HashMap<(u32, u32), u32>,
    /// Cells whose marks hold the number of their class plus one.
    marked: Vec<u32>,
}

impl Classes {
    fn add(&mut self, class: Class) -> u32 {
        self.all.push(class);
        self.all.len() as u32 - 1
    }

    fn of_atom(&mut self, atom: Integer<'_>) -> u32 {
        match atom {
            Integer::Small(number) => {
                let number = number as u64;
                if let Some(&class) = self.small.get(&number) {
                    return class;
                }
                let class = self.add(Class::Small(number));
                self.small.insert(number, class);
                class
            }
            Integer::Large(number) => {
                if let Some(&class) = self.large.get(number.magnitude()) {
                    return class;
                }
                let class = self.add(Class::Large(number.magnitude().clone()));
                self.large.insert(number.magnitude().clone(), class);
                class
            }
        }
    }

    fn of_cell(&mut self, head: u32, tail: u32) -> u32 {
        if let Some(&class) = self.cells.get(&(head, tail)) {
            return class;
        }
        let class = self.add(Class::Cell(head, tail));
        self.cells.insert((head, tail), class);
        class
    }
}

impl Heap {
    /// A noun as a bit string.
    ///
    /// # Errors
    /// If a part is no noun, the string would be longer than a byte string may be, or the work is not paid.
    pub fn jam<E>(
        &mut self,
        noun: &Reference,
        mut charge: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Bytes, NounError<E>> {
        self.make_marks();
        let mut classes = Classes::default();
        let top = self.classify(noun, &mut classes, &mut charge);
        for cell in &classes.marked {
            self.marks[*cell as usize] = 0;
        }
        write(&classes.all, top?).ok_or(NounError::Size)
    }

    fn classify<E>(
        &mut self,
        noun: &Reference,
        classes: &mut Classes,
        charge: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<u32, NounError<E>> {
        let mut tasks = vec![Task::Visit(noun.alias())];
        let mut done: Vec<u32> = Vec::new();
        while let Some(task) = tasks.pop() {
            let class = match task {
                Task::Join(cell) => {
                    let tail = done.pop().unwrap_or_default();
                    let class = classes.of_cell(done.pop().unwrap_or_default(), tail);
                    self.marks[cell as usize] = class + 1;
                    classes.marked.push(cell);
                    class
                }
                Task::Visit(part) if part.is_cell() => {
                    let index = part.index();
                    match self.marks[index] {
                        0 => {
                            charge(gas::NODE).map_err(NounError::Charge)?;
                            let place = &self.cells[index];
                            let (head, tail) = (place.head.alias(), place.tail.alias());
                            tasks.extend([Task::Join(index as u32), Task::Visit(tail), Task::Visit(head)]);
                            continue;
                        }
                        mark => mark - 1,
                    }
                }
                Task::Visit(part) => {
                    let atom = self.atom(&part).ok_or(NounError::Kind)?;
                    charge(atom.limbs()).map_err(NounError::Charge)?;
                    classes.of_atom(atom)
                }
            };
            done.push(class);
        }
        Ok(done.pop().unwrap_or_default())
    }

    /// The noun that a bit string stands for. Bits behind it are ignored, bits missing at the end of its last number
    /// are zeros.
    ///
    /// # Errors
    /// If the string stands for none, the work is not paid, or the noun does not fit; nothing has changed then.
    pub fn cue<E>(
        &mut self,
        bytes: &Bytes,
        mut charge: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<Reference, NounError<E>> {
        let mut done: Vec<Reference> = Vec::new();
        match self.read(&mut BitReader { bytes, at: 0 }, &mut done, &mut charge) {
            Ok(()) => Ok(done.pop().unwrap_or_default()),
            Err(error) => {
                done.into_iter().for_each(|reference| self.release(reference));
                Err(error)
            }
        }
    }

    fn read<E>(
        &mut self,
        bits: &mut BitReader<'_>,
        done: &mut Vec<Reference>,
        charge: &mut impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), NounError<E>> {
        // Where each atom and cell starts, ascending, and what it is; null while its parts are read.
        let mut known: Vec<(u64, Reference)> = Vec::new();
        // A noun to be read, or a cell to be made.
        let mut tasks: Vec<Option<usize>> = vec![None];
        while let Some(task) = tasks.pop() {
            if let Some(cell) = task {
                let mut tail = done.pop().unwrap_or_default();
                let mut head = done.pop().unwrap_or_default();
                match self.cons(&mut head, &mut tail) {
                    Ok(made) => {
                        known[cell].1 = made.alias();
                        done.push(made);
                    }
                    Err(failure) => {
                        done.extend([head, tail]);
                        return Err(NounError::Failure(failure));
                    }
                }
                continue;
            }
            let start = bits.at;
            if !bits.bit() {
                let number = bits.number().ok_or(NounError::Malformed)?;
                charge(number.bits().div_ceil(64).max(1)).map_err(NounError::Charge)?;
                let atom = self.integer(BigInt::from(number)).map_err(NounError::Failure)?;
                known.push((start, atom.alias()));
                done.push(atom);
            } else if !bits.bit() {
                charge(gas::NODE).map_err(NounError::Charge)?;
                tasks.extend([Some(known.len()), None, None]);
                known.push((start, Reference::NULL));
            } else {
                let place = bits.number().and_then(|place| u64::try_from(place).ok());
                let place = place.ok_or(NounError::Malformed)?;
                charge(1).map_err(NounError::Charge)?;
                let index = known.binary_search_by_key(&place, |known| known.0);
                let before = &known[index.map_err(|_| NounError::Malformed)?].1;
                if before.is_null() {
                    return Err(NounError::Malformed);
                }
                let again = self.share(before);
                done.push(again);
            }
        }
        Ok(())
    }
}

/// The bit string of a class, unless it becomes too long.
fn write(classes: &[Class], top: u32) -> Option<Bytes> {
    const NOWHERE: u64 = u64::MAX;
    let mut places = vec![NOWHERE; classes.len()];
    let mut out = BitWriter::default();
    let mut rest = vec![top];
    while let Some(class) = rest.pop() {
        let place = &mut places[class as usize];
        let class = &classes[class as usize];
        let is_known = *place != NOWHERE;
        let atom_bits = match class {
            Class::Small(number) => Some(bit_length(*number)),
            Class::Large(number) => Some(number.bits()),
            Class::Cell(..) => None,
        };
        if is_known && atom_bits.is_none_or(|bits| bits > bit_length(*place)) {
            out.bits(0b11, 2);
            out.number(&[*place]);
        } else {
            if !is_known {
                *place = out.len;
            }
            match class {
                Class::Small(number) => {
                    out.bits(0, 1);
                    out.number(&[*number]);
                }
                Class::Large(number) => {
                    out.bits(0, 1);
                    out.number(&number.to_u64_digits());
                }
                Class::Cell(head, tail) => {
                    out.bits(0b01, 2);
                    rest.extend([*tail, *head]);
                }
            }
        }
        if out.len > 8 * MAX_BYTES_LEN {
            return None;
        }
    }
    Some(out.bytes.into())
}

fn bit_length(number: u64) -> u64 {
    u64::from(64 - number.leading_zeros())
}

/// Bits behind one another.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    /// In bits.
    len: u64,
}

impl BitWriter {
    /// The low `count` bits of a number, at most 64.
    fn bits(&mut self, mut number: u64, mut count: u32) {
        while count > 0 {
            let used = (self.len % 8) as u32;
            if used == 0 {
                self.bytes.push(0);
            }
            let taken = count.min(8 - used);
            let part = (number & ((1 << taken) - 1)) as u8;
            if let Some(last) = self.bytes.last_mut() {
                *last |= part << used;
            }
            number >>= taken;
            count -= taken;
            self.len += u64::from(taken);
        }
    }

    /// A number of limbs, the lowest first, with its length in front.
    fn number(&mut self, limbs: &[u64]) {
        let last = limbs.last().copied().unwrap_or(0);
        let bits = (limbs.len().max(1) as u64 - 1) * 64 + bit_length(last);
        if bits == 0 {
            return self.bits(1, 1);
        }
        let length_bits = bit_length(bits) as u32;
        self.bits(0, length_bits);
        self.bits(1, 1);
        self.bits(bits, length_bits - 1);
        let (last, others) = (last, &limbs[..limbs.len() - 1]);
        others.iter().for_each(|&limb| self.bits(limb, 64));
        self.bits(last, bit_length(last) as u32);
    }
}

/// Bits of a byte string; behind its end are zeros.
struct BitReader<'a> {
    bytes: &'a [u8],
    at: u64,
}

impl BitReader<'_> {
    fn end(&self) -> u64 {
        8 * self.bytes.len() as u64
    }

    fn bit_at(&self, at: u64) -> bool {
        at < self.end() && self.bytes[(at / 8) as usize] >> (at % 8) & 1 != 0
    }

    fn bit(&mut self) -> bool {
        let bit = self.bit_at(self.at);
        self.at += 1;
        bit
    }

    /// A number with its length in front; `None` if the length does not end or is of more than 62 bits.
    fn number(&mut self) -> Option<BigUint> {
        let mut zeros = 0;
        while !self.bit() {
            zeros += 1;
            if self.at >= self.end() || zeros > 62 {
                return None;
            }
        }
        if zeros == 0 {
            return Some(BigUint::ZERO);
        }
        let low: u64 = (0..zeros - 1).map(|place| u64::from(self.bit()) << place).sum();
        let len = (1 << (zeros - 1)) + low;
        let number = self.take(len);
        self.at += len;
        Some(number)
    }

    /// The number of the next `len` bits.
    fn take(&self, len: u64) -> BigUint {
        let there = len.min(self.end().saturating_sub(self.at));
        let byte = |index: u64| {
            let start = self.at + 8 * index;
            let bits = (there - 8 * index).min(8);
            (0..bits).map(|bit| u8::from(self.bit_at(start + bit)) << bit).sum::<u8>()
        };
        let bytes: Vec<u8> = (0..there.div_ceil(8)).map(byte).collect();
        BigInt::from_bytes_le(Sign::Plus, &bytes).magnitude().clone()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use dotvm_core::value::Ref;

    use super::*;

    fn free(_: u64) -> Result<(), Infallible> {
        Ok(())
    }

    fn jam(noun: &Ref) -> Result<Bytes, NounError<Infallible>> {
        let mut heap = Heap::new(u64::MAX);
        let noun = heap.import(noun).unwrap();
        heap.jam(&noun, free)
    }

    fn cue(bytes: &[u8]) -> Result<Ref, NounError<Infallible>> {
        let mut heap = Heap::new(u64::MAX);
        let noun = heap.cue(&Bytes::copy_from_slice(bytes), free);
        let noun = noun.map(|noun| {
            let outside = heap.export(&noun);
            heap.release(noun);
            outside
        });
        assert_eq!(heap.census(), (0, 0, 0));
        noun
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn list(items: impl DoubleEndedIterator<Item = Ref>) -> Ref {
        items.rev().fold(Ref::from(0), |tail, item| Ref::cell(item, tail))
    }

    /// Bit strings of Vere and of nockvm, which agree.
    #[test]
    fn jams_are_those_of_other_machines() {
        let power = |bits: u32| Ref::Int(BigInt::from(1) << bits);
        for (noun, expected) in [
            (Ref::from(0), "02"),
            (1.into(), "0c"),
            (2.into(), "48"),
            (42.into(), "5015"),
            (255.into(), "20fe01"),
            ((i64::from(i32::MAX)).into(), "c0ffffffff03"),
            (power(32), "800100000020"),
            (Ref::Int((BigInt::from(1) << 63) - 1), "80ffffffffffffffff0f"),
            (power(63), "00010000000000000040"),
            (power(64), "00030000000000000080"),
            (power(128), "00060000000000000000000000000000000002"),
            (0x6f_6c6c_6568.into(), "8007ad8c8ded0d"),
            (Ref::cell(0.into(), 0.into()), "29"),
            (Ref::cell(0.into(), 1.into()), "c9"),
            (Ref::cell(1.into(), 0.into()), "b1"),
            (Ref::cell(1.into(), Ref::cell(2.into(), 3.into())), "714834"),
            (Ref::cell(Ref::cell(1.into(), 2.into()), 3.into()), "c54834"),
            (list((0..10).map(Ref::from)), "19870c1d66b861871f0483a4"),
        ] {
            let bytes = hex(expected);
            assert_eq!(jam(&noun), Ok(Bytes::from(bytes.clone())), "{noun:?}");
            assert_eq!(cue(&bytes), Ok(noun));
        }
    }

    #[test]
    fn equal_parts_are_written_once_however_they_are_shared() {
        let part = || list((0..30).map(|item| Ref::from(item * 1000)));
        let (shared, copied) = (part(), Ref::cell(part(), part()));
        let shared = Ref::cell(shared.clone(), shared);
        assert_eq!(jam(&shared), jam(&copied));
        let double = (0..1000).fold(part(), |part, _| Ref::cell(part.clone(), part));
        let bytes = jam(&double).unwrap();
        assert!(bytes.len() < 5000);
        assert!(cue(&bytes).unwrap() == double);
    }

    #[test]
    fn deep_nouns_go_through() {
        let deep = list((0..200_000).map(|item| Ref::from(item % 77)));
        assert!(cue(&jam(&deep).unwrap()).unwrap() == deep);
        let left = (0..200_000).fold(Ref::from(1), |part, item| Ref::cell(part, item.into()));
        assert!(cue(&jam(&left).unwrap()).unwrap() == left);
    }

    #[test]
    fn what_stands_for_no_noun_is_refused() {
        // No length ends (three times); no tail; a reference without a place; to itself; to a cell being read; to where
        // nothing starts.
        for bad in ["", "00", "00000000", "01", "0d", "07", "1d", "b901"] {
            assert_eq!(cue(&hex(bad)), Err(NounError::Malformed), "{bad}");
        }
        // A number of 2^61 bits: those that are not there are zeros.
        assert_eq!(cue(&hex("00000000000000800000000000000020")), Ok(1.into()));
        assert_eq!(cue(&hex("00000000000000000100000000000000")), Err(NounError::Malformed));
        // Bits behind a noun.
        assert_eq!(cue(&hex("02ffff")), Ok(0.into()));
    }

    #[test]
    fn random_bits_never_do_harm() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let len = rng.usize(..40);
            let bytes: Vec<u8> = (0..len).map(|_| rng.u8(..) & rng.u8(..)).collect();
            if let Ok(noun) = cue(&bytes) {
                assert!(cue(&jam(&noun).unwrap()).unwrap() == noun);
            }
        }
    }
}
