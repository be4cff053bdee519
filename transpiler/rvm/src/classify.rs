//! What direct code stands for an instruction, given what is known before it.

use crate::analysis::{Analysis, Slot, State, Ty};
use crate::isa::op;
use crate::library::Function;
use crate::program::{BAD_TARGET, Callee, Inst, Program, code};
use crate::types::Type;

/// How an instruction is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Nothing,
    Constant(u64),
    /// A slot whose type is known; whether it may not be set.
    LoadSlot(u32, bool),
    StoreSlot(u32),
    StoreR8,
    LoadGlobal(u32),
    StoreGlobal(u32),
    Pop,
    Dup,
    Swap,
    Rot,
    Jump,
    /// A branch if the top is (not) zero; of floats without its sign.
    Truth(bool, Type),
    /// A comparison that branches, or gives a bool.
    Compare(u8, Type, bool),
    /// Two ptrs, or a ptr and a number: eq or ne by the runtime.
    ComparePtr(u8, Type, Type, bool),
    Logic(u8, Type, Type),
    Arithmetic(u8, Type),
    Unary(u8, Type),
    Convert(Type, Type),
    Move {
        number_first: bool,
        back: bool,
        by: Type,
    },
    Step {
        back: bool,
    },
    Deref(Ty),
    /// An element store: the object is named by a slot, a global, a constant ptr, or not at all.
    Element(Named, Type),
    /// A function of the runtime that takes types and values, and whether its result comes with its type.
    Runtime(&'static str, Vec<u64>, bool),
    NewArray(Type, u32),
    NewStructure(u32),
    Call(Callee),
    /// A call of a subroutine whose effect is not known yet.
    Awaits(Callee),
    Return,
    /// The general scheme does it.
    General,
}

/// What names the object of an element store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Slot(u32),
    Global(u32),
    Constant(u64),
    Nothing,
}

/// Where control goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// On with the next.
    On,
    /// On with the next, which begins a block.
    Apart,
    Jump,
    Branch,
    /// Not on.
    Ends,
}

/// An instruction with what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    pub how: How,
    pub takes: usize,
    /// What it leaves, if that is known.
    pub gives: Option<Vec<Ty>>,
    pub next: Next,
}

/// Values taken and left, whatever their types; None where nothing follows or it is not known.
pub(crate) fn counts(inst: Inst) -> Option<(usize, usize)> {
    Some(match inst.op {
        op::NOOP | op::LABEL | op::BR | op::BEGIN => (0, 0),
        op::LOAD | op::PUSH | code::PUSH_POOL | code::LOAD_GLOBAL | code::NEW_ARRAY | code::NEW_STRUCTURE => {
            (0, 1)
        }
        op::STORE | op::POP | op::BRF | op::BRT | code::STORE_GLOBAL | code::STORE_R8 | code::STORE_R9 => {
            (1, 0)
        }
        op::DUP => (1, 2),
        op::SWAP => (2, 2),
        op::ROT => (3, 3),
        op::BEQ..=op::BNE | code::ELEMENT | code::ELEMENT_GLOBAL | code::ELEMENT_CONSTANT => (2, 0),
        op::ADD..=op::SHR | op::LAND | op::LOR | op::EQ..=op::NE => (2, 1),
        op::NOT | op::LNOT | op::CONV | op::INC..=op::NEG | op::TYPEOF | op::DEREF..=op::BTOS => (1, 1),
        code::LIBRARY => {
            let function = Function::ALL[inst.arg as usize];
            let ends = [
                Function::Throw,
                Function::Exit,
                Function::ThreadExit,
                Function::DllLoadfunc,
                Function::DllCallfunc,
                Function::DllUnload,
            ];
            if ends.contains(&function) {
                return None;
            }
            (function.takes(), function.gives())
        }
        _ => return None,
    })
}

fn act(how: How, takes: usize, gives: &[Ty]) -> Act {
    Act { how, takes, gives: Some(gives.to_vec()), next: Next::On }
}

fn plain(ty: Type) -> Ty {
    Ty::Plain(ty)
}

/// Left to the general scheme, with what is known to be there behind it.
fn general(takes: usize, gives: Option<Vec<Ty>>) -> Act {
    let next = if gives.is_some() { Next::Apart } else { Next::Ends };
    Act { how: How::General, takes, gives, next }
}

const STOP: Act = Act { how: How::General, takes: 0, gives: None, next: Next::Ends };

