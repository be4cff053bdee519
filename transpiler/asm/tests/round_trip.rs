//! Text to module to text: over every operation, over random modules, over every form of declaration.

use bytes::Bytes;
use dotvm_arch::{W512, Width, Word};
use dotvm_asm::{Options, assemble, disassemble};
use dotvm_core::builder::CodeBuilder;
use dotvm_core::capability::Capability;
use dotvm_core::decode::immediate_max;
use dotvm_core::host_call::HostCall;
use dotvm_core::module::*;
use dotvm_core::opcode::{Imm, OPS, Op, Prefix};
use num_bigint::BigInt;
use proptest::prelude::*;

/// The module's text gives the module, and that module's text is the same text.
fn assert_round_trip(module: &Module) {
    let text = disassemble(module).unwrap();
    let assembled = match assemble(&text, &Options::default()) {
        Ok(assembled) => assembled.module,
        Err(error) => panic!("{error}\n{text}"),
    };
    assert_eq!(&assembled, module, "{text}");
    assert_eq!(disassemble(&assembled).unwrap(), text);
}

fn module_with(width: Width, build: impl FnOnce(&mut CodeBuilder)) -> Module {
    let mut module = Module::new("m", width);
    module.signatures.push(Signature::default());
    let mut builder = CodeBuilder::new();
    build(&mut builder);
    module.functions.push(Function {
        signature: 0,
        word_locals: 0,
        ref_locals: 0,
        window: 0,
        code: builder.finish().bytes,
    });
    module
}

/// The least, some middling and the greatest value of an immediate.
fn sample_values(imm: Imm) -> Vec<u64> {
    match imm {
        Imm::Signed => {
            let edges =
                [0, 1, -1, 63, 64, -64, -65, 127, 128, 255, 256, 1 << 31, 1 << 32, i64::MAX, i64::MIN];
            edges.iter().map(|&value| value as u64).collect()
        }
        _ => {
            let max = immediate_max(imm);
            let mut values: Vec<u64> = (0..=max.min(40)).collect();
            values.extend([max / 2, max]);
            values
        }
    }
}

#[test]
fn every_operation_with_every_kind_of_immediate() {
    for width in Width::ALL {
        for info in OPS {
            let prefixes: Vec<Option<Prefix>> = Prefix::ALL
                .into_iter()
                .filter(|&prefix| info.takes(prefix) && prefix.bits() < width.bits())
                .map(Some)
                .chain([None])
                .collect();
            assert_round_trip(&module_with(width, |builder| {
                let start = builder.label();
                let end = builder.label();
                builder.bind(start);
                for &prefix in &prefixes {
                    match info.imms {
                        [Imm::Rel] => {
                            builder.jump(info.op, start);
                            builder.jump(info.op, end);
                        }
                        [Imm::Table] => {
                            builder.table(&[end]);
                            builder.table(&[start, end, start]);
                        }
                        [] => builder.prefixed(prefix, info.op, &[]),
                        [imm] => {
                            sample_values(*imm).iter().for_each(|&a| builder.prefixed(prefix, info.op, &[a]))
                        }
                        [first, second] => {
                            for &a in &sample_values(*first) {
                                for &b in &sample_values(*second) {
                                    builder.prefixed(prefix, info.op, &[a, b]);
                                }
                            }
                        }
                        more => panic!("{} has {} immediates", info.mnemonic, more.len()),
                    }
                }
                builder.bind(end);
                builder.op(Op::Ret, &[]);
            }));
        }
    }
}

/// A name as a transpiler may bring it: often plain, sometimes empty, twice, or of any characters.
fn names(count: usize) -> impl Strategy<Value = Vec<String>> {
    let name = prop_oneof![
        4 => "[a-c]{1,2}",
        1 => Just(String::new()),
        1 => prop::sample::select(vec!["_", "@L0", "@x", "add", "W8", "-", "1", "a.len", "`", "\\", "\n", "g0", "f1", "pub", "window", "sig", "doc", "ro", "größe", "ß-"])
            .prop_map(str::to_owned),
        1 => "\\PC{1,6}",
        1 => any::<String>().prop_map(|name| name.chars().take(20).collect()),
    ];
    prop::collection::vec(name, count)
        .prop_map(|names| if names.iter().all(String::is_empty) { Vec::new() } else { names })
}

