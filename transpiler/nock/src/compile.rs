//! Formulas to functions.
//!
//! A function is made for a formula and a shape of its subject: which parts are known nouns, which are parameters. Cells
//! of the subject are not built as long as nobody asks for the whole; a call of a formula that is known is a call of
//! the function for the shape that the subject has there, and one of the function itself at its end is a jump. What a
//! formula does not say, NOCK finds out.

mod hints;

use std::rc::Rc;

use bytes::Bytes;
use dotvm_core::module::Function;
use dotvm_heap::{Heap, Kind, Reference};
use hashbrown::{HashMap, HashSet};

use crate::code::{self, Label, Local, START, Step};
use crate::nouns::{Id, Node, Nouns};
use crate::prelude::Helper;
use crate::services;

/// The most parameters that a function has.
pub(crate) const PARAMETERS: u16 = 16;

/// Functions made at one time; what is called beyond them waits until it is.
const BATCH: usize = 48;

/// Steps after which a function does not take further formulas into its own code.
const STEPS: usize = 3000;

/// Nested formulas that become code of one function.
const DEPTH: u32 = 100;

/// Shapes for which a formula gets functions of its own.
const SHAPES: u32 = 6;

/// Depth to which a subject is taken apart into parameters.
const SPLIT: u32 = 4;

/// Cells of a battery that are searched for a formula.
const SEARCH: usize = 4096;

/// What is asked for.
pub struct Request<'a> {
    /// What the references lead to; always the same heap for one compiler.
    pub heap: &'a mut Heap,
    /// The formula.
    pub formula: Reference,
    /// The subject that it is to be evaluated on first.
    pub subject: Reference,
    /// Whether the function must do for any subject.
    pub for_all: bool,
    /// The number of the first function that is made.
    pub next_function: u32,
    /// The number of the first reference global.
    pub next_global: u32,
    /// Whether calls of a formula are left to NOCK, because somebody wants to see them.
    pub is_watched: &'a mut dyn FnMut(&mut Heap, &Reference) -> bool,
}

/// Which hints are code; the others are evaluated and dropped.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    /// The names with which %fast registers cores. Whatever has another name is no jet's, nor a jet's parent.
    pub names: HashSet<u64>,
    /// Whether %memo keeps products.
    pub memo: bool,
    /// Whether %slog says something.
    pub slog: bool,
}

/// The functions made for a request.
#[derive(Debug)]
pub struct Unit {
    /// The functions; the signature with number n takes n references and returns one.
    pub functions: Vec<Function>,
    /// What the new reference globals hold.
    pub globals: Vec<Reference>,
    /// The function that takes the subject and returns the product.
    pub entry: u32,
    /// Whether it does so only for subjects with the same head.
    pub has_battery: bool,
}

/// What is known of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Shape {
    /// Nothing: it is the next parameter.
    Any,
    Known(Id),
    Cell(Rc<(Shape, Shape)>),
}

/// A noun while a formula is compiled: it takes no code to have one.
#[derive(Clone, Debug)]
enum Value {
    Local(Local),
    Known(Id),
    /// The part of a local at an axis, which is there.
    Part(Local, u64),
    Cell(Rc<Pair>),
}

#[derive(Debug)]
struct Pair {
    number: u32,
    head: Value,
    tail: Value,
}

/// Makes functions of formulas, for one heap.
#[derive(Debug, Default)]
pub struct Compiler {
    nouns: Nouns,
    /// The functions made so far.
    functions: HashMap<(Id, Shape), u32>,
    /// How many shapes each formula has functions for.
    shapes: HashMap<Id, u32>,
    /// The reference globals that hold nouns.
    globals: HashMap<Id, u32>,
    /// The reference globals that hold names of services.
    services: HashMap<&'static [u8], u32>,
    hints: Hints,
    /// Batteries that code registers when it runs, so that calls of them are left to NOCK.
    registered: HashSet<Id>,
}

impl Compiler {
    /// A compiler that has seen nothing.
    pub fn new(hints: Hints) -> Compiler {
        Compiler { hints, ..Compiler::default() }
    }

