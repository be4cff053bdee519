//! What an execution begins with and comes to, written down and read back.

use std::time::Duration;

use bytes::Bytes;
use dotdb::Durability;
use dotvm_arch::{W512, Word};
use dotvm_codec::{Damage, Reader, Writer};
use dotvm_core::capability::{Capability, CapabilitySet};
use dotvm_core::env::Env;
use dotvm_core::gas::Gas;
use dotvm_core::limits::{Limits, heap};
use dotvm_core::outcome::{End, Invocation, Outcome, Ref};
use dotvm_core::trap::{ShownRef, StackTops, Trap, TrapKind};
use dotvm_heap::Heap;

use crate::execute::{Execution, Options};
use crate::host::Event;

pub(crate) fn save_word(word: &W512, to: &mut Writer) {
    to.raw(&word.to_be_bytes::<64>());
}

pub(crate) fn restore_word(from: &mut Reader<'_>) -> Result<W512, Damage> {
    match <W512 as Word>::from_be_slice(from.raw(64)?) {
        Some(word) => Ok(word),
        None => from.damage("a word is too long"),
    }
}

fn save_words(words: &[W512], to: &mut Writer) {
    to.count(words.len());
    words.iter().for_each(|word| save_word(word, to));
}

fn restore_words(from: &mut Reader<'_>) -> Result<Vec<W512>, Damage> {
    (0..from.count(64)?).map(|_| restore_word(from)).collect()
}

pub(crate) fn restore_bytes(from: &mut Reader<'_>) -> Result<Bytes, Damage> {
    Ok(Bytes::copy_from_slice(from.bytes()?))
}

/// References, with what they share.
fn save_refs(refs: &[Ref], to: &mut Writer) {
    let mut heap = Heap::new(heap::BYTES);
    let inside: Vec<_> = refs.iter().map(|reference| heap.import(reference).unwrap_or_default()).collect();
    heap.save(&[], to);
    to.count(inside.len());
    inside.iter().for_each(|reference| reference.save(to));
}

fn restore_refs(from: &mut Reader<'_>) -> Result<Vec<Ref>, Damage> {
    let mut restored = Heap::restore(heap::BYTES, &[], from)?;
    let count = from.count(8)?;
    let inside = (0..count).map(|_| restored.reference(from)).collect::<Result<Vec<_>, _>>()?;
    let heap = restored.finish(from)?;
    Ok(inside.iter().map(|reference| heap.export(reference)).collect())
}

pub(crate) fn save_limits(limits: &Limits, to: &mut Writer) {
    let Limits {
        gas,
        memory_pages,
        call_depth,
        stack_words,
        stack_refs,
        contract_depth,
        tasks,
        mailbox,
        guest_gas,
        heap_bytes,
    } = *limits;
    [gas, memory_pages, guest_gas, heap_bytes].into_iter().for_each(|limit| to.number(limit));
    [call_depth, stack_words, stack_refs, contract_depth, tasks, mailbox]
        .into_iter()
        .for_each(|limit| to.number(limit));
}

pub(crate) fn restore_limits(from: &mut Reader<'_>) -> Result<Limits, Damage> {
    let limits = Limits {
        gas: from.number()?,
        memory_pages: from.number()?,
        guest_gas: from.number()?,
        heap_bytes: from.number()?,
        call_depth: from.small()?,
        stack_words: from.small()?,
        stack_refs: from.small()?,
        contract_depth: from.small()?,
        tasks: from.small()?,
        mailbox: from.small()?,
    };
    from.require(limits.gas <= Gas::MAX, "there is more gas than there can be")?;
    Ok(limits)
}

pub(crate) fn save_env(env: &Env, to: &mut Writer) {
    save_word(&env.caller, to);
    save_word(&env.value, to);
    [env.height, env.time, env.chain].into_iter().for_each(|number| to.number(number));
    to.bytes(&env.contract);
    to.bytes(&env.input);
    to.raw(&env.seed);
}

