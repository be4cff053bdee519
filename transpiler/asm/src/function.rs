//! A function's body to code: structured forms to jumps, operands to immediates.

use std::collections::HashSet;

use dotvm_core::builder::{Code, CodeBuilder, Label};
use dotvm_core::capability::Capability;
use dotvm_core::decode::{Scratch, decode, immediate_max};
use dotvm_core::module::{Constant, Function, FunctionDebug, Handler};
use dotvm_core::opcode::{Flow, Imm, Op, Prefix};
use dotvm_core::trap::TrapKind;

use crate::data;
use crate::diagnostics::{Problem, nearest};
use crate::emit::{Context, name_list, too_wide};
use crate::keywords::keywords;
use crate::lexer::Span;
use crate::names::Scope;
use crate::parser::signed_word;
use crate::syntax::*;

/// An encoded function.
pub(crate) struct Body {
    /// The function; its signature is set by the caller.
    pub(crate) function: Function,
    pub(crate) debug: FunctionDebug,
    /// Code offset of each instruction, and its place in the source.
    pub(crate) spans: Vec<(u32, Span)>,
    /// Labels by name.
    pub(crate) labels: Scope,
    /// Code offset of each label in scope; empty if the body has errors.
    pub(crate) offsets: Vec<u32>,
    /// The handlers, and whether their heights are given; empty if the body has errors.
    pub(crate) handlers: Vec<(Handler, bool)>,
}

/// One step of the flattened body.
#[derive(Clone)]
struct Step<'s> {
    kind: StepKind<'s>,
    span: Span,
    line: u32,
}

#[derive(Clone)]
enum StepKind<'s> {
    /// An instruction of the source.
    Inst(Option<Prefix>, Op, &'s [Operand]),
    /// A label: the number of the one in the source, or one of a structured form.
    Bind(Label, Option<usize>),
    /// A jump of a structured form.
    Jump(Op, Label),
    /// The start of a loop: the jump to its test, then its body, which the test leads back to.
    Loop { test: Label, body: Label },
    /// The start of the range of `.try`, by its number.
    Try(usize),
}

/// A structured form that is open.
enum Open<'s> {
    If { span: Span, otherwise: Label, end: Label, has_else: bool },
    While { span: Span, test: Label, body: Label, test_steps: Option<Vec<Step<'s>>> },
    Try { span: Span, number: usize },
}

/// `.try` with its handlers.
struct Try {
    from: Label,
    to: Label,
    end: Label,
    /// Each with what it catches and its place.
    catches: Vec<(Label, u32, Span)>,
}

/// Encodes a function.
pub(crate) fn emit(context: &mut Context, source: &FunctionSource) -> Body {
    let before = context.problems.len();
    check_frame(context, source);
    let mut emitter = Emitter::new(context, source);
    let steps = emitter.flatten(source);
    emitter.encode(&steps);
    emitter.finish(source, before)
}

fn check_frame(context: &mut Context, source: &FunctionSource) {
    if source.window > 0 && source.words.len() > usize::from(source.signature.words_in) {
        let span = source.words[usize::from(source.signature.words_in)].span.clone();
        let problem = Problem::new(span, "a window function has no word locals");
        context.problem(problem.hint("its values stay on the stack; parameters lie at its bottom"));
    }
}

