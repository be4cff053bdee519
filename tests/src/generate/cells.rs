//! Integers, cells and nouns, and statements around operations on them.

use dotvm_core::integer::{IntegerFn, Narrowing};
use dotvm_core::opcode::{Effect, Op};

use super::function::FunctionGenerator;
use super::{BYTE_STRINGS, NATURALS};

impl FunctionGenerator<'_> {
    /// Pushes an integer of any sign and size.
    pub fn push_integer(&mut self) {
        let constant = self.rng.u64(BYTE_STRINGS..self.module.ref_constants.len() as u64);
        self.op(Op::Rconst, &[constant]);
    }

    fn push_natural(&mut self) {
        let constant = BYTE_STRINGS + self.rng.u64(..NATURALS);
        self.op(Op::Rconst, &[constant]);
    }

    /// Pushes a noun: a natural number, or a cell of nouns that may be one and the same.
    pub fn push_noun(&mut self, depth: u32) {
        if depth == 0 || self.one_in(4) {
            return self.push_natural();
        }
        self.push_noun(depth - 1);
        if self.one_in(3) {
            self.ref_op(Op::Rdup, 0, 2);
        } else {
            self.push_noun(depth - 1);
        }
        self.op(Op::Cons, &[]);
    }

    fn push_cell(&mut self) {
        if self.one_in(200) {
            return self.push_any_ref();
        }
        self.push_any_ref();
        self.push_noun(2);
        self.op(Op::Cons, &[]);
    }

    /// A noun whose parts at axes below 2^(levels + 1) are all there.
    fn push_full_tree(&mut self, levels: u32) {
        if levels == 0 {
            return self.push_noun(1);
        }
        self.push_full_tree(levels - 1);
        if self.one_in(2) {
            self.ref_op(Op::Rdup, 0, 2);
        } else {
            self.push_full_tree(levels - 1);
        }
        self.op(Op::Cons, &[]);
    }

    /// A statement around an operation of the rows of cells, or on lists.
    pub fn cells(&mut self, op: Op) -> bool {
        match op {
            Op::Head | Op::Tail => self.push_cell(),
            Op::Cons => {
                self.push_any_ref();
                self.push_any_ref();
            }
            Op::Axis | Op::Axisd => {
                if op == Op::Axisd {
                    self.push_axis();
                }
                self.push_full_tree(3);
            }
            Op::Edit | Op::Editd => {
                if op == Op::Editd {
                    self.push_axis();
                }
                self.push_any_ref();
                self.push_full_tree(3);
            }
            Op::Rinc => self.push_integer(),
            Op::Req | Op::Rcmp => {
                self.push_noun(4);
                match self.rng.u8(..4) {
                    0 => self.ref_op(Op::Rdup, 0, 2),
                    1 => self.push_any_ref(),
                    // An equal noun that shares nothing.
                    2 => {
                        self.ref_op(Op::Rdup, 0, 2);
                        self.op(Op::Jam, &[]);
                        self.op(Op::Cue, &[]);
                    }
                    _ => self.push_noun(4),
                }
            }
            Op::Mug | Op::Jam if !self.one_in(60) => self.push_noun(4),
            Op::Cue if !self.one_in(30) => {
                self.push_noun(4);
                self.op(Op::Jam, &[]);
            }
            Op::Cue => self.push_bytes(),
            Op::Mug | Op::Jam | Op::Iscell => self.push_any_ref(),
            Op::RList | Op::RUnlist => {
                let count = self.rng.u32(..4);
                (0..count).for_each(|_| self.push_any_ref());
                let effect = |refs_in, refs_out| Effect { words_in: 0, words_out: 0, refs_in, refs_out };
                self.op_with(None, Op::RList, &[count.into()], effect(count, 1));
                if op == Op::RUnlist {
                    let taken = if self.one_in(60) { count + 1 } else { count };
                    self.op_with(None, Op::RUnlist, &[taken.into()], effect(1, taken));
                }
                return true;
            }
            _ => return false,
        }
        match op {
            Op::Axis | Op::Edit => {
                let axis = if self.one_in(60) { self.rng.u64(1..1 << 40) } else { self.rng.u64(1..16) };
                self.op(op, &[axis]);
            }
            _ => self.op(op, &[]),
        }
        if op == Op::Jam {
            self.top_is_bytes();
        }
        true
    }

    /// Pushes an axis, mostly one of a full tree.
    fn push_axis(&mut self) {
        if self.one_in(40) {
            return self.push_any_ref();
        }
        // The first integer constant is below 10.
        self.op(Op::Rconst, &[BYTE_STRINGS]);
        for _ in 0..self.rng.u32(1..8) {
            self.op(Op::Rinc, &[]);
        }
    }

    /// A statement around an operation on unbounded integers.
    pub fn integers(&mut self, op: Op) -> bool {
        let effect =
            |words_in, words_out, refs_in, refs_out| Effect { words_in, words_out, refs_in, refs_out };
        match op {
            Op::W2z => {
                self.push_any();
                let sign = self.rng.u64(..2);
                self.op(op, &[sign]);
            }
            Op::Z2w => {
                self.push_integer();
                // The first two modes trap for most integers.
                let first = if self.one_in(30) { 0 } else { 2 };
                let mode = self.rng.u64(first..Narrowing::ALL.len() as u64);
                self.op(op, &[mode]);
            }
            Op::Zshl | Op::Zshr => {
                if op == Op::Zshr && self.one_in(4) {
                    self.push_any();
                } else {
                    self.push_masked(256);
                }
                self.push_integer();
                self.op(op, &[]);
            }
            Op::Zfn => {
                let function = IntegerFn::ALL[self.rng.usize(..IntegerFn::ALL.len())];
                let is_wild = self.one_in(40);
                match function {
                    _ if is_wild => {
                        (0..function.effect().refs_in).for_each(|_| self.push_any_ref());
                    }
                    IntegerFn::FromLe | IntegerFn::FromBe | IntegerFn::FromText => self.push_bytes(),
                    IntegerFn::Pow => {
                        self.push_integer();
                        self.op(Op::Rconst, &[BYTE_STRINGS]);
                    }
                    IntegerFn::Modpow => {
                        self.push_integer();
                        self.push_natural();
                        self.push_natural();
                        self.op(Op::Rinc, &[]);
                    }
                    IntegerFn::Modinv => {
                        self.push_integer();
                        self.push_natural();
                        self.op(Op::Rinc, &[]);
                    }
                    _ => (0..function.effect().refs_in).for_each(|_| self.push_natural()),
                }
                let is_bytes = !is_wild
                    && matches!(
                        function,
                        IntegerFn::ToLe | IntegerFn::ToBe | IntegerFn::ToDec | IntegerFn::ToHex
                    );
                self.op_with(None, op, &[function as u64], function.effect());
                if is_bytes {
                    self.top_is_bytes();
                }
            }
            Op::Zbits => {
                self.push_integer();
                self.op(op, &[]);
            }
            Op::Zdivmod => {
                self.push_integer();
                self.push_integer();
                self.op_with(None, op, &[], effect(0, 0, 2, 2));
            }
            _ => {
                self.push_integer();
                if self.one_in(100) {
                    self.push_any_ref()
                } else {
                    self.push_integer()
                };
                self.op(op, &[]);
            }
        }
        true
    }
}
