//! The runtime's text: a small notation for functions in bytecode, read once.
//!
//! ```text
//! .fn name in out refs_in refs_out : words ...    starts a function with its word parameters and locals
//! label:          ->label  jump      ?label  JNZ      !label  JZ
//! name            LGET       =name  LSET      12  PUSH      $name  PUSH of a number with a name
//! "text"          RCONST     name() CALL      @file.open  SYS   JTAB a b c   the rest of the line
//! MNEMONIC        any other operation, its immediates behind it; $name also there
//! %HOOK           a place that the translation fills in
//! ```

use std::collections::HashMap;
use std::sync::LazyLock;

use dotvm_core::host_call::HostCall;
use dotvm_core::module::Signature;
use dotvm_core::opcode::{Imm, Op};

/// An immediate.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    Number(u64),
    /// A name that a [`Layout`](crate::machine::Layout) knows.
    Named(&'static str),
}

/// A piece of a function.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Label(usize),
    Plain(Op, Vec<Operand>),
    Jump(Op, usize),
    Table(Vec<usize>),
    Call(&'static str),
    Hook(&'static str),
}

/// A function of the text.
pub(crate) struct Routine {
    pub name: &'static str,
    pub signature: Signature,
    /// Parameters and locals.
    pub words: Vec<&'static str>,
    pub pieces: Vec<Piece>,
    /// Labels by name.
    pub labels: HashMap<&'static str, usize>,
}

/// All of the text.
pub(crate) struct Text {
    pub routines: Vec<Routine>,
    /// Host calls, in the order of their numbers.
    pub calls: Vec<HostCall>,
    /// Texts of RCONST, in the order of their numbers.
    pub constants: Vec<&'static str>,
}

/// The text, whose first function is the machine itself; its parts are one function.
pub(crate) static TEXT: LazyLock<Text> = LazyLock::new(|| {
    let mut text = Text { routines: Vec::new(), calls: Vec::new(), constants: Vec::new() };
    for source in [
        include_str!("text/machine.dasm"),
        include_str!("text/instructions.dasm"),
        include_str!("text/calls.dasm"),
        include_str!("text/processes.dasm"),
        include_str!("text/console.dasm"),
        include_str!("text/files.dasm"),
        include_str!("text/strings.dasm"),
        include_str!("text/capabilities.dasm"),
    ] {
        text.read(source);
    }
    text
});

impl Text {
    /// The number of a function in a module.
    pub fn index(&self, name: &str) -> u64 {
        let index = self.routines.iter().position(|routine| routine.name == name);
        index.unwrap_or_else(|| panic!("there is no function {name}")) as u64
    }

    fn read(&mut self, source: &'static str) {
        for line in source.lines() {
            let line = line.split(';').next().unwrap_or_default().trim();
            match line.strip_prefix(".fn ") {
                Some(head) => self.begin(head),
                None => self.line(line),
            }
        }
    }

    fn begin(&mut self, head: &'static str) {
        let (head, words) = head.split_once(':').unwrap_or_else(|| panic!("{head} has no colon"));
        let mut head = head.split_whitespace();
        let name = head.next().unwrap_or_default();
        let mut number = || head.next().and_then(|number| number.parse().ok()).unwrap_or_default();
        let signature =
            Signature { words_in: number(), words_out: number(), refs_in: number(), refs_out: number() };
        let words = words.split_whitespace().collect();
        self.routines.push(Routine { name, signature, words, pieces: Vec::new(), labels: HashMap::new() });
    }

    fn line(&mut self, line: &'static str) {
        let mut rest = line;
        loop {
            rest = rest.trim_start();
            if rest.is_empty() {
                return;
            }
            if let Some(text) = rest.strip_prefix('"') {
                let (text, behind) =
                    text.split_once('"').unwrap_or_else(|| panic!("{line}: no second quote"));
                let constant = number_of(&mut self.constants, text);
                self.routine().plain(Op::Rconst, constant);
                rest = behind;
                continue;
            }
            let (token, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            rest = behind;
            if let Some(call) = token.strip_prefix('@') {
                let call = HostCall::from_name(call).unwrap_or_else(|| panic!("{line}: there is no {call}"));
                let number = number_of(&mut self.calls, call);
                self.routine().plain(Op::Sys, number);
            } else {
                rest = self.routine().token(token, rest);
            }
        }
    }

    fn routine(&mut self) -> &mut Routine {
        self.routines.last_mut().unwrap_or_else(|| panic!("the text begins without a function"))
    }
}

/// The place of an entry in a list, at whose end it is put if it is not there.
fn number_of<T: PartialEq>(list: &mut Vec<T>, entry: T) -> u64 {
    let place = list.iter().position(|known| *known == entry).unwrap_or_else(|| {
        list.push(entry);
        list.len() - 1
    });
    place as u64
}

impl Routine {
    fn plain(&mut self, op: Op, operand: u64) {
        self.pieces.push(Piece::Plain(op, vec![Operand::Number(operand)]));
    }

    /// The label with a name, which is new if it is not there yet.
    fn label(&mut self, name: &'static str) -> usize {
        let next = self.labels.len();
        *self.labels.entry(name).or_insert(next)
    }

    fn local(&self, name: &str) -> Option<u64> {
        self.words.iter().position(|word| *word == name).map(|index| index as u64)
    }

    /// Reads a token; answers what is left of the line.
    fn token(&mut self, token: &'static str, rest: &'static str) -> &'static str {
        if let Some(name) = token.strip_suffix(':') {
            let label = self.label(name);
            self.pieces.push(Piece::Label(label));
        } else if let Some(name) = token.strip_prefix("->") {
            let label = self.label(name);
            self.pieces.push(Piece::Jump(Op::Jmp, label));
        } else if let Some(name) = token.strip_prefix('?') {
            let label = self.label(name);
            self.pieces.push(Piece::Jump(Op::Jnz, label));
        } else if let Some(name) = token.strip_prefix('!') {
            let label = self.label(name);
            self.pieces.push(Piece::Jump(Op::Jz, label));
        } else if let Some(name) = token.strip_prefix('%') {
            self.pieces.push(Piece::Hook(name));
        } else if let Some(name) = token.strip_suffix("()") {
            self.pieces.push(Piece::Call(name));
        } else if let Some(name) = token.strip_prefix('=') {
            let local = self.local(name).unwrap_or_else(|| panic!("{}: {name} is no local", self.name));
            self.plain(Op::Lset, local);
        } else if let Some(local) = self.local(token) {
            self.plain(Op::Lget, local);
        } else if let Some(operand) = operand(token) {
            self.pieces.push(Piece::Plain(Op::Push, vec![operand]));
        } else {
            return self.operation(token, rest);
        }
        rest
    }

    fn operation(&mut self, token: &'static str, rest: &'static str) -> &'static str {
        let op = Op::from_mnemonic(token).unwrap_or_else(|| panic!("{}: {token} is nothing", self.name));
        if let [Imm::Table] = op.info().imms {
            let targets = rest.split_whitespace().map(|name| self.label(name)).collect();
            self.pieces.push(Piece::Table(targets));
            return "";
        }
        let mut rest = rest;
        let mut operands = Vec::new();
        for _ in op.info().imms {
            rest = rest.trim_start();
            let (token, behind) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            operands.push(operand(token).unwrap_or_else(|| panic!("{}: {token} is no operand", self.name)));
            rest = behind;
        }
        self.pieces.push(Piece::Plain(op, operands));
        rest
    }
}

fn operand(token: &'static str) -> Option<Operand> {
    if let Some(name) = token.strip_prefix('$') {
        return Some(Operand::Named(name));
    }
    let (sign, digits) = match token.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, token),
    };
    let number = match digits.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    number.ok().map(|number| Operand::Number((sign * number) as u64))
}
