//! Operations on values: sections 6.1 and 6.2 of the reference.

use crate::file::{Value, cut};
use crate::objects::Objects;

type Code = u64;

pub const I32: u8 = 3;
pub const I64: u8 = 4;
pub const U64: u8 = 8;
pub const F32: u8 = 9;
pub const F64: u8 = 10;
pub const CHAR: u8 = 11;
pub const BOOL: u8 = 12;
pub const PTR: u8 = 13;

pub fn is_integer(ty: u8) -> bool {
    (1..=8).contains(&ty)
}

pub fn is_float(ty: u8) -> bool {
    ty == F32 || ty == F64
}

/// The number that an integer, char or bool is.
pub fn number(value: Value) -> i128 {
    if (1..=4).contains(&value.ty) { (value.bits as i64).into() } else { value.bits.into() }
}

pub fn float(value: Value) -> f64 {
    if value.ty == F32 { f32::from_bits(value.bits as u32).into() } else { f64::from_bits(value.bits) }
}

fn of_number(ty: u8, number: i128) -> Value {
    Value { ty, bits: cut(ty, number as u64) }
}

pub fn of_float(ty: u8, number: f64) -> Value {
    let bits = if ty == F32 { (number as f32).to_bits().into() } else { number.to_bits() };
    Value { ty, bits }
}

pub fn of_bool(truth: bool) -> Value {
    Value { ty: BOOL, bits: truth.into() }
}

pub fn truth(value: Value) -> bool {
    if is_float(value.ty) { float(value) != 0.0 } else { value.bits != 0 }
}

fn bits_of(ty: u8) -> u32 {
    crate::file::size(ty) as u32 * 8
}

pub fn binary(op: u8, a: Value, b: Value, objects: &Objects, unchecked: bool) -> Result<Value, Code> {
    if op == 0x1C || op == 0x1D {
        let (a, b) = (truth(a), truth(b));
        return Ok(of_bool(if op == 0x1C { a && b } else { a || b }));
    }
    let moved =
        |ptr: Value, by: i128| objects.move_by(ptr.bits, by, unchecked).map(|bits| Value { ty: PTR, bits });
    match (op, a.ty, b.ty) {
        (0x11, PTR, ty) if is_integer(ty) => return moved(a, number(b)),
        (0x11, ty, PTR) if is_integer(ty) => return moved(b, number(a)),
        (0x12, PTR, ty) if is_integer(ty) => return moved(a, -number(b)),
        (0x12, PTR, PTR) => return objects.distance(a.bits, b.bits).map(|bits| Value { ty: I64, bits }),
        _ => {}
    }
    let ty = a.ty;
    if ty != b.ty {
        return Err(16);
    }
    if is_float(ty) {
        // Rounding a result of binary64 to binary32 is rounding once, for these four operations.
        let (a, b) = (float(a), float(b));
        return Ok(of_float(
            ty,
            match op {
                0x11 => a + b,
                0x12 => a - b,
                0x13 => a * b,
                0x14 => a / b,
                _ => return Err(16),
            },
        ));
    }
    let is_logic = (0x16..=0x18).contains(&op);
    if !(is_integer(ty) || ty == CHAR || ty == BOOL && is_logic) {
        return Err(16);
    }
    let (a, b) = (number(a), number(b));
    let count = (b & i128::from(bits_of(ty) - 1)) as u32;
    Ok(of_number(
        ty,
        match op {
            0x11 => a + b,
            0x12 => a - b,
            0x13 => a.wrapping_mul(b),
            0x14 | 0x15 if b == 0 => return Err(15),
            0x14 => a / b,
            0x15 => a % b,
            0x16 => a & b,
            0x17 => a | b,
            0x18 => a ^ b,
            0x19 => a << count,
            _ => a >> count,
        },
    ))
}

pub fn unary(op: u8, a: Value, objects: &Objects, unchecked: bool) -> Result<Value, Code> {
    let is_number = is_integer(a.ty) || a.ty == CHAR;
    match op {
        0x1E => Ok(of_bool(!truth(a))),
        0x1B if a.ty == BOOL => Ok(Value { bits: a.bits ^ 1, ..a }),
        0x1B if is_number => Ok(of_number(a.ty, !number(a))),
        0x28 | 0x29 => {
            let by = if op == 0x28 { 1 } else { -1 };
            match a.ty {
                PTR => objects.move_by(a.bits, by, unchecked).map(|bits| Value { bits, ..a }),
                F32 | F64 => Ok(of_float(a.ty, float(a) + by as f64)),
                _ if is_number => Ok(of_number(a.ty, number(a) + by)),
                _ => Err(16),
            }
        }
        0x2A if is_integer(a.ty) => Ok(of_number(a.ty, -number(a))),
        0x2A if is_float(a.ty) => Ok(of_float(a.ty, -float(a))),
        _ => Err(16),
    }
}

