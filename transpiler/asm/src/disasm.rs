//! Modules to text.

mod code;
mod text;

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use dotvm_arch::W512;
use dotvm_core::decode::{DecodeErrorKind, Decoded, Scratch, decode};
use dotvm_core::module::{Constant, Debug, Module, Signature};
use dotvm_core::opcode::{Imm, Op};

use crate::data::default_memory;
use crate::parser::signed_word;

/// Why a module has no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DisassembleError {
    /// Code that is no instructions.
    #[error("function {function}, offset {offset}: {kind}")]
    Code {
        /// Name of the function.
        function: String,
        /// Byte offset of the instruction.
        offset: u32,
        /// What is wrong.
        kind: DecodeErrorKind,
    },
    /// A function without a signature.
    #[error("function {function} names signature {signature}, which does not exist")]
    Signature {
        /// Name of the function.
        function: String,
        /// The index that is out of range.
        signature: u32,
    },
    /// A jump map that leads nowhere.
    #[error("jump map {map} leads to offset {offset} of function {function}, where no instruction starts")]
    JumpMap {
        /// Index of the map.
        map: usize,
        /// Index of the function.
        function: u32,
        /// Byte offset.
        offset: u32,
    },
}

/// The text of a module, from which [`assemble`](crate::assemble) makes the same module.
///
/// That holds for every module that the verifier accepts, with one freedom: the debug section is brought into the
/// form that the assembler and [`CodeBuilder`](dotvm_core::builder::CodeBuilder) give it, that is, a list of
/// names is as long as what it names, or empty if none has a name; no two lines in a row are equal, and none is
/// 0; lines and labels stand at instructions.
///
/// # Errors
/// Code that does not decode, and indices without which there is no text. The verifier refuses such modules too.
pub fn disassemble(module: &Module) -> Result<String, DisassembleError> {
    let mut codes = Vec::with_capacity(module.functions.len());
    let mut scratch = Scratch::default();
    for (index, function) in module.functions.iter().enumerate() {
        let code = decode(&function.code, module.width.bits(), &mut scratch);
        codes.push(code.map_err(|error| DisassembleError::Code {
            function: module.function_name(index as u32),
            offset: error.offset,
            kind: error.kind,
        })?);
    }
    let names = ModuleNames::new(module, &codes)?;
    let mut out = String::new();
    header(&mut out, module, &names);
    let mut labels = Vec::with_capacity(codes.len());
    for (index, code) in codes.iter().enumerate() {
        let function_labels = code::Labels::new(module, index as u32, code);
        out.push('\n');
        code::function(&mut out, module, &names, index as u32, code, &function_labels);
        labels.push(function_labels);
    }
    for (index, map) in module.jump_maps.iter().enumerate() {
        let _ = writeln!(
            out,
            "\n.map m{index} {} {{",
            names.reference(&names.functions, u64::from(map.function))
        );
        for &(address, offset) in &map.entries {
            let label = labels.get(map.function as usize).and_then(|labels| labels.at(offset));
            let no_label = DisassembleError::JumpMap { map: index, function: map.function, offset };
            let _ = writeln!(out, "  {address:#x}: {}", label.ok_or(no_label)?);
        }
        out.push_str("}\n");
    }
    Ok(out)
}

/// The names of one kind of thing.
pub(crate) struct NameList {
    /// How each is declared.
    decls: Vec<String>,
    /// How each is referred to, where its name does that.
    refs: Vec<Option<String>>,
}

impl NameList {
    /// Names as given; one that is already taken is declared with `~` and referred to by its number.
    fn new<'n>(names: impl Iterator<Item = &'n str>) -> NameList {
        let mut taken = HashSet::new();
        let mut list = NameList { decls: Vec::new(), refs: Vec::new() };
        for name in names {
            let text = text::name(name);
            if name.is_empty() {
                list.decls.push("_".to_owned());
                list.refs.push(None);
            } else if taken.insert(name.to_owned()) {
                list.decls.push(text.clone());
                list.refs.push(Some(text));
            } else {
                list.decls.push(format!("~{text}"));
                list.refs.push(None);
            }
        }
        list
    }

    /// The names of the debug section, or a letter and a number for each where there is none.
    fn of_debug(names: Option<&Vec<String>>, count: usize, letter: &str) -> NameList {
        match names {
            Some(names) => NameList::new((0..count).map(|index| names.get(index).map_or("", String::as_str))),
            None => {
                let names: Vec<String> = (0..count).map(|index| format!("{letter}{index}")).collect();
                NameList::new(names.iter().map(String::as_str))
            }
        }
    }
}

