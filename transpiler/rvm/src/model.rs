//! A module of RVM as its files hold it (`docs/machines/rvm.md`, sections 7 to 9): what the assembler, the reader of
//! bytes and the generator make, and the writer and the linker take.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::types::{Constant, Type};

/// Longest name, bytes.
pub const NAME_BYTES: usize = 255;
/// Longest text literal, bytes.
pub const TEXT_BYTES: usize = 65_535;
/// Cells of all arrays, texts and structures together.
pub const MAX_CELLS: u64 = 16_777_216;

/// A name, by its number in [`Names`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(pub u32);

/// The names of a module, each once.
#[derive(Clone, Debug, Default)]
pub struct Names {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    table: HashTable<u32>,
    state: DefaultHashBuilder,
}

impl Names {
    /// The number of a name.
    pub fn intern(&mut self, name: &[u8]) -> Name {
        let Names { bytes, ends, table, state } = self;
        let hash = state.hash_one(name);
        let at = |number: u32| {
            let start = if number == 0 { 0 } else { ends[number as usize - 1] };
            &bytes[start as usize..ends[number as usize] as usize]
        };
        if let Some(&number) = table.find(hash, |&number| at(number) == name) {
            return Name(number);
        }
        let number = ends.len() as u32;
        table.insert_unique(hash, number, |&number| state.hash_one(at(number)));
        bytes.extend_from_slice(name);
        ends.push(bytes.len() as u32);
        Name(number)
    }

    /// A name that is there already.
    pub fn find(&self, name: &[u8]) -> Option<Name> {
        let hash = self.state.hash_one(name);
        self.table.find(hash, |&number| self.bytes(Name(number)) == name).map(|&number| Name(number))
    }

    /// The bytes of a name.
    pub fn bytes(&self, name: Name) -> &[u8] {
        let start = if name.0 == 0 { 0 } else { self.ends[name.0 as usize - 1] };
        &self.bytes[start as usize..self.ends[name.0 as usize] as usize]
    }

    /// The name for people.
    pub fn text(&self, name: Name) -> String {
        String::from_utf8_lossy(self.bytes(name)).into_owned()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }
}

/// The number of a register's name, `r0` to `r9`.
pub fn register(name: &[u8]) -> Option<u8> {
    match name {
        [b'r', digit @ b'0'..=b'9'] => Some(digit - b'0'),
        _ => None,
    }
}

/// What stands behind a record's opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// Nothing.
    None,
    /// A name.
    Name(Name),
    /// The number of a record.
    Target(u32),
    /// A payload of the record's type.
    Plain(u64),
    /// A text, by its number in [`Module::texts`].
    Text(u32),
    /// A new array.
    Array(Type, u32),
    /// A new structure.
    Structure(Name),
}

/// A record of the instruction buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Opcode; 45 and above where decoding ended.
    pub op: u8,
    /// Type byte.
    pub ty: u8,
    /// Argument.
    pub arg: Arg,
}

/// What a name of the data block stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// One value.
    Scalar(Constant),
    /// An array with so many cells, of which the first values are given.
    Array(Type, u32, Vec<Constant>),
    /// A structure, of which the first fields are given.
    Structure(Name, Vec<Constant>),
}

/// A name of the data block.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    /// Its name.
    pub name: Name,
    /// Whether it is a constant.
    pub is_constant: bool,
    /// What it stands for.
    pub data: Data,
}

/// A library that a module names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extern {
    /// Whether only a system library is meant.
    pub is_system: bool,
    /// The library.
    pub name: Name,
    /// What calls of it say.
    pub alias: Name,
}

/// A module.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// All names in it.
    pub names: Names,
    /// `.name`.
    pub name: Option<Name>,
    /// `.version`.
    pub version: Option<Name>,
    /// `.extern`, in order.
    pub externs: Vec<Extern>,
    /// `.export`, in order.
    pub exports: Vec<Name>,
    /// `.struct`, in order.
    pub structures: Vec<(Name, Vec<Type>)>,
    /// `.const` and `.var`, in order.
    pub declarations: Vec<Declaration>,
    /// The instruction buffer.
    pub records: Vec<Record>,
    /// Texts that records push.
    pub texts: Vec<Box<[u8]>>,
    /// For each record its line of text, or its byte address.
    pub places: Vec<u32>,
    /// Whether `places` are lines.
    pub has_lines: bool,
}

impl Module {
    /// The place of a record for messages.
    pub fn place(&self, record: usize) -> String {
        match self.places.get(record) {
            Some(line) if self.has_lines => format!("line {line}"),
            Some(at) => format!("byte {at:#x}"),
            None => format!("record {record}"),
        }
    }

    /// Appends a record.
    pub fn push(&mut self, op: u8, ty: u8, arg: Arg, place: u32) {
        self.records.push(Record { op, ty, arg });
        self.places.push(place);
    }
}