struct Emitter<'c, 's> {
    context: &'c mut Context,
    words: Scope,
    refs: Scope,
    labels: Scope,
    /// The builder's label for each label in scope.
    scope_labels: Vec<Label>,
    /// All labels of the source, in order: the builder's label and the name to record.
    source_labels: Vec<(Label, Option<&'s str>)>,
    builder: CodeBuilder,
    /// The place of each instruction.
    spans: Vec<Span>,
    /// Labels that jumps lead to, with the place of one such jump.
    targets: Vec<(Label, Span)>,
    tries: Vec<Try>,
}

impl<'c, 's> Emitter<'c, 's> {
    fn new(context: &'c mut Context, source: &'s FunctionSource) -> Emitter<'c, 's> {
        let out = &mut context.problems;
        let words = Scope::of("a word local", "declare one with `.local NAME`", source.words.iter(), out);
        let refs = Scope::of("a reference local", "declare one with `.rlocal NAME`", source.refs.iter(), out);
        let mut labels = Scope::new("a label of this function", "declare one with `NAME:`");
        let mut builder = CodeBuilder::new();
        let (mut scope_labels, mut source_labels) = (Vec::new(), Vec::new());
        for item in &source.body {
            let ItemKind::Label { decl, recorded } = &item.kind else { continue };
            let label = builder.label();
            labels.declare(decl, scope_labels.len() as u32, out);
            scope_labels.push(label);
            source_labels.push((label, recorded.then_some(decl.name.as_str())));
        }
        Emitter {
            context,
            words,
            refs,
            labels,
            scope_labels,
            source_labels,
            builder,
            spans: Vec::new(),
            targets: Vec::new(),
            tries: Vec::new(),
        }
    }