    /// Makes a function of a formula, and those that it calls. The numbers of functions and globals count on: if the
    /// functions are not added to the program, the compiler is of no more use.
    ///
    /// # Errors
    /// A sentence, if the formula or the subject's head is no noun.
    pub fn compile(&mut self, request: Request<'_>) -> Result<Unit, String> {
        let Request { heap, formula, subject, for_all, next_function, next_global, is_watched } = request;
        let no_noun = || "a formula holds what is no noun".to_owned();
        let is_marked = heap.head(&formula).is_some_and(|head| head.kind() == Kind::Bytes);
        let formula = if is_marked { heap.tail(&formula).ok_or_else(no_noun)?.alias() } else { formula };
        let id = self.nouns.intern(heap, &formula).ok_or_else(no_noun)?;
        let mut battery = None;
        if !for_all
            && let Some(head) = heap.head(&subject).map(Reference::alias)
            && is_arm(heap, &formula, &head)
        {
            battery = Some(self.nouns.intern(heap, &head).ok_or_else(no_noun)?);
        }
        let constants = [0, 1].map(|number| self.nouns.small(heap, number));
        let mut batch = Batch {
            compiler: self,
            heap,
            constants,
            is_watched,
            next_function: next_function + 1,
            next_global,
            globals: Vec::new(),
            work: Vec::new(),
        };
        let mut functions = Vec::new();
        let entry = batch.entry(id, battery, is_marked);
        functions.push(entry);
        let mut done = 0;
        while let Some((formula, shape)) = batch.work.get(done).cloned() {
            functions.push(batch.function(formula, &shape));
            done += 1;
        }
        Ok(Unit { functions, globals: batch.globals, entry: next_function, has_battery: battery.is_some() })
    }
}

/// Whether a formula is an arm of a battery: the battery itself, or a part of it.
fn is_arm(heap: &Heap, formula: &Reference, battery: &Reference) -> bool {
    let mut rest = vec![battery.alias()];
    for _ in 0..SEARCH {
        let Some(part) = rest.pop() else { return false };
        if part == *formula {
            return true;
        }
        if let (Some(head), Some(tail)) = (heap.head(&part), heap.tail(&part)) {
            rest.extend([tail.alias(), head.alias()]);
        }
    }
    false
}

/// The functions made at one time.
struct Batch<'a> {
    compiler: &'a mut Compiler,
    heap: &'a mut Heap,
    is_watched: &'a mut dyn FnMut(&mut Heap, &Reference) -> bool,
    /// The atoms 0 and 1.
    constants: [Id; 2],
    next_function: u32,
    next_global: u32,
    globals: Vec<Reference>,
    /// The functions after the first, in order.
    work: Vec<(Id, Shape)>,
}

impl Batch<'_> {
    /// The function that is entered with the whole subject.
    fn entry(&mut self, formula: Id, battery: Option<Id>, is_marked: bool) -> Function {
        let mut writer = Writer::new(self, None, 1);
        if is_marked {
            let trace = writer.local();
            writer.emit(Step::Global(services::TRACE));
            writer.emit(Step::Set(trace));
            writer.trace = Some(trace);
        }
        let subject = match battery {
            None => Value::Local(0),
            Some(battery) => {
                let whole = writer.pair(Value::Known(battery), Value::Part(0, 3));
                if let Value::Cell(pair) = &whole {
                    writer.built.push((pair.number, 0));
                }
                whole
            }
        };
        writer.tail(formula, &subject, 0);
        writer.finish()
    }

    /// The function for a formula and a shape.
    fn function(&mut self, formula: Id, shape: &Shape) -> Function {
        let mut parameters = 0;
        count(shape, &mut parameters);
        let own = self.compiler.functions.get(&(formula, shape.clone())).copied();
        let mut writer = Writer::new(self, own, parameters);
        let subject = writer.subject(shape, &mut 0);
        writer.tail(formula, &subject, 0);
        writer.finish()
    }

    /// The global that holds a noun.
    fn global(&mut self, id: Id) -> u32 {
        if let Some(global) = self.compiler.globals.get(&id) {
            return *global;
        }
        let global = self.next_global;
        self.next_global += 1;
        let reference = self.heap.share(self.compiler.nouns.reference(id));
        self.globals.push(reference);
        self.compiler.globals.insert(id, global);
        global
    }

    /// The global that holds a service's name.
    fn service(&mut self, name: &'static [u8]) -> Option<u32> {
        if let Some(global) = self.compiler.services.get(name) {
            return Some(*global);
        }
        let global = self.next_global;
        self.globals.push(self.heap.bytes(Bytes::from_static(name)).ok()?);
        self.next_global += 1;
        self.compiler.services.insert(name, global);
        Some(global)
    }

    /// Whether calls of a formula are left to NOCK.
    fn is_watched(&mut self, formula: Id) -> bool {
        self.compiler.registered.contains(&formula)
            || (self.is_watched)(self.heap, self.compiler.nouns.reference(formula))
    }

    /// The function for a formula and a shape, if there is one or may be one more.
    fn callee(&mut self, formula: Id, shape: &Shape) -> Option<u32> {
        let key = (formula, shape.clone());
        if let Some(function) = self.compiler.functions.get(&key) {
            return Some(*function);
        }
        if self.work.len() >= BATCH {
            return None;
        }
        let function = self.next_function;
        self.next_function += 1;
        *self.compiler.shapes.entry(formula).or_default() += 1;
        self.compiler.functions.insert(key.clone(), function);
        self.work.push(key);
        Some(function)
    }
}

/// Parameters of a shape.
fn count(shape: &Shape, parameters: &mut u16) {
    match shape {
        Shape::Any => *parameters += 1,
        Shape::Known(_) => {}
        Shape::Cell(parts) => {
            count(&parts.0, parameters);
            count(&parts.1, parameters);
        }
    }
}

