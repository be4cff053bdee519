//! LEB128 numbers of minimal length, the only form the instruction encoding accepts.

/// Why a number could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LebError {
    /// The bytes end inside the number.
    Truncated,
    /// The number is longer than it needs to be.
    NotMinimal,
    /// The number does not fit 64 bits.
    TooLarge,
}

/// Reads an unsigned number at `*at` and moves `*at` behind it.
#[inline]
pub fn read_unsigned(code: &[u8], at: &mut usize) -> Result<u64, LebError> {
    let first = *code.get(*at).ok_or(LebError::Truncated)?;
    *at += 1;
    if first < 0x80 {
        return Ok(first as u64);
    }
    let mut value = (first & 0x7f) as u64;
    let mut shift = 7;
    loop {
        let byte = *code.get(*at).ok_or(LebError::Truncated)?;
        *at += 1;
        if shift == 63 && byte > 1 {
            return Err(LebError::TooLarge);
        }
        value |= ((byte & 0x7f) as u64) << shift;
        if byte < 0x80 {
            return if byte == 0 { Err(LebError::NotMinimal) } else { Ok(value) };
        }
        shift += 7;
    }
}

/// Reads a signed number at `*at` and moves `*at` behind it.
#[inline]
pub fn read_signed(code: &[u8], at: &mut usize) -> Result<i64, LebError> {
    let mut value = 0i64;
    let mut shift = 0;
    let mut previous = 0;
    loop {
        let byte = *code.get(*at).ok_or(LebError::Truncated)?;
        *at += 1;
        if shift == 63 && byte != 0 && byte != 0x7f {
            return Err(LebError::TooLarge);
        }
        value |= ((byte & 0x7f) as i64) << shift;
        shift += 7;
        if byte < 0x80 {
            // The last byte is needed unless it only repeats the sign of the one before.
            let repeats =
                shift > 7 && ((byte == 0 && previous & 0x40 == 0) || (byte == 0x7f && previous & 0x40 != 0));
            if repeats {
                return Err(LebError::NotMinimal);
            }
            if shift < 64 && byte & 0x40 != 0 {
                value |= -1i64 << shift;
            }
            return Ok(value);
        }
        previous = byte;
    }
}

/// Appends an unsigned number.
pub fn write_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number.
pub fn write_signed(out: &mut Vec<u8>, mut value: i64) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

/// Length in bytes of a signed number.
pub fn signed_len(value: i64) -> usize {
    let significant_bits = 65 - if value < 0 { !value } else { value }.leading_zeros();
    significant_bits.div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_numbers_round_trip_at_every_length() {
        for shift in 0..64 {
            for delta in -2i64..=2 {
                for value in
                    [(1i64 << shift).wrapping_add(delta), (1i64 << shift).wrapping_neg().wrapping_add(delta)]
                {
                    let mut bytes = Vec::new();
                    write_signed(&mut bytes, value);
                    assert_eq!(bytes.len(), signed_len(value), "{value}");
                    let mut at = 0;
                    assert_eq!(read_signed(&bytes, &mut at), Ok(value));
                    assert_eq!(at, bytes.len());
                }
            }
        }
    }

    #[test]
    fn unsigned_numbers_round_trip() {
        for value in [0, 1, 127, 128, 16383, 16384, u32::MAX as u64, u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            write_unsigned(&mut bytes, value);
            let mut at = 0;
            assert_eq!(read_unsigned(&bytes, &mut at), Ok(value));
            assert_eq!(at, bytes.len());
        }
    }

    #[test]
    fn needless_bytes_and_overlong_numbers_are_refused() {
        let unsigned = |bytes: &[u8]| read_unsigned(bytes, &mut 0);
        let signed = |bytes: &[u8]| read_signed(bytes, &mut 0);
        assert_eq!(unsigned(&[0x80, 0x00]), Err(LebError::NotMinimal));
        assert_eq!(unsigned(&[0x80]), Err(LebError::Truncated));
        assert_eq!(unsigned(&[]), Err(LebError::Truncated));
        assert_eq!(unsigned(&[0xff; 10]), Err(LebError::TooLarge));
        assert_eq!(
            unsigned(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]),
            Err(LebError::TooLarge)
        );
        assert_eq!(signed(&[0x80, 0x00]), Err(LebError::NotMinimal));
        assert_eq!(signed(&[0xff, 0x7f]), Err(LebError::NotMinimal));
        assert_eq!(signed(&[0xff, 0x00]), Ok(127));
        assert_eq!(signed(&[0x80, 0x7f]), Ok(-128));
        assert_eq!(signed(&[0xff; 10]), Err(LebError::TooLarge));
        assert_eq!(
            signed(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
            Err(LebError::TooLarge)
        );
    }
}
