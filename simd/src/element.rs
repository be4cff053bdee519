//! Elements of arrays in memory: little-endian, at any address.

/// An integer modulo its size or a floating-point number.
pub(crate) trait Element: Copy + Send + Sync + 'static {
    /// Bytes in memory.
    const BYTES: usize;
    /// Zero.
    const ZERO: Self;
    /// The element in the first [`Element::BYTES`] bytes.
    fn read(bytes: &[u8]) -> Self;
    /// Puts the element into the first [`Element::BYTES`] bytes.
    fn write(self, bytes: &mut [u8]);
    /// The element in the low bits.
    fn from_low_bits(bits: u64) -> Self;
    /// a · b + c, rounded once.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// The element, or the canonical NaN if it is no number.
    fn canonical(self) -> Self;
}

macro_rules! integers {
    ($($integer:ident)*) => {
        $(impl Element for $integer {
            const BYTES: usize = size_of::<$integer>();
            const ZERO: $integer = 0;

            #[inline(always)]
            fn read(bytes: &[u8]) -> $integer {
                let mut own = [0; size_of::<$integer>()];
                own.copy_from_slice(&bytes[..size_of::<$integer>()]);
                $integer::from_le_bytes(own)
            }
            #[inline(always)]
            fn write(self, bytes: &mut [u8]) {
                bytes[..size_of::<$integer>()].copy_from_slice(&self.to_le_bytes());
            }
            #[inline(always)]
            fn from_low_bits(bits: u64) -> $integer {
                bits as $integer
            }
            #[inline(always)]
            fn mul_add(self, b: $integer, c: $integer) -> $integer {
                self.wrapping_mul(b).wrapping_add(c)
            }
            #[inline(always)]
            fn canonical(self) -> $integer {
                self
            }
        })*
    };
}
integers!(i8 i16 i32 i64);

macro_rules! floats {
    ($($float:ident $bits:ident $canonical:literal;)*) => {
        $(impl Element for $float {
            const BYTES: usize = size_of::<$float>();
            const ZERO: $float = 0.0;

            #[inline(always)]
            fn read(bytes: &[u8]) -> $float {
                let mut own = [0; size_of::<$float>()];
                own.copy_from_slice(&bytes[..size_of::<$float>()]);
                $float::from_le_bytes(own)
            }
            #[inline(always)]
            fn write(self, bytes: &mut [u8]) {
                bytes[..size_of::<$float>()].copy_from_slice(&self.to_le_bytes());
            }
            #[inline(always)]
            fn from_low_bits(bits: u64) -> $float {
                $float::from_bits(bits as $bits)
            }
            #[inline(always)]
            fn mul_add(self, b: $float, c: $float) -> $float {
                $float::mul_add(self, b, c)
            }
            #[inline(always)]
            fn canonical(self) -> $float {
                // Among the bits, as the compiler may give any NaN for another.
                $float::from_bits(if self.is_nan() { $canonical } else { self.to_bits() })
            }
        })*
    };
}
floats! {
    f32 u32 0x7fc0_0000;
    f64 u64 0x7ff8_0000_0000_0000;
}
