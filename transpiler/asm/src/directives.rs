//! The directives: lines that start with a dot.

use dotvm_arch::Width;
use dotvm_core::capability::Capability;
use dotvm_core::host_call::HostCall;
use dotvm_core::module::{CollectionKind, Constant, Signature};

use crate::data;
use crate::diagnostics::Problem;
use crate::lexer::{Span, Token};
use crate::parser::{Parse, Parser, SkipLine, arch_keyword, hex_bytes};
use crate::syntax::*;

type Directive = for<'p, 'a> fn(&'p mut Parser<'a>, Span) -> Parse<()>;

/// Every directive with its parser, which starts behind the name; the span is the name's.
pub(crate) const DIRECTIVES: &[(&str, Directive)] = &[
    ("arch", arch),
    ("cap", cap),
    ("collection", collection),
    ("const", constant),
    ("data", data_segment),
    ("end", end),
    ("entry", entry),
    ("export", export),
    ("file", file),
    ("func", func),
    ("global", global),
    ("handler", handler),
    ("heap", heap),
    ("host", host),
    ("loc", loc),
    ("local", local),
    ("map", map),
    ("memory", memory),
    ("module", module),
    ("nodebug", no_debug),
    ("query", query),
    ("rglobal", rglobal),
    ("rlocal", rlocal),
    ("sig", sig),
    ("table", table),
];

/// Parameters and locals of a kind that a function can have.
const MAX_ENTRIES: usize = u16::MAX as usize;
/// Parameters and locals of a module: as many as the module format has room for names.
const MAX_MODULE_ENTRIES: usize = 4 << 20;

fn outside_functions(p: &mut Parser, span: &Span) -> Parse<()> {
    if p.function.is_none() {
        return Ok(());
    }
    let problem = Problem::new(span.clone(), "this directive stands only outside functions");
    p.fail(problem.hint("close the function with `.end` first"))
}

fn once<T>(p: &mut Parser, span: &Span, before: &Option<T>) -> Parse<()> {
    match before {
        None => Ok(()),
        Some(_) => p.fail(Problem::new(span.clone(), "this directive was already given")),
    }
}

fn module(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let before = p.module.name.take();
    once(p, &span, &before)?;
    p.module.name = Some(p.decl("the module's name")?);
    Ok(())
}

fn arch(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let before = p.module.arch.take();
    once(p, &span, &before)?;
    let arch = match &p.token {
        Token::Word(text) | Token::Number(text) => arch_keyword(text),
        _ => None,
    };
    let Some(arch) = arch else {
        let widths: Vec<String> = Width::ALL.iter().map(Width::to_string).collect();
        return p.expected(&format!("a word width ({} or any)", widths.join(", ")));
    };
    p.module.arch = Some((arch, p.span.clone()));
    p.advance();
    Ok(())
}

fn entry(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let before = p.module.entry.take();
    once(p, &span, &before)?;
    p.module.entry = Some(p.operand(false)?);
    Ok(())
}

fn memory(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let before = p.module.memory.take();
    once(p, &span, &before)?;
    let min = p.unsigned("the number of pages", u64::MAX)?;
    let max = if p.at_line_end() { min } else { p.unsigned("the number of pages", u64::MAX)? };
    if max < min {
        let problem = Problem::new(
            span.start..p.previous_end,
            format!("memory cannot start with {min} pages and have at most {max}"),
        );
        return p.fail(problem.hint("write `.memory MIN MAX`"));
    }
    p.module.memory = Some((min, max));
    Ok(())
}

fn heap(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let before = p.module.heap.take();
    once(p, &span, &before)?;
    let at = p.span.start;
    let address = p.unsigned("an address", u64::MAX)?;
    p.module.heap = Some((address, at..p.previous_end));
    Ok(())
}

fn cap(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let known: Vec<_> = Capability::ALL.iter().map(|&capability| (capability.name(), capability)).collect();
    loop {
        let capability = p.keyword("a capability", &known)?;
        if let Err(place) = p.module.capabilities.binary_search(&capability) {
            p.module.capabilities.insert(place, capability);
        }
        if p.at_line_end() {
            return Ok(());
        }
    }
}

fn host(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let known: Vec<_> = HostCall::ALL.iter().map(|&call| (call.name(), call)).collect();
    loop {
        let span = p.span.clone();
        let call = p.keyword("a host call", &known)?;
        if p.module.host_calls.iter().any(|&(_, listed)| listed == call) {
            let problem = Problem::new(span, format!("the host call `{}` is already listed", call.name()));
            return p.fail(problem);
        }
        let decl = Decl { name: call.name().to_owned(), in_scope: true, span };
        p.module.host_calls.push((decl, call));
        if p.at_line_end() {
            return Ok(());
        }
    }
}

