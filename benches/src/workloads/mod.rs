//! The workloads: what is computed, who computes it, and the one right answer.
//!
//! Of DotVM assembling, verifying and lowering are in the constructor of its contenders, whatever restores the
//! starting state in `prepare`, and the bare call in `run`.

mod arith256;
mod arith64;
mod commitment;
mod crypto;
mod db_get;
mod fib64;
mod keccak;
mod nbody;
mod sieve64;
mod small;
mod store_load;
mod store_query;
mod store_read;
mod store_tx;
mod tasks;
pub mod token;
mod token_dotvm;
mod token_durable;
mod verify_lower;

use std::path::PathBuf;

use anyhow::Result;
use ruint::Uint;
use ruint::aliases::U256;

use crate::harness::Workload;
#[cfg(feature = "rocksdb")]
use crate::subjects::Rocksdb;
use crate::subjects::{Backend, Memory, Redb, Sled};

/// How large the workloads are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// The sizes whose figures are published.
    Full,
    /// About a tenth of the work, to see that everything runs and agrees.
    Quick,
}

/// What a workload is made from.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How large.
    pub scale: Scale,
    /// Where durable stores keep their files.
    pub store_directory: PathBuf,
}

impl Setup {
    /// `full` or `quick`, whichever the scale asks for.
    fn pick<T>(&self, full: T, quick: T) -> T {
        match self.scale {
            Scale::Full => full,
            Scale::Quick => quick,
        }
    }
}

/// A workload that can be made.
pub struct Entry {
    /// The name of the workload, as given to `--only`.
    pub name: &'static str,
    /// Makes it, with all its contenders.
    pub build: fn(&Setup) -> Result<Workload>,
}

/// All workloads, in table order.
pub const ALL: &[Entry] = &[
    Entry { name: arith64::NAME, build: arith64::build },
    Entry { name: fib64::NAME, build: fib64::build },
    Entry { name: sieve64::NAME, build: sieve64::build },
    Entry { name: arith256::NAME, build: arith256::build },
    Entry { name: keccak::NAME, build: keccak::build },
    Entry { name: crypto::NAMES[0], build: crypto::build::<0> },
    Entry { name: crypto::NAMES[1], build: crypto::build::<1> },
    Entry { name: crypto::NAMES[2], build: crypto::build::<2> },
    Entry { name: crypto::NAMES[3], build: crypto::build::<3> },
    Entry { name: crypto::NAMES[4], build: crypto::build::<4> },
    Entry { name: crypto::NAMES[5], build: crypto::build::<5> },
    Entry { name: crypto::NAMES[6], build: crypto::build::<6> },
    Entry { name: crypto::NAMES[7], build: crypto::build::<7> },
    Entry { name: crypto::NAMES[8], build: crypto::build::<8> },
    Entry { name: crypto::NAMES[9], build: crypto::build::<9> },
    Entry { name: crypto::NAMES[10], build: crypto::build::<10> },
    Entry { name: crypto::NAMES[11], build: crypto::build::<11> },
    Entry { name: nbody::NAME, build: nbody::build },
    Entry { name: small::NAME_LANES, build: small::build_lanes },
    Entry { name: small::NAME_CELLS, build: small::build_cells },
    Entry { name: small::NAME_AXIS, build: small::build_axis },
    Entry { name: small::NAME_PARADOTS, build: small::build_paradots },
    Entry { name: small::NAME_CALLS, build: small::build_calls },
    Entry { name: tasks::NAME_MESSAGES, build: tasks::build_messages },
    Entry { name: tasks::NAME_PING_PONG, build: tasks::build_ping_pong },
    Entry { name: tasks::NAME_SPAWN, build: tasks::build_spawn },
    Entry { name: token::NAME_EACH, build: token::build_each },
    Entry { name: token::NAME_ALL, build: token::build_all },
    Entry { name: token_durable::NAME_EACH, build: token_durable::build_each },
    Entry { name: token_durable::NAME_ALL, build: token_durable::build_all },
    Entry { name: db_get::NAME, build: db_get::build },
    Entry { name: db_get::NAME_MANY, build: db_get::build_many },
    Entry { name: db_get::NAME_AGAIN, build: db_get::build_again },
    Entry { name: commitment::NAME_1, build: commitment::build_1 },
    Entry { name: commitment::NAME_10, build: commitment::build_10 },
    Entry { name: commitment::NAME_100, build: commitment::build_100 },
    Entry { name: commitment::NAME_1000, build: commitment::build_1000 },
    Entry { name: commitment::NAME_PROVE, build: commitment::build_prove },
    Entry { name: commitment::NAME_VERIFY, build: commitment::build_verify },
    Entry { name: Redb::NAMES.load, build: store_load::build::<Redb> },
    Entry { name: Redb::NAMES.get, build: store_read::build_get::<Redb> },
    Entry { name: Redb::NAMES.scan, build: store_read::build_scan::<Redb> },
    Entry { name: Redb::NAMES.tx[0], build: store_tx::build::<Redb, 0> },
    Entry { name: Redb::NAMES.tx[1], build: store_tx::build::<Redb, 1> },
    Entry { name: Redb::NAMES.tx[2], build: store_tx::build::<Redb, 2> },
    Entry { name: Redb::NAMES.tx[3], build: store_tx::build::<Redb, 3> },
    Entry { name: Sled::NAMES.load, build: store_load::build::<Sled> },
    Entry { name: Sled::NAMES.get, build: store_read::build_get::<Sled> },
    Entry { name: Sled::NAMES.scan, build: store_read::build_scan::<Sled> },
    Entry { name: Sled::NAMES.tx[0], build: store_tx::build::<Sled, 0> },
    Entry { name: Sled::NAMES.tx[1], build: store_tx::build::<Sled, 1> },
    Entry { name: Sled::NAMES.tx[2], build: store_tx::build::<Sled, 2> },
    Entry { name: Sled::NAMES.tx[3], build: store_tx::build::<Sled, 3> },
    Entry { name: Memory::NAMES.load, build: store_load::build::<Memory> },
    Entry { name: Memory::NAMES.get, build: store_read::build_get::<Memory> },
    Entry { name: Memory::NAMES.scan, build: store_read::build_scan::<Memory> },
    Entry { name: Memory::NAMES.tx[0], build: store_tx::build::<Memory, 0> },
    Entry { name: Memory::NAMES.tx[1], build: store_tx::build::<Memory, 1> },
    Entry { name: Memory::NAMES.tx[2], build: store_tx::build::<Memory, 2> },
    Entry { name: Memory::NAMES.tx[3], build: store_tx::build::<Memory, 3> },
    #[cfg(feature = "rocksdb")]
    Entry { name: Rocksdb::NAMES.load, build: store_load::build::<Rocksdb> },
    #[cfg(feature = "rocksdb")]
    Entry { name: Rocksdb::NAMES.get, build: store_read::build_get::<Rocksdb> },
    #[cfg(feature = "rocksdb")]
    Entry { name: Rocksdb::NAMES.scan, build: store_read::build_scan::<Rocksdb> },
    #[cfg(feature = "rocksdb")]
    Entry { name: Rocksdb::NAMES.tx[0], build: store_tx::build::<Rocksdb, 0> },
    #[cfg(feature = "rocksdb")]
    Entry { name: Rocksdb::NAMES.tx[1], build: store_tx::build::<Rocksdb, 1> },
    #[cfg(feature = "rocksdb")]
    Entry { name: Rocksdb::NAMES.tx[2], build: store_tx::build::<Rocksdb, 2> },
    #[cfg(feature = "rocksdb")]
    Entry { name: Rocksdb::NAMES.tx[3], build: store_tx::build::<Rocksdb, 3> },
    Entry { name: store_query::NAME_EQUAL, build: store_query::build_equal },
    Entry { name: store_query::NAME_RANGE, build: store_query::build_range },
    Entry { name: store_query::NAME_COUNT, build: store_query::build_count },
    Entry { name: verify_lower::NAME_SMALL, build: verify_lower::build_small },
    Entry { name: verify_lower::NAME_MEDIUM, build: verify_lower::build_medium },
    Entry { name: verify_lower::NAME_LARGE, build: verify_lower::build_large },
];