/// Writes one function.
struct Writer<'a, 'b> {
    batch: &'a mut Batch<'b>,
    /// Its own number, if calls of it can be jumps.
    own: Option<u32>,
    /// The local that holds the trace, in code of marked formulas; the global holds the same but for during calls.
    trace: Option<Local>,
    parameters: u16,
    locals: u16,
    labels: u32,
    steps: Vec<Step>,
    /// Whether control does not come here.
    is_dead: bool,
    /// Labels that something jumps to.
    targets: Vec<bool>,
    pairs: u32,
    /// Parts that were loaded, and cells that were built, into locals: valid from there on, the last ones first given
    /// up where ways join.
    loaded: Vec<((Local, u64), Local)>,
    built: Vec<(u32, Local)>,
}

/// How many parts are loaded and cells built.
type Mark = (usize, usize);

impl<'a, 'b> Writer<'a, 'b> {
    fn new(batch: &'a mut Batch<'b>, own: Option<u32>, parameters: u16) -> Writer<'a, 'b> {
        Writer {
            batch,
            own,
            trace: None,
            parameters,
            locals: parameters,
            labels: 1,
            steps: vec![Step::Bind(START)],
            is_dead: false,
            targets: vec![false],
            pairs: 0,
            loaded: Vec::new(),
            built: Vec::new(),
        }
    }

    fn finish(mut self) -> Function {
        code::use_up(&mut self.steps, self.parameters, self.labels as usize);
        code::function(&self.steps, self.parameters, self.locals, self.labels as usize)
    }

    fn subject(&mut self, shape: &Shape, next: &mut Local) -> Value {
        match shape {
            Shape::Any => {
                *next += 1;
                Value::Local(*next - 1)
            }
            Shape::Known(id) => Value::Known(*id),
            Shape::Cell(parts) => {
                let head = self.subject(&parts.0, next);
                let tail = self.subject(&parts.1, next);
                self.pair(head, tail)
            }
        }
    }

    // Steps

    fn emit(&mut self, step: Step) {
        if !self.is_dead {
            if let Step::Jump(label) | Step::JumpIf(label) | Step::JumpUnless(label) = step {
                self.targets[label.0 as usize] = true;
            }
            self.steps.push(step);
            let leaves = matches!(
                step,
                Step::Jump(_) | Step::Return | Step::Crash | Step::TailCall(_) | Step::TailNock
            );
            self.is_dead = leaves;
        }
    }

    fn label(&mut self) -> Label {
        self.labels += 1;
        self.targets.push(false);
        Label(self.labels - 1)
    }

    /// Control may come from elsewhere: what is loaded there is what was at the mark.
    fn bind(&mut self, label: Label, mark: Mark) {
        self.back_to(mark);
        if self.targets[label.0 as usize] {
            self.is_dead = false;
            self.steps.push(Step::Bind(label));
        }
    }

    fn mark(&self) -> Mark {
        (self.loaded.len(), self.built.len())
    }

    fn back_to(&mut self, mark: Mark) {
        self.loaded.truncate(mark.0);
        self.built.truncate(mark.1);
    }

    fn local(&mut self) -> Local {
        // STEPS bounds them far below the limit.
        self.locals += 1;
        self.locals - 1
    }

    /// Puts the top of the stack into a local.
    fn keep(&mut self) -> Value {
        let local = self.local();
        self.emit(Step::Set(local));
        Value::Local(local)
    }

    fn crash(&mut self) -> Value {
        self.emit(Step::Crash);
        Value::Known(self.batch.constants[0])
    }

    fn pair(&mut self, head: Value, tail: Value) -> Value {
        self.pairs += 1;
        Value::Cell(Rc::new(Pair { number: self.pairs, head, tail }))
    }

    // Values

    /// Pushes a value.
    fn push(&mut self, value: &Value) {
        match value {
            Value::Local(local) => self.emit(Step::Get(*local)),
            Value::Known(id) => {
                let global = self.batch.global(*id);
                self.emit(Step::Global(global));
            }
            Value::Part(local, axis) => {
                let part = self.load(*local, *axis);
                self.emit(Step::Get(part));
            }
            Value::Cell(pair) => {
                if let Some((_, local)) = self.built.iter().rev().find(|built| built.0 == pair.number) {
                    let local = *local;
                    return self.emit(Step::Get(local));
                }
                self.push(&pair.head);
                self.push(&pair.tail);
                self.emit(Step::Cons);
                if !self.is_dead {
                    let local = self.local();
                    self.emit(Step::Set(local));
                    self.emit(Step::Get(local));
                    self.built.push((pair.number, local));
                }
            }
        }
    }

