//! The opcode table: every operation of the machine is described here, once.
//!
//! [`for_each_op!`](crate::for_each_op) holds the rows. The [`Op`] enum, the decoder, the encoder, the
//! assembler's keywords, the disassembler, the verifier's stack heights, the gas schedule and
//! `docs/opcodes.md` all come from it. To add an operation: one row here, one meaning in the engine, one in the
//! reference interpreter, one test file.
//!
//! A row reads
//!
//! ```text
//! code Variant "MNEMONIC" (immediates) "stack effect" (traps) gas-class flow flags "meaning";
//! ```
//!
//! A code of two bytes is that of a page and then the operation's own; what is rarer lives there.
//!
//! Words stand in `[ ]`, references in `{ }`, the top of the stack on the right. The stack effect is not a
//! comment: the heights that the verifier uses are counted from it, except in rows whose effect depends on an
//! immediate or a signature (marked `by_imm`).

use dotvm_arch::Lane;

use crate::capability::Capability;
use crate::gas::Class;
use crate::trap::TrapKind;

/// What an immediate operand of an instruction is: how it is written, checked and named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Imm {
    /// A signed number of up to 64 bits, sign-extended to the word.
    Signed,
    /// A jump target: a distance in bytes from the end of the instruction to an instruction of the same function.
    Rel,
    /// A jump table: a count `n`, then `n + 1` distances.
    Table,
    /// A number of stack entries, 0 to 65,535.
    Count,
    /// A byte offset added to an address, 0 to 2^32 − 1.
    Offset,
    /// A memory format: log2 of the bytes (0 to 6), plus 8 to sign-extend, plus 16 for big-endian.
    Format,
    /// A number of bits, or the position of a bit, 0 to 512.
    Bits,
    /// Index of a word local (parameters first).
    Local,
    /// Index of a reference local (parameters first).
    RefLocal,
    /// Index of a word global.
    Global,
    /// Index of a reference global.
    RefGlobal,
    /// Index of a word constant.
    WordConst,
    /// Index of a reference constant.
    RefConst,
    /// Index of a function.
    Func,
    /// Index of a signature.
    Sig,
    /// Index of a function table.
    FuncTable,
    /// Index of a jump map.
    JumpMap,
    /// Index of a collection.
    Coll,
    /// A hash algorithm, see [`HashAlg`](crate::hash::HashAlg).
    Hash,
    /// A field of the environment, see [`EnvField`](crate::env::EnvField).
    Env,
    /// A message authentication code, see [`MacAlg`](crate::crypto::MacAlg).
    Mac,
    /// A key derivation function, see [`KdfAlg`](crate::crypto::KdfAlg).
    Kdf,
    /// An authenticated cipher, see [`AeadAlg`](crate::crypto::AeadAlg).
    Aead,
    /// A signature scheme, see [`SignatureAlg`](crate::crypto::SignatureAlg).
    Signature,
    /// How to round to an integer, see [`Rounding`](dotvm_arch::float::Rounding).
    Rounding,
    /// A conversion of a number, see [`Conversion`](dotvm_arch::float::Conversion).
    Conversion,
    /// Scan flags: bit 0 = descending.
    ScanFlags,
    /// Transaction flags: bit 0 = read-only.
    TxFlags,
    /// Flags of a contract call: bit 0 = static (nothing may be written), bit 1 = delegate (on the caller's own state).
    CallFlags,
    /// A guest-gas amount, 0 to 2^32 − 1.
    Amount,
    /// A function of unbounded integers, see [`IntegerFn`](crate::integer::IntegerFn).
    IntegerFn,
    /// How words or lanes are read: 0 unsigned, 1 signed.
    Signedness,
    /// How an integer becomes a word, see [`Narrowing`](crate::integer::Narrowing).
    Narrowing,
    /// A number of bytes, 0 to 64.
    ByteCount,
    /// A tree address: 1 the whole, 2n the head and 2n + 1 the tail of what is at n; 1 to 2^64 − 1.
    Axis,
    /// What a word is divided into, see [`Lane`].
    Lane,
    /// Number of a lane, the least significant being 0.
    LaneIndex,
    /// How lanes become half as wide: 0 low bits, 1 kept within the signed numbers, 2 within the unsigned ones.
    LaneNarrowing,
    /// How lanes become twice as wide: bit 0 = the high half of them, bit 1 = sign-extended.
    Widening,
    /// Index of a data segment.
    Data,
    /// What a string is as a document: 0 text, 1 bytes.
    StringKind,
    /// Index of a host call.
    HostCall,
    /// What SPAWN makes: 0 a process, 1 a thread.
    TaskKind,
}

impl Imm {
    /// The name used in documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Imm::Signed => "s",
            Imm::Rel => "rel",
            Imm::Table => "n rel×(n+1)",
            Imm::Count => "n",
            Imm::Offset => "off",
            Imm::Format => "fmt",
            Imm::Bits => "bits",
            Imm::Local => "local",
            Imm::RefLocal => "rlocal",
            Imm::Global => "global",
            Imm::RefGlobal => "rglobal",
            Imm::WordConst | Imm::RefConst => "const",
            Imm::Func => "fn",
            Imm::Sig => "sig",
            Imm::FuncTable => "table",
            Imm::JumpMap => "map",
            Imm::Coll => "coll",
            Imm::Hash | Imm::Mac | Imm::Kdf | Imm::Aead | Imm::Signature => "alg",
            Imm::Env => "field",
            Imm::Rounding => "mode",
            Imm::Conversion => "kind",
            Imm::ScanFlags | Imm::TxFlags | Imm::CallFlags => "flags",
            Imm::Amount => "amount",
            Imm::IntegerFn => "fn",
            Imm::Signedness => "sign",
            Imm::Narrowing => "mode",
            Imm::ByteCount => "len",
            Imm::Axis => "axis",
            Imm::Data => "data",
            Imm::Lane => "lane",
            Imm::LaneIndex => "i",
            Imm::LaneNarrowing => "how",
            Imm::Widening => "half",
            Imm::StringKind => "kind",
            Imm::HostCall => "call",
            Imm::TaskKind => "kind",
        }
    }

    /// Whether the operand is encoded as signed LEB128 (the others are unsigned).
    pub const fn is_signed(self) -> bool {
        matches!(self, Imm::Signed | Imm::Rel)
    }
}

/// Where control goes after an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// To the next instruction.
    Next,
    /// To the next instruction, which starts a new gas block (calls, and operations that report gas).
    NextBlock,
    /// To the immediate's target.
    Jump,
    /// To the immediate's target or to the next instruction.
    Branch,
    /// To one of many targets.
    Multi,
    /// Out of the function.
    Leave,
}

/// How the heights of the two stacks change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Words taken.
    pub words_in: u32,
    /// Words left in their place.
    pub words_out: u32,
    /// References taken.
    pub refs_in: u32,
    /// References left in their place.
    pub refs_out: u32,
}

impl Effect {
    /// Counts the names in a stack effect such as `[a b]{k} → [found]{doc}`.
    pub(crate) const fn parse(text: &str) -> Effect {
        let bytes = text.as_bytes();
        let mut counts = [0u32; 4];
        let mut after_arrow = 0;
        let mut group = 2; // 0 = in [ ], 1 = in { }, 2 = outside
        let mut in_name = false;
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            // "→" is the bytes e2 86 92; no other character used outside brackets starts with e2 86.
            if group == 2 && byte == 0xe2 && at + 1 < bytes.len() && bytes[at + 1] == 0x86 {
                after_arrow = 2;
                at += 3;
                continue;
            }
            match byte {
                b'[' => group = 0,
                b'{' => group = 1,
                b']' | b'}' => {
                    group = 2;
                    in_name = false;
                }
                b' ' => in_name = false,
                _ => {
                    if group != 2 && !in_name {
                        in_name = true;
                        counts[after_arrow + group] += 1;
                    }
                }
            }
            at += 1;
        }
        Effect { words_in: counts[0], refs_in: counts[1], words_out: counts[2], refs_out: counts[3] }
    }
}

