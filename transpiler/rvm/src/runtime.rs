//! The runtime library that every translated program carries: the general scheme and what direct code calls.
//!
//! Its texts are `runtime/*.rt`, in a small language of words that is compiled to bytecode once: functions with word
//! parameters and results, assignments, `if`, `while`, `loop`, `switch`, `try`; operators are unsigned. Every other
//! operation of DotVM is written by its mnemonic in lower case, with `_` for the point, a width before it, and its
//! immediates in brackets: `w32_fadd(a, b)`, `ld64[8](p)`. Such operations use the reference stack as they stand.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use dotvm_core::builder::{CodeBuilder, Label};
use dotvm_core::module::{Function, Handler, Signature};
use dotvm_core::opcode::{Imm, Op, Prefix};
use dotvm_core::trap::TrapKind;

const TEXTS: [&str; 6] = [
    include_str!("runtime/machine.rt"),
    include_str!("runtime/objects.rt"),
    include_str!("runtime/values.rt"),
    include_str!("runtime/text.rt"),
    include_str!("runtime/library.rt"),
    include_str!("runtime/threads.rt"),
];

/// A function of the library.
pub(crate) struct Routine {
    pub name: String,
    pub function: Function,
    pub handlers: Vec<Handler>,
}

/// The library.
pub(crate) struct Runtime {
    pub routines: Vec<Routine>,
    /// Signatures in the order of their numbers.
    pub signatures: Vec<Signature>,
    /// Functions that each program has its own of, numbered behind the routines.
    pub externs: Vec<(String, Signature)>,
    /// Word globals by name.
    pub globals: Vec<String>,
    names: HashMap<String, u32>,
}

impl Runtime {
    /// The number of a function.
    pub fn function(&self, name: &str) -> u32 {
        *self.names.get(name).unwrap_or_else(|| panic!("the runtime library has no function {name}"))
    }

    /// The number of a word global.
    pub fn global(&self, name: &str) -> u64 {
        let found = self.globals.iter().position(|global| global == name);
        found.unwrap_or_else(|| panic!("the runtime library has no global {name}")) as u64
    }
}

/// The library, compiled once.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(compile);

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Number(u64),
    Sign(&'static str),
}

const SIGNS: [&str; 30] = [
    "->", "<<", ">>", "<=", ">=", "==", "!=", "&&", "||", "(", ")", "[", "]", "{", "}", ",", ";", "=", "<",
    ">", "+", "-", "*", "/", "%", "&", "|", "^", "~", ":",
];

fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    for line in text.lines() {
        let mut rest = line.split("//").next().unwrap_or_default().trim_start();
        while !rest.is_empty() {
            let len = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            if len > 0 {
                let word = &rest[..len];
                out.push(if word.starts_with(|c: char| c.is_ascii_digit()) {
                    let number = match word.strip_prefix("0x") {
                        Some(digits) => u64::from_str_radix(digits, 16),
                        None => word.parse(),
                    };
                    Token::Number(number.unwrap_or_else(|_| panic!("{word} is no number")))
                } else {
                    Token::Word(word.to_owned())
                });
                rest = rest[len..].trim_start();
            } else if let Some(char) = rest.strip_prefix('\'') {
                out.push(Token::Number(char.as_bytes()[0].into()));
                rest = char[2..].trim_start();
            } else {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
                let sign = sign.unwrap_or_else(|| panic!("{line}: no token"));
                out.push(Token::Sign(sign));
                rest = rest[sign.len()..].trim_start();
            }
        }
    }
    out
}

struct Compiler {
    tokens: Vec<Token>,
    at: usize,
    constants: HashMap<String, u64>,
    globals: Vec<String>,
    /// Number and signature.
    functions: HashMap<String, (u32, Signature)>,
    /// Numbers of signatures.
    signatures: BTreeMap<(u16, u16, u16, u16), u32>,
    // The function at hand.
    code: CodeBuilder,
    locals: Vec<String>,
    live: bool,
    used: Vec<Label>,
    /// Targets of `continue` and `break`.
    loops: Vec<(Label, Label)>,
    tries: Vec<(Label, Label, Label, u32)>,
    results: u16,
}

struct Header {
    name: String,
    params: Vec<String>,
    signature: Signature,
    ref_locals: u16,
}

fn key(signature: &Signature) -> (u16, u16, u16, u16) {
    (signature.words_in, signature.words_out, signature.refs_in, signature.refs_out)
}

