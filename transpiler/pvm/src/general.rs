//! The general scheme: an interpreter of the machine in bytecode, which takes every instruction that no direct code
//! stands for. Its text is `general.dasm` and `services.dasm`.

use std::collections::HashMap;
use std::sync::LazyLock;

use dotvm_core::builder::{CodeBuilder, Label};
use dotvm_core::host_call::HostCall;
use dotvm_core::opcode::{Imm, Op, Prefix};

use crate::locals::{self, SP_BIAS};
use crate::machine::{MEMORY_BYTES, STACK_BASE, STACK_LOW};

/// An immediate of the text.
#[derive(Clone, Copy)]
enum Operand {
    Number(u64),
    /// `$n`: the length of the image.
    ImageLen,
}

/// An instruction of the text, or a label, numbered in the order in which their names are met.
enum Piece {
    Label(usize),
    Plain(Option<Prefix>, Op, Vec<Operand>),
    Jump(Op, usize),
    Table(Vec<usize>),
}

/// A parsed text.
struct Text {
    pieces: Vec<Piece>,
    labels: HashMap<String, usize>,
}

/// Where the general scheme is entered, and what it goes on with.
#[derive(Clone, Copy)]
pub(crate) struct Entries {
    /// Takes the instruction at `pc`.
    pub general: Label,
    /// Goes on at `pc` with whatever there is for it.
    pub dispatch: Label,
}

static WITH_SERVICES: LazyLock<Text> =
    LazyLock::new(|| parse(&[include_str!("general.dasm"), include_str!("services.dasm")]));
static WITHOUT_SERVICES: LazyLock<Text> =
    LazyLock::new(|| parse(&[include_str!("general.dasm"), "service:\n JMP stop_unhandled\n"]));

/// The host calls that the services make; their order is that of `$write` and `$read`.
pub(crate) const HOST_CALLS: [HostCall; 2] = [HostCall::ConsoleWrite, HostCall::ConsoleRead];

/// Appends the general scheme for an image of `image_len` bytes.
pub(crate) fn emit(code: &mut CodeBuilder, entries: Entries, image_len: u64, services: bool) {
    let text = if services { &*WITH_SERVICES } else { &*WITHOUT_SERVICES };
    let mut labels: Vec<Option<Label>> = vec![None; text.labels.len()];
    for (name, label) in [("general", entries.general), ("dispatch", entries.dispatch)] {
        labels[text.labels[name]] = Some(label);
    }
    let labels: Vec<Label> = labels.into_iter().map(|label| label.unwrap_or_else(|| code.label())).collect();
    let mut immediates = Vec::new();
    for piece in &text.pieces {
        match piece {
            Piece::Label(label) => code.bind(labels[*label]),
            Piece::Plain(prefix, op, operands) => {
                immediates.clear();
                immediates.extend(operands.iter().map(|operand| match operand {
                    Operand::Number(number) => *number,
                    Operand::ImageLen => image_len,
                }));
                code.prefixed(*prefix, *op, &immediates);
            }
            Piece::Jump(op, label) => code.jump(*op, labels[*label]),
            Piece::Table(targets) => {
                let targets: Vec<Label> = targets.iter().map(|target| labels[*target]).collect();
                code.table(&targets);
            }
        }
    }
}

/// What the names behind `$` stand for, but for the image's length.
const NUMBERS: &[(&str, u64)] = &[
    ("bias", SP_BIAS),
    ("bias_8", SP_BIAS + 8),
    ("base", STACK_BASE - SP_BIAS),
    ("base_8", STACK_BASE - SP_BIAS - 8),
    ("base_16", STACK_BASE - SP_BIAS - 16),
    ("low", STACK_LOW - SP_BIAS),
    ("low_8", STACK_LOW - SP_BIAS + 8),
    ("low_16", STACK_LOW - SP_BIAS + 16),
    ("write", 0),
    ("read", 1),
];

const _: () =
    assert!(MEMORY_BYTES == 0x10_0000 && STACK_BASE == 0xF_F800, "the texts write these numbers out");

struct Parser {
    text: Text,
    /// Number of the macros expanded.
    expanded: usize,
}

