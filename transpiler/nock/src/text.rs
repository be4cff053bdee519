//! Nouns as text: `[a b c]` is `[a [b c]]`; atoms are decimal (dots between digits are passed over), `0x` and
//! hexadecimal, `'text'` or `%text` (UTF-8, low byte first), `~` for 0, `&` for yes (0) and `|` for no (1).

use std::fmt;

use dotvm_core::value::Ref;
use num_bigint::{BigInt, BigUint, Sign};

/// Text that is no noun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// What is wrong, a sentence without full stop.
    pub message: String,
    /// Line, from 1.
    pub line: usize,
    /// Character within the line, from 1.
    pub column: usize,
    /// The line, or what lies around the place if it is long, and below it a caret at the place.
    pub excerpt: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}\n{}", self.line, self.column, self.message, self.excerpt)
    }
}

impl std::error::Error for TextError {}

/// Characters shown on either side of a wrong place.
const AROUND: usize = 30;

impl TextError {
    fn new(source: &str, at: usize, message: impl Into<String>) -> TextError {
        let start = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let before: Vec<char> = source[start..at].chars().collect();
        let after = source[at..].split('\n').next().unwrap_or_default();
        let shown = &before[before.len().saturating_sub(AROUND)..];
        let plain = |c: &char| if c.is_control() { ' ' } else { *c };
        let excerpt = format!(
            "  {}{}\n  {}^",
            shown.iter().map(plain).collect::<String>(),
            after.chars().take(AROUND).map(|c| plain(&c)).collect::<String>(),
            " ".repeat(shown.len()),
        );
        let line = source[..at].matches('\n').count() + 1;
        TextError { message: message.into(), line, column: before.len() + 1, excerpt }
    }
}

/// Reads one noun.
///
/// # Errors
/// With the place, if the text is not one noun.
pub fn parse(source: &str) -> Result<Ref, TextError> {
    parse_nouns(source, 1).map(|mut nouns| nouns.pop().unwrap_or_default())
}

fn parse_nouns(source: &str, count: usize) -> Result<Vec<Ref>, TextError> {
    // Where each open bracket is, and the nouns behind it.
    let mut open: Vec<(usize, Vec<Ref>)> = Vec::new();
    let mut outer: Vec<Ref> = Vec::new();
    let mut at = 0;
    while let Some(c) = source[at..].chars().next() {
        let noun = match c {
            c if c.is_whitespace() || c == ',' => {
                at += c.len_utf8();
                continue;
            }
            _ if open.is_empty() && outer.len() == count => {
                return Err(TextError::new(source, at, "there is more behind the noun"));
            }
            '[' => {
                open.push((at, Vec::new()));
                at += 1;
                continue;
            }
            ']' => {
                let Some((start, parts)) = open.pop() else {
                    return Err(TextError::new(source, at, "this bracket closes nothing"));
                };
                if parts.len() < 2 {
                    return Err(TextError::new(source, start, "a cell has at least two parts"));
                }
                at += 1;
                let mut parts = parts.into_iter().rev();
                let last = parts.next().unwrap_or_default();
                parts.fold(last, |tail, head| Ref::cell(head, tail))
            }
            _ => {
                let (atom, len) = atom(source, at)?;
                at += len;
                let follows = source[at..].chars().next();
                if follows.is_some_and(|c| !c.is_whitespace() && !matches!(c, '[' | ']' | ',')) {
                    return Err(TextError::new(source, at, "a blank or a bracket is missing here"));
                }
                Ref::Int(BigInt::from_biguint(Sign::Plus, atom))
            }
        };
        open.last_mut().map_or(&mut outer, |(_, parts)| parts).push(noun);
    }
    match open.pop() {
        Some((start, _)) => Err(TextError::new(source, start, "this bracket is not closed")),
        None if outer.len() < count => Err(TextError::new(source, source.len(), "a noun is missing")),
        None => Ok(outer),
    }
}

/// The atom at a place, and its length in bytes.
fn atom(source: &str, at: usize) -> Result<(BigUint, usize), TextError> {
    let rest = &source[at..];
    let number = |digits: &str, radix: u32| {
        let plain: Vec<u8> = digits.bytes().filter(|digit| *digit != b'.').collect();
        BigUint::parse_bytes(&plain, radix)
    };
    let span = |from: usize, fits: fn(char) -> bool| {
        rest[from..].find(|c: char| !fits(c)).map_or(rest.len(), |end| from + end)
    };
    let first = rest.chars().next().unwrap_or_default();
    match first {
        '~' => Ok((BigUint::ZERO, 1)),
        '&' => Ok((BigUint::ZERO, 1)),
        '|' => Ok((BigUint::from(1u8), 1)),
        '%' => {
            let end = span(1, |c| c.is_alphanumeric() || matches!(c, '-' | '_'));
            if end == 1 {
                return Err(TextError::new(source, at, "a name follows %"));
            }
            Ok((BigUint::from_bytes_le(&rest.as_bytes()[1..end]), end))
        }
        '\'' => match rest[1..].find('\'') {
            Some(end) => Ok((BigUint::from_bytes_le(&rest.as_bytes()[1..=end]), end + 2)),
            None => Err(TextError::new(source, at, "this text is not closed")),
        },
        '0' if rest.starts_with("0x") => {
            let end = span(2, |c| c.is_ascii_hexdigit() || c == '.');
            let wrong = || TextError::new(source, at, "hexadecimal digits follow 0x");
            Ok((number(&rest[2..end], 16).ok_or_else(wrong)?, end))
        }
        '0'..='9' => {
            let end = span(0, |c| c.is_ascii_digit() || c == '.');
            let wrong = || TextError::new(source, at, "this is no number");
            Ok((number(&rest[..end], 10).ok_or_else(wrong)?, end))
        }
        _ => Err(TextError::new(source, at, format!("{first:?} begins no noun"))),
    }
}

