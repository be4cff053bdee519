//! A generator of RVM programs, for compilers that have RVM as their target.
//!
//! It keeps what the assembler checks (names declared once, subroutines that do not nest, branches within a subroutine),
//! and gives the program as bytes or as assembly text, which assembles to those bytes.
//!
//! ```
//! use dotvm_rvm::generator::{Branch, Generator, Plain};
//! use dotvm_rvm::{Constant, Type};
//!
//! // i64 power(base, exponent) by repeated multiplication.
//! let mut program = Generator::new();
//! program.import_system("io", "io")?;
//! program.begin("power", Some(Type::I64))?;
//! for name in ["left", "base"] {
//!     program.store(name)?;
//! }
//! program.push(Constant::i64(1))?;
//! let (again, done) = (program.label("again")?, program.label("done")?);
//! program.mark(again)?;
//! program.load("left")?;
//! program.branch(Branch::IfFalse, done);
//! program.load("base")?;
//! program.plain(Plain::Mul);
//! program.load("left")?;
//! program.plain(Plain::Dec);
//! program.store("left")?;
//! program.branch(Branch::Always, again);
//! program.mark(done)?;
//! program.end()?;
//!
//! program.push(Constant::i64(3))?;
//! program.push(Constant::i64(13))?;
//! program.call("power")?;
//! program.call_library("io", "println")?;
//! program.plain(Plain::Halt);
//! let bytes = program.bytes()?;
//! assert_eq!(bytes[..4], [0xFF, 0x00, 0xFF, 0x05]);
//! assert!(program.assembly()?.contains("begin i64 power"));
//! # Ok::<(), dotvm_rvm::generator::GeneratorError>(())
//! ```

mod text;

use std::collections::{HashMap, HashSet};

use crate::bytes;
use crate::isa::op;
use crate::lexer::is_name_byte;
use crate::model::{Arg, Data, Declaration, Extern, Module, NAME_BYTES, Name, TEXT_BYTES, register};
use crate::types::{Constant, Type};

/// Why something does not become part of a program: a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GeneratorError(String);

fn wrong<T>(message: impl Into<String>) -> Result<T, GeneratorError> {
    Err(GeneratorError(message.into()))
}

type Done<T = ()> = Result<T, GeneratorError>;

macro_rules! plain {
    ($($variant:ident $code:ident $meaning:literal;)*) => {
        /// An instruction without argument.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Plain {
            $(#[doc = $meaning] $variant = op::$code,)*
        }
    };
}

plain! {
    Halt HALT "Stops the machine."; Noop NOOP "Does nothing."; Pop POP "`a ->`"; Dup DUP "`a -> a a`";
    Swap SWAP "`a b -> b a`"; Rot ROT "`a b c -> b c a`"; Add ADD "`a b -> a+b`"; Sub SUB "`a b -> a-b`";
    Mul MUL "`a b -> a*b`"; Div DIV "`a b -> a/b`"; Mod MOD "`a b -> a%b`"; And AND "`a b -> a&b`";
    Or OR "`a b -> a|b`"; Xor XOR "`a b -> a^b`"; Shl SHL "Shift left."; Shr SHR "Shift right.";
    Not NOT "`a -> ~a`"; Land LAND "Logical and."; Lor LOR "Logical or."; Lnot LNOT "Logical not.";
    Eq EQ "`a b -> a = b`"; Ge GE "`a b -> a >= b`"; Gt GT "`a b -> a > b`"; Le LE "`a b -> a <= b`";
    Lt LT "`a b -> a < b`"; Ne NE "`a b -> a != b`"; Inc INC "`a -> a+1`"; Dec DEC "`a -> a-1`";
    Neg NEG "`a -> -a`"; Ret RET "Returns."; Typeof TYPEOF "Code of the type."; Deref DEREF "The cell that a ptr names.";
    Itof ITOF "Integer to f64."; Itos ITOS "Integer to text."; Itob ITOB "Integer to bool.";
    Itoc ITOC "Integer to char."; Itop ITOP "Integer to ptr."; Ftoi FTOI "Float to i32."; Ftos FTOS "Float to text.";
    Ftob FTOB "Float to bool."; Ftoc FTOC "Float to char."; Stoi STOI "Text to i32."; Stof STOF "Text to f64.";
    Stob STOB "Text to bool."; Stoc STOC "First char of a text."; Ctos CTOS "Char to text."; Ctob CTOB "Char to bool.";
    Ptoi PTOI "Ptr to i64."; Ptos PTOS "Ptr to text."; Ctof CTOF "Char to f64."; Ctoi CTOI "Char to i32.";
    Btos BTOS "Bool to text.";
}

