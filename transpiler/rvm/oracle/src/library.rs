//! The system libraries: section 12 of the reference.

use crate::arithmetic::{
    CHAR, F32, I32, PTR, U64, float, float_text, is_float, is_integer, number, of_float,
};
use crate::file::{Value, cut};
use crate::machine::{Event, Machine, Status};
use crate::objects::Cells;

/// Library, function, values taken.
pub type Entry = (&'static str, &'static str, usize);

pub const FUNCTIONS: &[Entry] = &[
    ("io", "print", 1),
    ("io", "println", 1),
    ("io", "out", 1),
    ("io", "in", 0),
    ("io", "readln", 0),
    ("str", "len", 1),
    ("str", "concat", 2),
    ("mem", "alloc", 2),
    ("mem", "free", 1),
    ("mem", "set", 2),
    ("mem", "size", 1),
    ("math", "abs", 1),
    ("math", "min", 2),
    ("math", "max", 2),
    ("math", "sqrt", 1),
    ("math", "pow", 2),
    ("rand", "seed", 1),
    ("rand", "next", 0),
    ("vm", "thread_create", 2),
    ("vm", "thread_join", 1),
    ("vm", "thread_detach", 1),
    ("vm", "thread_cancel", 1),
    ("vm", "thread_exit", 1),
    ("vm", "thread_self", 0),
    ("vm", "yield", 0),
    ("vm", "catch", 1),
    ("vm", "uncatch", 0),
    ("vm", "throw", 1),
    ("os", "exit", 1),
    ("os", "argc", 0),
    ("os", "arg", 1),
    ("dll", "load", 1),
    ("dll", "loadfunc", 2),
    ("dll", "callfunc", 1),
    ("dll", "unload", 1),
];

type Done<T = ()> = Result<T, Event>;

fn demand(fits: bool) -> Done {
    if fits { Ok(()) } else { Err(Event::Error(16)) }
}

fn is_int(value: Value) -> bool {
    is_integer(value.ty) || value.ty == CHAR
}

fn is_num(value: Value) -> bool {
    is_integer(value.ty) || is_float(value.ty)
}

/// Repeated multiplication, with the same result as doing all of it.
fn float_power(a: Value, count: u64) -> Value {
    let by = float(a);
    let mut result = of_float(a.ty, 1.0);
    let mut before = None;
    for step in 0..count {
        let next = of_float(a.ty, float(result) * by);
        if next == result || float(next).is_nan() {
            return next;
        }
        if before == Some(next) {
            // From here on two results alternate.
            return if (count - step) % 2 == 1 { next } else { result };
        }
        before = Some(result);
        result = next;
    }
    result
}

impl Machine {
    fn shown(&mut self, value: Value) -> Vec<u8> {
        match value.ty {
            CHAR => vec![value.bits as u8],
            12 => if value.bits == 0 { "false" } else { "true" }.into(),
            PTR if value.bits == 0 => "null".into(),
            PTR => match self.objects.chars(value.bits) {
                Some(text) => text,
                None => format!("{:#x}", value.bits).into(),
            },
            _ if is_float(value.ty) => float_text(value).into(),
            _ => number(value).to_string().into(),
        }
    }

    fn push_text(&mut self, text: &[u8]) -> Done {
        if self.thread().stack.len() >= crate::machine::MAX_OPERANDS {
            return Err(Event::Error(1));
        }
        let bits = self.objects.text(text)?;
        self.push(Value { ty: PTR, bits })
    }

    fn live(&mut self, value: Value) -> Done<usize> {
        demand(value.ty == PTR)?;
        Ok(self.objects.size(value.bits)?)
    }

    pub(crate) fn system(&mut self, library: &str, name: &str) -> Done {
        match library {
            "io" => self.io(name),
            "str" => self.str(name),
            "mem" => self.mem(name),
            "math" => self.math(name),
            "rand" => self.rand(name),
            "os" => self.os(name),
            "dll" => self.dll(name),
            _ => self.vm(name),
        }
    }

    fn io(&mut self, name: &str) -> Done {
        match name {
            "print" | "println" => {
                let value = self.pop()?;
                let mut text = self.shown(value);
                if name == "println" {
                    text.push(b'\n');
                }
                self.output.extend(text);
                Ok(())
            }
            "out" => {
                let value = self.pop()?;
                demand(is_int(value))?;
                self.output.push(value.bits as u8);
                Ok(())
            }
            "in" => {
                if self.thread().stack.len() >= crate::machine::MAX_OPERANDS {
                    return Err(Event::Error(1));
                }
                let bits = self.input.pop_front().map_or(u64::MAX, u64::from);
                self.push(Value { ty: I32, bits })
            }
            _ => {
                if self.thread().stack.len() >= crate::machine::MAX_OPERANDS {
                    return Err(Event::Error(1));
                }
                if self.input.is_empty() {
                    return self.push(Value { ty: PTR, bits: 0 });
                }
                let mut line = Vec::new();
                while let Some(byte) = self.input.pop_front().filter(|byte| *byte != b'\n') {
                    line.push(byte);
                }
                self.push_text(&line)
            }
        }
    }

    fn str(&mut self, name: &str) -> Done {
        let second = if name == "concat" { Some(self.pop()?) } else { None };
        let first = self.pop()?;
        let mut text = self.objects.text_at(first)?;
        match second {
            None => self.push(Value { ty: I32, bits: text.len() as u64 }),
            Some(second) => {
                text.extend(self.objects.text_at(second)?);
                self.push_text(&text)
            }
        }
    }