fn compile() -> Runtime {
    let mut compiler = Compiler {
        tokens: TEXTS.iter().flat_map(|text| tokens(text)).collect(),
        at: 0,
        constants: HashMap::new(),
        globals: Vec::new(),
        functions: HashMap::new(),
        signatures: BTreeMap::new(),
        code: CodeBuilder::new(),
        locals: Vec::new(),
        live: true,
        used: Vec::new(),
        loops: Vec::new(),
        tries: Vec::new(),
        results: 0,
    };
    let (externs, count) = compiler.declarations();
    let signatures: Vec<Signature> = compiler
        .signatures
        .keys()
        .map(|&(words_in, words_out, refs_in, refs_out)| Signature { words_in, words_out, refs_in, refs_out })
        .collect();
    for (number, index) in compiler.signatures.values_mut().enumerate() {
        *index = number as u32;
    }
    compiler.at = 0;
    let mut routines = Vec::with_capacity(count);
    while compiler.at < compiler.tokens.len() {
        match compiler.word().as_str() {
            "fn" => routines.push(compiler.function()),
            "extern" => drop(compiler.header()),
            _ => compiler.skip_line(),
        }
    }
    let names = compiler.functions.iter().map(|(name, (number, _))| (name.clone(), *number)).collect();
    Runtime { routines, signatures, externs, globals: compiler.globals, names }
}