/// When a branch is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Branch {
    /// Always.
    Always = op::BR,
    /// If the value on top, which is taken, is false.
    IfFalse = op::BRF,
    /// If it is true.
    IfTrue = op::BRT,
    /// If of the two values on top, which are taken, a = b.
    IfEqual = op::BEQ,
    /// a >= b.
    IfGreaterOrEqual = op::BGE,
    /// a > b.
    IfGreater = op::BGT,
    /// a <= b.
    IfLessOrEqual = op::BLE,
    /// a < b.
    IfLess = op::BLT,
    /// a != b.
    IfNotEqual = op::BNE,
}

/// A label of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label(u32);

/// A label as the program knows it.
#[derive(Clone, Debug)]
struct Known {
    name: Name,
    /// Record and subroutine of its mark.
    mark: Option<(u32, u32)>,
}

/// What a variable or constant begins with.
#[derive(Clone, Debug, PartialEq)]
pub enum Initial {
    /// One value.
    Value(Constant),
    /// An array: type, number of cells, the first values.
    Array(Type, u32, Vec<Constant>),
    /// A structure: its name, the first fields.
    Structure(String, Vec<Constant>),
}

/// A program in the making.
#[derive(Clone, Debug, Default)]
pub struct Generator {
    module: Module,
    declared: HashSet<Name>,
    subroutines: HashSet<Name>,
    labels: Vec<Known>,
    label_names: HashSet<Name>,
    structures: HashMap<Name, usize>,
    /// Branches: record, label, subroutine.
    branches: Vec<(u32, Label, u32)>,
    /// The number of the subroutine at hand, 0 outside.
    unit: u32,
    units: u32,
}

impl Generator {
    /// An empty program.
    pub fn new() -> Generator {
        Generator::default()
    }

    fn name_of(&mut self, name: &str) -> Done<Name> {
        let starts = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !starts || !name.bytes().all(is_name_byte) || name.len() > NAME_BYTES {
            return wrong(format!(
                "{name:?} is no name: a letter or _, then letters, digits, _, at most {NAME_BYTES}"
            ));
        }
        Ok(self.module.names.intern(name.as_bytes()))
    }

    fn new_name(&mut self, name: &str) -> Done<Name> {
        if register(name.as_bytes()).is_some() {
            return wrong(format!("{name} is a register"));
        }
        self.name_of(name)
    }

    fn free_text(&mut self, text: &str) -> Done<Name> {
        if text.len() > NAME_BYTES {
            return wrong(format!("a name has at most {NAME_BYTES} bytes"));
        }
        Ok(self.module.names.intern(text.as_bytes()))
    }

    fn record(&mut self, code: u8, ty: u8, arg: Arg) {
        self.module.push(code, ty, arg, 0);
    }

    /// The module's name, which those who import it must use.
    ///
    /// # Errors
    /// If it is too long.
    pub fn name(&mut self, name: &str) -> Done {
        self.module.name = Some(self.free_text(name)?);
        Ok(())
    }

    /// The module's version.
    ///
    /// # Errors
    /// If it is too long.
    pub fn version(&mut self, version: &str) -> Done {
        self.module.version = Some(self.free_text(version)?);
        Ok(())
    }

