//! One function: its instructions as a list, the heights of its stacks, and the numbers that BLK states.

use dotvm_core::builder::{Code, CodeBuilder, Label};
use dotvm_core::module::{Handler, Module};
use dotvm_core::opcode::{Effect, Flow, Op, Prefix};
use fastrand::Rng;

use super::Plan;

enum Item {
    Op {
        prefix: Option<Prefix>,
        op: Op,
        imms: Vec<u64>,
        effect: Effect,
    },
    Jump {
        op: Op,
        target: Label,
        effect: Effect,
    },
    Table {
        targets: Vec<Label>,
        effect: Effect,
    },
    /// A label, and BLK in window functions.
    Bind(Label),
}

/// A finished function.
pub struct Generated {
    /// Its code.
    pub code: Vec<u8>,
    /// Its window, if it is a window function.
    pub height: u16,
    /// Its jump maps: guest addresses and code offsets.
    pub jump_maps: Vec<Vec<(u64, u32)>>,
    /// Its handlers, in the order of the module.
    pub handlers: Vec<Handler>,
}

/// A handler whose offsets are not known yet.
pub struct Catch {
    /// Start and end of the range, and the code.
    pub places: [Label; 3],
    pub kinds: u32,
    pub words: u32,
    pub refs: usize,
}

/// A function in the making. Values below the floors belong to an outer statement and are only read.
pub struct FunctionGenerator<'a> {
    pub rng: &'a mut Rng,
    pub module: &'a Module,
    pub plans: &'a [Plan],
    pub index: u32,
    items: Vec<Item>,
    builder: CodeBuilder,
    maps: Vec<Vec<(u64, Label)>>,
    /// Height of the word stack, locals not counted.
    pub words: u32,
    /// For each reference on the stack, whether it is known to be bytes.
    pub refs: Vec<bool>,
    pub word_floor: u32,
    pub ref_floor: usize,
    highest: u32,
    /// Nesting of statements.
    pub depth: u32,
    /// Nesting of loops.
    pub loops: u32,
    /// Nesting of ranges with handlers.
    pub tries: u32,
    pub catches: Vec<Catch>,
}

impl<'a> FunctionGenerator<'a> {
    pub fn new(rng: &'a mut Rng, module: &'a Module, plans: &'a [Plan], index: u32) -> Self {
        FunctionGenerator {
            rng,
            module,
            plans,
            index,
            items: Vec::new(),
            builder: CodeBuilder::new(),
            maps: Vec::new(),
            words: 0,
            refs: Vec::new(),
            word_floor: 0,
            ref_floor: 0,
            highest: 0,
            depth: 0,
            loops: 0,
            tries: 0,
            catches: Vec::new(),
        }
    }

    pub fn plan(&self) -> Plan {
        self.plans[self.index as usize]
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: u32) -> bool {
        self.rng.u32(..n) == 0
    }

    /// Word locals, parameters included.
    pub fn word_locals(&self) -> u64 {
        let plan = self.plan();
        if plan.is_window { 0 } else { u64::from(plan.signature.words_in + plan.word_locals) }
    }

    /// Reference locals, parameters included.
    pub fn ref_locals(&self) -> u64 {
        u64::from(self.plan().signature.refs_in + self.plan().ref_locals)
    }

    /// Words above the floor.
    pub fn free_words(&self) -> u32 {
        self.words - self.word_floor
    }

    /// References above the floor.
    pub fn free_refs(&self) -> usize {
        self.refs.len() - self.ref_floor
    }

    fn apply(&mut self, effect: Effect) {
        self.words = self.words - effect.words_in + effect.words_out;
        self.highest = self.highest.max(self.words);
        self.refs.truncate(self.refs.len() - effect.refs_in as usize);
        self.refs.resize(self.refs.len() + effect.refs_out as usize, false);
    }

    /// Says that control comes here from elsewhere with one more word and reference.
    pub fn caught(&mut self) {
        self.apply(Effect { words_in: 0, words_out: 1, refs_in: 0, refs_out: 1 });
    }

    /// Appends an operation whose row states its effect.
    pub fn op(&mut self, op: Op, imms: &[u64]) {
        let effect = op.info().effect.unwrap_or_else(|| panic!("{} states no effect", op.mnemonic()));
        self.op_with(None, op, imms, effect);
    }

    /// Appends an operation with this effect.
    pub fn op_with(&mut self, prefix: Option<Prefix>, op: Op, imms: &[u64], effect: Effect) {
        self.apply(effect);
        self.items.push(Item::Op { prefix, op, imms: imms.to_vec(), effect });
    }