    /// The local that holds a part of another; it crashes if there is no such part.
    fn load(&mut self, local: Local, axis: u64) -> Local {
        if axis == 1 {
            return local;
        }
        // The longest part of the way that was gone before.
        for steps in 0..axis.ilog2() {
            let way = axis >> steps;
            let Some((_, part)) = self.loaded.iter().rev().find(|loaded| loaded.0 == (local, way)) else {
                continue;
            };
            let part = *part;
            return self.load(part, 1 << steps | axis & ((1 << steps) - 1));
        }
        let part = self.local();
        self.emit(Step::Get(local));
        self.emit(Step::Axis(axis));
        self.emit(Step::Set(part));
        if !self.is_dead {
            self.loaded.push(((local, axis), part));
        }
        part
    }

    /// The part of a value at an axis.
    fn part(&mut self, value: &Value, axis: u64) -> Value {
        if axis == 0 {
            return self.crash();
        }
        let mut value = value.clone();
        for step in (0..axis.ilog2()).rev() {
            let is_tail = axis >> step & 1 != 0;
            value = match &value {
                Value::Cell(pair) => if is_tail { &pair.tail } else { &pair.head }.clone(),
                Value::Known(id) => match self.batch.compiler.nouns.cell(*id) {
                    Some((head, tail)) => Value::Known(if is_tail { tail } else { head }),
                    None => return self.crash(),
                },
                Value::Local(local) => {
                    let rest = 1 << (step + 1) | axis & ((1 << (step + 1)) - 1);
                    return Value::Local(self.load(*local, rest));
                }
                Value::Part(local, way) => {
                    let rest = 1 << (step + 1) | axis & ((1 << (step + 1)) - 1);
                    let whole = self.load(*local, *way);
                    return Value::Local(self.load(whole, rest));
                }
            };
        }
        value
    }

    /// Both parts of a value.
    fn split(&mut self, value: &Value) -> (Value, Value) {
        match value {
            Value::Cell(pair) => (pair.head.clone(), pair.tail.clone()),
            Value::Known(id) => match self.batch.compiler.nouns.cell(*id) {
                Some((head, tail)) => (Value::Known(head), Value::Known(tail)),
                None => (self.crash(), Value::Known(self.batch.constants[0])),
            },
            Value::Local(_) | Value::Part(..) => {
                let local = match value {
                    Value::Part(local, axis) => self.load(*local, *axis),
                    Value::Local(local) => *local,
                    _ => return (value.clone(), value.clone()),
                };
                (Value::Local(self.load(local, 2)), Value::Part(local, 3))
            }
        }
    }

    fn edit(&mut self, target: &Value, axis: u64, new: &Value) -> Value {
        if axis == 1 {
            return new.clone();
        }
        let steps = axis.ilog2();
        if steps > 4 && matches!(target, Value::Local(_) | Value::Part(..)) {
            self.push(new);
            self.push(target);
            self.emit(Step::Edit(axis));
            return self.keep();
        }
        let is_tail = axis >> (steps - 1) & 1 != 0;
        let rest = 1 << (steps - 1) | axis & ((1 << (steps - 1)) - 1);
        let (head, tail) = self.split(target);
        if is_tail {
            let tail = self.edit(&tail, rest, new);
            self.pair(head, tail)
        } else {
            let head = self.edit(&head, rest, new);
            self.pair(head, tail)
        }
    }

    // Formulas

    /// Whether a formula is left to another function, because this one is long or deep.
    fn is_full(&self, depth: u32) -> bool {
        depth >= DEPTH || (self.steps.len() >= STEPS && depth > 0)
    }

    /// The value of a formula.
    fn value(&mut self, formula: Id, subject: &Value, depth: u32) -> Value {
        if self.is_dead {
            return Value::Known(self.batch.constants[0]);
        }
        let Some((op, rest)) = self.batch.compiler.nouns.cell(formula) else { return self.crash() };
        let nouns = &self.batch.compiler.nouns;
        if self.is_full(depth) && !matches!(nouns.node(op), Node::Small(0 | 1)) {
            self.call_known(formula, subject);
            return self.keep();
        }
        match nouns.node(op) {
            Node::Cell(..) => {
                let head = self.value(op, subject, depth + 1);
                let tail = self.value(rest, subject, depth + 1);
                self.pair(head, tail)
            }
            Node::Small(0) => match nouns.node(rest) {
                Node::Small(axis) => self.part(subject, axis),
                Node::Large => {
                    self.push(&Value::Known(rest));
                    self.push(subject);
                    self.emit(Step::AxisOf);
                    self.keep()
                }
                Node::Cell(..) => self.crash(),
            },
            Node::Small(1) => Value::Known(rest),
            Node::Small(7) => match nouns.cell(rest) {
                Some((first, second)) => {
                    let subject = self.value(first, subject, depth + 1);
                    self.value(second, &subject, depth + 1)
                }
                None => self.crash(),
            },
            Node::Small(8) => match nouns.cell(rest) {
                Some((first, second)) => {
                    let head = self.value(first, subject, depth + 1);
                    let subject = self.pair(head, subject.clone());
                    self.value(second, &subject, depth + 1)
                }
                None => self.crash(),
            },
            Node::Small(2 | 9) => match self.target(op, rest, subject, depth) {
                Some((subject, formula)) => {
                    if let Value::Known(known) = formula
                        && self.is_inlined(known)
                    {
                        return self.value(known, &subject, depth + 1);
                    }
                    self.call(&subject, &formula);
                    self.keep()
                }
                None => self.crash(),
            },
            Node::Small(10) => self.edited(rest, subject, depth),
            Node::Small(11) if self.is_after(rest) => self.value_and_after(rest, subject, depth),
            Node::Small(11) => match self.hinted(rest, subject, depth) {
                Some(body) => self.value(body, subject, depth + 1),
                None => self.crash(),
            },
            Node::Small(6) => self.chosen(rest, subject, depth),
            Node::Small(12) => self.scried(rest, subject, depth),
            Node::Small(3..=5) => {
                self.pushed(formula, subject, depth);
                self.keep()
            }
            _ => self.crash(),
        }
    }

