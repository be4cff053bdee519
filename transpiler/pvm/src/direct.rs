//! Direct code: a block of the program becomes a block of the function.
//!
//! A block is entered only where all of its instructions fit the limit and none can leave the stack, so that no
//! instruction checks that. What else may go wrong (an address, a divisor, a handler in the vector table) is checked
//! in place; where a check fails, the state as it was before the instruction is made good and the general scheme takes
//! it from there. So direct code knows no exceptions.

use std::collections::HashMap;

use dotvm_core::builder::{CodeBuilder, Label};
use dotvm_core::opcode::Op;

use crate::blocks::{Block, Blocks, End, Known};
use crate::class::{Class, classify, is_checked};
use crate::flags::{Flags, Overflow};
use crate::locals::*;
use crate::machine::{STACK_BASE, STACK_LOW};
use crate::registers::Registers;
use crate::rooms::{self, Room};
use crate::track::Tracker;
use crate::word::Instruction;

/// Most entries of the jump tables that stand where a jump is; beyond, all jumps share one.
const TABLE_ENTRIES: usize = 1 << 16;

/// Most limits of the stack that are kept in locals.
const STACK_LIMITS: usize = 16;

/// What is left to be done where a check fails.
struct Exit {
    label: Label,
    flags: Flags,
    delta: i32,
    /// Instructions of the block that are not carried out.
    unused: u16,
    address: u32,
    /// What D is to be set to.
    d: Option<u64>,
    /// A service that is called all the same, at this label, if its vector has no handler.
    service: Option<(u8, Label)>,
}

/// Where the function's parts are.
#[derive(Clone, Copy)]
pub(crate) struct Places {
    /// The general scheme.
    pub general: Label,
    /// Goes on at `pc`.
    pub table: Label,
}

/// Emits direct code.
pub(crate) struct Direct<'a> {
    pub code: &'a mut CodeBuilder,
    image: &'a [u8],
    services: bool,
    blocks: &'a Blocks,
    pub(crate) registers: Registers,
    /// What each block takes for granted of the stack.
    rooms: Vec<Room>,
    /// What is known of the stack where control leaves the block at hand.
    room: Room,
    /// The local of D is not what the tracker knows it to be.
    pub(crate) d_is_stale: bool,
    places: Places,
    /// The code of each block, entered where its conditions hold.
    bodies: Vec<Label>,
    /// The code of each block, entered from anywhere.
    entries: Vec<Label>,
    /// Limits of the stack in locals.
    limits: HashMap<u64, Local>,
    /// Whether each jump by D or return has a table of its own.
    has_own_tables: bool,
    /// The targets of a table.
    targets: Vec<Label>,
    exits: Vec<Exit>,
    pub(crate) tracker: Tracker,
    pub(crate) flags: Flags,
    instructions: Vec<(Instruction, Class)>,
    /// For each instruction whether anybody asks for the flags that it sets.
    asked: Vec<bool>,
    /// Of the instruction at hand: its index, and the block's number of instructions.
    position: (u16, u16),
}

/// The least and the greatest value of `s` for which there is room, where that is not proved.
fn stack_limits(room: Room, proved: Room) -> (Option<u64>, Option<u64>) {
    let low = (room.free > proved.free).then(|| STACK_LOW - SP_BIAS + room.free as u64);
    let high = (room.used > proved.used).then(|| STACK_BASE - SP_BIAS - room.used as u64);
    (low, high)
}

/// Nothing is known of the stack but that its pointer is within.
const ANYWHERE: Room = Room { free: 0, used: 0 };

/// The limits that blocks need most.
fn frequent_limits(rooms: &[Room]) -> Vec<u64> {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    for room in rooms {
        let (low, high) = stack_limits(*room, ANYWHERE);
        for limit in [low, high].into_iter().flatten() {
            *counts.entry(limit).or_default() += 1;
        }
    }
    let mut limits: Vec<(u64, usize)> = counts.into_iter().collect();
    limits.sort_unstable_by_key(|&(limit, count)| (std::cmp::Reverse(count), limit));
    limits.truncate(STACK_LIMITS);
    limits.into_iter().map(|(limit, _)| limit).collect()
}

