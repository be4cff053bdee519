//! What checkpoints are written with: numbers and byte strings one behind the other, each in exactly one form, and
//! checked as they are read.
//!
//! A *number* is LEB128: seven bits a byte, the low ones first, the last byte without bit 7 and, unless it is the only
//! one, not zero. A *word* is 8 bytes, little-endian, for what lies in large tables whose entries should stay where they
//! are. A byte string is its length as a number, and its bytes. `docs/checkpoints.md` says what is written with them.

/// Why something cannot be read: a sentence without its full stop, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} (byte {at})")]
pub struct Damage {
    /// What is wrong.
    pub problem: String,
    /// How many bytes of the part were read before.
    pub at: usize,
}

/// Writes.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Nothing written yet.
    pub fn new() -> Writer {
        Writer::default()
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What was written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A byte.
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// A truth value.
    pub fn flag(&mut self, flag: bool) {
        self.byte(u8::from(flag));
    }

    /// A number.
    pub fn number(&mut self, number: impl Into<u64>) {
        let mut number = number.into();
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    /// How many there are of something.
    pub fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    /// 8 bytes.
    pub fn word(&mut self, word: u64) {
        self.raw(&word.to_le_bytes());
    }

    /// Bytes whose number the reader knows.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// A byte string.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    /// A byte string or none.
    pub fn optional_bytes(&mut self, bytes: Option<&[u8]>) {
        self.flag(bytes.is_some());
        if let Some(bytes) = bytes {
            self.bytes(bytes);
        }
    }
}

/// Reads what [`Writer`] wrote, and nothing else.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Before the first byte.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// Something is wrong here.
    pub fn damage<T>(&self, problem: impl Into<String>) -> Result<T, Damage> {
        Err(Damage { problem: problem.into(), at: self.at })
    }

    /// Refuses what does not hold.
    pub fn require(&self, holds: bool, problem: &str) -> Result<(), Damage> {
        if holds { Ok(()) } else { self.damage(problem) }
    }

    /// Bytes not read yet.
    pub fn rest(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Refuses what is left over.
    pub fn end(&self) -> Result<(), Damage> {
        self.require(self.rest() == 0, "something follows the end")
    }

    /// So many bytes.
    pub fn raw(&mut self, count: usize) -> Result<&'a [u8], Damage> {
        if count > self.rest() {
            return self.damage("it ends too early");
        }
        let bytes = &self.bytes[self.at..self.at + count];
        self.at += count;
        Ok(bytes)
    }

    /// So many bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N)?);
        Ok(array)
    }

    /// A byte.
    pub fn byte(&mut self) -> Result<u8, Damage> {
        Ok(self.array::<1>()?[0])
    }

    /// A truth value.
    pub fn flag(&mut self) -> Result<bool, Damage> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => self.damage("a truth value is neither 0 nor 1"),
        }
    }

    /// A number.
    pub fn number(&mut self) -> Result<u64, Damage> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7F);
            if part << shift >> shift != part {
                return self.damage("a number has more than 64 bits");
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                self.require(byte != 0 || shift == 0, "a number is longer than it needs to be")?;
                return Ok(number);
            }
        }
        self.damage("a number has more than 64 bits")
    }

    /// A number of another type.
    pub fn small<T: TryFrom<u64>>(&mut self) -> Result<T, Damage> {
        match T::try_from(self.number()?) {
            Ok(number) => Ok(number),
            Err(_) => self.damage("a number is too large"),
        }
    }

    /// How many there are of something that takes at least `least` bytes each, so that no more than what is there can be
    /// asked for.
    pub fn count(&mut self, least: usize) -> Result<usize, Damage> {
        let count: usize = self.small()?;
        match count.checked_mul(least.max(1)) {
            Some(bytes) if bytes <= self.rest() => Ok(count),
            _ => self.damage("a count is larger than what follows"),
        }
    }

    /// 8 bytes.
    pub fn word(&mut self) -> Result<u64, Damage> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8], Damage> {
        let len = self.small()?;
        self.raw(len)
    }

    /// A byte string or none.
    pub fn optional_bytes(&mut self) -> Result<Option<&'a [u8]>, Damage> {
        if self.flag()? { self.bytes().map(Some) } else { Ok(None) }
    }

    /// A byte string that is text.
    pub fn text(&mut self) -> Result<&'a str, Damage> {
        match std::str::from_utf8(self.bytes()?) {
            Ok(text) => Ok(text),
            Err(_) => self.damage("a text is not UTF-8"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        for number in [0, 1, 127, 128, 300, 1 << 35, u64::MAX - 1, u64::MAX] {
            let mut writer = Writer::new();
            writer.number(number);
            let mut reader = Reader::new(writer.as_bytes());
            assert_eq!((reader.number(), reader.end()), (Ok(number), Ok(())));
        }
        let long: &[u8] = &[0x80, 0x00];
        let huge: &[u8] = &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02];
        for bad in [long, huge, &[0xFF; 11], &[0x80], &[]] {
            assert!(Reader::new(bad).number().is_err(), "{bad:02x?}");
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let mut writer = Writer::new();
        writer.flag(true);
        writer.bytes(b"abc");
        writer.optional_bytes(None);
        writer.optional_bytes(Some(b""));
        writer.word(7);
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(&bytes);
        assert_eq!((reader.flag(), reader.text()), (Ok(true), Ok("abc")));
        assert_eq!((reader.optional_bytes(), reader.optional_bytes()), (Ok(None), Ok(Some(&[][..]))));
        assert_eq!((reader.word(), reader.rest()), (Ok(7), 0));
        for cut in 0..bytes.len() {
            let mut reader = Reader::new(&bytes[..cut]);
            let all = reader.flag().and_then(|_| reader.bytes()).and_then(|_| reader.optional_bytes());
            let all = all.and_then(|_| reader.optional_bytes()).and_then(|_| reader.word());
            assert!(all.is_err());
        }
    }

    #[test]
    fn counts_are_bounded_by_what_follows() {
        let mut writer = Writer::new();
        writer.count(3);
        writer.raw(&[0; 8]);
        assert_eq!(Reader::new(writer.as_bytes()).count(2), Ok(3));
        let damage = Reader::new(writer.as_bytes()).count(3).unwrap_err();
        assert_eq!(damage.to_string(), "a count is larger than what follows (byte 1)");
    }
}
