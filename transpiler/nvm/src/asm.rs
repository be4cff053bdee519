//! The assembler (section 4).

use std::collections::HashMap;

use dotvm_frontend::FrontendError;

use crate::diagnostics::{Problem, nearest, refuse};
use crate::machine::{IMAGE_BYTES, SIGNATURE};
use crate::opcode::{CALLS, Form, OTHER_NAMES, Op, call_named, op_named};

/// What a text assembles to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assembled {
    /// The image.
    pub image: Vec<u8>,
    /// The address of each instruction and its line, ascending.
    pub lines: Vec<(u32, u32)>,
}

/// A token of a statement: bytes of the text.
#[derive(Clone, Copy)]
struct Token {
    start: usize,
    end: usize,
}

/// A use of a label.
struct Use<'a> {
    name: &'a str,
    token: Token,
    /// Where the address goes.
    at: usize,
}

struct Assembler<'a> {
    source: &'a str,
    image: Vec<u8>,
    lines: Vec<(u32, u32)>,
    labels: HashMap<&'a str, u32>,
    uses: Vec<Use<'a>>,
    problems: Vec<Problem>,
}

/// Assembles a text.
///
/// # Errors
/// All that is wrong, each with its place.
pub(crate) fn assemble(file: &str, source: &str) -> Result<Assembled, FrontendError> {
    let mut assembler = Assembler {
        source,
        image: SIGNATURE.to_vec(),
        lines: Vec::new(),
        labels: HashMap::new(),
        uses: Vec::new(),
        problems: Vec::new(),
    };
    let mut start = 0;
    for (index, line) in source.split('\n').enumerate() {
        assembler.line(start, start + line.trim_end_matches('\r').len(), index as u32 + 1);
        start += line.len() + 1;
        if assembler.image.len() > IMAGE_BYTES {
            let message = format!("the image grows beyond {IMAGE_BYTES} bytes");
            return Err(FrontendError::assembly(format!("line {}: {message}", index + 1)));
        }
    }
    assembler.resolve();
    let Assembler { image, lines, mut problems, .. } = assembler;
    if problems.is_empty() {
        return Ok(Assembled { image, lines });
    }
    problems.sort_by_key(|problem| problem.start);
    Err(refuse(file, source, &problems))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$')
}