/// One row of the opcode table.
#[derive(Debug)]
pub struct OpInfo {
    /// The operation.
    pub op: Op,
    /// Its byte; or, of an operation of two bytes, the byte of its page and then its own.
    pub code: u16,
    /// Its name in assembly text.
    pub mnemonic: &'static str,
    /// Its immediate operands, in the order of their encoding.
    pub imms: &'static [Imm],
    /// The stack effect as documented.
    pub effect_text: &'static str,
    /// The stack effect, or `None` where it depends on an immediate or a signature.
    pub effect: Option<Effect>,
    /// The traps it may raise, besides Gas.
    pub traps: &'static [TrapKind],
    /// Its gas class.
    pub gas: Class,
    /// Where control goes.
    pub flow: Flow,
    /// Whether a width prefix may stand before it.
    pub prefixable: bool,
    /// The capability a module must list to use it.
    pub capability: Option<Capability>,
    /// What it does, in one sentence.
    pub meaning: &'static str,
}

impl OpInfo {
    /// Whether a width prefix may stand before it, if the module's words are wider.
    pub fn takes(&self, prefix: Prefix) -> bool {
        self.prefixable && (self.gas != Class::F || prefix == Prefix::W32)
    }
}

/// Calls the given macro with every row of the opcode table.
#[macro_export]
macro_rules! for_each_op {
    ($consumer:path) => {
        $consumer! {
            // 0x00–0x0F Control
            0x00 Trap "TRAP" () "[] → never" (Unreachable) B Leave () "stop with Unreachable; all-zero code therefore stops at once";
            0x01 Nop "NOP" () "[] → []" () Z Next () "nothing";
            0x02 Jmp "JMP" (Rel) "[] → []" () J Jump () "jump; the distance counts from the next instruction and lands on an instruction of the same function";
            0x03 Jz "JZ" (Rel) "[c] → []" () J Branch () "jump if c = 0";
            0x04 Jnz "JNZ" (Rel) "[c] → []" () J Branch () "jump if c ≠ 0";
            0x05 Jtab "JTAB" (Table) "[i] → []" () J Multi () "jump by table, last entry for i ≥ n";
            0x06 Jmap "JMAP" (JumpMap) "[addr] → []" (Jump) Jmap Multi () "jump to the block that the jump map gives for a guest address; window functions only";
            0x07 Call "CALL" (Func) "[args]{args} → [results]{results}" (Depth Stack) Call NextBlock (by_imm) "call a function of this module";
            0x08 Calli "CALLI" (Sig FuncTable) "[args i]{args} → [results]{results}" (Index Null Sig Depth Stack) Calli NextBlock (by_imm) "call through a table, signature checked";
            0x09 Tcall "TCALL" (Func) "[args]{args} → leaves" (Stack) Call Leave (by_imm) "tail call: the frame is replaced";
            0x0A Ret "RET" () "[results]{results} → leaves" () J Leave (by_imm) "return; the stacks must hold exactly the results";
            0x0B Blk "BLK" (Count Count) "[] → []" (Stack) Z Next () "window functions: this block takes at most `need` values below its entry and grows by at most `grow`; one check for the whole block";
            0x0C Meter "METER" (Amount) "[] → []" (Meter) Z Next () "charge the amount to the guest meter (a guest machine's own gas), apart from host gas";
            0x0D Meterd "METERD" () "[n] → []" (Meter) B Next () "charge a computed amount to the guest meter";
            0x0E Throw "THROW" () "[code]{x} → never" (User) J Leave () "raise exception `code` with payload x";
            0x0F Halt "HALT" () "[code]{x} → never" () J Leave () "end this instance with result x; code 0 keeps its state changes, any other code undoes them";

            // 0x10–0x1F Stack, constants, locals, globals
            0x10 Push "PUSH" (Signed) "[] → [s]" () B Next () "signed immediate of up to 64 bits, sign-extended to the word";
            0x11 Pushc "PUSHC" (WordConst) "[] → [w]" () B Next () "word constant of the pool";
            0x12 Pop "POP" () "[a] → []" () B Next () "drop the top";
            0x13 Dup "DUP" () "[a] → [a a]" () B Next () "copy the top";
            0x14 Dupn "DUPN" (Count) "[… a …] → [… a … a]" () B Next (by_imm) "copy the value n below the top";
            0x15 Swap "SWAP" () "[a b] → [b a]" () B Next () "exchange the two values on top";
            0x16 Swapn "SWAPN" (Count) "[a … b] → [b … a]" () B Next (by_imm) "exchange the top with the value n below it";
            0x17 Rot "ROT" (Count) "[a … b] → [… b a]" () B Next (by_imm) "bring the value n below the top to the top";
            0x18 Select "SELECT" () "[a b c] → [r]" () B Next () "a if c ≠ 0, else b; no branch";
            0x19 Lget "LGET" (Local) "[] → [w]" () B Next () "word local";
            0x1A Lset "LSET" (Local) "[w] → []" () B Next () "set a word local";
            0x1B Ltee "LTEE" (Local) "[w] → [w]" () B Next () "set a word local, keep the value";
            0x1C Gget "GGET" (Global) "[] → [w]" () B Next () "word global";
            0x1D Gset "GSET" (Global) "[w] → []" () B Next () "set a word global";
            0x1E Meterq "METERQ" () "[] → [n]" () B NextBlock () "what the guest meter has left, at most the greatest word";
            0x1F Popn "POPN" (Count) "[a×n] → []" () B Next (by_imm) "drop n values";

            // 0x20–0x2F Integer arithmetic
            0x20 Add "ADD" () "[a b] → [r]" () A Next (prefix) "a + b modulo 2^w";
            0x21 Sub "SUB" () "[a b] → [r]" () A Next (prefix) "a − b modulo 2^w";
            0x22 Mul "MUL" () "[a b] → [r]" () M Next (prefix) "a · b modulo 2^w";
            0x23 Div "DIV" () "[a b] → [q]" (DivZero) D Next (prefix) "unsigned quotient";
            0x24 Sdiv "SDIV" () "[a b] → [q]" (DivZero Overflow) D Next (prefix) "signed quotient, toward zero; MIN ÷ −1 traps";
            0x25 Mod "MOD" () "[a b] → [r]" (DivZero) D Next (prefix) "unsigned remainder";
            0x26 Smod "SMOD" () "[a b] → [r]" (DivZero) D Next (prefix) "signed remainder with the sign of a; MIN rem −1 = 0";
            0x27 Neg "NEG" () "[a] → [r]" () A Next (prefix) "−a modulo 2^w";
            0x28 Abs "ABS" () "[a] → [r]" () A Next (prefix) "absolute value; MIN stays MIN";
            0x29 Addc "ADDC" () "[a b c] → [s c]" () A Next (prefix) "a + b + carry, carry in (low bit of c) and out";
            0x2A Subb "SUBB" () "[a b c] → [d c]" () A Next (prefix) "a − b − borrow, borrow in (low bit of c) and out";
            0x2B Mulw "MULW" () "[a b] → [hi lo]" () M Next (prefix) "full unsigned product";
            0x2C Saddo "SADDO" () "[a b] → [s o]" () A Next (prefix) "sum and signed overflow";
            0x2D Ssubo "SSUBO" () "[a b] → [d o]" () A Next (prefix) "difference and signed overflow";
            0x2E Smulo "SMULO" () "[a b] → [p o]" () M Next (prefix) "product and signed overflow";
            0x2F Addi "ADDI" (Signed) "[a] → [r]" () A Next (prefix) "add the immediate modulo 2^w";

            // 0x30–0x3F Arithmetic with guest semantics, modular arithmetic
            0x30 Divz "DIVZ" () "[a b] → [q]" () D Next (prefix) "unsigned quotient, 0 if b = 0 (EVM DIV)";
            0x31 Sdivz "SDIVZ" () "[a b] → [q]" () D Next (prefix) "signed quotient, 0 if b = 0, MIN ÷ −1 = MIN (EVM SDIV)";
            0x32 Modz "MODZ" () "[a b] → [r]" () D Next (prefix) "unsigned remainder, 0 if b = 0 (EVM MOD)";
            0x33 Smodz "SMODZ" () "[a b] → [r]" () D Next (prefix) "signed remainder, 0 if b = 0 (EVM SMOD)";
            0x34 Addmod "ADDMOD" () "[a b m] → [r]" () D Next (prefix) "(a + b) mod m over the full sum; 0 if m = 0";
            0x35 Mulmod "MULMOD" () "[a b m] → [r]" () D2 Next (prefix) "(a · b) mod m over the full product; 0 if m = 0";
            0x36 Exp "EXP" () "[a e] → [r]" () E Next (prefix) "a to the power e modulo 2^w";
            0x37 Isqrt "ISQRT" () "[a] → [r]" () D2 Next (prefix) "integer square root, rounded down";
            0x38 Min "MIN" () "[a b] → [r]" () A Next (prefix) "unsigned minimum";
            0x39 Max "MAX" () "[a b] → [r]" () A Next (prefix) "unsigned maximum";
            0x3A Smin "SMIN" () "[a b] → [r]" () A Next (prefix) "signed minimum";
            0x3B Smax "SMAX" () "[a b] → [r]" () A Next (prefix) "signed maximum";
            0x3C Divmod "DIVMOD" () "[a b] → [q r]" (DivZero) D Next (prefix) "unsigned quotient and remainder in one division";
            0x3D Modpow "MODPOW" () "[b e m] → [r]" (DivZero) E2 Next (prefix) "b to the power e, mod m";
            0x3E Modinv "MODINV" () "[a m] → [r]" (DivZero) E2 Next (prefix) "inverse of a mod m, 0 if there is none";
            0x3F Sextd "SEXTD" () "[x n] → [r]" () A Next (prefix) "sign-extend from the low n bits; n ≥ w leaves x, n = 0 gives 0";

            // 0x40–0x4F Bits and shifts
            0x40 And "AND" () "[a b] → [r]" () A Next (prefix) "bitwise and";
            0x41 Or "OR" () "[a b] → [r]" () A Next (prefix) "bitwise or";
            0x42 Xor "XOR" () "[a b] → [r]" () A Next (prefix) "bitwise exclusive or";
            0x43 Not "NOT" () "[a] → [r]" () A Next (prefix) "bitwise complement";
            0x44 Andn "ANDN" () "[a b] → [r]" () A Next (prefix) "a and not b";
            0x45 Shl "SHL" () "[a n] → [r]" () A Next (prefix) "shift left; 0 if n ≥ w";
            0x46 Shr "SHR" () "[a n] → [r]" () A Next (prefix) "shift right, zero fill; 0 if n ≥ w";
            0x47 Sar "SAR" () "[a n] → [r]" () A Next (prefix) "shift right, sign fill; all sign if n ≥ w";
            0x48 Rotl "ROTL" () "[a n] → [r]" () A Next (prefix) "rotate left by n modulo w";
            0x49 Rotr "ROTR" () "[a n] → [r]" () A Next (prefix) "rotate right by n modulo w";
            0x4A Clz "CLZ" () "[a] → [n]" () A Next (prefix) "leading zero bits, w for 0";
            0x4B Ctz "CTZ" () "[a] → [n]" () A Next (prefix) "trailing zero bits, w for 0";
            0x4C Popcnt "POPCNT" () "[a] → [n]" () A Next (prefix) "one bits";
            0x4D Bswap "BSWAP" () "[a] → [r]" () A Next (prefix) "reverse the bytes of the operating width";
            0x4E Byte "BYTE" () "[x i] → [b]" () A Next (prefix) "byte i counted from the most significant, 0 if outside";

            // 0x50–0x5F Comparison and sub-fields
            0x50 Eq "EQ" () "[a b] → [r]" () A Next (prefix) "1 if a = b, else 0";
            0x51 Ne "NE" () "[a b] → [r]" () A Next (prefix) "1 if a ≠ b, else 0";
            0x52 Lt "LT" () "[a b] → [r]" () A Next (prefix) "1 if a < b, unsigned";
            0x53 Gt "GT" () "[a b] → [r]" () A Next (prefix) "1 if a > b, unsigned";
            0x54 Le "LE" () "[a b] → [r]" () A Next (prefix) "1 if a ≤ b, unsigned";
            0x55 Ge "GE" () "[a b] → [r]" () A Next (prefix) "1 if a ≥ b, unsigned";
            0x56 Slt "SLT" () "[a b] → [r]" () A Next (prefix) "1 if a < b, signed";
            0x57 Sgt "SGT" () "[a b] → [r]" () A Next (prefix) "1 if a > b, signed";
            0x58 Sle "SLE" () "[a b] → [r]" () A Next (prefix) "1 if a ≤ b, signed";
            0x59 Sge "SGE" () "[a b] → [r]" () A Next (prefix) "1 if a ≥ b, signed";
            0x5A Eqz "EQZ" () "[a] → [r]" () A Next (prefix) "1 if a = 0, else 0";
            0x5B Cmp "CMP" () "[a b] → [r]" () A Next (prefix) "−1, 0 or 1: the signed result of an unsigned comparison";
            0x5C Sext "SEXT" (Bits) "[x] → [r]" () A Next (prefix) "sign-extend from the low bits, 1 ≤ bits ≤ w";
            0x5D Zext "ZEXT" (Bits) "[x] → [r]" () A Next (prefix) "keep the low bits, 1 ≤ bits ≤ w";
            0x5E Bextr "BEXTR" (Bits Bits) "[x] → [field]" () A Next (prefix) "extract the bits at `off`, `len` many; off + len ≤ w, len ≥ 1";
            0x5F Bins "BINS" (Bits Bits) "[x f] → [r]" () A Next (prefix) "replace the bits at `off`, `len` many, by the low bits of f";

            // 0x60–0x6F Linear memory
            0x60 Load "LOAD" (Offset) "[p] → [w]" (Bounds Protect) L Next () "full word, little-endian, any alignment";
            0x61 Loadx "LOADX" (Format Offset) "[p] → [w]" (Bounds Protect) L Next () "value of the format, zero- or sign-extended to the word";
            0x62 Load8 "LOAD8" (Offset) "[p] → [w]" (Bounds Protect) L Next () "one byte, zero-extended";
            0x63 Load16 "LOAD16" (Offset) "[p] → [w]" (Bounds Protect) L Next () "two bytes, little-endian, zero-extended";
            0x64 Load32 "LOAD32" (Offset) "[p] → [w]" (Bounds Protect) L Next () "four bytes, little-endian, zero-extended";
            0x65 Load64 "LOAD64" (Offset) "[p] → [w]" (Bounds Protect) L Next () "eight bytes, little-endian, zero-extended; not in 32-bit modules";
            0x66 Store "STORE" (Offset) "[p w] → []" (Bounds Protect) L Next () "full word, little-endian, any alignment";
            0x67 Storex "STOREX" (Format Offset) "[p w] → []" (Bounds Protect) L Next () "the low bytes of w in the format";
            0x68 Store8 "STORE8" (Offset) "[p w] → []" (Bounds Protect) L Next () "the low byte";
            0x69 Store16 "STORE16" (Offset) "[p w] → []" (Bounds Protect) L Next () "the low two bytes, little-endian";
            0x6A Store32 "STORE32" (Offset) "[p w] → []" (Bounds Protect) L Next () "the low four bytes, little-endian";
            0x6B Store64 "STORE64" (Offset) "[p w] → []" (Bounds Protect) L Next () "the low eight bytes, little-endian; not in 32-bit modules";
            0x6C Msize "MSIZE" () "[] → [pages]" () B Next () "memory size in 64 KiB pages";
            0x6D Mgrow "MGROW" () "[n] → [old]" () G Next () "grow by n pages; the old size, or −1 if it cannot";
            0x6E Mcopy "MCOPY" () "[dst src n] → []" (Bounds Protect) C Next () "copy n bytes, overlap allowed";
            0x6F Mfill "MFILL" () "[dst byte n] → []" (Bounds Protect) C Next () "fill n bytes";

            // 0x70–0x7F Heap, reference stack, byte strings
            0x70 Alloc "ALLOC" () "[n] → [p]" (OutOfMemory) Al Next () "n zeroed bytes, 16-aligned, from the memory behind the data segments";
            0x71 Free "FREE" () "[p] → []" (BadFree) Al Next () "give back exactly a live ALLOC result";
            0x72 Rconst "RCONST" (RefConst) "{} → {x}" () B Next () "reference constant of the pool: bytes or an integer, shared, not copied";
            0x73 Rnull "RNULL" () "{} → {null}" () B Next () "null";
            0x74 Rpop "RPOP" () "{x} → {}" () B Next () "drop the top";
            0x75 Rdup "RDUP" (Count) "{… x …} → {… x … x}" () B Next (by_imm) "copy the reference n below the top";
            0x76 Rswap "RSWAP" (Count) "{a … b} → {b … a}" () B Next (by_imm) "exchange the top with the reference n below it";
            0x77 Rlget "RLGET" (RefLocal) "{} → {x}" () B Next () "reference local";
            0x78 Rlset "RLSET" (RefLocal) "{x} → {}" () B Next () "set a reference local";
            0x79 Rgget "RGGET" (RefGlobal) "{} → {x}" () B Next () "reference global";
            0x7A Rgset "RGSET" (RefGlobal) "{x} → {}" () B Next () "set a reference global";
            0x7B Rkind "RKIND" () "{x} → [kind]" () B Next () "0 null, 1 integer, 2 bytes, 3 cell";
            0x7C Blen "BLEN" () "{b} → [n]" (Kind) B Next () "length of a byte string";
            0x7D Bget "BGET" () "[i]{b} → [byte]" (Kind Index) B Next () "byte i of a byte string";
            0x7E Bload "BLOAD" () "[p n] → {b}" (Bounds Protect Size OutOfMemory) R Next () "copy memory into a byte string";
            0x7F Bstore "BSTORE" () "[p i n]{b} → []" (Kind Index Bounds Protect) C Next () "copy b[i..i+n] to memory";

            // 0x80–0x8F Database
            0x80 DbGet "DB_GET" (Coll) "{key} → [found]{doc}" (Kind Cap Tx Db OutOfMemory) Q Next (cap DbRead) "point read in the open transaction; null if absent";
            0x81 DbPut "DB_PUT" (Coll) "{key doc} → [replaced]" (Kind Cap ReadOnly Tx Db) Q Next (cap DbWrite) "insert or replace";
            0x82 DbDelete "DB_DELETE" (Coll) "{key} → [existed]" (Kind Cap ReadOnly Tx Db) Q Next (cap DbWrite) "remove";
            0x83 DbQuery "DB_QUERY" (Coll) "{plan args} → [cursor]" (Kind Cap Tx Db) Q Next (cap DbRead) "cursor over the rows of a compiled query; its parameters are the elements of an array, or null for none";
            0x84 DbCount "DB_COUNT" (Coll) "{plan args} → [n]" (Kind Cap Tx Db Overflow) Q Next (cap DbRead) "number of rows that a compiled query gives; without a plan and arguments (nulls) of documents, in constant time";
            0x85 DbExists "DB_EXISTS" (Coll) "{key} → [r]" (Kind Cap Tx Db) Q Next (cap DbRead) "1 if the key is present";
            0x86 DbInsert "DB_INSERT" (Coll) "{doc} → {key}" (Kind Cap ReadOnly Tx Db OutOfMemory) Q Next (cap DbWrite) "insert under the next key of the collection's counter: 8 bytes, big-endian";
            0x87 DbPatch "DB_PATCH" (Coll) "{key patch} → [found]" (Kind Cap ReadOnly Tx Db) Q Next (cap DbWrite) "merge a patch into a document (RFC 7396); 0 and nothing changed if there is none";
            0x88 DbScan "DB_SCAN" (Coll ScanFlags) "{from to} → [cursor]" (Kind Cap Tx Db) Q Next (cap DbRead) "cursor over from ≤ key < to, null = open end; flag 1 = descending";
            0x89 DbNext "DB_NEXT" () "[cursor] → [more]{key doc}" (Index Cap Tx Db OutOfMemory) Q Next (cap DbRead) "next entry of the cursor; 0 and nulls at the end";
            0x8A DbClose "DB_CLOSE" () "[cursor] → []" (Index Cap Tx) B Next (cap DbRead) "close; all cursors close with their transaction";
            0x8E DbGetAt "DB_GET_AT" (Coll) "[version]{key} → [found]{doc}" (Kind Cap Tx Db OutOfMemory) Q Next (cap DbRead) "point read as of a version, at most the one that the transaction began at";
            0x8F DbProve "DB_PROVE" (Coll) "{key} → {proof}" (Kind Cap Tx Db OutOfMemory) Q Next (cap DbRead) "proof under STATE_ROOT of what the key holds, or that it is absent";

            // 0x90–0x9F Contract state and transactions
            0x90 Sload "SLOAD" () "[key] → [value]" (Tx Db Overflow) S Next () "slot of this contract, 0 if absent; a value wider than the word traps Overflow";
            0x91 Sstore "SSTORE" () "[key value] → []" (ReadOnly Tx Db) S Next () "set a slot; 0 removes it";
            0x92 Sdelete "SDELETE" () "[key] → [existed]" (ReadOnly Tx Db) S Next () "remove a slot";
            0x93 Sexists "SEXISTS" () "[key] → [r]" (Tx Db) S Next () "1 if the slot is set";
            0x94 Tload "TLOAD" () "[key] → [value]" (Tx) S0 Next () "per-transaction scratch slot, 0 if absent";
            0x95 Tstore "TSTORE" () "[key value] → []" (ReadOnly Tx) S0 Next () "set a per-transaction scratch slot";
            0x96 TxBegin "TX_BEGIN" (TxFlags) "[] → []" (Cap Tx Db) T Next (cap Tx) "open a transaction where none is open; flag 1 = read-only";
            0x97 TxCommit "TX_COMMIT" () "[] → [ok]" (Cap Tx Db) T Next (cap Tx) "commit; durable before it returns 1, 0 = conflict and nothing changed";
            0x98 TxAbort "TX_ABORT" () "[] → []" (Cap Tx) T Next (cap Tx) "undo everything since TX_BEGIN and close the transaction";
            0x99 Savepoint "SAVEPOINT" () "[] → [id]" (Tx) T Next () "mark a point to roll back to";
            0x9A Rollback "ROLLBACK" () "[id] → []" (Tx) T Next () "undo state, documents and events back to the savepoint, which stays valid";
            0x9B StateRoot "STATE_ROOT" () "{} → {root}" (Tx Db OutOfMemory) T Next () "root hash of the state, pending changes included: 32 bytes";
            0x9C StateProve "STATE_PROVE" () "[key] → {proof}" (Tx Db OutOfMemory) T Next () "proof under STATE_ROOT of what a slot of this contract holds, or that it is not set";
            0x9D StateVerify "STATE_VERIFY" () "[key value]{root proof} → [r]" (Kind Tx) H Next () "1 if the proof shows that a slot of this contract holds the value (0: is not set) under the root; reads no state";
            0x9F StateAt "STATE_AT" () "[version key] → [value]" (Tx Db Overflow) S Next () "slot as of a version, at most the one that the transaction began at";

            // 0xA0–0xAF Cryptography
            0xA0 Hash "HASH" (Hash) "{b} → {digest}" (Kind OutOfMemory) H Next () "digest of a byte string";
            0xA1 Hashw "HASHW" (Hash) "{b} → [digest]" (Kind) H Next () "digest as a word, read as a big-endian number; the word is at least as wide as the digest";
            0xA2 Hashm "HASHM" (Hash) "[p n] → [digest]" (Bounds Protect) H Next () "digest of memory as a word, no copy";

            0xA3 Hmac "HMAC" (Mac) "{key b} → {tag}" (Kind Crypto OutOfMemory) H Next () "authentication code of a byte string under a key";
            0xA4 Kdf "KDF" (Kdf) "[n]{secret salt info} → {b}" (Kind Range OutOfMemory) H Next () "n bytes derived from a secret, at most 8160";
            0xA5 Encrypt "ENCRYPT" (Aead) "{key nonce aad text} → {ct}" (Kind Size Crypto OutOfMemory) H Next () "authenticated encryption with associated data: the ciphertext and its tag of 16 bytes; keys have 32 bytes, nonces 12, and no nonce may serve twice under a key";
            0xA6 Decrypt "DECRYPT" (Aead) "{key nonce aad ct} → [ok]{text}" (Kind Crypto OutOfMemory) H Next () "1 and the text, or 0 and null if ciphertext or associated data are not what was encrypted";
            0xA7 Sign "SIGN" (Signature) "{sk msg} → {sig}" (Kind Crypto OutOfMemory) K Next () "signature of a message (secp256k1: of a digest of 32 bytes), always the same";
            0xA8 Verify "VERIFY" (Signature) "{pk msg sig} → [ok]" (Kind) K Next () "1 if the signature is one of the message under the public key; 0 also for what is malformed";
            0xA9 Recover "RECOVER" (Signature) "{digest sig} → {pk}" (Kind OutOfMemory) K Next () "the public key that made the signature, 65 bytes, null if there is none; secp256k1 only";
            0xAA Pubkey "PUBKEY" (Signature) "{sk} → {pk}" (Kind Crypto OutOfMemory) K Next () "public key of a secret key of 32 bytes: 32 bytes, or for secp256k1 65";
            0xAB Keygen "KEYGEN" (Signature) "{seed} → {sk}" (Kind Crypto OutOfMemory) K Next () "secret key that belongs to a seed of at least 16 bytes, always the same";
            0xAC Random "RANDOM" () "[n] → {b}" (Range OutOfMemory) H Next () "the next n bytes of this execution's stream, which its seed determines";

            // 0xB0–0xBF Floating point
            0xB0 Fadd "FADD" () "[a b] → [r]" () F Next (float) "a + b";
            0xB1 Fsub "FSUB" () "[a b] → [r]" () F Next (float) "a − b";
            0xB2 Fmul "FMUL" () "[a b] → [r]" () F Next (float) "a · b";
            0xB3 Fdiv "FDIV" () "[a b] → [r]" () F Next (float) "a ÷ b; infinite where b is 0 and a is not";
            0xB4 Fsqrt "FSQRT" () "[a] → [r]" () F Next (float) "square root";
            0xB5 Fabs "FABS" () "[a] → [r]" () F Next (float) "sign bit cleared, also of a NaN, whose other bits stay";
            0xB6 Fneg "FNEG" () "[a] → [r]" () F Next (float) "sign bit inverted, also of a NaN, whose other bits stay";
            0xB7 Fmin "FMIN" () "[a b] → [r]" () F Next (float) "the lesser, NaN if either is; −0 is less than +0";
            0xB8 Fmax "FMAX" () "[a b] → [r]" () F Next (float) "the greater, NaN if either is; +0 is greater than −0";
            0xB9 Fround "FROUND" (Rounding) "[a] → [r]" () F Next (float) "to an integer, which keeps the sign";
            0xBA Fcopysign "FCOPYSIGN" () "[a b] → [r]" () F Next (float) "a with the sign bit of b, also of a NaN, whose other bits stay";
            0xBB Feq "FEQ" () "[a b] → [r]" () F Next (float) "1 if a = b; −0 equals +0, a NaN nothing";
            0xBC Flt "FLT" () "[a b] → [r]" () F Next (float) "1 if a < b; 0 if either is NaN";
            0xBD Fle "FLE" () "[a b] → [r]" () F Next (float) "1 if a ≤ b; 0 if either is NaN";
            0xBE Fcvt "FCVT" (Conversion) "[a] → [r]" (Overflow) F Next (float) "conversion between binary32, binary64 and integers";
            0xBF Fma "FMA" () "[a b c] → [r]" () F Next (float) "a · b + c, rounded once";

            // 0xC0–0xCF Cells
            0xC0 Cons "CONS" () "{h t} → {cell}" (OutOfMemory) New Next () "pair of two references";
            0xC1 Head "HEAD" () "{c} → {h}" (Kind) B Next () "first of a pair";
            0xC2 Tail "TAIL" () "{c} → {t}" (Kind) B Next () "second of a pair";
            0xC3 Axis "AXIS" (Axis) "{x} → {part}" (Kind) Way Next () "the part at a tree address";
            0xC4 Axisd "AXISD" () "{a x} → {part}" (Kind Range) Way Next () "the part at a computed tree address of any size";
            0xC5 Edit "EDIT" (Axis) "{new x} → {r}" (Kind OutOfMemory) Cells Next () "x with another part at a tree address";
            0xC6 Editd "EDITD" () "{a new x} → {r}" (Kind Range OutOfMemory) Cells Next () "x with another part at a computed tree address";
            0xC7 Iscell "ISCELL" () "{x} → [r]" () B Next () "1 if x is a pair";
            0xC8 Rinc "RINC" () "{n} → {r}" (Kind Size OutOfMemory) R Next () "integer n + 1";
            0xC9 Req "REQ" () "{a b} → [r]" () Same Next () "1 if a and b are equal, however deep; equal pairs share their parts from then on";
            0xCA Mug "MUG" () "{x} → [hash]" (Kind) Noun Next () "31-bit hash of a noun (natural numbers and pairs of nouns), known at once the second time";
            0xCB Jam "JAM" () "{x} → {b}" (Kind Size OutOfMemory) Noun Next () "noun to bytes, equal parts once (Hoon's jam)";
            0xCC Cue "CUE" () "{b} → {x}" (Kind Range OutOfMemory) Noun Next () "bytes to noun, shared where they say so (Hoon's cue); bytes that stand for none are Range";
            0xCD Nock "NOCK" () "{subject formula} → {product}" (Kind Null Depth Stack) Calli NextBlock () "product of a Nock formula on a subject: a call of the function that whoever runs the instance makes of the formula; Kind if it is no pair, Null if nobody makes one";
            0xCE Tnock "TNOCK" () "{subject formula} → leaves" (Kind Null Stack) Calli Leave (by_imm) "the same as a tail call, in functions that return one reference";
            0xCF Rcmp "RCMP" () "{a b} → [r]" () Same Next () "−1, 0 or 1: order by kind (null, integer, bytes, pair), then by value, the first difference decides";

            // 0xD0–0xDF Unbounded integers
            0xD0 Zadd "ZADD" () "{a b} → {r}" (Kind Size OutOfMemory) Zn Next () "a + b";
            0xD1 Zsub "ZSUB" () "{a b} → {r}" (Kind Size OutOfMemory) Zn Next () "a − b";
            0xD2 Zmul "ZMUL" () "{a b} → {r}" (Kind Size OutOfMemory) Zm Next () "a · b";
            0xD3 Zdiv "ZDIV" () "{a b} → {q}" (Kind DivZero OutOfMemory) Zm Next () "quotient, rounded down";
            0xD4 Zmod "ZMOD" () "{a b} → {r}" (Kind DivZero OutOfMemory) Zm Next () "what is left of that division: it has the sign of b";
            0xD5 Zdivmod "ZDIVMOD" () "{a b} → {q r}" (Kind DivZero OutOfMemory) Zm Next () "both in one division";
            0xD6 Zcmp "ZCMP" () "{a b} → [r]" (Kind) Zn Next () "−1, 0 or 1";
            0xD7 Zshl "ZSHL" () "[n]{a} → {r}" (Kind Size OutOfMemory) Zn Next () "a · 2^n";
            0xD8 Zshr "ZSHR" () "[n]{a} → {r}" (Kind OutOfMemory) Zn Next () "a ÷ 2^n, rounded down";
            0xD9 Zand "ZAND" () "{a b} → {r}" (Kind Size OutOfMemory) Zn Next () "bitwise and of endless two's complements";
            0xDA Zor "ZOR" () "{a b} → {r}" (Kind OutOfMemory) Zn Next () "bitwise or of endless two's complements";
            0xDB Zxor "ZXOR" () "{a b} → {r}" (Kind Size OutOfMemory) Zn Next () "bitwise exclusive or of endless two's complements";
            0xDC Zbits "ZBITS" () "{a} → [n]" (Kind) B Next () "bits of the absolute value, 0 for 0";
            0xDD W2z "W2Z" (Signedness) "[w] → {z}" (OutOfMemory) New Next () "word as an integer";
            0xDE Z2w "Z2W" (Narrowing) "{z} → [w]" (Kind Overflow) B Next () "integer as a word";
            0xDF Zfn "ZFN" (IntegerFn) "by function" (Kind Range Size DivZero OutOfMemory) Zf Next (by_imm) "a function of unbounded integers";

            // 0xE0–0xEF System, processes, contracts
            0xE0 Sys "SYS" (HostCall) "per call" (Cap Kind Range Index Size Overflow OutOfMemory ReadOnly Tx Db) X Next (by_imm) "host call of the module's table, see Host calls";
            0xE1 Spawn "SPAWN" (TaskKind Func) "[args caps]{args} → [pid]" () Task Next (by_imm) "begin a function as a task: kind 0 is a process with memory and globals of its own, 1 a thread of this process, 2 a ParaDot: a thread that nobody interrupts and that never waits; it holds those of the capabilities of the task that spawns it whose bits are set in caps; its number, or 0 if the limits have no room for it";
            0xE2 Yield "YIELD" () "[] → []" () P Next () "end this turn";
            0xE3 Join "JOIN" () "[pid] → [status value]{result}" (Index Deadlock) P Next () "wait for the end of a task that this process has spawned, and take its result; status 0 = returned, 1 = halted, 2 = threw, 3 = trapped, 4 = killed; value and result are what it returned, the code and result of HALT, the exception's code and payload, the trap's number, or the code of KILL";
            0xE4 Selfid "SELF" () "[] → [pid]" () B Next () "the number of this task, 0 for the first";
            0xE5 Send "SEND" () "[pid]{message} → [sent]" () P Next () "put a reference into the mailbox of a task; 0 if it is full or there is no such task";
            0xE6 Recv "RECV" () "[ticks] → [from]{message}" (Deadlock) P Next () "take the oldest message, wait for one if there is none; −1 and null if none has come after so many turns, which are without end if ticks = −1";
            0xE7 Kill "KILL" () "[pid code] → [ended]" (Index) P Next () "end a task that this process has spawned; 0 if it was at its end";
            0xE8 CapTest "CAP_TEST" () "[cap] → [r]" () B Next () "1 if the task holds the capability with this number";
            0xE9 Xcreate "XCREATE" () "[salt]{code} → [created]{name}" (Kind Cap ReadOnly Tx OutOfMemory) Xc Next (cap ContractCreate) "keep a module and give it the name that follows from this contract, the salt and the code: 1 if that is new, 0 if the name had this code already; null if the code is not accepted or the name has other code";
            0xEA CapDrop "CAP_DROP" () "[cap] → []" () B Next () "give up a capability for good: what needs it traps from now on";
            0xEB Env "ENV" (Env) "[] → [w] or {x}" (Overflow OutOfMemory) B Next (by_imm) "a field of the environment";
            0xEC Emit "EMIT" (Count) "[topics×n]{data} → []" (Kind ReadOnly Tx) H Next (by_imm) "record an event, undone with its transaction";
            0xED Xcall "XCALL" (CallFlags) "[gas value]{contract input} → [status]{output}" (Kind Depth ReadOnly Tx OutOfMemory) Xc NextBlock () "call the entry function of the contract with this name, of any word width, with at most so much gas; flag 1 = static, 2 = delegate; status 0 = success, 1 = halted, 2 = trapped, 3 = not called";
            0xEE Gas "GAS" () "[] → [n]" () B NextBlock () "host gas left, at most the greatest word";
            0xEF Break "BREAK" () "[] → []" () Z Next () "debugger stop; nothing otherwise";

            // Page V (0xF8): packed lanes in a word
            0xF800 VSplat "V.SPLAT" (Lane) "[x] → [v]" () A Next () "the low bits of x in every lane";
            0xF801 VExtract "V.EXTRACT" (Lane LaneIndex) "[v] → [x]" () A Next () "lane i, the least significant being 0, zero-extended";
            0xF802 VReplace "V.REPLACE" (Lane LaneIndex) "[v x] → [v]" () A Next () "lane i replaced by the low bits of x";
            0xF803 VAdd "V.ADD" (Lane) "[a b] → [v]" () A Next () "a + b, integers modulo their size";
            0xF804 VSub "V.SUB" (Lane) "[a b] → [v]" () A Next () "a − b, integers modulo their size";
            0xF805 VMul "V.MUL" (Lane) "[a b] → [v]" () A Next () "a · b, integers modulo their size";
            0xF806 VDiv "V.DIV" (Lane) "[a b] → [v]" () A Next () "a ÷ b; floats only";
            0xF807 VMin "V.MIN" (Lane) "[a b] → [v]" () A Next () "the lesser, signed; of floats as FMIN";
            0xF808 VMax "V.MAX" (Lane) "[a b] → [v]" () A Next () "the greater, signed; of floats as FMAX";
            0xF809 VMinu "V.MINU" (Lane) "[a b] → [v]" () A Next () "the lesser, unsigned";
            0xF80A VMaxu "V.MAXU" (Lane) "[a b] → [v]" () A Next () "the greater, unsigned";
            0xF80B VAbs "V.ABS" (Lane) "[a] → [v]" () A Next () "absolute value; MIN stays MIN; of floats as FABS";
            0xF80C VNeg "V.NEG" (Lane) "[a] → [v]" () A Next () "−a, integers modulo their size; of floats as FNEG";
            0xF80D VSqrt "V.SQRT" (Lane) "[a] → [v]" () A Next () "square root; floats only";
            0xF80E VRound "V.ROUND" (Lane Rounding) "[a] → [v]" () A Next () "to an integer, as FROUND; floats only";
            0xF80F VFma "V.FMA" (Lane) "[a b c] → [v]" () A Next () "a · b + c, rounded once; floats only";
            0xF810 VAdds "V.ADDS" (Lane) "[a b] → [v]" () A Next () "sum, kept within the signed numbers";
            0xF811 VAddu "V.ADDU" (Lane) "[a b] → [v]" () A Next () "sum, kept within the unsigned numbers";
            0xF812 VSubs "V.SUBS" (Lane) "[a b] → [v]" () A Next () "difference, kept within the signed numbers";
            0xF813 VSubu "V.SUBU" (Lane) "[a b] → [v]" () A Next () "difference, kept within the unsigned numbers";
            0xF814 VAvgu "V.AVGU" (Lane) "[a b] → [v]" () A Next () "half of the unsigned sum, rounded up";
            0xF815 VShl "V.SHL" (Lane) "[a n] → [v]" () A Next () "each lane shifted left by n; 0 if n is its size or more";
            0xF816 VShr "V.SHR" (Lane) "[a n] → [v]" () A Next () "each lane shifted right by n, zero fill";
            0xF817 VSar "V.SAR" (Lane) "[a n] → [v]" () A Next () "each lane shifted right by n, sign fill";
            0xF818 VEq "V.EQ" (Lane) "[a b] → [mask]" () A Next () "all-ones where a = b, else 0";
            0xF819 VLt "V.LT" (Lane) "[a b] → [mask]" () A Next () "all-ones where a < b, signed or floats";
            0xF81A VLe "V.LE" (Lane) "[a b] → [mask]" () A Next () "all-ones where a ≤ b, signed or floats";
            0xF81B VLtu "V.LTU" (Lane) "[a b] → [mask]" () A Next () "all-ones where a < b, unsigned";
            0xF81C VLeu "V.LEU" (Lane) "[a b] → [mask]" () A Next () "all-ones where a ≤ b, unsigned";
            0xF81D VBlend "V.BLEND" () "[a b m] → [v]" () A Next () "the bits of a where m is set, those of b elsewhere";
            0xF81E VShuffle "V.SHUFFLE" (Lane WordConst) "[a b] → [v]" () A Next () "lane i is the one that lane i of the constant names: of a, behind its last of b, else 0";
            0xF81F VPerm "V.PERM" (Lane) "[a i] → [v]" () A Next () "lane of a that each lane of i names, 0 if there is none";
            0xF821 VAll "V.ALL" (Lane) "[a] → [r]" () A Next () "1 if no lane is 0";
            0xF822 VBitmask "V.BITMASK" (Lane) "[a] → [w]" () A Next () "the top bit of every lane, lane 0 in bit 0";
            0xF823 VSum "V.SUM" (Lane) "[a] → [x]" () A Next () "sum of all lanes modulo their size; of floats the upper half is added to the lower again and again";
            0xF824 VRmin "V.RMIN" (Lane) "[a] → [x]" () A Next () "the least lane, signed; of floats as FMIN";
            0xF825 VRmax "V.RMAX" (Lane) "[a] → [x]" () A Next () "the greatest lane, signed; of floats as FMAX";
            0xF826 VDot "V.DOT" (Lane) "[a b] → [v]" () A Next () "twice as wide lanes: the sum of the signed products of two neighbours";
            0xF827 VNarrow "V.NARROW" (Lane LaneNarrowing) "[a b] → [v]" () A Next () "half as wide lanes, those of a below: low bits, or signed lanes kept within the signed or unsigned numbers";
            0xF828 VWiden "V.WIDEN" (Lane Widening) "[a] → [v]" () A Next () "twice as wide lanes of the low or high half, zero- or sign-extended";
            0xF829 VCvt "V.CVT" (Conversion) "[a] → [v]" () A Next () "conversion of every lane: integers of 32 bits from and to binary32, of 64 from and to binary64, saturating; promote takes the low half of the lanes, demote leaves it";
            0xF82A VMulhi "V.MULHI" (Lane Signedness) "[a b] → [v]" () A Next () "high half of the product, unsigned or signed";

            // Page A (0xF9): waiting on memory, array kernels
            0xF909 AWait "A.WAIT" (Format Offset) "[p expected ticks] → [how]" (Bounds Protect Deadlock) P Next () "wait until A.NOTIFY names p, if the number there, read as by LOADX, is the expected one; 0 = woken, 1 = it was another, 2 = nothing came in so many turns, which are without end if ticks = −1";
            0xF90A ANotify "A.NOTIFY" (Offset) "[p n] → [woken]" (Bounds Protect) P Next () "wake threads of this process that wait at p, those that have waited longest, at most n";
            0xF90F ADot "A.DOT" (Lane) "[p q n] → [x]" (Bounds Protect) C Next () "sum of the products of n elements at p with those at q: of integers modulo 2^64, sign-extended; of floats in the fixed order of SEMANTICS.md";
            0xF910 AAxpy "A.AXPY" (Lane) "[a p q n] → []" (Bounds Protect) C Next () "each of n elements y at q becomes a · x + y, rounded once, x being the element at p, as it was before";
            0xF911 AMatmul "A.MATMUL" (Lane) "[p q r m n k] → []" (Bounds Protect) Mat Next () "the matrix of m rows and n columns at r becomes the product of that of m rows and k columns at p with that of k rows and n columns at q, as they were before";

            // Page M (0xFA): memory extension
            0xFA00 MProtect "M.PROTECT" () "[p n flags] → []" (Range Bounds) C Next () "pages of 4 KiB from p on: flags 0 no access, 1 read, 3 read and write; from the first one on freed blocks are guarded too";
            0xFA01 MRealloc "M.REALLOC" () "[p n] → [q]" (BadFree OutOfMemory) Al Next () "the block at p for n bytes, moved if its size class changes; what is new is zero";
            0xFA02 MUsable "M.USABLE" () "[p] → [n]" (BadFree) Al Next () "bytes of the block at p";
            0xFA03 MInit "M.INIT" (Data) "[dst src n] → []" (Bounds Protect) C Next () "copy bytes src..src+n of a data segment, as the module has it, to memory";
            0xFA04 MDrop "M.DROP" (Data) "[] → []" () B Next () "from here on the data segment is empty for M.INIT";
            0xFA05 MCmp "M.CMP" () "[p q n] → [r]" (Bounds Protect) C Next () "−1, 0 or 1: n bytes at p compared with those at q, the first that differs decides, unsigned";
            0xFA06 MFind "M.FIND" () "[p n byte] → [i]" (Bounds Protect) C Next () "where among n bytes at p the byte first is, or −1";
            0xFA08 MTouch "M.TOUCH" () "[p n] → [words]" (OutOfMemory) G Next () "make p..p+n part of the touched memory, which starts empty and grows by 32 bytes; its size in 32-byte words (EVM memory expansion)";

            // Page R (0xFB): byte strings and documents
            0xFB00 RSlice "R.SLICE" () "[i n]{b} → {part}" (Kind Index OutOfMemory) New Next () "b[i..i+n], shared, not copied";
            0xFB01 RCat "R.CAT" () "{a b} → {ab}" (Kind Size OutOfMemory) R Next () "one behind the other";
            0xFB02 RW2b "R.W2B" (ByteCount) "[w] → {b}" (Overflow OutOfMemory) New Next () "the word as a big-endian number of len bytes; len 0: as few as it has";
            0xFB03 RB2w "R.B2W" () "{b} → [w]" (Kind Overflow) C Next () "the number that the bytes are, big-endian";
            0xFB04 RFind "R.FIND" () "{b pat} → [i]" (Kind) C Next () "first place of pat in b, or −1";
            0xFB05 RHex "R.HEX" () "{b} → {text}" (Kind Size OutOfMemory) R Next () "two hexadecimal digits for each byte, in lower case";
            0xFB06 RUnhex "R.UNHEX" () "{text} → {b}" (Kind OutOfMemory) R Next () "the bytes that hexadecimal digits of either case stand for, null if these are none";
            0xFB07 RUtf8 "R.UTF8" () "{b} → [r]" (Kind) C Next () "1 if b is UTF-8";
            0xFB08 RList "R.LIST" (Count) "{x×n} → {list}" (OutOfMemory) Cells Next (by_imm) "pairs nested to the right that end in null";
            0xFB09 RUnlist "R.UNLIST" (Count) "{list} → {x×n}" (Kind) Way Next (by_imm) "the n items of such a list, which must have exactly so many";
            0xFB0A RDparse "R.DPARSE" () "{json} → {doc}" (Kind Size OutOfMemory) Doc Next () "JSON text as a document, null if it is none";
            0xFB0B RDtext "R.DTEXT" () "{doc} → {json}" (Kind Size OutOfMemory) Doc Next () "document as JSON text, in one line";
            0xFB0C RDget "R.DGET" () "{path doc} → {value}" (Kind OutOfMemory) Doc Next () "value at a JSON pointer (RFC 6901), null if there is none";
            0xFB0D RDset "R.DSET" () "{value path doc} → {doc}" (Kind Index Size OutOfMemory) Doc Next () "document with the value at the pointer, replaced or added";
            0xFB0E RDdel "R.DDEL" () "{path doc} → {doc}" (Kind Index OutOfMemory) Doc Next () "document without the value at the pointer";
            0xFB0F RDtype "R.DTYPE" () "{doc} → [type]" (Kind) B Next () "0 null, 1 boolean, 2 integer, 3 float, 4 text, 5 bytes, 6 array, 7 map";
            0xFB10 RDlen "R.DLEN" () "{doc} → [n]" (Kind) B Next () "values of an array or map, bytes of a text or byte string";
            0xFB11 RDint "R.DINT" () "{doc} → [ok w]" (Kind) B Next () "1 and the integer if it is one that fits, signed or unsigned; else 0 and 0";
            0xFB12 RIntd "R.INTD" () "[w] → {doc}" (OutOfMemory) New Next () "the word as a document, unsigned";
            0xFB13 RDstr "R.DSTR" () "{doc} → {b}" (Kind OutOfMemory) R Next () "contents of a text or byte string, null of any other document";
            0xFB14 RStrd "R.STRD" (StringKind) "{b} → {doc}" (Kind Size OutOfMemory) R Next () "a text (which must be UTF-8) or byte string as a document";
            0xFB15 RDiter "R.DITER" () "[i]{doc} → [more]{k v}" (Kind OutOfMemory) Doc Next () "entry i of a map (name and value) or array (null and value); 0 and nulls behind the last";
            0xFB16 RLoadw "R.LOADW" () "[i]{b} → [w]" (Kind) B Next () "big-endian word from byte i on, zeros behind the end (EVM CALLDATALOAD)";
            0xFB17 RCopyz "R.COPYZ" () "[p i n]{b} → []" (Kind Bounds Protect) C Next () "copy n bytes from byte i on to memory, zeros behind the end (EVM CALLDATACOPY)";
        }
    };
}