    fn import_as(&mut self, is_system: bool, library: &str, alias: &str) -> Done {
        let name = self.free_text(library)?;
        let alias = self.name_of(alias)?;
        self.module.externs.push(Extern { is_system, name, alias });
        Ok(())
    }

    /// Imports a system library.
    ///
    /// # Errors
    /// If the alias is no name.
    pub fn import_system(&mut self, library: &str, alias: &str) -> Done {
        self.import_as(true, library, alias)
    }

    /// Imports a library that lies beside the program.
    ///
    /// # Errors
    /// If the alias is no name.
    pub fn import(&mut self, library: &str, alias: &str) -> Done {
        self.import_as(false, library, alias)
    }

    /// Makes a subroutine callable from other modules.
    ///
    /// # Errors
    /// If it is no name.
    pub fn export(&mut self, name: &str) -> Done {
        let name = self.name_of(name)?;
        self.module.exports.push(name);
        Ok(())
    }

    /// Declares a structure.
    ///
    /// # Errors
    /// If it is declared already, or has no fields or more than 255.
    pub fn structure(&mut self, name: &str, fields: &[Type]) -> Done {
        let number = self.module.structures.len();
        let known = self.new_name(name)?;
        if fields.is_empty() || fields.len() > 255 {
            return wrong(format!("the structure {name} has 1 to 255 fields, not {}", fields.len()));
        }
        if self.structures.insert(known, number).is_some() {
            return wrong(format!("the structure {name} is declared already"));
        }
        self.module.structures.push((known, fields.to_vec()));
        Ok(())
    }

    /// Declares a global variable.
    ///
    /// # Errors
    /// If the name is declared already or the values do not fit.
    pub fn variable(&mut self, name: &str, initial: Initial) -> Done {
        self.declare(name, initial, false)
    }

    /// Declares a constant.
    ///
    /// # Errors
    /// Those of [`Generator::variable`]; a constant has at least one value.
    pub fn constant(&mut self, name: &str, initial: Initial) -> Done {
        if matches!(&initial, Initial::Array(_, _, values) | Initial::Structure(_, values) if values.is_empty())
        {
            return wrong(format!("the constant {name} has no value"));
        }
        self.declare(name, initial, true)
    }

    fn declare(&mut self, name: &str, initial: Initial, is_constant: bool) -> Done {
        let known = self.new_name(name)?;
        let fits = |ty: Type, value: &Constant| match value {
            Constant::Text(text) => ty == Type::Ptr && text.len() <= TEXT_BYTES,
            Constant::Plain(Type::Ptr, bits) => ty == Type::Ptr && *bits == 0,
            Constant::Plain(own, bits) => *own == ty && own.wrap(*bits) == *bits,
        };
        let data = match initial {
            Initial::Value(value) if fits(value.ty(), &value) => Data::Scalar(value),
            Initial::Array(ty, cells, values)
                if values.len() <= cells as usize
                    && cells > 0
                    && values.iter().all(|value| fits(ty, value)) =>
            {
                Data::Array(ty, cells, values)
            }
            Initial::Structure(structure, values) => {
                let number = self.module.names.find(structure.as_bytes());
                let number = number.and_then(|name| Some((name, *self.structures.get(&name)?)));
                let Some((structure, number)) = number else {
                    return wrong(format!("there is no structure {structure}"));
                };
                let types = &self.module.structures[number].1;
                if values.len() > types.len()
                    || !types.iter().zip(&values).all(|(ty, value)| fits(*ty, value))
                {
                    return wrong(format!("the values of {name} do not fit its structure"));
                }
                Data::Structure(structure, values)
            }
            _ => return wrong(format!("the values of {name} do not fit its type")),
        };
        if !self.declared.insert(known) {
            return wrong(format!("{name} is declared already"));
        }
        self.module.declarations.push(Declaration { name: known, is_constant, data });
        Ok(())
    }

