//! Functions and arguments from text, at the width of the module.
//!
//! A word is decimal, `0x…` or `0b…`, with `_` between digits as one likes, and with a leading `-` a negative
//! number in two's complement. A reference is `null`, `0x…` (an even number of hexadecimal digits), `@FILE` (the
//! bytes of a file), `int:…` (an integer of any size, decimal or `0x…`), `cell:[…]` (pairs nested to the right, of
//! `null`, decimal integers or `int:…`, byte strings as `0x…`, and further brackets), `text:…` (the rest, whatever it
//! looks like), or else the text itself.

use std::fs::File;
use std::io::Read;

use dotvm_arch::{Arch, W512, Width, Word, with_arch};
use dotvm_core::limits::{MAX_BYTES_LEN, MAX_INTEGER_BITS};
use dotvm_core::module::Module;
use dotvm_core::outcome::{Invocation, Ref};
use dotvm_core::verify::Verified;

mod cell;

/// A function or argument that is refused, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArgumentError(String);

impl ArgumentError {
    pub(crate) fn new(sentence: impl Into<String>) -> ArgumentError {
        ArgumentError(sentence.into())
    }
}

/// Reads a word for a module of `width`: the number modulo 2^width, zero-extended.
pub fn parse_word(text: &str, width: Width) -> Result<W512, ArgumentError> {
    fn parse<W: Arch>(text: &str) -> Result<W512, dotvm_arch::ParseWordError> {
        Ok(<W as Word>::parse(text)?.resize())
    }
    with_arch!(width, W => parse::<W>(text))
        .map_err(|error| ArgumentError(format!("{text:?} is no argument of the type word: {error}")))
}

/// Reads a reference.
pub fn parse_reference(text: &str) -> Result<Ref, ArgumentError> {
    if text == "null" {
        return Ok(Ref::Null);
    }
    if let Some(digits) = text.strip_prefix("int:") {
        return cell::integer(digits).map(Ref::Int).ok_or_else(|| {
            ArgumentError(format!(
                "{text:?} is no integer of at most {MAX_INTEGER_BITS} bits (text that begins so is `text:{text}`)"
            ))
        });
    }
    if let Some(cell) = text.strip_prefix("cell:") {
        return cell::parse(cell).map_err(|problem| {
            ArgumentError(format!("{text:?} is no cell: {problem} (text that begins so is `text:{text}`)"))
        });
    }
    let bytes = if let Some(digits) = text.strip_prefix("0x") {
        parse_hex(digits).map_err(|problem| {
            ArgumentError(format!(
                "{text:?} is no byte string: {problem} (text that begins so is `text:{text}`)"
            ))
        })?
    } else if let Some(path) = text.strip_prefix('@') {
        read_file(path)?
    } else {
        text.strip_prefix("text:").unwrap_or(text).as_bytes().to_vec()
    };
    if bytes.len() as u64 > MAX_BYTES_LEN {
        return Err(ArgumentError(format!(
            "an argument has {} bytes, more than the limit of {MAX_BYTES_LEN}",
            bytes.len()
        )));
    }
    Ok(Ref::Bytes(bytes.into()))
}

/// Whether [`parse_reference`] takes the text for itself.
pub(crate) fn is_plain_text(text: &str) -> bool {
    text != "null" && !["0x", "@", "text:", "int:", "cell:"].iter().any(|prefix| text.starts_with(prefix))
}

/// Reads hexadecimal digits, two a byte.
pub fn parse_hex(digits: &str) -> Result<Vec<u8>, String> {
    if let Some(character) = digits.chars().find(|character| !character.is_ascii_hexdigit()) {
        return Err(format!("{character:?} is no hexadecimal digit"));
    }
    if !digits.len().is_multiple_of(2) {
        return Err(format!("{} hexadecimal digits do not make whole bytes", digits.len()));
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    };
    Ok(digits.as_bytes().chunks_exact(2).map(|pair| value(pair[0]) << 4 | value(pair[1])).collect())
}

fn read_file(path: &str) -> Result<Vec<u8>, ArgumentError> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too long.
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES_LEN + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(ArgumentError(format!("the argument file {path} cannot be read: {error}"))),
    }
}

/// The function to run: the export with the name, or without a name the module's entry.
pub fn find_function(module: &Module, name: Option<&str>) -> Result<u32, ArgumentError> {
    let Some(name) = name else {
        return module.entry.ok_or_else(|| {
            ArgumentError(format!(
                "the module {:?} has no entry: name a function{}",
                module.name,
                exports(module)
            ))
        });
    };
    module.export(name).ok_or_else(|| {
        let hint = match nearest(name, module.exports.iter().map(|export| export.name.as_str())) {
            Some(nearest) => format!(": did you mean `{nearest}`?"),
            None => exports(module),
        };
        ArgumentError(format!("the module {:?} exports no function `{name}`{hint}", module.name))
    })
}

/// Most exports that a message lists.
const LISTED_EXPORTS: usize = 12;

fn exports(module: &Module) -> String {
    let names: Vec<&str> = module.exports.iter().map(|export| export.name.as_str()).collect();
    match names.len() {
        0 => ", but it exports none".to_owned(),
        len if len <= LISTED_EXPORTS => format!(", which can be {}", names.join(", ")),
        len => {
            format!(", which can be {} and {} more", names[..LISTED_EXPORTS].join(", "), len - LISTED_EXPORTS)
        }
    }
}