/// A reference constant.
fn constant() -> impl Strategy<Value = Constant> {
    let integer = prop_oneof![
        any::<i64>().prop_map(BigInt::from),
        prop::collection::vec(any::<u8>(), 0..600).prop_map(|bytes| BigInt::from_signed_bytes_be(&bytes))
    ];
    prop_oneof![contents().prop_map(Constant::from), integer.prop_map(Constant::Integer)]
}

fn contents() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        "\\PC{0,8}".prop_map(String::into_bytes),
        any::<String>().prop_map(String::into_bytes),
        prop::sample::select(vec![
            r#"{"name": "A", "n": [1, -2, 3.5, null, true]}"#,
            r#"{}"#,
            r#"[{"": 12345678901234567890123}]"#,
            r#""text""#,
        ])
        .prop_map(|json| dotdb_document::from_json(json).unwrap()),
    ]
}

/// Instructions before their labels are known: prefix, operation, two values that are cut to size.
type RawInst = (Option<Prefix>, Op, u64, u64);

fn raw_inst() -> impl Strategy<Value = RawInst> {
    let value = prop_oneof![0..6u64, any::<u64>(), any::<i8>().prop_map(|value| i64::from(value) as u64)];
    (
        prop::option::weighted(0.3, prop::sample::select(Prefix::ALL.to_vec())),
        prop::sample::select(OPS.iter().map(|info| info.op).collect::<Vec<_>>()),
        value.clone(),
        value,
    )
}

struct Encoded {
    code: Vec<u8>,
    /// Offsets of the instructions, and of the end.
    offsets: Vec<u32>,
}

/// Encodes raw instructions: every jump leads to one of them.
fn encode(insts: &[RawInst], width: Width) -> Encoded {
    let mut builder = CodeBuilder::new();
    let labels: Vec<_> = (0..=insts.len()).map(|_| builder.label()).collect();
    let label = |value: u64| labels[(value % insts.len() as u64) as usize];
    for (index, &(prefix, op, a, b)) in insts.iter().enumerate() {
        builder.bind(labels[index]);
        let info = op.info();
        let prefix = prefix.filter(|&prefix| info.takes(prefix) && prefix.bits() < width.bits());
        match info.imms {
            [Imm::Rel] => builder.jump(op, label(a)),
            [Imm::Table] => {
                let targets: Vec<_> = (0..=b % 4).map(|entry| label(a.wrapping_mul(entry + 1))).collect();
                builder.table(&targets);
            }
            imms => {
                let cut = |(&imm, value): (&Imm, u64)| match imm {
                    Imm::Signed => value,
                    _ => immediate_max(imm).checked_add(1).map_or(value, |limit| value % limit),
                };
                let values: Vec<u64> = imms.iter().zip([a, b]).map(cut).collect();
                builder.prefixed(prefix, op, &values);
            }
        }
    }
    builder.bind(labels[insts.len()]);
    let code = builder.finish();
    let offsets = labels.iter().map(|&label| code.offset_of(label)).collect();
    Encoded { code: code.bytes, offsets }
}

/// What a random function is made of: instructions, signature, locals, window.
type RawFunction = (Vec<RawInst>, prop::sample::Index, (u16, u16), u16);

fn raw_function() -> impl Strategy<Value = RawFunction> {
    (
        prop::collection::vec(raw_inst(), 1..12),
        any::<prop::sample::Index>(),
        (0..3u16, 0..3u16),
        prop_oneof![3 => Just(0u16), 1 => 1..100u16],
    )
}

fn signature() -> impl Strategy<Value = Signature> {
    (0..3u16, 0..2u16, 0..3u16, 0..2u16).prop_map(|(words_in, words_out, refs_in, refs_out)| Signature {
        words_in,
        words_out,
        refs_in,
        refs_out,
    })
}

fn word(width: Width) -> impl Strategy<Value = W512> {
    (any::<[u64; 8]>(), 0..=width.bits()).prop_map(|(limbs, bits)| {
        let shift = W512::from_u64(u64::from(512 - bits));
        Word::shr(<W512 as Word>::from_limb_fn(|limb| limbs[limb]), shift)
    })
}