    /// Begins a subroutine that returns a value of a type, or none.
    ///
    /// # Errors
    /// If another one has not ended, or has this name.
    pub fn begin(&mut self, name: &str, returns: Option<Type>) -> Done {
        let known = self.new_name(name)?;
        if self.unit != 0 {
            return wrong("subroutines do not nest");
        }
        if !self.subroutines.insert(known) {
            return wrong(format!("the subroutine {name} is there already"));
        }
        self.units += 1;
        self.unit = self.units;
        self.record(op::BEGIN, returns.map_or(0, Type::code), Arg::Name(known));
        Ok(())
    }

    /// Ends the subroutine, with a return.
    ///
    /// # Errors
    /// If there is none.
    pub fn end(&mut self) -> Done {
        if self.unit == 0 {
            return wrong("no subroutine has begun");
        }
        self.record(op::END, 0, Arg::None);
        self.unit = 0;
        Ok(())
    }

    /// A new label, to be marked once.
    ///
    /// # Errors
    /// If it is no name, or there is one already.
    pub fn label(&mut self, name: &str) -> Done<Label> {
        let known = self.new_name(name)?;
        if !self.label_names.insert(known) {
            return wrong(format!("the label {name} is there already"));
        }
        self.labels.push(Known { name: known, mark: None });
        Ok(Label(self.labels.len() as u32 - 1))
    }

    fn known(&mut self, label: Label) -> &mut Known {
        &mut self.labels[label.0 as usize]
    }

    /// Marks the place of a label of this program.
    ///
    /// # Errors
    /// If it is marked already.
    pub fn mark(&mut self, label: Label) -> Done {
        let (record, unit) = (self.module.records.len() as u32, self.unit);
        let known = self.known(label);
        let name = known.name;
        if known.mark.replace((record, unit)).is_some() {
            return wrong(format!("the label {} is marked already", self.module.names.text(name)));
        }
        self.record(op::LABEL, 0, Arg::Name(name));
        Ok(())
    }

    /// Branches to a label of this program.
    pub fn branch(&mut self, when: Branch, label: Label) {
        self.branches.push((self.module.records.len() as u32, label, self.unit));
        self.record(when as u8, 0, Arg::Target(0));
    }

    /// Pushes a constant.
    ///
    /// # Errors
    /// If a text is too long, or a payload is none of its type.
    pub fn push(&mut self, constant: Constant) -> Done {
        match constant {
            Constant::Text(text) if text.len() > TEXT_BYTES => {
                wrong(format!("a text has at most {TEXT_BYTES} bytes"))
            }
            Constant::Text(text) => {
                self.module.texts.push(text);
                let number = self.module.texts.len() as u32 - 1;
                self.record(op::PUSH, Type::Ptr.code(), Arg::Text(number));
                Ok(())
            }
            Constant::Plain(ty, bits) if ty.wrap(bits) == bits && (ty != Type::Ptr || bits == 0) => {
                self.record(op::PUSH, ty.code(), Arg::Plain(bits));
                Ok(())
            }
            Constant::Plain(ty, bits) => wrong(format!("{bits:#x} is no payload of {ty}")),
        }
    }

    /// Pushes a new array.
    ///
    /// # Errors
    /// If it has no cells.
    pub fn push_array(&mut self, ty: Type, cells: u32) -> Done {
        if cells == 0 {
            return wrong("an array has at least one cell");
        }
        self.record(op::PUSH, Type::Ptr.code(), Arg::Array(ty, cells));
        Ok(())
    }

    /// Pushes a new structure.
    ///
    /// # Errors
    /// If it is not declared.
    pub fn push_structure(&mut self, name: &str) -> Done {
        let known = self.module.names.find(name.as_bytes()).filter(|name| self.structures.contains_key(name));
        let Some(known) = known else { return wrong(format!("there is no structure {name}")) };
        self.record(op::PUSH, Type::Ptr.code(), Arg::Structure(known));
        Ok(())
    }

