//! Modules as assembly text.

use std::fmt::Write;

use super::{GeneratorError, wrong};
use crate::isa::{self, op};
use crate::model::{Arg, Data, Module};
use crate::types::{Constant, Type};

fn quoted(text: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b'\n' => out.push_str("\\n"),
            0x20..0x7F => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\x{byte:02X}");
            }
        }
    }
    out.push('"');
    out
}

/// A literal of its type.
fn literal(constant: &Constant) -> Result<String, GeneratorError> {
    Ok(match *constant {
        Constant::Text(ref text) => quoted(text),
        Constant::Plain(Type::Ptr, _) => "null".to_owned(),
        Constant::Plain(Type::F32, bits) => {
            float(f32::from_bits(bits as u32).into(), &f32::from_bits(bits as u32))?
        }
        Constant::Plain(Type::F64, bits) => float(f64::from_bits(bits), &f64::from_bits(bits))?,
        Constant::Plain(Type::Bool, bits) => if bits == 0 { "false" } else { "true" }.to_owned(),
        Constant::Plain(ty, bits) if ty.is_signed() => (bits as i64).to_string(),
        Constant::Plain(_, bits) => bits.to_string(),
    })
}

fn float(number: f64, shown: &dyn std::fmt::Debug) -> Result<String, GeneratorError> {
    if number.is_finite() { Ok(format!("{shown:?}")) } else { wrong(format!("{number} has no literal")) }
}

/// Writes a module.
pub(super) fn write(module: &Module) -> Result<String, GeneratorError> {
    let names = &module.names;
    let mut out = String::from(".meta\n");
    for (directive, name) in [("name", module.name), ("version", module.version)] {
        if let Some(name) = name {
            let _ = writeln!(out, ".{directive} {}", quoted(names.bytes(name)));
        }
    }
    for library in &module.externs {
        let (name, alias) = (names.text(library.name), names.text(library.alias));
        let name = if library.is_system { format!("<{name}>") } else { quoted(names.bytes(library.name)) };
        let _ = writeln!(out, ".extern {name} {alias}");
    }
    for export in &module.exports {
        let _ = writeln!(out, ".export {}", names.text(*export));
    }
    out.push_str(".data\n");
    for (name, types) in &module.structures {
        let types: Vec<&str> = types.iter().map(|ty| ty.name()).collect();
        let _ = writeln!(out, ".struct {} {}", names.text(*name), types.join(" "));
    }
    for declaration in &module.declarations {
        let (kind, values) = match &declaration.data {
            Data::Scalar(value) => (value.ty().name().to_owned(), std::slice::from_ref(value)),
            Data::Array(ty, cells, values) => (format!("[{ty}:{cells}]"), &values[..]),
            Data::Structure(structure, values) => (names.text(*structure), &values[..]),
        };
        let word = if declaration.is_constant { "const" } else { "var" };
        let _ = write!(out, ".{word} {} {kind}", names.text(declaration.name));
        for value in values {
            let _ = write!(out, " {}", literal(value)?);
        }
        out.push('\n');
    }
    out.push_str(".code\n");
    for record in &module.records {
        let mnemonic = isa::name(record.op).unwrap_or_default();
        let ty = Type::from_code(record.ty);
        match record.arg {
            Arg::Name(name) if record.op == op::LABEL => {
                let _ = writeln!(out, "{}:", names.text(name));
            }
            Arg::Name(name) if record.op == op::BEGIN => {
                let ty = ty.map_or("void", Type::name);
                let _ = writeln!(out, "begin {ty} {}", names.text(name));
            }
            Arg::None if record.op == op::END => out.push_str("end\n"),
            Arg::None => {
                let _ = writeln!(out, "    {mnemonic}{}", ty.map_or(String::new(), |ty| format!(" {ty}")));
            }
            Arg::Name(name) => {
                let _ = writeln!(out, "    {mnemonic} {}", names.text(name));
            }
            Arg::Target(target) => {
                let Arg::Name(label) = module.records[target as usize].arg else {
                    return wrong("a branch leads to no label");
                };
                let _ = writeln!(out, "    {mnemonic} {}", names.text(label));
            }
            Arg::Plain(bits) => {
                let ty = ty.unwrap_or(Type::Ptr);
                let _ = writeln!(out, "    push {ty} {}", literal(&Constant::Plain(ty, bits))?);
            }
            Arg::Text(text) => {
                let _ = writeln!(out, "    push {}", quoted(&module.texts[text as usize]));
            }
            Arg::Array(ty, cells) => {
                let _ = writeln!(out, "    push [{ty}:{cells}]");
            }
            Arg::Structure(name) => {
                let _ = writeln!(out, "    push {}", names.text(name));
            }
        }
    }
    Ok(out)
}