/// Parses texts that are parts of this crate.
fn parse(sources: &[&str]) -> Text {
    let mut parser = Parser { text: Text { pieces: Vec::new(), labels: HashMap::new() }, expanded: 0 };
    for source in sources {
        parser.source(source);
    }
    parser.text
}

impl Parser {
    fn source(&mut self, source: &str) {
        for line in source.lines() {
            let line = line.split(';').next().unwrap_or_default();
            let mut words = line.split_whitespace().peekable();
            while let Some(word) = words.next() {
                if let Some(name) = word.strip_suffix(':') {
                    let label = self.label(name);
                    self.text.pieces.push(Piece::Label(label));
                    continue;
                }
                match word {
                    "READ" => {
                        let (code, out) = (words.next(), words.next());
                        let (Some(code), Some(out)) = (code, out) else { panic!("READ takes two locals") };
                        let expansion = self.read(code, out);
                        self.source(&expansion);
                    }
                    "WRITE" => self.source(WRITE),
                    "READBYTE" => self.source(READ_BYTE),
                    _ => {
                        let prefix = Prefix::from_mnemonic(word);
                        let name = if prefix.is_some() { words.next().unwrap_or_default() } else { word };
                        let op = Op::from_mnemonic(name).unwrap_or_else(|| panic!("{name} is no operation"));
                        self.instruction(prefix, op, &mut words);
                    }
                }
            }
        }
    }

    fn instruction<'a>(
        &mut self,
        prefix: Option<Prefix>,
        op: Op,
        words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
    ) {
        let piece = match op.info().imms {
            [Imm::Table] => Piece::Table(words.map(|name| self.label(name)).collect()),
            [Imm::Rel] => Piece::Jump(op, self.label(words.next().unwrap_or_default())),
            imms => {
                let operands = imms.iter().map(|_| operand(words.next().unwrap_or_default())).collect();
                Piece::Plain(prefix, op, operands)
            }
        };
        self.text.pieces.push(piece);
    }

    fn label(&mut self, name: &str) -> usize {
        let next = self.text.labels.len();
        *self.text.labels.entry(name.to_owned()).or_insert(next)
    }

    /// The expansion of READ: `out` := the register with the code in the local `code`, or FL.
    fn read(&mut self, code: &str, out: &str) -> String {
        const FLAGS: &str = "LGET fz PUSH 0 NE PUSH 1 SHL LGET fo OR LGET fh OR";
        if code == "flags" {
            return format!("{FLAGS} LSET {out}\n");
        }
        self.expanded += 1;
        let id = self.expanded;
        let values = [
            "LGET a",
            "LGET a PUSH 0xffffffff AND",
            "LGET a PUSH 32 SHR",
            "LGET b",
            "LGET b PUSH 0xffffffff AND",
            "LGET b PUSH 32 SHR",
            "LGET c",
            "LGET d",
            "LGET next",
            "PUSH 0xff800",
            "LGET s PUSH $bias ADD",
            FLAGS,
        ];
        let targets: Vec<String> = (0..values.len()).map(|value| format!("read{id}_{value}")).collect();
        let mut text = format!("LGET {code} JTAB {}\n", targets.join(" "));
        for (target, value) in targets.iter().zip(values) {
            text.push_str(&format!("{target}:\n {value} LSET {out}\n JMP read{id}\n"));
        }
        text.push_str(&format!("read{id}:\n"));
        text
    }
}

fn operand(word: &str) -> Operand {
    if word == "$n" {
        return Operand::ImageLen;
    }
    if let Some(name) = word.strip_prefix('$') {
        let number = NUMBERS.iter().find(|number| number.0 == name);
        return Operand::Number(number.unwrap_or_else(|| panic!("${name} stands for nothing")).1);
    }
    if let Some(local) = locals::NAMES.iter().position(|name| *name == word) {
        return Operand::Number(local as u64);
    }
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word),
    };
    let number = match digits.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    Operand::Number((sign * number.unwrap_or_else(|_| panic!("{word} is no operand"))) as u64)
}

/// Writes `[p n]` to the console.
const WRITE: &str = "BLOAD PUSH 1 SYS $write\n";

/// A byte of the input, or all ones at its end.
const READ_BYTE: &str = "
    PUSH 1 SYS $read RDUP 0 BLEN JNZ read_one
    RPOP PUSH -1 JMP read_done
read_one:
    PUSH 0 BGET
read_done:
";
