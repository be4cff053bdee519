//! Random programs of RVM: types mostly fit, loops mostly end, names mostly stand for something, and now and then not.

use std::fmt::Write as _;

use fastrand::Rng;

use crate::rvm::Case;

const NUMBERS: [&str; 10] = ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64"];
const ALL: [&str; 13] =
    ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64", "char", "bool", "ptr"];

/// A subroutine: what it takes and what it leaves, as far as nothing goes wrong.
#[derive(Clone)]
struct Signature {
    takes: Vec<&'static str>,
    gives: Option<&'static str>,
}

struct Generator<'a> {
    rng: &'a mut Rng,
    text: String,
    /// What is likely on the stack.
    stack: Vec<&'static str>,
    /// Locals that are likely set, with their types.
    locals: Vec<(String, &'static str)>,
    globals: Vec<(String, &'static str)>,
    arrays: Vec<(String, &'static str, usize)>,
    subroutines: Vec<Signature>,
    labels: usize,
    /// One in so many instructions is any.
    wild: u32,
    threads: bool,
    depth: u32,
}

/// A literal of a type that is likely to matter.
fn literal(rng: &mut Rng, ty: &str) -> String {
    let bits: u32 = match ty {
        "i8" | "u8" => 8,
        "i16" | "u16" => 16,
        "i32" | "u32" => 32,
        _ => 64,
    };
    match ty {
        "f32" | "f64" => match rng.u8(..6) {
            0 => "0.0".to_owned(),
            1 => "-0.0".to_owned(),
            2 => format!("{}.{}", rng.u32(..1000), rng.u32(..1000)),
            3 => format!("-{}.5e{}", rng.u32(..100), rng.i32(-40..36)),
            4 => format!("{}e{}", rng.u32(1..100), rng.i32(-30..30)),
            _ => rng.i32(-20..20).to_string(),
        },
        "char" => ["'a'", "'Z'", "'0'", "'\\n'", "'\\xff'", "'\\0'", "65"][rng.usize(..7)].to_owned(),
        "bool" => ["true", "false", "1", "0"][rng.usize(..4)].to_owned(),
        "ptr" => match rng.u8(..6) {
            0 => "null".to_owned(),
            1 => "\"\"".to_owned(),
            2 => format!("\"{}\"", rng.i32(-5000..5000)),
            3 => format!("\"{}.{}e{}\"", rng.i32(-50..50), rng.u32(..100), rng.i32(-9..9)),
            4 => "\"true\"".to_owned(),
            _ => "\"text\"".to_owned(),
        },
        _ => {
            let signed = ty.starts_with('i');
            let number: i128 = match rng.u8(..8) {
                0 => 0,
                1 => 1,
                2 => i128::from(rng.u64(..)) >> rng.u32(..64),
                3 => (1i128 << (bits - u32::from(signed))) - 1,
                4 if signed => -(1i128 << (bits - 1)),
                5 if signed => -i128::from(rng.u8(..)),
                _ => i128::from(rng.u8(..20)),
            };
            let (low, high) = if signed {
                (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
            } else {
                (0, (1i128 << bits) - 1)
            };
            number.clamp(low, high).to_string()
        }
    }
}

impl Generator<'_> {
    fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str("    ");
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    fn one_of(&mut self, lines: &[&str]) {
        let line = lines[self.rng.usize(..lines.len())];
        self.line(line);
    }

    fn ty(&mut self) -> &'static str {
        match self.rng.u8(..8) {
            0..=2 => "i32",
            3 => "i64",
            4 | 5 => NUMBERS[self.rng.usize(..NUMBERS.len())],
            _ => ALL[self.rng.usize(..ALL.len())],
        }
    }

    fn push(&mut self, ty: &'static str) {
        let known: Vec<usize> = (0..self.locals.len()).filter(|index| self.locals[*index].1 == ty).collect();
        if !known.is_empty() && self.rng.bool() {
            let name = self.locals[known[self.rng.usize(..known.len())]].0.clone();
            self.line(format!("load {name}"));
        } else {
            let literal = literal(self.rng, ty);
            self.line(format!("push {ty} {literal}"));
        }
        self.stack.push(ty);
    }

    /// Sees to it that the top is of a type, or of any.
    fn top(&mut self) -> &'static str {
        if self.stack.is_empty() || self.rng.u8(..4) == 0 {
            let ty = self.ty();
            self.push(ty);
        }
        self.stack[self.stack.len() - 1]
    }

    fn pop(&mut self) {
        self.stack.pop();
    }

    fn label(&mut self) -> String {
        self.labels += 1;
        format!("l{}", self.labels)
    }

    fn statements(&mut self, count: usize) {
        for _ in 0..count {
            self.statement();
        }
    }

    /// Drops what is above a height, so that paths agree.
    fn settle(&mut self, height: usize) {
        while self.stack.len() > height {
            match self.rng.u8(..3) {
                0 => self.line("call [io]println"),
                _ => self.line("pop"),
            }
            self.pop();
        }
        while self.stack.len() < height {
            self.push("i32");
        }
    }

    fn statement(&mut self) {
        if self.rng.u32(..self.wild) == 0 {
            return self.anything();
        }
        match self.rng.u8(..34) {
            0..=3 => {
                let ty = self.ty();
                self.push(ty);
            }
            4..=9 => self.arithmetic(),
            10 => {
                let ty = self.top();
                let name = match ty {
                    "f32" | "f64" => ["inc", "dec", "neg", "lnot"][self.rng.usize(..4)],
                    "bool" => ["not", "lnot"][self.rng.usize(..2)],
                    "char" => ["inc", "dec", "not", "lnot"][self.rng.usize(..4)],
                    "ptr" => "lnot",
                    _ => ["inc", "dec", "neg", "not", "lnot"][self.rng.usize(..5)],
                };
                self.line(name);
                if name == "lnot" {
                    self.pop();
                    self.stack.push("bool");
                }
            }
            11 | 12 => {
                let ty = self.top();
                let name = if self.rng.u8(..5) == 0 {
                    format!("r{}", self.rng.u8(..8))
                } else {
                    format!("v{}", self.rng.u8(..6))
                };
                self.line(format!("store {name}"));
                self.pop();
                self.locals.retain(|known| known.0 != name);
                self.locals.push((name, ty));
            }
            13 => {
                if let Some((name, ty)) = self.rng.choice(self.globals.clone()) {
                    if self.rng.bool() {
                        self.push(ty);
                        self.line(format!("store {name}"));
                        self.pop();
                    } else {
                        self.line(format!("load {name}"));
                        self.stack.push(ty);
                    }
                }
            }
            14 | 15 => self.element(),
            16 | 17 => self.conversion(),
            18 => {
                self.top();
                self.line("dup");
                let ty = self.stack[self.stack.len() - 1];
                self.stack.push(ty);
            }
            19 if self.stack.len() >= 2 => {
                self.line("swap");
                let top = self.stack.len() - 1;
                self.stack.swap(top, top - 1);
            }
            20 if self.stack.len() >= 3 => {
                self.line("rot");
                let at = self.stack.len() - 3;
                self.stack[at..].rotate_left(1);
            }
            21 | 22 => {
                self.top();
                self.one_of(&["call [io]println", "[io]print", "pop"]);
                self.pop();
            }
            23 | 24 if self.depth < 3 => self.branch(),
            25 | 26 if self.depth < 2 => self.repeat(),
            27..=29 if !self.subroutines.is_empty() => self.call(),
            30 => self.library(),
            31 => {
                let ty = self.top();
                if ty != "ptr" {
                    self.line("typeof");
                    self.pop();
                    self.stack.push("i32");
                }
            }
            _ => self.arithmetic(),
        }
    }

    fn arithmetic(&mut self) {
        let ty = self.top();
        if self.stack.len() < 2 || self.stack[self.stack.len() - 2] != ty {
            self.push(ty);
        }
        let name = match ty {
            "ptr" => ["eq", "ne", "land"][self.rng.usize(..3)],
            "bool" => ["and", "or", "xor", "eq", "ne", "land", "lor"][self.rng.usize(..7)],
            "f32" | "f64" => ["add", "sub", "mul", "div", "lt", "ge", "eq", "ne", "gt"][self.rng.usize(..9)],
            _ => [
                "add", "sub", "mul", "add", "sub", "and", "or", "xor", "shl", "shr", "lt", "le", "gt", "ge",
                "eq", "div", "mod",
            ][self.rng.usize(..17)],
        };
        let typed = if self.rng.u8(..6) == 0 { ty } else { "" };
        self.line(format!("{name}{typed}"));
        self.pop();
        if matches!(name, "lt" | "le" | "gt" | "ge" | "eq" | "ne" | "land" | "lor") {
            self.pop();
            self.stack.push("bool");
        }
    }

    fn conversion(&mut self) {
        let ty = self.top();
        let to = ALL[self.rng.usize(..12)];
        let (name, result) = match (self.rng.u8(..4), ty) {
            (_, "ptr") => ("typeof".to_owned(), "i32"),
            (0, "f32" | "f64") => ("ftos".to_owned(), "ptr"),
            (1, "f32" | "f64") => ("ftoi".to_owned(), "i32"),
            (0, "char") => ("ctoi".to_owned(), "i32"),
            (1, "char") => ("ctos".to_owned(), "ptr"),
            (0, "bool") => ("btos".to_owned(), "ptr"),
            (2 | 3, _) | (_, "char" | "bool" | "f32" | "f64") => (format!("conv {to}"), to),
            (0, _) => ("itos".to_owned(), "ptr"),
            _ => ("itof".to_owned(), "f64"),
        };
        self.line(name);
        self.pop();
        self.stack.push(result);
    }

    fn element(&mut self) {
        let Some((name, ty, cells)) = self.rng.choice(self.arrays.clone()) else { return };
        self.line(format!("load {name}"));
        if self.rng.bool() {
            let index = if self.rng.u8(..12) == 0 { cells } else { self.rng.usize(..cells) };
            self.line(format!("push {index}"));
            self.line("add");
        }
        self.stack.push("ptr");
        if self.rng.bool() {
            self.line("deref");
            self.pop();
            self.stack.push(ty);
        } else {
            self.push(ty);
            self.line(format!("store {name}"));
            self.pop();
            self.pop();
        }
    }

    fn condition(&mut self) -> &'static str {
        let ty = self.top();
        if matches!(ty, "bool" | "ptr") || self.rng.u8(..3) == 0 {
            self.pop();
            return ["brt", "brf"][self.rng.usize(..2)];
        }
        self.push(ty);
        self.pop();
        self.pop();
        ["beq", "bne", "blt", "ble", "bgt", "bge"][self.rng.usize(..6)]
    }

    fn branch(&mut self) {
        self.depth += 1;
        let name = self.condition();
        let (otherwise, end) = (self.label(), self.label());
        self.line(format!("{name} {otherwise}"));
        let height = self.stack.len();
        let (stack, locals) = (self.stack.clone(), self.locals.clone());
        let count = self.rng.usize(1..5);
        self.statements(count);
        self.settle(height);
        if self.rng.bool() {
            self.line(format!("br {end}"));
            self.line(format!("{otherwise}:"));
            self.stack = stack;
            self.locals = locals;
            let count = self.rng.usize(1..5);
            self.statements(count);
            self.settle(height);
            self.line(format!("{end}:"));
        } else {
            self.stack = stack;
            self.line(format!("{otherwise}:"));
        }
        self.depth -= 1;
    }

    fn repeat(&mut self) {
        self.depth += 1;
        let counter = format!("c{}", self.depth);
        let times = self.rng.u8(1..6);
        self.line(format!("push {times}"));
        self.line(format!("store {counter}"));
        let start = self.label();
        self.line(format!("{start}:"));
        let height = self.stack.len();
        let stack = self.stack.clone();
        let count = self.rng.usize(1..6);
        self.statements(count);
        self.settle(height);
        self.line(format!("load {counter}"));
        self.line("dec");
        self.line("dup");
        self.line(format!("store {counter}"));
        self.line(format!("brt {start}"));
        self.stack = stack;
        self.depth -= 1;
    }

    fn call(&mut self) {
        let number = self.rng.usize(..self.subroutines.len());
        let Signature { takes, gives } = self.subroutines[number].clone();
        let fits = self.stack.ends_with(&takes);
        if !fits {
            for ty in &takes {
                self.push(ty);
            }
        }
        self.line(format!("call f{number}"));
        for _ in &takes {
            self.pop();
        }
        self.stack.extend(gives);
    }

    fn library(&mut self) {
        match self.rng.u8(..16) {
            0 => {
                self.push("ptr");
                self.line("call [str]len");
                self.pop();
                self.stack.push("i32");
            }
            1 => {
                self.line("push \"ab\"");
                self.line("push \"cd\"");
                self.line("call [str]concat");
                self.stack.push("ptr");
            }
            2 => {
                let ty = NUMBERS[self.rng.usize(..NUMBERS.len())];
                self.push(ty);
                self.line("call [math]abs");
            }
            3 => {
                let ty = NUMBERS[self.rng.usize(..NUMBERS.len())];
                self.push(ty);
                self.push(ty);
                self.one_of(&["call [math]min", "call [math]max"]);
                self.pop();
            }
            4 => {
                let ty = ["f32", "f64"][self.rng.usize(..2)];
                self.push(ty);
                self.line("call [math]sqrt");
            }
            5 => {
                let ty = NUMBERS[self.rng.usize(..NUMBERS.len())];
                self.push(ty);
                let exponent = self.rng.u8(..30);
                self.line(format!("push {exponent}"));
                self.line("call [math]pow");
            }
            6 => {
                self.line("call [rand]next");
                self.stack.push("u64");
            }
            7 => {
                let handler = self.rng.u8(..3);
                self.line(format!("push \"h{handler}\""));
                self.line("call [vm]catch");
            }
            8 => self.line("call [vm]uncatch"),
            9 => {
                let code = self.rng.u8(..50);
                self.line(format!("push {code}"));
                self.line("call [vm]throw");
            }
            10 => {
                let cells = self.rng.u8(1..5);
                self.line(format!("push [i32:{cells}]"));
                self.line("store q");
                self.line("load q");
                self.push("i32");
                self.line("store q");
                self.pop();
                self.line("load q");
                self.line("deref");
                self.stack.push("i32");
            }
            11 => {
                self.line("call [io]in");
                self.stack.push("i32");
            }
            12 => {
                self.one_of(&["push 2", "push 0", "push 8", "push 10"]);
                self.line("store r8");
            }
            13 if self.threads && !self.subroutines.is_empty() => {
                let number = self.rng.usize(..self.subroutines.len());
                self.line(format!("push \"f{number}\""));
                let ty = self.subroutines[number].takes.first().copied().unwrap_or("i32");
                self.push(ty);
                self.line("call [vm]thread_create");
                self.pop();
                self.line("store t");
                if self.rng.bool() {
                    self.line("call [vm]yield");
                }
                if self.rng.u8(..4) != 0 {
                    self.line("load t");
                    let what = ["join", "join", "join", "cancel", "detach"][self.rng.usize(..5)];
                    self.line(format!("call [vm]thread_{what}"));
                    if what == "join" {
                        self.stack.push("i64");
                    }
                }
            }
            14 => {
                self.one_of(&["load r9", "load r8", "load r3"]);
                self.stack.push("i64");
            }
            _ => {
                self.line("push 3");
                self.line("push 3");
                self.line("call [mem]alloc");
                self.line("dup");
                self.push("i32");
                self.line("call [mem]set");
                self.pop();
                self.line("deref");
                self.stack.push("i32");
            }
        }
    }

    /// An instruction without regard to what is there.
    fn anything(&mut self) {
        const PLAIN: [&str; 62] = [
            "pop",
            "dup",
            "swap",
            "rot",
            "add",
            "sub",
            "mul",
            "div",
            "mod",
            "and",
            "or",
            "xor",
            "shl",
            "shr",
            "not",
            "land",
            "lor",
            "lnot",
            "eq",
            "ne",
            "lt",
            "le",
            "gt",
            "ge",
            "inc",
            "dec",
            "neg",
            "typeof",
            "deref",
            "itof",
            "itos",
            "itob",
            "itoc",
            "itop",
            "ftoi",
            "ftos",
            "ftob",
            "ftoc",
            "stoi",
            "stof",
            "stob",
            "stoc",
            "ctos",
            "ctob",
            "ptoi",
            "ptos",
            "ctof",
            "ctoi",
            "btos",
            "ret",
            "noop",
            "load nowhere",
            "call [mem]size",
            "call [mem]free",
            "call [mem]set",
            "call [vm]thread_join",
            "call [vm]thread_self",
            "call [io]readln",
            "call [dll]load",
            "call [dll]callfunc",
            "call [os]argc",
            "store fixed",
        ];
        let wild = PLAIN[self.rng.usize(..PLAIN.len())];
        match wild {
            "ret" if self.rng.u8(..4) != 0 => {}
            wild => self.line(wild),
        }
        // What is there now is not known well; go on with what is certain.
        if self.rng.bool() {
            let ty = ALL[self.rng.usize(..12)];
            self.push(ty);
        }
    }
}

