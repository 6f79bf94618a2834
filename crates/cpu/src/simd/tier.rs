//! Which instruction sets there are, and the choice among them.

use std::fmt;

use super::scalar::Scalar;
use super::{Kernel, Simd};

/// An instruction set with kernels of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tier {
    /// AVX-512 with VNNI (Intel from Ice Lake, AMD from Zen 4).
    Avx512Vnni,
    /// Plain Rust.
    Scalar,
}

/// A tier that this processor has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512(super::avx512::Avx512),
    Scalar(Scalar),
}

impl Tier {
    /// All tiers, fastest first.
    pub const ALL: &'static [Tier] = &[Tier::Avx512Vnni, Tier::Scalar];

    /// The fastest tier of this processor.
    pub fn best() -> Tier {
        Self::ALL.iter().copied().find(|tier| tier.available()).unwrap_or(Tier::Scalar)
    }

    /// Whether this processor has it.
    pub fn available(self) -> bool {
        self.isa().is_some()
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Avx512Vnni => "avx512-vnni",
            Tier::Scalar => "scalar",
        }
    }

    pub(crate) fn isa(self) -> Option<Isa> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512Vnni => super::avx512::Avx512::detect().map(Isa::Avx512),
            Tier::Scalar => Some(Isa::Scalar(Scalar)),
            #[cfg(not(target_arch = "x86_64"))]
            _ => None,
        }
    }
}

impl Isa {
    /// Runs a kernel on this tier.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(isa) => isa.run(kernel),
            Isa::Scalar(isa) => isa.run(kernel),
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
