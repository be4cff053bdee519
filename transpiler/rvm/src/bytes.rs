//! The byte form of a module (`docs/machines/rvm.md`, section 9), both ways.

use crate::isa::{self, Operand, op};
use crate::model::{Arg, Data, Declaration, Extern, Module, NAME_BYTES, Name};
use crate::types::{Constant, Type};

/// First byte of a file of bytes.
pub const DIRECTIVE: u8 = 0xFF;

const ARRAY: u8 = 20;
const STRUCTURE: u8 = 21;

/// Why bytes are no module: the byte address and a sentence.
pub struct Refused {
    /// Where.
    pub at: usize,
    /// What is wrong there.
    pub why: String,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    module: Module,
    in_code: bool,
    /// Where the subroutine began that has not ended yet.
    open: Option<usize>,
}

/// Reads a module.
///
/// # Errors
/// At the first record that is malformed.
pub fn read(bytes: &[u8]) -> Result<Module, Refused> {
    let mut reader = Reader { bytes, at: 0, module: Module::default(), in_code: false, open: None };
    if bytes.first() != Some(&DIRECTIVE) {
        return Err(Refused { at: 0, why: "the first byte of a file of bytes is FF".to_owned() });
    }
    reader.module.records.reserve(bytes.len() / 4);
    reader.module.places.reserve(bytes.len() / 4);
    while reader.at < bytes.len() {
        let start = reader.at;
        let more = reader.record(start).map_err(|why| Refused { at: start, why })?;
        if !more {
            break;
        }
    }
    if let Some(at) = reader.open {
        return Err(Refused { at, why: "the subroutine that begins here has no `end`".to_owned() });
    }
    Ok(reader.module)
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..count) else {
            return Err("the file ends inside this record".to_owned());
        };
        self.at += count;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().unwrap_or_default()))
    }

    fn name(&mut self) -> Result<Name, String> {
        let len = self.byte()?;
        let name = self.take(len.into())?;
        Ok(self.module.names.intern(name))
    }

    fn ty(&mut self) -> Result<Type, String> {
        let code = self.byte()?;
        Type::from_code(code).ok_or_else(|| format!("{code} is no type"))
    }

    fn plain(&mut self, ty: Type) -> Result<u64, String> {
        let bytes = self.take(ty.size())?;
        if ty == Type::Bool && bytes[0] > 1 {
            return Err(format!("{} is no bool", bytes[0]));
        }
        Ok(ty.payload(bytes))
    }

    /// A value that is no new array or structure; `how` is the first byte of a ptr.
    fn text(&mut self) -> Result<&'a [u8], String> {
        let len = u16::from_le_bytes(self.take(2)?.try_into().unwrap_or_default());
        self.take(len.into())
    }

    fn value(&mut self, ty: Type) -> Result<Constant, String> {
        if ty != Type::Ptr {
            return Ok(Constant::Plain(ty, self.plain(ty)?));
        }
        match self.byte()? {
            0 => Ok(Constant::NULL),
            1 => Ok(Constant::Text(self.text()?.into())),
            other => Err(format!("{other} begins no ptr: 0 is null, 1 a text")),
        }
    }

    fn data(&mut self) -> Result<Data, String> {
        match self.byte()? {
            ARRAY => {
                let ty = self.ty()?;
                let cells = self.u32()?;
                let given = self.u32()?;
                if cells == 0 || given > cells {
                    return Err(format!("an array of {cells} cells with {given} values"));
                }
                // Each value takes a byte at least, so that the file bounds the memory.
                let mut values = Vec::with_capacity((given as usize).min(self.bytes.len() - self.at));
                for _ in 0..given {
                    values.push(self.value(ty)?);
                }
                Ok(Data::Array(ty, cells, values))
            }
            STRUCTURE => {
                let name = self.name()?;
                let given = self.byte()?;
                let types = self.module.structures.iter().find(|known| known.0 == name);
                let Some((_, types)) = types else {
                    return Err(format!("there is no structure {}", self.module.names.text(name)));
                };
                let Some(types) = types.get(..given.into()).map(<[Type]>::to_vec) else {
                    return Err(format!("the structure has {} fields, not {given}", types.len()));
                };
                let values = types.into_iter().map(|ty| self.value(ty)).collect::<Result<_, _>>()?;
                Ok(Data::Structure(name, values))
            }
            code => match Type::from_code(code) {
                Some(ty) => Ok(Data::Scalar(self.value(ty)?)),
                None => Err(format!("{code} begins no data")),
            },
        }
    }

    fn directive(&mut self) -> Result<(), String> {
        match self.byte()? {
            0 | 1 => self.in_code = false,
            2 => self.in_code = true,
            3 => self.module.name = Some(self.name()?),
            4 => self.module.version = Some(self.name()?),
            5 => {
                let how = self.byte()?;
                if how > 1 {
                    return Err(format!("{how} is no way to name a library: 0 is <name>, 1 \"name\""));
                }
                let (name, alias) = (self.name()?, self.name()?);
                self.module.externs.push(Extern { is_system: how == 0, name, alias });
            }
            code @ (6 | 8) => {
                let name = self.name()?;
                let data = self.data()?;
                self.module.declarations.push(Declaration { name, is_constant: code == 6, data });
            }
            7 => {
                let name = self.name()?;
                self.module.exports.push(name);
            }
            9 => {
                let name = self.name()?;
                let count = self.byte()?;
                let types = (0..count).map(|_| self.ty()).collect::<Result<Vec<Type>, _>>()?;
                if types.is_empty() {
                    return Err("a structure has at least one field".to_owned());
                }
                self.module.structures.push((name, types));
            }
            other => return Err(format!("FF {other:02X} is no directive")),
        }
        Ok(())
    }

    /// Reads a record; answers whether decoding goes on.
    fn record(&mut self, start: usize) -> Result<bool, String> {
        let code = self.byte()?;
        if code == DIRECTIVE {
            self.directive()?;
            return Ok(true);
        }
        if !self.in_code {
            return Err("an instruction outside .code".to_owned());
        }
        if code > op::BTOS {
            self.module.push(code, 0, Arg::None, start as u32);
            return Ok(false);
        }
        let ty = self.byte()?;
        let is_type = (1..=13).contains(&ty);
        let arg = match isa::operand(code) {
            Operand::None => {
                let needs = code == op::CONV;
                if needs && !is_type || isa::is_typed(code) && ty != 0 && !is_type {
                    return Err(format!("{ty} is no type for {}", isa::name(code).unwrap_or_default()));
                }
                Arg::None
            }
            Operand::Name => Arg::Name(self.name()?),
            Operand::Label => Arg::Target(self.u32()?),
            Operand::Value => match Type::from_code(ty) {
                None => return Err(format!("{ty} is no type for push")),
                Some(Type::Ptr) => self.pushed_ptr()?,
                Some(ty) => Arg::Plain(self.plain(ty)?),
            },
        };
        match code {
            op::BEGIN if ty != 0 && !is_type => return Err(format!("{ty} is no type to return")),
            op::BEGIN if self.open.is_some() => return Err("subroutines do not nest".to_owned()),
            op::BEGIN => self.open = Some(start),
            op::END if self.open.take().is_none() => return Err("`end` without `begin`".to_owned()),
            _ => {}
        }
        self.module.push(code, ty, arg, start as u32);
        Ok(true)
    }

    fn pushed_ptr(&mut self) -> Result<Arg, String> {
        match self.byte()? {
            0 => Ok(Arg::Plain(0)),
            1 => {
                let text = self.text()?.into();
                self.module.texts.push(text);
                Ok(Arg::Text(self.module.texts.len() as u32 - 1))
            }
            2 => {
                let ty = self.ty()?;
                match self.u32()? {
                    0 => Err("an array of 0 cells".to_owned()),
                    cells => Ok(Arg::Array(ty, cells)),
                }
            }
            3 => Ok(Arg::Structure(self.name()?)),
            other => Err(format!("{other} begins no ptr")),
        }
    }
}

