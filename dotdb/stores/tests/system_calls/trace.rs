//! Reading what strace has written: `strace -f -y -xx`, in which all strings and the paths of descriptors are
//! hexadecimal.

use std::collections::BTreeMap;

/// A system call that ended well.
#[derive(Debug)]
pub struct Call {
    pub name: String,
    /// The arguments, split at the commas outside of strings and brackets.
    pub args: Vec<String>,
    pub result: i64,
    /// How many calls had ended when it began.
    pub began: usize,
}

impl Call {
    /// A descriptor: its number and the path behind it.
    pub fn descriptor(&self, arg: usize) -> (i64, String) {
        descriptor(&self.args[arg])
    }

    pub fn string(&self, arg: usize) -> Vec<u8> {
        let text = self.args[arg].trim();
        let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        unhex(inner.unwrap_or_else(|| panic!("{} is no whole string", &text[..text.len().min(80)])))
    }

    /// The first string inside of an argument, as in a vector of buffers.
    pub fn first_string(&self, arg: usize) -> Vec<u8> {
        unhex(self.args[arg].split('"').nth(1).expect("a string"))
    }

    pub fn path(&self, arg: usize) -> String {
        String::from_utf8(self.string(arg)).expect("a path in UTF-8")
    }

    pub fn number(&self, arg: usize) -> u64 {
        self.args[arg].trim().parse().unwrap_or_else(|_| panic!("{} is no number", self.args[arg]))
    }
}

fn descriptor(text: &str) -> (i64, String) {
    let text = text.trim();
    let (number, path) = text.split_once('<').unwrap_or((text, ""));
    let path = path.split('>').next().unwrap_or_default();
    let path = String::from_utf8_lossy(&unhex(path)).into_owned();
    (number.parse().unwrap_or(-1), path)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes();
    if !digits.starts_with(b"\\x") {
        return digits.to_vec();
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a hexadecimal digit") as u8;
    digits.chunks(4).map(|chunk| digit(chunk[2]) << 4 | digit(chunk[3])).collect()
}

/// The calls in the order in which they ended. Those that failed, or never ended, are left out.
pub fn parse(text: &str) -> Vec<Call> {
    let mut calls: Vec<Call> = Vec::new();
    let mut unfinished: BTreeMap<&str, (String, usize)> = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(begun) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(thread, (begun.to_owned(), calls.len()));
            continue;
        }
        let (whole, began) = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let Some((begun, began)) = unfinished.remove(thread) else { continue };
                let ended = resumed.split_once("resumed>").expect("a resumed call").1;
                (format!("{begun}{ended}"), began)
            }
            None => (rest.to_owned(), calls.len()),
        };
        // Short calls are padded before the result.
        let Some((call, result)) = whole.rsplit_once(" = ") else { continue };
        let Some(call) = call.trim_end().strip_suffix(')') else { continue };
        let Some((name, args)) = call.split_once('(') else { continue };
        let result = result.split([' ', '<']).next().unwrap_or_default().parse().unwrap_or(-1);
        if result >= 0 {
            calls.push(Call { name: name.to_owned(), args: split(args), result, began });
        }
    }
    calls
}

fn split(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut depth, mut quoted) = (Vec::new(), String::new(), 0, false);
    for c in text.chars() {
        match c {
            '"' => quoted = !quoted,
            '<' | '[' | '{' if !quoted => depth += 1,
            '>' | ']' | '}' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    parts
}
