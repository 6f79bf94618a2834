//! Which instruction sets there are, and the choice among them.

use std::fmt;

use super::scalar::Scalar;
use super::{Kernel, Simd};

/// An instruction set with kernels of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tier {
    /// AVX-512 with VNNI: Intel's servers from Ice Lake, AMD from Zen 4.
    Avx512Vnni,
    /// AVX2 with VNNI: Intel without AVX-512 from Alder Lake.
    AvxVnni,
    /// AVX2, FMA and F16C: Intel from Haswell, AMD from Zen.
    Avx2,
    /// NEON with dot products: Arm from v8.2, such as Apple from M1, Neoverse N1 and Cortex-A76.
    NeonDotprod,
    /// Plain Rust: every processor.
    Scalar,
}

/// A tier that this processor has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512(super::avx512::Avx512),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(super::avx2::Avx2<true>),
    #[cfg(target_arch = "x86_64")]
    Avx2(super::avx2::Avx2<false>),
    #[cfg(target_arch = "aarch64")]
    Neon(super::neon::Neon),
    Scalar(Scalar),
}

impl Tier {
    /// All tiers, fastest first.
    pub const ALL: &'static [Tier] = &[Tier::Avx512Vnni, Tier::AvxVnni, Tier::Avx2, Tier::NeonDotprod, Tier::Scalar];

    /// The fastest tier of this processor.
    pub fn best() -> Tier {
        Self::here().next().unwrap_or(Tier::Scalar)
    }

    /// The tiers of this processor, fastest first.
    pub fn here() -> impl Iterator<Item = Tier> {
        Self::ALL.iter().copied().filter(|tier| tier.available())
    }

    /// The tier of that name.
    pub fn by_name(name: &str) -> Option<Tier> {
        Self::ALL.iter().copied().find(|tier| tier.name() == name)
    }

    /// Whether this processor has it.
    pub fn available(self) -> bool {
        self.isa().is_some()
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Avx512Vnni => "avx512-vnni",
            Tier::AvxVnni => "avx-vnni",
            Tier::Avx2 => "avx2",
            Tier::NeonDotprod => "neon-dotprod",
            Tier::Scalar => "scalar",
        }
    }

    pub(crate) fn isa(self) -> Option<Isa> {
        match self {
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512Vnni => super::avx512::Avx512::detect().map(Isa::Avx512),
            #[cfg(target_arch = "x86_64")]
            Tier::AvxVnni => super::avx2::Avx2::detect().map(Isa::AvxVnni),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => super::avx2::Avx2::detect().map(Isa::Avx2),
            #[cfg(target_arch = "aarch64")]
            Tier::NeonDotprod => super::neon::Neon::detect().map(Isa::Neon),
            Tier::Scalar => Some(Isa::Scalar(Scalar)),
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
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni(isa) => isa.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => isa.run(kernel),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(isa) => isa.run(kernel),
            Isa::Scalar(isa) => isa.run(kernel),
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
