//! A small EVM assembler, enough to write the rival's programs by hand: opcodes, shortest pushes and
//! labels.

use anyhow::{Context, Result, ensure};
use revm::bytecode::opcode::{JUMPDEST, PUSH0, PUSH2};
use ruint::aliases::U256;

/// A jump target, made by [`Assembler::label`] and given its place by [`Assembler::bind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// EVM code under construction.
#[derive(Debug, Default)]
pub struct Assembler {
    code: Vec<u8>,
    /// Offset of each label's `JUMPDEST`, once bound.
    labels: Vec<Option<usize>>,
    /// Where a `PUSH2` immediate waits for a label's offset.
    fixups: Vec<(usize, Label)>,
}

impl Assembler {
    /// Appends opcodes that have no immediate.
    pub fn ops(&mut self, opcodes: &[u8]) -> &mut Self {
        self.code.extend_from_slice(opcodes);
        self
    }

    /// Appends the shortest `PUSH0`..`PUSH32` of `value`.
    pub fn push(&mut self, value: U256) -> &mut Self {
        let bytes = value.to_be_bytes_trimmed_vec();
        // At most 32 bytes, and PUSH0..PUSH32 are consecutive codes.
        self.code.push(PUSH0 + bytes.len() as u8);
        self.code.extend_from_slice(&bytes);
        self
    }

    /// Appends the shortest push of a small `value`.
    pub fn push_u64(&mut self, value: u64) -> &mut Self {
        self.push(U256::from(value))
    }

    /// A new label, not yet bound.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Puts `label` here, with the `JUMPDEST` that a target needs.
    pub fn bind(&mut self, label: Label) -> &mut Self {
        self.labels[label.0] = Some(self.code.len());
        self.code.push(JUMPDEST);
        self
    }

    /// Appends a `PUSH2` of the offset of `label`, which may be bound later.
    pub fn push_label(&mut self, label: Label) -> &mut Self {
        self.code.push(PUSH2);
        self.fixups.push((self.code.len(), label));
        self.code.extend_from_slice(&[0, 0]);
        self
    }

    /// The code with every label filled in.
    ///
    /// # Errors
    /// A label that was used but never bound, or that lies beyond 65,535.
    pub fn finish(mut self) -> Result<Vec<u8>> {
        for (at, label) in self.fixups {
            let target =
                self.labels[label.0].with_context(|| format!("label {} was never bound", label.0))?;
            ensure!(target <= usize::from(u16::MAX), "label {} is at {target}, beyond a PUSH2", label.0);
            self.code[at..at + 2].copy_from_slice(&(target as u16).to_be_bytes());
        }
        Ok(self.code)
    }
}

#[cfg(test)]
mod tests {
    use revm::bytecode::opcode::{ADD, JUMP, JUMPI, STOP};

    use super::*;

    #[test]
    fn pushes_are_shortest() {
        let mut asm = Assembler::default();
        asm.push_u64(0).push_u64(0xff).push_u64(0x100).push(U256::MAX);
        let mut expected = vec![0x5f, 0x60, 0xff, 0x61, 0x01, 0x00, 0x7f];
        expected.extend([0xff; 32]);
        assert_eq!(asm.finish().unwrap(), expected);
    }

    #[test]
    fn labels_reach_back_and_forth() {
        let mut asm = Assembler::default();
        let (start, end) = (asm.label(), asm.label());
        asm.bind(start).push_label(end).ops(&[JUMPI]).push_label(start).ops(&[ADD, JUMP]);
        asm.bind(end).ops(&[STOP]);
        let expected = [0x5b, 0x61, 0, 10, 0x57, 0x61, 0, 0, 0x01, 0x56, 0x5b, 0x00];
        assert_eq!(asm.finish().unwrap(), expected);
    }

    #[test]
    fn an_unbound_label_is_an_error() {
        let mut asm = Assembler::default();
        let nowhere = asm.label();
        asm.push_label(nowhere);
        assert_eq!(asm.finish().unwrap_err().to_string(), "label 0 was never bound");
    }
}