    fn mem(&mut self, name: &str) -> Done {
        match name {
            "alloc" => {
                let (ty, count) = (self.pop()?, self.pop()?);
                demand(is_int(count) && is_int(ty) && (1..=13).contains(&number(ty)))?;
                let count =
                    usize::try_from(number(count)).ok().filter(|count| *count > 0).ok_or(Event::Error(6))?;
                let bits = self.objects.create(Cells::Array(ty.bits as u8, count))?;
                self.push(Value { ty: PTR, bits })
            }
            "free" => {
                let ptr = self.pop()?;
                self.live(ptr)?;
                Ok(self.objects.free(ptr.bits)?)
            }
            "set" => {
                let (value, ptr) = (self.pop()?, self.pop()?);
                demand(ptr.ty == PTR)?;
                let unchecked = self.unchecked();
                Ok(self.objects.store(ptr.bits, value, unchecked)?)
            }
            _ => {
                let ptr = self.pop()?;
                let cells = self.live(ptr)?;
                self.push(Value { ty: I32, bits: cells as u64 })
            }
        }
    }

    fn math(&mut self, name: &str) -> Done {
        let second = if matches!(name, "min" | "max" | "pow") { Some(self.pop()?) } else { None };
        let a = self.pop()?;
        demand(is_num(a))?;
        let result = match (name, second) {
            ("abs", _) if is_float(a.ty) => of_float(a.ty, float(a).abs()),
            ("abs", _) => Value { bits: cut(a.ty, number(a).unsigned_abs() as u64), ..a },
            ("sqrt", _) => {
                demand(is_float(a.ty))?;
                match a.ty {
                    F32 => Value { bits: f32::from_bits(a.bits as u32).sqrt().to_bits().into(), ..a },
                    _ => of_float(a.ty, float(a).sqrt()),
                }
            }
            ("pow", Some(b)) => {
                demand(is_int(b) && number(b) >= 0)?;
                if is_float(a.ty) {
                    float_power(a, b.bits)
                } else {
                    let (mut result, mut square, mut left) = (1u64, a.bits, b.bits);
                    while left > 0 {
                        if left & 1 == 1 {
                            result = result.wrapping_mul(square);
                        }
                        square = square.wrapping_mul(square);
                        left >>= 1;
                    }
                    Value { bits: cut(a.ty, result), ..a }
                }
            }
            (_, Some(b)) => {
                demand(a.ty == b.ty)?;
                let first = if is_float(a.ty) {
                    let (x, y) = (float(a), float(b));
                    if x.is_nan() || y.is_nan() {
                        x.is_nan()
                    } else if x == y {
                        x.is_sign_negative() == (name == "min")
                    } else {
                        (x < y) == (name == "min")
                    }
                } else {
                    (number(a) < number(b)) == (name == "min")
                };
                if first { a } else { b }
            }
            _ => return Err(Event::Error(16)),
        };
        self.push(result)
    }

    fn rand(&mut self, name: &str) -> Done {
        if name == "seed" {
            let seed = self.pop()?;
            demand(is_int(seed))?;
            self.random = seed.bits;
            return Ok(());
        }
        if self.thread().stack.len() >= crate::machine::MAX_OPERANDS {
            return Err(Event::Error(1));
        }
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.push(Value { ty: U64, bits: z ^ z >> 31 })
    }

    fn vm(&mut self, name: &str) -> Done {
        match name {
            "catch" => {
                let text = self.pop()?;
                let text: String = self.objects.text_at(text)?.into_iter().map(char::from).collect();
                let module = self.frame().module;
                let found = self.modules[module].subroutines.get(&text).copied().ok_or(Event::Error(13))?;
                self.frame().handlers.push(found);
                Ok(())
            }
            "uncatch" => self.frame().handlers.pop().map(drop).ok_or(Event::Error(13)),
            "throw" => {
                let number = self.pop()?;
                demand(is_int(number))?;
                Err(Event::Throw(number.bits))
            }
            _ => self.thread_function(name),
        }
    }

    fn os(&mut self, name: &str) -> Done {
        match name {
            "exit" => {
                let code = self.pop()?;
                demand(is_int(code))?;
                Err(Event::Stop(Status::Halt(number(code))))
            }
            "argc" => {
                let count = self.arguments.len() as u64;
                self.push(Value { ty: I32, bits: count })
            }
            _ => {
                let index = self.pop()?;
                demand(index.ty == I32)?;
                let argument =
                    usize::try_from(number(index)).ok().and_then(|index| self.arguments.get(index)).cloned();
                match argument {
                    Some(argument) => self.push_text(&argument),
                    None => self.push(Value { ty: PTR, bits: 0 }),
                }
            }
        }
    }

    /// There are no native libraries: every handle is unknown.
    fn dll(&mut self, name: &str) -> Done {
        match name {
            "load" => {
                let text = self.pop()?;
                self.objects.text_at(text)?;
                self.push(Value { ty: PTR, bits: 0 })
            }
            _ => {
                let handle = self.pop()?;
                if name == "loadfunc" {
                    let text = self.pop()?;
                    self.objects.text_at(text)?;
                }
                demand(handle.ty == PTR)?;
                Err(Event::Error(4))
            }
        }
    }
}
