//! `dotvm isa`: the instruction set, from the opcode table.

use std::fmt::Write;

use dotvm_arch::Width;
use dotvm_arch::float::{Conversion, Rounding};
use dotvm_core::capability::Capability;
use dotvm_core::crypto::{AeadAlg, KdfAlg, MacAlg, SignatureAlg};
use dotvm_core::env::EnvField;
use dotvm_core::gas::{self, Class};
use dotvm_core::hash::HashAlg;
use dotvm_core::host_call::HostCall;
use dotvm_core::integer::{IntegerFn, Narrowing};
use dotvm_core::opcode::{OPS, Op, OpInfo, Prefix};
use dotvm_core::trap::TrapKind;
use dotvm_runtime::args::nearest;
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Show the instruction set, or one operation
#[derive(clap::Args)]
pub(crate) struct Args {
    /// An operation, by name or code
    opcode: Option<String>,

    /// As Markdown: the whole of docs/opcodes.md
    #[arg(long, conflicts_with_all = ["json", "opcode"])]
    markdown: bool,

    /// Answer with one JSON object
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    status: &'static str,
    operations: Vec<OpReport<'a>>,
}

#[derive(Serialize)]
struct OpReport<'a> {
    /// One byte, or the page's and the operation's own.
    code: u16,
    mnemonic: &'a str,
    immediates: Vec<&'static str>,
    stack_effect: &'a str,
    traps: Vec<&'static str>,
    gas_class: &'static str,
    /// Static gas at each word width.
    gas: Vec<(u32, u64)>,
    width_prefix: bool,
    capability: Option<&'static str>,
    meaning: &'a str,
}

impl OpReport<'_> {
    fn new(info: &OpInfo) -> OpReport<'_> {
        OpReport {
            code: info.code,
            mnemonic: info.mnemonic,
            immediates: info.imms.iter().map(|imm| imm.name()).collect(),
            stack_effect: info.effect_text,
            traps: info.traps.iter().map(|trap| trap.name()).collect(),
            gas_class: info.gas.name(),
            gas: Width::ALL.iter().map(|width| (width.bits(), info.gas.static_cost(width.bits()))).collect(),
            width_prefix: info.prefixable,
            capability: info.capability.map(Capability::name),
            meaning: info.meaning,
        }
    }
}

pub(super) fn run(args: &Args, output: &Output) -> Result<Exit, Failure> {
    let one = args.opcode.as_deref().map(find).transpose()?;
    if args.json {
        let operations = match one {
            Some(op) => vec![OpReport::new(op.info())],
            None => OPS.iter().map(OpReport::new).collect(),
        };
        output.print_json(&Report { status: "ok", operations })?;
    } else if args.markdown {
        output.print(&markdown())?;
    } else if let Some(op) = one {
        output.print(&detail(op.info()))?;
    } else {
        output.print(&table())?;
    }
    Ok(Exit::Success)
}

fn find(text: &str) -> Result<Op, Failure> {
    let name = text.to_uppercase();
    if let Some(op) = Op::from_mnemonic(&name) {
        return Ok(op);
    }
    let digits = name.strip_prefix("0X");
    if let Some(code) = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
        return Op::from_code(code)
            .ok_or_else(|| Failure::new(Exit::Usage, format!("no operation has the code 0x{code:02x}")));
    }
    let hint = match nearest(&name, OPS.iter().map(|info| info.mnemonic)) {
        Some(nearest) => format!(": did you mean {nearest}?"),
        None => String::new(),
    };
    Err(Failure::new(Exit::Usage, format!("there is no operation {text:?}{hint}")))
}

fn immediates(info: &OpInfo) -> String {
    info.imms.iter().map(|imm| imm.name()).collect::<Vec<_>>().join(" ")
}

fn traps(info: &OpInfo) -> String {
    info.traps.iter().map(|trap| trap.name()).collect::<Vec<_>>().join(" ")
}

fn table() -> String {
    let mut text = String::new();
    for (index, info) in OPS.iter().enumerate() {
        if index == 0 || section_of(&OPS[index - 1]) != section_of(info) {
            let _ = writeln!(text, "{}{}", if index == 0 { "" } else { "\n" }, row_title(info.code));
        }
        let operation = format!("{} {}", info.mnemonic, immediates(info));
        let _ = writeln!(text, "  {}  {operation:22} {:30} {}", code(info), info.effect_text, info.meaning);
    }
    text
}

