//! Literals of assembly text (`docs/machines/rvm.md`, sections 3 and 8).

use crate::lexer::Token;
use crate::model::TEXT_BYTES;
use crate::types::{Constant, Type};

/// A whole number with its sign.
fn whole(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    if !digits.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let number = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            i128::from_str_radix(digits, 16).ok()?
        }
        Some(_) => return None,
        None if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
        None => return None,
    };
    Some(sign * number)
}

/// Whether it is a decimal number with point or exponent, or a whole one.
fn is_decimal(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    digits(before) && digits(behind) && !(before.is_empty() && behind.is_empty()) && exponent_fits
}

fn range(ty: Type) -> (i128, i128) {
    let bits = ty.size() as u32 * 8;
    if ty.is_signed() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

fn float(text: &[u8], ty: Type) -> Result<Constant, String> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let number =
        if is_decimal(text) { text.parse::<f64>().ok() } else { whole(text.as_bytes()).map(|n| n as f64) };
    let bits = match (number, ty) {
        (None, _) => return Err(format!("{text} is no number")),
        (Some(number), Type::F64) => number.is_finite().then_some(number.to_bits()),
        (Some(number), _) => {
            // From the digits at once, so that it is rounded once.
            let single =
                if is_decimal(text) { text.parse::<f32>().unwrap_or(f32::NAN) } else { number as f32 };
            single.is_finite().then_some(u64::from(single.to_bits()))
        }
    };
    bits.map(|bits| Constant::Plain(ty, bits)).ok_or_else(|| format!("{text} is beyond the greatest {ty}"))
}

/// The constant that a token is, of a type if one is asked for.
///
/// # Errors
/// A sentence, if it is none, or none of that type.
pub fn constant(token: &Token<'_>, ty: Option<Type>) -> Result<Constant, String> {
    match (token, ty) {
        (Token::Number(text), None) => {
            if let Some(number) = whole(text) {
                for ty in [Type::I32, Type::I64, Type::U64] {
                    let (least, greatest) = range(ty);
                    if (least..=greatest).contains(&number) {
                        return Ok(Constant::Plain(ty, number as u64));
                    }
                }
                return Err(format!("{} fits no integer type", String::from_utf8_lossy(text)));
            }
            float(text, Type::F64)
        }
        (Token::Number(text), Some(ty)) if ty.is_float() => float(text, ty),
        (Token::Number(text), Some(Type::Ptr)) => {
            Err(format!("{} is no ptr: null or a text is", String::from_utf8_lossy(text)))
        }
        (Token::Number(text), Some(ty)) => {
            let shown = String::from_utf8_lossy(text);
            let Some(number) = whole(text) else {
                return Err(format!("{shown} is no whole number, which {ty} takes"));
            };
            let (least, greatest) = if ty == Type::Bool { (0, 1) } else { range(ty) };
            if !(least..=greatest).contains(&number) {
                return Err(format!("{shown} does not fit {ty}, which goes from {least} to {greatest}"));
            }
            Ok(Constant::Plain(ty, number as u64))
        }
        (Token::Char(char), None | Some(Type::Char)) => Ok(Constant::Plain(Type::Char, (*char).into())),
        (Token::Text(text), None | Some(Type::Ptr)) => {
            if text.len() > TEXT_BYTES {
                return Err(format!("a text has at most {TEXT_BYTES} bytes, and this has {}", text.len()));
            }
            Ok(Constant::Text(text[..].into()))
        }
        (Token::Word(b"true"), None | Some(Type::Bool)) => Ok(Constant::Plain(Type::Bool, 1)),
        (Token::Word(b"false"), None | Some(Type::Bool)) => Ok(Constant::Plain(Type::Bool, 0)),
        (Token::Word(b"null"), None | Some(Type::Ptr)) => Ok(Constant::NULL),
        (Token::Word(b"true" | b"false" | b"null") | Token::Char(_) | Token::Text(_), Some(ty)) => {
            Err(format!("this is no literal of {ty}"))
        }
        _ => Err("this is no literal".to_owned()),
    }
}