macro_rules! define_ops {
    ($($code:literal $variant:ident $mnemonic:literal ($($imm:ident)*) $effect:literal ($($trap:ident)*)
        $gas:ident $flow:ident ($($flag:ident $($arg:ident)?)?) $meaning:literal;)*) => {
        /// An operation of the machine.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Op {
            $(#[doc = concat!("`", $mnemonic, "` `", $effect, "`: ", $meaning, ".")] $variant = $code,)*
        }

        /// The rows of the opcode table, ascending by code.
        pub static OPS: &[OpInfo] = &[$(OpInfo {
            op: Op::$variant,
            code: $code,
            mnemonic: $mnemonic,
            imms: &[$(Imm::$imm),*],
            effect_text: $effect,
            effect: flag_effect!($effect $($flag)?),
            traps: &[$(TrapKind::$trap),*],
            gas: Class::$gas,
            flow: Flow::$flow,
            prefixable: flag_prefix!($($flag)?),
            capability: flag_capability!($($flag $($arg)?)?),
            meaning: $meaning,
        }),*];
    };
}

macro_rules! flag_effect {
    ($effect:literal by_imm) => {
        None
    };
    ($effect:literal $($other:ident)?) => {
        Some(Effect::parse($effect))
    };
}
macro_rules! flag_prefix {
    (prefix) => {
        true
    };
    (float) => {
        true
    };
    ($($other:ident)?) => {
        false
    };
}
macro_rules! flag_capability {
    (cap $name:ident) => {
        Some(Capability::$name)
    };
    ($($other:ident)?) => {
        None
    };
}

