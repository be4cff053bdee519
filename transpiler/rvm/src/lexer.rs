//! Lines of assembly text to tokens.

/// A token of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Token<'a> {
    /// A name or mnemonic.
    Word(&'a [u8]),
    /// A number as it is written.
    Number(&'a [u8]),
    /// A char.
    Char(u8),
    /// A text.
    Text(Vec<u8>),
    /// A directive without its point.
    Directive(&'a [u8]),
    /// One of `[ ] : < >`.
    Sign(u8),
}

/// A token with its place: offset and length in the line.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed<'a> {
    /// The token.
    pub token: Token<'a>,
    /// Offset in bytes.
    pub at: usize,
    /// Length in bytes.
    pub len: usize,
}

/// Why a line has no tokens: offset, length, sentence, hint.
pub type Wrong = (usize, usize, String, Option<String>);

fn is_name_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

/// Whether a byte can be within a name.
pub fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The tokens of a line, up to a comment.
///
/// # Errors
/// Where no token begins, or one does not end.
pub fn tokens<'a>(line: &'a [u8], out: &mut Vec<Placed<'a>>) -> Result<(), Wrong> {
    out.clear();
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        let start = at;
        let next = line.get(at + 1).copied().unwrap_or(0);
        let token = match byte {
            b' ' | b'\t' | b'\r' | 0x0C => {
                at += 1;
                continue;
            }
            b';' => break,
            b'/' if next == b'/' => break,
            b'"' => Token::Text(text(line, &mut at)?),
            b'\'' => Token::Char(char(line, &mut at)?),
            b'[' | b']' | b':' | b'<' | b'>' => {
                at += 1;
                Token::Sign(byte)
            }
            b'.' if is_name_start(next) => {
                at += 1;
                Token::Directive(word(line, &mut at))
            }
            b'.' | b'-' | b'0'..=b'9' => Token::Number(number(line, &mut at)),
            _ if is_name_start(byte) => Token::Word(word(line, &mut at)),
            _ => {
                let end = line[start..].iter().skip(1).take_while(|byte| **byte & 0xC0 == 0x80).count();
                let shown = String::from_utf8_lossy(&line[start..start + 1 + end]);
                return Err((start, 1 + end, format!("{shown:?} begins no token"), None));
            }
        };
        out.push(Placed { token, at: start, len: at - start });
    }
    Ok(())
}

fn word<'a>(line: &'a [u8], at: &mut usize) -> &'a [u8] {
    let start = *at;
    *at += line[start..].iter().take_while(|byte| is_name_byte(**byte)).count();
    &line[start..*at]
}

/// A number is all that stands together: whether it is one is seen when its type is known.
fn number<'a>(line: &'a [u8], at: &mut usize) -> &'a [u8] {
    let start = *at;
    *at += 1;
    while let Some(&byte) = line.get(*at) {
        let is_exponent_sign = matches!(byte, b'-' | b'+')
            && matches!(line[*at - 1], b'e' | b'E')
            && !line[start..].starts_with(b"0x")
            && !line[start..].starts_with(b"-0x");
        if !is_name_byte(byte) && byte != b'.' && !is_exponent_sign {
            break;
        }
        *at += 1;
    }
    &line[start..*at]
}

/// One byte of a literal, behind which `at` is left.
fn unit(line: &[u8], at: &mut usize) -> Result<u8, Wrong> {
    let byte = line[*at];
    *at += 1;
    if byte != b'\\' {
        return Ok(byte);
    }
    let escape = line.get(*at).copied().unwrap_or(0);
    *at += 1;
    Ok(match escape {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'0' => 0,
        b'\\' | b'"' | b'\'' => escape,
        b'x' => {
            let digits = line.get(*at..*at + 2).and_then(|digits| {
                let digit = |index: usize| char::from(digits[index]).to_digit(16);
                Some(digit(0)? * 16 + digit(1)?)
            });
            let Some(value) = digits else {
                let hint = "for example \\x1B".to_owned();
                return Err((*at - 2, 2, "\\x takes two hexadecimal digits".to_owned(), Some(hint)));
            };
            *at += 2;
            value as u8
        }
        _ => {
            let hint = "the escapes are \\n \\r \\t \\0 \\\\ \\\" \\' \\xHH".to_owned();
            return Err((
                *at - 2,
                2.min(line.len() - (*at - 2)),
                "there is no such escape".to_owned(),
                Some(hint),
            ));
        }
    })
}

fn text(line: &[u8], at: &mut usize) -> Result<Vec<u8>, Wrong> {
    let start = *at;
    *at += 1;
    let mut bytes = Vec::new();
    loop {
        match line.get(*at) {
            None => {
                return Err((
                    start,
                    line.len() - start,
                    "the text does not end on this line".to_owned(),
                    None,
                ));
            }
            Some(b'"') => {
                *at += 1;
                return Ok(bytes);
            }
            Some(_) => bytes.push(unit(line, at)?),
        }
    }
}

fn char(line: &[u8], at: &mut usize) -> Result<u8, Wrong> {
    let start = *at;
    *at += 1;
    let wrong = |len: usize| {
        let hint = "a char is one byte between apostrophes: 'a', '\\n', '\\xE9'".to_owned();
        Err((start, len, "this is no char".to_owned(), Some(hint)))
    };
    match line.get(*at) {
        None | Some(b'\'') => return wrong(1),
        Some(_) => {}
    }
    let byte = unit(line, at)?;
    if line.get(*at) != Some(&b'\'') {
        let len = line[start + 1..]
            .iter()
            .position(|byte| *byte == b'\'')
            .map_or(line.len() - start, |end| end + 2);
        return wrong(len);
    }
    *at += 1;
    Ok(byte)
}