pub(crate) fn restore_env(from: &mut Reader<'_>) -> Result<Env, Damage> {
    Ok(Env {
        caller: restore_word(from)?,
        value: restore_word(from)?,
        height: from.number()?,
        time: from.number()?,
        chain: from.number()?,
        contract: restore_bytes(from)?,
        input: restore_bytes(from)?,
        seed: from.array()?,
    })
}

/// What a run begins with, but for the outside.
pub(crate) fn save_start(contract: &str, invocation: &Invocation, options: &Options) -> Vec<u8> {
    let mut to = Writer::new();
    to.bytes(contract.as_bytes());
    to.number(invocation.function);
    save_words(&invocation.words, &mut to);
    save_refs(&invocation.refs, &mut to);
    save_limits(&options.limits, &mut to);
    save_env(&options.env, &mut to);
    to.count(options.granted.iter().count());
    options.granted.iter().for_each(|capability| to.byte(capability as u8));
    to.byte(match options.durability {
        Durability::Sync => 0,
        Durability::Group => 1,
        Durability::None => 2,
    });
    to.number(options.retries);
    to.flag(options.signers.is_some());
    if let Some(signers) = &options.signers {
        to.count(signers.len());
        signers.iter().for_each(|key| to.raw(key));
    }
    to.count(options.files.len());
    for (path, contents) in &options.files {
        to.bytes(path);
        to.bytes(contents);
    }
    to.into_bytes()
}

/// Reads what [`save_start`] wrote: the contract's name, the invocation and the options.
pub(crate) fn restore_start(bytes: &[u8]) -> Result<(String, Invocation, Options), Damage> {
    let from = &mut Reader::new(bytes);
    let contract = from.text()?.to_owned();
    let function = from.small()?;
    let words = restore_words(from)?;
    let refs = restore_refs(from)?;
    let limits = restore_limits(from)?;
    let env = restore_env(from)?;
    let mut granted = CapabilitySet::NONE;
    for _ in 0..from.count(1)? {
        match Capability::from_code(from.byte()?) {
            Some(capability) => granted.insert(capability),
            None => return from.damage("there is no such capability"),
        }
    }
    let durability = match from.byte()? {
        0 => Durability::Sync,
        1 => Durability::Group,
        2 => Durability::None,
        _ => return from.damage("there is no such durability"),
    };
    let retries = from.small()?;
    let signers = match from.flag()? {
        true => Some((0..from.count(32)?).map(|_| from.array()).collect::<Result<Vec<_>, _>>()?),
        false => None,
    };
    let files = (0..from.count(2)?)
        .map(|_| Ok((restore_bytes(from)?, restore_bytes(from)?)))
        .collect::<Result<_, Damage>>()?;
    from.end()?;
    let options = Options { limits, env, granted, files, signers, durability, retries, ..Options::default() };
    Ok((contract, Invocation { function, words, refs }, options))
}

pub(crate) fn save_event(event: &Event, to: &mut Writer) {
    save_words(&event.topics, to);
    to.bytes(&event.data);
}

pub(crate) fn restore_event(from: &mut Reader<'_>) -> Result<Event, Damage> {
    Ok(Event { topics: restore_words(from)?, data: restore_bytes(from)? })
}

fn save_stacks(stacks: &StackTops, to: &mut Writer) {
    let StackTops { words, more_words, refs, more_refs } = stacks;
    save_words(words, to);
    to.number(*more_words);
    to.count(refs.len());
    for shown in refs {
        to.flag(*shown == ShownRef::Cell);
    }
    let value = |shown: &ShownRef| match shown {
        ShownRef::Value(value) => value.clone(),
        ShownRef::Cell => Ref::Null,
    };
    save_refs(&refs.iter().map(value).collect::<Vec<_>>(), to);
    to.number(*more_refs);
}

