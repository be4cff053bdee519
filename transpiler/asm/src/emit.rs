//! Declarations to a module: numbers for names, tables, the debug section.

use std::collections::HashMap;

use dotvm_arch::{W512, Width};
use dotvm_core::module::{
    Collection, Constant, Debug, Export, HandlerTable, JumpMap, Memory, Module, Signature,
};
use dotvm_core::verify::derive_heights;

use crate::data::{self, Layout};
use crate::diagnostics::Problem;
use crate::function::{self, Body};
use crate::lexer::Span;
use crate::names::Scope;
use crate::parser::MAX_PROBLEMS;
use crate::syntax::*;
use crate::{Assembled, Options};

/// Constants that instructions name by their value: each once, behind the declared ones.
pub(crate) struct Pool<T> {
    declared: usize,
    index: HashMap<T, u32>,
    values: Vec<T>,
}

impl<T: Clone + Eq + std::hash::Hash> Pool<T> {
    fn new(declared: usize) -> Pool<T> {
        Pool { declared, index: HashMap::new(), values: Vec::new() }
    }

    /// The number of the constant with this value.
    pub(crate) fn intern(&mut self, value: T) -> u64 {
        if let Some(&index) = self.index.get(&value) {
            return u64::from(index);
        }
        let index = (self.declared + self.values.len()) as u32;
        self.index.insert(value.clone(), index);
        self.values.push(value);
        u64::from(index)
    }
}

/// What is known of a module while its functions are encoded.
pub(crate) struct Context {
    pub(crate) width: Width,
    pub(crate) functions: Scope,
    pub(crate) globals: Scope,
    pub(crate) ref_globals: Scope,
    pub(crate) word_constants: Scope,
    pub(crate) ref_constants: Scope,
    pub(crate) tables: Scope,
    pub(crate) signatures: Scope,
    pub(crate) jump_maps: Scope,
    pub(crate) collections: Scope,
    pub(crate) host_calls: Scope,
    pub(crate) layout: Layout,
    pub(crate) word_pool: Pool<W512>,
    pub(crate) ref_pool: Pool<Constant>,
    pub(crate) problems: Vec<Problem>,
}

impl Context {
    fn new(source: &SourceModule, width: Width, mut problems: Vec<Problem>) -> Context {
        let out = &mut problems;
        let functions = source.functions.iter().map(|function| &function.decl);
        Context {
            width,
            functions: Scope::of("a function", "declare one with `.func NAME`", functions, out),
            globals: Scope::of(
                "a word global",
                "declare one with `.global NAME`",
                source.globals.iter().map(|global| &global.0),
                out,
            ),
            ref_globals: Scope::of(
                "a reference global",
                "declare one with `.rglobal NAME`",
                source.ref_globals.iter(),
                out,
            ),
            word_constants: Scope::of(
                "a word constant",
                "declare one with `.const NAME word VALUE`",
                source.word_constants.iter().map(|constant| &constant.0),
                out,
            ),
            ref_constants: Scope::of(
                "a reference constant",
                "declare one with `.const NAME bytes \"...\"` or write the text in quotes",
                source.ref_constants.iter().map(|constant| &constant.0),
                out,
            ),
            tables: Scope::of(
                "a function table",
                "declare one with `.table NAME FUNCTION...`",
                source.tables.iter().map(|table| &table.0),
                out,
            ),
            signatures: Scope::of(
                "a signature",
                "declare one with `.sig NAME [words]{references} -> [words]{references}`",
                source.signatures.iter().map(|signature| &signature.0),
                out,
            ),
            jump_maps: Scope::of(
                "a jump map",
                "declare one with `.map NAME FUNCTION { ADDRESS: LABEL ... }`",
                source.jump_maps.iter().map(|map| &map.decl),
                out,
            ),
            collections: Scope::of(
                "a collection",
                "declare one with `.collection NAME bytes` or `doc`",
                source.collections.iter().map(|collection| &collection.0),
                out,
            ),
            host_calls: Scope::of(
                "a host call of the module",
                "list it with `.host NAME`",
                source.host_calls.iter().map(|call| &call.0),
                out,
            ),
            layout: data::lay_out(&source.data, width.bits().min(64), out),
            word_pool: Pool::new(source.word_constants.len()),
            ref_pool: Pool::new(source.ref_constants.len()),
            problems,
        }
    }