/// Classifies an instruction.
pub(crate) fn classify(program: &Program, analysis: &Analysis, inst: Inst, state: &State) -> Act {
    let stack = &state.stack;
    let height = stack.len();
    if counts(inst).is_some_and(|(takes, _)| takes > height) {
        return STOP;
    }
    let top = |below: usize| stack[height - 1 - below];
    let ty = Type::from_code(inst.ty);
    let typed = |operands: usize| ty.is_none_or(|ty| (0..operands).all(|below| top(below).ty() == ty));
    match inst.op {
        op::NOOP | op::LABEL => act(How::Nothing, 0, &[]),
        op::PUSH | code::PUSH_POOL => {
            let bits = match inst.op {
                op::PUSH => inst.arg as i32 as u64,
                _ => program.pool[inst.arg as usize],
            };
            let ty = ty.unwrap_or(Type::Ptr);
            let known = match (ty, program.objects.get(((bits >> 32) as usize).wrapping_sub(1))) {
                (Type::Ptr, Some(object)) => match object.shape {
                    crate::program::Shape::Array(ty) => Ty::Array(ty),
                    crate::program::Shape::Structure(number) => Ty::Field(number, 0),
                },
                (Type::I32, _) if (1..=13).contains(&bits) => Ty::Code(bits as u8),
                _ => plain(ty),
            };
            act(How::Constant(bits), 0, &[known])
        }
        op::LOAD => match state.slots[inst.arg as usize] {
            Slot::Set(known) => act(How::LoadSlot(inst.arg, false), 0, &[known]),
            Slot::Maybe(ty) => act(How::LoadSlot(inst.arg, true), 0, &[plain(ty)]),
            Slot::Unset | Slot::Any => STOP,
        },
        op::STORE => act(How::StoreSlot(inst.arg), 1, &[]),
        code::STORE_R9 if top(0).ty().is_integer() => {
            // It becomes an i64, whose payload is the same.
            let mut act = act(How::StoreSlot(9), 1, &[]);
            act.next = Next::On;
            if top(0).ty() == Type::I64 { act } else { general(1, None) }
        }
        code::STORE_R8 if top(0).ty() == Type::I64 || top(0).ty() == Type::I32 => act(How::StoreR8, 1, &[]),
        code::LOAD_GLOBAL => act(How::LoadGlobal(inst.arg), 0, &[plain(ty.unwrap_or(Type::Ptr))]),
        code::STORE_GLOBAL if typed(1) => act(How::StoreGlobal(inst.arg), 1, &[]),
        op::POP => act(How::Pop, 1, &[]),
        op::DUP => act(How::Dup, 1, &[]),
        op::SWAP => act(How::Swap, 2, &[]),
        op::ROT => act(How::Rot, 3, &[]),
        op::BR if inst.arg != BAD_TARGET => Act { next: Next::Jump, ..act(How::Jump, 0, &[]) },
        op::BEGIN => Act { next: Next::Jump, ..act(How::Jump, 0, &[]) },
        op::BRF | op::BRT if inst.arg != BAD_TARGET => {
            Act { next: Next::Branch, ..act(How::Truth(inst.op == op::BRT, top(0).ty()), 1, &[]) }
        }
        op::BEQ..=op::BNE if inst.arg != BAD_TARGET => {
            match comparison(inst.op - op::BEQ, top(1).ty(), top(0).ty(), true) {
                Some(how) => Act { next: Next::Branch, ..act(how, 2, &[]) },
                None => STOP,
            }
        }
        op::EQ..=op::NE if typed(2) => match comparison(inst.op - op::EQ, top(1).ty(), top(0).ty(), false) {
            Some(how) => act(how, 2, &[plain(Type::Bool)]),
            None => STOP,
        },
        op::LAND | op::LOR if typed(2) => {
            act(How::Logic(inst.op, top(1).ty(), top(0).ty()), 2, &[plain(Type::Bool)])
        }
        op::ADD..=op::SHR if typed(2) => arithmetic(analysis, inst.op, top(1), top(0)),
        op::NOT | op::LNOT | op::INC..=op::NEG if typed(1) => unary(analysis, inst.op, top(0)),
        op::CONV => {
            let (from, to) = (top(0).ty(), ty.unwrap_or(Type::Ptr));
            let is_address = |ty: Type| matches!(ty, Type::I64 | Type::U64);
            let fits = match (from, to) {
                (Type::Ptr, to) => is_address(to),
                (from, Type::Ptr) => is_address(from),
                _ => true,
            };
            if fits { act(How::Convert(from, to), 1, &[plain(to)]) } else { STOP }
        }
        op::TYPEOF => {
            let code = u64::from(top(0).ty().code());
            act(How::Runtime("", vec![code], false), 1, &[plain(Type::I32)])
        }
        op::DEREF if top(0).ty() == Type::Ptr && !analysis.forged => match top(0) {
            Ty::Array(ty) => act(How::Deref(top(0)), 1, &[plain(ty)]),
            Ty::Field(number, field) => match program.structures[number as usize].get(field as usize) {
                Some(ty) => act(How::Deref(top(0)), 1, &[plain(*ty)]),
                None => STOP,
            },
            Ty::Plain(_) | Ty::Code(_) => STOP,
        },
        op::ITOF..=op::BTOS => named(inst.op, top(0).ty()),
        code::ELEMENT | code::ELEMENT_GLOBAL | code::ELEMENT_CONSTANT if !analysis.forged => {
            if top(1).ty() != Type::Ptr || matches!(top(1), Ty::Field(..)) {
                return general(2, Some(Vec::new()));
            }
            let named = match inst.op {
                code::ELEMENT => match state.slots[inst.arg as usize] {
                    Slot::Set(known) if known.ty() == Type::Ptr => Named::Slot(inst.arg),
                    _ => return general(2, Some(Vec::new())),
                },
                code::ELEMENT_GLOBAL if ty == Some(Type::Ptr) => Named::Global(inst.arg),
                code::ELEMENT_CONSTANT if ty == Some(Type::Ptr) => {
                    Named::Constant(program.pool[inst.arg as usize])
                }
                _ => return STOP,
            };
            act(How::Element(named, top(0).ty()), 2, &[])
        }
        code::NEW_ARRAY => {
            let ty = ty.unwrap_or(Type::Ptr);
            act(How::NewArray(ty, inst.arg), 0, &[Ty::Array(ty)])
        }
        code::NEW_STRUCTURE => act(How::NewStructure(inst.arg), 0, &[Ty::Field(inst.arg, 0)]),
        op::CALL => call(program, analysis, inst, state),
        op::RET | op::END => Act { how: How::Return, takes: 0, gives: Some(Vec::new()), next: Next::Ends },
        code::LIBRARY => library(analysis, Function::ALL[inst.arg as usize], stack),
        _ => match counts(inst) {
            Some((takes, 0)) => general(takes, Some(Vec::new())),
            _ => STOP,
        },
    }
}

