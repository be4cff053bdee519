//! The text of a function.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

use dotvm_core::decode::{Decoded, Inst};
use dotvm_core::module::{Module, Signature};
use dotvm_core::opcode::{Flow, Imm, Op, Prefix};
use dotvm_core::trap::TrapKind;

use super::{ModuleNames, NameList, is_inline, text};
use crate::keywords::keyword_of;
use crate::parser::signed_word;
use crate::syntax::Number;

/// Locals on one line.
const LOCALS_PER_LINE: usize = 16;

/// The labels of a function.
pub(crate) struct Labels {
    /// By code offset: the declarations, and the name to refer to.
    at: BTreeMap<u32, (Vec<String>, Option<String>)>,
}

impl Labels {
    pub(crate) fn new(module: &Module, function: u32, code: &Decoded) -> Labels {
        let mut at: BTreeMap<u32, (Vec<String>, Option<String>)> = BTreeMap::new();
        let debug = module.debug.as_ref();
        let recorded = debug.and_then(|debug| debug.functions.get(function as usize));
        let end = module.functions[function as usize].code.len() as u32;
        let mut taken = HashSet::new();
        for (offset, name) in recorded.iter().flat_map(|debug| &debug.labels) {
            if *offset != end && code.index_of(*offset).is_none() {
                continue;
            }
            let (decls, reference) = at.entry(*offset).or_default();
            let name_text = text::name(name);
            // Names with @ in front are taken by the labels made here.
            if !name.starts_with('@') && taken.insert(name) {
                decls.push(name_text.clone());
                reference.get_or_insert(name_text);
            } else {
                decls.push(format!("~{name_text}"));
            }
        }
        let mut needed = HashSet::new();
        for inst in &code.insts {
            match inst.op.info().flow {
                Flow::Jump | Flow::Branch => _ = needed.insert(code.insts[inst.a as usize].offset),
                Flow::Multi if inst.op == Op::Jtab => {
                    needed.extend(code.table(inst).iter().map(|&target| code.insts[target as usize].offset));
                }
                _ => {}
            }
        }
        for map in module.jump_maps.iter().filter(|map| map.function == function) {
            needed.extend(
                map.entries.iter().map(|entry| entry.1).filter(|&offset| code.index_of(offset).is_some()),
            );
        }
        for handler in module.handlers_of(function) {
            let known = |offset: &u32| *offset == end || code.index_of(*offset).is_some();
            needed.extend([handler.from, handler.to, handler.target].into_iter().filter(known));
        }
        for offset in needed {
            let (decls, reference) = at.entry(offset).or_default();
            if reference.is_none() {
                let name = if debug.is_some() { format!("@L{offset}") } else { format!("L{offset}") };
                decls.push(name.clone());
                *reference = Some(name);
            }
        }
        Labels { at }
    }

    /// The name of the label at an offset.
    pub(crate) fn at(&self, offset: u32) -> Option<&str> {
        self.at.get(&offset)?.1.as_deref()
    }
}

/// `[2]{1}` for numbers of words and references, each left out if there are none.
pub(crate) fn group(words: u16, refs: u16) -> String {
    let mut out = String::new();
    if words > 0 {
        let _ = write!(out, "[{words}]");
    }
    if refs > 0 {
        let _ = write!(out, "{{{refs}}}");
    }
    out
}

/// ` -> [1]{1}`, or nothing without results.
pub(crate) fn results(signature: &Signature) -> String {
    match (signature.words_out, signature.refs_out) {
        (0, 0) => String::new(),
        (words, refs) => format!(" -> {}", group(words, refs)),
    }
}