/// How nouns are shown.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Lines longer than this are broken at cells; 0: all on one line.
    pub width: usize,
    /// Whether atoms that are text of at least two characters are shown as such.
    pub cords: bool,
    /// Characters after which the rest is left out.
    pub limit: usize,
}

impl Style {
    /// All of it on one line, numbers only: what [`parse`] reads back.
    pub const PLAIN: Style = Style { width: 0, cords: false, limit: usize::MAX };
    /// For people.
    pub const PRETTY: Style = Style { width: 100, cords: true, limit: 1 << 20 };
}

/// What is still to be written.
enum Task<'a> {
    /// A noun, whether it is the tail of a cell whose bracket is open, and how far lines are indented.
    Show(&'a Ref, bool, usize),
    Close,
    /// What lies between two parts, and the indent there if it is a new line.
    Gap(Option<usize>),
}

/// A noun as text.
pub fn show(noun: &Ref, style: Style) -> String {
    let mut text = String::new();
    let mut tasks = vec![Task::Show(noun, false, 0)];
    while let Some(task) = tasks.pop() {
        if text.len() > style.limit {
            text.push('…');
            break;
        }
        match task {
            Task::Close => text.push(']'),
            Task::Gap(None) => text.push(' '),
            Task::Gap(Some(indent)) => {
                text.push('\n');
                text.extend(std::iter::repeat_n(' ', indent));
            }
            Task::Show(Ref::Cell(cell), is_tail, indent) => {
                let indent = if is_tail { indent } else { indent + 1 };
                if !is_tail {
                    text.push('[');
                    tasks.push(Task::Close);
                }
                let is_short = style.width == 0
                    || fits(noun_of(cell.head()), style.width) && fits(noun_of(cell.tail()), style.width);
                tasks.push(Task::Show(cell.tail(), true, indent));
                tasks.push(Task::Gap(if is_short { None } else { Some(indent) }));
                tasks.push(Task::Show(cell.head(), false, indent));
            }
            Task::Show(Ref::Int(number), ..) => {
                let cord = if style.cords { cord(number.magnitude()) } else { None };
                text.push_str(&cord.unwrap_or_else(|| number.to_string()));
            }
            Task::Show(other, ..) => text.push_str(&other.text(100)),
        }
    }
    text
}

fn noun_of(noun: &Ref) -> &Ref {
    noun
}

/// Whether a noun takes no more than a width; looks at no more parts than that.
fn fits(noun: &Ref, width: usize) -> bool {
    let mut left = width as i64;
    let mut rest = vec![noun];
    while let Some(noun) = rest.pop() {
        match noun {
            Ref::Cell(cell) => {
                left -= 2;
                rest.extend([cell.tail(), cell.head()]);
            }
            Ref::Int(number) => left -= number.bits() as i64 / 4 + 1,
            _ => left -= 4,
        }
        if left < 0 {
            return false;
        }
    }
    true
}

/// An atom as text, if it is some: letters, digits and signs of ASCII, at least two.
fn cord(atom: &BigUint) -> Option<String> {
    if atom.bits() < 9 || atom.bits() > 4096 {
        return None;
    }
    let bytes = atom.to_bytes_le();
    let is_text = bytes.iter().all(|byte| (b' '..0x7F).contains(byte) && *byte != b'\'')
        && bytes[0].is_ascii_alphabetic();
    is_text.then(|| format!("'{}'", String::from_utf8_lossy(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back() {
        for text in
            ["0", "[1 2 3]", "[[1 2] 3 4]", "340282366920938463463374607431768211456", "[[[1 2] 3] 4]"]
        {
            assert_eq!(show(&parse(text).unwrap(), Style::PLAIN), text);
        }
        let same = |a: &str, b: &str| assert_eq!(parse(a).unwrap(), parse(b).unwrap(), "{a} and {b}");
        same("[1 [2 3]]", "[1 2 3]");
        same("['ab' %ab ~ 0x1f & |]", "[25185 25185 0 31 0 1]");
        same("1.000.000", "1000000");
        same(" [ 1\n2 ] ", "[1 2]");
    }

    #[test]
    fn what_is_wrong_is_shown_where_it_is() {
        for (text, line, column, message) in [
            ("", 1, 1, "a noun is missing"),
            ("[1 2", 1, 1, "not closed"),
            ("[1\n 2]]", 2, 4, "there is more"),
            ("[1 (2)]", 1, 4, "begins no noun"),
            ("[1 [2] 3]", 1, 4, "at least two parts"),
            ("1 2", 1, 3, "there is more"),
            ("]", 1, 1, "closes nothing"),
            ("[1 2x]", 1, 5, "blank"),
            ("'ab", 1, 1, "not closed"),
            ("0x", 1, 1, "hexadecimal"),
            ("[é ?]", 1, 2, "begins no noun"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.line, error.column), (line, column), "{text}: {error}");
            assert!(error.message.contains(message), "{text}: {error}");
        }
        assert_eq!(parse("[1 (2)]").unwrap_err().excerpt, "  [1 (2)]\n     ^");
    }

    #[test]
    fn deep_nouns_are_read_and_shown() {
        let deep = format!("{}1{}", "[".repeat(200_000), " 1]".repeat(200_000));
        let noun = parse(&deep).unwrap();
        assert_eq!(show(&noun, Style::PLAIN), deep);
        assert!(show(&noun, Style::PRETTY).len() > 200_000);
    }
}
