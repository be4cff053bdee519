//! What the verifier checks outside function code.

use std::collections::HashSet;

use dotvm_arch::W512;

use crate::limits;
use crate::module::{Constant, Handler, HandlerTable, Module, RESERVED_COLLECTIONS};
use crate::trap::TrapKind;

/// Checks everything outside function code.
pub(super) fn check_tables(module: &Module) -> Result<(), String> {
    let bits = module.width.bits();
    check_name("the module's name", &module.name)?;
    at_most("functions", module.functions.len(), limits::module::FUNCTIONS)?;
    for (what, len) in [
        ("signatures", module.signatures.len()),
        ("word constants", module.word_constants.len()),
        ("reference constants", module.ref_constants.len()),
        ("word globals", module.word_globals.len()),
        ("reference globals", module.ref_globals as usize),
        ("data segments", module.data.len()),
        ("tables", module.tables.len()),
        ("jump maps", module.jump_maps.len()),
        ("collections", module.collections.len()),
        ("host calls", module.host_calls.len()),
        ("exports", module.exports.len()),
    ] {
        at_most(what, len, limits::module::ENTRIES)?;
    }
    for (index, function) in module.functions.iter().enumerate() {
        if function.signature as usize >= module.signatures.len() {
            return Err(format!(
                "function {index} names signature {}, which does not exist",
                function.signature
            ));
        }
        if function.window > 0 && function.word_locals > 0 {
            return Err(format!("function {index} is a window function and cannot have word locals"));
        }
    }
    for (what, words) in [("word constant", &module.word_constants), ("word global", &module.word_globals)] {
        for (index, word) in words.iter().enumerate() {
            if word_bits(word) > bits {
                return Err(format!("{what} {index} does not fit {bits} bits"));
            }
        }
    }
    for (index, constant) in module.ref_constants.iter().enumerate() {
        let bytes = match constant {
            Constant::Bytes(bytes) => bytes.len() as u64,
            Constant::Integer(number) => number.bits().div_ceil(8),
        };
        if bytes > limits::MAX_BYTES_LEN {
            return Err(format!("reference constant {index} is longer than {} bytes", limits::MAX_BYTES_LEN));
        }
    }
    check_memory(module)?;
    for (index, table) in module.tables.iter().enumerate() {
        at_most("table entries", table.len(), limits::module::ENTRIES)?;
        for function in table.iter().flatten() {
            if *function as usize >= module.functions.len() {
                return Err(format!("table {index} names function {function}, which does not exist"));
            }
        }
    }
    for (index, map) in module.jump_maps.iter().enumerate() {
        if module.functions.get(map.function as usize).is_none_or(|function| function.window == 0) {
            return Err(format!(
                "jump map {index} names function {}, which is no window function",
                map.function
            ));
        }
        if !map.entries.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(format!("jump map {index} is not in ascending order of addresses"));
        }
    }
    check_handlers(module)?;
    let mut collection_names = HashSet::new();
    for collection in &module.collections {
        check_name("a collection's name", &collection.name)?;
        if !collection_names.insert(&collection.name) {
            return Err(format!("collection `{}` is declared twice", collection.name));
        }
        if collection.name.starts_with(RESERVED_COLLECTIONS) {
            return Err(format!(
                "collection `{}` has a name of the machine's own: they begin with `{RESERVED_COLLECTIONS}`",
                collection.name
            ));
        }
    }
    if !module.capabilities.is_sorted_by(|a, b| a < b) {
        return Err("the capabilities are not in ascending order, each once".to_owned());
    }
    let mut host_calls = HashSet::new();
    if let Some(call) = module.host_calls.iter().find(|&&call| !host_calls.insert(call)) {
        return Err(format!("the host call `{}` is listed twice", call.name()));
    }
    for export in &module.exports {
        check_name("an export's name", &export.name)?;
        if export.function as usize >= module.functions.len() {
            return Err(format!(
                "export `{}` names function {}, which does not exist",
                export.name, export.function
            ));
        }
    }
    if !module.exports.is_sorted_by(|a, b| a.name < b.name) {
        return Err("the exports are not in ascending order of names, each once".to_owned());
    }
    if let Some(entry) = module.entry.filter(|entry| *entry as usize >= module.functions.len()) {
        return Err(format!("the entry is function {entry}, which does not exist"));
    }
    Ok(())
}