fn detail(info: &OpInfo) -> String {
    let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    let costs: Vec<String> = Width::ALL
        .iter()
        .map(|width| format!("{} at {} bits", info.gas.static_cost(width.bits()), width.bits()))
        .collect();
    let mut text = format!("{} (code 0x{}): {}\n", info.mnemonic, code(info).replace(' ', ""), info.meaning);
    let _ = writeln!(text, "  stack         {}", info.effect_text);
    let _ = writeln!(text, "  immediates    {}", or_none(immediates(info)));
    let _ = writeln!(text, "  traps         {}", or_none(traps(info)));
    let _ = writeln!(text, "  gas           {}: {}", info.gas.name(), costs.join(", "));
    if let Some(more) = dynamic_gas(info.gas) {
        let _ = writeln!(text, "                and {more}");
    }
    let _ = writeln!(text, "  width prefix  {}", if info.prefixable { "allowed" } else { "not allowed" });
    let _ = writeln!(text, "  capability    {}", info.capability.map_or("none", Capability::name));
    text
}

/// What stands under one title: 16 codes of one byte, or a page.
fn section_of(info: &OpInfo) -> u16 {
    if info.op.is_paged() { info.code >> 8 } else { info.code >> 4 }
}

/// A code as bytes.
fn code(info: &OpInfo) -> String {
    let byte = format!("{:02X}", info.code & 0xFF);
    if info.op.is_paged() { format!("{:02X} {byte}", info.op.page()) } else { byte }
}

/// The title of an operation's section.
fn row_title(code: u16) -> &'static str {
    match if code < 0x100 { code >> 4 } else { code >> 8 } {
        0x0 => "0x00–0x0F Control",
        0x1 => "0x10–0x1F Stack, constants, locals, globals",
        0x2 => "0x20–0x2F Integer arithmetic",
        0x3 => "0x30–0x3F Arithmetic with guest semantics, modular arithmetic",
        0x4 => "0x40–0x4F Bits and shifts",
        0x5 => "0x50–0x5F Comparison and sub-fields",
        0x6 => "0x60–0x6F Linear memory",
        0x7 => "0x70–0x7F Heap, reference stack, byte strings",
        0x8 => "0x80–0x8F Database",
        0x9 => "0x90–0x9F Contract state and transactions",
        0xA => "0xA0–0xAF Cryptography",
        0xB => "0xB0–0xBF Floating point",
        0xC => "0xC0–0xCF Cells",
        0xD => "0xD0–0xDF Unbounded integers",
        0xE => "0xE0–0xEF System, processes, contracts",
        0xF8 => "Page V (0xF8): packed lanes in a word",
        0xF9 => "Page A (0xF9): waiting on memory, array kernels",
        0xFA => "Page M (0xFA): memory extension",
        0xFB => "Page R (0xFB): byte strings and documents",
        0xFC => "Page F (0xFC): elementary functions",
        0xFD => "Page S (0xFD): state extension",
        0xFE => "Page X (0xFE): operations of the host",
        _ => "0xF0–0xFF Width prefixes and pages",
    }
}