prop_compose! {
    fn tables(width: Width)(
        signatures in prop::collection::vec(signature(), 1..5),
        functions in prop::collection::vec(raw_function(), 1..4),
        word_constants in prop::collection::vec(word(width), 0..5),
        ref_constants in prop::collection::vec(constant(), 0..5),
        word_globals in prop::collection::vec(word(width), 0..3),
        ref_globals in 0..3u32,
        data in prop::collection::vec((0..40u64, any::<bool>(), contents()), 0..4),
        tables in prop::collection::vec(prop::collection::vec(prop::option::of(0..4u32), 0..4), 0..3),
        map_addresses in prop::collection::vec(prop::collection::btree_set(any::<u64>(), 0..4), 0..3),
        collections in names(2),
        host_calls in prop::sample::subsequence(HostCall::ALL.to_vec(), 0..=HostCall::ALL.len()).prop_shuffle(),
        capabilities in prop::sample::subsequence(Capability::ALL.to_vec(), 0..=Capability::ALL.len()),
        exports in names(3),
        picks in any::<[prop::sample::Index; 6]>(),
    ) -> Module {
        let mut module = Module::new("random", width);
        let mut offsets = Vec::new();
        for (insts, signature, locals, window) in &functions {
            let encoded = encode(insts, width);
            module.functions.push(Function {
                signature: signature.index(signatures.len()) as u32,
                word_locals: if *window > 0 { 0 } else { locals.0 },
                ref_locals: locals.1,
                window: *window,
                code: encoded.code,
            });
            offsets.push(encoded.offsets);
        }
        module.signatures = signatures;
        module.word_constants = word_constants;
        module.ref_constants = ref_constants;
        module.word_globals = word_globals;
        module.ref_globals = ref_globals;
        let mut end = 0;
        let read_only_segments = data.iter().take_while(|segment| segment.1).count();
        for (index, (gap, _, bytes)) in data.into_iter().enumerate() {
            let address = end + gap;
            end = address + bytes.len() as u64;
            module.data.push(DataSegment { address, read_only: index < read_only_segments, bytes });
        }
        let min_pages = picks[0].index(3) as u64;
        module.memory = Memory {
            min_pages,
            max_pages: min_pages + picks[1].index(3) as u64,
            heap_base: end.next_multiple_of(16) + 16 * picks[2].index(2) as u64,
        };
        module.tables = tables;
        module.jump_maps = map_addresses
            .into_iter()
            .map(|addresses| {
                let function = picks[3].index(offsets.len());
                // The last offset is the end, where no instruction is.
                let places = &offsets[function][..offsets[function].len() - 1];
                let entries = addresses.into_iter().enumerate();
                JumpMap {
                    function: function as u32,
                    entries: entries.map(|(index, address)| (address, places[index % places.len()])).collect(),
                }
            })
            .collect();
        module.collections = collections
            .into_iter()
            .filter(|name| !name.is_empty())
            .map(|name| Collection { name, kind: CollectionKind::Document })
            .collect();
        module.capabilities = capabilities;
        module.host_calls = host_calls;
        let exports: std::collections::BTreeSet<String> =
            exports.into_iter().filter(|name| !name.is_empty()).collect();
        let count = module.functions.len();
        module.exports = exports
            .into_iter()
            .enumerate()
            .map(|(index, name)| Export { name, function: (index % count) as u32 })
            .collect();
        module.entry = (picks[4].index(2) == 1).then(|| picks[5].index(count) as u32);
        module
    }
}

