//! The linker: a module and the libraries that it names become one program whose names are resolved
//! (`docs/machines/rvm.md`, sections 4, 8.1 and 8.2).

use std::collections::{HashMap, HashSet};

use dotvm_frontend::{FrontendError, Source};

use crate::isa::op;
use crate::library::{self, Function};
use crate::model::{Arg, Data, MAX_CELLS, Module, Name, register};
use crate::program::*;
use crate::types::{Constant, Type};
use crate::{asm, bytes};

/// Most modules of a program.
const MAX_MODULES: usize = 1_024;

/// Parses a file.
///
/// # Errors
/// If it is malformed, with the place.
pub(crate) fn parse(source: &Source<'_>) -> Result<Module, FrontendError> {
    if source.bytes.len() > u32::MAX as usize {
        return Err(FrontendError::load("the file has more than 4 GiB"));
    }
    if source.bytes.first() == Some(&bytes::DIRECTIVE) || source.extension() == Some("rvm") {
        return bytes::read(source.bytes)
            .map_err(|refused| FrontendError::load(format!("byte {:#x}: {}", refused.at, refused.why)));
    }
    asm::assemble(source.bytes).map_err(|errors| FrontendError::assembly(asm::render(source.bytes, &errors)))
}

/// What a name means in a module.
#[derive(Clone, Copy)]
enum Meaning {
    Local,
    Register(u8),
    Global(u32),
    Constant(Type, u64),
    /// An array or structure, by the ptr to its cell 0.
    Object(u64),
}

/// Where the calls of an alias lead.
#[derive(Clone, Copy)]
enum Library {
    System(&'static str),
    Module(usize),
}

struct Loaded {
    module: Module,
    file: String,
    aliases: HashMap<Name, Library>,
    exported: HashSet<Name>,
}

struct Linker<'a> {
    source: &'a Source<'a>,
    loaded: Vec<Loaded>,
    by_name: HashMap<Vec<u8>, usize>,
    program: Program,
    cells: u64,
    /// Subroutines and labels of each module: entry, unit, return type.
    callables: Vec<HashMap<Name, Callee>>,
    labels: Vec<HashMap<Name, Callee>>,
    callees: HashMap<Callee, u32>,
    pool: HashMap<u64, u32>,
}

/// Links a program.
///
/// # Errors
/// If a library is missing or is another one, or a name stands for nothing.
pub(crate) fn link(main: Module, source: &Source<'_>) -> Result<Program, FrontendError> {
    let mut linker = Linker {
        source,
        loaded: vec![Loaded {
            module: main,
            file: source.file_name().to_owned(),
            aliases: HashMap::new(),
            exported: HashSet::new(),
        }],
        by_name: HashMap::from([(source.module_name().as_bytes().to_vec(), 0)]),
        program: Program::default(),
        cells: 0,
        callables: Vec::new(),
        labels: Vec::new(),
        callees: HashMap::new(),
        pool: HashMap::new(),
    };
    let mut next = 0;
    while next < linker.loaded.len() {
        linker.libraries(next)?;
        next += 1;
    }
    for index in 0..linker.loaded.len() {
        linker.subroutines(index)?;
    }
    for index in 0..linker.loaded.len() {
        linker.exports(index)?;
    }
    for index in 0..linker.loaded.len() {
        linker.module(index)?;
    }
    Ok(linker.program)
}

