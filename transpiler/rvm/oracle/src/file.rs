//! Files of bytes: section 9 of the reference.

use std::collections::HashMap;

/// A value with its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// Code of the type.
    pub ty: u8,
    /// Payload: integers extended to 64 bits by their sign, floats as their bits.
    pub bits: u64,
}

/// A value in a file.
#[derive(Clone, Debug)]
pub enum Literal {
    Plain(Value),
    Text(Vec<u8>),
}

#[derive(Clone, Debug)]
pub enum Data {
    Scalar(Literal),
    Array(u8, u32, Vec<Literal>),
    Structure(String, Vec<Literal>),
}

#[derive(Clone, Debug)]
pub enum Arg {
    None,
    Name(String),
    Target(u32),
    Value(Literal),
    Array(u8, u32),
    Structure(String),
}

#[derive(Clone, Debug)]
pub struct Record {
    pub op: u8,
    pub ty: u8,
    pub arg: Arg,
}

/// A file.
#[derive(Clone, Debug, Default)]
pub struct File {
    pub name: Option<String>,
    /// System only, name, alias.
    pub externs: Vec<(bool, String, String)>,
    pub exports: Vec<String>,
    pub structures: HashMap<String, Vec<u8>>,
    /// Name, whether constant, what.
    pub data: Vec<(String, bool, Data)>,
    pub records: Vec<Record>,
}

struct Reader<'a> {
    rest: &'a [u8],
}

pub fn size(ty: u8) -> usize {
    match ty {
        1 | 5 | 11 | 12 => 1,
        2 | 6 => 2,
        3 | 7 | 9 => 4,
        _ => 8,
    }
}

/// Cuts a number to an integer type.
pub fn cut(ty: u8, bits: u64) -> u64 {
    match ty {
        1 => bits as i8 as u64,
        2 => bits as i16 as u64,
        3 => bits as i32 as u64,
        5 | 11 | 12 => bits & 0xFF,
        6 => bits & 0xFFFF,
        7 | 9 => bits & 0xFFFF_FFFF,
        _ => bits,
    }
}

type Read<T> = Result<T, String>;

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Read<Vec<u8>> {
        if count > self.rest.len() {
            return Err("the file ends inside a record".to_owned());
        }
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(taken.to_vec())
    }

    fn byte(&mut self) -> Read<u8> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self, bytes: usize) -> Read<u64> {
        let mut number = 0;
        for (index, byte) in self.take(bytes)?.into_iter().enumerate() {
            number |= u64::from(byte) << (8 * index);
        }
        Ok(number)
    }

    fn name(&mut self) -> Read<String> {
        let len = self.byte()?;
        // A char for each byte, so that names that are no UTF-8 stay different.
        Ok(self.take(len.into())?.into_iter().map(char::from).collect())
    }

    fn ty(&mut self) -> Read<u8> {
        let ty = self.byte()?;
        if (1..=13).contains(&ty) { Ok(ty) } else { Err("a bad type byte".to_owned()) }
    }

    fn text(&mut self) -> Read<Literal> {
        let len = self.number(2)?;
        Ok(Literal::Text(self.take(len as usize)?))
    }

    fn literal(&mut self, ty: u8) -> Read<Literal> {
        if ty != 13 {
            let bits = self.number(size(ty))?;
            if ty == 12 && bits > 1 {
                return Err("a bool above 1".to_owned());
            }
            return Ok(Literal::Plain(Value { ty, bits: cut(ty, bits) }));
        }
        match self.byte()? {
            0 => Ok(Literal::Plain(Value { ty: 13, bits: 0 })),
            1 => self.text(),
            _ => Err("a bad ptr".to_owned()),
        }
    }

    fn data(&mut self, structures: &HashMap<String, Vec<u8>>) -> Read<Data> {
        match self.byte()? {
            20 => {
                let ty = self.ty()?;
                let cells = self.number(4)? as u32;
                let given = self.number(4)? as u32;
                if cells == 0 || given > cells {
                    return Err("a bad array".to_owned());
                }
                let mut values = Vec::new();
                for _ in 0..given {
                    values.push(self.literal(ty)?);
                }
                Ok(Data::Array(ty, cells, values))
            }
            21 => {
                let name = self.name()?;
                let given = self.byte()?;
                let types = structures.get(&name).ok_or("no such structure")?;
                if usize::from(given) > types.len() {
                    return Err("too many fields".to_owned());
                }
                let mut values = Vec::new();
                for &ty in &types[..given.into()] {
                    values.push(self.literal(ty)?);
                }
                Ok(Data::Structure(name, values))
            }
            ty @ 1..=13 => Ok(Data::Scalar(self.literal(ty)?)),
            _ => Err("bad data".to_owned()),
        }
    }
}

