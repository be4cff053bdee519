//! Statements: a random row of the table, with what it takes around it.

use dotvm_core::capability::Capability;
use dotvm_core::env::EnvField;
use dotvm_core::host_call::HostCall;
use dotvm_core::module::Signature;
use dotvm_core::opcode::{Effect, OPS, Op};
use dotvm_core::trap::TrapKind;

use super::function::{Catch, FunctionGenerator};
use super::operands::env_effect;
use super::{BYTE_STRINGS, DOCUMENTS, FIRST_KEY, FIRST_QUERY, PATH};

/// Deepest nesting of statements.
const MAX_DEPTH: u32 = 3;

/// Rows that are drawn more often than the others, so that programs run for long.
const CONTROL: [Op; 8] = [Op::Jz, Op::Jnz, Op::Jnz, Op::Jtab, Op::Jmap, Op::Blk, Op::Call, Op::Calli];

fn call_effect(signature: Signature) -> Effect {
    Effect {
        words_in: signature.words_in.into(),
        words_out: signature.words_out.into(),
        refs_in: signature.refs_in.into(),
        refs_out: signature.refs_out.into(),
    }
}

impl FunctionGenerator<'_> {
    /// The whole function: statements, then a return or a tail call.
    pub fn function_body(&mut self, size: usize) {
        if self.plan().is_recursive {
            self.recursion();
        }
        let statements = 1 + self.rng.usize(size / 2..=size);
        self.body(statements);
        if !(self.one_in(6) && self.tail_call()) {
            self.ret();
        }
    }

    /// Statements that leave both stacks as high as they found them.
    fn body(&mut self, statements: usize) {
        let (words, refs) = (self.words, self.refs.len());
        let outer = (self.word_floor, self.ref_floor);
        (self.word_floor, self.ref_floor) = (words, refs);
        self.depth += 1;
        for _ in 0..statements {
            self.statement();
            while self.free_words() > 8 {
                self.drop_word();
            }
            while self.free_refs() > 5 {
                self.drop_ref();
            }
        }
        self.drop_to(words, refs);
        self.depth -= 1;
        (self.word_floor, self.ref_floor) = outer;
    }

    fn drop_to(&mut self, words: u32, refs: usize) {
        while self.words > words {
            if self.one_in(3) {
                let count = self.words - words;
                self.word_op(Op::Popn, &[count.into()], count, 0);
            } else {
                self.drop_word();
            }
        }
        while self.refs.len() > refs {
            self.drop_ref();
        }
    }

    /// Takes the top word, into a place that may hold anything if there is one.
    fn drop_word(&mut self) {
        // The first local of a recursive function counts down.
        let first = u64::from(self.plan().is_recursive);
        let locals = self.word_locals();
        match self.rng.u8(..4) {
            0 | 1 if locals > first => {
                let local = self.rng.u64(first..locals);
                self.op(Op::Lset, &[local]);
            }
            2 => {
                let global = self.rng.u64(..self.module.word_globals.len() as u64);
                self.op(Op::Gset, &[global]);
            }
            _ => self.op(Op::Pop, &[]),
        }
    }

    fn drop_ref(&mut self) {
        match self.rng.u8(..4) {
            0 | 1 if self.ref_locals() > 0 => {
                let local = self.rng.u64(..self.ref_locals());
                self.op(Op::Rlset, &[local]);
            }
            2 => {
                let global = self.rng.u64(..u64::from(self.module.ref_globals));
                self.op(Op::Rgset, &[global]);
            }
            _ => self.op(Op::Rpop, &[]),
        }
    }

    /// A statement around a random row of the table that this function can have.
    fn statement(&mut self) {
        if self.one_in(4000) {
            return self.misuse();
        }
        if self.one_in(30) && self.try_catch() {
            return;
        }
        loop {
            let op = if self.one_in(4) {
                CONTROL[self.rng.usize(..CONTROL.len())]
            } else {
                OPS[self.rng.usize(..OPS.len())].op
            };
            if self.statement_of(op) {
                return;
            }
        }
    }

    /// SYS, with operands that mostly make sense.
    fn host_call(&mut self) {
        let call = HostCall::ALL[self.rng.usize(..HostCall::ALL.len())];
        match call {
            HostCall::FileCreate | HostCall::FileRead | HostCall::FileWrite | HostCall::FileSeek => {
                self.use_of_file(call);
            }
            // A number of a file that is mostly not open, and an opening that is never closed.
            HostCall::FileClose | HostCall::FileOpen if !self.one_in(20) => {
                self.use_of_file(HostCall::FileSeek)
            }
            call => self.sys(call, 0),
        }
    }

    /// A file made, used and closed.
    fn use_of_file(&mut self, call: HostCall) {
        self.sys(HostCall::FileCreate, 0);
        if call != HostCall::FileCreate {
            self.op(Op::Dup, &[]);
            self.sys(call, 1);
            for _ in 0..call.effect().words_out {
                self.op(Op::Pop, &[]);
            }
        }
        self.sys(HostCall::FileClose, 1);
    }

    /// SYS of a call whose first `given` words are there.
    fn sys(&mut self, call: HostCall, given: u32) {
        let effect = call.effect();
        for position in given..effect.words_in {
            if self.one_in(100) {
                self.push_any();
                continue;
            }
            let word = match (call, position) {
                (HostCall::ConsoleWrite, _) => self.rng.u64(1..3),
                (HostCall::ArgsGet, _) => self.rng.u64(..3),
                (HostCall::FileSeek, _) => self.rng.u64(..10_000),
                _ => self.rng.u64(..300),
            };
            self.op(Op::Push, &[word]);
        }
        for _ in 0..effect.refs_in {
            if self.one_in(400) {
                self.push_any_ref();
            } else if call.is_file() && call != HostCall::FileWrite && !self.one_in(50) {
                self.op(Op::Rconst, &[PATH]);
                self.top_is_bytes();
            } else {
                self.push_bytes();
            }
        }
        // The module lists all calls, in their order.
        let index = HostCall::ALL.iter().position(|&known| known == call).unwrap_or_default();
        self.op_with(None, Op::Sys, &[index as u64], effect);
        if effect.refs_out > 0 && !matches!(call, HostCall::ArgsGet | HostCall::FileList) {
            self.top_is_bytes();
        }
    }

    /// A statement around an operation. False if there is none here.
    fn statement_of(&mut self, op: Op) -> bool {
        let is_window = self.plan().is_window;
        match op {
            // In a range with handlers what is below it is not to be touched.
            Op::Tcall | Op::Tnock | Op::Ret if self.tries > 0 => false,
            Op::Nock => self.guarded(64, |this| this.formula(op)),
            Op::Tnock => self.guarded(2, |this| this.formula(op)),
            Op::Trap | Op::Throw | Op::Halt | Op::Ret => self.leave_early(op),
            Op::Tcall => self.guarded(64, |this| this.tail_call()),
            Op::Jmp | Op::Jz => self.if_else(),
            Op::Jnz => self.counted_loop(),
            Op::Jtab => self.jump_table(),
            Op::Jmap => is_window && self.jump_map_diamond(),
            Op::Blk => is_window && self.growing_loop(),
            Op::Call => self.call(),
            Op::Calli => self.indirect_call(),
            Op::Dupn | Op::Swapn | Op::Rot | Op::Popn | Op::Rdup | Op::Rswap => self.shuffle(op),
            Op::Lset | Op::Ltee if self.plan().is_recursive => false,
            Op::Env => {
                let field = EnvField::ALL[self.rng.usize(..EnvField::ALL.len())];
                self.op_with(None, Op::Env, &[field as u64], env_effect(field));
                if !field.is_word() {
                    self.top_is_bytes();
                }
                true
            }
            Op::Sys => {
                self.host_call();
                true
            }
            // Given up for good: seldom, and never what most statements need.
            Op::CapDrop => {
                if !self.one_in(20) {
                    return false;
                }
                let capability = Capability::ALL[self.rng.usize(..Capability::ALL.len())];
                self.op(Op::Push, &[capability as u64]);
                self.op(Op::CapDrop, &[]);
                true
            }
            Op::Emit => {
                let topics = self.rng.u32(..=8);
                for _ in 0..topics {
                    self.push_any();
                }
                self.push_bytes();
                let effect = Effect { words_in: topics, words_out: 0, refs_in: 1, refs_out: 0 };
                self.op_with(None, Op::Emit, &[topics.into()], effect);
                true
            }
            Op::Xcall => {
                self.push_masked(1023);
                // A value cannot be sent everywhere.
                if self.one_in(30) {
                    self.push_any()
                } else {
                    self.push(0)
                }
                self.push_bytes();
                self.push_bytes();
                let flags = self.rng.u64(..4);
                self.op(Op::Xcall, &[flags]);
                true
            }
            Op::Free => self.alloc_and_free(),
            Op::Bget => self.byte_of_constant(),
            Op::Bstore => self.part_of_constant(),
            Op::DbNext | Op::DbClose => {
                self.generic(Op::DbScan.info());
                self.read_cursor()
            }
            Op::DbQuery => {
                self.query_operands(false);
                self.collection_op(Op::DbQuery);
                self.read_cursor()
            }
            Op::DbCount => {
                self.query_operands(true);
                self.collection_op(Op::DbCount);
                true
            }
            Op::DbPatch => self.patch(),
            // A signature costs as much as all the rest of a program.
            Op::Sign | Op::Verify | Op::Recover | Op::Pubkey | Op::Keygen if !self.one_in(16) => false,
            // Keys of the wrong length trap.
            Op::Hmac if !self.one_in(100) => self.keyed(op, 1),
            Op::Encrypt | Op::Decrypt if !self.one_in(100) => self.cipher(),
            Op::Pubkey | Op::Keygen if !self.one_in(100) => self.keyed(op, 0),
            Op::Sign | Op::Verify | Op::Recover if !self.one_in(100) => self.signature(),
            Op::StateVerify if !self.one_in(4) => self.proof(),
            Op::TxBegin | Op::TxCommit | Op::TxAbort => self.transaction(op),
            Op::Rollback => self.savepoint(),
            Op::RSlice => self.slice_of_constant(),
            Op::MProtect => self.protect(),
            Op::MRealloc | Op::MUsable => self.resize(op),
            Op::MInit => self.init_memory(),
            // Segments that are gone make every later M.INIT trap.
            Op::MDrop if !self.one_in(8) => false,
            Op::RB2w if !self.one_in(50) => {
                self.push_any();
                let len = 64 * self.rng.u64(..2);
                self.op(Op::RW2b, &[len]);
                self.op(op, &[]);
                true
            }
            Op::RUnhex if !self.one_in(4) => {
                self.push_bytes();
                self.op(Op::RHex, &[]);
                self.op(op, &[]);
                self.top_is_bytes();
                true
            }
            Op::Yield | Op::Selfid => self.generic(op.info()),
            _ if matches!(op as u16, 0xE1..=0xE7 | 0xF909..=0xF90A) => self.tasks(op),
            _ if (Op::RDparse..=Op::RDiter).contains(&op) && !self.one_in(20) => self.document_op(op),
            _ if matches!(op as u16, 0xD0..=0xDF) => self.integers(op),
            _ if matches!(op as u16, 0xC0..=0xCF) || matches!(op, Op::RList | Op::RUnlist) => self.cells(op),
            _ => self.generic(op.info()),
        }
    }

    /// Operations on handles that were never given.
    fn misuse(&mut self) {
        let op = [Op::DbClose, Op::Rollback, Op::Free, Op::TxBegin][self.rng.usize(..4)];
        if op == Op::TxBegin {
            self.op(op, &[0]);
        } else {
            self.push_any();
            self.op(op, &[]);
        }
    }

    /// Does `leave`, which must leave the function, once in about `rarity` times that it is reached.
    fn guarded(&mut self, rarity: i64, leave: impl FnOnce(&mut Self) -> bool) -> bool {
        let skip = self.label();
        let (words, refs) = (self.words, self.refs.clone());
        self.push_any();
        self.push(rarity - 1);
        self.op(Op::And, &[]);
        let wanted = self.rng.i64(0..rarity);
        self.push(wanted);
        self.op(Op::Eq, &[]);
        self.jump(Op::Jz, skip);
        let outer = (self.word_floor, self.ref_floor);
        if self.tries == 0 {
            (self.word_floor, self.ref_floor) = (0, 0);
        }
        if !leave(self) {
            self.op(Op::Nop, &[]);
        }
        (self.word_floor, self.ref_floor) = outer;
        (self.words, self.refs) = (words, refs);
        self.bind(skip);
        true
    }

    fn leave_early(&mut self, op: Op) -> bool {
        let rarity = if op == Op::Ret { 16 } else { 128 };
        self.guarded(rarity, |this| {
            match op {
                Op::Ret => this.ret(),
                Op::Trap => this.op(op, &[]),
                _ => {
                    if op == Op::Halt && this.one_in(2) {
                        this.push(0);
                    } else {
                        this.push_any();
                    }
                    this.push_any_ref();
                    this.op(op, &[]);
                }
            }
            true
        })
    }

    /// The results, and RET.
    fn ret(&mut self) {
        let signature = self.plan().signature;
        // A window function can be wrong about its height.
        let is_wrong = self.plan().is_window && self.one_in(200);
        self.drop_to(u32::from(is_wrong), 0);
        for _ in 0..signature.words_out {
            self.push_any();
        }
        for _ in 0..signature.refs_out {
            self.push_any_ref();
        }
        let (words_in, refs_in) = (signature.words_out.into(), signature.refs_out.into());
        let effect = Effect { words_in, words_out: 0, refs_in, refs_out: 0 };
        self.op_with(None, Op::Ret, &[], effect);
    }

    fn if_else(&mut self) -> bool {
        if self.depth >= MAX_DEPTH {
            return false;
        }
        let (other, end) = (self.label(), self.label());
        self.push_any();
        if self.one_in(2) {
            self.push_masked(4);
            self.op(Op::Lt, &[]);
        }
        let op = if self.one_in(2) { Op::Jz } else { Op::Jnz };
        self.jump(op, other);
        let statements = self.rng.usize(1..4);
        self.body(statements);
        if self.one_in(3) {
            self.bind(other);
        } else {
            self.jump(Op::Jmp, end);
            self.bind(other);
            let statements = self.rng.usize(1..4);
            self.body(statements);
            self.bind(end);
        }
        true
    }

    /// A loop of a few rounds, its counter below the floor of its body.
    fn counted_loop(&mut self) -> bool {
        if self.depth >= MAX_DEPTH || self.loops >= 2 {
            return false;
        }
        let rounds = self.rng.i64(1..12);
        let (again, done) = (self.label(), self.label());
        let tests_first = self.one_in(2);
        self.push(rounds);
        self.bind(again);
        if tests_first {
            self.op(Op::Dup, &[]);
            self.jump(Op::Jz, done);
        }
        self.loops += 1;
        let statements = self.rng.usize(1..6);
        self.body(statements);
        self.loops -= 1;
        self.op(Op::Addi, &[-1i64 as u64]);
        if tests_first {
            self.jump(Op::Jmp, again);
            self.bind(done);
        } else {
            self.op(Op::Dup, &[]);
            self.jump(Op::Jnz, again);
        }
        self.op(Op::Pop, &[]);
        true
    }

    /// A range with one or two handlers, inside which something traps now and then.
    fn try_catch(&mut self) -> bool {
        if self.depth >= MAX_DEPTH || self.plan().is_window {
            return false;
        }
        let (from, to, end) = (self.label(), self.label(), self.label());
        let (words, refs) = (self.words, self.refs.clone());
        self.bind(from);
        self.op(Op::Nop, &[]);
        self.tries += 1;
        let statements = self.rng.usize(1..4);
        self.body(statements);
        // Nearly always what is thrown on purpose is caught here.
        let traps_as = if self.one_in(3) { TrapKind::Unreachable } else { TrapKind::User };
        if self.one_in(2) {
            self.trap_sometimes(if traps_as == TrapKind::User { Op::Throw } else { Op::Trap });
        }
        let mut wanted = Some(traps_as).filter(|_| !self.one_in(30));
        let statements = self.rng.usize(0..2);
        self.body(statements);
        self.tries -= 1;
        self.bind(to);
        let first = self.catches.len();
        for _ in 0..self.rng.usize(1..3) {
            self.jump(Op::Jmp, end);
            let target = self.label();
            self.bind(target);
            let user = TrapKind::User.bit();
            let kinds = match self.rng.u8(..3) {
                _ if wanted == Some(TrapKind::User) => user,
                _ if wanted.is_some() => TrapKind::CATCHABLE & !user,
                0 => user,
                1 => TrapKind::CATCHABLE & !user,
                _ => TrapKind::DivZero.bit() | TrapKind::CATCHABLE & !user & self.rng.u32(..),
            };
            wanted = None;
            self.catches.push(Catch { places: [from, to, target], kinds, words, refs: refs.len() });
            self.caught();
            self.drop_to(words, refs.len());
            self.body(1);
        }
        self.catches[first..].reverse();
        self.bind(end);
        true
    }

    /// TRAP or THROW, once in a few times that it is reached.
    fn trap_sometimes(&mut self, op: Op) {
        let rarity = 1 << self.rng.u32(0..5);
        self.guarded(rarity, |this| {
            if op == Op::Throw {
                this.push_any();
                this.push_any_ref();
            }
            this.op(op, &[]);
            true
        });
    }

    fn jump_table(&mut self) -> bool {
        if self.depth >= MAX_DEPTH {
            return false;
        }
        let count = self.rng.usize(1..5);
        let targets: Vec<_> = (0..count).map(|_| self.label()).collect();
        let end = self.label();
        if self.one_in(8) {
            self.push_any();
        } else {
            self.push_masked(4);
        }
        self.table(&targets);
        for (index, &target) in targets.iter().enumerate() {
            self.bind(target);
            self.body(1);
            if index + 1 < count {
                self.jump(Op::Jmp, end);
            }
        }
        self.bind(end);
        true
    }

    /// Two ways of different height through guest addresses; how many values to drop lies on top afterwards.
    fn jump_map_diamond(&mut self) -> bool {
        if self.depth >= MAX_DEPTH {
            return false;
        }
        let [first, second, end] = [self.label(), self.label(), self.label()];
        let base = self.rng.u64(..1 << 40) & !0xF;
        let base = if self.module.width.bits() == 32 { base >> 12 & !0xF } else { base };
        let map = self.jump_map(vec![(base, first), (base + 8, second)]);
        self.push_any();
        let mask = if self.one_in(100) { 24 } else { 8 };
        self.push(mask);
        self.op(Op::And, &[]);
        self.op(Op::Addi, &[base]);
        self.op(Op::Jmap, &[map]);
        let (words, refs) = (self.words, self.refs.clone());
        let mut most = 0;
        for label in [first, second] {
            (self.words, self.refs) = (words, refs.clone());
            self.bind(label);
            let extra = self.rng.u32(..5);
            most = most.max(extra);
            for _ in 0..extra {
                self.push_any();
            }
            self.push(extra.into());
            if label == first {
                self.jump(Op::Jmp, end);
            }
        }
        // [… values count]: drops them one by one.
        let done = self.label();
        self.words = words + 1;
        self.bind(end);
        self.may_be_higher(most + 1);
        self.op(Op::Dup, &[]);
        self.jump(Op::Jz, done);
        // A block of its own: only here is a value needed below the count.
        let drop = self.label();
        self.bind(drop);
        self.words += 1;
        self.op(Op::Swap, &[]);
        self.op(Op::Pop, &[]);
        self.op(Op::Addi, &[-1i64 as u64]);
        self.words += 1;
        self.jump(Op::Jmp, end);
        self.words = words + 1;
        self.bind(done);
        self.op(Op::Pop, &[]);
        true
    }

    /// A loop that leaves a value each round, and one that folds them.
    fn growing_loop(&mut self) -> bool {
        if self.loops > 1 || self.depth >= MAX_DEPTH {
            return false;
        }
        let rounds = self.rng.u32(2..8);
        let (grow, fold) = (self.label(), self.label());
        self.push(rounds.into());
        self.bind(grow);
        self.push_any();
        self.op(Op::Swap, &[]);
        self.op(Op::Addi, &[-1i64 as u64]);
        self.op(Op::Dup, &[]);
        self.jump(Op::Jnz, grow);
        self.op(Op::Pop, &[]);
        // One value is counted in `words` by now.
        self.may_be_higher(rounds + 3);
        self.words += rounds - 1;
        self.push(i64::from(rounds) - 1);
        self.bind(fold);
        self.word_op(Op::Rot, &[2], 3, 3);
        self.word_op(Op::Rot, &[2], 3, 3);
        let op = [Op::Add, Op::Xor, Op::Mul, Op::Sub][self.rng.usize(..4)];
        self.op(op, &[]);
        self.op(Op::Swap, &[]);
        self.op(Op::Addi, &[-1i64 as u64]);
        self.op(Op::Dup, &[]);
        self.jump(Op::Jnz, fold);
        self.op(Op::Pop, &[]);
        self.words -= rounds - 2;
        true
    }

    pub fn arguments(&mut self, signature: Signature) {
        for _ in 0..signature.words_in {
            self.push_any();
        }
        for _ in 0..signature.refs_in {
            self.push_any_ref();
        }
    }

    /// A function behind this one, so that calls end.
    pub fn callee(&mut self) -> Option<u32> {
        let count = self.plans.len() as u32;
        if self.loops > 0 && !self.one_in(4) {
            return None;
        }
        (self.index + 1 < count).then(|| self.rng.u32(self.index + 1..count))
    }

    fn call(&mut self) -> bool {
        let callee = if self.one_in(2000) { Some(self.index) } else { self.callee() };
        let Some(callee) = callee else { return false };
        let signature = self.plans[callee as usize].signature;
        self.arguments(signature);
        self.op_with(None, Op::Call, &[callee.into()], call_effect(signature));
        true
    }

    fn indirect_call(&mut self) -> bool {
        let Some(callee) = self.callee() else { return false };
        let signature = self.plans[callee as usize].signature;
        self.arguments(signature);
        let entries = self.plans.len() as i64;
        if self.one_in(200) {
            // Empty or outside the table.
            let outside = self.rng.i64(entries..entries + 2);
            self.push(outside);
        } else {
            self.push(callee.into());
        }
        let table = u64::from(self.one_in(300));
        // Each signature is in the module under two indices.
        let index = u64::from(callee) + if self.one_in(2) { entries as u64 } else { 0 };
        let effect = call_effect(signature);
        let effect = Effect { words_in: effect.words_in + 1, ..effect };
        self.op_with(None, Op::Calli, &[index, table], effect);
        true
    }

    /// A tail call to a function with the same results. False if there is none.
    fn tail_call(&mut self) -> bool {
        let own = self.plan().signature;
        let fits =
            |signature: Signature| (signature.words_out, signature.refs_out) == (own.words_out, own.refs_out);
        let callees: Vec<usize> = (self.index as usize + 1..self.plans.len())
            .filter(|&at| fits(self.plans[at].signature))
            .collect();
        if callees.is_empty() {
            return false;
        }
        let callee = callees[self.rng.usize(..callees.len())];
        let signature = self.plans[callee].signature;
        self.arguments(signature);
        let effect = Effect { words_out: 0, refs_out: 0, ..call_effect(signature) };
        self.op_with(None, Op::Tcall, &[callee as u64], effect);
        true
    }

    /// NOCK or TNOCK, which trap: nobody makes functions of formulas. False if the function returns something else.
    fn formula(&mut self, op: Op) -> bool {
        let Signature { words_out, refs_out, .. } = self.plan().signature;
        if op == Op::Tnock && (words_out, refs_out) != (0, 1) {
            return false;
        }
        self.push_noun(2);
        self.push_noun(3);
        let effect = Effect { words_in: 0, words_out: 0, refs_in: 2, refs_out: u32::from(op == Op::Nock) };
        self.op_with(None, op, &[], effect);
        if op == Op::Nock {
            self.op(Op::Rpop, &[]);
        }
        true
    }

    /// At the start of a recursive function: it calls itself with its first parameter, made small, less one.
    fn recursion(&mut self) {
        let signature = self.plan().signature;
        let done = self.label();
        self.op(Op::Lget, &[0]);
        self.push(7);
        self.op(Op::And, &[]);
        self.op(Op::Ltee, &[0]);
        self.jump(Op::Jz, done);
        self.op(Op::Lget, &[0]);
        self.op(Op::Addi, &[-1i64 as u64]);
        for _ in 1..signature.words_in {
            self.push_any();
        }
        for _ in 0..signature.refs_in {
            self.push_any_ref();
        }
        self.op_with(None, Op::Call, &[self.index.into()], call_effect(signature));
        self.drop_to(0, 0);
        self.bind(done);
    }

    fn shuffle(&mut self, op: Op) -> bool {
        let n = self.rng.u32(..4);
        match op {
            Op::Rdup | Op::Rswap => {
                while self.free_refs() <= n as usize {
                    self.push_any_ref();
                }
                self.ref_op(op, n, if op == Op::Rdup { n + 2 } else { n + 1 });
            }
            _ => {
                while self.free_words() <= n {
                    self.push_any();
                }
                match op {
                    Op::Popn => self.word_op(op, &[n.into()], n, 0),
                    Op::Dupn => self.word_op(op, &[n.into()], n + 1, n + 2),
                    _ => self.word_op(op, &[n.into()], n + 1, n + 1),
                }
            }
        }
        true
    }

    /// A block that is written and given back.
    fn alloc_and_free(&mut self) -> bool {
        let bytes = self.rng.i64(64..400);
        self.push(bytes);
        self.op(Op::Alloc, &[]);
        self.op(Op::Dup, &[]);
        self.push_any();
        let offset = self.rng.u64(..8);
        self.op(Op::Store, &[offset]);
        self.op(Op::Free, &[]);
        true
    }

    /// A reference constant that is a document; its index and length.
    fn document(&mut self) -> (u64, u64) {
        let constant = self.rng.usize(4..BYTE_STRINGS as usize);
        (
            constant as u64,
            self.module.ref_constants[constant].as_bytes().map_or(0, |bytes| bytes.len() as u64),
        )
    }

    fn byte_of_constant(&mut self) -> bool {
        let (constant, len) = self.document();
        let index = if self.one_in(300) { len } else { self.rng.u64(..len) };
        self.push(index as i64);
        self.op(Op::Rconst, &[constant]);
        self.op(Op::Bget, &[]);
        true
    }

    /// An operation on documents.
    fn document_op(&mut self, op: Op) -> bool {
        let [json, map, array, paths] = DOCUMENTS;
        let is_map = self.one_in(2);
        let document = if is_map { map } else { array };
        match op {
            Op::RDparse => self.op(Op::Rconst, &[json]),
            Op::RDget | Op::RDset | Op::RDdel => {
                if op == Op::RDset {
                    self.push_any();
                    self.op(Op::RIntd, &[]);
                }
                // Of the paths the first two name places in an array.
                let path = if is_map || self.one_in(40) { self.rng.u64(..4) } else { self.rng.u64(..2) };
                self.op(Op::Rconst, &[paths + path]);
                self.op(Op::Rconst, &[document]);
            }
            Op::RIntd => self.push_any(),
            Op::RStrd => {
                let constant = if is_map { self.rng.u64(..4) } else { json };
                self.op(Op::Rconst, &[constant]);
                let kind = self.rng.u64(..2);
                self.op(op, &[kind]);
                self.top_is_bytes();
                return true;
            }
            Op::RDint if is_map => {
                self.push_any();
                self.op(Op::RIntd, &[]);
            }
            Op::RDstr if is_map => {
                self.op(Op::Rconst, &[json]);
                self.op(Op::RStrd, &[0]);
            }
            _ => {
                if op == Op::RDiter {
                    self.push_masked(4);
                }
                self.op(Op::Rconst, &[document]);
            }
        }
        self.op(op, &[]);
        if matches!(op, Op::RDset | Op::RDtext | Op::RIntd) {
            self.top_is_bytes();
        }
        true
    }

    /// A page that is protected, read, and open again; seldom it stays as it is.
    fn protect(&mut self) -> bool {
        let page = self.rng.i64(0..6) << 12;
        let flags = if self.one_in(20) { 0 } else { 1 };
        for flags in [flags, 3] {
            if flags == 3 && self.one_in(50) {
                break;
            }
            self.push(page);
            self.push_masked(0x1000);
            self.push(flags);
            self.op(Op::MProtect, &[]);
            if flags == 1 {
                self.push(page);
                self.op(Op::Load32, &[0]);
            }
        }
        true
    }

    /// A block that changes its size, or is asked for it, and is given back.
    fn resize(&mut self, op: Op) -> bool {
        self.push_masked(256);
        self.op(Op::Alloc, &[]);
        if op == Op::MRealloc {
            self.push_masked(1024);
            self.op(Op::MRealloc, &[]);
        }
        self.op(Op::Dup, &[]);
        self.op(Op::MUsable, &[]);
        self.op(Op::Swap, &[]);
        self.op(Op::Free, &[]);
        true
    }

    /// Part of a data segment copied to memory.
    fn init_memory(&mut self) -> bool {
        let segment = self.rng.usize(..self.module.data.len());
        let len = self.module.data[segment].bytes.len() as u64;
        let start = self.rng.u64(..=len);
        let count = self.rng.u64(..=len - start) + u64::from(self.one_in(200));
        let to = self.rng.i64(64..10_000);
        for number in [to, start as i64, count as i64] {
            self.push(number);
        }
        self.op(Op::MInit, &[segment as u64]);
        true
    }

    fn slice_of_constant(&mut self) -> bool {
        let (constant, len) = self.document();
        let start = self.rng.u64(..=len);
        let count = self.rng.u64(..=len - start) + u64::from(self.one_in(200));
        self.push(start as i64);
        self.push(count as i64);
        self.op(Op::Rconst, &[constant]);
        self.op(Op::RSlice, &[]);
        self.top_is_bytes();
        true
    }

    fn part_of_constant(&mut self) -> bool {
        let (constant, len) = self.document();
        let start = self.rng.u64(..=len);
        let count = self.rng.u64(..=len - start) + u64::from(self.one_in(200));
        self.push_masked(4096);
        let offset = if self.one_in(200) { 0 } else { self.rng.u64(64..200) };
        self.op(Op::Addi, &[offset]);
        self.push(start as i64);
        self.push(count as i64);
        self.op(Op::Rconst, &[constant]);
        self.op(Op::Bstore, &[]);
        true
    }

    /// An operation on any collection whose operands are on the stacks.
    fn collection_op(&mut self, op: Op) {
        let collection = self.rng.u64(..self.module.collections.len() as u64);
        self.op(op, &[collection]);
    }

    /// A compiled query, or null, and no arguments.
    fn query_operands(&mut self, may_be_null: bool) {
        if may_be_null && !self.one_in(4) {
            self.op(Op::Rnull, &[]);
        } else {
            let query = FIRST_QUERY + u64::from(self.one_in(4));
            self.op(Op::Rconst, &[query]);
        }
        self.op(Op::Rnull, &[]);
    }

    /// A document that is put and then patched.
    fn patch(&mut self) -> bool {
        let key = self.rng.u64(..4);
        let collection = self.rng.u64(..self.module.collections.len() as u64);
        for op in [Op::DbPut, Op::DbPatch] {
            self.op(Op::Rconst, &[key]);
            self.op(Op::Rconst, &[FIRST_QUERY + 2]);
            self.op(op, &[collection]);
        }
        true
    }

    /// An operation that takes a key and then this many byte strings.
    fn keyed(&mut self, op: Op, strings: u32) -> bool {
        let algorithm = self.rng.u64(..2);
        self.op(Op::Rconst, &[FIRST_KEY]);
        for _ in 0..strings {
            self.push_bytes();
        }
        self.op(op, &[algorithm]);
        self.top_is_bytes();
        true
    }

    /// A text encrypted, and decrypted with the same or other associated data.
    fn cipher(&mut self) -> bool {
        let algorithm = self.rng.u64(..2);
        let aad = self.rng.u64(..4);
        let other = if self.one_in(4) { self.rng.u64(..4) } else { aad };
        for aad in [other, aad] {
            self.op(Op::Rconst, &[FIRST_KEY]);
            self.op(Op::Rconst, &[FIRST_KEY + 1]);
            self.op(Op::Rconst, &[aad]);
        }
        self.push_bytes();
        self.op(Op::Encrypt, &[algorithm]);
        self.op(Op::Decrypt, &[algorithm]);
        true
    }

    /// A digest signed, and the signature verified, or the key recovered from it.
    fn signature(&mut self) -> bool {
        let algorithm = self.rng.u64(..2);
        let recovers = algorithm == 1 && self.one_in(2);
        self.op(Op::Rconst, &[FIRST_KEY]);
        if !recovers {
            self.op(Op::Pubkey, &[algorithm]);
            let signed = FIRST_KEY - u64::from(self.one_in(4));
            self.op(Op::Rconst, &[signed]);
        }
        self.op(Op::Rconst, &[FIRST_KEY]);
        self.op(Op::Rconst, &[FIRST_KEY]);
        self.op(Op::Sign, &[algorithm]);
        self.op(if recovers { Op::Recover } else { Op::Verify }, &[algorithm]);
        true
    }

    /// The proof of a slot, verified against a value that it may have.
    fn proof(&mut self) -> bool {
        let key = self.rng.i64(0..4);
        self.push(key);
        if self.one_in(2) {
            self.push(key);
            self.op(Op::Sload, &[]);
        } else {
            self.push_any();
        }
        self.op(Op::StateRoot, &[]);
        self.push(key);
        self.op(Op::StateProve, &[]);
        self.op(Op::StateVerify, &[]);
        true
    }

    /// A few steps of the cursor on top, and its end.
    fn read_cursor(&mut self) -> bool {
        for _ in 0..self.rng.u32(..4) {
            self.op(Op::Dup, &[]);
            self.op(Op::DbNext, &[]);
            self.op(Op::Pop, &[]);
            self.drop_ref();
            self.drop_ref();
        }
        if self.one_in(8) {
            self.op(Op::Pop, &[]);
        } else {
            self.op(Op::DbClose, &[]);
        }
        true
    }

    /// The end of the open transaction, and the start of another.
    fn transaction(&mut self, op: Op) -> bool {
        let has_read_only = op == Op::TxBegin;
        for is_last in [!has_read_only, true] {
            if op == Op::TxAbort {
                self.op(Op::TxAbort, &[]);
            } else {
                self.op(Op::TxCommit, &[]);
                self.drop_word();
            }
            self.op(Op::TxBegin, &[u64::from(!is_last)]);
            if is_last {
                break;
            }
            for _ in 0..3 {
                let reads = [Op::Sload, Op::Sexists, Op::Tload, Op::DbGet, Op::DbExists, Op::DbCount];
                let read = reads[self.rng.usize(..reads.len())];
                self.statement_of(read);
            }
            if self.one_in(40) {
                self.generic(Op::Sstore.info());
            }
        }
        true
    }

    /// Writes that are undone.
    fn savepoint(&mut self) -> bool {
        self.op(Op::Savepoint, &[]);
        for _ in 0..self.rng.u32(..4) {
            let words = self.words;
            let writes = [Op::Sstore, Op::Tstore, Op::Sdelete, Op::DbPut, Op::DbInsert, Op::DbDelete];
            let write = writes[self.rng.usize(..writes.len())];
            let floor = std::mem::replace(&mut self.word_floor, self.words);
            self.generic(write.info());
            while self.words > words {
                self.drop_word();
            }
            self.word_floor = floor;
        }
        self.op(Op::Rollback, &[]);
        true
    }
}