impl Linker<'_> {
    fn refuse<T>(&self, index: usize, why: String) -> Result<T, FrontendError> {
        let file = &self.loaded[index].file;
        Err(FrontendError::load(if index == 0 { why } else { format!("{file}: {why}") }))
    }

    /// Reads the libraries that a module names, each once.
    fn libraries(&mut self, index: usize) -> Result<(), FrontendError> {
        let externs = std::mem::take(&mut self.loaded[index].module.externs);
        for library in &externs {
            let names = &self.loaded[index].module.names;
            let (name, alias) = (names.bytes(library.name).to_vec(), library.alias);
            let shown = String::from_utf8_lossy(&name).into_owned();
            let found = match library::library(&name) {
                Some(system) => Library::System(system),
                None if library.is_system => {
                    return self.refuse(index, format!("there is no system library <{shown}>"));
                }
                None => Library::Module(self.library(index, &name, &shown)?),
            };
            self.loaded[index].aliases.insert(alias, found);
        }
        self.loaded[index].module.externs = externs;
        Ok(())
    }

    fn library(&mut self, index: usize, name: &[u8], shown: &str) -> Result<usize, FrontendError> {
        if let Some(&known) = self.by_name.get(name) {
            self.check_name(index, known, name, shown)?;
            return Ok(known);
        }
        if self.loaded.len() >= MAX_MODULES {
            return self.refuse(index, format!("a program has at most {MAX_MODULES} modules"));
        }
        let is_file_name =
            !name.is_empty() && !shown.contains(['/', '\\', '\0', '\u{FFFD}']) && shown != "..";
        let found = ["ras", "rvm"].iter().filter(|_| is_file_name).find_map(|extension| {
            let file = format!("{shown}.{extension}");
            self.source.neighbours.read(&file).map(|bytes| (file, bytes))
        });
        let Some((file, bytes)) = found else {
            return self
                .refuse(index, format!("the library {shown:?} is missing: no {shown}.ras or {shown}.rvm"));
        };
        let source = Source { name: &file, bytes: &bytes, neighbours: self.source.neighbours };
        let module = parse(&source)
            .map_err(|error| FrontendError { message: format!("{file}: {}", error.message), ..error })?;
        let number = self.loaded.len();
        self.by_name.insert(name.to_vec(), number);
        self.loaded.push(Loaded { module, file, aliases: HashMap::new(), exported: HashSet::new() });
        self.check_name(index, number, name, shown)?;
        Ok(number)
    }

    fn check_name(
        &self,
        index: usize,
        library: usize,
        name: &[u8],
        shown: &str,
    ) -> Result<(), FrontendError> {
        let module = &self.loaded[library].module;
        match module.name {
            Some(own) if module.names.bytes(own) != name => {
                self.refuse(index, format!("the library {shown:?} calls itself {:?}", module.names.text(own)))
            }
            _ => Ok(()),
        }
    }

    /// Finds the subroutines and labels of a module.
    fn subroutines(&mut self, index: usize) -> Result<(), FrontendError> {
        let module = &self.loaded[index].module;
        let first = self.program.records_before;
        let count = module.records.len() as u32;
        let outside = self.program.units.len() as u32;
        let unit = |name: Option<Name>, begin: u32, end: u32, returns: u8| Unit {
            module: index as u32,
            name: name.map(|name| module.names.bytes(name).to_vec()),
            begin,
            end,
            returns,
            locals: Vec::new(),
        };
        let mut units = vec![unit(None, first, first + count, 0)];
        let mut callables = HashMap::new();
        let mut labels = HashMap::new();
        let mut inside = outside;
        let mut clash = None;
        for (at, record) in module.records.iter().enumerate() {
            let at = first + at as u32;
            match (record.op, record.arg) {
                (op::BEGIN, Arg::Name(name)) => {
                    inside = outside + units.len() as u32;
                    units.push(unit(Some(name), at, at, record.ty));
                    let callee = Callee { entry: at + 1, unit: inside, returns: record.ty };
                    if register(module.names.bytes(name)).is_some()
                        || callables.insert(name, callee).is_some()
                    {
                        clash = clash.or(Some((at, name)));
                    }
                }
                (op::END, _) => {
                    units[(inside - outside) as usize].end = at + 1;
                    inside = outside;
                }
                (op::LABEL, Arg::Name(name)) => {
                    let callee = Callee { entry: at, unit: inside, returns: 0 };
                    if labels.insert(name, callee).is_some() {
                        clash = clash.or(Some((at, name)));
                    }
                }
                _ => {}
            }
        }
        if let Some((at, name)) = clash {
            let place = module.place((at - first) as usize);
            return self.refuse(index, format!("{place}: {} is there already", module.names.text(name)));
        }
        let subroutines = outside + 1..outside + units.len() as u32;
        self.program.modules.push(LinkedModule { first_record: first, outside, subroutines });
        self.program.units.extend(units);
        // One more for the end of the buffer.
        self.program.records_before = match first.checked_add(count + 1) {
            Some(next) if next < BAD_TARGET => next,
            _ => return self.refuse(index, "the program has more than 4294967294 records".to_owned()),
        };
        self.callables.push(callables);
        self.labels.push(labels);
        Ok(())
    }

    fn callee(&self, index: usize, name: Name) -> Option<Callee> {
        self.callables[index].get(&name).or_else(|| self.labels[index].get(&name)).copied()
    }

    fn exports(&mut self, index: usize) -> Result<(), FrontendError> {
        let module = &self.loaded[index].module;
        match module.exports.iter().find(|name| self.callee(index, **name).is_none()) {
            Some(name) => {
                self.refuse(index, format!("{} is exported and stands for nothing", module.names.text(*name)))
            }
            None => {
                self.loaded[index].exported = module.exports.iter().copied().collect();
                Ok(())
            }
        }
    }

    /// An object that is there from the start; its ptr.
    fn object(&mut self, index: usize, object: Object) -> Result<u64, FrontendError> {
        self.cells += u64::from(object.cells);
        if self.cells > MAX_CELLS {
            let why = format!("the arrays, texts and structures have more than {MAX_CELLS} cells");
            return self.refuse(index, why);
        }
        self.program.objects.push(object);
        Ok((self.program.objects.len() as u64) << 32)
    }

    fn text(&mut self, index: usize, text: &[u8]) -> Result<u64, FrontendError> {
        let mut contents = text.to_vec();
        contents.push(0);
        let shape = Shape::Array(Type::Char);
        self.object(index, Object { shape, cells: contents.len() as u32, is_constant: true, contents })
    }

    fn constant(&mut self, index: usize, constant: &Constant) -> Result<u64, FrontendError> {
        match constant {
            Constant::Plain(_, bits) => Ok(*bits),
            Constant::Text(text) => self.text(index, text),
        }
    }

    /// The number of a structure of the module.
    fn structures(&mut self, index: usize) -> Result<HashMap<Name, u32>, FrontendError> {
        let mut numbers = HashMap::new();
        let structures = std::mem::take(&mut self.loaded[index].module.structures);
        for (name, types) in &structures {
            if numbers.insert(*name, self.program.structures.len() as u32).is_some() {
                let name = self.loaded[index].module.names.text(*name);
                return self.refuse(index, format!("the structure {name} is there already"));
            }
            self.program.structures.push(types.clone());
        }
        self.loaded[index].module.structures = structures;
        Ok(numbers)
    }

    /// What the names of a module mean.
    fn meanings(
        &mut self,
        index: usize,
        structures: &HashMap<Name, u32>,
    ) -> Result<Vec<Meaning>, FrontendError> {
        let module = &self.loaded[index].module;
        let mut meanings: Vec<Meaning> = (0..module.names.len())
            .map(|name| match register(module.names.bytes(Name(name as u32))) {
                Some(register) => Meaning::Register(register),
                None => Meaning::Local,
            })
            .collect();
        let declarations = std::mem::take(&mut self.loaded[index].module.declarations);
        for declaration in &declarations {
            let place = declaration.name.0 as usize;
            if !matches!(meanings[place], Meaning::Local) {
                let name = self.loaded[index].module.names.text(declaration.name);
                return self.refuse(
                    index,
                    format!("{name} cannot be declared: it is a register, or declared already"),
                );
            }
            let is_constant = declaration.is_constant;
            meanings[place] = match &declaration.data {
                Data::Scalar(value) => {
                    let bits = self.constant(index, value)?;
                    if is_constant {
                        Meaning::Constant(value.ty(), bits)
                    } else {
                        self.program.globals.push(Global { ty: value.ty(), initial: bits });
                        Meaning::Global(self.program.globals.len() as u32 - 1)
                    }
                }
                Data::Array(ty, cells, values) => {
                    let mut contents = Vec::with_capacity(values.len() * ty.size());
                    for value in values {
                        let bits = self.constant(index, value)?;
                        contents.extend_from_slice(&bits.to_le_bytes()[..ty.size()]);
                    }
                    let shape = Shape::Array(*ty);
                    Meaning::Object(
                        self.object(index, Object { shape, cells: *cells, is_constant, contents })?,
                    )
                }
                Data::Structure(structure, values) => {
                    let Some(&number) = structures.get(structure) else {
                        let name = self.loaded[index].module.names.text(*structure);
                        return self.refuse(index, format!("there is no structure {name}"));
                    };
                    let mut contents = Vec::with_capacity(values.len() * 8);
                    for value in values {
                        contents.extend_from_slice(&self.constant(index, value)?.to_le_bytes());
                    }
                    let cells = self.program.structures[number as usize].len() as u32;
                    let shape = Shape::Structure(number);
                    Meaning::Object(self.object(index, Object { shape, cells, is_constant, contents })?)
                }
            };
        }
        self.loaded[index].module.declarations = declarations;
        Ok(meanings)
    }

    fn pool(&mut self, bits: u64) -> u32 {
        let next = self.program.pool.len() as u32;
        let Linker { pool, program, .. } = self;
        *pool.entry(bits).or_insert_with(|| {
            program.pool.push(bits);
            next
        })
    }

    fn push_constant(&mut self, ty: Type, bits: u64) -> Inst {
        if bits as i32 as u64 == bits {
            return Inst { op: op::PUSH, ty: ty.code(), arg: bits as u32 };
        }
        Inst { op: code::PUSH_POOL, ty: ty.code(), arg: self.pool(bits) }
    }

    /// Resolves the records of a module.
    fn module(&mut self, index: usize) -> Result<(), FrontendError> {
        let structures = self.structures(index)?;
        let meanings = self.meanings(index, &structures)?;
        let linked = self.program.modules[index].clone();
        let module = &mut self.loaded[index].module;
        let records = std::mem::take(&mut module.records);
        let literals = std::mem::take(&mut module.texts);
        let count = records.len() as u32;
        let first = linked.first_record;
        // The unit of each record, for branches; `begin` is outside, `end` inside.
        let mut unit_of = vec![linked.outside; records.len()];
        for unit in linked.subroutines.clone() {
            let Unit { begin, end, .. } = self.program.units[unit as usize];
            unit_of[(begin + 1 - first) as usize..(end - first) as usize].fill(unit);
        }
        // Slots of locals: for each name the unit that it was met in last, and its slot there.
        let mut slots = vec![(u32::MAX, 0); meanings.len()];
        let mut outside_slots = vec![u32::MAX; meanings.len()];
        self.program.insts.reserve(records.len() + 1);
        for (at, record) in records.iter().enumerate() {
            let unit = unit_of[at];
            let mut slot_of = |program: &mut Program, name: Name| {
                let locals = &mut program.units[unit as usize].locals;
                let place = name.0 as usize;
                if unit == linked.outside {
                    if outside_slots[place] == u32::MAX {
                        outside_slots[place] = FIRST_LOCAL + locals.len() as u32;
                        locals.push(name.0);
                    }
                    return outside_slots[place];
                }
                if slots[place].0 != unit {
                    slots[place] = (unit, FIRST_LOCAL + locals.len() as u32);
                    locals.push(name.0);
                }
                slots[place].1
            };
            let plain = Inst { op: record.op, ty: record.ty, arg: 0 };
            let inst = match (record.op, record.arg) {
                (op::LOAD, Arg::Name(name)) => match meanings[name.0 as usize] {
                    Meaning::Local => Inst { op: op::LOAD, ty: 0, arg: slot_of(&mut self.program, name) },
                    Meaning::Register(register) => Inst { op: op::LOAD, ty: 0, arg: register.into() },
                    Meaning::Global(global) => {
                        let ty = self.program.globals[global as usize].ty.code();
                        Inst { op: code::LOAD_GLOBAL, ty, arg: global }
                    }
                    Meaning::Constant(ty, bits) => self.push_constant(ty, bits),
                    Meaning::Object(bits) => self.push_constant(Type::Ptr, bits),
                },
                (op::STORE, Arg::Name(name)) if record.ty == Type::Ptr.code() => match meanings
                    [name.0 as usize]
                {
                    Meaning::Local => {
                        Inst { op: code::ELEMENT, ty: 0, arg: slot_of(&mut self.program, name) }
                    }
                    Meaning::Register(register) => Inst { op: code::ELEMENT, ty: 0, arg: register.into() },
                    Meaning::Global(global) => {
                        let ty = self.program.globals[global as usize].ty.code();
                        Inst { op: code::ELEMENT_GLOBAL, ty, arg: global }
                    }
                    Meaning::Constant(ty, bits) => {
                        Inst { op: code::ELEMENT_CONSTANT, ty: ty.code(), arg: self.pool(bits) }
                    }
                    Meaning::Object(bits) => {
                        Inst { op: code::ELEMENT_CONSTANT, ty: Type::Ptr.code(), arg: self.pool(bits) }
                    }
                },
                (op::STORE, Arg::Name(name)) => match meanings[name.0 as usize] {
                    Meaning::Local => Inst { op: op::STORE, ty: 0, arg: slot_of(&mut self.program, name) },
                    Meaning::Register(8) => Inst { op: code::STORE_R8, ty: 0, arg: 8 },
                    Meaning::Register(9) => Inst { op: code::STORE_R9, ty: 0, arg: 9 },
                    Meaning::Register(register) => Inst { op: op::STORE, ty: 0, arg: register.into() },
                    Meaning::Global(global) => {
                        let ty = self.program.globals[global as usize].ty.code();
                        Inst { op: code::STORE_GLOBAL, ty, arg: global }
                    }
                    Meaning::Constant(..) | Meaning::Object(_) => {
                        Inst { op: code::STORE_CONSTANT, ty: 0, arg: 0 }
                    }
                },
                (op::PUSH, Arg::Plain(bits)) => {
                    let ty = Type::from_code(record.ty).unwrap_or(Type::Ptr);
                    self.push_constant(ty, bits)
                }
                (op::PUSH, Arg::Text(text)) => {
                    let bits = self.text(index, &literals[text as usize])?;
                    self.push_constant(Type::Ptr, bits)
                }
                (op::PUSH, Arg::Array(ty, cells)) => Inst { op: code::NEW_ARRAY, ty: ty.code(), arg: cells },
                (op::PUSH, Arg::Structure(name)) => match structures.get(&name) {
                    Some(&number) => Inst { op: code::NEW_STRUCTURE, ty: 0, arg: number },
                    None => {
                        let module = &self.loaded[index].module;
                        let why = format!(
                            "{}: there is no structure {}",
                            module.place(at),
                            module.names.text(name)
                        );
                        return self.refuse(index, why);
                    }
                },
                (op::CALL, Arg::Name(name)) => self.call(index, at, name)?,
                (op::BEGIN, _) => {
                    let unit = linked.subroutines.start
                        + self.program.units
                            [linked.subroutines.start as usize..linked.subroutines.end as usize]
                            .partition_point(|unit| unit.begin < first + at as u32)
                            as u32;
                    Inst { op: op::BEGIN, ty: 0, arg: self.program.units[unit as usize].end }
                }
                (code, Arg::Target(target)) => {
                    let stays = target == count || unit_of.get(target as usize) == Some(&unit);
                    Inst { op: code, ty: 0, arg: if stays { first + target } else { BAD_TARGET } }
                }
                (op::LABEL | op::NOOP, _) => Inst { op: op::NOOP, ty: 0, arg: 0 },
                (code, _) if code > op::BTOS => Inst { op: code::INVALID, ty: 0, arg: 0 },
                _ => plain,
            };
            self.program.insts.push(inst);
        }
        self.program.insts.push(Inst { op: code::END_OF_BUFFER, ty: 0, arg: 0 });
        let module = &mut self.loaded[index].module;
        self.program.places.append(&mut module.places);
        self.program.places.push(0);
        self.program.has_lines |= module.has_lines && index == 0;
        module.records = records;
        module.texts = literals;
        Ok(())
    }

    fn call(&mut self, index: usize, at: usize, name: Name) -> Result<Inst, FrontendError> {
        let module = &self.loaded[index].module;
        let bytes = module.names.bytes(name);
        let wrong = |why: &str| {
            let shown = String::from_utf8_lossy(bytes);
            self.refuse(index, format!("{}: call of {shown}: {why}", module.place(at)))
        };
        let callee = if let Some(rest) = bytes.strip_prefix(b"[") {
            let Some(split) = rest.iter().position(|byte| *byte == b']') else {
                return wrong("no library is named");
            };
            let (alias, function) = (&rest[..split], &rest[split + 1..]);
            let named =
                module.names.find(alias).and_then(|alias| self.loaded[index].aliases.get(&alias).copied());
            match named.or_else(|| library::library(alias).map(Library::System)) {
                None => return wrong("no .extern names this library"),
                Some(Library::System(system)) => match Function::find(system, function) {
                    Some(function) => return Ok(Inst { op: code::LIBRARY, ty: 0, arg: function as u32 }),
                    None => return wrong("the system library has no such function"),
                },
                Some(Library::Module(library)) => {
                    let names = &self.loaded[library].module.names;
                    let exported =
                        names.find(function).filter(|name| self.loaded[library].exported.contains(name));
                    let callee = exported.and_then(|name| self.callee(library, name));
                    let Some(callee) = callee else { return wrong("the library exports no such subroutine") };
                    callee
                }
            }
        } else {
            let Some(callee) = self.callee(index, name) else {
                return wrong("there is no such subroutine or label");
            };
            callee
        };
        let next = self.program.callees.len() as u32;
        let number = *self.callees.entry(callee).or_insert(next);
        if number == next {
            self.program.callees.push(callee);
        }
        Ok(Inst { op: op::CALL, ty: 0, arg: number })
    }
}
