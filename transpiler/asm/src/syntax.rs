//! What the parser makes of a source text: declarations and instructions with names still unresolved.

use dotvm_arch::W512;
use dotvm_core::capability::Capability;
use dotvm_core::host_call::HostCall;
use dotvm_core::module::{CollectionKind, Constant, Signature};
use dotvm_core::opcode::{Op, Prefix};

use crate::lexer::Span;

/// A name where it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decl {
    /// The name; empty for `_`.
    pub(crate) name: String,
    /// Whether operands can refer to it: not for `_` and `~name`.
    pub(crate) in_scope: bool,
    pub(crate) span: Span,
}

/// A number as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) negative: bool,
    pub(crate) magnitude: W512,
}

/// An operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Operand {
    pub(crate) kind: OperandKind,
    pub(crate) span: Span,
}

/// What an operand is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OperandKind {
    /// A name.
    Name(String),
    /// A number or a character.
    Number(Number),
    /// A number written with `0x`, which is also a byte string; `None` where it has an odd number of digits.
    Hex(Option<Number>, Option<Vec<u8>>),
    /// `=n`: a signed immediate exactly as given.
    Exact(i64),
    /// Text in quotes.
    Text(Vec<u8>),
    /// `[a b c]`.
    List(Vec<Operand>),
}

/// A part of a function's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) kind: ItemKind,
    pub(crate) span: Span,
    /// Source line for the debug section.
    pub(crate) line: u32,
}

/// What a part of a body is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ItemKind {
    /// A label. Labels that start with `@` are not recorded in the debug section.
    Label { decl: Decl, recorded: bool },
    /// An instruction.
    Inst { prefix: Option<Prefix>, op: Op, operands: Vec<Operand> },
    /// `.if`, `.else`, `.end_if`, `.while`, `.do`, `.end_while`, `.try`, `.catch`, `.end_try`.
    Form(Form),
}

/// The structured forms over jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    If,
    Else,
    EndIf,
    While,
    Do,
    EndWhile,
    Try,
    /// With the bits of the trap kinds that are caught.
    Catch(u32),
    EndTry,
}

impl Form {
    const ALL: [(Form, &'static str); 9] = [
        (Form::If, "if"),
        (Form::Else, "else"),
        (Form::EndIf, "end_if"),
        (Form::While, "while"),
        (Form::Do, "do"),
        (Form::EndWhile, "end_while"),
        (Form::Try, "try"),
        (Form::Catch(0), "catch"),
        (Form::EndTry, "end_try"),
    ];

    pub(crate) fn from_name(name: &str) -> Option<Form> {
        Form::ALL.iter().find(|(_, known)| *known == name).map(|(form, _)| *form)
    }

    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        Form::ALL.iter().map(|(_, name)| *name)
    }
}

/// A function.
#[derive(Clone, Debug)]
pub(crate) struct FunctionSource {
    pub(crate) decl: Decl,
    pub(crate) public: bool,
    pub(crate) signature: Signature,
    /// `sig NAME` of the header, which picks among equal signatures.
    pub(crate) signature_choice: Option<Operand>,
    pub(crate) window: u16,
    /// Word parameters, then locals.
    pub(crate) words: Vec<Decl>,
    /// Reference parameters, then locals.
    pub(crate) refs: Vec<Decl>,
    pub(crate) body: Vec<Item>,
    /// `.handler`.
    pub(crate) handlers: Vec<HandlerSource>,
}

/// A handler with its labels and heights.
#[derive(Clone, Debug)]
pub(crate) struct HandlerSource {
    pub(crate) from: Operand,
    pub(crate) to: Operand,
    pub(crate) target: Operand,
    pub(crate) words: u16,
    pub(crate) refs: u16,
    pub(crate) kinds: u32,
    pub(crate) span: Span,
}

/// A data segment.
#[derive(Clone, Debug)]
pub(crate) struct DataSource {
    pub(crate) read_only: bool,
    pub(crate) place: DataPlace,
    pub(crate) bytes: Vec<u8>,
    pub(crate) span: Span,
}

/// Where a data segment goes.
#[derive(Clone, Debug)]
pub(crate) enum DataPlace {
    /// At an address.
    Address(Number),
    /// Behind the previous segment of its class, under a name.
    Named(Decl),
}

/// A jump map.
#[derive(Clone, Debug)]
pub(crate) struct JumpMapSource {
    pub(crate) decl: Decl,
    pub(crate) function: Operand,
    /// Guest addresses and labels.
    pub(crate) entries: Vec<(Number, Operand)>,
}

/// `.arch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArchSource {
    /// Any width.
    Any,
    /// This one.
    Fixed(dotvm_arch::Width),
}

/// Everything in a source text.
#[derive(Default)]
pub(crate) struct SourceModule {
    pub(crate) name: Option<Decl>,
    pub(crate) arch: Option<(ArchSource, Span)>,
    pub(crate) entry: Option<Operand>,
    /// Least and greatest number of pages.
    pub(crate) memory: Option<(u64, u64)>,
    pub(crate) heap: Option<(u64, Span)>,
    pub(crate) capabilities: Vec<Capability>,
    pub(crate) host_calls: Vec<(Decl, HostCall)>,
    pub(crate) collections: Vec<(Decl, CollectionKind)>,
    pub(crate) globals: Vec<(Decl, Option<(Number, Span)>)>,
    pub(crate) ref_globals: Vec<Decl>,
    pub(crate) word_constants: Vec<(Decl, Option<(Number, Span)>)>,
    pub(crate) ref_constants: Vec<(Decl, Constant)>,
    pub(crate) data: Vec<DataSource>,
    pub(crate) tables: Vec<(Decl, Vec<Option<Operand>>)>,
    pub(crate) signatures: Vec<(Decl, Signature)>,
    pub(crate) jump_maps: Vec<JumpMapSource>,
    pub(crate) exports: Vec<(Decl, Operand)>,
    pub(crate) functions: Vec<FunctionSource>,
    pub(crate) file: Option<(String, [u8; 32])>,
    pub(crate) no_debug: bool,
}
