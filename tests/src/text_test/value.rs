//! The values of text tests: words as expressions of the width, references as bytes.

use dotvm_arch::{W512, Width};
use dotvm_core::outcome::Ref;
use num_bigint::{BigInt, Sign};

/// Greatest exponent and greatest number of bytes that an expression may ask for.
const MAX_SIZE: u64 = 1 << 20;

/// Splits text at spaces that stand neither in parentheses, brackets nor quotes.
pub fn split(text: &str) -> Result<Vec<&str>, String> {
    let mut items = Vec::new();
    let (mut start, mut depth, mut quoted, mut escaped) = (None, 0usize, false, false);
    for (at, c) in text.char_indices() {
        if c == ' ' && depth == 0 && !quoted {
            items.extend(start.take().map(|start| &text[start..at]));
            continue;
        }
        start.get_or_insert(at);
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' | '[' if !quoted => depth += 1,
            ')' | ']' if !quoted => {
                depth = depth.checked_sub(1).ok_or("`)` without `(`, or `]` without `[`")?
            }
            _ => {}
        }
    }
    if quoted || depth > 0 {
        return Err(format!("{text:?} is not closed"));
    }
    items.extend(start.map(|start| &text[start..]));
    Ok(items)
}

/// The number that an expression stands for; `w` is the width in bits.
pub fn number(text: &str, width: Width) -> Result<BigInt, String> {
    let mut parser = Parser { text, at: 0, width };
    let value = parser.sum()?;
    match parser.peek() {
        None => Ok(value),
        Some(c) => Err(format!("{c:?} is not expected in {text:?}")),
    }
}

/// A word: an expression from −2^(w−1) to 2^w − 1, negative numbers in two's complement.
pub fn word(text: &str, width: Width) -> Result<W512, String> {
    fit(text, number(text, width)?, width.bits())
}

/// A number of the host, which may be wider than a word.
pub fn wide(text: &str, width: Width) -> Result<W512, String> {
    fit(text, number(text, width)?, 512)
}

fn fit(text: &str, value: BigInt, bits: u32) -> Result<W512, String> {
    let modulus: BigInt = BigInt::from(1) << bits;
    let half: BigInt = &modulus >> 1u32;
    if value >= modulus || value < -half {
        return Err(format!("{text} does not fit {bits} bits"));
    }
    let value = if value.sign() == Sign::Minus { value + modulus } else { value };
    let bytes = value.to_bytes_le().1;
    let mut padded = [0; 64];
    padded[..bytes.len()].copy_from_slice(&bytes);
    Ok(W512::from_le_bytes(padded))
}

/// A number of at most 64 bits.
pub fn number64(text: &str, width: Width) -> Result<u64, String> {
    let value = number(text, width)?;
    u64::try_from(value).map_err(|_| format!("{text} is no number of 64 bits"))
}

/// A reference: `null`, `#N` for an integer, `[a b c]` for the cell `[a [b c]]`, or parts one behind the other: `"text"`, `0x` with two digits for each byte, `le(N,LEN)`
/// and `be(N,LEN)` for a number in so many bytes, `rep(BYTE,LEN)` for a byte repeated.
pub fn reference(text: &str, width: Width) -> Result<Ref, String> {
    if text == "null" {
        return Ok(Ref::Null);
    }
    if let Some(expression) = text.strip_prefix('#') {
        return number(expression, width).map(Ref::Int);
    }
    if let Some(parts) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        let mut parts: Vec<Ref> =
            split(parts)?.into_iter().map(|part| reference(part, width)).collect::<Result<_, _>>()?;
        let last = parts.pop().filter(|_| !parts.is_empty());
        let last = last.ok_or_else(|| format!("{text:?} has fewer than two parts"))?;
        return Ok(parts.into_iter().rev().fold(last, |tail, head| Ref::cell(head, tail)));
    }
    let mut bytes = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        rest = part(rest, width, &mut bytes)?;
    }
    Ok(Ref::Bytes(bytes.into()))
}