fn comparison(how: u8, a: Type, b: Type, branches: bool) -> Option<How> {
    let is_equality = how == 0 || how == 5;
    if a == Type::Ptr || b == Type::Ptr {
        let fits = |ty: Type| ty == Type::Ptr || ty.is_integer();
        return (is_equality && fits(a) && fits(b)).then_some(How::ComparePtr(how, a, b, branches));
    }
    (a == b && (a != Type::Bool || is_equality)).then_some(How::Compare(how, a, branches))
}

fn arithmetic(analysis: &Analysis, code: u8, a: Ty, b: Ty) -> Act {
    let (x, y) = (a.ty(), b.ty());
    let moved = |known: Ty| if let Ty::Field(..) = known { Ty::Plain(Type::Ptr) } else { known };
    if !analysis.forged && (code == op::ADD || code == op::SUB) {
        let back = code == op::SUB;
        if x == Type::Ptr && y.is_integer() {
            return act(How::Move { number_first: false, back, by: y }, 2, &[moved(a)]);
        }
        if y == Type::Ptr && x.is_integer() && !back {
            return act(How::Move { number_first: true, back, by: x }, 2, &[moved(b)]);
        }
    }
    let is_logic = (op::AND..=op::XOR).contains(&code);
    let fits = x == y
        && match x {
            Type::Ptr => false,
            Type::Bool => is_logic,
            Type::F32 | Type::F64 => code <= op::DIV,
            _ => true,
        };
    if fits { act(How::Arithmetic(code, x), 2, &[plain(x)]) } else { STOP }
}

fn unary(analysis: &Analysis, code: u8, a: Ty) -> Act {
    let ty = a.ty();
    let fits = match code {
        op::LNOT => return act(How::Unary(code, ty), 1, &[plain(Type::Bool)]),
        op::NOT => !ty.is_float() && ty != Type::Ptr,
        op::NEG => ty.is_integer() || ty.is_float(),
        _ if ty == Type::Ptr => {
            if analysis.forged {
                return STOP;
            }
            let back = code == op::DEC;
            let known = match a {
                Ty::Field(number, field) if !back => Ty::Field(number, field + 1),
                Ty::Field(number, field) if field > 0 => Ty::Field(number, field - 1),
                Ty::Field(..) => plain(Type::Ptr),
                other => other,
            };
            return act(How::Step { back }, 1, &[known]);
        }
        _ => ty != Type::Bool,
    };
    if fits { act(How::Unary(code, ty), 1, &[plain(ty)]) } else { STOP }
}