/// Compares as the instructions eq ge gt le lt ne do, in that order.
pub fn compare(how: u8, a: Value, b: Value, objects: &Objects) -> Result<bool, Code> {
    let ordering = match (a.ty, b.ty) {
        (PTR, PTR) if how == 0 || how == 5 => match (objects.chars(a.bits), objects.chars(b.bits)) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => Some(a.bits.cmp(&b.bits)),
        },
        (PTR, PTR) if a.bits >> 32 == b.bits >> 32 && a.bits >> 32 != 0 => Some(a.bits.cmp(&b.bits)),
        (PTR, ty) if is_integer(ty) && (how == 0 || how == 5) => Some(i128::from(a.bits).cmp(&number(b))),
        (ty, PTR) if is_integer(ty) && (how == 0 || how == 5) => Some(number(a).cmp(&b.bits.into())),
        (a, b) if a != b => return Err(16),
        (ty, _) if is_float(ty) => float(a).partial_cmp(&float(b)),
        (BOOL, _) if how != 0 && how != 5 => return Err(16),
        (PTR, _) => return Err(16),
        _ => Some(number(a).cmp(&number(b))),
    };
    let Some(ordering) = ordering else { return Ok(how == 5) };
    Ok(match how {
        0 => ordering.is_eq(),
        1 => ordering.is_ge(),
        2 => ordering.is_gt(),
        3 => ordering.is_le(),
        4 => ordering.is_lt(),
        _ => ordering.is_ne(),
    })
}

/// A float to an integer type or char.
fn saturated(ty: u8, number: f64) -> Value {
    let bits = bits_of(ty);
    let is_signed = (1..=4).contains(&ty);
    let (least, greatest) = if is_signed {
        (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1)
    } else {
        (0, (1i128 << bits) - 1)
    };
    of_number(ty, (number as i128).clamp(least, greatest))
}

/// `conv`.
pub fn convert(to: u8, a: Value) -> Result<Value, Code> {
    match (a.ty, to) {
        (PTR, I64 | U64) | (I64 | U64, PTR) => Ok(Value { ty: to, bits: a.bits }),
        (PTR, _) | (_, PTR) => Err(16),
        (_, BOOL) => Ok(of_bool(truth(a))),
        (from, F32) if !is_float(from) => Ok(Value { ty: F32, bits: (number(a) as f32).to_bits().into() }),
        (from, F64) if !is_float(from) => Ok(of_float(F64, number(a) as f64)),
        (_, F32 | F64) => Ok(of_float(to, float(a))),
        (F32 | F64, _) => Ok(saturated(to, float(a))),
        _ => Ok(of_number(to, number(a))),
    }
}

pub fn float_text(value: Value) -> String {
    let text = if value.ty == F32 {
        format!("{}", f32::from_bits(value.bits as u32))
    } else {
        format!("{}", f64::from_bits(value.bits))
    };
    match &text[..] {
        "NaN" => "nan".to_owned(),
        _ if text.contains('.') || text.contains("inf") => text,
        _ => format!("{text}.0"),
    }
}

/// The named conversions, 31 to 44.
pub fn named(op: u8, a: Value, objects: &mut Objects) -> Result<Value, Code> {
    let demand = |fits: bool| if fits { Ok(()) } else { Err(16u64) };
    let text =
        |objects: &mut Objects, text: &str| objects.text(text.as_bytes()).map(|bits| Value { ty: PTR, bits });
    match op {
        0x31..=0x35 => demand(is_integer(a.ty))?,
        0x36..=0x39 => demand(is_float(a.ty))?,
        0x3E | 0x3F | 0x42 | 0x43 => demand(a.ty == CHAR)?,
        0x40 | 0x41 => demand(a.ty == PTR)?,
        0x44 => demand(a.ty == BOOL)?,
        _ => {}
    }
    match op {
        0x31 | 0x42 => convert(F64, a),
        0x32 => text(objects, &number(a).to_string()),
        0x33 | 0x38 | 0x3F => Ok(of_bool(truth(a))),
        0x34 => Ok(of_number(CHAR, number(a))),
        0x35 => Ok(Value { ty: PTR, bits: a.bits }),
        0x36 | 0x43 => convert(I32, a),
        0x37 => text(objects, &float_text(a)),
        0x39 => Ok(of_number(CHAR, number(convert(I32, a)?))),
        0x3A..=0x3D => {
            let bytes = objects.text_at(a)?;
            if op == 0x3D {
                return Ok(of_number(CHAR, bytes.first().copied().unwrap_or(0).into()));
            }
            let text = String::from_utf8(bytes).map_err(|_| 17u64)?;
            match op {
                0x3A => {
                    let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
                    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                        return Err(17);
                    }
                    text.parse::<i32>().map(|number| of_number(I32, number.into())).map_err(|_| 17)
                }
                0x3B => {
                    // Rust takes what the reference does, and words such as inf.
                    let plain = text
                        .bytes()
                        .all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
                    let number = text.parse::<f64>().map_err(|_| 17u64)?;
                    if plain { Ok(of_float(F64, number)) } else { Err(17) }
                }
                _ => match &text[..] {
                    "true" | "1" => Ok(of_bool(true)),
                    "false" | "0" => Ok(of_bool(false)),
                    _ => Err(17),
                },
            }
        }
        0x3E => {
            let bits = objects.text(&[a.bits as u8])?;
            Ok(Value { ty: PTR, bits })
        }
        0x40 => Ok(Value { ty: I64, bits: a.bits }),
        0x41 => text(objects, &format!("{:#x}", a.bits)),
        _ => text(objects, if a.bits == 0 { "false" } else { "true" }),
    }
}