/// Reads one part of a reference and answers what is behind it.
fn part<'a>(text: &'a str, width: Width, bytes: &mut Vec<u8>) -> Result<&'a str, String> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted_text(quoted, bytes);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
        if end % 2 != 0 {
            return Err(format!("{text:?} does not make whole bytes"));
        }
        for at in (0..end).step_by(2) {
            bytes.extend(u8::from_str_radix(&digits[at..at + 2], 16));
        }
        return Ok(&digits[end..]);
    }
    let (name, arguments) = text.split_once('(').ok_or_else(|| format!("{text:?} is no reference"))?;
    let (arguments, rest) = closing(arguments).ok_or_else(|| format!("{text:?} is not closed"))?;
    let (value, len) = arguments.split_once(',').ok_or_else(|| format!("{name}(…) takes two numbers"))?;
    let len = number64(len.trim(), width)?;
    if len > MAX_SIZE {
        return Err(format!("{len} bytes are too many"));
    }
    let len = len as usize;
    let value = number(value.trim(), width)?;
    let size = if name == "rep" { 1 } else { len };
    let (sign, mut number) = value.to_bytes_le();
    if number == [0] {
        number.clear();
    }
    if sign == Sign::Minus || number.len() > size {
        return Err(format!("{value} does not fit {size} bytes"));
    }
    number.resize(size, 0);
    match name {
        "le" => bytes.extend(number),
        "be" => bytes.extend(number.iter().rev()),
        "rep" => bytes.extend(std::iter::repeat_n(number[0], len)),
        _ => return Err(format!("{name}(…) is not known, only le, be and rep are")),
    }
    Ok(rest)
}

/// Splits at the parenthesis that closes the one before the text.
fn closing(text: &str) -> Option<(&str, &str)> {
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[..at], &text[at + 1..]));
        }
    }
    None
}

fn quoted_text<'a>(text: &'a str, bytes: &mut Vec<u8>) -> Result<&'a str, String> {
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok(&text[at + 1..]),
            '\\' => match chars.next().map(|(_, escape)| escape) {
                Some('n') => bytes.push(b'\n'),
                Some('0') => bytes.push(0),
                Some(c @ ('"' | '\\')) => bytes.push(c as u8),
                _ => return Err(format!("unknown escape in \"{text}")),
            },
            _ => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Err(format!("\"{text} is not closed"))
}

