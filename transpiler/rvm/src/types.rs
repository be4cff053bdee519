//! Types and constants (`docs/machines/rvm.md`, section 3).

use std::fmt;

/// A type of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Type {
    /// Signed, 8 bits.
    I8 = 1,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// A byte of text.
    Char,
    /// Truth.
    Bool,
    /// Null, or a cell of an object.
    Ptr,
}

impl Type {
    /// All types, ascending by code.
    pub const ALL: [Type; 13] = [
        Type::I8,
        Type::I16,
        Type::I32,
        Type::I64,
        Type::U8,
        Type::U16,
        Type::U32,
        Type::U64,
        Type::F32,
        Type::F64,
        Type::Char,
        Type::Bool,
        Type::Ptr,
    ];

    /// The type with this code, 1 to 13.
    pub fn from_code(code: u8) -> Option<Type> {
        Type::ALL.get(usize::from(code).wrapping_sub(1)).copied()
    }

    /// The type with this name; `string` means ptr.
    pub fn from_name(name: &[u8]) -> Option<Type> {
        if name == b"string" {
            return Some(Type::Ptr);
        }
        Type::ALL.iter().copied().find(|ty| ty.name().as_bytes() == name)
    }

    /// The code in files.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The name in assembly.
    pub fn name(self) -> &'static str {
        match self {
            Type::I8 => "i8",
            Type::I16 => "i16",
            Type::I32 => "i32",
            Type::I64 => "i64",
            Type::U8 => "u8",
            Type::U16 => "u16",
            Type::U32 => "u32",
            Type::U64 => "u64",
            Type::F32 => "f32",
            Type::F64 => "f64",
            Type::Char => "char",
            Type::Bool => "bool",
            Type::Ptr => "ptr",
        }
    }

    /// Bytes of the payload in files and in cells of arrays.
    pub fn size(self) -> usize {
        match self {
            Type::I8 | Type::U8 | Type::Char | Type::Bool => 1,
            Type::I16 | Type::U16 => 2,
            Type::I32 | Type::U32 | Type::F32 => 4,
            Type::I64 | Type::U64 | Type::F64 | Type::Ptr => 8,
        }
    }

    /// Whether payloads are signed numbers.
    pub fn is_signed(self) -> bool {
        matches!(self, Type::I8 | Type::I16 | Type::I32 | Type::I64)
    }

    /// Whether it is one of the eight integer types, which char is not.
    pub fn is_integer(self) -> bool {
        (self as u8) <= Type::U64 as u8
    }

    /// Whether it is f32 or f64.
    pub fn is_float(self) -> bool {
        matches!(self, Type::F32 | Type::F64)
    }

    /// The payload that little-endian bytes of [`Type::size`] are: integers extended to 64 bits by their sign.
    pub fn payload(self, bytes: &[u8]) -> u64 {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        self.wrap(u64::from_le_bytes(whole))
    }

    /// An integer cut to this type and extended again; other payloads cut to their size.
    pub fn wrap(self, bits: u64) -> u64 {
        match self {
            Type::I8 => bits as i8 as u64,
            Type::I16 => bits as i16 as u64,
            Type::I32 => bits as i32 as u64,
            Type::U8 | Type::Char | Type::Bool => u64::from(bits as u8),
            Type::U16 => u64::from(bits as u16),
            Type::U32 | Type::F32 => u64::from(bits as u32),
            Type::I64 | Type::U64 | Type::F64 | Type::Ptr => bits,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A literal.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// A payload, as [`Type::wrap`] leaves it; of a ptr only null, 0.
    Plain(Type, u64),
    /// A text, which is a ptr to an object of its own.
    Text(Box<[u8]>),
}

impl Constant {
    /// Its type.
    pub fn ty(&self) -> Type {
        match self {
            Constant::Plain(ty, _) => *ty,
            Constant::Text(_) => Type::Ptr,
        }
    }

    /// An i32.
    pub fn i32(number: i32) -> Constant {
        Constant::Plain(Type::I32, number as u64)
    }

    /// An i64.
    pub fn i64(number: i64) -> Constant {
        Constant::Plain(Type::I64, number as u64)
    }

    /// An f64.
    pub fn f64(number: f64) -> Constant {
        Constant::Plain(Type::F64, number.to_bits())
    }

    /// A text.
    pub fn text(text: &str) -> Constant {
        Constant::Text(text.as_bytes().into())
    }

    /// The null ptr.
    pub const NULL: Constant = Constant::Plain(Type::Ptr, 0);
}