/// Writes a function.
pub(crate) fn function(
    out: &mut String,
    module: &Module,
    names: &ModuleNames,
    index: u32,
    code: &Decoded,
    labels: &Labels,
) {
    let function = &module.functions[index as usize];
    let signature = module.signatures[function.signature as usize];
    let debug = module.debug.as_ref().map(|debug| debug.functions.get(index as usize));
    let debug = debug.map(|debug| debug.cloned().unwrap_or_default());
    let word_params = usize::from(signature.words_in);
    let ref_params = usize::from(signature.refs_in);
    let word_count = word_params + usize::from(function.word_locals);
    let ref_count = ref_params + usize::from(function.ref_locals);
    let words = NameList::of_debug(debug.as_ref().map(|debug| &debug.words), word_count, "l");
    let refs = NameList::of_debug(debug.as_ref().map(|debug| &debug.refs), ref_count, "r");

    let export = &names.function_texts[index as usize];
    let public = module.exports.iter().any(|known| known.function == index && known.name == *export);
    out.push_str(if public { ".func pub " } else { ".func " });
    out.push_str(&names.functions.decls[index as usize]);
    let params = [('[', &words.decls[..word_params], ']'), ('{', &refs.decls[..ref_params], '}')];
    for (place, (open, decls, close)) in params.into_iter().enumerate() {
        if !decls.is_empty() {
            let space = if place == 0 || word_params == 0 { " " } else { "" };
            let _ = write!(out, "{space}{open}{}{close}", name_list(decls));
        }
    }
    out.push_str(&results(&signature));
    if function.window > 0 {
        let _ = write!(out, " window {}", function.window);
    }
    let first_equal = module.signatures.iter().position(|known| *known == signature);
    if first_equal != Some(function.signature as usize) {
        let _ = write!(out, " sig {}", function.signature);
    }
    out.push('\n');
    for (directive, decls) in
        [(".local", &words.decls[word_params..]), (".rlocal", &refs.decls[ref_params..])]
    {
        if decls.iter().all(|decl| decl == "_") && !decls.is_empty() {
            let _ = writeln!(out, "  {directive} {}", decls.len());
            continue;
        }
        for chunk in decls.chunks(LOCALS_PER_LINE) {
            let _ = writeln!(out, "  {directive} {}", chunk.join(" "));
        }
    }
    for handler in module.handlers_of(index) {
        let label = |offset| labels.at(offset).unwrap_or("?");
        let (from, to, target) = (label(handler.from), label(handler.to), label(handler.target));
        let _ = write!(out, "  .handler {from} {to} {target} {} {}", handler.words, handler.refs);
        for kind in TrapKind::ALL.iter().filter(|kind| handler.kinds & kind.bit() != 0) {
            let _ = write!(out, " {kind}");
        }
        out.push('\n');
    }
    let mut lines = debug.as_ref().map(|debug| debug.lines.iter().peekable());
    for inst in &code.insts {
        if let Some((decls, _)) = labels.at.get(&inst.offset) {
            for decl in decls {
                let _ = writeln!(out, "{decl}:");
            }
        }
        if let Some(lines) = &mut lines {
            let mut line = (inst.offset == 0).then_some(0);
            while let Some((offset, number)) = lines.next_if(|(offset, _)| *offset <= inst.offset) {
                if *offset == inst.offset {
                    line = Some(*number);
                }
            }
            if let Some(line) = line {
                let _ = writeln!(out, "  .loc {line}");
            }
        }
        out.push_str("    ");
        instruction(out, module, names, (&words, &refs), code, labels, inst);
        out.push('\n');
    }
    if let Some((decls, _)) = labels.at.get(&(function.code.len() as u32)) {
        for decl in decls {
            let _ = writeln!(out, "{decl}:");
        }
    }
    out.push_str(".end\n");
}

/// Names, or their number if there are none.
fn name_list(decls: &[String]) -> String {
    if decls.iter().all(|decl| decl == "_") { decls.len().to_string() } else { decls.join(" ") }
}

fn instruction(
    out: &mut String,
    module: &Module,
    names: &ModuleNames,
    locals: (&NameList, &NameList),
    code: &Decoded,
    labels: &Labels,
    inst: &Inst,
) {
    if let Some(prefix) = inst.prefix {
        out.push_str(prefix.mnemonic());
        out.push(' ');
    }
    let label_at = |target: u64| labels.at(code.insts[target as usize].offset).unwrap_or("?");
    let inline = is_inline(names, inst.op, inst.a);
    let word = module.word_constants.get(inst.a as usize).filter(|_| inline && inst.op == Op::Pushc);
    let contents = module.ref_constants.get(inst.a as usize).filter(|_| inline && inst.op == Op::Rconst);
    if let Some(word) = word {
        let _ = write!(out, "{} {}", Op::Push.mnemonic(), text::word(*word));
        return;
    }
    out.push_str(inst.op.mnemonic());
    if let Some(contents) = contents.and_then(text::inline) {
        let _ = write!(out, " {contents}");
        return;
    }
    let bits = inst.prefix.map_or(module.width.bits(), Prefix::bits);
    for (position, &imm) in inst.op.info().imms.iter().enumerate() {
        let value = if position == 0 { inst.a } else { inst.b.into() };
        out.push(' ');
        match imm {
            Imm::Signed => out.push_str(&signed(value as i64, bits)),
            Imm::Rel => out.push_str(label_at(value)),
            Imm::Table => {
                let targets: Vec<&str> =
                    code.table(inst).iter().map(|&target| label_at(u64::from(target))).collect();
                let _ = write!(out, "[{}]", targets.join(" "));
            }
            Imm::Local => out.push_str(&names.reference(locals.0, value)),
            Imm::RefLocal => out.push_str(&names.reference(locals.1, value)),
            _ => match names.list(imm) {
                Some(list) => out.push_str(&names.reference(list, value)),
                None => match keyword_of(imm, value) {
                    Some(keyword) => out.push_str(&keyword),
                    None => _ = write!(out, "{value}"),
                },
            },
        }
    }
}

/// A signed immediate; `=` in front of one that the assembler would write otherwise.
fn signed(value: i64, bits: u32) -> String {
    let number = Number { negative: value < 0, magnitude: dotvm_arch::W512::from(value.unsigned_abs()) };
    match number.to_word(bits).and_then(|word| signed_word(word, bits)) {
        Some(canonical) if canonical == value => value.to_string(),
        _ => format!("={value}"),
    }
}