fn check_memory(module: &Module) -> Result<(), String> {
    let memory = &module.memory;
    if memory.min_pages > memory.max_pages {
        return Err(format!(
            "memory starts with {} pages but may have only {}",
            memory.min_pages, memory.max_pages
        ));
    }
    // 2^48 pages are all of 64-bit address space; in 32-bit modules an address reaches 2^16 pages.
    let page_limit = if module.width.bits() == 32 { 1 << 16 } else { 1 << 40 };
    if memory.max_pages > page_limit {
        return Err(format!(
            "memory may have {} pages, more than the {page_limit} an address reaches",
            memory.max_pages
        ));
    }
    let size = memory.min_pages * limits::PAGE_BYTES;
    let mut end = 0;
    let mut writable_before = false;
    for (index, segment) in module.data.iter().enumerate() {
        if segment.address < end {
            return Err(format!(
                "data segment {index} overlaps the one before it or is not in ascending order"
            ));
        }
        if segment.read_only && writable_before {
            return Err(format!("data segment {index} is read-only but stands behind a writable one"));
        }
        writable_before |= !segment.read_only;
        end = match segment.address.checked_add(segment.bytes.len() as u64) {
            Some(end) if end <= size => end,
            _ => {
                return Err(format!(
                    "data segment {index} ends beyond the {} pages memory starts with",
                    memory.min_pages
                ));
            }
        };
    }
    if !memory.heap_base.is_multiple_of(16) || memory.heap_base < end {
        return Err(format!(
            "the heap starts at {}, which is not a multiple of 16 behind all data",
            memory.heap_base
        ));
    }
    Ok(())
}

/// Checks what can be said of handlers without their functions' code.
fn check_handlers(module: &Module) -> Result<(), String> {
    if !module.handlers.is_sorted_by(|a, b| a.function < b.function) {
        return Err("the handler tables are not in ascending order of functions, each once".to_owned());
    }
    for table in &module.handlers {
        let HandlerTable { function, entries } = table;
        at_most("handlers", entries.len(), limits::module::ENTRIES)?;
        match module.functions.get(*function as usize) {
            None => return Err(format!("a handler table names function {function}, which does not exist")),
            Some(declared) if declared.window > 0 => {
                return Err(format!("function {function} is a window function and cannot have handlers"));
            }
            Some(_) if entries.is_empty() => {
                return Err(format!("the handler table of function {function} is empty"));
            }
            Some(_) => {}
        }
        let mut around: Vec<&Handler> = Vec::new();
        let mut previous: Option<&Handler> = None;
        for (index, handler) in entries.iter().enumerate() {
            let wrong = |what: &str| Err(format!("handler {index} of function {function} {what}"));
            if handler.from >= handler.to {
                return wrong("has an empty range");
            }
            if previous.is_some_and(|before| (before.from, handler.to) > (handler.from, before.to)) {
                return wrong("stands before one whose range it lies in or follows");
            }
            previous = Some(handler);
            while around.pop_if(|outer| outer.to <= handler.from).is_some() {}
            if around.last().is_some_and(|outer| outer.to < handler.to) {
                return wrong("has a range that overlaps another without lying in it");
            }
            around.push(handler);
            if around.len() > limits::module::HANDLER_DEPTH {
                let depth = limits::module::HANDLER_DEPTH;
                return wrong(&format!("has a range inside {depth} others, which is the limit"));
            }
            let user = TrapKind::User.bit();
            if handler.kinds == 0 || handler.kinds & !TrapKind::CATCHABLE != 0 {
                return wrong("catches nothing, or something that cannot be caught");
            }
            if handler.kinds & user != 0 && handler.kinds != user {
                return wrong("catches User and other traps, whose codes it could not tell apart");
            }
        }
    }
    Ok(())
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > limits::module::NAME_BYTES || name.chars().any(char::is_control) {
        return Err(format!(
            "{what} {name:?} is not 1 to {} bytes of text without control characters",
            limits::module::NAME_BYTES
        ));
    }
    Ok(())
}

fn at_most(what: &str, len: usize, limit: usize) -> Result<(), String> {
    if len > limit { Err(format!("{len} {what} are more than the limit of {limit}")) } else { Ok(()) }
}

fn word_bits(word: &W512) -> u32 {
    word.bit_len() as u32
}