    /// Pushes a variable, constant or register.
    ///
    /// # Errors
    /// If it is no name.
    pub fn load(&mut self, name: &str) -> Done {
        let name = self.name_of(name)?;
        self.record(op::LOAD, 0, Arg::Name(name));
        Ok(())
    }

    /// Stores into a variable or register.
    ///
    /// # Errors
    /// If it is no name.
    pub fn store(&mut self, name: &str) -> Done {
        let name = self.name_of(name)?;
        self.record(op::STORE, 0, Arg::Name(name));
        Ok(())
    }

    /// Stores into a cell of the object that a variable names. In assembly text that is the meaning of every store to
    /// such a variable, which is why [`Generator::assembly`] refuses a program where it is not.
    ///
    /// # Errors
    /// If it is no name.
    pub fn store_element(&mut self, name: &str) -> Done {
        let name = self.name_of(name)?;
        self.record(op::STORE, Type::Ptr.code(), Arg::Name(name));
        Ok(())
    }

    /// An instruction without argument.
    pub fn plain(&mut self, instruction: Plain) {
        self.record(instruction as u8, 0, Arg::None);
    }

    /// The same, which also demands that its operands have a type.
    ///
    /// # Errors
    /// If the instruction cannot demand that.
    pub fn typed(&mut self, instruction: Plain, ty: Type) -> Done {
        if !crate::isa::is_typed(instruction as u8) {
            return wrong(format!("{instruction:?} demands no type"));
        }
        self.record(instruction as u8, ty.code(), Arg::None);
        Ok(())
    }

    /// Converts the value on top.
    pub fn convert(&mut self, to: Type) {
        self.record(op::CONV, to.code(), Arg::None);
    }

    /// Calls a subroutine or label of this module.
    ///
    /// # Errors
    /// If it is no name.
    pub fn call(&mut self, name: &str) -> Done {
        let name = self.name_of(name)?;
        self.record(op::CALL, 0, Arg::Name(name));
        Ok(())
    }

    /// Calls a function of a library.
    ///
    /// # Errors
    /// If one of the two is no name.
    pub fn call_library(&mut self, alias: &str, name: &str) -> Done {
        self.name_of(alias)?;
        self.name_of(name)?;
        let whole = format!("[{alias}]{name}");
        if whole.len() > NAME_BYTES {
            return wrong(format!("{whole} has more than {NAME_BYTES} bytes"));
        }
        let name = self.module.names.intern(whole.as_bytes());
        self.record(op::CALL, 0, Arg::Name(name));
        Ok(())
    }

    /// The module with the targets of its branches.
    fn finished(&self) -> Done<Module> {
        if self.unit != 0 {
            return wrong("a subroutine has not ended");
        }
        let mut module = self.module.clone();
        for &(record, label, unit) in &self.branches {
            let known = self.labels.get(label.0 as usize);
            match known.and_then(|known| known.mark) {
                Some((target, inside)) if inside == unit => {
                    module.records[record as usize].arg = Arg::Target(target)
                }
                Some(_) => return wrong("a branch leaves its subroutine"),
                None => return wrong("a label that is branched to is not marked"),
            }
        }
        Ok(module)
    }

    /// The program as bytes.
    ///
    /// # Errors
    /// If a subroutine has not ended, or a branch has no target in its subroutine.
    pub fn bytes(&self) -> Done<Vec<u8>> {
        Ok(bytes::write(&self.finished()?))
    }

    /// The program as assembly text, which assembles to [`Generator::bytes`].
    ///
    /// # Errors
    /// Those of [`Generator::bytes`]; and if what it says has no form in text.
    pub fn assembly(&self) -> Done<String> {
        let module = self.finished()?;
        let text = text::write(&module)?;
        match crate::asm::assemble(text.as_bytes()) {
            Ok(again) if bytes::write(&again) == bytes::write(&module) => Ok(text),
            Ok(_) => wrong(
                "a store has another meaning in text: store_element is used for some stores to a variable only",
            ),
            Err(errors) => wrong(format!("the program has no form in text: {}", errors[0].message)),
        }
    }
}
