//! Linking: sections 4 and 8 of the reference.

use std::collections::HashMap;

use crate::file::{Arg, Data, File, Literal, Record, Value, read};
use crate::library::FUNCTIONS;
use crate::machine::{Instruction, Machine, Meaning, Module, Place, Subroutine};
use crate::objects::{Cells, Objects};

const SYSTEM: [&str; 9] = ["io", "mem", "math", "rand", "vm", "str", "os", "sys", "dll"];

fn system(name: &str) -> Option<&str> {
    if name == "ldex" || name == "ldx" {
        return Some("dll");
    }
    SYSTEM.contains(&name).then_some(name)
}

enum Library {
    System(String),
    File(usize),
}

pub fn load(main: &[u8], name: &str, library: &dyn Fn(&str) -> Option<Vec<u8>>) -> Result<Machine, String> {
    let mut files = vec![read(main)?];
    let mut numbers = HashMap::from([(name.to_owned(), 0)]);
    let mut aliases: Vec<HashMap<String, Library>> = Vec::new();
    while aliases.len() < files.len() {
        let mut known = HashMap::new();
        for (only_system, name, alias) in files[aliases.len()].externs.clone() {
            let found = match system(&name) {
                Some(name) => Library::System(name.to_owned()),
                None if only_system => return Err(format!("no system library {name}")),
                None => {
                    if !numbers.contains_key(&name) {
                        let bytes = library(&name).ok_or(format!("the library {name} is missing"))?;
                        numbers.insert(name.clone(), files.len());
                        files.push(read(&bytes)?);
                    }
                    let number = numbers[&name];
                    if files[number].name.as_ref().is_some_and(|own| *own != name) {
                        return Err(format!("{name} has another name"));
                    }
                    Library::File(number)
                }
            };
            known.insert(alias, found);
        }
        aliases.push(known);
    }
    let mut objects = Objects::default();
    let mut modules = Vec::new();
    for file in &files {
        modules.push(module(file)?);
    }
    for (file, module) in files.iter().zip(&modules) {
        for name in &file.exports {
            if !module.subroutines.contains_key(name) && !module.labels.contains_key(name) {
                return Err(format!("{name} is exported and does not exist"));
            }
        }
    }
    for index in 0..files.len() {
        declare(&files[index], &mut modules[index], &mut objects)?;
        let code = resolve(index, &files, &modules, &aliases[index], &mut objects)?;
        modules[index].code = code;
    }
    Ok(Machine::new(modules, objects))
}

fn is_register(name: &str) -> bool {
    matches!(name.as_bytes(), [b'r', b'0'..=b'9'])
}

/// Subroutines and labels.
fn module(file: &File) -> Result<Module, String> {
    let mut module = Module::default();
    let mut inside = 0;
    for (at, record) in file.records.iter().enumerate() {
        match record {
            Record { op: 0x2D, ty, arg: Arg::Name(name) } => {
                let end = file.records[at..].iter().position(|record| record.op == 0x2E).unwrap_or(0) + at;
                module.unit.push(0);
                inside = module.subroutines.len() + 1;
                let subroutine = Subroutine { entry: at + 1, end, returns: *ty };
                if is_register(name) || module.subroutines.insert(name.clone(), subroutine).is_some() {
                    return Err(format!("two subroutines {name}"));
                }
            }
            Record { op: 0x2E, .. } => {
                module.unit.push(inside);
                inside = 0;
            }
            Record { op, arg, .. } => {
                module.unit.push(inside);
                if let (0x26, Arg::Name(name)) = (op, arg)
                    && module.labels.insert(name.clone(), at).is_some()
                {
                    return Err(format!("two labels {name}"));
                }
            }
        }
    }
    Ok(module)
}

fn text(objects: &mut Objects, text: &[u8]) -> Result<Value, String> {
    let bits = objects.text(text).map_err(|_| "too many cells")?;
    objects.make_constant(bits);
    Ok(Value { ty: 13, bits })
}

