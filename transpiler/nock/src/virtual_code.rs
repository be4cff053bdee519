//! The code of Nock within Nock: crashes are caught, and 12 is answered by gates.
//!
//! A crash is evaluated a second time, as a marked formula, whose functions keep the trace; so traces cost nothing where
//! nothing crashes. What 12 cannot answer is an exception with the level of the Nock whose gate it was: code 1 where the
//! path is blocked, code 2 where the gate itself crashed, which is a crash outside of that Nock.

use dotvm_core::builder::{Code, CodeBuilder, Label};
use dotvm_core::module::Handler;
use dotvm_core::opcode::Op;
use dotvm_core::trap::TrapKind;

use crate::prelude::take;
use crate::services::{SCRY, TRACE, VIRTUAL};

/// Where constants of the module are.
pub(crate) struct Constants {
    pub mark: u64,
    pub caught: u64,
    pub zero: u64,
    pub one: u64,
    pub two: u64,
    pub hunk: u64,
}

/// The exception of a path that is blocked.
const BLOCKED: u64 = 1;
/// The exception of a gate that crashed.
const CRASHED: u64 = 2;

/// The traps that are crashes of a formula.
const CRASHES: u32 =
    TrapKind::Unreachable.bit() | TrapKind::Kind.bit() | TrapKind::Range.bit() | TrapKind::Overflow.bit();

/// A range and what catches in it.
struct Range {
    from: Label,
    to: Label,
    crash: Label,
    throw: Option<Label>,
}

fn handlers(code: &Code, ranges: &[Range]) -> Vec<Handler> {
    let mut handlers = Vec::new();
    for range in ranges {
        let mut add = |target: Label, kinds| {
            let [from, to, target] = [range.from, range.to, target].map(|label| code.offset_of(label));
            handlers.push(Handler { from, to, target, kinds, words: 0, refs: 0 });
        };
        add(range.crash, CRASHES);
        if let Some(throw) = range.throw {
            add(throw, TrapKind::User.bit());
        }
    }
    handlers
}

/// Local from global.
fn save(code: &mut CodeBuilder, global: u32, local: u64) {
    code.op(Op::Rgget, &[global.into()]);
    code.op(Op::Rlset, &[local]);
}

/// Global from local.
fn restore(code: &mut CodeBuilder, global: u32, local: u64) {
    code.op(Op::Rlget, &[local]);
    code.op(Op::Rgset, &[global.into()]);
}

/// Part of a local.
fn part(code: &mut CodeBuilder, local: u64, axis: u64) {
    code.op(Op::Rlget, &[local]);
    code.op(Op::Axis, &[axis]);
}

/// The globals of the run outside, which locals 2 to 4 hold.
fn restore_all(code: &mut CodeBuilder) {
    restore(code, SCRY, 2);
    restore(code, TRACE, 3);
    restore(code, VIRTUAL, 4);
}

/// Evaluation from here on is one level deeper than outside, which is what local 4 holds.
fn be_virtual(code: &mut CodeBuilder, constants: &Constants) {
    let [first, deeper] = [(); 2].map(|()| code.label());
    code.op(Op::Rlget, &[4]);
    code.op(Op::Rkind, &[]);
    code.jump(Op::Jz, first);
    code.op(Op::Rlget, &[4]);
    code.op(Op::Head, &[]);
    code.op(Op::Rinc, &[]);
    code.jump(Op::Jmp, deeper);
    code.bind(first);
    code.op(Op::Rconst, &[constants.one]);
    code.bind(deeper);
    code.op(Op::Rconst, &[constants.zero]);
    code.op(Op::Cons, &[]);
    code.op(Op::Rgset, &[VIRTUAL.into()]);
}

/// Tells that what was evaluated at this level has ended without a product.
fn tell_caught(code: &mut CodeBuilder, constants: &Constants) {
    be_virtual(code, constants);
    code.op(Op::Rgget, &[VIRTUAL.into()]);
    code.op(Op::Rconst, &[constants.caught]);
    code.op(Op::Nock, &[]);
    code.op(Op::Rpop, &[]);
}

/// What a handler is given is not needed.
fn drop_caught(code: &mut CodeBuilder) {
    code.op(Op::Pop, &[]);
    code.op(Op::Rpop, &[]);
}

