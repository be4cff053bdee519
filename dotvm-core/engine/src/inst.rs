//! The register form: instructions of eight bytes over the slots of a frame.
//!
//! A frame's slots are its parameters, its locals, then its operand stack: the value at height `h` has the
//! canonical slot `locals + h`. Lowering reads operands from wherever they are (locals, immediates, constants)
//! and keeps all values in their canonical slots between blocks.

use dotvm_core::opcode::{Op, Prefix};

/// A slot of the current frame.
pub type Slot = u16;

/// An instruction of the register form. Jump distances count from the instruction behind the jump.
///
/// The instructions of a program are followed by as many [`Inst::Gas`]: the one that lies as far behind an
/// instruction as the program is long says what a transfer of control to that instruction costs. So a jump finds
/// the cost of what it enters at a fixed distance, and falling through costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[rustfmt::skip]
pub enum Inst {
    /// Charge; among the instructions only behind operations that report gas.
    Gas { cost: u32 },
    /// End of the entry function.
    Exit,

    // Moves
    Mov { d: Slot, a: Slot },
    LoadI { d: Slot, imm: i32 },
    LoadK { d: Slot, k: u32 },
    Swap { a: Slot, b: Slot },
    /// Brings the value at `from` to `from + n`, the ones between move down.
    Rot { from: Slot, n: u16 },
    /// d = c ≠ 0 ? d : b
    Select { d: Slot, b: Slot, c: Slot },
    GlobalGet { d: Slot, g: u16 },
    GlobalSet { g: u16, a: Slot },

    // Arithmetic: R = slots, I = sign-extended immediate, K = word constant
    AddR { d: Slot, a: Slot, b: Slot }, AddI { d: Slot, a: Slot, imm: i16 }, AddK { d: Slot, a: Slot, k: u16 },
    SubR { d: Slot, a: Slot, b: Slot },
    MulR { d: Slot, a: Slot, b: Slot }, MulI { d: Slot, a: Slot, imm: i16 }, MulK { d: Slot, a: Slot, k: u16 },
    /// d = a · imm + b
    MulAddI { imm: i8, d: Slot, a: Slot, b: Slot },
    AndR { d: Slot, a: Slot, b: Slot }, AndI { d: Slot, a: Slot, imm: i16 }, AndK { d: Slot, a: Slot, k: u16 },
    OrR { d: Slot, a: Slot, b: Slot }, OrI { d: Slot, a: Slot, imm: i16 }, OrK { d: Slot, a: Slot, k: u16 },
    XorR { d: Slot, a: Slot, b: Slot }, XorI { d: Slot, a: Slot, imm: i16 }, XorK { d: Slot, a: Slot, k: u16 },
    ShlR { d: Slot, a: Slot, b: Slot }, ShlI { d: Slot, a: Slot, imm: i16 },
    ShrR { d: Slot, a: Slot, b: Slot }, ShrI { d: Slot, a: Slot, imm: i16 },
    SarR { d: Slot, a: Slot, b: Slot }, SarI { d: Slot, a: Slot, imm: i16 },
    DivR { d: Slot, a: Slot, b: Slot },
    ModR { d: Slot, a: Slot, b: Slot },
    Not { d: Slot, a: Slot },

    // Floating point, in the format of the module's words without a prefix
    FaddR { d: Slot, a: Slot, b: Slot },
    FsubR { d: Slot, a: Slot, b: Slot },
    FmulR { d: Slot, a: Slot, b: Slot },
    FdivR { d: Slot, a: Slot, b: Slot },
    Fsqrt { d: Slot, a: Slot },
    FltR { d: Slot, a: Slot, b: Slot },
    FleR { d: Slot, a: Slot, b: Slot },

    // Comparisons; the others are these with operands exchanged or the immediate moved by one
    EqR { d: Slot, a: Slot, b: Slot }, EqI { d: Slot, a: Slot, imm: i16 },
    NeR { d: Slot, a: Slot, b: Slot }, NeI { d: Slot, a: Slot, imm: i16 },
    LtR { d: Slot, a: Slot, b: Slot }, LtI { d: Slot, a: Slot, imm: i16 },
    GeR { d: Slot, a: Slot, b: Slot }, GeI { d: Slot, a: Slot, imm: i16 },
    SltR { d: Slot, a: Slot, b: Slot }, SltI { d: Slot, a: Slot, imm: i16 },
    SgeR { d: Slot, a: Slot, b: Slot }, SgeI { d: Slot, a: Slot, imm: i16 },

    // Jumps
    Jump { to: i32 },
    JumpZ { a: Slot, to: i32 },
    JumpNz { a: Slot, to: i32 },
    JumpEqR { a: Slot, b: Slot, to: i16 }, JumpEqI { a: Slot, imm: i16, to: i16 },
    JumpNeR { a: Slot, b: Slot, to: i16 }, JumpNeI { a: Slot, imm: i16, to: i16 },
    JumpLtR { a: Slot, b: Slot, to: i16 }, JumpLtI { a: Slot, imm: i16, to: i16 },
    JumpGeR { a: Slot, b: Slot, to: i16 }, JumpGeI { a: Slot, imm: i16, to: i16 },
    JumpSltR { a: Slot, b: Slot, to: i16 }, JumpSltI { a: Slot, imm: i16, to: i16 },
    JumpSgeR { a: Slot, b: Slot, to: i16 }, JumpSgeI { a: Slot, imm: i16, to: i16 },
    /// Jump by the table at `start` of the program's jump tables: its length, then absolute targets.
    JumpTable { a: Slot, start: u32 },