/// The names of a module's things.
pub(crate) struct ModuleNames {
    functions: NameList,
    /// The functions' names as text.
    function_texts: Vec<String>,
    globals: NameList,
    ref_globals: NameList,
    word_constants: NameList,
    ref_constants: NameList,
    tables: NameList,
    collections: NameList,
    host_calls: NameList,
    signatures: NameList,
    jump_maps: NameList,
    /// Signatures from here on need no declaration: the functions bring them in this order.
    implied_signatures: usize,
    /// Word constants from here on stand in instructions.
    inline_words: usize,
    /// Reference constants from here on stand in instructions.
    inline_refs: usize,
}

impl ModuleNames {
    fn new(module: &Module, codes: &[Decoded]) -> Result<ModuleNames, DisassembleError> {
        let debug = module.debug.as_ref();
        let list = |select: fn(&Debug) -> &Vec<String>, count: usize, letter: &str| {
            NameList::of_debug(debug.map(select), count, letter)
        };
        let function_texts: Vec<String> = (0..module.functions.len())
            .map(|index| match debug {
                Some(debug) => {
                    debug.functions.get(index).map_or(String::new(), |function| function.name.clone())
                }
                None => module.function_name(index as u32),
            })
            .collect();
        let bits = module.width.bits();
        let has_no_name = |names: Option<&Vec<String>>, index: usize| {
            names.is_none_or(|names| names.get(index).is_none_or(String::is_empty))
        };
        let word_names = debug.map(|debug| &debug.word_constants);
        let inline_words =
            implied_tail(&module.word_constants, uses(codes, Imm::WordConst), |index, word: &W512| {
                has_no_name(word_names, index) && signed_word(*word, bits).is_none()
            });
        let ref_names = debug.map(|debug| &debug.ref_constants);
        let inline_refs =
            implied_tail(&module.ref_constants, uses(codes, Imm::RefConst), |index, contents: &Constant| {
                has_no_name(ref_names, index) && text::inline(contents).is_some()
            });
        for (index, function) in module.functions.iter().enumerate() {
            if function.signature as usize >= module.signatures.len() {
                let function_name = module.function_name(index as u32);
                return Err(DisassembleError::Signature {
                    function: function_name,
                    signature: function.signature,
                });
            }
        }
        let mut occurrences: HashMap<Signature, u32> = HashMap::new();
        for signature in &module.signatures {
            *occurrences.entry(*signature).or_default() += 1;
        }
        let signature_uses = module.functions.iter().map(|function| u64::from(function.signature));
        let implied_signatures =
            implied_tail(&module.signatures, signature_uses, |_, signature| occurrences[signature] == 1);
        let mut signatures = NameList::of_debug(None, implied_signatures, "s");
        signatures.refs.resize(module.signatures.len(), None);
        Ok(ModuleNames {
            functions: NameList::new(function_texts.iter().map(String::as_str)),
            globals: list(|debug| &debug.word_globals, module.word_globals.len(), "g"),
            ref_globals: list(|debug| &debug.ref_globals, module.ref_globals as usize, "rg"),
            word_constants: list(|debug| &debug.word_constants, inline_words, "w"),
            ref_constants: list(|debug| &debug.ref_constants, inline_refs, "k"),
            tables: list(|debug| &debug.tables, module.tables.len(), "t"),
            host_calls: NameList::new(module.host_calls.iter().map(|call| call.name())),
            collections: NameList::new(module.collections.iter().map(|collection| collection.name.as_str())),
            signatures,
            jump_maps: NameList::of_debug(None, module.jump_maps.len(), "m"),
            function_texts,
            implied_signatures,
            inline_words,
            inline_refs,
        })
    }

    /// How an operand names an entry: by name, or by number.
    fn reference(&self, list: &NameList, index: u64) -> String {
        let name = usize::try_from(index).ok().and_then(|index| list.refs.get(index)?.as_ref());
        name.cloned().unwrap_or_else(|| index.to_string())
    }

    /// The names that an immediate of this kind refers to.
    fn list(&self, imm: Imm) -> Option<&NameList> {
        Some(match imm {
            Imm::Global => &self.globals,
            Imm::RefGlobal => &self.ref_globals,
            Imm::WordConst => &self.word_constants,
            Imm::RefConst => &self.ref_constants,
            Imm::Func => &self.functions,
            Imm::Sig => &self.signatures,
            Imm::FuncTable => &self.tables,
            Imm::JumpMap => &self.jump_maps,
            Imm::Coll => &self.collections,
            Imm::HostCall => &self.host_calls,
            _ => return None,
        })
    }
}

/// The indices that instructions name with an immediate of a kind, in the order of the code.
fn uses(codes: &[Decoded], kind: Imm) -> impl Iterator<Item = u64> {
    codes
        .iter()
        .flat_map(|code| &code.insts)
        .filter(move |inst| inst.op.info().imms == [kind])
        .map(|inst| inst.a)
}