/// `mink` on the core in local 0; its sample is `[[subject formula] gate]`. Local 1 holds the product, the trace or what was
/// thrown, local 5 what answers 12.
pub(crate) fn mink(constants: &Constants) -> (Vec<u8>, Vec<Handler>) {
    let mut code = CodeBuilder::new();
    let [first, pushed, good, blocked, again, thrown, crashed] = [(); 7].map(|()| code.label());
    let [from, to, traced_from, traced_to, failed] = [(); 5].map(|()| code.label());
    save(&mut code, SCRY, 2);
    save(&mut code, TRACE, 3);
    save(&mut code, VIRTUAL, 4);
    code.op(Op::Rlget, &[2]);
    code.op(Op::Rkind, &[]);
    code.jump(Op::Jz, first);
    code.op(Op::Rlget, &[2]);
    code.op(Op::Head, &[]);
    code.op(Op::Rinc, &[]);
    code.jump(Op::Jmp, pushed);
    code.bind(first);
    code.op(Op::Rconst, &[constants.one]);
    code.bind(pushed);
    part(&mut code, 0, 13);
    code.op(Op::Rlget, &[4]);
    code.op(Op::Rlget, &[2]);
    code.op(Op::Cons, &[]);
    code.op(Op::Cons, &[]);
    code.op(Op::Cons, &[]);
    code.op(Op::Rlset, &[5]);
    restore(&mut code, SCRY, 5);
    be_virtual(&mut code, constants);
    code.bind(from);
    part(&mut code, 0, 24);
    part(&mut code, 0, 25);
    code.op(Op::Nock, &[]);
    code.op(Op::Rlset, &[1]);
    code.bind(to);
    code.bind(good);
    restore_all(&mut code);
    code.op(Op::Rconst, &[constants.zero]);
    take(&mut code, 1);
    code.op(Op::Cons, &[]);
    code.op(Op::Ret, &[]);
    // A crash: once more, for the trace.
    code.bind(again);
    drop_caught(&mut code);
    restore(&mut code, SCRY, 5);
    tell_caught(&mut code, constants);
    code.op(Op::Rconst, &[constants.zero]);
    code.op(Op::Rgset, &[TRACE.into()]);
    code.bind(traced_from);
    part(&mut code, 0, 24);
    code.op(Op::Rconst, &[constants.mark]);
    part(&mut code, 0, 25);
    code.op(Op::Cons, &[]);
    code.op(Op::Nock, &[]);
    code.op(Op::Rlset, &[1]);
    code.bind(traced_to);
    code.jump(Op::Jmp, good);
    code.bind(failed);
    drop_caught(&mut code);
    save(&mut code, TRACE, 1);
    tell_caught(&mut code, constants);
    restore_all(&mut code);
    code.op(Op::Rconst, &[constants.two]);
    take(&mut code, 1);
    code.op(Op::Cons, &[]);
    code.op(Op::Ret, &[]);
    // An exception of this level is answered, others go on.
    code.bind(thrown);
    code.op(Op::Rlset, &[1]);
    part(&mut code, 1, 2);
    part(&mut code, 5, 2);
    code.op(Op::Req, &[]);
    code.jump(Op::Jnz, blocked);
    take(&mut code, 1);
    code.op(Op::Throw, &[]);
    code.bind(blocked);
    tell_caught(&mut code, constants);
    restore_all(&mut code);
    code.op(Op::Push, &[BLOCKED]);
    code.op(Op::Eq, &[]);
    code.jump(Op::Jz, crashed);
    code.op(Op::Rconst, &[constants.one]);
    part(&mut code, 1, 3);
    code.op(Op::Cons, &[]);
    code.op(Op::Ret, &[]);
    code.bind(crashed);
    code.op(Op::Trap, &[]);
    let code = code.finish();
    let ranges = [
        Range { from, to, crash: again, throw: Some(thrown) },
        Range { from: traced_from, to: traced_to, crash: failed, throw: Some(thrown) },
    ];
    let handlers = handlers(&code, &ranges);
    (code.bytes, handlers)
}

/// The product of the trap that is the sample of the core in local 0, as `[0 product]`. If it crashes, the formula in local 1
/// says what becomes of that.
pub(crate) fn attempt(constants: &Constants) -> (Vec<u8>, Vec<Handler>) {
    let mut code = CodeBuilder::new();
    let [from, to, failed] = [(); 3].map(|()| code.label());
    save(&mut code, SCRY, 2);
    save(&mut code, TRACE, 3);
    save(&mut code, VIRTUAL, 4);
    be_virtual(&mut code, constants);
    code.bind(from);
    part(&mut code, 0, 6);
    part(&mut code, 0, 12);
    code.op(Op::Nock, &[]);
    code.op(Op::Rlset, &[5]);
    code.bind(to);
    restore_all(&mut code);
    code.op(Op::Rconst, &[constants.zero]);
    take(&mut code, 5);
    code.op(Op::Cons, &[]);
    code.op(Op::Ret, &[]);
    code.bind(failed);
    drop_caught(&mut code);
    tell_caught(&mut code, constants);
    restore_all(&mut code);
    take(&mut code, 0);
    take(&mut code, 1);
    code.op(Op::Tnock, &[]);
    let code = code.finish();
    let handlers = handlers(&code, &[Range { from, to, crash: failed, throw: None }]);
    (code.bytes, handlers)
}

