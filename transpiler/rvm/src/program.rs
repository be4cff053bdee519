//! A linked program: one sequence of instructions in which every name has become a number.

use std::ops::Range;

use crate::types::Type;

/// Slots of a frame before those of its locals: the registers.
pub(crate) const FIRST_LOCAL: u32 = 10;

/// The target of a branch that is error 4 when it is taken.
pub(crate) const BAD_TARGET: u32 = u32::MAX;

/// Codes of instructions that stand for records of which the reference says more than the opcode does.
pub(crate) mod code {
    /// Pushes a payload of the pool.
    pub const PUSH_POOL: u8 = 0x45;
    /// Pushes a global.
    pub const LOAD_GLOBAL: u8 = 0x46;
    /// Stores into a global.
    pub const STORE_GLOBAL: u8 = 0x47;
    /// Stores into r8.
    pub const STORE_R8: u8 = 0x48;
    /// Stores into r9.
    pub const STORE_R9: u8 = 0x49;
    /// Stores into a constant: error 5.
    pub const STORE_CONSTANT: u8 = 0x4A;
    /// Element store: the object that a slot of the frame names.
    pub const ELEMENT: u8 = 0x4B;
    /// Element store: the object that a global names.
    pub const ELEMENT_GLOBAL: u8 = 0x4C;
    /// Element store: the object that a value of the pool names.
    pub const ELEMENT_CONSTANT: u8 = 0x4D;
    /// A new array.
    pub const NEW_ARRAY: u8 = 0x4E;
    /// A new structure.
    pub const NEW_STRUCTURE: u8 = 0x4F;
    /// A function of a system library.
    pub const LIBRARY: u8 = 0x50;
    /// The end of a module's buffer.
    pub const END_OF_BUFFER: u8 = 0x51;
    /// An unknown opcode.
    pub const INVALID: u8 = 0x52;
    /// In memory only: direct code can be entered here.
    pub const ENTRY: u8 = 0x53;
}

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inst {
    pub op: u8,
    pub ty: u8,
    pub arg: u32,
}

/// What a call leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Callee {
    /// Its first instruction.
    pub entry: u32,
    /// The unit it lies in.
    pub unit: u32,
    /// Code of the type that it returns, 0 for none.
    pub returns: u8,
}

/// A subroutine, or the code of a module outside of them.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub module: u32,
    /// Its name, if it is a subroutine.
    pub name: Option<Vec<u8>>,
    /// Its `begin`, or the module's first instruction.
    pub begin: u32,
    /// Behind its `end`, or the end of the module's buffer.
    pub end: u32,
    /// Code of the type that it returns.
    pub returns: u8,
    /// Names of its locals, by slot.
    pub locals: Vec<u32>,
}

/// How the cells of an object are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Cells of one type, each of its size.
    Array(Type),
    /// Cells of a structure, eight bytes each.
    Structure(u32),
}

/// An object that is there from the start.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub shape: Shape,
    pub cells: u32,
    pub is_constant: bool,
    /// Its first bytes; the rest are zero.
    pub contents: Vec<u8>,
}

/// A global variable.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Global {
    pub ty: Type,
    pub initial: u64,
}

/// A module of the program.
#[derive(Clone, Debug)]
pub(crate) struct LinkedModule {
    pub first_record: u32,
    /// The unit of its code outside of subroutines.
    pub outside: u32,
    pub subroutines: Range<u32>,
}

/// A program. Instructions are numbered through all modules, the main module first; each module's end is an instruction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Program {
    pub modules: Vec<LinkedModule>,
    pub units: Vec<Unit>,
    pub insts: Vec<Inst>,
    /// For each instruction its line, or byte address, in its module's file.
    pub places: Vec<u32>,
    /// Whether the places of the main module are lines.
    pub has_lines: bool,
    pub callees: Vec<Callee>,
    /// Payloads that do not fit an instruction.
    pub pool: Vec<u64>,
    pub globals: Vec<Global>,
    pub structures: Vec<Vec<Type>>,
    /// Objects, number 1 first.
    pub objects: Vec<Object>,
    /// Records of the modules met so far, while linking.
    pub records_before: u32,
}
