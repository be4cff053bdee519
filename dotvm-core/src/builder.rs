//! Building a function's code: instructions and labels in, bytes with the shortest jumps out.

use crate::leb;
use crate::opcode::{Imm, Op, Prefix};

/// A place in a function's code, named before or after it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label(u32);

enum Item {
    Bytes { start: usize, end: usize, line: u32 },
    Jump { op: Op, targets: Vec<Label>, line: u32 },
}

/// Collects the instructions of one function.
#[derive(Default)]
pub struct CodeBuilder {
    items: Vec<Item>,
    bytes: Vec<u8>,
    /// For each label the number of items before it, or `usize::MAX` while it is unbound.
    labels: Vec<usize>,
    line: u32,
}

/// The finished code of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Encoded instructions.
    pub bytes: Vec<u8>,
    /// Code offset and source line, where the line changes (line 0 = unknown is left out).
    pub lines: Vec<(u32, u32)>,
    /// Code offset of each label, in the order of creation.
    pub labels: Vec<u32>,
}

impl Code {
    /// The offset of a label.
    pub fn offset_of(&self, label: Label) -> u32 {
        self.labels[label.0 as usize]
    }
}

impl CodeBuilder {
    /// An empty function.
    pub fn new() -> CodeBuilder {
        CodeBuilder::default()
    }

    /// The source line of the instructions that follow; 0 = unknown.
    pub fn line(&mut self, line: u32) {
        self.line = line;
    }

    /// A new label, not yet bound to a place.
    pub fn label(&mut self) -> Label {
        self.labels.push(usize::MAX);
        Label(self.labels.len() as u32 - 1)
    }

    /// Binds a label to the next instruction.
    pub fn bind(&mut self, label: Label) {
        self.labels[label.0 as usize] = self.items.len();
    }

    /// Appends an operation without jumps. Signed immediates are given as the bits of an `i64`.
    ///
    /// # Panics
    /// If the number of immediates is not the operation's, or the operation is a jump.
    pub fn op(&mut self, op: Op, imms: &[u64]) {
        self.prefixed(None, op, imms);
    }

    /// Appends an operation behind a width prefix; otherwise like [`CodeBuilder::op`].
    pub fn prefixed(&mut self, prefix: Option<Prefix>, op: Op, imms: &[u64]) {
        let info = op.info();
        assert_eq!(info.imms.len(), imms.len(), "{} takes {} immediates", info.mnemonic, info.imms.len());
        let start = self.bytes.len();
        if let Some(prefix) = prefix {
            self.bytes.push(prefix as u8);
        }
        if op.is_paged() {
            self.bytes.push(op.page());
        }
        self.bytes.push(info.code as u8);
        for (&imm, &value) in info.imms.iter().zip(imms) {
            assert!(!matches!(imm, Imm::Rel | Imm::Table), "{} takes labels", info.mnemonic);
            if imm.is_signed() {
                leb::write_signed(&mut self.bytes, value as i64);
            } else {
                leb::write_unsigned(&mut self.bytes, value);
            }
        }
        self.items.push(Item::Bytes { start, end: self.bytes.len(), line: self.line });
    }

    /// Appends JMP, JZ or JNZ.
    pub fn jump(&mut self, op: Op, target: Label) {
        assert_eq!(op.info().imms, [Imm::Rel], "{} is no jump", op.mnemonic());
        self.items.push(Item::Jump { op, targets: vec![target], line: self.line });
    }

    /// Appends JTAB; `targets` are the entries, the last one is the default.
    pub fn table(&mut self, targets: &[Label]) {
        assert!(!targets.is_empty(), "JTAB has at least its default target");
        self.items.push(Item::Jump { op: Op::Jtab, targets: targets.to_vec(), line: self.line });
    }

    /// Whether every label that a jump uses is bound, as [`CodeBuilder::finish`] needs it.
    pub fn is_complete(&self) -> bool {
        self.items.iter().all(|item| match item {
            Item::Bytes { .. } => true,
            Item::Jump { targets, .. } => {
                targets.iter().all(|target| self.labels[target.0 as usize] != usize::MAX)
            }
        })
    }