    /// Pushes the value of a formula.
    fn pushed(&mut self, formula: Id, subject: &Value, depth: u32) {
        if self.is_dead {
            return;
        }
        let nouns = &self.batch.compiler.nouns;
        let Some((op, rest)) = nouns.cell(formula) else {
            self.crash();
            return;
        };
        match nouns.node(op) {
            Node::Small(0 | 1) => {
                let value = self.value(formula, subject, depth);
                self.push(&value);
            }
            _ if self.is_full(depth) => self.call_known(formula, subject),
            Node::Cell(..) => {
                self.pushed(op, subject, depth + 1);
                self.pushed(rest, subject, depth + 1);
                self.emit(Step::Cons);
            }
            Node::Small(4) => {
                self.pushed(rest, subject, depth + 1);
                self.emit(Step::Increment);
            }
            Node::Small(3 | 5) => {
                let (no, end) = (self.label(), self.label());
                let mark = self.jump(formula, subject, no, false, depth);
                self.push_known(0);
                self.emit(Step::Jump(end));
                self.bind(no, mark);
                self.push_known(1);
                self.bind(end, mark);
            }
            Node::Small(2 | 9) => match self.target(op, rest, subject, depth) {
                Some((subject, formula)) => match formula {
                    Value::Known(known) if self.is_inlined(known) => self.pushed(known, &subject, depth + 1),
                    _ => self.call(&subject, &formula),
                },
                None => {
                    self.crash();
                }
            },
            _ => {
                let value = self.value(formula, subject, depth);
                self.push(&value);
            }
        }
    }

    fn push_known(&mut self, constant: usize) {
        let value = Value::Known(self.batch.constants[constant]);
        self.push(&value);
    }

    /// Subject and formula of a call by 2 or 9.
    fn target(&mut self, op: Id, rest: Id, subject: &Value, depth: u32) -> Option<(Value, Value)> {
        let (first, second) = self.batch.compiler.nouns.cell(rest)?;
        if self.batch.compiler.nouns.number(op) == Some(2) {
            let new = self.value(first, subject, depth + 1);
            let formula = self.value(second, subject, depth + 1);
            return Some((new, formula));
        }
        let core = self.value(second, subject, depth + 1);
        let formula = match self.batch.compiler.nouns.node(first) {
            Node::Small(axis) => self.part(&core, axis),
            Node::Large => {
                self.push(&Value::Known(first));
                self.push(&core);
                self.emit(Step::AxisOf);
                self.keep()
            }
            Node::Cell(..) => return None,
        };
        Some((core, formula))
    }

    /// The value of `[12 ref path]` behind the 12.
    fn scried(&mut self, rest: Id, subject: &Value, depth: u32) -> Value {
        let Some((reference, path)) = self.batch.compiler.nouns.cell(rest) else { return self.crash() };
        let reference = self.value(reference, subject, depth + 1);
        let path = self.value(path, subject, depth + 1);
        self.push(&reference);
        self.push(&path);
        self.emit(Step::Cons);
        self.emit(Step::Call(Helper::Scry as u32));
        self.restore_trace();
        self.keep()
    }

    /// The value of `[10 [axis new] target]` behind the 10.
    fn edited(&mut self, rest: Id, subject: &Value, depth: u32) -> Value {
        let nouns = &self.batch.compiler.nouns;
        let parts = nouns.cell(rest).and_then(|(edit, target)| Some((nouns.cell(edit)?, target)));
        let Some(((axis, new), target)) = parts else { return self.crash() };
        let axis_node = nouns.node(axis);
        if matches!(axis_node, Node::Small(0) | Node::Cell(..)) {
            return self.crash();
        }
        let target = self.value(target, subject, depth + 1);
        let new = self.value(new, subject, depth + 1);
        match axis_node {
            Node::Small(0) | Node::Cell(..) => self.crash(),
            Node::Small(number) => self.edit(&target, number, &new),
            Node::Large => {
                self.push(&Value::Known(axis));
                self.push(&new);
                self.push(&target);
                self.emit(Step::EditAt);
                self.keep()
            }
        }
    }