    pub(crate) fn problem(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    /// The scopes of the module, where a misplaced name may belong.
    pub(crate) fn scopes(&self) -> [&Scope; 11] {
        [
            &self.functions,
            &self.globals,
            &self.ref_globals,
            &self.word_constants,
            &self.ref_constants,
            &self.tables,
            &self.signatures,
            &self.jump_maps,
            &self.collections,
            &self.host_calls,
            &self.layout.names,
        ]
    }

    /// The word of the module's width with this value; reported if it does not fit.
    fn word(&mut self, number: &Option<(Number, Span)>) -> W512 {
        let Some((number, span)) = number else { return W512::ZERO };
        match number.to_word(self.width.bits()) {
            Some(word) => word,
            None => {
                self.problem(too_wide(span.clone(), self.width.bits()));
                W512::ZERO
            }
        }
    }

    /// The function that an operand names, by name or by number.
    fn function(&mut self, operand: &Operand) -> u32 {
        let found = match &operand.kind {
            OperandKind::Name(name) => match self.functions.get(name) {
                Some(index) => Some(index),
                None => {
                    let problem = self.functions.unknown(name, &operand.span, self.scopes());
                    self.problem(problem);
                    return 0;
                }
            },
            OperandKind::Number(number) => number.to_u64().and_then(|number| u32::try_from(number).ok()),
            _ => None,
        };
        found.unwrap_or_else(|| {
            self.problem(Problem::new(operand.span.clone(), "the name of a function is expected"));
            0
        })
    }
}

/// The error for a value that words of some bits cannot hold.
pub(crate) fn too_wide(span: Span, bits: u32) -> Problem {
    let problem = Problem::new(span, format!("the value does not fit a word of {bits} bits"));
    problem.hint(format!("values go from -2^{} to 2^{bits} - 1", bits - 1))
}

/// Builds the module, or adds to the problems why there is none.
pub(crate) fn emit(
    source: &SourceModule,
    text: &str,
    options: &Options,
    mut problems: Vec<Problem>,
) -> Result<Assembled, Vec<Problem>> {
    let width = choose_width(source, options, &mut problems);
    let mut context = Context::new(source, width, problems);
    let name = match &source.name {
        Some(decl) => decl.name.clone(),
        None => options.default_module_name(),
    };
    let mut module = Module::new(&name, width);
    module.signatures = source.signatures.iter().map(|(_, signature)| *signature).collect();
    let mut numbers = HashMap::new();
    for (index, signature) in module.signatures.iter().enumerate() {
        numbers.entry(*signature).or_insert(index as u32);
    }
    let mut debug = debug_section(source, text, options);
    let mut bodies = Vec::with_capacity(source.functions.len());
    for function in &source.functions {
        let signature = signature_number(&mut context, &mut module.signatures, &mut numbers, function);
        let mut body = function::emit(&mut context, function);
        body.function.signature = signature;
        bodies.push(body);
    }
    for body in &mut bodies {
        module.functions.push(body.function.clone());
        debug.functions.push(std::mem::take(&mut body.debug));
    }

    module.entry = source.entry.as_ref().map(|entry| context.function(entry));
    module.capabilities = source.capabilities.clone();
    module.host_calls = source.host_calls.iter().map(|&(_, call)| call).collect();
    for (decl, kind) in &source.collections {
        if decl.name.is_empty() {
            context.problem(Problem::new(decl.span.clone(), "a collection has a name"));
        }
        module.collections.push(Collection { name: decl.name.clone(), kind: *kind });
    }
    module.word_globals = source.globals.iter().map(|(_, value)| context.word(value)).collect();
    module.ref_globals = source.ref_globals.len() as u32;
    module.word_constants = source.word_constants.iter().map(|(_, value)| context.word(value)).collect();
    module.word_constants.append(&mut context.word_pool.values);
    let ref_constants = source.ref_constants.iter().map(|(_, constant)| constant.clone());
    module.ref_constants = ref_constants.chain(context.ref_pool.values.drain(..)).collect();
    module.tables = source
        .tables
        .iter()
        .map(|(_, entries)| {
            entries.iter().map(|entry| entry.as_ref().map(|entry| context.function(entry))).collect()
        })
        .collect();
    module.jump_maps = source.jump_maps.iter().map(|map| jump_map(&mut context, map, &bodies)).collect();
    for (index, body) in bodies.iter().enumerate().filter(|(_, body)| !body.handlers.is_empty()) {
        let entries = body.handlers.iter().map(|(handler, _)| *handler).collect();
        module.handlers.push(HandlerTable { function: index as u32, entries });
    }
    module.exports = exports(&mut context, source);
    module.data = std::mem::take(&mut context.layout.segments);
    module.memory = memory(&mut context, source, &module);

    if !context.problems.is_empty() {
        return Err(context.problems);
    }
    for (index, body) in bodies.iter().enumerate() {
        let given: Vec<bool> = body.handlers.iter().map(|(_, given)| *given).collect();
        if given.contains(&false) {
            let entries = derive_heights(&module, index as u32, &given);
            if let Some(table) = module.handlers.iter_mut().find(|table| table.function == index as u32) {
                table.entries = entries;
            }
        }
    }
    if !source.no_debug {
        for (names, count) in [
            (&mut debug.word_constants, module.word_constants.len()),
            (&mut debug.ref_constants, module.ref_constants.len()),
        ] {
            if !names.is_empty() {
                names.resize(count, String::new());
            }
        }
        module.debug = Some(debug);
    }
    let spans = bodies.into_iter().map(|body| body.spans).collect();
    Ok(Assembled { module, spans })
}

fn choose_width(source: &SourceModule, options: &Options, problems: &mut Vec<Problem>) -> Width {
    match &source.arch {
        Some((ArchSource::Fixed(fixed), span)) => {
            if let Some(asked) = options.width.filter(|asked| asked != fixed) {
                let message =
                    format!("this source is for words of {fixed} bits, but {asked} bits are asked for");
                problems
                    .push(Problem::new(span.clone(), message).hint("`.arch any` assembles at every width"));
            }
            *fixed
        }
        Some((ArchSource::Any, _)) | None => options.width.unwrap_or(Width::W64),
    }
}

/// The names of a list of the debug section: one for each declaration, or none if none has a name.
pub(crate) fn name_list<'d>(decls: impl Iterator<Item = &'d Decl>) -> Vec<String> {
    let names: Vec<String> = decls.map(|decl| decl.name.clone()).collect();
    if names.iter().all(String::is_empty) { Vec::new() } else { names }
}

