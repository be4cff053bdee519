//! The module that a run of Nock begins with, and to which functions are added.

use dotvm_arch::Width;
use dotvm_core::builder::CodeBuilder;
use dotvm_core::module::{Export, Function, Module, Signature};
use dotvm_core::opcode::Op;

use crate::compile::PARAMETERS;

/// How a run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Entry {
    /// With a subject and a formula.
    Pair = 0,
    /// With a byte string: the jam of both.
    Jam = 1,
    /// The same, and the answer is a word: 1 for an atom, 3 for a cell. For measurements, where nobody wants the product.
    JamKind = 2,
}

/// How many entries there are.
pub const ENTRIES: usize = 3;

/// The module: its functions are the entries. The signature with number n takes n references and returns one.
pub fn prelude() -> Module {
    let mut module = Module::new("nock", Width::W64);
    let signature = |refs_in| Signature { refs_in, refs_out: 1, ..Signature::default() };
    module.signatures = (0..=PARAMETERS).map(signature).collect();
    let take = |code: &mut CodeBuilder, local| {
        code.op(Op::Rlget, &[local]);
        code.op(Op::Rnull, &[]);
        code.op(Op::Rlset, &[local]);
    };
    let mut pair = CodeBuilder::new();
    take(&mut pair, 0);
    take(&mut pair, 1);
    pair.op(Op::Nock, &[]);
    pair.op(Op::Ret, &[]);
    let jam = |last: Option<Op>| {
        let mut code = CodeBuilder::new();
        take(&mut code, 0);
        code.op(Op::Cue, &[]);
        code.op(Op::Rlset, &[0]);
        code.op(Op::Rlget, &[0]);
        code.op(Op::Head, &[]);
        take(&mut code, 0);
        code.op(Op::Tail, &[]);
        code.op(Op::Nock, &[]);
        last.into_iter().for_each(|op| code.op(op, &[]));
        code.op(Op::Ret, &[]);
        code
    };
    let to_word = module.signatures.len() as u32;
    module.signatures.push(Signature { refs_in: 1, words_out: 1, ..Signature::default() });
    for (signature, code) in [(2, pair), (1, jam(None)), (to_word, jam(Some(Op::Rkind)))] {
        let code = code.finish().bytes;
        module.functions.push(Function { signature, word_locals: 0, ref_locals: 0, window: 0, code });
    }
    let export = |name: &str, entry: Entry| Export { name: name.to_owned(), function: entry as u32 };
    module.exports =
        vec![export("jam", Entry::Jam), export("kind", Entry::JamKind), export("pair", Entry::Pair)];
    module
}
