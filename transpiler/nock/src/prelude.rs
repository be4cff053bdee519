//! The module that a run of Nock begins with, and to which functions are added.

use bytes::Bytes;
use dotvm_arch::Width;
use dotvm_core::builder::CodeBuilder;
use dotvm_core::module::{Constant, Export, Function, HandlerTable, Module, Signature};
use dotvm_core::opcode::Op;

use crate::compile::PARAMETERS;
use crate::services;
use crate::virtual_code::{Constants, attempt, mink, scry, traced};

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

/// Functions that services have called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Helper {
    /// { x } → { x }
    Identity = 3,
    /// { core state } → { product }: a jet in steps. Of a state `[[subject formula] rest]` the formula's product and the rest
    /// are shown to [`services::STEP`], which answers the next state; if the rest is an atom, that is the product. The
    /// product is in the state `[0 product]`.
    Drive = 4,
    /// { core formula } → { product }: a jet, then its formula, which must give the same.
    Compare = 5,
    /// { core any } → { tone }: `mink`, Nock within Nock.
    Mink = 6,
    /// { core formula } → { `[0 product]` }: a trap's product, or where it crashes that of the formula on the core.
    Attempt = 7,
    /// { `[ref path]` } → { product }: 12.
    Scry = 8,
    /// { jam } → { product }: subject and formula, whose trace is kept.
    Traced = 9,
}

/// How many functions there are.
pub const PRELUDE_FUNCTIONS: usize = 10;

/// Pushes a local and leaves it null.
pub(crate) fn take(code: &mut CodeBuilder, local: u64) {
    code.op(Op::Rlget, &[local]);
    code.op(Op::Rnull, &[]);
    code.op(Op::Rlset, &[local]);
}

/// [`Helper::Drive`]; the core is in local 0, the state in local 1, the rest in local 2.
fn drive(step: u64) -> CodeBuilder {
    let mut code = CodeBuilder::new();
    let (next, done, last) = (code.label(), code.label(), code.label());
    code.op(Op::Rnull, &[]);
    code.op(Op::Rlset, &[0]);
    code.bind(next);
    code.op(Op::Rlget, &[1]);
    code.op(Op::Head, &[]);
    code.op(Op::Iscell, &[]);
    code.jump(Op::Jz, done);
    code.op(Op::Rlget, &[1]);
    code.op(Op::Tail, &[]);
    code.op(Op::Rlset, &[2]);
    code.op(Op::Rlget, &[1]);
    code.op(Op::Axis, &[4]);
    take(&mut code, 1);
    code.op(Op::Axis, &[5]);
    code.op(Op::Rlget, &[2]);
    code.op(Op::Iscell, &[]);
    code.jump(Op::Jz, last);
    code.op(Op::Nock, &[]);
    take(&mut code, 2);
    code.op(Op::Cons, &[]);
    code.op(Op::Rconst, &[step]);
    code.op(Op::Nock, &[]);
    code.op(Op::Rlset, &[1]);
    code.jump(Op::Jmp, next);
    code.bind(last);
    code.op(Op::Tnock, &[]);
    code.bind(done);
    take(&mut code, 1);
    code.op(Op::Tail, &[]);
    code.op(Op::Ret, &[]);
    code
}

/// [`Helper::Compare`]; the core is in local 0, the formula in local 1, the jet's product in local 2, the formula to
/// compare with and then its product in local 3.
fn compare(compare: u64, formula: u64, same: u64) -> CodeBuilder {
    let mut code = CodeBuilder::new();
    code.op(Op::Rgget, &[services::VIRTUAL.into()]);
    code.op(Op::Rconst, &[compare]);
    code.op(Op::Nock, &[]);
    code.op(Op::Rpop, &[]);
    code.op(Op::Rlget, &[0]);
    code.op(Op::Rlget, &[1]);
    code.op(Op::Nock, &[]);
    code.op(Op::Rlset, &[2]);
    code.op(Op::Rlget, &[2]);
    code.op(Op::Rlget, &[0]);
    code.op(Op::Cons, &[]);
    code.op(Op::Rconst, &[formula]);
    code.op(Op::Nock, &[]);
    code.op(Op::Rlset, &[3]);
    code.op(Op::Rlget, &[0]);
    code.op(Op::Rlget, &[3]);
    code.op(Op::Nock, &[]);
    code.op(Op::Rlset, &[3]);
    code.op(Op::Rlget, &[2]);
    code.op(Op::Rlget, &[3]);
    code.op(Op::Cons, &[]);
    code.op(Op::Rconst, &[same]);
    code.op(Op::Nock, &[]);
    code.op(Op::Ret, &[]);
    code
}

/// The module: its functions are the entries. The signature with number n takes n references and returns one.
pub fn prelude() -> Module {
    let mut module = Module::new("nock", Width::W64);
    let signature = |refs_in| Signature { refs_in, refs_out: 1, ..Signature::default() };
    module.signatures = (0..=PARAMETERS).map(signature).collect();
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
    let mut identity = CodeBuilder::new();
    identity.op(Op::Rlget, &[0]);
    identity.op(Op::Ret, &[]);
    let names = [
        services::STEP,
        services::COMPARE,
        services::FORMULA,
        services::SAME,
        services::MARK,
        services::CAUGHT,
    ];
    module.ref_constants = names.map(|name| Constant::Bytes(Bytes::from_static(name))).to_vec();
    let atoms = [0, 1, 2, services::tag("hunk")];
    module.ref_constants.extend(atoms.map(|atom| Constant::Integer(atom.into())));
    module.ref_globals = services::GLOBALS;
    let name = |wanted| names.iter().position(|name| *name == wanted).unwrap_or_default() as u64;
    let [zero, one, two, hunk] = [0, 1, 2, 3].map(|atom| (names.len() + atom) as u64);
    let constants =
        Constants { mark: name(services::MARK), caught: name(services::CAUGHT), zero, one, two, hunk };
    let (mink, mink_handlers) = mink(&constants);
    let (attempt, attempt_handlers) = attempt(&constants);
    let (scry, scry_handlers) = scry(&constants);
    module.handlers = vec![
        HandlerTable { function: Helper::Mink as u32, entries: mink_handlers },
        HandlerTable { function: Helper::Attempt as u32, entries: attempt_handlers },
        HandlerTable { function: Helper::Scry as u32, entries: scry_handlers },
    ];
    let functions = [
        (2, 0, pair),
        (1, 0, jam(None)),
        (to_word, 0, jam(Some(Op::Rkind))),
        (1, 0, identity),
        (2, 1, drive(name(services::STEP))),
        (2, 2, compare(name(services::COMPARE), name(services::FORMULA), name(services::SAME))),
    ];
    let finished =
        functions.map(|(signature, ref_locals, code)| (signature, ref_locals, code.finish().bytes));
    let others = [(2, 4, mink), (2, 4, attempt), (1, 4, scry), (1, 0, traced(&constants).finish().bytes)];
    for (signature, ref_locals, code) in finished.into_iter().chain(others) {
        module.functions.push(Function { signature, word_locals: 0, ref_locals, window: 0, code });
    }
    let export = |name: &str, entry: Entry| Export { name: name.to_owned(), function: entry as u32 };
    module.exports =
        vec![export("jam", Entry::Jam), export("kind", Entry::JamKind), export("pair", Entry::Pair)];
    module
}
