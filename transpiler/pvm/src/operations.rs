//! Direct code for single instructions: operations 0 to B, Push and Pop.

use dotvm_core::builder::Label;
use dotvm_core::opcode::{Op, Prefix};

use crate::class::{Part, whole_register};
use crate::direct::Direct;
use crate::flags::{Overflow, Source};
use crate::locals::*;
use crate::registers::{LOW_HALF, Place, push_halves, set_halves};
use crate::track::Value;
use crate::word::{Instruction, Load};

/// Code that pushes a value and needs no check any more.
#[derive(Clone, Copy, Debug)]
enum Operand {
    Constant(u64),
    /// A local, its bits from `shift` on, as many as the mask has; `holds` are the bits that can be 1 there.
    Bits {
        local: Local,
        shift: u64,
        mask: u64,
        holds: u64,
    },
    /// A register of eight bytes in two locals.
    Halves {
        low: Local,
        high: Local,
    },
    /// The stack pointer.
    StackPointer,
    /// Memory at the address in a local.
    Memory {
        address: Local,
        size: u8,
        mask: u64,
    },
    /// Memory at an offset from `s`.
    Stack {
        offset: u64,
        size: u8,
        mask: u64,
    },
    /// Memory at a constant address.
    Fixed {
        address: u64,
        size: u8,
        mask: u64,
    },
}

fn load_op(size: u8) -> Op {
    match size {
        1 => Op::Load8,
        2 => Op::Load16,
        4 => Op::Load32,
        _ => Op::Load64,
    }
}

fn store_op(size: u8) -> Op {
    match size {
        1 => Op::Store8,
        2 => Op::Store16,
        4 => Op::Store32,
        _ => Op::Store64,
    }
}

/// One of four locals, by size.
fn by_size(locals: [Local; 4], size: u8) -> Local {
    locals[size.trailing_zeros() as usize]
}

/// A mask of the low bytes.
fn low_bytes(size: u8) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(size))
}