/// Adds a debug section with names, lines and labels.
fn with_debug(module: Module, raw: RawDebug) -> Module {
    let mut module = module;
    let mut debug = Debug { source_name: raw.source_name, source_hash: raw.source_hash, ..Debug::default() };
    let mut names = raw.names.into_iter();
    let mut take = |count: usize| -> Vec<String> {
        let taken: Vec<String> = names.by_ref().take(count).collect();
        if taken.len() < count || taken.iter().all(String::is_empty) { Vec::new() } else { taken }
    };
    debug.word_globals = take(module.word_globals.len());
    debug.ref_globals = take(module.ref_globals as usize);
    debug.word_constants = take(module.word_constants.len());
    debug.ref_constants = take(module.ref_constants.len());
    debug.tables = take(module.tables.len());
    for (index, function) in module.functions.iter().enumerate() {
        let signature = module.signatures[function.signature as usize];
        let decoded =
            dotvm_core::decode::decode(&function.code, module.width.bits(), &mut Default::default()).unwrap();
        let mut lines: Vec<(u32, u32)> = Vec::new();
        let mut labels = Vec::new();
        for (position, inst) in decoded.insts.iter().enumerate() {
            let line = u32::from(raw.lines[(index + position) % raw.lines.len()]);
            if line != 0 && lines.last().is_none_or(|last| last.1 != line) {
                lines.push((inst.offset, line));
            }
            if line == 2 {
                labels.extend(take(2).into_iter().map(|name| (inst.offset, name)));
            }
        }
        labels.extend(take(1).into_iter().map(|name| (function.code.len() as u32, name)));
        debug.functions.push(FunctionDebug {
            name: take(1).pop().unwrap_or_default(),
            words: take(usize::from(signature.words_in + function.word_locals)),
            refs: take(usize::from(signature.refs_in + function.ref_locals)),
            lines,
            labels,
        });
    }
    module.debug = Some(debug);
    module
}

#[derive(Clone, Debug)]
struct RawDebug {
    source_name: String,
    source_hash: [u8; 32],
    names: Vec<String>,
    lines: Vec<u8>,
}

prop_compose! {
    fn raw_debug()(
        source_name in any::<String>(),
        source_hash in any::<[u8; 32]>(),
        names in names(80),
        lines in prop::collection::vec(0..5u8, 1..7),
    ) -> RawDebug {
        RawDebug { source_name, source_hash, names, lines }
    }
}

fn module() -> impl Strategy<Value = Module> {
    let module = prop::sample::select(Width::ALL.to_vec()).prop_flat_map(tables);
    (module, prop::option::of(raw_debug())).prop_map(|(module, debug)| match debug {
        Some(debug) => with_debug(module, debug),
        None => module,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn random_modules(module in module()) {
        assert_round_trip(&module);
    }
}

/// A source that uses every declaration; its module and that of its text are the same.
#[test]
fn every_declaration() {
    let source = include_str!("data/everything.dasm");
    for width in Width::ALL {
        let options = Options { width: Some(width), ..Options::for_file("data/everything.dasm") };
        let module = assemble(source, &options).unwrap().module;
        assert_eq!(module.width, width);
        assert_round_trip(&module);
        assert_round_trip(&Module { debug: None, ..module });
    }
}

/// A compiled query comes back as its text, with a name or without, whatever uses it; bytes that only look like one
/// stay bytes or a document.
#[test]
fn queries_come_back_as_text() {
    let source = ".arch 64\n.collection users doc\n.cap db.read\n\
        .query young \"SELECT name FROM users WHERE age < $1 AND name LIKE 'A%'\"\n\
        .func pub f {args} -> [n]\n  RCONST young RLGET args DB_COUNT users RET\n.end\n";
    let mut module = assemble(source, &Options::for_file("q.dasm")).unwrap().module;
    let compiled = module.ref_constants[0].as_bytes().unwrap().clone();
    assert_eq!(compiled.first(), Some(&0x89), "an array of nine");
    let text = disassemble(&module).unwrap();
    assert!(
        text.contains(".query young \"SELECT name FROM users WHERE age < $1 AND name LIKE 'A%'\""),
        "{text}"
    );
    assert_round_trip(&module);
    module.debug = None;
    assert!(disassemble(&module).unwrap().contains("\n.query k0 \"SELECT "));
    assert_round_trip(&module);
    for damage in [&compiled[1..], &compiled[..compiled.len() - 1], &[&compiled[..], &[0]].concat()] {
        module.ref_constants[0] = Bytes::copy_from_slice(damage).into();
        assert!(!disassemble(&module).unwrap().contains(".query"));
        assert_round_trip(&module);
    }
}
