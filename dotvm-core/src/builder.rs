//! Building a function's code: instructions and labels in, bytes with the shortest jumps out.

use crate::leb;
use crate::opcode::{Imm, Op, Prefix};

/// A place in a function's code, named before or after it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label(u32);

/// A place between instructions: bytes of operations without jumps before it, and jumps before it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    bytes: u32,
    jumps: u32,
}

/// The targets of tables that are appended before all of them are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Targets(u32);

/// In place of the number of targets of a table whose targets are [`Targets`].
const OPEN: u32 = u32::MAX;

const UNBOUND: Place = Place { bytes: u32::MAX, jumps: u32::MAX };

/// A jump, or a table of them.
struct Jump {
    place: Place,
    op: Op,
    /// Its targets in [`CodeBuilder::targets`].
    first: u32,
    count: u32,
}

/// Collects the instructions of one function.
#[derive(Default)]
pub struct CodeBuilder {
    /// The operations without jumps, encoded.
    bytes: Vec<u8>,
    jumps: Vec<Jump>,
    targets: Vec<Label>,
    /// Targets that tables share and that are set later.
    shared: Vec<Vec<Label>>,
    /// Where each label is bound.
    labels: Vec<Place>,
    /// Where the line changes.
    lines: Vec<(Place, u32)>,
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

    /// Makes room for about this many bytes of code.
    pub fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// The source line of the instructions that follow; 0 = unknown.
    pub fn line(&mut self, line: u32) {
        self.line = line;
    }

    /// A new label, not yet bound to a place.
    pub fn label(&mut self) -> Label {
        self.labels.push(UNBOUND);
        Label(self.labels.len() as u32 - 1)
    }

    /// Binds a label to the next instruction.
    pub fn bind(&mut self, label: Label) {
        self.labels[label.0 as usize] = self.here();
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
        self.note_line();
        if prefix.is_none() && info.imms == [Imm::Local] && imms[0] < 0x80 {
            // Most operations of translated code.
            self.bytes.extend_from_slice(&[info.code as u8, imms[0] as u8]);
            return;
        }
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
    }

    fn here(&self) -> Place {
        Place { bytes: self.bytes.len() as u32, jumps: self.jumps.len() as u32 }
    }

    fn note_line(&mut self) {
        if self.line != 0 && self.lines.last().is_none_or(|last| last.1 != self.line) {
            self.lines.push((self.here(), self.line));
        }
    }

    fn push_jump(&mut self, op: Op, targets: &[Label]) {
        self.note_line();
        let place = self.here();
        self.jumps.push(Jump { place, op, first: self.targets.len() as u32, count: targets.len() as u32 });
        self.targets.extend_from_slice(targets);
    }

    /// Appends JMP, JZ or JNZ.
    pub fn jump(&mut self, op: Op, target: Label) {
        assert_eq!(op.info().imms, [Imm::Rel], "{} is no jump", op.mnemonic());
        self.push_jump(op, &[target]);
    }

    /// Appends JTAB; `targets` are the entries, the last one is the default.
    pub fn table(&mut self, targets: &[Label]) {
        assert!(!targets.is_empty(), "JTAB has at least its default target");
        self.push_jump(Op::Jtab, targets);
    }

    /// Targets that are set later, for any number of tables.
    pub fn targets(&mut self) -> Targets {
        self.shared.push(Vec::new());
        Targets(self.shared.len() as u32 - 1)
    }

    /// Appends JTAB with targets that are set before the function is finished.
    pub fn table_of(&mut self, targets: Targets) {
        self.note_line();
        let place = self.here();
        self.jumps.push(Jump { place, op: Op::Jtab, first: targets.0, count: OPEN });
    }

    /// Sets the targets of tables; the last one is the default.
    pub fn set_targets(&mut self, targets: Targets, labels: &[Label]) {
        assert!(!labels.is_empty(), "JTAB has at least its default target");
        self.shared[targets.0 as usize] = labels.to_vec();
    }

    /// Gives each table that shares targets its own.
    fn close_tables(&mut self) {
        for jump in self.jumps.iter_mut().filter(|jump| jump.count == OPEN) {
            let shared = &self.shared[jump.first as usize];
            assert!(!shared.is_empty(), "the targets of a table were never set");
            (jump.first, jump.count) = (self.targets.len() as u32, shared.len() as u32);
            self.targets.extend_from_slice(shared);
        }
    }