/// Makes a call of a function from text: first its word arguments, then its reference arguments.
pub fn parse_invocation<S: AsRef<str>>(
    verified: &Verified,
    function: u32,
    texts: &[S],
) -> Result<Invocation, ArgumentError> {
    let module = verified.module();
    let signature = verified.signature(function);
    let (words, refs) = (signature.words_in as usize, signature.refs_in as usize);
    if texts.len() != words + refs {
        return Err(ArgumentError(format!(
            "`{}` takes {}, but {} given",
            module.function_name(function),
            parameters(module, function, words, refs),
            match texts.len() {
                0 => "none was".to_owned(),
                1 => "1 was".to_owned(),
                len => format!("{len} were"),
            },
        )));
    }
    let (word_texts, ref_texts) = texts.split_at(words);
    Ok(Invocation {
        function,
        words: word_texts
            .iter()
            .map(|text| parse_word(text.as_ref(), module.width))
            .collect::<Result<_, _>>()?,
        refs: ref_texts.iter().map(|text| parse_reference(text.as_ref())).collect::<Result<_, _>>()?,
    })
}

/// "2 words (to, amount) and 1 reference (memo)".
fn parameters(module: &Module, function: u32, words: usize, refs: usize) -> String {
    let debug = module.debug.as_ref().and_then(|debug| debug.functions.get(function as usize));
    let part = |count: usize, kind: &str, names: Option<&Vec<String>>| {
        let plural = if count == 1 { "" } else { "s" };
        let names: Vec<&str> = names
            .into_iter()
            .flatten()
            .take(count)
            .map(String::as_str)
            .filter(|name| !name.is_empty())
            .collect();
        match names.len() == count {
            true => format!("{count} {kind}{plural} ({})", names.join(", ")),
            false => format!("{count} {kind}{plural}"),
        }
    };
    match (words, refs) {
        (0, 0) => "no arguments".to_owned(),
        (_, 0) => part(words, "word", debug.map(|debug| &debug.words)),
        (0, _) => part(refs, "reference", debug.map(|debug| &debug.refs)),
        _ => format!(
            "{} and then {}",
            part(words, "word", debug.map(|debug| &debug.words)),
            part(refs, "reference", debug.map(|debug| &debug.refs))
        ),
    }
}

/// The candidate nearest to a misspelt name, if one is near.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let folded = name.to_lowercase();
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_at_the_width_of_the_module() {
        let minus_one = |bits: usize| W512::MAX >> (512 - bits);
        for width in Width::ALL {
            let bits = width.bits() as usize;
            assert_eq!(parse_word("-1", width).unwrap(), minus_one(bits));
            assert_eq!(parse_word("0x1_0", width).unwrap(), W512::from(16));
            let too_wide = format!("0x1{}", "0".repeat(bits / 4));
            let message = parse_word(&too_wide, width).unwrap_err().to_string();
            assert!(message.contains(&format!("{bits} bits")), "{message}");
            assert!(parse_word(&format!("0x{}", "f".repeat(bits / 4)), width).is_ok());
        }
        for bad in ["", "-", "0x", "1 2", "ten", "1e3", "--1", "é"] {
            assert!(parse_word(bad, Width::W64).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn references_are_text_hex_null_or_files() {
        let bytes = |data: &[u8]| Ref::Bytes(data.to_vec().into());
        assert_eq!(parse_reference("null").unwrap(), Ref::Null);
        assert_eq!(parse_reference("").unwrap(), bytes(b""));
        assert_eq!(parse_reference("0x").unwrap(), bytes(b""));
        assert_eq!(parse_reference("0x00fF").unwrap(), bytes(&[0, 255]));
        assert_eq!(parse_reference("text:null").unwrap(), bytes(b"null"));
        assert_eq!(parse_reference("int:-0x10").unwrap(), Ref::from(-16));
        let pair = Ref::cell(bytes(&[1]), Ref::cell(1.into(), Ref::Null));
        assert_eq!(parse_reference("cell:[0x01 1 null]").unwrap(), pair);
        assert_eq!(parse_reference("hello there").unwrap(), bytes(b"hello there"));
        for (bad, problem) in [
            ("0x123", "3 hexadecimal digits"),
            ("0xgg", "'g' is no hexadecimal digit"),
            ("@/no/such/file", "cannot be read"),
            ("int:12x", "no integer"),
            ("int:", "no integer"),
            ("cell:[1 2", "not closed"),
            ("cell:[1]", "two parts"),
            ("cell:[1 2] 3", "behind"),
            ("cell:7", "does not begin"),
            ("cell:[1 x]", "\"x\" is no part"),
        ] {
            let message = parse_reference(bad).unwrap_err().to_string();
            assert!(message.contains(problem), "{message}");
        }
    }

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        assert_eq!(nearest("transfre", ["balance", "transfer"]), Some("transfer"));
        assert_eq!(nearest("Mint", ["burn", "mint"]), Some("mint"));
        assert_eq!(nearest("mint", ["transfer"]), None);
    }
}
