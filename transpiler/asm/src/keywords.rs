//! Immediates that are numbers in the code and words in the text.

use dotvm_arch::Lane;
use dotvm_arch::float::{Conversion, Rounding};
use dotvm_core::crypto::{AeadAlg, KdfAlg, MacAlg, SignatureAlg};
use dotvm_core::env::EnvField;
use dotvm_core::hash::HashAlg;
use dotvm_core::integer::{IntegerFn, Narrowing};
use dotvm_core::opcode::Imm;

/// log2 of the bytes of the widest memory format.
const WIDEST_FORMAT: u64 = 6;

/// The words for an immediate and their numbers; empty for kinds that have none.
pub(crate) fn keywords(imm: Imm) -> Vec<(String, u64)> {
    match imm {
        Imm::Hash => HashAlg::ALL.iter().map(|&alg| (alg.name().to_owned(), alg as u64)).collect(),
        Imm::Env => EnvField::ALL.iter().map(|&field| (field.name().to_owned(), field as u64)).collect(),
        Imm::Mac => MacAlg::ALL.iter().map(|&alg| (alg.name().to_owned(), alg as u64)).collect(),
        Imm::Kdf => KdfAlg::ALL.iter().map(|&alg| (alg.name().to_owned(), alg as u64)).collect(),
        Imm::Aead => AeadAlg::ALL.iter().map(|&alg| (alg.name().to_owned(), alg as u64)).collect(),
        Imm::Signature => SignatureAlg::ALL.iter().map(|&alg| (alg.name().to_owned(), alg as u64)).collect(),
        Imm::Rounding => Rounding::ALL.iter().map(|&mode| (mode.name().to_owned(), mode as u64)).collect(),
        Imm::Conversion => {
            Conversion::ALL.iter().map(|&kind| (kind.name().to_owned(), kind as u64)).collect()
        }
        Imm::Format => {
            let mut names = Vec::new();
            for (order, big_endian) in [("", 0), ("be", 16)] {
                for (sign, signed) in [("u", 0), ("s", 8)] {
                    for log2_bytes in 0..=WIDEST_FORMAT {
                        names.push((
                            format!("{sign}{}{order}", 8u32 << log2_bytes),
                            log2_bytes + signed + big_endian,
                        ));
                    }
                }
            }
            names
        }
        Imm::IntegerFn => {
            IntegerFn::ALL.iter().map(|&function| (function.name().to_owned(), function as u64)).collect()
        }
        Imm::Narrowing => Narrowing::ALL.iter().map(|&mode| (mode.name().to_owned(), mode as u64)).collect(),
        Imm::Signedness => names(["unsigned", "signed"]),
        Imm::Lane => Lane::ALL.iter().map(|&lane| (lane.name().to_owned(), lane as u64)).collect(),
        Imm::LaneNarrowing => names(["wrap", "signed", "unsigned"]),
        Imm::Widening => names(["low_u", "high_u", "low_s", "high_s"]),
        Imm::StringKind => names(["text", "bytes"]),
        Imm::TaskKind => names(["process", "thread", "paradot"]),
        _ => Vec::new(),
    }
}

/// Words that stand for 0, 1 and so on.
fn names<const N: usize>(names: [&str; N]) -> Vec<(String, u64)> {
    names.into_iter().map(str::to_owned).zip(0..).collect()
}

/// The word for a number, if there is one.
pub(crate) fn keyword_of(imm: Imm, value: u64) -> Option<String> {
    keywords(imm).into_iter().find(|(_, known)| *known == value).map(|(name, _)| name)
}