for_each_op!(define_ops);

/// Whether a code byte is that of a page: the operation's own byte follows it.
pub const fn is_page(byte: u8) -> bool {
    matches!(byte, 0xF8..=0xFE)
}

/// Number of places in tables by code: one for each byte, then one for each byte behind each page's.
const PLACES: usize = 0x800;

/// The place of a code in tables by code: pages follow the codes of one byte.
const fn place(code: u16) -> usize {
    if code < 0x100 { code as usize } else { code as usize - 0xF700 }
}

/// For each place, the position of its row in [`OPS`] plus one, or 0.
static ROW_AT: [u16; PLACES] = {
    let mut rows = [0u16; PLACES];
    let mut row = 0;
    while row < OPS.len() {
        let code = OPS[row].code;
        let is_paged = code >= 0x100;
        assert!(!is_paged || is_page((code >> 8) as u8), "a code of two bytes starts with that of a page");
        assert!(is_paged || !is_page(code as u8), "a page is no operation");
        assert!(rows[place(code)] == 0, "two operations share one code");
        assert!(row == 0 || OPS[row - 1].code < code, "rows are ascending by code");
        rows[place(code)] = row as u16 + 1;
        row += 1;
    }
    rows
};

/// What decoding and verifying ask of every instruction: the rows again, but few bytes each and by code, so that
/// they stay in the cache and most instructions take the same few branches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// The operation, if one has this code.
    pub op: Option<Op>,
    /// Whether it is the last of its block or the first of another.
    pub is_border: bool,
    /// Where control goes after it.
    pub flow: Flow,
}

