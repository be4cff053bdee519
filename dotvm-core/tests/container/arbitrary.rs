//! Modules with anything in any field that a file can hold; hardly any would pass the verifier.

use dotvm_arch::{W512, Width};
use dotvm_core::capability::Capability;
use dotvm_core::host_call::HostCall;
use dotvm_core::module::{
    Collection, CollectionKind, Constant, DataSegment, Debug, Export, Function, FunctionDebug, Handler,
    HandlerTable, JumpMap, Memory, Module, Signature,
};
use num_bigint::BigInt;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Numbers of every encoded length.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), (0u32..64, any::<u64>()).prop_map(|(shift, number)| number >> shift)]
}

fn number_u32() -> impl Strategy<Value = u32> {
    number().prop_map(|number| (number >> 32) as u32 ^ number as u32)
}

fn number_u16() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0), Just(u16::MAX), 0u16..300, any::<u16>()]
}

fn name() -> impl Strategy<Value = String> {
    let any_text = vec(any::<char>(), 0..20).prop_map(|chars| chars.into_iter().collect());
    prop_oneof![Just(String::new()), Just("x".repeat(255)), any_text]
}

fn names() -> impl Strategy<Value = Vec<String>> {
    vec(name(), 0..4)
}

fn byte_string() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..20), vec(any::<u8>(), 100..400)]
}

/// Words of every length that fit the width.
fn words(width: Width) -> impl Strategy<Value = Vec<W512>> {
    let bits = width.bits() as usize;
    let word = (any::<[u8; 64]>(), 0..=bits)
        .prop_map(|(bytes, used)| W512::from_be_slice(&bytes).checked_shr(512 - used).unwrap_or(W512::ZERO));
    vec(word, 0..5)
}

fn signature() -> impl Strategy<Value = Signature> {
    (number_u16(), number_u16(), number_u16(), number_u16()).prop_map(
        |(words_in, words_out, refs_in, refs_out)| Signature { words_in, words_out, refs_in, refs_out },
    )
}

fn function() -> impl Strategy<Value = Function> {
    (number_u32(), number_u16(), number_u16(), number_u16(), byte_string()).prop_map(
        |(signature, word_locals, ref_locals, window, code)| Function {
            signature,
            word_locals,
            ref_locals,
            window,
            code,
        },
    )
}

fn data_segment() -> impl Strategy<Value = DataSegment> {
    (number(), any::<bool>(), byte_string()).prop_map(|(address, read_only, bytes)| DataSegment {
        address,
        read_only,
        bytes,
    })
}

fn constant() -> impl Strategy<Value = Constant> {
    let integer = byte_string().prop_map(|bytes| BigInt::from_signed_bytes_be(&bytes));
    prop_oneof![byte_string().prop_map(Constant::from), integer.prop_map(Constant::Integer)]
}

fn collection() -> impl Strategy<Value = Collection> {
    let kind = prop_oneof![Just(CollectionKind::Bytes), Just(CollectionKind::Document)];
    (name(), kind).prop_map(|(name, kind)| Collection { name, kind })
}

fn function_debug() -> impl Strategy<Value = FunctionDebug> {
    let lines = vec((number_u32(), number_u32()), 0..5);
    let labels = vec((number_u32(), name()), 0..5);
    (name(), names(), names(), lines, labels).prop_map(|(name, words, refs, mut lines, mut labels)| {
        lines.sort_by_key(|line| line.0);
        labels.sort_by_key(|label| label.0);
        FunctionDebug { name, words, refs, lines, labels }
    })
}

fn debug() -> impl Strategy<Value = Debug> {
    let lists = (names(), names(), names(), names(), names());
    (name(), any::<[u8; 32]>(), vec(function_debug(), 0..4), lists).prop_map(
        |(source_name, source_hash, functions, lists)| {
            let (word_globals, ref_globals, word_constants, ref_constants, tables) = lists;
            Debug {
                source_name,
                source_hash,
                functions,
                word_globals,
                ref_globals,
                word_constants,
                ref_constants,
                tables,
            }
        },
    )
}

/// A module that a file can hold.
pub fn module() -> impl Strategy<Value = Module> {
    proptest::sample::select(Width::ALL.to_vec()).prop_flat_map(module_of_width)
}

fn module_of_width(width: Width) -> impl Strategy<Value = Module> {
    let memory = (number(), number(), number()).prop_map(|(min_pages, max_pages, heap_base)| Memory {
        min_pages,
        max_pages,
        heap_base,
    });
    let entry = option::of(number_u32().prop_map(|entry| entry.min(u32::MAX - 1)));
    let head = (name(), entry, prop_oneof![Just(Memory::default()), memory]);
    let code = (vec(signature(), 0..4), vec(function(), 0..4));
    let constants = (words(width), vec(constant(), 0..4), words(width), prop_oneof![Just(0), 0u32..=65_535]);
    let jump_map = (number_u32(), vec((number(), number_u32()), 0..5))
        .prop_map(|(function, entries)| JumpMap { function, entries });
    let handler = (number_u32(), number_u32(), number_u32(), number_u32(), number_u16(), number_u16())
        .prop_map(|(from, to, target, kinds, words, refs)| Handler { from, to, target, kinds, words, refs });
    let handlers =
        (number_u32(), vec(handler, 0..4)).prop_map(|(function, entries)| HandlerTable { function, entries });
    let tables = (
        vec(data_segment(), 0..4),
        vec(vec(option::of(number_u32()), 0..5), 0..4),
        vec(jump_map, 0..4),
        vec(handlers, 0..3),
    );
    let capability = proptest::sample::select(Capability::ALL.to_vec());
    let export = (name(), number_u32()).prop_map(|(name, function)| Export { name, function });
    let host_calls = vec(proptest::sample::select(HostCall::ALL.to_vec()), 0..4);
    let names =
        (vec(collection(), 0..4), vec(capability, 0..5), vec(export, 0..4), option::of(debug()), host_calls);
    (head, code, constants, tables, names).prop_map(move |(head, code, constants, tables, names)| Module {
        name: head.0,
        width,
        entry: head.1,
        memory: head.2,
        signatures: code.0,
        functions: code.1,
        word_constants: constants.0,
        ref_constants: constants.1,
        word_globals: constants.2,
        ref_globals: constants.3,
        data: tables.0,
        tables: tables.1,
        jump_maps: tables.2,
        handlers: tables.3,
        collections: names.0,
        capabilities: names.1,
        exports: names.2,
        debug: names.3,
        host_calls: names.4,
    })
}
