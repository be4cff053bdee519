//! The assembler (`docs/machines/rvm.md`, section 8).

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use crate::isa::{self, Operand, op};
use crate::lexer::{Placed, Token, Wrong, tokens};
use crate::literal::constant;
use crate::model::{Arg, Data, Declaration, Extern, Module, NAME_BYTES, Name, register};
use crate::types::{Constant, Type};

/// Most errors that are told.
const MAX_ERRORS: usize = 20;

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
    /// Length in bytes.
    pub len: usize,
    /// A sentence.
    pub message: String,
    /// What may help.
    pub hint: Option<String>,
}

struct Label {
    record: u32,
    unit: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum Block {
    Meta,
    Data,
    Code,
}

struct Assembler {
    module: Module,
    line: usize,
    block: Block,
    labels: HashMap<Name, Label>,
    subroutines: HashSet<Name>,
    structures: HashMap<Name, usize>,
    declared: HashMap<Name, usize>,
    /// Branches: record, label, its place.
    branches: Vec<(u32, Name, usize, usize)>,
    /// Stores: record, unit, place of the name.
    stores: Vec<(u32, u32, usize, usize)>,
    /// The unit of each record: 0 outside subroutines.
    units: Vec<u32>,
    unit: u32,
    last_unit: u32,
    open: Option<(usize, usize, usize)>,
    errors: Vec<Diagnostic>,
}

/// Assembles a text.
///
/// # Errors
/// What is wrong with it, the first errors in the order of lines.
pub fn assemble(text: &[u8]) -> Result<Module, Vec<Diagnostic>> {
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let mut assembler = Assembler {
        module: Module { has_lines: true, ..Module::default() },
        line: 0,
        block: Block::Code,
        labels: HashMap::new(),
        subroutines: HashSet::new(),
        structures: HashMap::new(),
        declared: HashMap::new(),
        branches: Vec::new(),
        stores: Vec::new(),
        units: Vec::new(),
        unit: 0,
        last_unit: 0,
        open: None,
        errors: Vec::new(),
    };
    let mut found = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        assembler.line += 1;
        let done = tokens(line, &mut found).and_then(|()| assembler.line(&found));
        if let Err((at, len, message, hint)) = done {
            assembler.error(assembler.line, at, len, message, hint);
            if assembler.errors.len() >= MAX_ERRORS {
                break;
            }
        }
    }
    assembler.resolve();
    if assembler.errors.is_empty() { Ok(assembler.module) } else { Err(assembler.errors) }
}

/// The errors for people: place, line, caret, hint.
pub fn render(text: &[u8], errors: &[Diagnostic]) -> String {
    let mut out = String::new();
    for (index, error) in errors.iter().enumerate() {
        let Diagnostic { line, column, len, message, hint } = error;
        let separator = if index == 0 { "" } else { "\n" };
        let _ = write!(out, "{separator}line {line}, column {column}: {message}");
        let source = text.split(|byte| *byte == b'\n').nth(line - 1).unwrap_or_default();
        let source = source.strip_suffix(b"\r").unwrap_or(source);
        // A window around the place, so that long lines do not fill the screen.
        let start = (column - 1).saturating_sub(60).min(source.len());
        let end = source.len().min(start + 120);
        let shown: String =
            String::from_utf8_lossy(&source[start..end]).replace('\t', " ").replace(char::is_control, "?");
        let before =
            String::from_utf8_lossy(&source[start..(column - 1).clamp(start, source.len())]).chars().count();
        let marked = (column - 1 + len).clamp(start, end).saturating_sub((column - 1).max(start));
        let _ = write!(out, "\n  {shown}\n  {}{}", " ".repeat(before), "^".repeat(marked.max(1)));
        if let Some(hint) = hint {
            let _ = write!(out, "\n  hint: {hint}");
        }
    }
    out
}

type Step<T = ()> = Result<T, Wrong>;

