//! Frequencies of the rotary embedding.

use std::f32::consts::PI;

use crate::{Decoder, Mixer, Rope, Scaling};

/// What a backend needs to rotate: `angle(position, i) = position * inv_freq[i]`, cos and sin times `cos_scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeTable {
    /// Radians per position of each pair, `[dim / 2]`.
    pub inv_freq: Vec<f32>,
    /// Factor on cos and sin (YaRN's attention factor).
    pub cos_scale: f32,
}

impl RopeTable {
    /// Cosines and sines at one position, `[dim / 2]` each.
    pub fn rotation(&self, position: usize) -> impl Iterator<Item = (f32, f32)> + '_ {
        self.inv_freq.iter().map(move |freq| {
            let (sin, cos) = (position as f32 * freq).sin_cos();
            (cos * self.cos_scale, sin * self.cos_scale)
        })
    }
}

/// The different rotary embeddings of a model, and which of them each layer uses.
#[derive(Clone, Debug)]
pub struct Ropes {
    ropes: Vec<(Rope, RopeTable)>,
    layers: Vec<Option<usize>>,
}

impl Ropes {
    /// Those of a model's layers.
    pub fn new(decoder: &Decoder) -> Self {
        let mut ropes: Vec<(Rope, RopeTable)> = Vec::new();
        let mut index = |rope: &Rope| {
            ropes.iter().position(|(known, _)| known == rope).unwrap_or_else(|| {
                ropes.push((rope.clone(), rope.table()));
                ropes.len() - 1
            })
        };
        let layers = decoder.layers.iter().map(|layer| {
            let Mixer::Gqa(gqa) = &layer.mixer;
            gqa.rope.as_ref().map(&mut index)
        });
        Self { layers: layers.collect(), ropes }
    }

    /// Index of the one a layer uses.
    pub fn of_layer(&self, layer: usize) -> Option<usize> {
        self.layers[layer]
    }

    /// All of them, by index.
    pub fn iter(&self) -> impl Iterator<Item = &(Rope, RopeTable)> {
        self.ropes.iter()
    }
}

impl Rope {
    /// Frequencies with their scaling applied.
    pub fn table(&self) -> RopeTable {
        let plain = (0..self.dim / 2).map(|i| self.theta.powf(-((2 * i) as f32) / self.dim as f32));
        let inv_freq = match &self.scaling {
            Scaling::None => plain.collect(),
            Scaling::Linear { factor } => plain.map(|inv| inv / factor).collect(),
            Scaling::Factors(factors) => plain.zip(factors).map(|(inv, factor)| inv / factor).collect(),
            Scaling::Llama3 { factor, low, high, original } => {
                plain.map(|inv| llama3(inv, *factor, *low, *high, *original)).collect()
            }
            Scaling::Yarn { factor, original, beta_fast, beta_slow, truncate, .. } => {
                let ramp = self.yarn_ramp(*original, *beta_fast, *beta_slow, *truncate);
                plain.zip(ramp).map(|(inv, ramp)| inv * (1.0 - ramp) + inv / factor * ramp).collect()
            }
        };
        let cos_scale = match self.scaling {
            Scaling::Yarn { cos_scale, .. } => cos_scale,
            _ => 1.0,
        };
        RopeTable { inv_freq, cos_scale }
    }

    /// The divisor of each frequency, `[dim / 2]`, for the scalings that GGUF stores so (as `rope_freqs`).
    pub fn divisors(&self) -> Option<Vec<f32>> {
        match &self.scaling {
            Scaling::Factors(factors) => Some(factors.clone()),
            Scaling::Llama3 { .. } => {
                let plain = Rope { scaling: Scaling::None, ..self.clone() }.table();
                Some(plain.inv_freq.iter().zip(self.table().inv_freq).map(|(plain, scaled)| plain / scaled).collect())
            }
            Scaling::None | Scaling::Linear { .. } | Scaling::Yarn { .. } => None,
        }
    }

    /// 0 where a frequency is kept, 1 where it is stretched, `[dim / 2]`.
    fn yarn_ramp(&self, original: f32, fast: f32, slow: f32, truncate: bool) -> impl Iterator<Item = f32> + use<> {
        let dim = self.dim as f32;
        let correction = |beta: f32| dim * (original / (beta * 2.0 * PI)).ln() / (2.0 * self.theta.ln());
        let (mut lo, mut hi) = (correction(fast), correction(slow));
        if truncate {
            (lo, hi) = (lo.floor(), hi.ceil());
        }
        (lo, hi) = (lo.max(0.0), hi.min(dim - 1.0));
        if lo == hi {
            hi += 0.001;
        }
        (0..self.dim / 2).map(move |i| ((i as f32 - lo) / (hi - lo)).clamp(0.0, 1.0))
    }
}

fn llama3(inv: f32, factor: f32, low: f32, high: f32, original: f32) -> f32 {
    let wavelength = 2.0 * PI / inv;
    if wavelength < original / high {
        inv
    } else if wavelength > original / low {
        inv / factor
    } else {
        let smooth = (original / wavelength - low) / (high - low);
        inv * ((1.0 - smooth) / factor + smooth)
    }
}

/// YaRN's magnitude: `0.1 * mscale * ln(factor) + 1`.
pub(crate) fn yarn_magnitude(factor: f32, mscale: f32) -> f32 {
    if factor > 1.0 { 0.1 * mscale * factor.ln() + 1.0 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Pairing;

    fn table(scaling: Scaling) -> RopeTable {
        Rope { dim: 8, pairing: Pairing::Half, theta: 10000.0, scaling }.table()
    }

    #[test]
    fn frequencies_follow_their_definitions() {
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs());
        assert!(close(&table(Scaling::None).inv_freq, &[1.0, 0.1, 0.01, 0.001]));
        assert!(close(&table(Scaling::Linear { factor: 4.0 }).inv_freq, &[0.25, 0.025, 0.0025, 0.00025]));
        // Wavelengths 6.3, 63, 628, 6283 against original / high = 8 and original / low = 32.
        let llama3 = table(Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 32.0 });
        assert!(close(&llama3.inv_freq, &[1.0, 0.0125, 0.00125, 0.000125]));
        let rope = |scaling| Rope { dim: 8, pairing: Pairing::Half, theta: 10000.0, scaling };
        let scaling = Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original: 32.0 };
        assert!(close(&rope(scaling).divisors().unwrap(), &[1.0, 8.0, 8.0, 8.0]));
        assert_eq!(rope(Scaling::Linear { factor: 4.0 }).divisors(), None);
        let factors = table(Scaling::Factors(vec![1.0, 2.0, 4.0, 8.0]));
        assert!(close(&factors.inv_freq, &[1.0, 0.05, 0.0025, 0.000125]));
    }

    #[test]
    fn yarn_keeps_fast_and_stretches_slow_frequencies() {
        let scaling = Scaling::Yarn {
            factor: 4.0,
            original: 64.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            cos_scale: yarn_magnitude(4.0, 1.0),
            truncate: true,
        };
        let table = table(scaling);
        assert_eq!(table.inv_freq[0], 1.0);
        assert!((table.inv_freq[3] - 0.00025).abs() < 1e-9);
        assert!((table.cos_scale - 1.138_629_4).abs() < 1e-6);
    }
}