fn str8(out: &mut Vec<u8>, name: &[u8]) {
    let name = &name[..name.len().min(NAME_BYTES)];
    out.push(name.len() as u8);
    out.extend_from_slice(name);
}

fn write_value(out: &mut Vec<u8>, value: &Constant) {
    match value {
        Constant::Plain(Type::Ptr, _) => out.push(0),
        Constant::Plain(ty, bits) => out.extend_from_slice(&bits.to_le_bytes()[..ty.size()]),
        Constant::Text(text) => {
            out.push(1);
            out.extend_from_slice(&(text.len() as u16).to_le_bytes());
            out.extend_from_slice(text);
        }
    }
}

/// Writes a module whose names and texts are no longer than files can hold.
pub fn write(module: &Module) -> Vec<u8> {
    let mut out = vec![DIRECTIVE, 0];
    let names = &module.names;
    for (code, name) in [(3, module.name), (4, module.version)] {
        if let Some(name) = name {
            out.extend_from_slice(&[DIRECTIVE, code]);
            str8(&mut out, names.bytes(name));
        }
    }
    for library in &module.externs {
        out.extend_from_slice(&[DIRECTIVE, 5, u8::from(!library.is_system)]);
        str8(&mut out, names.bytes(library.name));
        str8(&mut out, names.bytes(library.alias));
    }
    for &name in &module.exports {
        out.extend_from_slice(&[DIRECTIVE, 7]);
        str8(&mut out, names.bytes(name));
    }
    if !module.structures.is_empty() || !module.declarations.is_empty() {
        out.extend_from_slice(&[DIRECTIVE, 1]);
    }
    for (name, types) in &module.structures {
        out.extend_from_slice(&[DIRECTIVE, 9]);
        str8(&mut out, names.bytes(*name));
        out.push(types.len() as u8);
        out.extend(types.iter().map(|ty| ty.code()));
    }
    for Declaration { name, is_constant, data } in &module.declarations {
        out.extend_from_slice(&[DIRECTIVE, if *is_constant { 6 } else { 8 }]);
        str8(&mut out, names.bytes(*name));
        match data {
            Data::Scalar(value) => {
                out.push(value.ty().code());
                write_value(&mut out, value);
            }
            Data::Array(ty, cells, values) => {
                out.extend_from_slice(&[ARRAY, ty.code()]);
                out.extend_from_slice(&cells.to_le_bytes());
                out.extend_from_slice(&(values.len() as u32).to_le_bytes());
                values.iter().for_each(|value| write_value(&mut out, value));
            }
            Data::Structure(structure, values) => {
                out.push(STRUCTURE);
                str8(&mut out, names.bytes(*structure));
                out.push(values.len() as u8);
                values.iter().for_each(|value| write_value(&mut out, value));
            }
        }
    }
    out.extend_from_slice(&[DIRECTIVE, 2]);
    for record in &module.records {
        out.push(record.op);
        if record.op > op::BTOS {
            break;
        }
        out.push(record.ty);
        match record.arg {
            Arg::None => {}
            Arg::Name(name) => str8(&mut out, names.bytes(name)),
            Arg::Target(target) => out.extend_from_slice(&target.to_le_bytes()),
            Arg::Plain(_) if record.ty == Type::Ptr.code() => out.push(0),
            Arg::Plain(bits) => {
                let size = Type::from_code(record.ty).map_or(0, Type::size);
                out.extend_from_slice(&bits.to_le_bytes()[..size]);
            }
            Arg::Text(text) => {
                let text = &module.texts[text as usize];
                out.push(1);
                out.extend_from_slice(&(text.len() as u16).to_le_bytes());
                out.extend_from_slice(text);
            }
            Arg::Array(ty, cells) => {
                out.extend_from_slice(&[2, ty.code()]);
                out.extend_from_slice(&cells.to_le_bytes());
            }
            Arg::Structure(name) => {
                out.push(3);
                str8(&mut out, names.bytes(name));
            }
        }
    }
    out
}