    /// Turns the body into steps in the order of the code.
    fn flatten(&mut self, source: &'s FunctionSource) -> Vec<Step<'s>> {
        // The last entry is where steps go: a new one is opened for the test of each `.while`.
        let mut sinks: Vec<Vec<Step<'s>>> = vec![Vec::new()];
        let mut open: Vec<Open<'s>> = Vec::new();
        let mut label_count = 0;
        for item in &source.body {
            let step = |kind| Step { kind, span: item.span.clone(), line: item.line };
            let Some(sink) = sinks.last_mut() else { break };
            match &item.kind {
                ItemKind::Label { .. } => {
                    sink.push(step(StepKind::Bind(self.source_labels[label_count].0, Some(label_count))));
                    label_count += 1;
                }
                ItemKind::Inst { prefix, op, operands } => {
                    sink.push(step(StepKind::Inst(*prefix, *op, operands)))
                }
                ItemKind::Form(form) => match (form, open.last_mut()) {
                    (Form::If, _) => {
                        let (otherwise, end) = (self.builder.label(), self.builder.label());
                        sink.push(step(StepKind::Jump(Op::Jz, otherwise)));
                        open.push(Open::If { span: item.span.clone(), otherwise, end, has_else: false });
                    }
                    (Form::Else, Some(Open::If { otherwise, end, has_else, .. })) if !*has_else => {
                        *has_else = true;
                        sink.push(step(StepKind::Jump(Op::Jmp, *end)));
                        sink.push(step(StepKind::Bind(*otherwise, None)));
                    }
                    (Form::EndIf, Some(Open::If { otherwise, end, has_else, .. })) => {
                        sink.push(step(StepKind::Bind(if *has_else { *end } else { *otherwise }, None)));
                        open.pop();
                    }
                    (Form::While, _) => {
                        let (test, body) = (self.builder.label(), self.builder.label());
                        sink.push(step(StepKind::Loop { test, body }));
                        open.push(Open::While { span: item.span.clone(), test, body, test_steps: None });
                        sinks.push(Vec::new());
                    }
                    (Form::Do, Some(Open::While { body, test_steps: test_steps @ None, .. })) => {
                        sink.push(step(StepKind::Jump(Op::Jnz, *body)));
                        *test_steps = sinks.pop();
                    }
                    (Form::EndWhile, Some(Open::While { test, test_steps: Some(test_steps), .. })) => {
                        sink.push(step(StepKind::Bind(*test, None)));
                        sink.append(test_steps);
                        open.pop();
                    }
                    (Form::Try, _) => {
                        let (from, to, end) =
                            (self.builder.label(), self.builder.label(), self.builder.label());
                        let number = self.tries.len();
                        self.tries.push(Try { from, to, end, catches: Vec::new() });
                        sink.push(step(StepKind::Try(number)));
                        open.push(Open::Try { span: item.span.clone(), number });
                    }
                    (Form::Catch(kinds), Some(Open::Try { number, .. })) => {
                        let handler = self.builder.label();
                        let Try { to, end, catches, .. } = &mut self.tries[*number];
                        if catches.is_empty() {
                            sink.push(step(StepKind::Bind(*to, None)));
                        }
                        catches.push((handler, *kinds, item.span.clone()));
                        sink.push(step(StepKind::Jump(Op::Jmp, *end)));
                        sink.push(step(StepKind::Bind(handler, None)));
                    }
                    (Form::EndTry, Some(Open::Try { number, .. }))
                        if !self.tries[*number].catches.is_empty() =>
                    {
                        sink.push(step(StepKind::Bind(self.tries[*number].end, None)));
                        open.pop();
                    }
                    (form, _) => {
                        let (name, needs) = match form {
                            Form::Catch(_) => (".catch", "an open `.try`"),
                            Form::EndTry => (".end_try", "an open `.try` with its `.catch`"),
                            Form::Else => (".else", "an open `.if` without `.else`"),
                            Form::EndIf => (".end_if", "an open `.if`"),
                            Form::Do => (".do", "an open `.while` without `.do`"),
                            _ => (".end_while", "an open `.while` with its `.do`"),
                        };
                        let message = format!("`{name}` needs {needs} in front of it");
                        self.context.problem(Problem::new(item.span.clone(), message));
                    }
                },
            }
        }
        for form in open {
            let (span, message) = match form {
                Open::If { span, .. } => (span, "this `.if` has no `.end_if`"),
                Open::While { span, test_steps: None, .. } => (span, "this `.while` has no `.do`"),
                Open::While { span, .. } => (span, "this `.while` has no `.end_while`"),
                Open::Try { span, number } if self.tries[number].catches.is_empty() => {
                    (span, "this `.try` has no `.catch`")
                }
                Open::Try { span, .. } => (span, "this `.try` has no `.end_try`"),
            };
            self.context.problem(Problem::new(span, message));
        }
        sinks.swap_remove(0)
    }

    fn encode(&mut self, steps: &[Step]) {
        // Jumps of structured forms that no path reaches are left out: the verifier refuses dead code.
        let mut reachable = true;
        let mut form_targets = HashSet::new();
        for step in steps {
            self.builder.line(step.line);
            match &step.kind {
                StepKind::Bind(label, in_source) => {
                    self.builder.bind(*label);
                    reachable |= in_source.is_some() || form_targets.contains(label);
                }
                StepKind::Jump(op, label) if reachable => {
                    form_targets.insert(*label);
                    self.form_jump(*op, *label, &step.span);
                    reachable = *op != Op::Jmp;
                }
                StepKind::Jump(..) => {}
                StepKind::Loop { test, body } => {
                    if reachable {
                        form_targets.insert(*test);
                        self.form_jump(Op::Jmp, *test, &step.span);
                    }
                    self.builder.bind(*body);
                }
                StepKind::Try(number) => {
                    let Try { from, catches, .. } = &self.tries[*number];
                    self.builder.bind(*from);
                    if reachable {
                        form_targets.extend(catches.iter().map(|(handler, ..)| *handler));
                        self.targets
                            .extend(catches.iter().map(|(handler, _, span)| (*handler, span.clone())));
                    }
                }
                StepKind::Inst(prefix, op, operands) => {
                    self.instruction(*prefix, *op, operands, &step.span);
                    reachable = !matches!(op.info().flow, Flow::Jump | Flow::Multi | Flow::Leave);
                }
            }
        }
    }

    /// Appends a jump of a structured form.
    fn form_jump(&mut self, op: Op, label: Label, span: &Span) {
        self.builder.jump(op, label);
        self.spans.push(span.clone());
        self.targets.push((label, span.clone()));
    }

    fn instruction(&mut self, prefix: Option<Prefix>, op: Op, operands: &[Operand], span: &Span) {
        let Ok(prefix) = self.prefix(prefix, op, span) else { return };
        match op.info().imms {
            [Imm::Rel] => {
                if let Some(target) = self.target(&operands[0]) {
                    self.builder.jump(op, target);
                    self.spans.push(span.clone());
                }
                return;
            }
            [Imm::Table] => {
                if let Some(targets) = self.table(&operands[0]) {
                    self.builder.table(&targets);
                    self.spans.push(span.clone());
                }
                return;
            }
            _ => {}
        }
        let bits = prefix.map_or(self.context.width.bits(), Prefix::bits);
        if op == Op::Push
            && let Some(word) = self.wide_word(&operands[0], bits)
        {
            let index = self.context.word_pool.intern(word);
            self.plain(None, Op::Pushc, &[index], span);
            return;
        }
        let mut values = Vec::with_capacity(operands.len());
        for (&imm, operand) in op.info().imms.iter().zip(operands) {
            match self.immediate(op, imm, operand, bits) {
                Ok(value) => values.push(value),
                Err(problem) => return self.context.problems.extend(problem),
            }
        }
        self.plain(prefix, op, &values, span);
    }

    fn plain(&mut self, prefix: Option<Prefix>, op: Op, values: &[u64], span: &Span) {
        for (&imm, &value) in op.info().imms.iter().zip(values) {
            if !imm.is_signed() && value > immediate_max(imm) {
                let message = format!(
                    "the immediate `{}` of {} goes from 0 to {}",
                    imm.name(),
                    op.mnemonic(),
                    immediate_max(imm)
                );
                return self.context.problem(Problem::new(span.clone(), message));
            }
        }
        self.builder.prefixed(prefix, op, values);
        self.spans.push(span.clone());
    }

    /// The prefix to encode: none where it is as wide as the word, or for a floating-point operation names binary64,
    /// which means the same.
    fn prefix(&mut self, prefix: Option<Prefix>, op: Op, span: &Span) -> Result<Option<Prefix>, ()> {
        let Some(prefix) = prefix else { return Ok(None) };
        let width = self.context.width.bits();
        if !op.info().prefixable {
            let message = format!("{} takes no width prefix", op.mnemonic());
            self.context.problem(Problem::new(span.clone(), message));
            return Err(());
        }
        let is_format = matches!(prefix, Prefix::W32 | Prefix::W64);
        if op.is_float() && !is_format {
            let message = format!("no floating-point format of {} bits exists", prefix.bits());
            self.context.problem(Problem::new(span.clone(), message));
            return Err(());
        }
        if prefix.bits() > width {
            let message = format!("{} is wider than the module's words of {width} bits", prefix.mnemonic());
            self.context.problem(Problem::new(span.clone(), message));
            return Err(());
        }
        let is_default = prefix.bits() == width || (op.is_float() && prefix == Prefix::W64);
        Ok((!is_default).then_some(prefix))
    }

    /// The builder's label for an operand.
    fn target(&mut self, operand: &Operand) -> Option<Label> {
        let OperandKind::Name(name) = &operand.kind else {
            let problem = Problem::new(operand.span.clone(), "a label is expected");
            self.context.problem(problem.hint("declare one with `NAME:` and write its name here"));
            return None;
        };
        match self.labels.get(name) {
            Some(index) => {
                let label = self.scope_labels[index as usize];
                self.targets.push((label, operand.span.clone()));
                Some(label)
            }
            None => {
                let problem = self.labels.unknown(name, &operand.span, []);
                self.context.problem(problem);
                None
            }
        }
    }

    fn table(&mut self, operand: &Operand) -> Option<Vec<Label>> {
        match &operand.kind {
            OperandKind::List(list) if !list.is_empty() => {
                list.iter().map(|entry| self.target(entry)).collect()
            }
            _ => {
                let problem = Problem::new(operand.span.clone(), "JTAB takes a list of labels");
                self.context.problem(problem.hint("write JTAB [l0 l1 default]"));
                None
            }
        }
    }

    /// The word of an operand of PUSH that its 64-bit immediate cannot hold.
    fn wide_word(&self, operand: &Operand, bits: u32) -> Option<dotvm_arch::W512> {
        let (OperandKind::Number(number) | OperandKind::Hex(Some(number), _)) = &operand.kind else {
            return None;
        };
        let word = number.to_word(bits)?;
        signed_word(word, bits).is_none().then_some(word)
    }

    /// The value of an immediate, or why there is none (`None`: already reported).
    fn immediate(&mut self, op: Op, imm: Imm, operand: &Operand, bits: u32) -> Result<u64, Option<Problem>> {
        let span = &operand.span;
        match &operand.kind {
            OperandKind::Name(name) => match self.name(imm, name) {
                Some(value) => Ok(value),
                None => Err(Some(self.unknown(op, imm, name, span))),
            },
            OperandKind::Text(bytes) if imm == Imm::RefConst => {
                Ok(self.context.ref_pool.intern(bytes.clone().into()))
            }
            OperandKind::Exact(value) if imm == Imm::RefConst => {
                Ok(self.context.ref_pool.intern(Constant::Integer((*value).into())))
            }
            OperandKind::Hex(_, bytes) if imm == Imm::RefConst => match bytes {
                Some(bytes) => Ok(self.context.ref_pool.intern(bytes.clone().into())),
                None => Err(Some(
                    Problem::new(span.clone(), "a byte string has two hexadecimal digits for each byte")
                        .hint("the number of a constant is written in decimal"),
                )),
            },
            OperandKind::Exact(value) if imm == Imm::Signed => Ok(*value as u64),
            OperandKind::Number(number) | OperandKind::Hex(Some(number), _) if imm == Imm::Signed => {
                let word = number.to_word(bits).ok_or_else(|| Some(too_wide(span.clone(), bits)))?;
                match signed_word(word, bits) {
                    Some(value) => Ok(value as u64),
                    None => Err(Some(
                        Problem::new(
                            span.clone(),
                            format!("{} takes a signed number of 64 bits", op.mnemonic()),
                        )
                        .hint("push a greater one with PUSH first"),
                    )),
                }
            }
            OperandKind::Number(number) | OperandKind::Hex(Some(number), _) => {
                let max = immediate_max(imm);
                number.to_u64().filter(|&value| value <= max).ok_or_else(|| {
                    let message =
                        format!("the immediate `{}` of {} goes from 0 to {max}", imm.name(), op.mnemonic());
                    Some(Problem::new(span.clone(), message))
                })
            }
            OperandKind::Hex(None, _) => {
                Err(Some(Problem::new(span.clone(), "this number is longer than 512 bits")))
            }
            OperandKind::Text(_) | OperandKind::List(_) | OperandKind::Exact(_) => {
                let message = format!("{} takes a name or a number here", op.mnemonic());
                Err(Some(Problem::new(span.clone(), message)))
            }
        }
    }

    /// The number of a name as an immediate.
    fn name(&self, imm: Imm, name: &str) -> Option<u64> {
        match self.scope(imm) {
            Some(scope) => scope.get(name).map(u64::from),
            None => match keywords(imm).into_iter().find(|(known, _)| known == name) {
                Some((_, value)) => Some(value),
                None => data::symbol(&self.context.layout, name).or_else(|| capability_number(name)),
            },
        }
    }

    fn scope(&self, imm: Imm) -> Option<&Scope> {
        Some(match imm {
            Imm::Local => &self.words,
            Imm::RefLocal => &self.refs,
            Imm::Global => &self.context.globals,
            Imm::RefGlobal => &self.context.ref_globals,
            Imm::WordConst => &self.context.word_constants,
            Imm::RefConst => &self.context.ref_constants,
            Imm::Func => &self.context.functions,
            Imm::Sig => &self.context.signatures,
            Imm::FuncTable => &self.context.tables,
            Imm::JumpMap => &self.context.jump_maps,
            Imm::Coll => &self.context.collections,
            Imm::HostCall => &self.context.host_calls,
            _ => return None,
        })
    }

    /// The handlers of `.try` and `.handler` by their labels, outer ranges before inner ones that equal them.
    fn handler_labels(&mut self, source: &FunctionSource) -> Vec<LabelledHandler> {
        let mut handlers = Vec::new();
        for handler in &source.handlers {
            let mut label = |operand: &Operand| {
                let OperandKind::Name(name) = &operand.kind else {
                    self.context.problem(Problem::new(operand.span.clone(), "a label is expected"));
                    return None;
                };
                let found = self.labels.get(name).map(|index| self.scope_labels[index as usize]);
                if found.is_none() {
                    self.context.problem(self.labels.unknown(name, &operand.span, []));
                }
                found
            };
            let places = (label(&handler.from), label(&handler.to), label(&handler.target));
            let (Some(from), Some(to), Some(target)) = places else { continue };
            self.targets.push((target, handler.span.clone()));
            handlers.push(LabelledHandler {
                places: (from, to, target),
                kinds: handler.kinds,
                heights: Some((handler.words, handler.refs)),
                span: handler.span.clone(),
            });
        }
        for Try { from, to, catches, .. } in &self.tries {
            // The first `.catch` goes first, as the innermost.
            for (handler, kinds, span) in catches.iter().rev() {
                handlers.push(LabelledHandler {
                    places: (*from, *to, *handler),
                    kinds: *kinds,
                    heights: None,
                    span: span.clone(),
                });
            }
        }
        handlers
    }

    fn unknown(&self, op: Op, imm: Imm, name: &str, span: &Span) -> Problem {
        let others = [&self.words, &self.refs].into_iter().chain(self.context.scopes()).chain([&self.labels]);
        let problem = match self.scope(imm) {
            Some(scope) => scope.unknown(name, span, others),
            None => {
                let known = keywords(imm);
                let message = format!("`{name}` is no immediate `{}` of {}", imm.name(), op.mnemonic());
                let problem = Problem::new(span.clone(), message);
                let elsewhere = others.into_iter().find(|scope| scope.get(name).is_some());
                let instead = match elsewhere.map(|scope| scope.what) {
                    Some("a word constant") => Some(format!("`{name}` is a word constant: PUSHC pushes it")),
                    Some("a word local") => Some(format!("`{name}` is a word local: LGET pushes it")),
                    Some("a word global") => Some(format!("`{name}` is a word global: GGET pushes it")),
                    Some(what) => Some(format!("`{name}` is {what}")),
                    None => nearest(name, known.iter().map(|(name, _)| name.as_str()))
                        .or_else(|| list_keywords(&known)),
                };
                problem.maybe_hint(instead)
            }
        };
        match Op::from_mnemonic(&name.to_ascii_uppercase()) {
            Some(other) => problem.hint(format!(
                "{} is an instruction: {} lacks its immediate `{}`",
                other.mnemonic(),
                op.mnemonic(),
                imm.name()
            )),
            None => problem,
        }
    }

    fn finish(mut self, source: &FunctionSource, problems_before: usize) -> Body {
        let signature = source.signature;
        let is_right = self.context.problems.len() == problems_before;
        let labelled = if is_right { self.handler_labels(source) } else { Vec::new() };
        let mut body = Body {
            function: Function {
                signature: 0,
                word_locals: (source.words.len() - usize::from(signature.words_in)) as u16,
                ref_locals: (source.refs.len() - usize::from(signature.refs_in)) as u16,
                window: source.window,
                code: Vec::new(),
            },
            debug: FunctionDebug {
                name: source.decl.name.clone(),
                words: name_list(source.words.iter()),
                refs: name_list(source.refs.iter()),
                lines: Vec::new(),
                labels: Vec::new(),
            },
            spans: Vec::new(),
            labels: self.labels,
            offsets: Vec::new(),
            handlers: Vec::new(),
        };
        // A line that did not parse is reported, but not part of the body: its labels may be missing.
        if self.context.problems.len() > problems_before {
            return body;
        }
        if !self.builder.is_complete() {
            // Reported where the label should stand, as an error of a line or of another function.
            let problem =
                Problem::new(source.decl.span.clone(), "the function jumps to a place it does not have");
            self.context.problem(problem);
            return body;
        }
        if self.spans.is_empty() {
            let problem = Problem::new(source.decl.span.clone(), "the function has no instructions");
            self.context.problem(problem.hint("it ends at least with RET"));
            return body;
        }
        let code = self.builder.finish();
        let handlers = handlers(self.context, labelled, &code);
        let end = code.bytes.len() as u32;
        for (label, span) in self.targets.iter().filter(|(label, _)| code.offset_of(*label) == end) {
            let label =
                self.source_labels.iter().find(|(known, _)| known == label).and_then(|(_, name)| *name);
            let message = match label {
                Some(name) => format!("no instruction follows the label `{name}`, so nothing can jump there"),
                None => "no instruction follows the place this jumps to".to_owned(),
            };
            let problem = Problem::new(span.clone(), message);
            self.context.problem(problem.hint("a function ends with RET, HALT, TRAP or a jump"));
        }
        if self.context.problems.len() > problems_before {
            return body;
        }
        match decode(&code.bytes, self.context.width.bits(), &mut Scratch::default()) {
            Ok(decoded) => {
                body.spans = decoded.insts.iter().map(|inst| inst.offset).zip(self.spans).collect();
            }
            Err(error) => {
                let message = format!("the code at offset {} does not decode: {}", error.offset, error.kind);
                self.context.problem(Problem::new(source.decl.span.clone(), message));
            }
        }
        body.handlers = handlers;
        body.offsets = self.scope_labels.iter().map(|label| code.offset_of(*label)).collect();
        let recorded =
            self.source_labels.iter().filter_map(|(label, name)| Some((code.offset_of(*label), (*name)?)));
        body.debug.labels = recorded.map(|(offset, name)| (offset, name.to_owned())).collect();
        // A label in the test of a `.while` stands before the body in the text and behind it in the code.
        body.debug.labels.sort_by_key(|(offset, _)| *offset);
        body.function.code = code.bytes;
        body.debug.lines = code.lines;
        body
    }
}

/// A handler whose offsets are not known yet.
struct LabelledHandler {
    /// Start and end of the range, and the code.
    places: (Label, Label, Label),
    kinds: u32,
    /// Words and references kept, if given.
    heights: Option<(u16, u16)>,
    span: Span,
}

/// The handlers of a function in the order of the module, and whether their heights are given.
fn handlers(context: &mut Context, labelled: Vec<LabelledHandler>, code: &Code) -> Vec<(Handler, bool)> {
    let mut handlers = Vec::with_capacity(labelled.len());
    for LabelledHandler { places, kinds, heights, span } in labelled {
        let (from, to, target) =
            (code.offset_of(places.0), code.offset_of(places.1), code.offset_of(places.2));
        let user = TrapKind::User.bit();
        if from >= to {
            context.problem(Problem::new(span, "there is no instruction whose traps this could catch"));
        } else if kinds & !TrapKind::CATCHABLE != 0 {
            let names: Vec<&str> = TrapKind::ALL
                .iter()
                .filter(|kind| kinds & kind.bit() != 0 && !kind.is_catchable())
                .map(|kind| kind.name())
                .collect();
            context.problem(Problem::new(span, format!("{} cannot be caught", names.join(", "))));
        } else if kinds & user != 0 && kinds != user {
            let problem = Problem::new(span, "User cannot be caught together with other traps");
            context.problem(problem.hint("its codes could not be told from theirs: write another `.catch`"));
        } else {
            let (words, refs) = heights.unwrap_or_default();
            handlers.push((Handler { from, to, target, kinds, words, refs }, heights.is_some()));
        }
    }
    handlers.sort_by_key(|(handler, _)| (handler.from, std::cmp::Reverse(handler.to)));
    handlers
}

/// The words an immediate knows, if they are few enough to list.
fn list_keywords(known: &[(String, u64)]) -> Option<String> {
    let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
    (1..=12).contains(&names.len()).then(|| format!("known are {}", names.join(", ")))
}

/// The number of a capability, which `cap.` and its name stand for wherever a number is expected.
fn capability_number(name: &str) -> Option<u64> {
    Capability::from_name(name.strip_prefix("cap.")?).map(|capability| capability as u64)
}