fn literal(objects: &mut Objects, literal: &Literal) -> Result<Value, String> {
    match literal {
        Literal::Plain(value) => Ok(*value),
        Literal::Text(bytes) => text(objects, bytes),
    }
}

/// The names of the data block.
fn declare(file: &File, module: &mut Module, objects: &mut Objects) -> Result<(), String> {
    for (name, is_constant, data) in &file.data {
        if is_register(name) || module.names.contains_key(name) {
            return Err(format!("{name} cannot be declared"));
        }
        let (cells, given) = match data {
            Data::Scalar(value) => {
                let value = literal(objects, value)?;
                let meaning = if *is_constant { Meaning::Constant(value) } else { Meaning::Variable(value) };
                module.names.insert(name.clone(), meaning);
                continue;
            }
            Data::Array(ty, cells, given) => (Cells::Array(*ty, *cells as usize), given),
            Data::Structure(structure, given) => {
                let types = file.structures.get(structure).ok_or("no such structure")?;
                (Cells::Structure(types.clone()), given)
            }
        };
        let mut values = Vec::new();
        for value in given {
            values.push(literal(objects, value)?);
        }
        let bits = objects.create(cells).map_err(|_| "too many cells")?;
        for (index, value) in values.into_iter().enumerate() {
            objects.put(bits + index as u64, value);
        }
        if *is_constant {
            objects.make_constant(bits);
        }
        module.names.insert(name.clone(), Meaning::Object(bits));
    }
    Ok(())
}

fn resolve(
    index: usize,
    files: &[File],
    modules: &[Module],
    aliases: &HashMap<String, Library>,
    objects: &mut Objects,
) -> Result<Vec<Instruction>, String> {
    let file = &files[index];
    let place = |module: usize, name: &str| match modules[module].subroutines.get(name) {
        Some(subroutine) => Some(Place { module, at: subroutine.entry, returns: subroutine.returns }),
        None => modules[module].labels.get(name).map(|&at| Place { module, at, returns: 0 }),
    };
    let mut code = Vec::new();
    for record in &file.records {
        let instruction = match &record.arg {
            Arg::None => Instruction::Plain(record.op, record.ty),
            Arg::Target(target) => Instruction::Branch(record.op, *target as usize),
            Arg::Value(value) => Instruction::Push(literal(objects, value)?),
            Arg::Array(ty, cells) => Instruction::New(Cells::Array(*ty, *cells as usize)),
            Arg::Structure(name) => {
                let types = file.structures.get(name).ok_or(format!("no structure {name}"))?;
                Instruction::New(Cells::Structure(types.clone()))
            }
            Arg::Name(name) => match record.op {
                0x02 => Instruction::Load(name.clone()),
                0x03 if record.ty == 13 => Instruction::StoreElement(name.clone()),
                0x03 => Instruction::Store(name.clone()),
                0x2B => match name.strip_prefix('[').map(|rest| rest.split_once(']').unwrap_or((rest, ""))) {
                    None => Instruction::Call(place(index, name).ok_or(format!("no subroutine {name}"))?),
                    Some((alias, function)) => {
                        let file = match aliases.get(alias) {
                            Some(Library::File(number)) => Some(*number),
                            _ => None,
                        };
                        let library = match aliases.get(alias) {
                            Some(Library::System(name)) => Some(name.as_str()),
                            Some(Library::File(_)) => None,
                            None => Some(system(alias).ok_or(format!("no library {alias}"))?),
                        };
                        if let Some(library) = library {
                            let known =
                                FUNCTIONS.iter().find(|known| known.0 == library && known.1 == function);
                            Instruction::System(known.ok_or(format!("no function {name}"))?)
                        } else {
                            let number = file.ok_or("no library")?;
                            if !files[number].exports.iter().any(|export| export == function) {
                                return Err(format!("{name} is not exported"));
                            }
                            Instruction::Call(place(number, function).ok_or(format!("no subroutine {name}"))?)
                        }
                    }
                },
                _ => Instruction::Plain(record.op, record.ty),
            },
        };
        code.push(instruction);
    }
    Ok(code)
}