/// What a gas class costs beyond its static part.
fn dynamic_gas(class: Class) -> Option<&'static str> {
    Some(match class {
        Class::E => "half a division per bit of the exponent",
        Class::E2 => "a division per bit of the exponent (MODPOW) or the modulus (MODINV)",
        Class::C => "1 per 32 bytes",
        Class::Mat => "1 per 32 bytes of the three matrices, 1 per 32 bytes of the terms added",
        Class::G => "1 per 64 bytes made usable",
        Class::Al => "1 per 64 bytes",
        Class::R => "1 per 32 bytes",
        Class::Way => "1 per step",
        Class::Cells => "8 per cell made",
        Class::Same => "4 per pair of cells compared, 1 per 32 bytes of the shorter of two leaves",
        Class::Zn => "1 per 2 limbs of 64 bits",
        Class::Zm => "half the product of the numbers of 64-bit limbs",
        Class::Zf => "by function and size",
        Class::Noun => "8 per cell, 1 per 64 bits of an atom",
        Class::Doc => "1 per 2 bytes",
        Class::S => "480 on the first touch of the key in the transaction, 1 per 8 bytes of key and value",
        Class::Q => "20 per row given or examined, 1 per 8 bytes of keys and documents",
        Class::T => "at a commit 50 per changed key, for roots and proofs 2000 and 5000 per changed key",
        Class::H => {
            "for digests the algorithm's weight per block, for events 10 per topic and 1 per 8 bytes, for proofs SHA-256 of their bytes and two blocks of it per sibling"
        }
        Class::K => "what the algorithm takes",
        Class::X => "what the host call costs",
        Class::Call | Class::Calli => "1 per 8 word locals of the callee",
        Class::Task => {
            "1 per 8 word locals, and for a process 1 per 64 bytes of memory that its data reach and 1 per 8 globals"
        }
        Class::Xc => "1 per 32 bytes of name and input, and what the callee uses",
        Class::Z
        | Class::B
        | Class::J
        | Class::Jmap
        | Class::A
        | Class::M
        | Class::D
        | Class::D2
        | Class::F
        | Class::L
        | Class::New
        | Class::P
        | Class::S0 => return None,
    })
}

/// `docs/opcodes.md`.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Opcodes\n\n\
         Written by `dotvm isa --markdown` from the opcode table (`dotvm-core/src/opcode.rs`); do not edit.\n\n\
         Words stand in `[ ]`, references in `{ }`, the top of the stack on the right; *w* is the width of the\n\
         module's words in bits. Immediates are LEB128 numbers of the shortest form, `s` and `rel` signed; a `rel`\n\
         counts bytes from the end of its instruction. Every operation may also trap with Gas. What an operation\n\
         does where one line leaves room is in `dotvm-core/SEMANTICS.md`. Operations with **p** take a width prefix.\n",
    );
    for (index, info) in OPS.iter().enumerate() {
        if index == 0 || section_of(&OPS[index - 1]) != section_of(info) {
            let _ = writeln!(
                text,
                "\n## {}\n\n| code | mnemonic | immediates | stack effect | traps | gas | p | capability | meaning |\n\
                 |---|---|---|---|---|---|---|---|---|",
                row_title(info.code)
            );
        }
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            code(info),
            info.mnemonic,
            cell(&immediates(info)),
            cell(info.effect_text),
            traps(info),
            info.gas.name(),
            if info.prefixable { "p" } else { "" },
            info.capability.map_or("", Capability::name),
            cell(info.meaning),
        );
    }
    text.push_str("\n## Width prefixes\n\n| code | mnemonic | operating width |\n|---|---|---|\n");
    for prefix in Prefix::ALL {
        let _ = writeln!(text, "| {:02X} | {} | {} bits |", prefix as u8, prefix.mnemonic(), prefix.bits());
    }
    gas_classes(&mut text);
    text.push_str("\n## Hash algorithms\n\n| code | name | digest bytes | block bytes | gas per block | source |\n|---|---|---|---|---|---|\n");
    for alg in HashAlg::ALL {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            *alg as u8,
            alg.name(),
            alg.digest_bytes(),
            alg.block_bytes(),
            alg.block_weight(),
            alg.source()
        );
    }
    let mut algorithms = |title: &str, rows: Vec<(u8, &str, &str)>| {
        let _ = writeln!(text, "\n## {title}\n\n| code | name | source |\n|---|---|---|");
        for (code, name, source) in rows {
            let _ = writeln!(text, "| {code} | {name} | {source} |");
        }
    };
    let rows = MacAlg::ALL.iter().map(|alg| (*alg as u8, alg.name(), alg.source())).collect();
    algorithms("Message authentication codes", rows);
    let rows = KdfAlg::ALL.iter().map(|alg| (*alg as u8, alg.name(), alg.source())).collect();
    algorithms("Key derivation functions", rows);
    let rows = AeadAlg::ALL.iter().map(|alg| (*alg as u8, alg.name(), alg.source())).collect();
    algorithms("Ciphers", rows);
    let rows = SignatureAlg::ALL.iter().map(|alg| (*alg as u8, alg.name(), alg.source())).collect();
    algorithms("Signature schemes", rows);
    text.push_str("\n## Rounding\n\n| code | name | rounds |\n|---|---|---|\n");
    for mode in Rounding::ALL {
        let _ = writeln!(text, "| {} | {} | {} |", *mode as u8, mode.name(), mode.meaning());
    }
    text.push_str("\n## Conversions\n\n| code | name | converts |\n|---|---|---|\n");
    for kind in Conversion::ALL {
        let _ = writeln!(text, "| {} | {} | {} |", *kind as u8, kind.name(), kind.meaning());
    }
    text.push_str("\n## Environment\n\n| code | field | kind | meaning |\n|---|---|---|---|\n");
    for field in EnvField::ALL {
        let kind = if field.is_word() { "word" } else { "reference" };
        let _ = writeln!(text, "| {} | {} | {kind} | {} |", *field as u8, field.name(), field.meaning());
    }
    text.push_str(
        "\n## Functions of ZFN\n\n| Function | Name in text | Stack | What it gives |\n|---|---|---|---|\n",
    );
    for function in IntegerFn::ALL {
        let _ = writeln!(
            text,
            "| {} | `{}` | {} | {} |",
            *function as u8,
            function.name(),
            cell(function.effect_text()),
            cell(function.meaning())
        );
    }
    text.push_str("\n## Modes of Z2W\n\n| Mode | Name in text | The word |\n|---|---|---|\n");
    for mode in Narrowing::ALL {
        let _ = writeln!(text, "| {} | `{}` | {} |", *mode as u8, mode.name(), cell(mode.meaning()));
    }
    text.push_str("\n## Capabilities\n\n| code | name | by default | allows to |\n|---|---|---|---|\n");
    for capability in Capability::ALL {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            *capability as u8,
            capability.name(),
            if capability.is_default() { "yes" } else { "no" },
            capability.meaning()
        );
    }
    text.push_str(
        "\nHosts grant the default ones without being told to: they let a program at its own contract's state, and at\n\
         what its caller hands over. The others make two runs differ, and are granted by name.\n\
         \n## Host calls\n\nWhat SYS asks for, described in `dotvm-core/src/host_call.rs`.\n\n\
         | name | stack effect | gas besides SYS | capability | meaning |\n|---|---|---|---|---|\n",
    );
    for call in HostCall::ALL {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            call.name(),
            cell(call.effect_text()),
            call.gas_text(),
            call.capability().map_or("", Capability::name),
            cell(call.meaning()),
        );
    }
    text.push_str("\n## Traps\n\n| code | name | catchable | sentence |\n|---|---|---|---|\n");
    for trap in TrapKind::ALL {
        let catchable = if trap.is_catchable() { "yes" } else { "no" };
        let _ = writeln!(text, "| {} | {} | {catchable} | {} |", *trap as u8, trap.name(), trap.sentence());
    }
    text
}

