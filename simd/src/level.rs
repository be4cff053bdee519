//! Which vector instructions this machine has, found when the program runs.
//!
//! A kernel is written once, over elements; [`Level::run`] compiles it once for each level, with the instructions of that level allowed, and calls
//! the one asked for. Results do not depend on the level.

use std::fmt;

/// Vector instructions that this machine has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Level(Kind);

/// The only values of a [`Level`] that exist are those that were found on this machine: the variant is private, and
/// [`Level::run`] relies on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What the program was compiled for.
    Scalar,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, BW, DQ and VL besides.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Work on elements that is compiled for each level. `run` and all it calls must be inlined to gain by that.
pub(crate) trait Kernel {
    type Output;
    fn run(self) -> Self::Output;
}

impl Level {
    /// What every machine has.
    pub const SCALAR: Level = Level(Kind::Scalar);

    /// The best that this machine has.
    pub fn best() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let has_avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            if has_avx2 && has_avx512 {
                return Level(Kind::Avx512);
            }
            if has_avx2 {
                return Level(Kind::Avx2);
            }
        }
        Level::SCALAR
    }

    /// All that this machine has, [`Level::SCALAR`] first.
    pub fn all() -> Vec<Level> {
        match Level::best().0 {
            Kind::Scalar => vec![Level::SCALAR],
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => vec![Level::SCALAR, Level(Kind::Avx2)],
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => vec![Level::SCALAR, Level(Kind::Avx2), Level(Kind::Avx512)],
        }
    }

    /// What it is.
    pub(crate) fn kind(self) -> Kind {
        self.0
    }

    /// Runs a kernel as compiled for this level.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Kind::Scalar => kernel.run(),
            // SAFETY: a level of this kind exists only where `best` found AVX2 and FMA.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { avx2(kernel) },
            // SAFETY: a level of this kind exists only where `best` found all that the function needs.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { avx512(kernel) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}