fn named(code: u8, from: Type) -> Act {
    let fits = match code {
        op::ITOF..=op::ITOP => from.is_integer(),
        op::FTOI..=op::FTOC => from.is_float(),
        op::STOI..=op::STOC | op::PTOI | op::PTOS => from == Type::Ptr,
        op::BTOS => from == Type::Bool,
        _ => from == Type::Char,
    };
    let to = match code {
        op::ITOF | op::STOF | op::CTOF => Type::F64,
        op::ITOB | op::FTOB | op::STOB | op::CTOB => Type::Bool,
        op::ITOC | op::FTOC | op::STOC => Type::Char,
        op::FTOI | op::STOI | op::CTOI => Type::I32,
        op::PTOI => Type::I64,
        _ => Type::Ptr,
    };
    let known = if to == Type::Ptr && code != op::ITOP { Ty::Array(Type::Char) } else { plain(to) };
    if !fits {
        return STOP;
    }
    match code {
        op::ITOF | op::CTOF | op::ITOB | op::FTOB | op::CTOB | op::CTOI | op::FTOI => {
            act(How::Convert(from, to), 1, &[known])
        }
        _ => act(How::Runtime("named", vec![code.into()], true), 1, &[known]),
    }
}

fn call(program: &Program, analysis: &Analysis, inst: Inst, state: &State) -> Act {
    let callee = program.callees[inst.arg as usize];
    let unit = &analysis.units[callee.unit as usize];
    let source = &program.units[callee.unit as usize];
    let is_whole = source.name.is_some() && source.begin + 1 == callee.entry;
    if !is_whole || unit.why.is_some() || unit.need > state.stack.len() {
        return STOP;
    }
    // What a call leaves is mostly known before the subroutine is looked at: nothing, or a value of its type.
    let count = unit.delta.map(|delta| unit.need as isize + delta);
    let predicted = match (count, Type::from_code(callee.returns)) {
        (Some(0), None) => Some(Vec::new()),
        (Some(1), Some(ty)) => Some(vec![plain(ty)]),
        _ => None,
    };
    match unit.gives.clone().or(predicted) {
        Some(gives) => {
            Act { how: How::Call(callee), takes: unit.need, gives: Some(gives), next: Next::Apart }
        }
        None => Act { how: How::Awaits(callee), ..STOP },
    }
}

fn library(analysis: &Analysis, function: Function, stack: &[Ty]) -> Act {
    let top = |below: usize| stack[stack.len() - 1 - below];
    let takes = function.takes();
    let runtime = |name: &'static str, gives: &[Ty]| Act {
        next: Next::Apart,
        ..act(How::Runtime(name, Vec::new(), false), takes, gives)
    };
    let text = Ty::Array(Type::Char);
    match function {
        Function::Print => runtime("print", &[]),
        Function::Println => runtime("println", &[]),
        Function::Out => runtime("out", &[]),
        Function::In => runtime("in", &[plain(Type::I32)]),
        Function::Readln => runtime("readln", &[text]),
        Function::Len => runtime("text_len", &[plain(Type::I32)]),
        Function::Concat => runtime("concat", &[text]),
        Function::Alloc => match top(0) {
            Ty::Code(ty) => {
                runtime("alloc_cells", &[Type::from_code(ty).map_or(plain(Type::Ptr), Ty::Array)])
            }
            _ => runtime("alloc_cells", &[plain(Type::Ptr)]),
        },
        Function::Free => runtime("free_cells", &[]),
        Function::Set if top(1).ty() == Type::Ptr && !analysis.forged && !matches!(top(1), Ty::Field(..)) => {
            Act { next: Next::Apart, ..act(How::Element(Named::Nothing, top(0).ty()), 2, &[]) }
        }
        Function::Size => runtime("size_of", &[plain(Type::I32)]),
        Function::Abs => runtime("absolute", &[plain(top(0).ty())]),
        Function::Min => runtime("least", &[plain(top(1).ty())]),
        Function::Max => runtime("greatest", &[plain(top(1).ty())]),
        Function::Sqrt => runtime("root", &[plain(top(0).ty())]),
        Function::Pow => runtime("power", &[plain(top(1).ty())]),
        Function::Seed => runtime("seed", &[]),
        Function::Next => runtime("next_random", &[plain(Type::U64)]),
        Function::Argc => runtime("argument_count", &[plain(Type::I32)]),
        Function::Arg => runtime("argument", &[text]),
        Function::ThreadCreate | Function::ThreadSelf => general(takes, Some(vec![plain(Type::I64)])),
        Function::DllLoad => general(takes, Some(vec![plain(Type::Ptr)])),
        _ if function.gives() == 0
            && counts(Inst { op: code::LIBRARY, ty: 0, arg: function as u32 }).is_some() =>
        {
            general(takes, Some(Vec::new()))
        }
        _ => general(takes, None),
    }
}
