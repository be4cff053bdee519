//! The code of one function before it is bytes: a list of steps over numbered locals, each of which is set on every way
//! to where it is read. A reference that is read for the last time is moved instead of copied.

use dotvm_core::builder::{CodeBuilder, Label as CodeLabel};
use dotvm_core::integer::Narrowing;
use dotvm_core::module::Function;
use dotvm_core::opcode::Op;

/// A reference local. The parameters come first.
pub(crate) type Local = u16;

/// A place in the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(pub u32);

/// One step; what is said of a stack is said of the operand stack of references unless it says words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Push a local.
    Get(Local),
    /// Push a local and leave it null.
    Take(Local),
    Set(Local),
    /// Push a reference global.
    Global(u32),
    SetGlobal(u32),
    Axis(u64),
    /// { axis x } → { part }
    AxisOf,
    /// { new x } → { edited }
    Edit(u64),
    /// { axis new x } → { edited }
    EditAt,
    Cons,
    Increment,
    /// { a b } → [ whether they are equal ]
    Equal,
    IsCell,
    /// { loobean } → [ word ]; what is no small atom traps.
    ToWord,
    /// The word on top becomes that of the word local, and stays.
    KeepWord,
    /// Whether the word local is 1.
    IsOne,
    JumpIf(Label),
    JumpUnless(Label),
    Jump(Label),
    Bind(Label),
    Pop,
    /// Call a function with so many arguments.
    Call(u32),
    TailCall(u32),
    Nock,
    TailNock,
    Return,
    Crash,
    /// Nothing: what stood here was taken out.
    Nothing,
}

/// A set of locals.
#[derive(Clone, Debug, Default, PartialEq)]
struct Set(Vec<u64>);

impl Set {
    fn has(&self, local: Local) -> bool {
        self.0.get(local as usize / 64).is_some_and(|word| word >> (local % 64) & 1 != 0)
    }

    fn add(&mut self, local: Local) {
        let word = local as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (local % 64);
    }

    fn remove(&mut self, local: Local) {
        if let Some(word) = self.0.get_mut(local as usize / 64) {
            *word &= !(1 << (local % 64));
        }
    }

    fn join(&mut self, other: &Set) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }
}

/// Label 0, to which loops go back.
pub(crate) const START: Label = Label(0);

/// Turns last reads into moves and takes out what sets a local for nothing. Only jumps to [`START`] go backwards.
pub(crate) fn use_up(steps: &mut [Step], parameters: u16, labels: usize) {
    let mut all_parameters = Set::default();
    (0..parameters).for_each(|parameter| all_parameters.add(parameter));
    let mut live_at = vec![Set::default(); labels];
    live_at[START.0 as usize] = all_parameters;
    let mut live = Set::default();
    for index in (0..steps.len()).rev() {
        match steps[index] {
            Step::Jump(label) => live = live_at[label.0 as usize].clone(),
            Step::JumpIf(label) | Step::JumpUnless(label) => live.join(&live_at[label.0 as usize]),
            Step::Bind(START) => {}
            Step::Bind(label) => live_at[label.0 as usize] = live.clone(),
            Step::Return | Step::TailCall(_) | Step::TailNock | Step::Crash => live = Set::default(),
            Step::Get(local) => {
                // A part of a local is taken of the original, which needs no copy of the whole.
                let is_fresh = index > 0 && steps[index - 1] == Step::Set(local);
                let of_original = matches!(steps.get(index + 1), Some(Step::Axis(_))) && !is_fresh;
                if !live.has(local) && !of_original {
                    steps[index] = Step::Take(local);
                }
                live.add(local);
            }
            Step::Set(local) if !live.has(local) => steps[index] = Step::Pop,
            Step::Set(local) => live.remove(local),
            _ => {}
        }
        if let Step::Take(local) = steps[index]
            && index > 0
            && steps[index - 1] == Step::Set(local)
        {
            // Set here and used up at once: it stays on the stack.
            steps[index] = Step::Nothing;
            steps[index - 1] = Step::Nothing;
            live.remove(local);
        }
    }
}