/// Reads a file.
pub fn read(bytes: &[u8]) -> Read<File> {
    if bytes.first() != Some(&0xFF) {
        return Err("the first byte is not FF".to_owned());
    }
    let mut file = File::default();
    let mut reader = Reader { rest: bytes };
    let mut in_code = false;
    let mut inside = false;
    while !reader.rest.is_empty() {
        let op = reader.byte()?;
        if op == 0xFF {
            match reader.byte()? {
                0 | 1 => in_code = false,
                2 => in_code = true,
                3 => file.name = Some(reader.name()?),
                4 => drop(reader.name()?),
                5 => {
                    let how = reader.byte()?;
                    if how > 1 {
                        return Err("a bad .extern".to_owned());
                    }
                    file.externs.push((how == 0, reader.name()?, reader.name()?));
                }
                code @ (6 | 8) => {
                    let name = reader.name()?;
                    let data = reader.data(&file.structures)?;
                    file.data.push((name, code == 6, data));
                }
                7 => file.exports.push(reader.name()?),
                9 => {
                    let name = reader.name()?;
                    let count = reader.byte()?;
                    let mut types = Vec::new();
                    for _ in 0..count {
                        types.push(reader.ty()?);
                    }
                    if types.is_empty() || file.structures.insert(name, types).is_some() {
                        return Err("a bad structure".to_owned());
                    }
                }
                _ => return Err("an unknown directive".to_owned()),
            }
            continue;
        }
        if !in_code {
            return Err("an instruction outside .code".to_owned());
        }
        if op > 0x44 {
            file.records.push(Record { op, ty: 0, arg: Arg::None });
            break;
        }
        let ty = reader.byte()?;
        let is_type = (1..=13).contains(&ty);
        let demands = matches!(op, 0x11..=0x1E | 0x20..=0x25 | 0x28..=0x2A | 0x2D);
        if matches!(op, 0x04 | 0x1F) && !is_type || demands && ty != 0 && !is_type {
            return Err("a bad type byte".to_owned());
        }
        let arg = match op {
            0x02 | 0x03 | 0x26 | 0x2B | 0x2D => Arg::Name(reader.name()?),
            0x08..=0x10 => Arg::Target(reader.number(4)? as u32),
            0x04 if ty == 13 => match reader.rest.first() {
                Some(2) => {
                    reader.byte()?;
                    let ty = reader.ty()?;
                    match reader.number(4)? as u32 {
                        0 => return Err("an array of 0 cells".to_owned()),
                        cells => Arg::Array(ty, cells),
                    }
                }
                Some(3) => {
                    reader.byte()?;
                    Arg::Structure(reader.name()?)
                }
                _ => Arg::Value(reader.literal(13)?),
            },
            0x04 => Arg::Value(reader.literal(ty)?),
            _ => Arg::None,
        };
        if op == 0x2D && std::mem::replace(&mut inside, true) {
            return Err("nested begin".to_owned());
        }
        if op == 0x2E && !std::mem::replace(&mut inside, false) {
            return Err("end without begin".to_owned());
        }
        file.records.push(Record { op, ty, arg });
    }
    if inside {
        return Err("begin without end".to_owned());
    }
    Ok(file)
}