    /// The value of a choice behind the 6.
    fn chosen(&mut self, rest: Id, subject: &Value, depth: u32) -> Value {
        let nouns = &self.batch.compiler.nouns;
        let parts = nouns.cell(rest).and_then(|(test, ways)| Some((test, nouns.cell(ways)?)));
        let Some((test, (yes, no))) = parts else { return self.crash() };
        let (otherwise, end) = (self.label(), self.label());
        let mark = self.jump(test, subject, otherwise, false, depth + 1);
        let value = self.value(yes, subject, depth + 1);
        if self.is_dead {
            self.bind(otherwise, mark);
            return self.value(no, subject, depth + 1);
        }
        self.push(&value);
        self.emit(Step::Jump(end));
        self.bind(otherwise, mark);
        self.pushed(no, subject, depth + 1);
        self.bind(end, mark);
        self.keep()
    }

    /// Jumps if a formula's value is yes (`jump_if`) or no, and goes on if it is the other. Answers what is loaded
    /// where it jumps.
    fn jump(&mut self, formula: Id, subject: &Value, to: Label, jump_if: bool, depth: u32) -> Mark {
        if self.is_dead {
            return self.mark();
        }
        let nouns = &self.batch.compiler.nouns;
        if let Some((op, rest)) = nouns.cell(formula)
            && !self.is_full(depth)
        {
            let parts = nouns.cell(rest);
            match (nouns.number(op), parts) {
                (Some(1), None) if matches!(nouns.number(rest), Some(0 | 1)) => {
                    if (nouns.number(rest) == Some(0)) == jump_if {
                        self.emit(Step::Jump(to));
                    }
                    return self.mark();
                }
                (Some(3), _) => {
                    self.pushed(rest, subject, depth + 1);
                    self.emit(Step::IsCell);
                    self.emit(if jump_if { Step::JumpIf(to) } else { Step::JumpUnless(to) });
                    return self.mark();
                }
                (Some(5), Some((a, b))) => {
                    self.pushed(a, subject, depth + 1);
                    self.pushed(b, subject, depth + 1);
                    self.emit(Step::Equal);
                    self.emit(if jump_if { Step::JumpIf(to) } else { Step::JumpUnless(to) });
                    return self.mark();
                }
                (Some(5), None) => {
                    self.crash();
                    return self.mark();
                }
                (Some(6), Some((test, ways))) => {
                    if let Some((yes, no)) = nouns.cell(ways) {
                        return self.jump_chosen(test, [yes, no], subject, to, jump_if, depth);
                    }
                }
                (Some(7), Some((first, second))) => {
                    let subject = self.value(first, subject, depth + 1);
                    return self.jump(second, &subject, to, jump_if, depth + 1);
                }
                (Some(8), Some((first, second))) => {
                    let head = self.value(first, subject, depth + 1);
                    let subject = self.pair(head, subject.clone());
                    return self.jump(second, &subject, to, jump_if, depth + 1);
                }
                (Some(11), Some(_)) if !self.is_after(rest) => {
                    if let Some(body) = self.hinted(rest, subject, depth) {
                        return self.jump(body, subject, to, jump_if, depth + 1);
                    }
                }
                _ => {}
            }
        }
        self.pushed(formula, subject, depth);
        self.emit(Step::ToWord);
        self.emit(Step::KeepWord);
        let on = self.label();
        let mark = self.mark();
        self.emit(Step::JumpUnless(if jump_if { to } else { on }));
        self.emit(Step::IsOne);
        self.emit(Step::JumpIf(if jump_if { on } else { to }));
        self.emit(Step::Crash);
        self.bind(on, mark);
        mark
    }

    /// The same for a choice as a test.
    fn jump_chosen(
        &mut self,
        test: Id,
        [yes, no]: [Id; 2],
        subject: &Value,
        to: Label,
        jump_if: bool,
        depth: u32,
    ) -> Mark {
        let (otherwise, on) = (self.label(), self.label());
        let mark = self.jump(test, subject, otherwise, false, depth + 1);
        self.jump(yes, subject, to, jump_if, depth + 1);
        self.emit(Step::Jump(on));
        self.bind(otherwise, mark);
        self.jump(no, subject, to, jump_if, depth + 1);
        self.bind(on, mark);
        mark
    }

