//! Code of hints.

use super::{Id, Step, Value, Writer};
use crate::services::{self, tag};

const FAST: u64 = tag("fast");
const MEMO: u64 = tag("memo");
const SLOG: u64 = tag("slog");
/// Hints whose clues make up the trace of a crash.
const MEAN: [u64; 5] = [tag("hunk"), tag("hand"), tag("lose"), tag("mean"), tag("spot")];

impl Writer<'_, '_> {
    /// Tag and clue of a hint that something is done about, and its body; behind the 11.
    pub(super) fn hint(&self, rest: Id) -> Option<(Option<(u64, Id)>, Id)> {
        let nouns = &self.batch.compiler.nouns;
        let (hint, body) = nouns.cell(rest)?;
        let known = nouns.cell(hint).and_then(|(tag, clue)| Some((nouns.number(tag)?, clue)));
        Some((known.filter(|(tag, clue)| self.is_code(*tag, *clue)), body))
    }

    /// Whether a hint with a clue is more than evaluated.
    pub(super) fn is_code(&self, tag: u64, clue: Id) -> bool {
        let hints = &self.batch.compiler.hints;
        match tag {
            FAST => {
                self.registered_name(clue).is_none_or(|name| hints.names.contains(&name))
                    && !hints.names.is_empty()
            }
            MEMO => hints.memo,
            SLOG => hints.slog && self.trace.is_none(),
            _ => self.trace.is_some() && MEAN.contains(&tag),
        }
    }

    /// The name that a clue of %fast registers, if it is a constant: the tag `name`, or of `[name version]` the name.
    pub(super) fn registered_name(&self, clue: Id) -> Option<u64> {
        let nouns = &self.batch.compiler.nouns;
        let (op, constant) = nouns.cell(clue)?;
        if nouns.number(op) != Some(1) {
            return None;
        }
        let (name, _) = nouns.cell(constant)?;
        nouns.number(nouns.cell(name).map_or(name, |(name, _)| name))
    }

    /// Whether a hint does something behind its body.
    pub(super) fn is_after(&self, rest: Id) -> bool {
        matches!(self.hint(rest), Some((Some((tag, _)), _)) if tag != SLOG)
    }

    /// Whether a hint puts its clue on the trace.
    pub(super) fn is_mean(&self, rest: Id) -> bool {
        matches!(self.hint(rest), Some((Some((tag, _)), _)) if MEAN.contains(&tag))
    }

    /// Does what a hint asks for before its body, which is answered; behind the 11. The hint does nothing behind it.
    pub(super) fn hinted(&mut self, rest: Id, subject: &Value, depth: u32) -> Option<Id> {
        let (known, body) = self.hint(rest)?;
        let (hint, _) = self.batch.compiler.nouns.cell(rest)?;
        if let Some((tag, clue)) = self.batch.compiler.nouns.cell(hint) {
            if self.batch.compiler.nouns.cell(tag).is_some() {
                self.crash_if_virtual();
            }
            // A clue must not crash, whether or not its value is needed.
            let clue = self.value(clue, subject, depth + 1);
            if let Some((SLOG, _)) = known {
                self.push(&clue);
                self.ask(services::SLOG);
                self.emit(Step::Pop);
            }
        }
        Some(body)
    }

    /// The value of a hint that does something behind its body.
    pub(super) fn value_and_after(&mut self, rest: Id, subject: &Value, depth: u32) -> Value {
        match self.hint(rest) {
            Some((Some((FAST, clue)), body)) => {
                let clue = self.value(clue, subject, depth + 1);
                let core = self.value(body, subject, depth + 1);
                if self.is_dead {
                    return core;
                }
                if let Value::Cell(pair) = &core
                    && let Value::Known(battery) = pair.head
                {
                    self.batch.compiler.registered.insert(battery);
                }
                self.push(&core);
                self.push(&clue);
                self.emit(Step::Cons);
                self.ask(services::FAST);
                self.emit(Step::Pop);
                core
            }
            Some((Some((MEMO, clue)), body)) => {
                self.value(clue, subject, depth + 1);
                self.remembered(body, subject)
            }
            Some((Some((tag, clue)), body)) => {
                let outer = self.trace;
                self.enter_trace(tag, clue, subject, depth);
                let value = self.value(body, subject, depth + 1);
                self.trace = outer;
                self.restore_trace();
                value
            }
            _ => self.crash(),
        }
    }

    /// Puts a tag and the value of a clue on the trace.
    pub(super) fn enter_trace(&mut self, tag: u64, clue: Id, subject: &Value, depth: u32) {
        let clue = self.value(clue, subject, depth + 1);
        let tag = self.batch.compiler.nouns.small(self.batch.heap, tag);
        self.push(&Value::Known(tag));
        self.push(&clue);
        self.emit(Step::Cons);
        if let Some(trace) = self.trace {
            self.emit(Step::Get(trace));
        }
        self.emit(Step::Cons);
        let trace = self.local();
        self.emit(Step::Set(trace));
        self.trace = Some(trace);
        self.restore_trace();
    }

    /// The global is the trace again.
    pub(super) fn restore_trace(&mut self) {
        if let Some(trace) = self.trace {
            self.emit(Step::Get(trace));
            self.emit(Step::SetGlobal(services::TRACE));
        }
    }

    /// Hoon's Nock within Nock knows no hints whose tags are cells.
    pub(super) fn crash_if_virtual(&mut self) {
        let on = self.label();
        let mark = self.mark();
        self.emit(Step::Global(services::VIRTUAL));
        self.emit(Step::IsCell);
        self.emit(Step::JumpUnless(on));
        self.emit(Step::Crash);
        self.bind(on, mark);
    }

    /// The value of a formula, which is looked for among those that were kept.
    pub(super) fn remembered(&mut self, body: Id, subject: &Value) -> Value {
        if self.is_dead {
            return Value::Known(self.batch.constants[0]);
        }
        self.push(subject);
        self.push(&Value::Known(body));
        self.emit(Step::Cons);
        let key = self.keep();
        self.push(&key);
        self.ask(services::RECALL);
        let kept = self.keep();
        let (missing, end) = (self.label(), self.label());
        let mark = self.mark();
        self.push(&kept);
        self.emit(Step::IsCell);
        self.emit(Step::JumpUnless(missing));
        self.push(&kept);
        self.emit(Step::Axis(3));
        self.emit(Step::Jump(end));
        self.bind(missing, mark);
        self.call_known(body, subject);
        let product = self.keep();
        self.push(&key);
        self.push(&product);
        self.emit(Step::Cons);
        self.ask(services::KEEP);
        self.emit(Step::Pop);
        self.push(&product);
        self.bind(end, mark);
        self.keep()
    }

    /// Asks a service with the value on top, and leaves the answer.
    pub(super) fn ask(&mut self, name: &'static [u8]) {
        match self.batch.service(name) {
            Some(global) => {
                self.emit(Step::Global(global));
                self.emit(Step::Nock);
            }
            // There is no room for its name: the run is at its limit of memory.
            None => self.emit(Step::Crash),
        }
    }
}