fn gas_classes(text: &mut String) {
    let _ = write!(
        text,
        "\n## Gas classes\n\nSchedule {}. A block's static cost is taken when it is entered; behind a width prefix it is\n\
         that of the operating width (8 and 16 bits cost as 32 do).\n\n| class |",
        gas::SCHEDULE
    );
    for width in Width::ALL {
        let _ = write!(text, " {} bits |", width.bits());
    }
    text.push_str(" besides |\n|---|---|---|---|---|---|---|\n");
    let mut seen: Vec<Class> = Vec::new();
    for info in OPS {
        if seen.contains(&info.gas) {
            continue;
        }
        seen.push(info.gas);
        let _ = write!(text, "| {} |", info.gas.name());
        for width in Width::ALL {
            let _ = write!(text, " {} |", info.gas.static_cost(width.bits()));
        }
        let _ = writeln!(text, " {} |", dynamic_gas(info.gas).unwrap_or_default());
    }
}

/// Text inside a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_prefixes_cost_what_the_page_says() {
        for info in OPS.iter().filter(|info| info.prefixable) {
            assert_eq!(info.gas.static_cost(8), info.gas.static_cost(32), "{}", info.mnemonic);
            assert_eq!(info.gas.static_cost(16), info.gas.static_cost(32), "{}", info.mnemonic);
        }
    }
}