    /// Encodes the function with the shortest form of each jump.
    ///
    /// # Panics
    /// If a label that is used was never bound.
    pub fn finish(self) -> Code {
        // Jumps start short and grow until all distances fit: a distance never shrinks while others grow, so the
        // lengths found are minimal, as the decoder demands.
        let mut jump_lens: Vec<Vec<usize>> = self
            .items
            .iter()
            .map(|item| match item {
                Item::Bytes { .. } => Vec::new(),
                Item::Jump { targets, .. } => vec![1; targets.len()],
            })
            .collect();
        let mut offsets = vec![0usize; self.items.len() + 1];
        loop {
            for (index, item) in self.items.iter().enumerate() {
                offsets[index + 1] = offsets[index]
                    + match item {
                        Item::Bytes { start, end, .. } => end - start,
                        Item::Jump { op, targets, .. } => {
                            1 + table_header_len(*op, targets.len()) + jump_lens[index].iter().sum::<usize>()
                        }
                    };
            }
            let mut grew = false;
            for (index, item) in self.items.iter().enumerate() {
                let Item::Jump { targets, .. } = item else { continue };
                for (len, target) in jump_lens[index].iter_mut().zip(targets) {
                    let needed = leb::signed_len(self.distance(&offsets, index, *target));
                    if needed > *len {
                        *len = needed;
                        grew = true;
                    }
                }
            }
            if !grew {
                break;
            }
        }
        let mut bytes = Vec::with_capacity(offsets[self.items.len()]);
        let mut lines: Vec<(u32, u32)> = Vec::new();
        for (index, item) in self.items.iter().enumerate() {
            let (Item::Bytes { line, .. } | Item::Jump { line, .. }) = item;
            if *line != 0 && lines.last().is_none_or(|last| last.1 != *line) {
                lines.push((bytes.len() as u32, *line));
            }
            match item {
                Item::Bytes { start, end, .. } => bytes.extend_from_slice(&self.bytes[*start..*end]),
                Item::Jump { op, targets, .. } => {
                    bytes.push(op.info().code as u8);
                    if *op == Op::Jtab {
                        leb::write_unsigned(&mut bytes, targets.len() as u64 - 1);
                    }
                    for target in targets {
                        leb::write_signed(&mut bytes, self.distance(&offsets, index, *target));
                    }
                }
            }
        }
        let labels = self.labels.iter().map(|&item| offsets.get(item).copied().unwrap_or(0) as u32).collect();
        Code { bytes, lines, labels }
    }

    fn distance(&self, offsets: &[usize], item: usize, target: Label) -> i64 {
        let place = self.labels[target.0 as usize];
        assert!(place != usize::MAX, "label {} was never bound", target.0);
        offsets[place] as i64 - offsets[item + 1] as i64
    }
}

fn table_header_len(op: Op, targets: usize) -> usize {
    if op != Op::Jtab {
        return 0;
    }
    let mut header = Vec::new();
    leb::write_unsigned(&mut header, targets as u64 - 1);
    header.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Scratch, decode};

    #[test]
    fn a_jump_takes_the_bytes_its_distance_needs() {
        for filler in [0, 60, 61, 62, 63, 64, 65, 8_185, 8_190, 8_191, 8_192, 9_000] {
            let mut builder = CodeBuilder::new();
            let (start, end) = (builder.label(), builder.label());
            builder.bind(start);
            builder.jump(Op::Jmp, end);
            for _ in 0..filler {
                builder.op(Op::Nop, &[]);
            }
            builder.jump(Op::Jmp, start);
            builder.bind(end);
            builder.op(Op::Trap, &[]);
            let code = builder.finish();
            let decoded = decode(&code.bytes, 64, &mut Scratch::default()).unwrap();
            assert_eq!(decoded.insts.len(), filler + 3);
            assert_eq!(decoded.insts[0].a, filler as u64 + 2);
            assert_eq!(decoded.insts[filler + 1].a, 0);
        }
    }
}