    /// Writes a formula as the end of the function.
    fn tail(&mut self, formula: Id, subject: &Value, depth: u32) {
        if self.is_dead {
            return;
        }
        let nouns = &self.batch.compiler.nouns;
        let Some((op, rest)) = nouns.cell(formula) else {
            self.crash();
            return;
        };
        let parts = nouns.cell(rest);
        match (nouns.node(op), parts) {
            (Node::Small(2 | 6 | 7 | 8 | 9 | 10 | 11 | 12), _) | (Node::Cell(..), _)
                if self.is_full(depth) =>
            {
                self.tail_call_known(formula, subject);
            }
            (Node::Small(2 | 9), _) => match self.target(op, rest, subject, depth) {
                Some((subject, Value::Known(known))) if self.is_inlined(known) => {
                    self.tail(known, &subject, depth + 1);
                }
                Some((subject, formula)) => self.tail_call(&subject, &formula),
                None => {
                    self.crash();
                }
            },
            (Node::Small(6), Some((test, ways))) => {
                let Some((yes, no)) = self.batch.compiler.nouns.cell(ways) else {
                    self.crash();
                    return;
                };
                let otherwise = self.label();
                let mark = self.jump(test, subject, otherwise, false, depth + 1);
                self.tail(yes, subject, depth + 1);
                self.bind(otherwise, mark);
                self.tail(no, subject, depth + 1);
            }
            (Node::Small(7), Some((first, second))) => {
                let subject = self.value(first, subject, depth + 1);
                self.tail(second, &subject, depth + 1);
            }
            (Node::Small(8), Some((first, second))) => {
                let head = self.value(first, subject, depth + 1);
                let subject = self.pair(head, subject.clone());
                self.tail(second, &subject, depth + 1);
            }
            (Node::Small(11), Some(_)) if self.is_mean(rest) => {
                if let Some((Some((tag, clue)), body)) = self.hint(rest) {
                    self.enter_trace(tag, clue, subject, depth);
                    self.tail(body, subject, depth + 1);
                }
            }
            (Node::Small(11), Some(_)) if !self.is_after(rest) => match self.hinted(rest, subject, depth) {
                Some(body) => self.tail(body, subject, depth + 1),
                None => {
                    self.crash();
                }
            },
            _ => {
                self.pushed(formula, subject, depth);
                self.emit(Step::Return);
            }
        }
    }

    /// Whether a call of a formula becomes its code.
    fn is_inlined(&mut self, formula: Id) -> bool {
        self.is_leaf(formula, 5) && !self.batch.is_watched(formula)
    }

    /// Whether a formula is small, and calls nothing.
    fn is_leaf(&self, formula: Id, depth: u32) -> bool {
        let nouns = &self.batch.compiler.nouns;
        let Some((op, rest)) = nouns.cell(formula) else { return true };
        if depth == 0 {
            return false;
        }
        match nouns.node(op) {
            Node::Cell(..) => self.is_leaf(op, depth - 1) && self.is_leaf(rest, depth - 1),
            Node::Small(0 | 1) => true,
            Node::Small(3 | 4) => self.is_leaf(rest, depth - 1),
            Node::Small(5) => nouns.cell(rest).is_none_or(|(first, second)| {
                self.is_leaf(first, depth - 1) && self.is_leaf(second, depth - 1)
            }),
            _ => false,
        }
    }

    // Calls

    /// Calls a formula that is not known to be one; the product is pushed.
    fn call(&mut self, subject: &Value, formula: &Value) {
        if let Value::Known(formula) = formula {
            return self.call_known(*formula, subject);
        }
        self.nock(subject, formula);
    }

    /// Calls a formula that may be any; the product is pushed.
    fn nock(&mut self, subject: &Value, formula: &Value) {
        self.push_call(subject, formula);
        self.emit(Step::Nock);
        self.restore_trace();
    }

    fn tail_nock(&mut self, subject: &Value, formula: &Value) {
        self.push_call(subject, formula);
        self.emit(Step::TailNock);
    }

    /// Pushes a subject and a formula, which is marked where this one is.
    fn push_call(&mut self, subject: &Value, formula: &Value) {
        self.push(subject);
        if self.trace.is_none() {
            return self.push(formula);
        }
        match self.batch.service(services::MARK) {
            Some(mark) => self.emit(Step::Global(mark)),
            None => self.emit(Step::Crash),
        }
        self.push(formula);
        self.emit(Step::Cons);
    }

    fn tail_call(&mut self, subject: &Value, formula: &Value) {
        if let Value::Known(formula) = formula {
            return self.tail_call_known(*formula, subject);
        }
        self.tail_nock(subject, formula);
    }

    fn call_known(&mut self, formula: Id, subject: &Value) {
        if self.is_dead {
            return;
        }
        if self.trace.is_some() || self.batch.is_watched(formula) {
            return self.nock(subject, &Value::Known(formula));
        }
        let (shape, arguments) = self.shape(formula, subject);
        match self.batch.callee(formula, &shape) {
            Some(function) => {
                arguments.iter().for_each(|argument| self.push(argument));
                self.emit(Step::Call(function));
            }
            None => self.nock(subject, &Value::Known(formula)),
        }
    }

