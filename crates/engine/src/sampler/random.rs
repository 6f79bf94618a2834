//! Random numbers that depend on a seed and a position, and on nothing else.
//!
//! There is no state to carry along: whatever else runs, however the work is cut, the draw at a position is the same,
//! and a completion continued from its own beginning goes on as it did.

use std::hash::{BuildHasher, RandomState};

/// The weyl increment of SplitMix64: 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// A number in `0..1`, a multiple of 2^-53: SplitMix64 (Steele, Lea, Flood 2014) as a counter-based generator, once to
/// spread the seed and once to pick from that seed's sequence.
pub(crate) fn uniform(seed: u64, position: u64) -> f64 {
    let bits = mix(mix(seed.wrapping_add(GOLDEN)).wrapping_add(position.wrapping_add(1).wrapping_mul(GOLDEN)));
    (bits >> 11) as f64 / (1u64 << 53) as f64
}

/// A seed that differs from call to call; below 2^53, so that it survives JSON.
pub(crate) fn random_seed() -> u64 {
    RandomState::new().hash_one(GOLDEN) >> 11
}

/// The finalizer of SplitMix64.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published sequence of SplitMix64 from seed 1234567.
    #[test]
    fn is_splitmix64() {
        let state = 1_234_567u64;
        let outputs: Vec<u64> = (1..=5).map(|i: u64| mix(state.wrapping_add(i.wrapping_mul(GOLDEN)))).collect();
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(outputs, published);
    }

    /// Neighbouring seeds and positions share nothing: means and correlation of 10,000 pairs within five deviations.
    #[test]
    fn neighbours_are_independent() {
        const N: u64 = 10_000;
        let tolerance = 5.0 / (12.0 * N as f64).sqrt();
        for (seed_step, position_step) in [(0, 1), (1, 0)] {
            let pair = |i: u64| {
                let (seed, position) = (i * seed_step, i * position_step);
                (uniform(seed, position), uniform(seed + seed_step, position + position_step))
            };
            let mean = (0..N).map(|i| pair(i).0).sum::<f64>() / N as f64;
            assert!((mean - 0.5).abs() < tolerance, "{mean}");
            let correlation = (0..N).map(|i| (pair(i).0 - 0.5) * (pair(i).1 - 0.5)).sum::<f64>() / N as f64 * 12.0;
            assert!(correlation.abs() < 5.0 / (N as f64).sqrt(), "{correlation}");
        }
    }
}
