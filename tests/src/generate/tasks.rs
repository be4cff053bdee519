//! Statements around operations on tasks: they are mostly spawned, talked to and joined in one go, so that programs end.

use dotvm_core::opcode::{Effect, Op};

use super::function::FunctionGenerator;

/// Where threads wait and notify, behind the read-only data; few places, so that they meet.
const PLACES: [u64; 2] = [512, 1024];

impl FunctionGenerator<'_> {
    /// A statement around an operation on tasks. False if there is none here.
    pub fn tasks(&mut self, op: Op) -> bool {
        match op {
            Op::Spawn => {
                self.spawn() && {
                    if self.one_in(3) {
                        self.send_to_top();
                    }
                    if self.one_in(3) {
                        self.join_or_kill_top(Op::Join);
                    }
                    true
                }
            }
            Op::Join => {
                if self.one_in(200) {
                    // Mostly nobody's number.
                    self.push_masked(8);
                    self.op(Op::Join, &[]);
                    return true;
                }
                self.spawn() && {
                    if self.one_in(2) {
                        self.op(Op::Yield, &[]);
                    }
                    self.join_or_kill_top(Op::Join);
                    true
                }
            }
            Op::Kill => {
                if self.one_in(200) {
                    self.push_masked(8);
                    self.push_any();
                    self.op(Op::Kill, &[]);
                    return true;
                }
                self.spawn() && {
                    if self.one_in(2) {
                        self.op(Op::Yield, &[]);
                    }
                    self.join_or_kill_top(Op::Kill);
                    true
                }
            }
            Op::Send => {
                if self.one_in(50) {
                    self.push_any();
                } else {
                    self.push_masked(4);
                }
                self.push_any_ref();
                self.op(Op::Send, &[]);
                true
            }
            Op::Recv => {
                self.push_ticks();
                self.op(Op::Recv, &[]);
                true
            }
            Op::AWait => {
                let place = PLACES[self.rng.usize(..2)];
                let format = self.rng.u64(..=2);
                self.push(place as i64);
                if self.one_in(4) {
                    self.push_any();
                } else {
                    self.op(Op::Push, &[place]);
                    self.op(Op::Loadx, &[format, 0]);
                }
                self.push_ticks();
                self.op(Op::AWait, &[format, 0]);
                true
            }
            Op::ANotify => {
                let place = if self.one_in(50) { 1 << 40 } else { PLACES[self.rng.usize(..2)] };
                self.op(Op::Push, &[place]);
                self.push_masked(4);
                self.op(Op::ANotify, &[0]);
                true
            }
            _ => self.generic(op.info()),
        }
    }

    /// A few turns, or seldom any number of them.
    fn push_ticks(&mut self) {
        if self.one_in(100) {
            self.push_any();
        } else if self.one_in(100) {
            self.push(-1);
        } else {
            self.push_masked(8);
        }
    }

    /// A task that begins with a function behind this one; its number is on top. False if there is none.
    fn spawn(&mut self) -> bool {
        let Some(callee) = self.callee() else { return false };
        let signature = self.plans[callee as usize].signature;
        if signature.words_out > 1 || signature.refs_out > 1 {
            return false;
        }
        self.arguments(signature);
        if self.one_in(8) {
            self.push_any()
        } else {
            self.push(-1)
        }
        let kind = self.rng.u64(..3);
        let effect = Effect {
            words_in: u32::from(signature.words_in) + 1,
            words_out: 1,
            refs_in: signature.refs_in.into(),
            refs_out: 0,
        };
        self.op_with(None, Op::Spawn, &[kind, callee.into()], effect);
        true
    }

    /// Sends something to the task whose number is on top, which stays.
    fn send_to_top(&mut self) {
        self.op(Op::Dup, &[]);
        self.push_any_ref();
        self.op(Op::Send, &[]);
        self.op(Op::Pop, &[]);
    }

    /// Waits for or ends the task whose number is on top, if it is one; a word takes its place.
    fn join_or_kill_top(&mut self, op: Op) {
        let end = self.label();
        self.op(Op::Dup, &[]);
        self.jump(Op::Jz, end);
        if op == Op::Kill {
            self.push_any();
            self.op(Op::Kill, &[]);
        } else {
            self.op(Op::Join, &[]);
            self.op(Op::Add, &[]);
            self.op(Op::Rpop, &[]);
        }
        self.bind(end);
    }
}