    // Calls
    /// Call `f`; its frame starts at slot `w` of this frame and at reference `r`.
    Call { w: Slot, r: Slot, f: u16 },
    /// Call through table `table` with signature `sig`; the index is in slot `w` + number of arguments.
    CallIndirect { w: Slot, r: Slot, x: u16 },
    /// Replace the frame by a frame of `f`; the arguments are at slot `w` and reference `r`.
    TailCall { w: Slot, r: Slot, f: u16 },
    /// Call what stands for the formula at reference `r` + 1 with the subject at `r`.
    Nock { w: Slot, r: Slot },
    TailNock { w: Slot, r: Slot },
    Ret0,
    Ret1 { a: Slot },
    /// Return `n` words from slot `a` on.
    RetN { a: Slot, n: u16 },
    /// Return from a function that uses references: the results are at slot `w` and reference `r`.
    RetRefs { w: Slot, r: Slot, f: u16 },

    // Window functions: the frame pointer moves with the operand stack
    /// Check that `need` values are there and `grow` more fit, then make the lowest of them slot 0.
    Block { need: u16, grow: u16 },
    /// Move slot 0 to the top of the stack, which is at slot `by`.
    Shift { by: u16 },
    /// Jump to where jump map `map` leads the address in slot `a`; slot 0 moves as by [`Inst::Shift`].
    JumpMapped { a: Slot, map: u16, by: u16 },
    /// Before a return: check that slot `w` is `n` above the frame's start, then move slot 0 back there.
    WindowEnd { w: Slot, n: u16 },

    // Memory: address in `p`, plus an offset
    Load8 { d: Slot, p: Slot, off: u16 },
    Load16 { d: Slot, p: Slot, off: u16 },
    Load32 { d: Slot, p: Slot, off: u16 },
    Load64 { d: Slot, p: Slot, off: u16 },
    LoadW { d: Slot, p: Slot, off: u16 },
    Store8 { p: Slot, a: Slot, off: u16 },
    Store16 { p: Slot, a: Slot, off: u16 },
    Store32 { p: Slot, a: Slot, off: u16 },
    Store64 { p: Slot, a: Slot, off: u16 },
    StoreW { p: Slot, a: Slot, off: u16 },
    Store8I { p: Slot, imm: i16, off: u16 },
    Store16I { p: Slot, imm: i16, off: u16 },
    Store32I { p: Slot, imm: i16, off: u16 },
    Store64I { p: Slot, imm: i16, off: u16 },
    StoreWI { p: Slot, imm: i16, off: u16 },

    // References; places count from the frame's reference 0
    /// RLGET and RDUP: place `d` holds null before.
    RefCopy { d: Slot, a: Slot },
    /// RLSET: place `a` holds null afterwards.
    RefMove { d: Slot, a: Slot },
    RefDrop { a: Slot },
    /// A reference global; place `d` holds null before.
    RefGlobal { d: Slot, g: u32 },
    /// RNULL: nothing is to be done, place `d` is null.
    RefNull { d: Slot },
    /// The two references from `r` on become a cell at `r`.
    Cons { r: Slot },
    Head { r: Slot },
    Tail { r: Slot },
    /// A part of what is at `a`, which stays, goes to `d`, which holds null before.
    HeadOf { d: Slot, a: Slot },
    TailOf { d: Slot, a: Slot },
    AxisOf { d: Slot, a: Slot, axis: u16 },
    IsCell { d: Slot, r: Slot },
    Increment { r: Slot },
    /// What is at `a`, which stays, plus 1 goes to `d`, which holds null before.
    IncrementOf { d: Slot, a: Slot },
    /// The local `a` plus 1, in its place.
    IncrementLocal { a: Slot },
    /// Jump if the two references from `r` on are equal, or if they are not.
    JumpRefEq { r: Slot, to: i32 },
    JumpRefNe { r: Slot, to: i32 },
    /// Jump if the reference at `r` is a cell, or if it is none.
    JumpCell { r: Slot, to: i32 },
    JumpNoCell { r: Slot, to: i32 },
    /// Whether the two references from `r` on are equal.
    RefEq { d: Slot, r: Slot },

    // The rest, in place on canonical slots: operands from word slot `w` and reference `r` on, results there too
    /// An integer operation without its own instruction; `x` = index of its immediates.
    Int { op: Op, w: Slot, x: u16 },
    /// The same behind a width prefix.
    Narrow { op: Op, prefix: Prefix, w: Slot, x: u16 },
    /// A floating-point operation without its own instruction, on binary32 or binary64; `x` = index of its immediates.
    Float { op: Op, is_single: bool, w: Slot, x: u16 },
    /// An operation on references, memory or the host, or of a page; `x` = index of the operation with its immediates.
    Ext { w: Slot, r: Slot, x: u16 },
}

const _: () = assert!(size_of::<Inst>() == 8);
