//! Result flags that are computed only where somebody asks for them.

use dotvm_core::builder::CodeBuilder;
use dotvm_core::opcode::Op;

use crate::locals::{FO, FZ, Local};

/// A number that code can push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Constant(u64),
    Local(Local),
}

impl Source {
    pub fn push(self, code: &mut CodeBuilder) {
        match self {
            Source::Constant(constant) => code.op(Op::Push, &[constant]),
            Source::Local(local) => code.op(Op::Lget, &[local]),
        }
    }

    fn is(self, local: Local) -> bool {
        self == Source::Local(local)
    }
}

/// How to compute the overflow flag of the last operation. The locals still hold what they held then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// It is 0.
    Never,
    /// A sum: it is less than what was added.
    Sum { result: Local, added: Source },
    /// A difference of eight bytes: it is greater than what can be added to the subtrahend.
    Difference { result: Local, subtracted: Source },
    /// A difference: the minuend is less than the subtrahend.
    Less { old: Local, subtracted: Source },
    /// A product of eight bytes.
    Product { old: Local, factor: Source },
    /// A product of four bytes: its upper half.
    UpperHalf(Local),
    /// A shift: shifted back, it is not what it was.
    Shift { result: Local, old: Local, by: Source },
}

/// The state of the result flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flags {
    /// Nobody asks before they are set.
    Dead,
    /// In their locals.
    Kept,
    /// To be computed: compare is 1 where the local is not 0.
    Pending { result: Local, overflow: Overflow },
}

impl Flags {
    /// Brings them to their locals.
    pub fn keep(&mut self, code: &mut CodeBuilder) {
        if let Flags::Pending { result, .. } = *self {
            code.op(Op::Lget, &[result]);
            code.op(Op::Lset, &[FZ]);
            self.push_overflow(code);
            code.op(Op::Lset, &[FO]);
            *self = Flags::Kept;
        }
    }

    /// Pushes a word that is 0 where compare is 0 (true).
    pub fn push_compare(&self, code: &mut CodeBuilder) {
        let local = match self {
            Flags::Pending { result, .. } => *result,
            Flags::Kept | Flags::Dead => FZ,
        };
        code.op(Op::Lget, &[local]);
    }

    /// Pushes a word that is 0 where overflow is 0.
    pub fn push_overflow(&self, code: &mut CodeBuilder) {
        let Flags::Pending { overflow, .. } = *self else { return code.op(Op::Lget, &[FO]) };
        match overflow {
            Overflow::Never => code.op(Op::Push, &[0]),
            Overflow::Sum { result, added } => {
                code.op(Op::Lget, &[result]);
                added.push(code);
                code.op(Op::Lt, &[]);
            }
            Overflow::Difference { result, subtracted } => {
                code.op(Op::Lget, &[result]);
                match subtracted {
                    Source::Constant(constant) => code.op(Op::Push, &[!constant]),
                    Source::Local(local) => {
                        code.op(Op::Lget, &[local]);
                        code.op(Op::Not, &[]);
                    }
                }
                code.op(Op::Gt, &[]);
            }
            Overflow::Less { old, subtracted } => {
                code.op(Op::Lget, &[old]);
                subtracted.push(code);
                code.op(Op::Lt, &[]);
            }
            Overflow::Product { old, factor } => {
                code.op(Op::Lget, &[old]);
                factor.push(code);
                code.op(Op::Mulw, &[]);
                code.op(Op::Pop, &[]);
                code.op(Op::Push, &[0]);
                code.op(Op::Ne, &[]);
            }
            Overflow::UpperHalf(local) => {
                code.op(Op::Lget, &[local]);
                code.op(Op::Push, &[0xFFFF_FFFF]);
                code.op(Op::Gt, &[]);
            }
            Overflow::Shift { result, old, by } => {
                code.op(Op::Lget, &[result]);
                by.push(code);
                code.op(Op::Shr, &[]);
                code.op(Op::Lget, &[old]);
                code.op(Op::Ne, &[]);
            }
        }
    }

    /// Whether they are computed from this local.
    pub fn depend_on(&self, local: Local) -> bool {
        let Flags::Pending { result, overflow } = *self else { return false };
        result == local
            || match overflow {
                Overflow::Never => false,
                Overflow::Sum { result, added } => result == local || added.is(local),
                Overflow::Difference { result, subtracted } => result == local || subtracted.is(local),
                Overflow::Less { old, subtracted } => old == local || subtracted.is(local),
                Overflow::Product { old, factor } => old == local || factor.is(local),
                Overflow::UpperHalf(product) => product == local,
                Overflow::Shift { result, old, by } => result == local || old == local || by.is(local),
            }
    }
}