impl<'a> Direct<'a> {
    /// For the blocks of an image.
    pub fn new(
        code: &'a mut CodeBuilder,
        image: &'a [u8],
        services: bool,
        blocks: &'a Blocks,
        registers: Registers,
        places: Places,
    ) -> Direct<'a> {
        let count = blocks.list.len();
        let bodies: Vec<Label> = (0..count).map(|_| code.label()).collect();
        let mut entries = vec![places.general; count];
        let mut targets = vec![places.general; image.len() + 1];
        let mut jumps = 0;
        for (block, entry) in blocks.list.iter().zip(&mut entries) {
            if block.count > 0 {
                *entry = code.label();
                targets[block.start as usize] = *entry;
                jumps += usize::from(matches!(block.ending, End::Transfer(_)) && block.target().is_none());
            }
        }
        let rooms = rooms::find(blocks);
        let limits = frequent_limits(&rooms);
        Direct {
            has_own_tables: jumps.saturating_mul(image.len() + 1) <= TABLE_ENTRIES,
            limits: limits.into_iter().zip(COUNT..).collect(),
            code,
            image,
            services,
            blocks,
            registers,
            rooms,
            room: Room::START,
            d_is_stale: false,
            places,
            bodies,
            entries,
            targets,
            exits: Vec::new(),
            tracker: Tracker::default(),
            flags: Flags::Kept,
            instructions: Vec::new(),
            asked: Vec::new(),
            position: (0, 0),
        }
    }

    /// Number of word locals of the function.
    pub fn local_count(&self) -> u16 {
        COUNT as u16 + self.limits.len() as u16
    }

    /// Sets the locals that never change.
    pub fn set_limits(&mut self) {
        let mut limits: Vec<(Local, u64)> =
            self.limits.iter().map(|(&limit, &local)| (local, limit)).collect();
        limits.sort_unstable();
        for (local, limit) in limits {
            self.push(limit);
            self.set(local);
        }
    }

    /// Bytes of the image.
    pub(crate) fn image_len(&self) -> usize {
        self.image.len()
    }

    /// Whether a handler can be in the vector table while direct code runs.
    fn watches_vectors(&self) -> bool {
        self.blocks.names_vectors
    }

    /// Goes on where the machine starts.
    pub fn start(&mut self) {
        self.flags = Flags::Kept;
        self.tracker.start(Some(0));
        self.go_to(0);
    }

    /// The jump table of all blocks, by the address on the stack.
    pub fn jump_table(&mut self) {
        self.code.table(&self.targets);
    }

    /// Emits all blocks.
    pub fn blocks(&mut self) {
        for index in 0..self.blocks.list.len() {
            if self.blocks.list[index].count > 0 {
                self.entry(index);
                self.block(index);
            }
        }
    }

    // Short forms

    pub(crate) fn op(&mut self, op: Op) {
        self.code.op(op, &[]);
    }

    pub(crate) fn get(&mut self, local: Local) {
        self.code.op(Op::Lget, &[local]);
    }

    pub(crate) fn set(&mut self, local: Local) {
        self.code.op(Op::Lset, &[local]);
    }

    pub(crate) fn push(&mut self, number: u64) {
        self.code.op(Op::Push, &[number]);
    }

    pub(crate) fn add_to(&mut self, local: Local, number: i64) {
        if number != 0 {
            self.get(local);
            self.code.op(Op::Addi, &[number as u64]);
            self.set(local);
        }
    }

    fn jump_to_general(&mut self, address: u64) {
        self.push(address);
        self.set(PC);
        self.code.jump(Op::Jmp, self.places.general);
    }

    // Entering and leaving blocks

    /// Jumps to `fail` where the stack has no room for the block.
    fn check_stack(&mut self, index: usize, proved: Room, fail: Label) {
        let (low, high) = stack_limits(self.rooms[index], proved);
        for (limit, op) in [(low, Op::Lt), (high, Op::Gt)] {
            let Some(limit) = limit else { continue };
            self.get(S);
            match self.limits.get(&limit) {
                Some(&local) => self.get(local),
                None => self.push(limit),
            }
            self.op(op);
            self.code.jump(Op::Jnz, fail);
        }
    }

    /// Jumps to the body where the block fits the limit.
    fn enter_body(&mut self, index: usize) {
        self.get(LEFT);
        self.push(self.blocks.list[index].count.into());
        self.op(Op::Ge);
        self.code.jump(Op::Jnz, self.bodies[index]);
    }

    /// The entry of a block from the jump table: `pc` is its address, the flags are kept, nothing is known.
    fn entry(&mut self, index: usize) {
        let block = self.blocks.list[index];
        self.code.line(block.start);
        self.code.bind(self.entries[index]);
        if let Known::Constant(d) = block.d_in {
            self.get(D);
            self.push(d);
            self.op(Op::Ne);
            self.code.jump(Op::Jnz, self.places.general);
        }
        self.check_stack(index, ANYWHERE, self.places.general);
        self.enter_body(index);
        self.code.jump(Op::Jmp, self.places.general);
    }

    /// Leaves for a known address.
    fn go_to(&mut self, address: u64) {
        let Some(index) = self.blocks.at(address).filter(|index| self.blocks.list[*index].count > 0) else {
            self.flags.keep(self.code);
            self.settle_d();
            self.jump_to_general(address);
            return;
        };
        let block = self.blocks.list[index];
        if self.tracker.constants[3].map_or(Known::Anything, Known::Constant) != block.d_in {
            self.settle_d();
        }
        if let Known::Constant(d) = block.d_in
            && self.tracker.constants[3] != Some(d)
        {
            // A return to a known address is no path that D was followed along.
            self.flags.keep(self.code);
            self.push(address);
            self.set(PC);
            self.code.jump(Op::Jmp, self.entries[index]);
            return;
        }
        if !block.sets_flags {
            self.flags.keep(self.code);
        }
        let fail = self.code.label();
        self.check_stack(index, self.room, fail);
        self.enter_body(index);
        self.code.bind(fail);
        self.flags.keep(self.code);
        self.settle_d();
        self.jump_to_general(address);
    }

    /// Sets the local of D where control leaves for code that reads it.
    fn settle_d(&mut self) {
        if let Some(d) = self.stale_d() {
            self.push(d);
            self.set(D);
        }
    }

    /// What the local of D is to be set to.
    fn stale_d(&self) -> Option<u64> {
        self.tracker.constants[3].filter(|_| self.d_is_stale)
    }

    /// Makes the local of D what it is known to be.
    pub(crate) fn make_d(&mut self) {
        self.settle_d();
        self.d_is_stale = false;
    }

    /// Leaves for the address in `pc`.
    fn go_to_pc(&mut self) {
        self.flags.keep(self.code);
        self.settle_d();
        if self.has_own_tables {
            self.get(PC);
            self.jump_table();
        } else {
            self.code.jump(Op::Jmp, self.places.table);
        }
    }

    /// A check that fails where the word on the stack is not 0 leads here: back to before the instruction at hand, in
    /// the general scheme.
    pub(crate) fn exit_label(&mut self, instruction: &Instruction) -> Label {
        let label = self.code.label();
        self.exits.push(Exit {
            label,
            flags: self.flags,
            delta: self.tracker.delta,
            unused: self.position.1 - self.position.0,
            address: instruction.address,
            d: self.stale_d(),
            service: None,
        });
        label
    }

    fn exits(&mut self) {
        for exit in std::mem::take(&mut self.exits) {
            self.code.bind(exit.label);
            if let Some((vector, back)) = exit.service {
                self.push(STACK_BASE + 8 * u64::from(vector));
                self.code.op(Op::Load64, &[0]);
                self.code.jump(Op::Jz, back);
            }
            let mut flags = exit.flags;
            flags.keep(self.code);
            if let Some(d) = exit.d {
                self.push(d);
                self.set(D);
            }
            self.add_to(S, exit.delta.into());
            self.add_to(LEFT, exit.unused.into());
            self.jump_to_general(exit.address.into());
        }
    }

    // A block

    fn block(&mut self, index: usize) {
        let block = self.blocks.list[index];
        self.decode(&block);
        self.code.line(block.start);
        self.code.bind(self.bodies[index]);
        self.add_to(LEFT, -i64::from(block.count));
        self.tracker.start(match block.d_in {
            Known::Constant(d) => Some(d),
            _ => None,
        });
        self.d_is_stale = true;
        self.room = self.rooms[index].moved(block.delta.into());
        self.flags = if block.sets_flags { Flags::Dead } else { Flags::Kept };
        for position in 0..self.instructions.len() {
            let (instruction, class) = self.instructions[position];
            self.position = (position as u16, block.count);
            self.code.line(instruction.address);
            match class {
                Class::Arithmetic => self.arithmetic(&instruction, self.asked[position]),
                Class::Push => self.push_operand(&instruction),
                Class::Pop => self.pop(&instruction),
                Class::PopRam => self.pop_ram(&instruction),
                Class::Transfer(vector) => {
                    self.transfer(&instruction, vector);
                    continue;
                }
                Class::Nothing | Class::General(_) => {}
            }
            self.tracker.apply(&instruction, class);
        }
        match block.ending {
            End::Fall => {
                self.add_to(S, self.tracker.delta.into());
                self.go_to(block.end.into());
            }
            End::General(_) => {
                self.add_to(S, self.tracker.delta.into());
                self.flags.keep(self.code);
                self.settle_d();
                self.jump_to_general(block.end.into());
            }
            End::Transfer(_) => {}
        }
        self.exits();
    }

    /// Decodes the block and finds out which flags are asked for.
    fn decode(&mut self, block: &Block) {
        self.instructions.clear();
        let mut at = block.start;
        for _ in 0..block.count {
            let Some(instruction) = Instruction::decode(self.image, at) else { break };
            self.instructions.push((instruction, classify(&instruction, self.services)));
            at = instruction.next();
        }
        self.asked.clear();
        self.asked.resize(self.instructions.len(), false);
        // At the end the flags may be asked for: if not by an instruction, then because the limit is reached.
        let mut is_asked = true;
        for (position, (instruction, class)) in self.instructions.iter().enumerate().rev() {
            if *class == Class::Arithmetic {
                self.asked[position] = is_asked;
                is_asked = false;
            }
            is_asked |= is_checked(instruction, *class);
        }
    }

    /// Services 84 to 89, the last instruction of a block.
    fn transfer(&mut self, instruction: &Instruction, vector: u8) {
        if self.watches_vectors() {
            let label = self.exit_label(instruction);
            let back = self.code.label();
            if let Some(exit) = self.exits.last_mut() {
                exit.service = Some((vector, back));
            }
            self.get(DIRTY);
            self.code.jump(Op::Jnz, label);
            self.code.bind(back);
        }
        let next = u64::from(instruction.next());
        let known = self.tracker.constants[3];
        match vector {
            0x88 => {
                let at = self.offset(-8);
                self.get(S);
                self.push(next);
                self.code.op(Op::Store64, &[at]);
            }
            0x89 => {
                let popped = self.tracker.popped(8);
                let at = self.offset(0);
                self.tracker.apply(instruction, Class::Transfer(vector));
                if let Some(crate::track::Value::Constant(target)) = popped {
                    self.add_to(S, self.tracker.delta.into());
                    self.go_to(target & ADDRESS_BITS);
                } else {
                    self.get(S);
                    self.code.op(Op::Load64, &[at]);
                    self.set(PC);
                    self.add_to(S, self.tracker.delta.into());
                    self.go_to_pc();
                }
                return;
            }
            _ => {}
        }
        self.tracker.apply(instruction, Class::Transfer(vector));
        self.add_to(S, self.tracker.delta.into());
        let flags = self.flags;
        let behind = self.code.label();
        match vector {
            0x85 => {
                flags.push_compare(self.code);
                self.code.jump(Op::Jnz, behind);
            }
            0x86 => {
                flags.push_compare(self.code);
                self.code.jump(Op::Jz, behind);
            }
            0x87 => {
                flags.push_overflow(self.code);
                self.code.jump(Op::Jz, behind);
            }
            _ => {}
        }
        match known {
            Some(target) => self.go_to(target & ADDRESS_BITS),
            None => {
                self.get(D);
                self.set(PC);
                self.go_to_pc();
            }
        }
        if matches!(vector, 0x85..=0x87) {
            self.flags = flags;
            self.code.bind(behind);
            self.go_to(next);
        }
    }

    /// The offset from `s` of a place on the stack, relative to the stack pointer.
    pub(crate) fn offset(&self, from_sp: i32) -> u64 {
        (SP_BIAS as i64 + i64::from(self.tracker.delta + from_sp)) as u64
    }

    /// Sets the flags that an operation leaves.
    pub(crate) fn leave_flags(&mut self, is_asked: bool, result: Local, overflow: Overflow) {
        self.flags = if is_asked { Flags::Pending { result, overflow } } else { Flags::Dead };
    }
}

/// The bits of an address that count.
const ADDRESS_BITS: u64 = (1 << 48) - 1;
