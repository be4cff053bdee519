//! Operands and immediates: random, but mostly such that the operation succeeds.

use dotvm_arch::Lane;
use dotvm_arch::float::{Conversion, Rounding};
use dotvm_core::crypto::{AeadAlg, KdfAlg, MacAlg, SignatureAlg};
use dotvm_core::env::EnvField;
use dotvm_core::opcode::{Effect, Imm, Op, OpInfo, Prefix};
use fastrand::Rng;

use super::function::FunctionGenerator;
use super::{ADDRESS_MASK, BYTE_STRINGS, READ_ONLY_BYTES, digests_that_fit, edge_number};

/// What a word operand should be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Anything.
    Any,
    /// Odd, so that it is no zero divisor at any width.
    Odd,
    /// An address that may be read.
    Source,
    /// An address that may be written.
    Destination,
    /// A number of bytes.
    Length,
    /// A slot's key.
    Key,
    /// A number of at most 8 bits.
    Small,
    /// A floating-point number, more often at an edge than not.
    Float,
    /// Below this.
    Below(u64),
}

/// The roles of an operation's word operands.
fn roles(op: Op, count: u32) -> Vec<Role> {
    use Role::*;
    match op {
        Op::Div | Op::Sdiv | Op::Mod | Op::Smod | Op::Divmod => vec![Any, Odd],
        Op::Exp => vec![Any, Small],
        Op::Modpow => vec![Any, Small, Odd],
        Op::Modinv => vec![Any, Odd],
        Op::Shl | Op::Shr | Op::Sar | Op::Rotl | Op::Rotr | Op::Sextd | Op::Byte => vec![Any, Small],
        Op::Load | Op::Loadx | Op::Load8 | Op::Load16 | Op::Load32 | Op::Load64 => vec![Source],
        Op::Store | Op::Storex | Op::Store8 | Op::Store16 | Op::Store32 | Op::Store64 => {
            vec![Destination, Any]
        }
        Op::Mcopy => vec![Destination, Source, Length],
        Op::Mfill => vec![Destination, Any, Length],
        Op::Mgrow => vec![Below(3)],
        Op::Alloc => vec![Length],
        Op::Bload | Op::Hashm => vec![Source, Length],
        Op::Kdf | Op::Random => vec![Length],
        Op::Meterd => vec![Below(50)],
        Op::Sload | Op::Sdelete | Op::Sexists | Op::Tload => vec![Key],
        Op::Sstore | Op::Tstore => vec![Key, Any],
        Op::StateProve => vec![Key],
        Op::StateAt => vec![Below(1), Key],
        Op::DbGetAt => vec![Below(1)],
        Op::CapTest => vec![Below(14)],
        Op::StateVerify => vec![Key, Any],
        Op::VShl | Op::VShr | Op::VSar => vec![Any, Small],
        Op::MCmp => vec![Source, Source, Length],
        Op::MFind => vec![Source, Length, Any],
        Op::MTouch => vec![Source, Length],
        Op::ADot => vec![Source, Source, Length],
        Op::AAxpy => vec![Any, Source, Destination, Length],
        Op::AMatmul => vec![Source, Source, Destination, Below(9), Below(9), Below(9)],
        Op::RCopyz => vec![Destination, Small, Length],
        Op::RLoadw => vec![Small],
        Op::Fcvt => vec![Any],
        op if op.is_float() => vec![Float; count as usize],
        _ => vec![Any; count as usize],
    }
}