    fn tail_call_known(&mut self, formula: Id, subject: &Value) {
        if self.is_dead {
            return;
        }
        if self.trace.is_some() || self.batch.is_watched(formula) {
            return self.tail_nock(subject, &Value::Known(formula));
        }
        let (shape, arguments) = self.shape(formula, subject);
        match self.batch.callee(formula, &shape) {
            Some(function) if self.own == Some(function) => self.repeat(&arguments),
            Some(function) => {
                arguments.iter().for_each(|argument| self.push(argument));
                self.emit(Step::TailCall(function));
            }
            None => self.tail_nock(subject, &Value::Known(formula)),
        }
    }

    /// The function again, with other arguments.
    fn repeat(&mut self, arguments: &[Value]) {
        let is_own = |(parameter, argument): (usize, &Value)| matches!(argument, Value::Local(local) if usize::from(*local) == parameter);
        let mut changed: Vec<(Local, &Value)> = arguments
            .iter()
            .enumerate()
            .filter(|argument| !is_own(*argument))
            .map(|(parameter, argument)| (parameter as Local, argument))
            .collect();
        // What was computed for a parameter alone is put there at once.
        let mut index = 0;
        while let Some((parameter, argument)) = changed.get(index).copied() {
            let others =
                || arguments.iter().enumerate().filter(|(other, _)| *other != usize::from(parameter));
            if let Value::Local(local) = argument
                && *local >= self.parameters
                && others().all(|(_, other)| !mentions(other, *local) && !mentions(other, parameter))
                && self.retarget(*local, parameter)
            {
                changed.remove(index);
            } else {
                index += 1;
            }
        }
        changed.iter().for_each(|(_, argument)| self.push(argument));
        changed.iter().rev().for_each(|(parameter, _)| self.emit(Step::Set(*parameter)));
        self.emit(Step::Jump(START));
    }

    /// Makes the step that set a local set another, if nothing since then speaks against it.
    fn retarget(&mut self, from: Local, to: Local) -> bool {
        for step in self.steps.iter_mut().rev() {
            match step {
                Step::Set(local) if *local == from => {
                    *step = Step::Set(to);
                    return true;
                }
                Step::Get(local) | Step::Set(local) if *local == from || *local == to => return false,
                Step::Bind(_) | Step::Jump(_) | Step::JumpIf(_) | Step::JumpUnless(_) => return false,
                _ => {}
            }
        }
        false
    }

    /// The shape that a subject is passed in to a formula, and the arguments.
    fn shape(&mut self, formula: Id, subject: &Value) -> (Shape, Vec<Value>) {
        let mut arguments = Vec::new();
        let shape = self.shape_of(subject, true, SPLIT, &mut arguments);
        let is_new = !self.batch.compiler.functions.contains_key(&(formula, shape.clone()));
        let crowded = self.batch.compiler.shapes.get(&formula).is_some_and(|shapes| *shapes >= SHAPES);
        if arguments.len() <= usize::from(PARAMETERS) && !(is_new && crowded) {
            return (shape, arguments);
        }
        // Only the battery, or nothing.
        if let Value::Cell(pair) = subject
            && let Value::Known(battery) = pair.head
            && self.batch.compiler.nouns.cell(battery).is_some()
            && self.batch.compiler.shapes.get(&formula).is_none_or(|shapes| *shapes < 4 * SHAPES)
        {
            return (Shape::Cell(Rc::new((Shape::Known(battery), Shape::Any))), vec![pair.tail.clone()]);
        }
        (Shape::Any, vec![subject.clone()])
    }

    fn shape_of(&self, value: &Value, is_head: bool, depth: u32, arguments: &mut Vec<Value>) -> Shape {
        match value {
            Value::Known(id) if self.is_function(*id, is_head) => Shape::Known(*id),
            Value::Cell(pair) if depth > 0 => {
                let head = self.shape_of(&pair.head, true, depth - 1, arguments);
                let tail = self.shape_of(&pair.tail, false, depth - 1, arguments);
                Shape::Cell(Rc::new((head, tail)))
            }
            _ => {
                arguments.push(value.clone());
                Shape::Any
            }
        }
    }

    /// Whether a known noun is worth a function of its own: a battery, which is the head of something, or a core.
    fn is_function(&self, id: Id, is_head: bool) -> bool {
        let nouns = &self.batch.compiler.nouns;
        match nouns.cell(id) {
            Some(_) if is_head => true,
            Some((battery, _)) => nouns.cell(battery).is_some_and(|(op, rest)| {
                nouns.cell(op).is_some()
                    || (nouns.number(op).is_some_and(|op| op <= 11) && nouns.cell(rest).is_some())
            }),
            None => false,
        }
    }
}

/// Whether a value is made of a local, or has so many parts that it may be.
fn mentions(value: &Value, local: Local) -> bool {
    let mut rest = vec![value];
    for _ in 0..64 {
        match rest.pop() {
            None => return false,
            Some(Value::Local(other) | Value::Part(other, _)) if *other == local => return true,
            Some(Value::Cell(pair)) => rest.extend([&pair.tail, &pair.head]),
            Some(_) => {}
        }
    }
    true
}