/// The debug section without its functions.
fn debug_section(source: &SourceModule, text: &str, options: &Options) -> Debug {
    let (source_name, source_hash) = match &source.file {
        Some((name, hash)) => (name.clone(), *hash),
        None => (options.source_name(), *blake3::hash(text.as_bytes()).as_bytes()),
    };
    Debug {
        source_name,
        source_hash,
        functions: Vec::with_capacity(source.functions.len()),
        word_globals: name_list(source.globals.iter().map(|global| &global.0)),
        ref_globals: name_list(source.ref_globals.iter()),
        word_constants: name_list(source.word_constants.iter().map(|constant| &constant.0)),
        ref_constants: name_list(source.ref_constants.iter().map(|constant| &constant.0)),
        tables: name_list(source.tables.iter().map(|table| &table.0)),
    }
}

/// The number of a function's signature: declared ones first, the others in the order of the functions.
fn signature_number(
    context: &mut Context,
    signatures: &mut Vec<Signature>,
    numbers: &mut HashMap<Signature, u32>,
    function: &FunctionSource,
) -> u32 {
    if let Some(choice) = &function.signature_choice {
        let number = match &choice.kind {
            OperandKind::Name(name) => context.signatures.get(name),
            OperandKind::Number(number) => number.to_u64().and_then(|number| u32::try_from(number).ok()),
            _ => None,
        };
        match number {
            Some(number) if signatures.get(number as usize) == Some(&function.signature) => return number,
            _ => {
                let problem =
                    Problem::new(choice.span.clone(), "this is no signature equal to the function's");
                context.problem(problem.hint("declare it with `.sig` in front"));
                return 0;
            }
        }
    }
    *numbers.entry(function.signature).or_insert_with(|| {
        signatures.push(function.signature);
        signatures.len() as u32 - 1
    })
}