fn wrong<T>(place: &Placed<'_>, message: impl Into<String>, hint: Option<&str>) -> Step<T> {
    Err((place.at, place.len, message.into(), hint.map(str::to_owned)))
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// The least number of changes from one name to another, if it is small.
fn is_near(a: &[u8], b: &[u8]) -> bool {
    if a.len().abs_diff(b.len()) > 1 || a.is_empty() {
        return false;
    }
    let same = a.iter().zip(b).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
    let (a, b) = (&a[same..], &b[same..]);
    let rest = |a: &[u8], b: &[u8]| a.eq_ignore_ascii_case(b);
    match a.len() as isize - b.len() as isize {
        0 => {
            a.is_empty()
                || rest(&a[1..], &b[1..])
                || a.len() > 1 && a[0] == b[1] && a[1] == b[0] && rest(&a[2..], &b[2..])
        }
        1 => rest(&a[1..], b),
        _ => rest(a, &b[1..]),
    }
}

/// A mnemonic with a type glued to it.
fn glued(word: &[u8]) -> Option<(u8, Type)> {
    for split in (2..word.len()).rev() {
        let (name, ty) = word.split_at(split);
        let ty = match ty {
            b"i" => Some(Type::I32),
            b"f" => Some(Type::F64),
            ty => Type::from_name(ty),
        };
        if let (Some(code), Some(ty)) = (isa::from_mnemonic(name), ty)
            && (code == op::PUSH || code == op::CONV || isa::is_typed(code))
        {
            return Some((code, ty));
        }
    }
    None
}

impl Assembler {
    fn error(&mut self, line: usize, at: usize, len: usize, message: String, hint: Option<String>) {
        self.errors.push(Diagnostic { line, column: at + 1, len, message, hint });
    }

    fn line(&mut self, mut rest: &[Placed<'_>]) -> Step {
        while let [label, Placed { token: Token::Sign(b':'), .. }, more @ ..] = rest
            && let Token::Word(name) = label.token
        {
            self.in_code(label)?;
            let name = self.new_name(label, name)?;
            let record = self.module.records.len() as u32;
            if self.labels.insert(name, Label { record, unit: self.unit }).is_some() {
                return wrong(
                    label,
                    format!("the label {} is there already", self.module.names.text(name)),
                    None,
                );
            }
            self.record(op::LABEL, 0, Arg::Name(name));
            rest = more;
        }
        match rest {
            [] => Ok(()),
            [first, more @ ..] => match &first.token {
                Token::Directive(name) => self.directive(first, name, more),
                Token::Word(word) => self.instruction(first, word, more),
                Token::Sign(b'[') => {
                    self.in_code(first)?;
                    self.call(first, rest)
                }
                _ => wrong(first, "a line begins with a label, an instruction, a directive or a call", None),
            },
        }
    }

    fn in_code(&self, place: &Placed<'_>) -> Step {
        if self.block == Block::Code {
            return Ok(());
        }
        wrong(place, "an instruction outside .code", Some("a line `.code` opens the block of instructions"))
    }

    fn record(&mut self, code: u8, ty: u8, arg: Arg) {
        self.module.push(code, ty, arg, self.line as u32);
        self.units.push(self.unit);
    }

    /// A name that is declared here.
    fn new_name(&mut self, place: &Placed<'_>, name: &[u8]) -> Step<Name> {
        if register(name).is_some() {
            return wrong(place, format!("{} is a register and cannot be declared", shown(name)), None);
        }
        self.name(place, name)
    }

    fn name(&mut self, place: &Placed<'_>, name: &[u8]) -> Step<Name> {
        if name.len() > NAME_BYTES {
            return wrong(
                place,
                format!("a name has at most {NAME_BYTES} bytes, and this has {}", name.len()),
                None,
            );
        }
        Ok(self.module.names.intern(name))
    }

    fn only(&self, rest: &[Placed<'_>]) -> Step {
        match rest.first() {
            None => Ok(()),
            Some(extra) => wrong(
                extra,
                "nothing more belongs on this line",
                Some("an instruction has at most one argument"),
            ),
        }
    }

    /// The word behind `after`.
    fn word<'t, 'l>(
        &self,
        after: &Placed<'_>,
        rest: &'t [Placed<'l>],
        what: &str,
    ) -> Step<(&'l [u8], &'t Placed<'l>)> {
        match rest.first() {
            Some(place) => match place.token {
                Token::Word(word) => Ok((word, place)),
                _ => wrong(place, format!("{what} stands here"), None),
            },
            None => Err((after.at + after.len, 1, format!("{what} is missing"), None)),
        }
    }

    fn directive(&mut self, first: &Placed<'_>, name: &[u8], rest: &[Placed<'_>]) -> Step {
        match &name.to_ascii_lowercase()[..] {
            b"meta" => {
                self.block = Block::Meta;
                self.only(rest)
            }
            b"data" => {
                self.block = Block::Data;
                self.only(rest)
            }
            b"code" => {
                self.block = Block::Code;
                self.only(rest)
            }
            kind @ (b"name" | b"version") => {
                let is_name = kind == b"name";
                let (text, place) = self.text_argument(first, rest)?;
                let name = self.name(place, &text)?;
                let slot = if is_name { &mut self.module.name } else { &mut self.module.version };
                *slot = Some(name);
                self.only(&rest[1..])
            }
            b"extern" => self.library(first, rest),
            b"export" => {
                let (name, place) = self.word(first, rest, "the name of a subroutine")?;
                let name = self.name(place, name)?;
                self.module.exports.push(name);
                self.only(&rest[1..])
            }
            b"struct" => self.structure(first, rest),
            b"const" => self.declaration(first, rest, true),
            b"var" => self.declaration(first, rest, false),
            _ => {
                let hint =
                    "the directives are .meta .data .code .name .version .extern .export .const .var .struct";
                wrong(first, format!("there is no directive .{}", shown(name)), Some(hint))
            }
        }
    }

    fn text_argument<'t, 'l>(
        &self,
        after: &Placed<'_>,
        rest: &'t [Placed<'l>],
    ) -> Step<(Vec<u8>, &'t Placed<'l>)> {
        match rest.first() {
            Some(place) => match &place.token {
                Token::Text(text) => Ok((text.clone(), place)),
                _ => wrong(place, "a text between quotes stands here", None),
            },
            None => Err((after.at + after.len, 1, "a text between quotes is missing".to_owned(), None)),
        }
    }

    fn library(&mut self, first: &Placed<'_>, rest: &[Placed<'_>]) -> Step {
        let (is_system, name, more) = match rest {
            [open, name, close, more @ ..] if open.token == Token::Sign(b'<') => {
                match (&name.token, &close.token) {
                    (Token::Word(word), Token::Sign(b'>')) => (true, self.name(name, word)?, more),
                    _ => return wrong(name, "the name of a system library and > stand here", None),
                }
            }
            _ => {
                let (text, place) = self.text_argument(first, rest)?;
                (false, self.name(place, &text)?, &rest[1..])
            }
        };
        let (alias, more) = match more {
            [alias, more @ ..] => match &alias.token {
                Token::Word(word) => (self.name(alias, word)?, more),
                _ => return wrong(alias, "an alias is a name", None),
            },
            [] => (name, more),
        };
        self.module.externs.push(Extern { is_system, name, alias });
        self.only(more)
    }

    fn structure(&mut self, first: &Placed<'_>, rest: &[Placed<'_>]) -> Step {
        let (name, place) = self.word(first, rest, "the name of a structure")?;
        let name = self.new_name(place, name)?;
        let mut types = Vec::new();
        for place in &rest[1..] {
            let Token::Word(word) = place.token else { return wrong(place, "a type stands here", None) };
            types.push(self.ty(place, word)?);
        }
        if types.is_empty() || types.len() > 255 {
            return wrong(
                place,
                format!("a structure has 1 to 255 fields, and this has {}", types.len()),
                None,
            );
        }
        if self.structures.insert(name, self.module.structures.len()).is_some() {
            return wrong(
                place,
                format!("the structure {} is there already", self.module.names.text(name)),
                None,
            );
        }
        self.module.structures.push((name, types));
        Ok(())
    }

    fn ty(&self, place: &Placed<'_>, word: &[u8]) -> Step<Type> {
        match Type::from_name(word) {
            Some(ty) => Ok(ty),
            None => {
                let hint =
                    "the types are i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char bool ptr, and string for ptr";
                wrong(place, format!("{} is no type", shown(word)), Some(hint))
            }
        }
    }

    fn literal(&self, place: &Placed<'_>, ty: Option<Type>) -> Step<Constant> {
        constant(&place.token, ty).or_else(|message| wrong(place, message, None))
    }

    /// `[T]` or `[T:n]`, behind which `rest` is left.
    fn array(&self, rest: &mut &[Placed<'_>]) -> Step<(Type, Option<u32>)> {
        let (open, whole) = (&rest[0], *rest);
        let [_, ty, more @ ..] = whole else { return wrong(open, "[T:n] stands here", None) };
        let Token::Word(word) = ty.token else {
            return wrong(ty, "the type of the elements stands here", None);
        };
        let ty = self.ty(ty, word)?;
        let (cells, more) = match more {
            [colon, count, more @ ..] if colon.token == Token::Sign(b':') => {
                let cells = match constant(&count.token, Some(Type::U32)) {
                    Ok(Constant::Plain(_, cells)) if cells > 0 => cells as u32,
                    _ => return wrong(count, "the number of cells is 1 to 4294967295", None),
                };
                (Some(cells), more)
            }
            _ => (None, more),
        };
        match more {
            [close, more @ ..] if close.token == Token::Sign(b']') => {
                *rest = more;
                Ok((ty, cells))
            }
            _ => wrong(open, "this bracket is not closed", Some("an array is [T:n], for example [i32:5]")),
        }
    }

    fn declaration(&mut self, first: &Placed<'_>, rest: &[Placed<'_>], is_constant: bool) -> Step {
        let (name, place) = self.word(first, rest, "a name")?;
        let name = self.new_name(place, name)?;
        let mut values = &rest[1..];
        let data = match values.first() {
            None => {
                return wrong(
                    place,
                    "a type or a value is missing",
                    Some("for example `.var x i32` or `.var x 100`"),
                );
            }
            Some(bracket) if bracket.token == Token::Sign(b'[') => {
                let (ty, cells) = self.array(&mut values)?;
                self.array_data(place, ty, cells, values)?
            }
            Some(ty) => match ty.token {
                Token::Word(word) if Type::from_name(word).is_some() => {
                    let ty = Type::from_name(word);
                    match &values[1..] {
                        [] if is_constant => return wrong(place, "a constant has a value", None),
                        [] => Data::Scalar(Constant::Plain(ty.unwrap_or(Type::I32), 0)),
                        [value, more @ ..] => {
                            let value = self.literal(value, ty)?;
                            self.only(more)?;
                            Data::Scalar(value)
                        }
                    }
                }
                Token::Word(word) if !matches!(word, b"true" | b"false" | b"null") => {
                    let structure = self.module.names.find(word);
                    let Some(structure) = structure.filter(|name| self.structures.contains_key(name)) else {
                        let hint = "a structure comes before its use";
                        return wrong(
                            ty,
                            format!("{} is no type, structure or value", shown(word)),
                            Some(hint),
                        );
                    };
                    let types = self.module.structures[self.structures[&structure]].1.clone();
                    let values = &values[1..];
                    if values.len() > types.len() {
                        return wrong(
                            &values[types.len()],
                            format!("the structure has {} fields", types.len()),
                            None,
                        );
                    }
                    let values: Step<Vec<Constant>> =
                        values.iter().zip(types).map(|(value, ty)| self.literal(value, Some(ty))).collect();
                    Data::Structure(structure, values?)
                }
                Token::Text(_) => self.array_data(place, Type::Char, None, values)?,
                _ => {
                    let value = self.literal(ty, None)?;
                    self.only(&values[1..])?;
                    Data::Scalar(value)
                }
            },
        };
        if is_constant
            && matches!(&data, Data::Array(_, _, values) | Data::Structure(_, values) if values.is_empty())
        {
            return wrong(place, "a constant has a value", None);
        }
        if self.declared.insert(name, self.module.declarations.len()).is_some() {
            return wrong(place, format!("{} is declared already", self.module.names.text(name)), None);
        }
        self.module.declarations.push(Declaration { name, is_constant, data });
        Ok(())
    }

    fn array_data(
        &self,
        name: &Placed<'_>,
        ty: Type,
        cells: Option<u32>,
        values: &[Placed<'_>],
    ) -> Step<Data> {
        let values = match values {
            [text, more @ ..] if ty == Type::Char && matches!(text.token, Token::Text(_)) => {
                self.only(more)?;
                let Constant::Text(text) = self.literal(text, None)? else { unreachable!("a text is one") };
                let mut values: Vec<Constant> =
                    text.iter().map(|byte| Constant::Plain(Type::Char, (*byte).into())).collect();
                if cells.is_none() {
                    values.push(Constant::Plain(Type::Char, 0));
                }
                values
            }
            values => values.iter().map(|value| self.literal(value, Some(ty))).collect::<Step<_>>()?,
        };
        let cells = cells.unwrap_or(values.len() as u32);
        if cells == 0 {
            return wrong(name, "an array has at least one cell", Some("[T:n] gives their number"));
        }
        if values.len() > cells as usize {
            return wrong(name, format!("{} values for an array of {cells} cells", values.len()), None);
        }
        Ok(Data::Array(ty, cells, values))
    }

    fn instruction(&mut self, first: &Placed<'_>, word: &[u8], rest: &[Placed<'_>]) -> Step {
        self.in_code(first)?;
        let lower = if word.len() <= 16 { word.to_ascii_lowercase() } else { Vec::new() };
        let (code, ty) = match isa::from_mnemonic(&lower) {
            Some(code) => (code, None),
            None => match glued(&lower) {
                Some((code, ty)) => (code, Some(ty)),
                None if rest.is_empty() => return self.call(first, std::slice::from_ref(first)),
                None => {
                    let near = isa::mnemonics().find(|name| is_near(name.as_bytes(), &lower));
                    let hint = near.map(|near| format!("there is `{near}`"));
                    return wrong(first, format!("there is no instruction {}", shown(word)), hint.as_deref());
                }
            },
        };
        match code {
            op::CALL => {
                if rest.is_empty() {
                    return wrong(first, "the name of a subroutine is missing", None);
                }
                self.call(first, rest)
            }
            op::BEGIN => self.begin(first, rest),
            op::END => {
                if self.open.take().is_none() {
                    return wrong(first, "`end` without `begin`", None);
                }
                self.record(op::END, 0, Arg::None);
                self.unit = 0;
                self.only(rest)
            }
            op::PUSH => self.push(first, ty, rest),
            op::CONV => {
                let (ty, rest) = self.optional_type(ty, rest);
                let Some(ty) = ty else {
                    return match rest.first() {
                        Some(place) => wrong(place, "the type to convert to stands here", None),
                        None => {
                            wrong(first, "the type to convert to is missing", Some("for example `conv f64`"))
                        }
                    };
                };
                self.record(code, ty.code(), Arg::None);
                self.only(rest)
            }
            _ => match isa::operand(code) {
                Operand::None => {
                    let (ty, rest) =
                        if isa::is_typed(code) { self.optional_type(ty, rest) } else { (ty, rest) };
                    self.record(code, ty.map_or(0, Type::code), Arg::None);
                    self.only(rest)
                }
                Operand::Label => {
                    let (label, place) = self.word(first, rest, "a label")?;
                    let label = self.name(place, label)?;
                    let record = self.module.records.len() as u32;
                    self.branches.push((record, label, place.at, place.len));
                    self.record(code, 0, Arg::Target(0));
                    self.only(&rest[1..])
                }
                Operand::Name | Operand::Value => {
                    let (name, place) = self.word(first, rest, "a name")?;
                    let name = self.name(place, name)?;
                    if code == op::STORE {
                        let record = self.module.records.len() as u32;
                        self.stores.push((record, self.unit, place.at, place.len));
                    }
                    self.record(code, 0, Arg::Name(name));
                    self.only(&rest[1..])
                }
            },
        }
    }

    fn optional_type<'t, 'l>(
        &self,
        ty: Option<Type>,
        rest: &'t [Placed<'l>],
    ) -> (Option<Type>, &'t [Placed<'l>]) {
        if ty.is_none()
            && let Some(Placed { token: Token::Word(word), .. }) = rest.first()
            && let Some(ty) = Type::from_name(word)
        {
            return (Some(ty), &rest[1..]);
        }
        (ty, rest)
    }

    fn begin(&mut self, first: &Placed<'_>, rest: &[Placed<'_>]) -> Step {
        if let Some((line, ..)) = self.open {
            return wrong(first, format!("subroutines do not nest: that of line {line} has not ended"), None);
        }
        let (ty, rest) = match rest {
            [void, _, ..] if void.token == Token::Word(b"void") => (None, &rest[1..]),
            [_, _, ..] => {
                let (word, place) = self.word(first, rest, "a type")?;
                (Some(self.ty(place, word)?), &rest[1..])
            }
            _ => (None, rest),
        };
        let (name, place) = self.word(first, rest, "the name of the subroutine")?;
        let name = self.new_name(place, name)?;
        if !self.subroutines.insert(name) {
            return wrong(
                place,
                format!("the subroutine {} is there already", self.module.names.text(name)),
                None,
            );
        }
        self.open = Some((self.line, first.at, first.len));
        self.last_unit += 1;
        self.unit = self.last_unit;
        self.record(op::BEGIN, ty.map_or(0, Type::code), Arg::Name(name));
        self.only(&rest[1..])
    }

    fn call(&mut self, first: &Placed<'_>, rest: &[Placed<'_>]) -> Step {
        let (name, rest) = match rest {
            [open, alias, close, name, more @ ..] if open.token == Token::Sign(b'[') => {
                match (&alias.token, &close.token, &name.token) {
                    (Token::Word(alias), Token::Sign(b']'), Token::Word(name)) => {
                        let whole = [b"[", *alias, b"]", *name].concat();
                        (self.name(first, &whole)?, more)
                    }
                    _ => return wrong(open, "a call of a library is [alias]name", None),
                }
            }
            [name, more @ ..] => match name.token {
                Token::Word(word) => (self.name(name, word)?, more),
                _ => return wrong(name, "a call is `call name` or `call [alias]name`", None),
            },
            [] => return wrong(first, "a name is missing", None),
        };
        self.record(op::CALL, 0, Arg::Name(name));
        self.only(rest)
    }

    fn push(&mut self, first: &Placed<'_>, glued: Option<Type>, rest: &[Placed<'_>]) -> Step {
        let (ty, rest) = self.optional_type(glued, rest);
        let Some(value) = rest.first() else {
            return wrong(first, "a value is missing", Some("push takes a literal, [T:n] or a structure"));
        };
        let mut more = &rest[1..];
        match value.token {
            Token::Sign(b'[') if ty.is_none() => {
                more = rest;
                match self.array(&mut more)? {
                    (ty, Some(cells)) => self.record(op::PUSH, Type::Ptr.code(), Arg::Array(ty, cells)),
                    (_, None) => {
                        return wrong(value, "the number of cells is missing", Some("for example [i32:5]"));
                    }
                }
            }
            Token::Word(word) if ty.is_none() && !matches!(word, b"true" | b"false" | b"null") => {
                let structure =
                    self.module.names.find(word).filter(|name| self.structures.contains_key(name));
                let Some(structure) = structure else {
                    let hint =
                        format!("`load {}` pushes a variable; a structure comes before its use", shown(word));
                    let message = "push takes a literal, [T:n] or a structure, never a variable";
                    return wrong(value, message, Some(&hint));
                };
                self.record(op::PUSH, Type::Ptr.code(), Arg::Structure(structure));
            }
            _ => {
                let constant = self.literal(value, ty)?;
                let code = constant.ty().code();
                let arg = match constant {
                    Constant::Plain(_, bits) => Arg::Plain(bits),
                    Constant::Text(text) => {
                        self.module.texts.push(text);
                        Arg::Text(self.module.texts.len() as u32 - 1)
                    }
                };
                self.record(op::PUSH, code, arg);
            }
        }
        self.only(more)
    }

    /// Branches to records, stores to elements.
    fn resolve(&mut self) {
        if let Some((line, at, len)) = self.open {
            self.error(line, at, len, "this subroutine has no `end`".to_owned(), None);
        }
        for (record, name, at, len) in std::mem::take(&mut self.branches) {
            if self.errors.len() >= MAX_ERRORS {
                return;
            }
            let line = self.module.places[record as usize] as usize;
            let unit = self.units[record as usize];
            let text = self.module.names.text(name);
            match self.labels.get(&name) {
                Some(label) if label.unit == unit => {
                    self.module.records[record as usize].arg = Arg::Target(label.record);
                }
                Some(label) => {
                    let there = self.module.places[label.record as usize];
                    let hint = format!("the label {text} is on line {there}");
                    let message = "a branch stays inside its subroutine, or outside all".to_owned();
                    self.error(line, at, len, message, Some(hint));
                }
                None => {
                    let near = self
                        .labels
                        .keys()
                        .filter(|known| is_near(self.module.names.bytes(**known), text.as_bytes()));
                    let near = near.min().map(|near| format!("there is `{}`", self.module.names.text(*near)));
                    self.error(line, at, len, format!("there is no label {text}"), near);
                }
            }
        }
        let is_binding = |module: &Module, record: u32| {
            let before = record.checked_sub(1).map(|before| module.records[before as usize]);
            before.is_some_and(|before| matches!(before.arg, Arg::Array(..) | Arg::Structure(_)))
        };
        let stores = std::mem::take(&mut self.stores);
        let stored = |module: &Module, record: u32| match module.records[record as usize].arg {
            Arg::Name(name) => name,
            _ => unreachable!("a store has a name"),
        };
        let bound: HashSet<(u32, Name)> = stores
            .iter()
            .filter(|(record, ..)| is_binding(&self.module, *record))
            .map(|(record, unit, ..)| (*unit, stored(&self.module, *record)))
            .collect();
        for (record, unit, at, len) in stores {
            let name = stored(&self.module, record);
            let binding = is_binding(&self.module, record);
            let declaration = self.declared.get(&name).map(|index| &self.module.declarations[*index]);
            let is_object = declaration.is_some_and(|known| !matches!(known.data, Data::Scalar(_)));
            if is_object && binding {
                let line = self.module.places[record as usize] as usize;
                let message = format!(
                    "{} is declared as array or structure and cannot be bound to another",
                    self.module.names.text(name)
                );
                self.error(line, at, len, message, None);
            } else if is_object || bound.contains(&(unit, name)) && !binding {
                self.module.records[record as usize].ty = Type::Ptr.code();
            }
        }
        self.errors.sort_by_key(|error| (error.line, error.column));
        self.errors.truncate(MAX_ERRORS);
    }
}