impl FunctionGenerator<'_> {
    /// Pushes a word.
    pub fn push_any(&mut self) {
        let locals = self.word_locals();
        match self.rng.u8(..8) {
            0 | 1 => {
                let number = edge_number(self.rng);
                self.push(number);
            }
            2 => {
                let constant = self.rng.u64(..self.module.word_constants.len() as u64);
                self.op(Op::Pushc, &[constant]);
            }
            3 => {
                let global = self.rng.u64(..self.module.word_globals.len() as u64);
                self.op(Op::Gget, &[global]);
            }
            4 if self.words > 0 => {
                let below = self.rng.u32(..self.words.min(6));
                self.word_op(Op::Dupn, &[below.into()], below + 1, below + 2);
            }
            _ if locals > 0 => {
                let local = self.rng.u64(..locals);
                self.op(Op::Lget, &[local]);
            }
            _ => self.push(7),
        }
    }

    /// Pushes a word below `limit`, a power of two: a constant, or anything under a mask.
    pub fn push_masked(&mut self, limit: u64) {
        if self.one_in(2) {
            let number = self.rng.u64(..limit);
            self.push(number as i64);
        } else {
            self.push_any();
            self.push(limit as i64 - 1);
            self.op(Op::And, &[]);
        }
    }

    fn push_role(&mut self, role: Role) {
        if self.one_in(300) {
            return self.push_any();
        }
        match role {
            Role::Any => self.push_any(),
            Role::Odd if self.one_in(2) => {
                let number = edge_number(self.rng) | 1;
                self.push(number);
            }
            Role::Odd => {
                self.push_masked(256);
                self.push(1);
                self.op(Op::Or, &[]);
            }
            Role::Source => self.push_masked(ADDRESS_MASK + 1),
            Role::Destination => {
                self.push_masked(ADDRESS_MASK + 1);
                let first = self.rng.u64(READ_ONLY_BYTES..300);
                self.op(Op::Addi, &[first]);
            }
            Role::Length => {
                let limit = 1 << self.rng.u32(0..9);
                self.push_masked(limit);
            }
            Role::Key if !self.one_in(8) => self.push_masked(4),
            Role::Key => self.push_any(),
            Role::Small => self.push_masked(128),
            // What other operations left, or new.
            Role::Float if self.one_in(3) => self.push_any(),
            Role::Float => {
                let bits = edge_float(self.rng);
                self.push(bits);
            }
            Role::Below(limit) => {
                let number = self.rng.u64(..limit);
                self.push(number as i64);
            }
        }
    }

    /// Pushes a reference that is bytes.
    pub fn push_bytes(&mut self) {
        match self.rng.u8(..8) {
            0 => self.op_with(None, Op::Env, &[EnvField::Input as u64], env_effect(EnvField::Input)),
            1 => {
                self.push_masked(1024);
                self.push_masked(64);
                self.op(Op::Bload, &[]);
            }
            2 if self.ref_locals() > 0 => {
                let local = self.rng.u64(..self.ref_locals());
                self.op(Op::Rlget, &[local]);
                self.replace_null();
            }
            3 => {
                let global = self.rng.u64(..u64::from(self.module.ref_globals));
                self.op(Op::Rgget, &[global]);
                self.replace_null();
            }
            _ => {
                let constant = self.rng.u64(..BYTE_STRINGS);
                self.op(Op::Rconst, &[constant]);
            }
        }
        self.top_is_bytes();
    }

    /// Pushes a reference that is one of the few keys.
    pub fn push_key(&mut self) {
        if self.one_in(6) {
            return self.push_bytes();
        }
        let constant = self.rng.u64(..4);
        self.op(Op::Rconst, &[constant]);
        self.top_is_bytes();
    }

    /// Pushes a reference of any kind.
    pub fn push_any_ref(&mut self) {
        match self.rng.u8(..8) {
            0 | 4 => self.op(Op::Rnull, &[]),
            5 => self.push_integer(),
            6 => self.push_noun(3),
            1 if !self.refs.is_empty() => {
                let below = self.rng.usize(..self.refs.len());
                let is_bytes = self.refs[self.refs.len() - 1 - below];
                self.ref_op(Op::Rdup, below as u32, below as u32 + 2);
                if is_bytes {
                    self.top_is_bytes();
                }
            }
            _ => self.push_bytes(),
        }
    }

    /// RDUP or RSWAP.
    pub fn ref_op(&mut self, op: Op, n: u32, refs_out: u32) {
        let kept = self.refs.clone();
        self.op_with(None, op, &[n.into()], Effect { words_in: 0, words_out: 0, refs_in: n + 1, refs_out });
        let known = kept.len().min(self.refs.len());
        self.refs[..known].copy_from_slice(&kept[..known]);
        if op == Op::Rswap {
            let top = self.refs.len() - 1;
            self.refs.swap(top, top - n as usize);
        }
    }

    /// Puts bytes in the place of anything else on top.
    pub fn replace_null(&mut self) {
        let keep = self.label();
        self.ref_op(Op::Rdup, 0, 2);
        self.op(Op::Rkind, &[]);
        self.push(2);
        self.op(Op::Eq, &[]);
        self.jump(Op::Jnz, keep);
        self.op(Op::Rpop, &[]);
        self.op(Op::Rconst, &[4]);
        self.bind(keep);
        self.top_is_bytes();
    }

    /// Takes the references on top into account as bytes where an operation needs bytes.
    fn push_ref_operands(&mut self, info: &OpInfo, count: u32) {
        for position in 0..count {
            let is_key = info.effect_text.contains("{key") && position == 0;
            let may_be_any = matches!(info.op, Op::Rpop | Op::Rlset | Op::Rgset | Op::Rkind);
            match () {
                _ if self.one_in(400) || (may_be_any && self.one_in(2)) => self.push_any_ref(),
                // An open end.
                _ if info.op == Op::DbScan && self.one_in(2) => self.op(Op::Rnull, &[]),
                _ if is_key || info.op == Op::DbScan => self.push_key(),
                _ => self.push_bytes(),
            }
        }
    }

    /// A random value of an immediate, or `None` if the module has no such thing.
    fn immediate(&mut self, info: &OpInfo, imm: Imm) -> Option<u64> {
        let module = self.module;
        let width = module.width;
        let limit = match imm {
            Imm::Signed => return Some(edge_number(self.rng) as u64),
            Imm::Offset if self.one_in(500) => return Some(u32::MAX.into()),
            Imm::Offset => 64,
            Imm::Amount => 20,
            Imm::Format => {
                let log2 = self.rng.u64(..=u64::from(width.bytes().ilog2()));
                let sign = if info.op == Op::Storex { 0 } else { 8 * self.rng.u64(..2) };
                return Some(log2 | sign | (16 * self.rng.u64(..2)));
            }
            Imm::Local => self.word_locals(),
            Imm::RefLocal => self.ref_locals(),
            Imm::Global => module.word_globals.len() as u64,
            Imm::RefGlobal => module.ref_globals.into(),
            Imm::WordConst => module.word_constants.len() as u64,
            Imm::RefConst => module.ref_constants.len() as u64,
            Imm::Coll => module.collections.len() as u64,
            Imm::LaneNarrowing => 3,
            Imm::Widening => 4,
            Imm::Signedness if info.op == Op::VMulhi => 2,
            Imm::Data => module.data.len() as u64,
            Imm::Hash if matches!(info.op, Op::Hashw | Op::Hashm) => {
                let fitting: Vec<u64> = digests_that_fit(width).map(|alg| alg as u64).collect();
                return fitting.get(self.rng.usize(..fitting.len().max(1))).copied();
            }
            Imm::Hash => dotvm_core::hash::HashAlg::ALL.len() as u64,
            Imm::ScanFlags | Imm::StringKind => 2,
            Imm::TaskKind => 3,
            Imm::CallFlags => 4,
            // As few as the word has, or as many as any word has; seldom too few.
            // Statements of their own.
            Imm::IntegerFn | Imm::Signedness | Imm::Narrowing => return None,
            Imm::Axis => return Some(1 + (self.rng.u64(..) >> self.rng.u32(58..64))),
            Imm::ByteCount => return Some(if self.one_in(100) { 3 } else { 64 * self.rng.u64(..2) }),
            Imm::Rounding => Rounding::ALL.len() as u64,
            Imm::Mac => MacAlg::ALL.len() as u64,
            Imm::Kdf => KdfAlg::ALL.len() as u64,
            Imm::Aead => AeadAlg::ALL.len() as u64,
            Imm::Signature if info.op == Op::Recover => return Some(SignatureAlg::Secp256k1 as u64),
            Imm::Signature => SignatureAlg::ALL.len() as u64,
            // Bits depend on the prefix; the others belong to statements of their own.
            Imm::Lane | Imm::LaneIndex => return None,
            Imm::HostCall | Imm::Bits | Imm::Conversion | Imm::Count | Imm::Env | Imm::TxFlags => {
                return None;
            }
            Imm::Rel | Imm::Table | Imm::Func | Imm::Sig | Imm::FuncTable | Imm::JumpMap => return None,
        };
        (limit > 0).then(|| self.rng.u64(..limit))
    }

    /// A conversion that exists in the module behind the prefix; the trapping ones are rare.
    fn conversion(&mut self, op: Op, prefix: Option<Prefix>) -> Option<u64> {
        let bits = self.module.width.bits();
        let traps = self.one_in(20);
        let kinds: Vec<Conversion> = Conversion::ALL
            .iter()
            .copied()
            .filter(|kind| kind.narrowest_word() <= bits && !(prefix.is_some() && kind.is_between_formats()))
            .filter(|&kind| op == Op::Fcvt || kind.has_lanes())
            .filter(|&kind| traps || kind as u8 >= Conversion::ToS32Sat as u8)
            .collect();
        Some(kinds[self.rng.usize(..kinds.len())] as u64)
    }

    /// An operation with operands by its row. False if the module cannot have it.
    pub fn generic(&mut self, info: &'static OpInfo) -> bool {
        let bits = self.module.width.bits();
        if matches!(info.op, Op::Load64 | Op::Store64) && bits < 64 {
            return false;
        }
        let Some(effect) = info.effect else { return false };
        let mut prefix = None;
        if info.prefixable && self.one_in(3) {
            let narrower: Vec<Prefix> = Prefix::ALL
                .into_iter()
                .filter(|prefix| prefix.bits() < bits && info.takes(*prefix))
                .collect();
            prefix = (!narrower.is_empty()).then(|| narrower[self.rng.usize(..narrower.len())]);
        }
        let operating = u64::from(prefix.map_or(bits, Prefix::bits));
        let mut imms: Vec<u64> = Vec::new();
        for &imm in info.imms {
            let value = match (imm, imms.first()) {
                (Imm::Bits, None) if info.imms.len() == 1 => Some(self.rng.u64(1..=operating)),
                (Imm::Bits, None) => Some(self.rng.u64(..operating)),
                (Imm::Conversion, _) => self.conversion(info.op, prefix),
                (Imm::Bits, Some(offset)) => Some(self.rng.u64(1..=operating - offset)),
                (Imm::Lane, _) => {
                    let lanes: Vec<Lane> =
                        Lane::ALL.into_iter().filter(|&lane| info.op.takes_lane(lane, bits)).collect();
                    (!lanes.is_empty()).then(|| lanes[self.rng.usize(..lanes.len())] as u64)
                }
                (Imm::LaneIndex, Some(&lane)) => {
                    let count = Lane::from_code(lane).map_or(1, |lane| bits / lane.bits());
                    Some(self.rng.u32(..count).into())
                }
                _ => self.immediate(info, imm),
            };
            let Some(value) = value else { return false };
            imms.push(value);
        }
        let roles = roles(info.op, effect.words_in);
        let is_free = roles.iter().all(|&role| role == Role::Any);
        if !(is_free && self.free_words() >= effect.words_in && self.one_in(2)) {
            for role in roles {
                self.push_role(role);
            }
        }
        self.push_ref_operands(info, effect.refs_in);
        self.op_with(prefix, info.op, &imms, effect);
        match info.op {
            Op::Rconst if imms[0] >= BYTE_STRINGS => {}
            Op::Rconst | Op::Hash | Op::Bload | Op::DbInsert => self.top_is_bytes(),
            Op::StateRoot | Op::StateProve | Op::DbProve => self.top_is_bytes(),
            Op::RCat | Op::RW2b | Op::RHex => self.top_is_bytes(),
            Op::Hmac | Op::Kdf | Op::Random => self.top_is_bytes(),
            _ => {}
        }
        true
    }
}