/// A program of about `length` statements, drawn from a seed.
pub fn case(seed: u64, length: usize) -> Case {
    let rng = &mut Rng::with_seed(seed);
    let wild = [12, 60, 400, 100_000][rng.usize(..4)];
    let threads = rng.u8(..4) == 0;
    let input: Vec<u8> =
        (0..rng.usize(..12)).map(|_| if rng.u8(..4) == 0 { b'\n' } else { rng.u8(..) }).collect();
    let budget = if rng.u8(..4) == 0 { rng.u64(..300) } else { 20_000 };
    let mut generator = Generator {
        rng,
        text: ".data\n.const fixed 5\n.struct Two i32 f64 string\n.var pair Two 1 2.5 \"x\"\n".to_owned(),
        stack: Vec::new(),
        locals: Vec::new(),
        globals: Vec::new(),
        arrays: Vec::new(),
        subroutines: Vec::new(),
        labels: 0,
        wild,
        threads,
        depth: 0,
    };
    for number in 0..3 {
        let ty = generator.ty();
        let literal = literal(generator.rng, ty);
        let _ = writeln!(generator.text, ".var g{number} {ty} {literal}");
        generator.globals.push((format!("g{number}"), ty));
    }
    for number in 0..3 {
        let ty = generator.ty();
        let cells = generator.rng.usize(1..9);
        let _ = writeln!(generator.text, ".var a{number} [{ty}:{cells}]");
        generator.arrays.push((format!("a{number}"), ty, cells));
    }
    generator.text.push_str(".code\nbegin h0\n    call [io]println\nend\nbegin i64 h1\n    dup\nend\nbegin h2\n    push 0\n    div\nend\n");
    for number in 0..generator.rng.usize(..4) {
        let takes: Vec<&str> = (0..generator.rng.usize(..3)).map(|_| generator.ty()).collect();
        let gives = if generator.rng.u8(..4) == 0 { None } else { Some(generator.ty()) };
        let _ = writeln!(generator.text, "begin {} f{number}", gives.unwrap_or("void"));
        generator.stack = takes.clone();
        generator.locals.clear();
        if generator.rng.u8(..3) == 0 && !takes.is_empty() {
            // It calls itself on another path.
            generator.line("load r0");
            generator.line("inc");
            generator.line("store r0");
        }
        let count = generator.rng.usize(1..length / 3 + 2);
        generator.statements(count);
        if let Some(ty) = gives {
            generator.settle(0);
            generator.push(ty);
        } else {
            generator.settle(0);
        }
        generator.text.push_str("end\n");
        generator.subroutines.push(Signature { takes, gives });
    }
    generator.stack.clear();
    generator.locals.clear();
    generator.statements(length);
    Case {
        main: generator.text.into_bytes(),
        input,
        arguments: vec![b"one".to_vec()],
        budget,
        ..Case::default()
    }
}