/// 12 of the pair of reference and path in local 0: the gate on top is called, with the others in force. Local 1 holds what
/// answers 12 here, local 4 the gate's product.
pub(crate) fn scry(constants: &Constants) -> (Vec<u8>, Vec<Handler>) {
    let mut code = CodeBuilder::new();
    let [from, to, failed, gate_crash, crash, atom, empty] = [(); 7].map(|()| code.label());
    save(&mut code, SCRY, 1);
    code.op(Op::Rlget, &[1]);
    code.op(Op::Iscell, &[]);
    code.jump(Op::Jz, crash);
    save(&mut code, TRACE, 2);
    save(&mut code, VIRTUAL, 3);
    part(&mut code, 1, 15);
    code.op(Op::Rgset, &[SCRY.into()]);
    part(&mut code, 1, 14);
    code.op(Op::Rgset, &[VIRTUAL.into()]);
    code.bind(from);
    code.op(Op::Rlget, &[0]);
    part(&mut code, 1, 6);
    code.op(Op::Edit, &[6]);
    code.op(Op::Rlset, &[4]);
    code.op(Op::Rlget, &[4]);
    part(&mut code, 4, 2);
    code.op(Op::Nock, &[]);
    code.op(Op::Rlset, &[4]);
    code.bind(to);
    restore(&mut code, SCRY, 1);
    restore(&mut code, TRACE, 2);
    restore(&mut code, VIRTUAL, 3);
    code.op(Op::Rlget, &[4]);
    code.op(Op::Iscell, &[]);
    code.jump(Op::Jz, atom);
    part(&mut code, 4, 3);
    code.op(Op::Iscell, &[]);
    code.jump(Op::Jz, empty);
    part(&mut code, 4, 7);
    code.op(Op::Ret, &[]);
    code.bind(atom);
    code.op(Op::Rlget, &[4]);
    code.op(Op::Rconst, &[constants.zero]);
    code.op(Op::Req, &[]);
    code.jump(Op::Jz, gate_crash);
    code.op(Op::Push, &[BLOCKED]);
    part(&mut code, 1, 2);
    part(&mut code, 0, 3);
    code.op(Op::Cons, &[]);
    code.op(Op::Throw, &[]);
    code.bind(empty);
    part(&mut code, 4, 3);
    code.op(Op::Rconst, &[constants.zero]);
    code.op(Op::Req, &[]);
    code.jump(Op::Jz, gate_crash);
    code.op(Op::Rgget, &[TRACE.into()]);
    code.op(Op::Rkind, &[]);
    code.jump(Op::Jz, crash);
    code.op(Op::Rconst, &[constants.hunk]);
    code.op(Op::Rlget, &[0]);
    code.op(Op::Cons, &[]);
    code.op(Op::Rgget, &[TRACE.into()]);
    code.op(Op::Cons, &[]);
    code.op(Op::Rgset, &[TRACE.into()]);
    code.bind(crash);
    code.op(Op::Trap, &[]);
    code.bind(failed);
    drop_caught(&mut code);
    code.bind(gate_crash);
    code.op(Op::Push, &[CRASHED]);
    part(&mut code, 1, 2);
    code.op(Op::Rconst, &[constants.zero]);
    code.op(Op::Cons, &[]);
    code.op(Op::Throw, &[]);
    let code = code.finish();
    let handlers = handlers(&code, &[Range { from, to, crash: failed, throw: None }]);
    (code.bytes, handlers)
}

/// The jam of subject and formula, whose trace is kept.
pub(crate) fn traced(constants: &Constants) -> CodeBuilder {
    let mut code = CodeBuilder::new();
    code.op(Op::Rconst, &[constants.zero]);
    code.op(Op::Rgset, &[TRACE.into()]);
    take(&mut code, 0);
    code.op(Op::Cue, &[]);
    code.op(Op::Rlset, &[0]);
    part(&mut code, 0, 2);
    code.op(Op::Rconst, &[constants.mark]);
    part(&mut code, 0, 3);
    code.op(Op::Cons, &[]);
    code.op(Op::Rnull, &[]);
    code.op(Op::Rlset, &[0]);
    code.op(Op::Nock, &[]);
    code.op(Op::Ret, &[]);
    code
}