impl Direct<'_> {
    // Operands

    /// Makes the operand ready: code for its checks, and then what pushes it. Only the bits of the mask count.
    fn operand(&mut self, instruction: &Instruction, mask: u64) -> Operand {
        let word = instruction.word;
        if let Some(constant) = self.tracker.operand(instruction) {
            return Operand::Constant(constant & mask);
        }
        let size = word.size();
        match (word.load(), word.source()) {
            (Load::Ram, 0xA) => Operand::Stack { offset: self.offset(0), size, mask },
            (Load::Ram, code) => {
                if let (0x8 | 0x9, Some(address)) = (code, self.tracker.register(instruction, code)) {
                    return Operand::Fixed { address, size, mask };
                }
                let address = self.address(code);
                let label = self.exit_label(instruction);
                self.get(address);
                self.get(by_size([LIM1, LIM2, LIM4, LIM8], size));
                self.op(Op::Gt);
                self.code.jump(Op::Jnz, label);
                Operand::Memory { address, size, mask }
            }
            (_, 0xA) => Operand::StackPointer,
            (_, code) => self.register(code, mask & low_bytes(size)),
        }
    }

    /// Bits of a register.
    fn register(&mut self, code: u8, mask: u64) -> Operand {
        let Some((register, part)) = whole_register(code) else {
            unreachable!("register {code:X} is no part of a local")
        };
        if register == 3 {
            self.make_d();
        }
        match self.registers.place(register, part) {
            Place::Bits { local, shift, holds } => {
                Operand::Bits { local, shift, mask: mask & u64::MAX >> (64 - part.bits()), holds }
            }
            Place::Halves { low, .. } if mask <= LOW_HALF => {
                Operand::Bits { local: low, shift: 0, mask, holds: LOW_HALF }
            }
            Place::Halves { low, high } => Operand::Halves { low, high },
        }
    }

    /// The local with an address: that of the register if it holds nothing else, or one of its own.
    fn address(&mut self, code: u8) -> Local {
        let register = self.register(code, u64::MAX);
        if let Operand::Bits { local, shift: 0, mask, holds } = register
            && mask & holds == holds
        {
            return local;
        }
        self.push_operand_value(register);
        self.set(ADDR);
        ADDR
    }

    fn push_operand_value(&mut self, operand: Operand) {
        let mask = match operand {
            Operand::Constant(constant) => return self.push(constant),
            Operand::Bits { local, shift, mask, holds } => {
                self.get(local);
                if shift > 0 {
                    self.push(shift);
                    self.op(Op::Shr);
                }
                // What shifting leaves needs no mask.
                let holds = holds >> shift;
                if mask & holds == holds { u64::MAX } else { mask }
            }
            Operand::Halves { low, high } => {
                push_halves(self.code, low, high);
                u64::MAX
            }
            Operand::StackPointer => {
                let bias = self.offset(0);
                self.get(S);
                self.code.op(Op::Addi, &[bias]);
                u64::MAX
            }
            Operand::Memory { address, size, mask } => {
                self.get(address);
                self.code.op(load_op(size), &[0]);
                if mask >= low_bytes(size) { u64::MAX } else { mask }
            }
            Operand::Stack { offset, size, mask } => {
                self.get(S);
                self.code.op(load_op(size), &[offset]);
                if mask >= low_bytes(size) { u64::MAX } else { mask }
            }
            Operand::Fixed { address, size, mask } => {
                self.push(address);
                self.code.op(load_op(size), &[0]);
                if mask >= low_bytes(size) { u64::MAX } else { mask }
            }
        };
        self.mask(mask);
    }

    fn mask(&mut self, mask: u64) {
        if mask != u64::MAX {
            self.push(mask);
            self.op(Op::And);
        }
    }

    /// The operand where it stays as long as the flags may be computed from it; the locals `overwritten` do not.
    fn lasting(&mut self, operand: Operand, overwritten: [Local; 2]) -> Source {
        match operand {
            Operand::Constant(constant) => Source::Constant(constant),
            Operand::Bits { local, shift: 0, mask, holds }
                if mask & holds == holds && !overwritten.contains(&local) =>
            {
                Source::Local(local)
            }
            _ => {
                self.push_operand_value(operand);
                self.set(VAL);
                Source::Local(VAL)
            }
        }
    }

    // Operations 0 to B

    pub(crate) fn arithmetic(&mut self, instruction: &Instruction, is_asked: bool) {
        let word = instruction.word;
        let Some((register, part)) = whole_register(word.destination()) else { return };
        let operation = word.operation();
        let mask = u64::MAX >> (64 - part.bits());
        if register == 3 {
            self.make_d();
        }
        let mut operand = self.operand(instruction, mask);
        if operation == 3 {
            operand = self.divisor(instruction, operand);
        }
        // The overflow flag of these is computed from the operand.
        let lasts = is_asked && matches!(operation, 0x0 | 0x1 | 0x2 | 0x9);
        let source =
            if lasts { Some(self.lasting(operand, self.registers.written(register, part))) } else { None };
        let (result, overflow) = match (self.registers.place(register, part), part) {
            (Place::Halves { low, high }, _) => {
                push_halves(self.code, low, high);
                self.set(RES);
                let left = self.whole(operation, RES, operand, source);
                set_halves(self.code, RES, low, high);
                left
            }
            (Place::Bits { local, .. }, Part::Whole)
                if matches!(operation, 0x0 | 0x5 | 0x8) && self.tracker.constants[register] == Some(0) =>
            {
                self.push_source(operand, source);
                self.set(local);
                (local, Overflow::Never)
            }
            (Place::Bits { local, .. }, Part::Whole) => self.whole(operation, local, operand, source),
            (Place::Bits { local, holds: LOW_HALF, .. }, _) => {
                self.single_half(operation, local, operand, source)
            }
            (Place::Bits { local, .. }, _) => self.half(operation, local, part, operand, source),
        };
        self.leave_flags(is_asked, result, overflow);
    }

    /// Checks a divisor.
    fn divisor(&mut self, instruction: &Instruction, operand: Operand) -> Operand {
        if matches!(operand, Operand::Constant(constant) if constant != 0) {
            return operand;
        }
        self.push_operand_value(operand);
        self.set(TMP);
        let label = self.exit_label(instruction);
        self.get(TMP);
        self.code.jump(Op::Jz, label);
        Operand::Bits { local: TMP, shift: 0, mask: u64::MAX, holds: u64::MAX }
    }

    fn push_source(&mut self, operand: Operand, source: Option<Source>) {
        match source {
            Some(source) => source.push(self.code),
            None => self.push_operand_value(operand),
        }
    }

    /// An operation on a register of eight bytes.
    fn whole(
        &mut self,
        operation: u8,
        local: Local,
        operand: Operand,
        source: Option<Source>,
    ) -> (Local, Overflow) {
        if source.is_some() && matches!(operation, 0x2 | 0x9) {
            self.get(local);
            self.set(OLD);
        }
        if operation == 0xB
            && let Operand::Constant(by) = operand
        {
            self.rotate_whole(local, by % 64);
        } else {
            self.get(local);
            self.push_source(operand, source);
            self.op(operation_op(operation));
            if matches!(operation, 0x6 | 0x7) {
                self.op(Op::Not);
            }
        }
        self.set(local);
        let overflow = match (operation, source) {
            (0x0, Some(added)) => Overflow::Sum { result: local, added },
            (0x1, Some(subtracted)) => Overflow::Difference { result: local, subtracted },
            (0x2, Some(factor)) => Overflow::Product { old: OLD, factor },
            (0x9, Some(by)) => Overflow::Shift { result: local, old: OLD, by },
            _ => Overflow::Never,
        };
        (local, overflow)
    }

    fn rotate_whole(&mut self, local: Local, by: u64) {
        self.get(local);
        if by > 0 {
            self.push(by);
            self.op(Op::Shl);
            self.get(local);
            self.push(64 - by);
            self.op(Op::Shr);
            self.op(Op::Or);
        }
    }

    /// An operation on a half.
    fn half(
        &mut self,
        operation: u8,
        local: Local,
        part: Part,
        operand: Operand,
        source: Option<Source>,
    ) -> (Local, Overflow) {
        // Before the old value is there, since the operand may be computed from it.
        let operand = match operand {
            Operand::Constant(_) => operand,
            _ if source.is_some() => operand,
            _ => {
                self.push_operand_value(operand);
                self.set(TMP);
                Operand::Bits { local: TMP, shift: 0, mask: u64::MAX, holds: u64::MAX }
            }
        };
        let shift = if part == Part::High { 32 } else { 0 };
        self.push_operand_value(Operand::Bits { local, shift, mask: LOW_HALF, holds: u64::MAX });
        self.set(OLD);
        self.get(OLD);
        self.combine_half(operation, OLD, operand, source);
        self.set(RES);
        self.put_half(local, part, |direct| direct.get(RES));
        let overflow = match (operation, source) {
            (0x0, Some(added)) => Overflow::Sum { result: RES, added },
            (0x1, Some(subtracted)) => Overflow::Less { old: OLD, subtracted },
            (0x2, Some(_)) => Overflow::UpperHalf(OV),
            (0x9, Some(by)) => Overflow::Shift { result: RES, old: OLD, by },
            _ => Overflow::Never,
        };
        (RES, overflow)
    }

    /// An operation on a half that has a local of its own.
    fn single_half(
        &mut self,
        operation: u8,
        local: Local,
        operand: Operand,
        source: Option<Source>,
    ) -> (Local, Overflow) {
        let mut old = local;
        if source.is_some() && matches!(operation, 0x1 | 0x9) {
            self.get(local);
            self.set(OLD);
            old = OLD;
        }
        self.get(local);
        self.combine_half(operation, local, operand, source);
        self.set(local);
        let overflow = match (operation, source) {
            (0x0, Some(added)) => Overflow::Sum { result: local, added },
            (0x1, Some(subtracted)) => Overflow::Less { old, subtracted },
            (0x2, Some(_)) => Overflow::UpperHalf(OV),
            (0x9, Some(by)) => Overflow::Shift { result: local, old, by },
            _ => Overflow::Never,
        };
        (local, overflow)
    }

    /// The result of an operation on halves, the old value of which is on the stack and in the local `old`.
    fn combine_half(&mut self, operation: u8, old: Local, operand: Operand, source: Option<Source>) {
        match (operation, operand) {
            (0xB, Operand::Constant(by)) => {
                let by = by % 32;
                if by > 0 {
                    self.push(by);
                    self.op(Op::Shl);
                    self.get(old);
                    self.push(32 - by);
                    self.op(Op::Shr);
                    self.op(Op::Or);
                    self.mask(LOW_HALF);
                }
            }
            (0xB, _) => {
                self.push_source(operand, source);
                self.code.prefixed(Some(Prefix::W32), Op::Rotl, &[]);
            }
            _ => {
                self.push_source(operand, source);
                self.op(operation_op(operation));
                match operation {
                    0x0 | 0x1 | 0x9 => self.mask(LOW_HALF),
                    0x2 => {
                        if source.is_some() {
                            self.set(OV);
                            self.get(OV);
                        }
                        self.mask(LOW_HALF);
                    }
                    0x6 | 0x7 => {
                        self.push(LOW_HALF);
                        self.op(Op::Xor);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Replaces a half of a register by what `push` pushes, a number of four bytes.
    fn put_half(&mut self, local: Local, part: Part, push: impl FnOnce(&mut Self)) {
        self.get(local);
        if part == Part::High {
            self.mask(LOW_HALF);
            push(self);
            self.push(32);
            self.op(Op::Shl);
        } else {
            self.mask(!LOW_HALF);
            push(self);
        }
        self.op(Op::Or);
        self.set(local);
    }

    // The stack

    pub(crate) fn push_operand(&mut self, instruction: &Instruction) {
        let size = instruction.word.size();
        let mut operand = self.operand(instruction, u64::MAX);
        // A store takes the low bytes only.
        if let Operand::Bits { shift: 0, mask, .. } = &mut operand {
            *mask = u64::MAX;
        }
        let offset = self.offset(-i32::from(size));
        self.get(S);
        self.push_operand_value(operand);
        self.code.op(store_op(size), &[offset]);
    }

    /// Pushes what Pop takes from the stack.
    fn push_popped(&mut self, size: u8) {
        match self.tracker.popped(size) {
            Some(Value::Constant(constant)) => self.push(constant),
            Some(Value::Register(register, part)) => {
                let operand = match self.registers.place(register, part) {
                    Place::Bits { local, shift, holds } => {
                        Operand::Bits { local, shift, mask: u64::MAX >> (64 - part.bits()), holds }
                    }
                    Place::Halves { low, high } => Operand::Halves { low, high },
                };
                self.push_operand_value(operand);
            }
            None => {
                let offset = self.offset(0);
                self.get(S);
                self.code.op(load_op(size), &[offset]);
            }
        }
    }

    pub(crate) fn pop(&mut self, instruction: &Instruction) {
        let word = instruction.word;
        let Some((register, part)) = whole_register(word.destination()) else { return };
        if self.registers.written(register, part).iter().any(|local| self.flags.depend_on(*local)) {
            self.flags.keep(self.code);
        }
        if register == 3 {
            // A number is kept in mind, and set where somebody may read it.
            self.d_is_stale = matches!(self.tracker.popped(word.size()), Some(Value::Constant(_)));
            if self.d_is_stale {
                return;
            }
        }
        match (self.registers.place(register, part), part) {
            (Place::Halves { low, high }, _) => {
                self.push_popped(word.size());
                self.set(TMP);
                set_halves(self.code, TMP, low, high);
            }
            (Place::Bits { local, holds, .. }, part) if part == Part::Whole || holds == LOW_HALF => {
                self.push_popped(word.size());
                self.set(local);
            }
            (Place::Bits { local, .. }, _) => {
                self.put_half(local, part, |direct| direct.push_popped(word.size()));
            }
        }
    }

    pub(crate) fn pop_ram(&mut self, instruction: &Instruction) {
        let word = instruction.word;
        let size = word.size();
        if word.destination() == 0xA {
            // The stack is memory that is written.
            let offset = self.offset(0);
            self.get(S);
            self.push_popped(size);
            self.code.op(store_op(size), &[offset]);
            return;
        }
        let address = self.address(word.destination());
        let label = self.exit_label(instruction);
        self.check_store(address, size, label);
        self.get(address);
        self.push_popped(size);
        self.code.op(store_op(size), &[0]);
    }

    /// Leaves where a store does not lie between the image and the vector table.
    fn check_store(&mut self, address: Local, size: u8, label: Label) {
        self.get(address);
        self.code.op(Op::Addi, &[(self.image_len() as u64).wrapping_neg()]);
        self.get(by_size([ROOM1, ROOM2, ROOM4, ROOM8], size));
        self.op(Op::Gt);
        self.code.jump(Op::Jnz, label);
    }
}

fn operation_op(operation: u8) -> Op {
    match operation {
        0x0 => Op::Add,
        0x1 => Op::Sub,
        0x2 => Op::Mul,
        0x3 => Op::Div,
        0x4 | 0x6 => Op::And,
        0x5 | 0x7 => Op::Or,
        0x8 => Op::Xor,
        0x9 => Op::Shl,
        0xA => Op::Shr,
        _ => Op::Rotl,
    }
}