/// Bytes that are hardly a program.
pub fn noise(seed: u64) -> Case {
    let rng = &mut Rng::with_seed(seed);
    let mut main = vec![0xFF, 0x02];
    while main.len() < 300 {
        match rng.u8(..12) {
            0 => main.extend([rng.u8(..), rng.u8(..14)]),
            1 | 2 => {
                main.extend([4, 3]);
                main.extend(rng.u32(..9).to_le_bytes());
            }
            3 => main.extend([rng.u8(2..4), [0, 0, 13][rng.usize(..3)], 1, b"abr"[rng.usize(..3)]]),
            4 => {
                main.extend([rng.u8(8..0x11), 0]);
                main.extend(rng.u32(..70).to_le_bytes());
            }
            5 => main.extend([4, 13, 2, rng.u8(1..14), rng.u8(1..4), 0, 0, 0]),
            6 => main.extend([4, 13, 1, 2, 0, b'4', b'2']),
            7 => {
                main.extend([0x2B, 0, 11]);
                main.extend(b"[io]println");
            }
            8 if rng.u8(..4) == 0 => main.extend([0x2D, rng.u8(..14), 1, rng.u8(b'f'..b'z'), 0x2E, 0]),
            _ => main.extend([rng.u8(5..0x45), [0, 0, 0, 3, 13][rng.usize(..5)]]),
        }
    }
    for _ in 0..rng.usize(..2) {
        let at = rng.usize(2..main.len());
        main[at] = rng.u8(..);
    }
    Case { main, budget: 500, ..Case::default() }
}

/// Text that is hardly a program.
pub fn text_noise(seed: u64) -> Vec<u8> {
    const WORDS: [&str; 40] = [
        ".data",
        ".code",
        ".meta",
        ".var",
        ".const",
        ".struct",
        ".extern",
        ".export",
        ".name",
        "x",
        "y",
        "begin",
        "end",
        "push",
        "load",
        "store",
        "call",
        "[io]println",
        "i32",
        "string",
        "[i32:5]",
        "[",
        "]",
        ":",
        "\"text\"",
        "'a'",
        "'",
        "\"",
        "\\x4",
        "5",
        "-2.",
        "1e999",
        "99999999999999999999",
        "label:",
        "br",
        "label",
        "conv",
        "addi32",
        "<io>",
        "\n",
    ];
    let rng = &mut Rng::with_seed(seed);
    let mut text = Vec::new();
    for _ in 0..rng.usize(..120) {
        if rng.u8(..12) == 0 {
            text.push(rng.u8(..));
        }
        text.extend_from_slice(WORDS[rng.usize(..WORDS.len())].as_bytes());
        text.push(if rng.u8(..3) == 0 { b'\n' } else { b' ' });
    }
    text
}
