//! Jumps, calls and returns.

use dotvm_arch::Word;
use dotvm_core::decode::Inst as Source;
use dotvm_core::module::Signature;

use super::{Function, Lowerer};
use crate::fusion::fuse;
use crate::inst::{Inst, Slot};

/// A place in the code whose jump distance waits for the target.
pub(super) enum Patch {
    /// The jump instruction at this index.
    Jump(u32),
    /// The entry of the jump tables at this index.
    Table(u32),
}

impl<W: Word> Lowerer<'_, W> {
    /// Emits a jump whose distance is set when the whole function is there.
    pub(super) fn emit_jump(&mut self, jump: Inst, target: u32) {
        self.patches.push((Patch::Jump(self.out.code.len() as u32), target));
        self.emit(jump);
    }

    /// Sets the targets of all jumps of the function.
    pub(super) fn set_targets(&mut self) {
        for (patch, target) in self.patches.drain(..) {
            let target = self.code_at[target as usize];
            match patch {
                Patch::Jump(at) => {
                    set_distance(&mut self.out.code[at as usize], target as i64 - (at as i64 + 1));
                }
                Patch::Table(at) => self.out.tables[at as usize] = target,
            }
        }
    }

    /// JZ and JNZ (`jump_if`), fused with the comparison before them.
    pub(super) fn branch(&mut self, inst: &Source, jump_if: bool) {
        let position = self.top - 1;
        let target = inst.a as u32;
        // The jump is emitted before its target is known to be near: forward targets wait for a patch. Whether the
        // distance fits is judged by the distance in source instructions: each becomes at most four, its own two, the
        // move of what it pushed, and a filler where it is a block.
        let distance = self.origin.abs_diff(target) as u64 * 4 + 8;
        let mut fused = None;
        if distance < i16::MAX as u64 && !self.is_window {
            fused = self.producer_of(position).and_then(|at| fuse(self.out.code[at], jump_if));
        }
        let origin = self.origin;
        let jump = if let Some(fused) = fused {
            // A comparison of references may end the run where it stands.
            if let (true, Some(trace)) = (is_of_references(fused), &self.trace) {
                self.origin = trace.origin.last().copied().unwrap_or(origin);
            }
            self.retract();
            fused
        } else {
            let a = self.slot(position);
            if jump_if { Inst::JumpNz { a, to: 0 } } else { Inst::JumpZ { a, to: 0 } }
        };
        self.drop_values(1);
        self.flush();
        if !self.is_window {
            self.emit_jump(jump, target);
            self.origin = origin;
            return;
        }
        // In a window function the taken path moves slot 0: jump over it where the branch is not taken.
        self.emit(match jump {
            Inst::JumpNz { a, .. } => Inst::JumpZ { a, to: 2 },
            Inst::JumpZ { a, .. } => Inst::JumpNz { a, to: 2 },
            other => other,
        });
        self.leave_window();
        self.emit_jump(Inst::Jump { to: 0 }, target);
    }

    /// Moves slot 0 of a window function to the top of the stack.
    pub(super) fn leave_window(&mut self) {
        if self.is_window {
            self.emit(Inst::Shift { by: self.top as u16 });
        }
    }

    pub(super) fn jump_table(&mut self, targets: &[u32]) {
        let a = self.slot(self.top - 1);
        self.drop_values(1);
        self.flush();
        let start = self.out.tables.len();
        self.emit(Inst::JumpTable { a, start: start as u32 });
        self.out.tables.push(targets.len() as u32);
        for &target in targets {
            let at = self.out.tables.len();
            if self.is_window {
                // Each entry leads to a stub that moves slot 0.
                self.out.tables.push(self.out.code.len() as u32);
                self.leave_window();
                self.emit_jump(Inst::Jump { to: 0 }, target);
            } else {
                self.out.tables.push(0);
                self.patches.push((Patch::Table(at as u32), target));
            }
        }
    }

    /// Replaces the operands of a call, `words_in` of them words, by its results; answers where both start.
    pub(super) fn call(&mut self, callee: Signature, words_in: u16) -> (Slot, Slot) {
        let position = self.top - words_in as usize;
        let r = self.refs - callee.refs_in;
        self.set_top(position + callee.words_out as usize);
        self.refs = r + callee.refs_out;
        (self.canonical(position), r)
    }

    pub(super) fn ret(&mut self, function: &Function) {
        let signature = function.module.signature_of(function.index);
        let n = signature.words_out;
        let uses_refs = function.verified.frame_refs > 0;
        if self.is_window {
            self.flush();
            self.emit(Inst::WindowEnd { w: self.top as Slot, n });
        } else if n == 1 && !uses_refs {
            let a = self.slot(0);
            self.emit(Inst::Ret1 { a });
            return;
        }
        self.flush();
        let w = if self.is_window { 0 } else { self.canonical(0) };
        if uses_refs {
            self.emit(Inst::RetRefs { w, r: self.refs - signature.refs_out, f: function.index as u16 });
        } else if n == 0 {
            self.emit(Inst::Ret0);
        } else {
            self.emit(Inst::RetN { a: w, n });
        }
    }
}

/// Whether a jump compares references.
fn is_of_references(jump: Inst) -> bool {
    matches!(jump, Inst::JumpRefEq { .. } | Inst::JumpRefNe { .. })
}

/// Sets the distance of a jump.
fn set_distance(jump: &mut Inst, distance: i64) {
    match jump {
        Inst::Jump { to }
        | Inst::JumpZ { to, .. }
        | Inst::JumpNz { to, .. }
        | Inst::JumpRefEq { to, .. }
        | Inst::JumpRefNe { to, .. }
        | Inst::JumpCell { to, .. }
        | Inst::JumpNoCell { to, .. } => *to = distance as i32,
        Inst::JumpEqR { to, .. }
        | Inst::JumpEqI { to, .. }
        | Inst::JumpNeR { to, .. }
        | Inst::JumpNeI { to, .. }
        | Inst::JumpLtR { to, .. }
        | Inst::JumpLtI { to, .. }
        | Inst::JumpGeR { to, .. }
        | Inst::JumpGeI { to, .. }
        | Inst::JumpSltR { to, .. }
        | Inst::JumpSltI { to, .. }
        | Inst::JumpSgeR { to, .. }
        | Inst::JumpSgeI { to, .. } => {
            *to = i16::try_from(distance).expect("branch() fuses only near targets");
        }
        other => unreachable!("{other:?} is no jump"),
    }
}