/// A 256-bit result as a checksum: its four 64-bit limbs, exclusive-ored.
pub fn fold(word: U256) -> u64 {
    word.as_limbs().iter().fold(0, |folded, limb| folded ^ limb)
}

/// What `s` is after `s = s*k + i` for every `i` below `n`, from zero, modulo 2^`BITS`.
///
/// By repeated squaring of the step as a 3x3 matrix on (s, i, 1), so that it shares nothing with the
/// loops that it is there to check.
fn affine_sum<const BITS: usize, const LIMBS: usize>(k: Uint<BITS, LIMBS>, mut n: u64) -> Uint<BITS, LIMBS> {
    type Matrix<const BITS: usize, const LIMBS: usize> = [[Uint<BITS, LIMBS>; 3]; 3];
    let (zero, one) = (Uint::<BITS, LIMBS>::ZERO, Uint::<BITS, LIMBS>::ONE);
    let product = |a: &Matrix<BITS, LIMBS>, b: &Matrix<BITS, LIMBS>| -> Matrix<BITS, LIMBS> {
        std::array::from_fn(|row| {
            std::array::from_fn(|column| {
                (0..3).fold(zero, |sum, i| sum.wrapping_add(a[row][i].wrapping_mul(b[i][column])))
            })
        })
    };
    let mut step = [[k, one, zero], [zero, one, one], [zero, zero, one]];
    let mut power = [[one, zero, zero], [zero, one, zero], [zero, zero, one]];
    while n > 0 {
        if n & 1 == 1 {
            power = product(&power, &step);
        }
        step = product(&step, &step);
        n >>= 1;
    }
    // Applied to (0, 0, 1).
    power[0][2]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::harness::measure;

    #[test]
    fn every_contender_gives_the_right_answer_twice() {
        let directory = tempfile::tempdir().unwrap();
        let setup = Setup { scale: Scale::Quick, store_directory: directory.path().to_path_buf() };
        for entry in ALL {
            let mut workload = (entry.build)(&setup).unwrap();
            assert_eq!(workload.name, entry.name);
            assert!(workload.operations > 0, "{}", workload.name);
            measure(&mut workload, 2).unwrap();
            let names: Vec<&str> = workload.contenders.iter().map(|contender| contender.name()).collect();
            assert!(
                names.is_empty() || names.contains(&workload.baseline),
                "the baseline {} of {} is not among {names:?}",
                workload.baseline,
                workload.name
            );
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        }
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = ALL.iter().map(|entry| entry.name).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn affine_sums_of_few_steps() {
        // 0*31+0 = 0, 0*31+1 = 1, 1*31+2 = 33, 33*31+3 = 1026.
        let k = Uint::<64, 1>::from(31);
        let sums: Vec<u64> = (0..=4).map(|n| affine_sum(k, n).to::<u64>()).collect();
        assert_eq!(sums, [0, 0, 1, 33, 1026]);
    }

    #[test]
    fn folding_mixes_every_limb() {
        assert_eq!(fold(U256::from_limbs([1, 2, 4, 8])), 15);
    }
}