fn jump_map(context: &mut Context, map: &JumpMapSource, bodies: &[Body]) -> JumpMap {
    let function = context.function(&map.function);
    let mut entries = Vec::with_capacity(map.entries.len());
    for (address, label) in &map.entries {
        let Some(address) = address.to_u64() else {
            context.problem(Problem::new(label.span.clone(), "a guest address is a number below 2^64"));
            continue;
        };
        let Some(body) = bodies.get(function as usize) else { break };
        let OperandKind::Name(name) = &label.kind else {
            context.problem(Problem::new(label.span.clone(), "a label is expected"));
            continue;
        };
        match body.labels.get(name) {
            Some(label) => entries.push((address, body.offsets.get(label as usize).copied().unwrap_or(0))),
            None => {
                let problem = body.labels.unknown(name, &label.span, []);
                context.problem(problem);
            }
        }
    }
    entries.sort_by_key(|entry| entry.0);
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        let message = format!("the jump map has the address {:#x} twice", pair[0].0);
        context.problem(Problem::new(map.decl.span.clone(), message));
    }
    JumpMap { function, entries }
}

fn exports(context: &mut Context, source: &SourceModule) -> Vec<Export> {
    let mut exports: Vec<(Export, Span)> = Vec::new();
    for (index, function) in source.functions.iter().enumerate().filter(|(_, function)| function.public) {
        let export = Export { name: function.decl.name.clone(), function: index as u32 };
        exports.push((export, function.decl.span.clone()));
    }
    for (decl, function) in &source.exports {
        let function = context.function(function);
        exports.push((Export { name: decl.name.clone(), function }, decl.span.clone()));
    }
    exports.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    for (index, (export, span)) in exports.iter().enumerate() {
        if export.name.is_empty() {
            context.problem(Problem::new(span.clone(), "what is exported has a name"));
        } else if index > 0 && exports[index - 1].0.name == export.name {
            // A function declared twice is reported as such.
            let message = format!("`{}` is exported twice", export.name);
            if !context.problems.iter().any(|problem| problem.span == *span) {
                context.problem(Problem::new(span.clone(), message));
            }
        }
    }
    exports.into_iter().map(|(export, _)| export).collect()
}

fn memory(context: &mut Context, source: &SourceModule, module: &Module) -> Memory {
    let mut memory = data::default_memory(&module.data);
    if let Some((min, max)) = source.memory {
        (memory.min_pages, memory.max_pages) = (min, max);
    }
    if let Some((address, span)) = &source.heap {
        if *address < memory.heap_base || !address.is_multiple_of(16) {
            let message = "the heap starts at a multiple of 16 behind all data";
            let hint = format!("the first such address is {:#x}", memory.heap_base);
            context.problem(Problem::new(span.clone(), message).hint(hint));
        }
        memory.heap_base = *address;
    }
    memory
}
