//! The runtime's text as functions of a module.

use std::collections::HashMap;

use dotvm_core::builder::{Code, CodeBuilder, Label};
use dotvm_core::opcode::Op;

use crate::machine::Layout;
use crate::text::{Operand, Piece, Routine, TEXT};

/// A word local of a function.
pub(crate) type Local = u64;

/// Who fills in what the text leaves open.
pub(crate) trait Hooks {
    /// Emits code for the place with this name.
    fn hook(&mut self, name: &str, code: &mut CodeBuilder, labels: &Labels<'_>);
}

/// The labels and the locals of a function that is being emitted.
pub(crate) struct Labels<'a> {
    routine: &'a Routine,
    labels: Vec<Label>,
}

impl<'a> Labels<'a> {
    /// All labels of a function, not yet bound.
    pub fn new(routine: &'a Routine, code: &mut CodeBuilder) -> Labels<'a> {
        Labels { routine, labels: (0..routine.labels.len()).map(|_| code.label()).collect() }
    }

    /// The label with a name.
    pub fn get(&self, name: &str) -> Label {
        match self.routine.labels.get(name) {
            Some(&label) => self.labels[label],
            None => unreachable!("the text has no label {name}"),
        }
    }
}

/// The local of the machine's function with a name.
pub(crate) fn local(name: &str) -> Local {
    match TEXT.routines[0].words.iter().position(|word| *word == name) {
        Some(index) => index as Local,
        None => unreachable!("the machine has no local {name}"),
    }
}

/// Nothing is left open in functions other than the machine's.
pub(crate) struct NoHooks;

impl Hooks for NoHooks {
    fn hook(&mut self, name: &str, _: &mut CodeBuilder, _: &Labels<'_>) {
        unreachable!("{name} has no meaning outside the machine's function");
    }
}

/// The functions of the text other than the machine's, by their place.
pub(crate) fn others(layout: &Layout) -> Vec<Code> {
    TEXT.routines[1..]
        .iter()
        .map(|routine| {
            let mut code = CodeBuilder::new();
            let labels = Labels::new(routine, &mut code);
            emit(routine, &labels, &mut code, layout, &mut NoHooks);
            code.finish()
        })
        .collect()
}

/// Appends a function's text.
pub(crate) fn emit(
    routine: &Routine,
    labels: &Labels<'_>,
    code: &mut CodeBuilder,
    layout: &Layout,
    hooks: &mut dyn Hooks,
) {
    // Names are looked up once.
    let mut functions: HashMap<&str, u64> = HashMap::new();
    let mut immediates = Vec::new();
    for piece in &routine.pieces {
        match piece {
            Piece::Label(label) => code.bind(labels.labels[*label]),
            Piece::Plain(op, operands) => {
                immediates.clear();
                immediates.extend(operands.iter().map(|operand| match operand {
                    Operand::Number(number) => *number,
                    Operand::Named(name) => match layout.number(name) {
                        Some(number) => number,
                        None => unreachable!("the layout has no {name}"),
                    },
                }));
                code.op(*op, &immediates);
            }
            Piece::Jump(op, label) => code.jump(*op, labels.labels[*label]),
            Piece::Table(targets) => {
                let targets: Vec<Label> = targets.iter().map(|target| labels.labels[*target]).collect();
                code.table(&targets);
            }
            Piece::Call(name) => {
                let index = *functions.entry(name).or_insert_with(|| TEXT.index(name));
                code.op(Op::Call, &[index]);
            }
            Piece::Hook(name) => hooks.hook(name, code, labels),
        }
    }
}