fn collection(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let decl = p.decl("the collection's name")?;
    let kinds = [CollectionKind::Bytes, CollectionKind::Document].map(|kind| (kind.name(), kind));
    let kind = p.keyword("`bytes` or `doc`", &kinds);
    // The name is kept even if the rest is wrong, so that its uses are not reported too.
    p.module.collections.push((decl, *kind.as_ref().unwrap_or(&CollectionKind::Bytes)));
    kind.map(|_| ())
}

fn global(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let decl = p.decl("the global's name")?;
    let mut value = Ok(None);
    if p.eat('=') {
        let start = p.span.start;
        value = p.number().map(|number| Some((number, start..p.previous_end)));
    }
    p.module.globals.push((decl, value.as_ref().ok().cloned().flatten()));
    value.map(|_| ())
}

fn rglobal(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let decl = p.decl("the global's name")?;
    p.module.ref_globals.push(decl);
    Ok(())
}

#[derive(Clone, Copy)]
enum ConstKind {
    Word,
    Bytes,
    Doc,
    Int,
}

fn constant(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let decl = p.decl("the constant's name")?;
    let kinds = [
        ("word", ConstKind::Word),
        ("bytes", ConstKind::Bytes),
        ("doc", ConstKind::Doc),
        ("int", ConstKind::Int),
    ];
    // `doc` stays the current token: what follows it is JSON, not tokens of this language.
    if p.token == Token::Word("doc".to_owned()) {
        let (json, span) = p.json();
        let document = data::document(json).map_err(|problem| {
            let at = span.start + problem.at.min(json.len());
            let end = if problem.at < json.len() { at + 1 } else { at };
            let end =
                (end..=span.end).find(|&end| json.is_char_boundary(end - span.start)).unwrap_or(span.end);
            p.problems.push(Problem::new(at..end, problem.message));
            SkipLine
        });
        p.module.ref_constants.push((decl, document.as_ref().cloned().unwrap_or_default().into()));
        return document.map(|_| ());
    }
    match p.keyword("`word`, `bytes`, `doc` or `int`", &kinds)? {
        ConstKind::Word => {
            let start = p.span.start;
            let number = p.number().map(|number| (number, start..p.previous_end));
            p.module.word_constants.push((decl, number.as_ref().ok().cloned()));
            number.map(|_| ())
        }
        ConstKind::Bytes | ConstKind::Doc => {
            let bytes = p.bytes();
            p.module.ref_constants.push((decl, bytes.as_ref().cloned().unwrap_or_default().into()));
            bytes.map(|_| ())
        }
        ConstKind::Int => {
            let integer = p.integer();
            let constant = Constant::Integer(integer.as_ref().cloned().unwrap_or_default());
            p.module.ref_constants.push((decl, constant));
            integer.map(|_| ())
        }
    }
}

fn query(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let decl = p.decl("the constant's name")?;
    let at = p.span.clone();
    let compiled = match &p.token {
        Token::Text(text) => {
            let compiled = data::query(text, &p.source()[at.clone()]);
            p.advance();
            compiled.map_err(|problem| {
                let start = at.start + problem.at;
                p.problems.push(Problem::new(start..start + problem.len, problem.message));
                SkipLine
            })
        }
        _ => p.expected("the query's text in quotes"),
    };
    p.module.ref_constants.push((decl, compiled.as_ref().cloned().unwrap_or_default().into()));
    compiled.map(|_| ())
}

fn data_segment(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let read_only = p.token == Token::Word("ro".to_owned());
    if read_only {
        p.advance();
    }
    let place = match p.token {
        Token::Number(_) | Token::Char(_) | Token::Punct('-') => DataPlace::Address(p.number()?),
        _ => DataPlace::Named(p.decl("an address or a name")?),
    };
    let bytes = p.bytes();
    let span = span.start..p.previous_end;
    p.module.data.push(DataSource {
        read_only,
        place,
        bytes: bytes.as_ref().cloned().unwrap_or_default(),
        span,
    });
    bytes.map(|_| ())
}

fn table(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let decl = p.decl("the table's name")?;
    let mut entries = Vec::new();
    let mut result = Ok(());
    while !p.at_line_end() {
        if p.eat('-') {
            entries.push(None);
            continue;
        }
        match p.operand(false) {
            Ok(operand) => entries.push(Some(operand)),
            Err(SkipLine) => {
                result = Err(SkipLine);
                break;
            }
        }
    }
    p.module.tables.push((decl, entries));
    result
}