static FACTS: [Facts; PLACES] = {
    let mut facts = [Facts { op: None, is_border: true, flow: Flow::Leave }; PLACES];
    let mut row = 0;
    while row < OPS.len() {
        let info = &OPS[row];
        assert!(info.imms.len() <= 2, "an instruction holds two immediates");
        assert!(info.imms.len() < 2 || !info.imms[1].is_signed(), "a second immediate holds 32 bits");
        let stays = matches!(info.flow, Flow::Next) && !matches!(info.op, Op::Blk);
        facts[place(info.code)] = Facts { op: Some(info.op), is_border: !stays, flow: info.flow };
        row += 1;
    }
    facts
};

impl Facts {
    /// The facts about a code byte; there are none about a page.
    #[inline(always)]
    pub fn of(code: u8) -> &'static Facts {
        &FACTS[code as usize]
    }

    /// The facts about an operation of one byte or two.
    #[inline(always)]
    pub fn of_op(op: Op) -> &'static Facts {
        &FACTS[place(op as u16)]
    }
}

impl Op {
    /// The row of this operation.
    #[inline]
    pub fn info(self) -> &'static OpInfo {
        &OPS[ROW_AT[place(self as u16)] as usize - 1]
    }

    /// Where control goes after it, as its row says.
    #[inline(always)]
    pub fn flow(self) -> Flow {
        Facts::of_op(self).flow
    }

    /// Whether it works on floating-point numbers: of binary32 behind W32 and in 32-bit modules, else of binary64.
    /// No other prefix stands before it.
    pub fn is_float(self) -> bool {
        self.info().gas == Class::F
    }

    /// Whether its code has two bytes.
    #[inline(always)]
    pub const fn is_paged(self) -> bool {
        self as u16 >= 0x100
    }

    /// The byte of its page, 0 if it has none.
    #[inline(always)]
    pub const fn page(self) -> u8 {
        (self as u16 >> 8) as u8
    }

    /// The operation with this code of one byte or two.
    #[inline]
    pub fn from_code(code: u16) -> Option<Op> {
        let is_code = code < 0x100 || is_page((code >> 8) as u8);
        if is_code { FACTS[place(code)].op } else { None }
    }

    /// Whether the operation, of page V or A, exists for lanes of a kind in words of `word_bits`.
    pub fn takes_lane(self, lane: Lane, word_bits: u32) -> bool {
        let widest = match self {
            Op::VDiv | Op::VSqrt | Op::VRound | Op::VFma => {
                return lane.is_float() && lane.bits() <= word_bits;
            }
            // Their results have lanes of twice the bits.
            Op::VDot | Op::VWiden => 2 * lane.bits(),
            _ => lane.bits(),
        };
        let is_for_integers = matches!(
            self,
            Op::VMinu
                | Op::VMaxu
                | Op::VAdds
                | Op::VAddu
                | Op::VSubs
                | Op::VSubu
                | Op::VAvgu
                | Op::VShl
                | Op::VShr
                | Op::VSar
                | Op::VLtu
                | Op::VLeu
                | Op::VDot
                | Op::VNarrow
                | Op::VWiden
                | Op::VMulhi
        );
        let is_halved = self == Op::VNarrow && lane == Lane::I8;
        let is_doubled = widest > lane.bits() && lane.bits() == 64;
        let is_kind_wrong = is_for_integers && lane.is_float();
        widest <= word_bits && !is_kind_wrong && !is_halved && !is_doubled
    }

    /// The operation with this name, in upper case.
    pub fn from_mnemonic(name: &str) -> Option<Op> {
        OPS.iter().find(|info| info.mnemonic == name).map(|info| info.op)
    }

    /// The operation's name in assembly text.
    pub fn mnemonic(self) -> &'static str {
        self.info().mnemonic
    }
}