fn restore_stacks(from: &mut Reader<'_>) -> Result<StackTops, Damage> {
    let (words, more_words) = (restore_words(from)?, from.number()?);
    let cells = (0..from.count(1)?).map(|_| from.flag()).collect::<Result<Vec<_>, _>>()?;
    let values = restore_refs(from)?;
    from.require(values.len() == cells.len(), "a stack has not so many references")?;
    let shown = |(is_cell, value)| if is_cell { ShownRef::Cell } else { ShownRef::Value(value) };
    let refs = cells.into_iter().zip(values).map(shown).collect();
    Ok(StackTops { words, more_words, refs, more_refs: from.number()? })
}

/// How a run ended, but for its events and the version that it made.
pub(crate) fn save_result(execution: &Execution) -> Vec<u8> {
    let mut to = Writer::new();
    match &execution.outcome.end {
        End::Return { words, refs } => {
            to.byte(0);
            save_words(words, &mut to);
            save_refs(refs, &mut to);
        }
        End::Halt { code, result } => {
            to.byte(1);
            save_word(code, &mut to);
            save_refs(std::slice::from_ref(result), &mut to);
        }
        End::Trap(trap) => {
            to.byte(2);
            to.bytes(trap.kind.name().as_bytes());
            to.optional_bytes(trap.detail.as_ref().map(|detail| detail.as_bytes()));
            to.number(trap.function);
            to.number(trap.offset);
            to.flag(trap.stacks.is_some());
            if let Some(stacks) = &trap.stacks {
                save_stacks(stacks, &mut to);
            }
        }
    }
    to.number(execution.outcome.gas_used);
    to.number(execution.outcome.guest_gas_used);
    to.flag(execution.committed);
    to.number(execution.changed_keys);
    to.number(execution.version_before);
    to.number(execution.attempts);
    to.into_bytes()
}

/// Reads what [`save_result`] wrote, with the events and the version.
pub(crate) fn restore_result(bytes: &[u8], events: &[u8], version: u64) -> Result<Execution, Damage> {
    let from = &mut Reader::new(bytes);
    let end = match from.byte()? {
        0 => End::Return { words: restore_words(from)?, refs: restore_refs(from)? },
        1 => {
            let code = restore_word(from)?;
            let result = restore_refs(from)?.into_iter().next().unwrap_or_default();
            End::Halt { code, result }
        }
        2 => {
            let Some(kind) = TrapKind::from_name(from.text()?) else {
                return from.damage("there is no such trap");
            };
            let detail = from.optional_bytes()?.map(|detail| String::from_utf8_lossy(detail).into_owned());
            let (function, offset) = (from.small()?, from.small()?);
            let stacks = if from.flag()? { Some(Box::new(restore_stacks(from)?)) } else { None };
            End::Trap(Trap { kind, detail, function, offset, stacks })
        }
        _ => return from.damage("a run does not end like this"),
    };
    let outcome = Outcome { end, gas_used: from.number()?, guest_gas_used: from.number()? };
    let committed = from.flag()?;
    let (changed_keys, version_before, attempts) = (from.number()?, from.number()?, from.small()?);
    from.end()?;
    let from = &mut Reader::new(events);
    let mut events = Vec::new();
    while from.rest() > 0 {
        events.push(restore_event(from)?);
    }
    let version_after = version;
    Ok(Execution { outcome, events, committed, changed_keys, version_before, version_after, attempts })
}

pub(crate) fn save_time(time: Duration, to: &mut Writer) {
    to.number(time.as_secs());
    to.number(time.subsec_nanos());
}

pub(crate) fn restore_time(from: &mut Reader<'_>) -> Result<Duration, Damage> {
    let (seconds, nanoseconds) = (from.number()?, from.small()?);
    from.require(nanoseconds < 1_000_000_000, "a second has 1000000000 nanoseconds")?;
    Ok(Duration::new(seconds, nanoseconds))
}
