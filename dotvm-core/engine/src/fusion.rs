//! Two instructions into one: what lowering may do to the instruction it emitted last.

use crate::inst::{Inst, Slot};

/// The instruction with its result in another slot, where it has one.
pub(crate) fn retarget(inst: Inst, to: Slot) -> Option<Inst> {
    let mut inst = inst;
    match &mut inst {
        Inst::Mov { d, .. }
        | Inst::LoadI { d, .. }
        | Inst::LoadK { d, .. }
        | Inst::GlobalGet { d, .. }
        | Inst::AddR { d, .. }
        | Inst::AddI { d, .. }
        | Inst::AddK { d, .. }
        | Inst::SubR { d, .. }
        | Inst::MulR { d, .. }
        | Inst::MulI { d, .. }
        | Inst::MulK { d, .. }
        | Inst::MulAddI { d, .. }
        | Inst::AndR { d, .. }
        | Inst::AndI { d, .. }
        | Inst::AndK { d, .. }
        | Inst::OrR { d, .. }
        | Inst::OrI { d, .. }
        | Inst::OrK { d, .. }
        | Inst::XorR { d, .. }
        | Inst::XorI { d, .. }
        | Inst::XorK { d, .. }
        | Inst::ShlR { d, .. }
        | Inst::ShlI { d, .. }
        | Inst::ShrR { d, .. }
        | Inst::ShrI { d, .. }
        | Inst::SarR { d, .. }
        | Inst::SarI { d, .. }
        | Inst::DivR { d, .. }
        | Inst::ModR { d, .. }
        | Inst::Not { d, .. }
        | Inst::FaddR { d, .. }
        | Inst::FsubR { d, .. }
        | Inst::FmulR { d, .. }
        | Inst::FdivR { d, .. }
        | Inst::Fsqrt { d, .. }
        | Inst::FltR { d, .. }
        | Inst::FleR { d, .. }
        | Inst::EqR { d, .. }
        | Inst::EqI { d, .. }
        | Inst::NeR { d, .. }
        | Inst::NeI { d, .. }
        | Inst::LtR { d, .. }
        | Inst::LtI { d, .. }
        | Inst::GeR { d, .. }
        | Inst::GeI { d, .. }
        | Inst::SltR { d, .. }
        | Inst::SltI { d, .. }
        | Inst::SgeR { d, .. }
        | Inst::SgeI { d, .. }
        | Inst::Load8 { d, .. }
        | Inst::Load16 { d, .. }
        | Inst::Load32 { d, .. }
        | Inst::Load64 { d, .. }
        | Inst::LoadW { d, .. } => *d = to,
        _ => return None,
    }
    Some(inst)
}

/// The compare-and-jump of a comparison and a JNZ (`jump_if`) or JZ on its result.
pub(crate) fn fuse(compare: Inst, jump_if: bool) -> Option<Inst> {
    let to = 0;
    Some(match (compare, jump_if) {
        (Inst::EqR { a, b, .. }, true) | (Inst::NeR { a, b, .. }, false) => Inst::JumpEqR { a, b, to },
        (Inst::NeR { a, b, .. }, true) | (Inst::EqR { a, b, .. }, false) => Inst::JumpNeR { a, b, to },
        (Inst::LtR { a, b, .. }, true) | (Inst::GeR { a, b, .. }, false) => Inst::JumpLtR { a, b, to },
        (Inst::GeR { a, b, .. }, true) | (Inst::LtR { a, b, .. }, false) => Inst::JumpGeR { a, b, to },
        (Inst::SltR { a, b, .. }, true) | (Inst::SgeR { a, b, .. }, false) => Inst::JumpSltR { a, b, to },
        (Inst::SgeR { a, b, .. }, true) | (Inst::SltR { a, b, .. }, false) => Inst::JumpSgeR { a, b, to },
        (Inst::EqI { a, imm, .. }, true) | (Inst::NeI { a, imm, .. }, false) => Inst::JumpEqI { a, imm, to },
        (Inst::NeI { a, imm, .. }, true) | (Inst::EqI { a, imm, .. }, false) => Inst::JumpNeI { a, imm, to },
        (Inst::LtI { a, imm, .. }, true) | (Inst::GeI { a, imm, .. }, false) => Inst::JumpLtI { a, imm, to },
        (Inst::GeI { a, imm, .. }, true) | (Inst::LtI { a, imm, .. }, false) => Inst::JumpGeI { a, imm, to },
        (Inst::SltI { a, imm, .. }, true) | (Inst::SgeI { a, imm, .. }, false) => {
            Inst::JumpSltI { a, imm, to }
        }
        (Inst::RefEq { r, .. }, true) => Inst::JumpRefEq { r, to: 0 },
        (Inst::RefEq { r, .. }, false) => Inst::JumpRefNe { r, to: 0 },
        (Inst::IsCell { r, .. }, true) => Inst::JumpCell { r, to: 0 },
        (Inst::IsCell { r, .. }, false) => Inst::JumpNoCell { r, to: 0 },
        (Inst::SgeI { a, imm, .. }, true) | (Inst::SltI { a, imm, .. }, false) => {
            Inst::JumpSgeI { a, imm, to }
        }
        _ => return None,
    })
}