fn is_label(name: &str) -> bool {
    name.bytes().all(is_name_byte) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

impl<'a> Assembler<'a> {
    fn text(&self, token: Token) -> &'a str {
        &self.source[token.start..token.end]
    }

    fn problem(&mut self, token: Token, message: impl Into<String>, hint: Option<String>) {
        let Token { start, end } = token;
        self.problems.push(Problem { start, end, message: message.into(), hint });
    }

    /// The tokens from `start` on: blanks and commas part them, a comment ends them, a character is one whatever it is.
    fn tokens(&mut self, start: usize, end: usize) -> Vec<Token> {
        let bytes = self.source.as_bytes();
        let mut tokens = Vec::new();
        let mut at = start;
        while at < end {
            match bytes[at] {
                b' ' | b'\t' | b',' => at += 1,
                b';' => break,
                b':' => {
                    tokens.push(Token { start: at, end: at + 1 });
                    at += 1;
                }
                b'\'' => {
                    let from = at;
                    at += 1;
                    if bytes.get(at) == Some(&b'\\') && at < end {
                        at += 1;
                    }
                    // The character itself, which may be a quote only behind a backslash.
                    at += self.source[at.min(end)..end].chars().next().map_or(0, char::len_utf8);
                    if at < end && bytes[at] == b'\'' {
                        at += 1;
                    } else {
                        while at < end && !matches!(bytes[at], b' ' | b'\t' | b',' | b';') {
                            at += 1;
                        }
                        let hint = "a character is written as 'A' or '\\n'".to_owned();
                        self.problem(
                            Token { start: from, end: at },
                            "this character is not closed",
                            Some(hint),
                        );
                        // What follows cannot be told.
                        return Vec::new();
                    }
                    tokens.push(Token { start: from, end: at });
                }
                _ => {
                    let from = at;
                    while at < end && !matches!(bytes[at], b' ' | b'\t' | b',' | b';' | b':' | b'\'') {
                        at += 1;
                    }
                    tokens.push(Token { start: from, end: at });
                }
            }
        }
        tokens
    }

    fn line(&mut self, start: usize, end: usize, number: u32) {
        let tokens = self.tokens(start, end);
        let mut rest = &tokens[..];
        while let [name, colon, behind @ ..] = rest
            && self.text(*colon) == ":"
        {
            self.label(*name);
            rest = behind;
        }
        let Some((&first, operands)) = rest.split_first() else { return };
        let name = self.text(first);
        if name.eq_ignore_ascii_case(".NVM0") || name.eq_ignore_ascii_case(".NVM") {
            if let Some(&operand) = operands.first() {
                self.problem(operand, format!("{name} takes no operands"), None);
            }
            return;
        }
        let Some(op) = op_named(name) else { return self.unknown(first) };
        self.lines.push((self.image.len() as u32, number));
        self.image.push(op as u8);
        let wanted = usize::from(op.form() != Form::Plain);
        if operands.len() != wanted {
            let message = match wanted {
                0 => format!("{name} takes no operand"),
                _ => format!("{name} takes one operand, and {} are given", operands.len()),
            };
            let hint = (operands.len() == 2 && self.text(operands[0]).eq_ignore_ascii_case("byte"))
                .then(|| "older assemblers wrote `push byte 0`: leave `byte` out".to_owned());
            let place = operands.get(wanted).copied().unwrap_or(first);
            self.problem(place, message, hint);
        } else if let [operand] = *operands {
            self.operand(op, operand);
            return;
        }
        // The places of what follows do not matter any more.
        self.image.resize(self.image.len() + op.form().bytes() as usize - 1, 0);
    }

    fn unknown(&mut self, token: Token) {
        let name = self.text(token);
        let known = Op::ALL.iter().map(|op| op.name()).chain(OTHER_NAMES.iter().map(|other| other.0));
        let hint = if name.starts_with('.') {
            Some("the only directive is .NVM0: there are no data, macros or includes".to_owned())
        } else {
            nearest(name, known)
        };
        self.problem(token, format!("there is no instruction `{name}`"), hint);
    }

    fn label(&mut self, token: Token) {
        let name = self.text(token);
        if !is_label(name) {
            let hint = "letters, digits, _, . and $, and no digit first".to_owned();
            self.problem(token, format!("`{name}` cannot be a label"), Some(hint));
        } else if self.labels.insert(name, self.image.len() as u32).is_some() {
            self.problem(token, format!("the label `{name}` is defined twice"), None);
        }
    }

    fn operand(&mut self, op: Op, token: Token) {
        let form = op.form();
        let text = self.text(token);
        let (least, greatest) = match form {
            Form::Word => (i64::from(i32::MIN), i64::from(u32::MAX)),
            Form::Address => (0, i64::from(u32::MAX)),
            _ => (0, 255),
        };
        let value = match number(text) {
            Some(Ok(value)) => value,
            Some(Err(why)) => {
                self.problem(token, why, None);
                0
            }
            None => self.name(op, token),
        };
        if value < least || value > greatest {
            self.problem(token, format!("{} takes {least} to {greatest}", op.name()), None);
        }
        match form {
            Form::Byte | Form::Call => self.image.push(value as u8),
            _ => self.image.extend_from_slice(&(value as u32).to_be_bytes()),
        }
    }

    /// An operand that is a name.
    fn name(&mut self, op: Op, token: Token) -> i64 {
        let name = self.text(token);
        match op.form() {
            Form::Call => match call_named(name) {
                Some(number) => return number.into(),
                None => {
                    let hint = nearest(name, CALLS.iter().map(|call| call.0));
                    self.problem(token, format!("there is no system call `{name}`"), hint);
                }
            },
            Form::Address if is_label(name) => {
                self.uses.push(Use { name, token, at: self.image.len() });
            }
            _ => {
                let hint = is_label(name).then(|| "labels are for jmp, jz, jnz and call".to_owned());
                self.problem(token, format!("{} takes a number, and `{name}` is none", op.name()), hint);
            }
        }
        0
    }

    /// Fills in the addresses of labels.
    fn resolve(&mut self) {
        for Use { name, token, at } in std::mem::take(&mut self.uses) {
            match self.labels.get(name) {
                Some(address) => {
                    self.image[at..at + 4].copy_from_slice(&address.to_be_bytes());
                }
                None => {
                    // One of many is looked for among all: in a text with many mistakes that would take long.
                    let hint = if self.problems.len() < 20 {
                        nearest(name, self.labels.keys().copied().collect::<std::collections::BTreeSet<_>>())
                    } else {
                        None
                    };
                    self.problem(token, format!("the label `{name}` is not defined"), hint);
                }
            }
        }
    }
}

/// A number or a character; `None` if the text begins like neither.
fn number(text: &str) -> Option<Result<i64, String>> {
    if let Some(quoted) = text.strip_prefix('\'') {
        return Some(character(quoted.strip_suffix('\'').unwrap_or(quoted)));
    }
    let (sign, digits) = match text.as_bytes() {
        [b'-', ..] => (-1, &text[1..]),
        [b'+', ..] => (1, &text[1..]),
        _ => (1, text),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let hexadecimal = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (digits, radix) = hexadecimal.map_or((digits, 10), |digits| (digits, 16));
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Some(Err(format!("`{text}` is no number")));
    }
    // Too long for the type is too large for any operand.
    Some(Ok(i64::from_str_radix(digits, radix).map_or(i64::MAX, |value| sign * value)))
}

fn character(text: &str) -> Result<i64, String> {
    let byte = match text.as_bytes() {
        [b'\\', escaped] => match escaped {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'0' => 0,
            b'\\' | b'\'' | b'"' => *escaped,
            _ => return Err(format!("there is no character '{text}'")),
        },
        [byte] if *byte != b'\\' => *byte,
        _ => return Err("a character has one byte".to_owned()),
    };
    Ok(byte.into())
}