    /// Whether every label that a jump uses is bound, as [`CodeBuilder::finish`] needs it.
    pub fn is_complete(&self) -> bool {
        self.targets.iter().all(|target| self.labels[target.0 as usize] != UNBOUND)
    }

    /// Encodes the function with the shortest form of each jump.
    ///
    /// # Panics
    /// If a label that is used was never bound, or targets that a table uses were never set.
    pub fn finish(mut self) -> Code {
        self.close_tables();
        // Jumps start short and grow until all distances fit: a distance never shrinks while others grow, so the
        // lengths found are minimal, as the decoder demands.
        let mut lens = vec![1u8; self.targets.len()];
        // Bytes of all jumps before each, and of all.
        let mut before = vec![0u32; self.jumps.len() + 1];
        loop {
            for (index, jump) in self.jumps.iter().enumerate() {
                let lens = &lens[jump.targets()];
                let distances: u32 = lens.iter().map(|len| u32::from(*len)).sum();
                before[index + 1] = before[index] + 1 + jump.header_len() + distances;
            }
            let mut grew = false;
            for (index, jump) in self.jumps.iter().enumerate() {
                let end = jump.place.bytes + before[index + 1];
                // Tables repeat their default target.
                let mut last = (self.targets[jump.first as usize], 0);
                for (&target, len) in self.targets[jump.targets()].iter().zip(&mut lens[jump.targets()]) {
                    if last.1 == 0 || target != last.0 {
                        last = (target, leb::signed_len(self.distance(&before, end, target)) as u8);
                    }
                    if last.1 > *len {
                        *len = last.1;
                        grew = true;
                    }
                }
            }
            if !grew {
                break;
            }
        }
        let total = self.bytes.len() + before.last().map_or(0, |jumps| *jumps as usize);
        let mut bytes = Vec::with_capacity(total);
        let mut copied = 0;
        for (index, jump) in self.jumps.iter().enumerate() {
            bytes.extend_from_slice(&self.bytes[copied..jump.place.bytes as usize]);
            copied = jump.place.bytes as usize;
            let end = jump.place.bytes + before[index + 1];
            bytes.push(jump.op.info().code as u8);
            if jump.op == Op::Jtab {
                leb::write_unsigned(&mut bytes, u64::from(jump.count) - 1);
            }
            for target in jump.targets() {
                leb::write_signed(&mut bytes, self.distance(&before, end, self.targets[target]));
            }
        }
        bytes.extend_from_slice(&self.bytes[copied..]);
        let offset = |place: Place| before.get(place.jumps as usize).map_or(0, |jumps| place.bytes + jumps);
        let lines = self.lines.iter().map(|&(place, line)| (offset(place), line)).collect();
        let labels = self.labels.iter().map(|&place| offset(place)).collect();
        Code { bytes, lines, labels }
    }

    /// The distance to a label from the offset `end`.
    fn distance(&self, before: &[u32], end: u32, target: Label) -> i64 {
        let place = self.labels[target.0 as usize];
        assert!(place != UNBOUND, "label {} was never bound", target.0);
        i64::from(place.bytes + before[place.jumps as usize]) - i64::from(end)
    }
}

impl Jump {
    fn targets(&self) -> std::ops::Range<usize> {
        self.first as usize..self.first as usize + self.count as usize
    }

    /// Bytes of a table's count.
    fn header_len(&self) -> u32 {
        if self.op != Op::Jtab {
            return 0;
        }
        let count = self.count - 1;
        (u32::BITS - count.leading_zeros()).div_ceil(7).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Scratch, decode};

    #[test]
    fn tables_may_share_targets_that_are_set_later() {
        let mut builder = CodeBuilder::new();
        let targets = builder.targets();
        let (near, far) = (builder.label(), builder.label());
        for _ in 0..2 {
            builder.op(Op::Push, &[0]);
            builder.table_of(targets);
        }
        builder.bind(near);
        for _ in 0..100 {
            builder.op(Op::Nop, &[]);
        }
        builder.bind(far);
        builder.op(Op::Trap, &[]);
        builder.set_targets(targets, &[far, near]);
        let code = builder.finish();
        let decoded = decode(&code.bytes, 64, &mut Scratch::default()).unwrap();
        assert_eq!(decoded.insts.len(), 105);
        for table in [1, 3] {
            assert_eq!(decoded.table(&decoded.insts[table]), [104, 4]);
        }
    }

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