    /// Appends a word operation with these numbers of operands and results.
    pub fn word_op(&mut self, op: Op, imms: &[u64], words_in: u32, words_out: u32) {
        self.op_with(None, op, imms, Effect { words_in, words_out, refs_in: 0, refs_out: 0 });
    }

    pub fn push(&mut self, number: i64) {
        self.op(Op::Push, &[number as u64]);
    }

    /// Marks the reference on top as bytes.
    pub fn top_is_bytes(&mut self) {
        if let Some(top) = self.refs.last_mut() {
            *top = true;
        }
    }

    pub fn label(&mut self) -> Label {
        self.builder.label()
    }

    /// Binds a label; a target of jumps from here on.
    pub fn bind(&mut self, label: Label) {
        self.items.push(Item::Bind(label));
    }

    pub fn jump(&mut self, op: Op, target: Label) {
        let effect = op.info().effect.expect("jumps state their effect");
        self.apply(effect);
        self.items.push(Item::Jump { op, target, effect });
    }

    pub fn table(&mut self, targets: &[Label]) {
        let effect = Op::Jtab.info().effect.expect("JTAB states its effect");
        self.apply(effect);
        self.items.push(Item::Table { targets: targets.to_vec(), effect });
    }

    /// A jump map over labels of this function; its index in the module.
    pub fn jump_map(&mut self, entries: Vec<(u64, Label)>) -> u64 {
        self.maps.push(entries);
        (self.module.jump_maps.len() + self.maps.len() - 1) as u64
    }

    /// Says that at run time the word stack may be this much higher than `words`.
    pub fn may_be_higher(&mut self, by: u32) {
        self.highest = self.highest.max(self.words + by);
    }

    /// Makes the function: about `size` statements.
    pub fn generate(mut self, size: usize) -> Generated {
        let plan = self.plan();
        if plan.is_window {
            let entry = self.label();
            self.bind(entry);
            self.words = plan.signature.words_in.into();
            self.highest = self.words;
        }
        self.function_body(size);
        self.finish()
    }

    fn finish(mut self) -> Generated {
        let is_window = self.plan().is_window;
        for at in 0..self.items.len() {
            match &self.items[at] {
                Item::Op { prefix, op, imms, .. } => self.builder.prefixed(*prefix, *op, imms),
                Item::Jump { op, target, .. } => self.builder.jump(*op, *target),
                Item::Table { targets, .. } => self.builder.table(targets),
                Item::Bind(label) => {
                    self.builder.bind(*label);
                    if is_window {
                        let (need, grow) = block_heights(&self.items[at + 1..]);
                        self.builder.op(Op::Blk, &[need, grow]);
                    }
                }
            }
        }
        let code: Code = self.builder.finish();
        let jump_maps = self
            .maps
            .into_iter()
            .map(|map| map.into_iter().map(|(address, label)| (address, code.offset_of(label))).collect())
            .collect();
        // Some windows have room to spare.
        let height = (self.highest + self.rng.u32(..3)).max(1) as u16;
        let mut handlers: Vec<Handler> = self
            .catches
            .iter()
            .map(|Catch { places, kinds, words, refs }| {
                let [from, to, target] = places.map(|label| code.offset_of(label));
                Handler { from, to, target, kinds: *kinds, words: *words as u16, refs: *refs as u16 }
            })
            .collect();
        handlers.sort_by_key(|handler| (handler.from, std::cmp::Reverse(handler.to)));
        Generated { code: code.bytes, height, jump_maps, handlers }
    }
}

/// What the BLK before `items` must state: the values taken below its height, and the growth above it.
fn block_heights(items: &[Item]) -> (u64, u64) {
    let (mut height, mut lowest, mut highest) = (0i64, 0i64, 0i64);
    for item in items {
        let (effect, flow) = match item {
            Item::Op { op, effect, .. } | Item::Jump { op, effect, .. } => (effect, op.info().flow),
            Item::Table { effect, .. } => (effect, Flow::Multi),
            Item::Bind(_) => break,
        };
        lowest = lowest.min(height - i64::from(effect.words_in));
        height += i64::from(effect.words_out) - i64::from(effect.words_in);
        highest = highest.max(height);
        if matches!(flow, Flow::Jump | Flow::Multi | Flow::Leave) {
            break;
        }
    }
    (-lowest as u64, highest as u64)
}