/// Recursive descent over `+ -`, `* / %`, `-`, `^` and parentheses, from loose to tight. `/` rounds down and `%`
/// has the sign of the divisor.
struct Parser<'a> {
    text: &'a str,
    at: usize,
    width: Width,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed.chars().next()
    }

    fn take(&mut self, wanted: &[char]) -> Option<char> {
        let c = self.peek().filter(|c| wanted.contains(c))?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn sum(&mut self) -> Result<BigInt, String> {
        let mut value = self.product()?;
        while let Some(operator) = self.take(&['+', '-']) {
            let right = self.product()?;
            value = if operator == '+' { value + right } else { value - right };
        }
        Ok(value)
    }

    fn product(&mut self) -> Result<BigInt, String> {
        let mut value = self.negation()?;
        while let Some(operator) = self.take(&['*', '/', '%']) {
            let right = self.negation()?;
            if operator == '*' {
                value *= right;
                continue;
            }
            if right.sign() == Sign::NoSign {
                return Err(format!("{:?} divides by zero", self.text));
            }
            let remainder = ((&value % &right) + &right) % &right;
            value = if operator == '%' { remainder } else { (value - remainder) / right };
        }
        Ok(value)
    }

    fn negation(&mut self) -> Result<BigInt, String> {
        match self.take(&['-']) {
            Some(_) => Ok(-self.negation()?),
            None => self.power(),
        }
    }

    fn power(&mut self) -> Result<BigInt, String> {
        let base = self.atom()?;
        if self.take(&['^']).is_none() {
            return Ok(base);
        }
        let exponent = self.negation()?;
        let exponent = u32::try_from(&exponent)
            .ok()
            .filter(|&exponent| u64::from(exponent) <= MAX_SIZE)
            .ok_or_else(|| format!("the exponent {exponent} is out of range"))?;
        Ok(base.pow(exponent))
    }

    fn atom(&mut self) -> Result<BigInt, String> {
        if self.take(&['(']).is_some() {
            let value = self.sum()?;
            return match self.take(&[')']) {
                Some(_) => Ok(value),
                None => Err(format!("`)` is missing in {:?}", self.text)),
            };
        }
        if self.take(&['w']).is_some() {
            return Ok(self.width.bits().into());
        }
        self.peek();
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.at += end;
        let plain = rest[..end].replace('_', "");
        let number = match plain.strip_prefix("0x") {
            Some(digits) => BigInt::parse_bytes(digits.as_bytes(), 16),
            None => BigInt::parse_bytes(plain.as_bytes(), 10),
        };
        number.ok_or_else(|| format!("{:?} has no number at {rest:?}", self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_follow_the_rules_of_arithmetic() {
        let value = |text: &str| number(text, Width::W64).unwrap();
        assert_eq!(value("2^w-1"), BigInt::from(u64::MAX));
        assert_eq!(value("-2^(w-1)"), BigInt::from(i64::MIN));
        assert_eq!(value("2 + 3 * (4 - 1)^2"), BigInt::from(29));
        assert_eq!(value("-7 / 2"), BigInt::from(-4));
        assert_eq!(value("-7 % 4"), BigInt::from(1));
        assert_eq!(value("0xFF_00 % 2^8 + w/8"), BigInt::from(8));
        assert_eq!(value("2^3^2"), BigInt::from(512));
        for bad in ["", "1 +", "(1", "2)", "x", "1/0", "2^-1", "0xg", "1 2"] {
            assert!(number(bad, Width::W64).is_err(), "{bad}");
        }
    }

    #[test]
    fn words_fit_the_width() {
        assert_eq!(word("-1", Width::W32).unwrap(), W512::from(u32::MAX));
        assert_eq!(word("-2^(w-1)", Width::W32).unwrap(), W512::from(1u32 << 31));
        assert_eq!(word("2^w-1", Width::W512).unwrap(), W512::MAX);
        for bad in ["2^w", "-2^(w-1)-1"] {
            assert!(word(bad, Width::W32).is_err(), "{bad}");
        }
    }

    #[test]
    fn references_are_made_of_parts() {
        let bytes = |text: &str| reference(text, Width::W64);
        let is = |data: &[u8]| Ok(Ref::Bytes(data.to_vec().into()));
        assert_eq!(bytes("null"), Ok(Ref::Null));
        assert_eq!(bytes("\"\""), is(b""));
        assert_eq!(bytes("\"a\\n\\\"\"0x00ff\"b\""), is(b"a\n\"\x00\xffb"));
        assert_eq!(bytes("le(2^9+1,4)be(258,2)rep(7,3)"), is(&[1, 2, 0, 0, 1, 2, 7, 7, 7]));
        assert_eq!(bytes("be((1+1)*3,w/32)"), is(&[0, 6]));
        assert_eq!(bytes("#-2^70"), Ok(Ref::Int(BigInt::from(-1) << 70)));
        let cell = Ref::cell(Ref::cell(1.into(), Ref::Null), Ref::cell(is(b"x y").unwrap(), 64.into()));
        assert_eq!(bytes("[[#1 null] \"x y\" #w]"), Ok(cell));
        for bad in [
            "[#1]",
            "[]",
            "#",
            "[#1 #2",
            "0x123",
            "abc",
            "le(256,1)",
            "le(1",
            "xx(1,1)",
            "\"a",
            "rep(1,2^40)",
        ] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn lists_are_split_at_spaces_outside_of_parentheses_and_quotes() {
        assert_eq!(
            split("1 (2 - 1) \"a b\"0x00 le(1, 2)").unwrap(),
            ["1", "(2 - 1)", "\"a b\"0x00", "le(1, 2)"]
        );
        assert!(split("(1").is_err() && split("1)").is_err() && split("\"").is_err());
    }
}