/// The function with these steps.
pub(crate) fn function(steps: &[Step], parameters: u16, locals: u16, labels: usize) -> Function {
    let mut code = CodeBuilder::new();
    let places: Vec<CodeLabel> = (0..labels).map(|_| code.label()).collect();
    let place = |label: Label| places[label.0 as usize];
    let mut uses_word = false;
    for step in steps {
        match *step {
            Step::Get(local) => code.op(Op::Rlget, &[local.into()]),
            Step::Take(local) => {
                code.op(Op::Rlget, &[local.into()]);
                code.op(Op::Rnull, &[]);
                code.op(Op::Rlset, &[local.into()]);
            }
            Step::Set(local) => code.op(Op::Rlset, &[local.into()]),
            Step::Global(global) => code.op(Op::Rgget, &[global.into()]),
            Step::SetGlobal(global) => code.op(Op::Rgset, &[global.into()]),
            Step::Axis(2) => code.op(Op::Head, &[]),
            Step::Axis(3) => code.op(Op::Tail, &[]),
            Step::Axis(axis) => code.op(Op::Axis, &[axis]),
            Step::AxisOf => code.op(Op::Axisd, &[]),
            Step::Edit(axis) => code.op(Op::Edit, &[axis]),
            Step::EditAt => code.op(Op::Editd, &[]),
            Step::Cons => code.op(Op::Cons, &[]),
            Step::Increment => code.op(Op::Rinc, &[]),
            Step::Equal => code.op(Op::Req, &[]),
            Step::IsCell => code.op(Op::Iscell, &[]),
            Step::ToWord => code.op(Op::Z2w, &[Narrowing::Unsigned as u64]),
            Step::KeepWord => {
                uses_word = true;
                code.op(Op::Ltee, &[0]);
            }
            Step::IsOne => {
                code.op(Op::Lget, &[0]);
                code.op(Op::Push, &[1]);
                code.op(Op::Eq, &[]);
            }
            Step::JumpIf(label) => code.jump(Op::Jnz, place(label)),
            Step::JumpUnless(label) => code.jump(Op::Jz, place(label)),
            Step::Jump(label) => code.jump(Op::Jmp, place(label)),
            Step::Bind(label) => code.bind(place(label)),
            Step::Pop => code.op(Op::Rpop, &[]),
            Step::Call(function) => code.op(Op::Call, &[function.into()]),
            Step::TailCall(function) => code.op(Op::Tcall, &[function.into()]),
            Step::Nock => code.op(Op::Nock, &[]),
            Step::TailNock => code.op(Op::Tnock, &[]),
            Step::Return => code.op(Op::Ret, &[]),
            Step::Crash => code.op(Op::Trap, &[]),
            Step::Nothing => {}
        }
    }
    Function {
        signature: parameters.into(),
        word_locals: uses_word.into(),
        ref_locals: locals - parameters,
        window: 0,
        code: code.finish().bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_reads_are_moves() {
        let mut steps = [
            Step::Bind(START),
            Step::Get(0),
            Step::Get(1),
            Step::Equal,
            Step::JumpUnless(Label(1)),
            Step::Get(0),
            Step::Return,
            Step::Bind(Label(1)),
            Step::Get(1),
            Step::Increment,
            Step::Set(2),
            Step::Get(2),
            Step::Set(1),
            Step::Jump(START),
        ];
        use_up(&mut steps, 2, 2);
        let expected = [
            Step::Bind(START),
            Step::Get(0),
            Step::Get(1),
            Step::Equal,
            Step::JumpUnless(Label(1)),
            Step::Take(0),
            Step::Return,
            Step::Bind(Label(1)),
            Step::Take(1),
            Step::Increment,
            Step::Nothing,
            Step::Nothing,
            Step::Set(1),
            Step::Jump(START),
        ];
        assert_eq!(steps, expected);
    }
}