fn map(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let decl = p.decl("the jump map's name")?;
    let function = p.operand(false)?;
    p.expect('{')?;
    let mut entries = Vec::new();
    loop {
        p.skip_newlines();
        if p.eat('}') {
            break;
        }
        let address = p.number()?;
        p.expect(':')?;
        entries.push((address, p.operand(false)?));
    }
    p.module.jump_maps.push(JumpMapSource { decl, function, entries });
    Ok(())
}

fn export(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let decl = p.decl("the exported name")?;
    let function = p.operand(false)?;
    p.module.exports.push((decl, function));
    Ok(())
}

fn file(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let before = p.module.file.take();
    once(p, &span, &before)?;
    let name = match &p.token {
        Token::Text(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    };
    let Some(name) = name else { return p.expected("the name of the source file in quotes") };
    p.advance();
    let hash = match &p.token {
        Token::Number(text) => hex_bytes(text).and_then(|bytes| bytes.try_into().ok()),
        _ => None,
    };
    let Some(hash) = hash else { return p.expected("the BLAKE3 hash of the source text, 0x and 64 digits,") };
    p.advance();
    p.module.file = Some((name, hash));
    Ok(())
}

fn no_debug(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    p.module.no_debug = true;
    Ok(())
}

fn loc(p: &mut Parser, _: Span) -> Parse<()> {
    let line = p.unsigned("a line", u64::from(u32::MAX))?;
    p.line_override = Some(line as u32);
    Ok(())
}

fn sig(p: &mut Parser, span: Span) -> Parse<()> {
    outside_functions(p, &span)?;
    let decl = p.decl("the signature's name")?;
    let signature = signature(p, None);
    p.module.signatures.push((decl, *signature.as_ref().unwrap_or(&Signature::default())));
    signature.map(|_| ())
}

fn func(p: &mut Parser, span: Span) -> Parse<()> {
    if p.function.is_some() {
        let problem = Problem::new(span.clone(), "the function before has no `.end`");
        p.problems.push(problem.hint("functions do not nest: close each with `.end`"));
        p.end_function();
    }
    let public = p.token == Token::Word("pub".to_owned());
    if public {
        p.advance();
    }
    let decl = p.decl("the function's name");
    p.function_span = span.start..p.previous_end;
    let (decl, result) = match decl {
        Ok(decl) => (decl, Ok(())),
        Err(SkipLine) => (Decl { name: String::new(), in_scope: false, span }, Err(SkipLine)),
    };
    // The function is opened even if its header is wrong, so that its body is not reported too.
    let mut function = FunctionSource {
        decl,
        public,
        signature: Signature::default(),
        signature_choice: None,
        window: 0,
        words: Vec::new(),
        refs: Vec::new(),
        body: Vec::new(),
        handlers: Vec::new(),
    };
    let result = result.and_then(|()| header(p, &mut function));
    p.function = Some(function);
    result
}

/// What follows a function's name.
fn header(p: &mut Parser, function: &mut FunctionSource) -> Parse<()> {
    let mut parameters = (Vec::new(), Vec::new());
    let signature = signature(p, Some(&mut parameters));
    (function.words, function.refs) = parameters;
    function.signature = signature?;
    loop {
        match &p.token {
            Token::Word(word) if word == "window" => {
                p.advance();
                function.window = p.unsigned("a window", u64::from(u16::MAX))? as u16;
            }
            Token::Word(word) if word == "sig" => {
                p.advance();
                function.signature_choice = Some(p.operand(false)?);
            }
            _ => return Ok(()),
        }
    }
}

/// `[a b]{k} -> [r]{x}`, each group optional. The names of the parameters are kept if asked for.
fn signature(p: &mut Parser, parameters: Option<&mut (Vec<Decl>, Vec<Decl>)>) -> Parse<Signature> {
    let mut ignored = (Vec::new(), Vec::new());
    let (words, refs) = parameters.unwrap_or(&mut ignored);
    groups(p, words, refs)?;
    let mut signature =
        Signature { words_in: words.len() as u16, refs_in: refs.len() as u16, ..Signature::default() };
    if p.token == Token::Arrow {
        p.advance();
        let (mut words, mut refs) = (Vec::new(), Vec::new());
        groups(p, &mut words, &mut refs)?;
        signature.words_out = words.len() as u16;
        signature.refs_out = refs.len() as u16;
    }
    Ok(signature)
}

fn groups(p: &mut Parser, words: &mut Vec<Decl>, refs: &mut Vec<Decl>) -> Parse<()> {
    if p.eat('[') {
        names(p, words, Some(']'))?;
    }
    if p.eat('{') {
        names(p, refs, Some('}'))?;
    }
    Ok(())
}

/// Names up to a bracket, or to the end of the line; a number stands for so many without a name.
fn names(p: &mut Parser, names: &mut Vec<Decl>, close: Option<char>) -> Parse<()> {
    loop {
        match close {
            Some(close) if p.eat(close) => return Ok(()),
            None if p.at_line_end() => return Ok(()),
            _ => {}
        }
        let start = p.span.start;
        if matches!(p.token, Token::Number(_)) {
            let count = p.unsigned("the number of entries", MAX_ENTRIES as u64)? as usize;
            let span = start..p.previous_end;
            p.entries += count;
            if p.entries > MAX_MODULE_ENTRIES {
                let message = format!("a module has at most {MAX_MODULE_ENTRIES} parameters and locals");
                return p.fail(Problem::new(span, message));
            }
            let unnamed = Decl { name: String::new(), in_scope: false, span };
            names.resize(names.len() + count, unnamed);
        } else {
            let what = match close {
                Some(close) => format!("a name, a number or `{close}`"),
                None => "a name or a number".to_owned(),
            };
            names.push(p.decl(&what)?);
        }
        if names.len() > MAX_ENTRIES {
            let message = format!("a function has at most {MAX_ENTRIES} parameters and locals of a kind");
            names.truncate(MAX_ENTRIES);
            return p.fail(Problem::new(start..p.previous_end, message));
        }
    }
}

/// The function that a directive belongs to.
fn locals(p: &mut Parser, span: Span, select: fn(&mut FunctionSource) -> &mut Vec<Decl>) -> Parse<()> {
    let Some(mut function) = p.function.take() else {
        return p.fail(Problem::new(span, "locals stand only inside a function"));
    };
    let result = names(p, select(&mut function), None);
    p.function = Some(function);
    result
}

fn local(p: &mut Parser, span: Span) -> Parse<()> {
    locals(p, span, |function| &mut function.words)
}

fn rlocal(p: &mut Parser, span: Span) -> Parse<()> {
    locals(p, span, |function| &mut function.refs)
}

fn handler(p: &mut Parser, span: Span) -> Parse<()> {
    if p.function.is_none() {
        return p.fail(Problem::new(span, "handlers stand only inside a function"));
    }
    let (from, to, target) = (p.operand(false)?, p.operand(false)?, p.operand(false)?);
    let words = p.unsigned("the number of words kept", u64::from(u16::MAX))? as u16;
    let refs = p.unsigned("the number of references kept", u64::from(u16::MAX))? as u16;
    let kinds = p.trap_kinds();
    let span = span.start..p.previous_end;
    if let Some(function) = &mut p.function {
        function.handlers.push(HandlerSource { from, to, target, words, refs, kinds, span });
    }
    Ok(())
}

fn end(p: &mut Parser, span: Span) -> Parse<()> {
    if p.function.is_none() {
        return p.fail(Problem::new(span, "no function is open here"));
    }
    p.end_function();
    Ok(())
}

#[cfg(test)]
mod tests {
    use dotvm_core::crypto::{AeadAlg, KdfAlg, MacAlg, SignatureAlg};
    use dotvm_core::env::EnvField;
    use dotvm_core::hash::HashAlg;

    use super::*;

    #[test]
    fn the_documentation_names_every_word_of_the_language() {
        let text = include_str!("../../../docs/assembly.md");
        for (name, _) in DIRECTIVES {
            assert!(text.contains(&format!("`.{name}")), ".{name}");
        }
        for form in Form::names() {
            assert!(text.contains(&format!(".{form}")), ".{form}");
        }
        let algs = HashAlg::ALL.iter().map(|alg| alg.name());
        let algs = algs.chain(MacAlg::ALL.iter().map(|alg| alg.name()));
        let algs = algs.chain(KdfAlg::ALL.iter().map(|alg| alg.name()));
        let algs = algs.chain(AeadAlg::ALL.iter().map(|alg| alg.name()));
        let algs = algs.chain(SignatureAlg::ALL.iter().map(|alg| alg.name()));
        for name in algs.chain(EnvField::ALL.iter().map(|field| field.name())) {
            assert!(text.contains(&format!("`{name}`")), "{name}");
        }
        for capability in Capability::ALL {
            assert!(text.contains(capability.name()), "{}", capability.name());
        }
        assert!(DIRECTIVES.is_sorted_by_key(|(name, _)| *name));
    }
}