/// A width prefix: the next integer operation works on this many bits, its operands are truncated and its
/// results zero-extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Prefix {
    /// 8 bits.
    W8 = 0xF0,
    /// 16 bits.
    W16 = 0xF1,
    /// 32 bits.
    W32 = 0xF2,
    /// 64 bits.
    W64 = 0xF3,
    /// 128 bits.
    W128 = 0xF4,
    /// 256 bits.
    W256 = 0xF5,
}

impl Prefix {
    /// All prefixes, ascending.
    pub const ALL: [Prefix; 6] =
        [Prefix::W8, Prefix::W16, Prefix::W32, Prefix::W64, Prefix::W128, Prefix::W256];

    /// The prefix with this code byte.
    #[inline]
    pub fn from_code(code: u8) -> Option<Prefix> {
        Prefix::ALL.get(code.wrapping_sub(0xF0) as usize).copied()
    }

    /// The operating width in bits.
    #[inline]
    pub fn bits(self) -> u32 {
        8 << (self as u32 - 0xF0)
    }

    /// The prefix's name in assembly text.
    pub fn mnemonic(self) -> &'static str {
        ["W8", "W16", "W32", "W64", "W128", "W256"][self as usize - 0xF0]
    }

    /// The prefix with this name, in upper case.
    pub fn from_mnemonic(name: &str) -> Option<Prefix> {
        Prefix::ALL.into_iter().find(|prefix| prefix.mnemonic() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_are_counted_from_the_text() {
        let effect = |op: Op| op.info().effect.unwrap();
        assert_eq!(effect(Op::Add), Effect { words_in: 2, words_out: 1, refs_in: 0, refs_out: 0 });
        assert_eq!(effect(Op::DbGet), Effect { words_in: 0, words_out: 1, refs_in: 1, refs_out: 1 });
        assert_eq!(effect(Op::DbNext), Effect { words_in: 1, words_out: 1, refs_in: 0, refs_out: 2 });
        assert_eq!(effect(Op::Bstore), Effect { words_in: 3, words_out: 0, refs_in: 1, refs_out: 0 });
        assert_eq!(effect(Op::Throw), Effect { words_in: 1, words_out: 0, refs_in: 1, refs_out: 0 });
        assert_eq!(effect(Op::Mulw).words_out, 2);
        assert!(Op::Dupn.info().effect.is_none());
    }

    #[test]
    fn codes_and_names_lead_back_to_the_row() {
        for info in OPS {
            assert_eq!(Op::from_code(info.code), Some(info.op));
            assert_eq!(Op::from_mnemonic(info.mnemonic), Some(info.op));
            assert!(info.op.is_paged() || Prefix::from_code(info.code as u8).is_none());
            assert_eq!(Facts::of_op(info.op).op, Some(info.op));
        }
        for none in [0xFF, 0xF8, 0xFB, 0x1FF, 0x0120, 0xF720, 0xFBFF, 0xFFFF] {
            assert_eq!(Op::from_code(none), None, "0x{none:04x}");
        }
        assert_eq!(Prefix::from_code(0xF2).map(Prefix::bits), Some(32));
        assert_eq!(Prefix::from_code(0xF6), None);
    }
}