/// Where the tail of a list begins that the assembler builds by itself: each entry is used, first uses come in the
/// order of the entries, no two are equal, and each is fit to be written where it is used.
fn implied_tail<T: Eq + std::hash::Hash>(
    entries: &[T],
    uses: impl Iterator<Item = u64>,
    fit: impl Fn(usize, &T) -> bool,
) -> usize {
    let mut first_use = vec![usize::MAX; entries.len()];
    for (position, index) in uses.enumerate() {
        if let Some(first) = usize::try_from(index).ok().and_then(|index| first_use.get_mut(index)) {
            *first = position.min(*first);
        }
    }
    let mut start = entries.len();
    let mut limit = usize::MAX;
    let mut seen = HashSet::new();
    while let Some(index) = start.checked_sub(1) {
        if first_use[index] >= limit || !fit(index, &entries[index]) || !seen.insert(&entries[index]) {
            break;
        }
        limit = first_use[index];
        start = index;
    }
    start
}

fn header(out: &mut String, module: &Module, names: &ModuleNames) {
    let _ = writeln!(out, ".module {}", text::name(&module.name));
    let _ = writeln!(out, ".arch {}", module.width);
    match &module.debug {
        Some(debug) => {
            let name = text::quote(&debug.source_name, '"');
            let _ = writeln!(out, ".file {name} {}", text::hex(&debug.source_hash));
        }
        None => out.push_str(".nodebug\n"),
    }
    if let Some(entry) = module.entry {
        let _ = writeln!(out, ".entry {}", names.reference(&names.functions, u64::from(entry)));
    }
    let (memory, default) = (module.memory, default_memory(&module.data));
    if (memory.min_pages, memory.max_pages) != (default.min_pages, default.max_pages) {
        let _ = writeln!(out, ".memory {} {}", memory.min_pages, memory.max_pages);
    }
    if memory.heap_base != default.heap_base {
        let _ = writeln!(out, ".heap {:#x}", memory.heap_base);
    }
    if !module.capabilities.is_empty() {
        let capabilities: Vec<&str> =
            module.capabilities.iter().map(|capability| capability.name()).collect();
        let _ = writeln!(out, ".cap {}", capabilities.join(" "));
    }
    if !module.host_calls.is_empty() {
        let calls: Vec<&str> = module.host_calls.iter().map(|call| call.name()).collect();
        let _ = writeln!(out, ".host {}", calls.join(" "));
    }
    for (collection, decl) in module.collections.iter().zip(&names.collections.decls) {
        let _ = writeln!(out, ".collection {decl} {}", collection.kind.name());
    }
    for (value, decl) in module.word_globals.iter().zip(&names.globals.decls) {
        match *value == W512::ZERO {
            true => _ = writeln!(out, ".global {decl}"),
            false => _ = writeln!(out, ".global {decl} = {}", text::word(*value)),
        }
    }
    for decl in &names.ref_globals.decls {
        let _ = writeln!(out, ".rglobal {decl}");
    }
    for (value, decl) in module.word_constants[..names.inline_words].iter().zip(&names.word_constants.decls) {
        let _ = writeln!(out, ".const {decl} word {}", text::word(*value));
    }
    for (contents, decl) in module.ref_constants[..names.inline_refs].iter().zip(&names.ref_constants.decls) {
        let _ = match contents.as_bytes().and_then(|bytes| text::query(bytes)) {
            Some(query) => writeln!(out, ".query {decl} {}", text::quote(&query, '"')),
            None => writeln!(out, ".const {decl} {}", text::constant(contents)),
        };
    }
    for segment in &module.data {
        let class = if segment.read_only { "ro " } else { "" };
        let _ = writeln!(out, ".data {class}{:#x} {}", segment.address, text::bytes(&segment.bytes));
    }
    for (signature, decl) in module.signatures[..names.implied_signatures].iter().zip(&names.signatures.decls)
    {
        let parameters = code::group(signature.words_in, signature.refs_in);
        let _ = writeln!(out, ".sig {decl} {parameters}{}", code::results(signature));
    }
    for (table, decl) in module.tables.iter().zip(&names.tables.decls) {
        let _ = write!(out, ".table {decl}");
        for entry in table {
            match entry {
                Some(function) => {
                    let _ = write!(out, " {}", names.reference(&names.functions, u64::from(*function)));
                }
                None => out.push_str(" -"),
            }
        }
        out.push('\n');
    }
    for export in &module.exports {
        if names.function_texts.get(export.function as usize) != Some(&export.name) {
            let function = names.reference(&names.functions, u64::from(export.function));
            let _ = writeln!(out, ".export {} {function}", text::name(&export.name));
        }
    }
}

/// Whether a reference constant stands in the instruction itself.
pub(crate) fn is_inline(names: &ModuleNames, op: Op, index: u64) -> bool {
    let start = match op {
        Op::Pushc => names.inline_words,
        Op::Rconst => names.inline_refs,
        _ => return false,
    };
    index >= start as u64
}