/// Bits of a number of one of the formats: zeros, the least and the greatest, infinities, NaNs, small integers, and
/// numbers that lie within the reach of a sum.
fn edge_float(rng: &mut Rng) -> i64 {
    let is_single = rng.bool();
    let (fraction_bits, bias) = if is_single { (23, 127) } else { (52, 1023) };
    let exponent = match rng.u8(..8) {
        0 => 0,
        1 => 1,
        2 => 2 * bias,
        3 => 2 * bias + 1,
        4 | 5 => bias + rng.u64(..6) - 2,
        _ => bias - 60 + rng.u64(..120),
    };
    let ones = (1u64 << fraction_bits) - 1;
    let fraction = match rng.u8(..6) {
        0 => 0,
        1 => 1,
        2 => ones,
        3 => ones ^ 1,
        4 => 1 << rng.u64(..fraction_bits),
        _ => rng.u64(..) & ones,
    };
    let sign = rng.u64(..2) << if is_single { 31 } else { 63 };
    (sign | exponent << fraction_bits | fraction) as i64
}

/// The effect of ENV.
pub fn env_effect(field: EnvField) -> Effect {
    let (words_out, refs_out) = if field.is_word() { (1, 0) } else { (0, 1) };
    Effect { words_in: 0, words_out, refs_in: 0, refs_out }
}
