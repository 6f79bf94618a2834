//! Sixteen lanes on every instruction set.
//!
//! A kernel is written once, over [`Simd`], and compiled for each instruction set. All sets compute the same: every float
//! operation is rounded once, sums over lanes have one order, so that results are bit-identical from one set to the next.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod math;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(test)]
mod tests;
mod tier;

pub(crate) use math::{exp, max_lanes, sigmoid, sum_lanes};
pub(crate) use tier::Isa;
pub use tier::Tier;

/// Lanes of a vector.
pub(crate) const LANES: usize = 16;

/// Sixteen f32.
pub(crate) type Lanes = [f32; LANES];
/// Sixteen groups of four bytes: what one `dot4` multiplies.
pub(crate) type Line = [u8; 64];

/// Vectors of one instruction set. A value is the proof that the processor has it.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// Sixteen f32.
    type F: Copy;
    /// Sixteen i32.
    type I: Copy;
    /// Sixty-four bytes.
    type B: Copy;

    /// Panels of rows and columns that a matrix product keeps in registers together.
    const TILE: (usize, usize);
    /// Columns up to which a matrix product takes weights from memory through registers.
    const DIRECT: usize;
    /// What an accumulator of [`dot4_signed`](Self::dot4_signed) starts from, per unit of the sum of the activations.
    const SIGNED_BIAS: i32;

    /// Runs a kernel in a function that may use these instructions.
    fn run<K: Kernel>(self, kernel: K) -> K::Output;

    /// Loads 64 bytes.
    fn line(self, bytes: &Line) -> Self::B;
    /// The same four signed bytes in every lane: activations, of which none is -128.
    fn quad(self, bytes: i32) -> Self::B;
    /// Stores 64 bytes.
    fn store_line(self, bytes: Self::B, to: &mut Line);
    /// Bits `first..first + count` of every byte.
    fn bits(self, bytes: Self::B, first: u32, count: u32) -> Self::B;
    /// `low | high << at` for every byte; all of `high` must fit.
    fn join(self, low: Self::B, high: Self::B, at: u32) -> Self::B;
    /// `byte + n` for every byte, modulo 256.
    fn add_byte(self, bytes: Self::B, n: u8) -> Self::B;
    /// `table[byte]` for every byte; all must be less than 16.
    fn lookup(self, table: &[u8; 16], bytes: Self::B) -> Self::B;
    /// In every lane `acc + w . a`, four unsigned bytes of at most 127 times four signed ones.
    fn dot4(self, acc: Self::I, w: Self::B, a: Self::B) -> Self::I;
    /// The same for signed weights that are stored plus 128. What it adds is too large by `SIGNED_BIAS` times the sum of
    /// `a`.
    fn dot4_signed(self, acc: Self::I, w: Self::B, a: Self::B) -> Self::I;

    /// Sixteen words of 32 bits.
    fn words(self, words: &Line) -> Self::I;
    /// Sixteen unsigned words of 16 bits.
    fn halves(self, halves: &[u16; LANES]) -> Self::I;
    /// Bits `first..first + count` of every lane.
    fn bits_i(self, lanes: Self::I, first: u32, count: u32) -> Self::I;
    /// `low | high << at` in every lane.
    fn join_i(self, low: Self::I, high: Self::I, at: u32) -> Self::I;
    /// Byte `index` of every lane, signed.
    fn byte_i(self, lanes: Self::I, index: u32) -> Self::I;
    /// The lowest four bits of every lane, each in a byte of its own.
    fn spread(self, lanes: Self::I) -> Self::B;
    /// One integer in every lane.
    fn splat_i(self, value: i32) -> Self::I;
    /// The floats nearest to integers.
    fn to_f(self, value: Self::I) -> Self::F;
    /// The integers nearest to floats, ties to even; they must fit.
    fn to_i(self, value: Self::F) -> Self::I;
    /// `2^n` for `n` from -126 to 127.
    fn pow2(self, n: Self::I) -> Self::F;
    /// Stores the lowest byte of every lane.
    fn store_bytes(self, value: Self::I, to: &mut [i8; LANES]);

    /// Asks for the line of memory at an address, whatever lies there; a wish that some sets do not hear.
    #[inline(always)]
    fn prefetch(self, _: *const u8) {}

    /// One float in every lane.
    fn splat(self, value: f32) -> Self::F;
    /// Loads sixteen floats.
    fn load(self, from: &Lanes) -> Self::F;
    /// Stores sixteen floats.
    fn store(self, value: Self::F, to: &mut Lanes);
    /// Loads sixteen f16, given by their bits.
    fn load_f16(self, from: &[u16; LANES]) -> Self::F;
    /// Stores sixteen f16, rounded to nearest even.
    fn store_f16(self, value: Self::F, to: &mut [u16; LANES]);
    /// Loads sixteen signed bytes.
    fn load_i8(self, from: &[i8; LANES]) -> Self::F;
    /// `a + b`
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a - b`
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b`
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a / b`
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// The larger one; `b` if either is not a number.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// The smaller one; `b` if either is not a number.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// `|a|`
    fn abs(self, a: Self::F) -> Self::F;
    /// `value` where `key >= bound`, 0 elsewhere.
    fn keep_from(self, bound: Self::F, key: Self::F, value: Self::F) -> Self::F;
}

/// Code to be compiled for an instruction set.
pub(crate) trait Kernel {
    /// What it gives.
    type Output;
    /// Must be `#[inline(always)]`, and so must everything it calls on `simd`: only what is inlined into
    /// [`Simd::run`] is compiled with the set's instructions. A closure that is handed to the standard library is not:
    /// kernels are plain loops.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}