impl Compiler {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(found)) if *found == sign)
    }

    fn accept(&mut self, sign: &str) -> bool {
        let is = self.is(sign);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, sign: &str) {
        if !self.accept(sign) {
            let around: Vec<&Token> = self.tokens[self.at.saturating_sub(12)..].iter().take(16).collect();
            panic!("{sign} is missing in {around:?}");
        }
    }

    fn word(&mut self) -> String {
        match self.tokens.get(self.at) {
            Some(Token::Word(word)) => {
                self.at += 1;
                word.clone()
            }
            other => {
                panic!("{other:?} is no word, behind {:?}", &self.tokens[self.at.saturating_sub(9)..self.at])
            }
        }
    }

    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if found == word)
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let is = self.is_word(word);
        self.at += usize::from(is);
        is
    }

    fn number(&mut self) -> u64 {
        let minus = self.accept("-");
        let number = match &self.tokens[self.at] {
            Token::Number(number) => *number,
            Token::Word(word) => *self.constants.get(word).unwrap_or_else(|| panic!("{word} is no constant")),
            other => panic!("{other:?} is no number"),
        };
        self.at += 1;
        if minus { number.wrapping_neg() } else { number }
    }

    fn skip_line(&mut self) {
        while !self.accept(";") {
            self.at += 1;
        }
    }

    /// Reads what is declared; answers the functions of programs and the number of routines.
    fn declarations(&mut self) -> (Vec<(String, Signature)>, usize) {
        let mut externs = Vec::new();
        let mut count = 0;
        while self.at < self.tokens.len() {
            match self.word().as_str() {
                "const" => {
                    let name = self.word();
                    self.expect("=");
                    let value = self.number();
                    self.constants.insert(name, value);
                    self.expect(";");
                }
                "global" => {
                    loop {
                        let name = self.word();
                        self.globals.push(name);
                        if !self.accept(",") {
                            break;
                        }
                    }
                    self.expect(";");
                }
                kind @ ("fn" | "extern") => {
                    let header = self.header();
                    self.signatures.insert(key(&header.signature), 0);
                    if kind == "extern" {
                        externs.push((header.name, header.signature));
                        continue;
                    }
                    assert!(!self.functions.contains_key(&header.name), "two functions {}", header.name);
                    self.functions.insert(header.name, (count as u32, header.signature));
                    count += 1;
                    self.expect("{");
                    let mut depth = 1;
                    while depth > 0 {
                        depth += i32::from(self.is("{")) - i32::from(self.is("}"));
                        self.at += 1;
                    }
                }
                other => panic!("{other} declares nothing"),
            }
        }
        for (index, (name, signature)) in externs.iter().enumerate() {
            self.functions.insert(name.clone(), ((count + index) as u32, *signature));
        }
        (externs, count)
    }

    /// `name(a, b) -> words takes r gives r refs r`, all but the parentheses optional.
    fn header(&mut self) -> Header {
        let name = self.word();
        self.expect("(");
        let mut params = Vec::new();
        while !self.accept(")") {
            params.push(self.word());
            self.accept(",");
        }
        let mut signature = Signature { words_in: params.len() as u16, ..Signature::default() };
        if self.accept("->") {
            signature.words_out = self.number() as u16;
        }
        if self.accept_word("takes") {
            signature.refs_in = self.number() as u16;
        }
        if self.accept_word("gives") {
            signature.refs_out = self.number() as u16;
        }
        let ref_locals = if self.accept_word("refs") { self.number() as u16 } else { 0 };
        self.accept(";");
        Header { name, params, signature, ref_locals }
    }

    fn function(&mut self) -> Routine {
        let Header { name, params, signature, ref_locals } = self.header();
        self.code = CodeBuilder::new();
        self.locals = params;
        self.live = true;
        self.used.clear();
        self.tries.clear();
        self.results = signature.words_out;
        self.block();
        if self.live {
            assert_eq!(self.results, 0, "{name} ends without its results");
            self.op(Op::Ret, &[]);
        }
        let code = std::mem::take(&mut self.code).finish();
        let mut handlers: Vec<Handler> = self
            .tries
            .iter()
            .map(|&(from, to, target, kinds)| Handler {
                from: code.offset_of(from),
                to: code.offset_of(to),
                target: code.offset_of(target),
                kinds,
                words: 0,
                refs: 0,
            })
            .collect();
        handlers.sort_by_key(|handler| (handler.from, std::cmp::Reverse(handler.to)));
        let word_locals = self.locals.len() as u16 - signature.words_in;
        let signature_number = self.signatures[&key(&signature)];
        let function =
            Function { signature: signature_number, word_locals, ref_locals, window: 0, code: code.bytes };
        Routine { name, function, handlers }
    }

    // Code

    fn op(&mut self, op: Op, imms: &[u64]) {
        if self.live {
            self.code.op(op, imms);
            if op.flow() == dotvm_core::opcode::Flow::Leave {
                self.live = false;
            }
        }
    }

    fn jump(&mut self, op: Op, label: Label) {
        if self.live {
            self.code.jump(op, label);
            self.used.push(label);
            self.live = op != Op::Jmp;
        }
    }

    fn bind(&mut self, label: Label) {
        self.code.bind(label);
        self.live |= self.used.contains(&label);
    }

    fn local(&mut self, name: &str) -> u64 {
        if let Some(found) = self.locals.iter().position(|local| local == name) {
            return found as u64;
        }
        self.locals.push(name.to_owned());
        self.locals.len() as u64 - 1
    }

    fn set(&mut self, name: &str) {
        match self.globals.iter().position(|global| global == name) {
            Some(global) => self.op(Op::Gset, &[global as u64]),
            None => {
                let local = self.local(name);
                self.op(Op::Lset, &[local]);
            }
        }
    }

    fn get(&mut self, name: &str) {
        if let Some(&number) = self.constants.get(name) {
            self.op(Op::Push, &[number]);
        } else if let Some(global) = self.globals.iter().position(|global| global == name) {
            self.op(Op::Gget, &[global as u64]);
        } else {
            let local = self.locals.iter().position(|local| local == name);
            let local = local.unwrap_or_else(|| panic!("{name} is not set"));
            self.op(Op::Lget, &[local as u64]);
        }
    }

    fn block(&mut self) {
        self.expect("{");
        while !self.accept("}") {
            self.statement();
        }
    }

    fn statement(&mut self) {
        let word = self.word();
        match word.as_str() {
            "if" => self.branch(),
            "while" => {
                let (start, end) = (self.code.label(), self.code.label());
                self.used.push(start);
                self.bind(start);
                self.condition(end, false);
                self.loops.push((start, end));
                self.block();
                self.jump(Op::Jmp, start);
                self.loops.pop();
                self.bind(end);
            }
            "loop" => {
                let (start, end) = (self.code.label(), self.code.label());
                self.bind(start);
                self.loops.push((start, end));
                self.block();
                self.jump(Op::Jmp, start);
                self.loops.pop();
                self.bind(end);
            }
            "break" | "continue" => {
                let (start, end) = *self.loops.last().expect("a loop");
                self.jump(Op::Jmp, if word == "break" { end } else { start });
                self.expect(";");
            }
            "return" => {
                let mut count = 0;
                while !self.accept(";") {
                    count += self.expression();
                    self.accept(",");
                }
                assert!(!self.live || count == self.results, "a return of {count} words");
                self.op(Op::Ret, &[]);
            }
            "throw" => {
                self.expression();
                self.op(Op::Rnull, &[]);
                self.op(Op::Throw, &[]);
                self.expect(";");
            }
            "switch" => self.switch(),
            "try" => self.attempt(),
            _ => self.assignment(word),
        }
    }

    fn branch(&mut self) {
        let (otherwise, end) = (self.code.label(), self.code.label());
        self.condition(otherwise, false);
        self.block();
        if !self.accept_word("else") {
            self.bind(otherwise);
            return;
        }
        self.jump(Op::Jmp, end);
        self.bind(otherwise);
        if self.accept_word("if") {
            self.branch();
        } else {
            self.block();
        }
        self.bind(end);
    }

    fn switch(&mut self) {
        self.expression();
        let table_live = self.live;
        self.expect("{");
        // The cases are found first, because the table stands before them.
        let start = self.at;
        let mut cases: Vec<(Vec<u64>, Label)> = Vec::new();
        let mut default = None;
        while !self.accept("}") {
            let label = self.code.label();
            if self.accept_word("default") {
                default = Some(label);
            } else {
                let mut values = vec![self.number()];
                while self.accept(",") {
                    values.push(self.number());
                }
                cases.push((values, label));
            }
            self.expect("{");
            let mut depth = 1;
            while depth > 0 {
                depth += i32::from(self.is("{")) - i32::from(self.is("}"));
                self.at += 1;
            }
        }
        let end = self.code.label();
        let otherwise = default.unwrap_or(end);
        let count = cases.iter().flat_map(|(values, _)| values).max().map_or(0, |max| *max as usize + 1);
        let mut targets = vec![otherwise; count + 1];
        for (values, label) in &cases {
            for &value in values {
                targets[value as usize] = *label;
            }
        }
        if table_live {
            self.code.table(&targets);
            self.used.extend(&targets);
            self.live = false;
        }
        self.at = start;
        let mut labels = cases.iter().map(|(_, label)| *label);
        while !self.accept("}") {
            let label = if self.accept_word("default") {
                otherwise
            } else {
                self.number();
                while self.accept(",") {
                    self.number();
                }
                labels.next().expect("as many cases as before")
            };
            self.bind(label);
            self.block();
            self.jump(Op::Jmp, end);
        }
        self.bind(end);
    }

    /// `try { } catch code { }` for exceptions, `try { } trap code { }` for other traps.
    fn attempt(&mut self) {
        let (from, to, target, end) =
            (self.code.label(), self.code.label(), self.code.label(), self.code.label());
        self.bind(from);
        self.block();
        self.jump(Op::Jmp, end);
        self.code.bind(to);
        let user = TrapKind::User.bit();
        let kinds = match self.word().as_str() {
            "catch" => user,
            _ => TrapKind::OutOfMemory.bit() | TrapKind::Size.bit(),
        };
        let code = self.word();
        self.tries.push((from, to, target, kinds));
        self.used.push(target);
        self.bind(target);
        self.op(Op::Rpop, &[]);
        self.set(&code);
        self.block();
        self.bind(end);
    }

    /// A call that stands alone, or `a, b = expressions`.
    fn assignment(&mut self, first: String) {
        if !self.is("=") && !self.is(",") {
            self.at -= 1;
            let count = self.expression();
            for _ in 0..count {
                self.op(Op::Pop, &[]);
            }
            self.expect(";");
            return;
        }
        let mut names = vec![first];
        while self.accept(",") {
            names.push(self.word());
        }
        self.expect("=");
        let mut count = self.expression();
        while self.accept(",") {
            count += self.expression();
        }
        assert!(!self.live || count as usize == names.len(), "{names:?} := {count} words");
        for name in names.iter().rev() {
            self.set(name);
        }
        self.expect(";");
    }

    /// Jumps to the label if the condition is not what is wanted... that is, if its truth equals `jump_if`.
    fn condition(&mut self, label: Label, jump_if: bool) {
        assert!(!jump_if, "conditions jump where they fail");
        // a && b && c, or a || b || c.
        let start = self.at;
        let mut depth = 0;
        let mut is_or = false;
        loop {
            match &self.tokens[self.at] {
                Token::Sign("(") | Token::Sign("[") => depth += 1,
                Token::Sign(")") | Token::Sign("]") => depth -= 1,
                Token::Sign("||") if depth == 0 => is_or = true,
                Token::Sign("{") if depth == 0 => break,
                _ => {}
            }
            self.at += 1;
        }
        self.at = start;
        if is_or {
            let holds = self.code.label();
            loop {
                self.expression();
                if !self.accept("||") {
                    self.jump(Op::Jz, label);
                    break;
                }
                self.jump(Op::Jnz, holds);
            }
            self.bind(holds);
            return;
        }
        loop {
            self.expression();
            self.jump(Op::Jz, label);
            if !self.accept("&&") {
                break;
            }
        }
    }

    /// Compiles an expression; answers how many words it leaves.
    fn expression(&mut self) -> u16 {
        self.binary(0)
    }

    fn binary(&mut self, level: usize) -> u16 {
        const LEVELS: [&[(&str, Op)]; 6] = [
            &[("==", Op::Eq), ("!=", Op::Ne), ("<", Op::Lt), (">", Op::Gt), ("<=", Op::Le), (">=", Op::Ge)],
            &[("|", Op::Or)],
            &[("^", Op::Xor)],
            &[("&", Op::And)],
            &[("<<", Op::Shl), (">>", Op::Shr), ("+", Op::Add), ("-", Op::Sub)],
            &[("*", Op::Mul), ("/", Op::Div), ("%", Op::Mod)],
        ];
        let Some(row) = LEVELS.get(level) else { return self.unary() };
        let mut count = self.binary(level + 1);
        while let Some(&(_, op)) = row.iter().find(|(sign, _)| self.is(sign)) {
            self.at += 1;
            assert_eq!(count + self.binary(level + 1), 2, "an operator takes one word on each side");
            self.op(op, &[]);
            count = 1;
        }
        count
    }

    fn unary(&mut self) -> u16 {
        if self.accept("-") {
            if let Some(Token::Number(number)) = self.peek() {
                let number = number.wrapping_neg();
                self.at += 1;
                self.op(Op::Push, &[number]);
                return 1;
            }
            self.unary();
            self.op(Op::Neg, &[]);
            return 1;
        }
        if self.accept("~") {
            self.unary();
            self.op(Op::Not, &[]);
            return 1;
        }
        if self.accept("(") {
            let count = self.expression();
            self.expect(")");
            return count;
        }
        if let Some(&Token::Number(number)) = self.peek() {
            self.at += 1;
            self.op(Op::Push, &[number]);
            return 1;
        }
        let name = self.word();
        if self.is("(") || self.is("[") && !self.globals.contains(&name) {
            return self.call(&name);
        }
        self.get(&name);
        1
    }

    fn call(&mut self, name: &str) -> u16 {
        let mut imms = Vec::new();
        if self.accept("[") {
            while !self.accept("]") {
                imms.push(self.number());
                self.accept(",");
            }
        }
        self.expect("(");
        let mut count = 0;
        while !self.accept(")") {
            count += self.expression();
            self.accept(",");
        }
        if let Some(&(number, signature)) = self.functions.get(name) {
            assert!(!self.live || count == signature.words_in, "{name} takes {} words", signature.words_in);
            self.op(Op::Call, &[number.into()]);
            return signature.words_out;
        }
        let (prefix, mnemonic) = match name.split_once('_') {
            Some((width, rest)) if Prefix::from_mnemonic(&width.to_uppercase()).is_some() => {
                (Prefix::from_mnemonic(&width.to_uppercase()), rest)
            }
            _ => (None, name),
        };
        let upper = match mnemonic.strip_prefix("ld").or_else(|| mnemonic.strip_prefix("st")) {
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let kind = if mnemonic.starts_with("ld") { "LOAD" } else { "STORE" };
                format!("{kind}{bits}")
            }
            _ => mnemonic.to_uppercase(),
        };
        let op = Op::from_mnemonic(&upper).or_else(|| Op::from_mnemonic(&upper.replacen('_', ".", 1)));
        let op = op.unwrap_or_else(|| panic!("{name} is neither a function nor an operation"));
        if imms.is_empty() && matches!(op.info().imms, [Imm::Offset]) {
            imms.push(0);
        }
        let effect = match (op, &imms[..]) {
            (Op::Zfn, [function]) => {
                dotvm_core::integer::IntegerFn::from_code(*function).expect("a function of integers").effect()
            }
            (Op::Rdup | Op::Rswap, _) => {
                dotvm_core::opcode::Effect { words_in: 0, words_out: 0, refs_in: 0, refs_out: 0 }
            }
            _ => op.info().effect.unwrap_or_else(|| panic!("{name} has no fixed effect")),
        };
        assert!(!self.live || u32::from(count) == effect.words_in, "{name} takes {} words", effect.words_in);
        if self.live {
            self.code.prefixed(prefix, op, &imms);
        }
        effect.words_out as u16
    }
}
