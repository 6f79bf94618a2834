//! AdamW (arXiv 1711.05101) with warm-up, then a cosine.

use super::layout::{Layout, Slot};
use super::ops::dot;

/// Decay of the first and second moments.
const BETAS: (f32, f32) = (0.9, 0.98);
const EPS: f32 = 1e-8;
const RATE: f32 = 2e-3;
/// Weight decay of matrices, per step and unit of the rate.
const DECAY: f32 = 0.05;
/// Longest gradient.
const CLIP: f32 = 1.0;

/// Steps done and moments of every parameter.
pub struct Optimizer {
    /// Steps done.
    pub step: usize,
    /// Running mean of the gradient.
    pub mean: Vec<f32>,
    /// Running mean of its square.
    pub square: Vec<f32>,
}

impl Optimizer {
    /// No steps done yet.
    pub fn new(len: usize) -> Self {
        Self { step: 0, mean: vec![0.0; len], square: vec![0.0; len] }
    }

    /// One step at a share of the full rate.
    pub fn update(&mut self, layout: &Layout, params: &mut [f32], grads: &[f32], share: f32) {
        self.step += 1;
        let clip = (CLIP / dot(grads, grads).sqrt()).min(1.0);
        for slot in &layout.slots {
            self.adam(slot, params, grads, clip, share * RATE);
        }
    }

    fn adam(&mut self, slot: &Slot, params: &mut [f32], grads: &[f32], clip: f32, rate: f32) {
        let correct = |beta: f32| 1.0 / (1.0 - beta.powi(self.step as i32));
        let (mean_scale, square_scale) = (correct(BETAS.0), correct(BETAS.1));
        let keep = if slot.shape.len() > 1 { 1.0 - rate * DECAY } else { 1.0 };
        let range = slot.range.clone();
        let moments = self.mean[range.clone()].iter_mut().zip(&mut self.square[range.clone()]);
        for ((p, g), (m, v)) in params[range.clone()].iter_mut().zip(&grads[range]).zip(moments) {
            let g = g * clip;
            *m = BETAS.0 * *m + (1.0 - BETAS.0) * g;
            *v = BETAS.1 * *v + (1.0 - BETAS.1) * g * g;
            *p = *p * keep - rate * *m * mean_scale / ((*v * square_scale).sqrt() + EPS);
        }
    }
}

/// The share of the full rate at a step: linear warm-up, then a cosine down to a twentieth.
pub fn share(step: usize, warmup: usize, total: usize) -> f32 {
    if step < warmup {
        return (step + 1) as f32 / warmup as f32;
    }
    let done = ((step - warmup) as f32 / (total - warmup).max(1) as f32).min(1.0);
    0.05 + 0.475 * (1.0 + (std::f32::consts::PI * done).cos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::train::recipe::RECIPES;

    #[test]
    fn warm_up_then_cosine() {
        assert_eq!(share(0, 10, 110), 0.1);
        assert_eq!(share(10, 10, 110), 1.0);
        assert!((share(60, 10, 110) - 0.525).abs() < 1e-6);
        assert!((share(110, 10, 110) - 0.05).abs() < 1e-6);
    }

    #[test]
    fn steps_go_downhill() {
        // The loss |p - t|^2 / 2 of every parameter at once.
        let layout = Layout::new(&RECIPES[3].decoder());
        let mut rng = Rng(1);
        let target: Vec<f32> = (0..layout.len).map(|_| 0.02 * rng.normal()).collect();
        let mut params = layout.init(2);
        let mut optimizer = Optimizer::new(layout.len);
        let distance = |p: &[f32]| p.iter().zip(&target).map(|(p, t)| (p - t).powi(2)).sum::<f32>();
        let before = distance(&params);
        for _ in 0..3 {
            let grads: Vec<f32> = params.iter().zip(&target).map(|(p, t)| p - t).collect();
            optimizer.update(&layout, &mut params, &grads, 0.2);
        }
        assert!(distance(&params) < before);
    }
}
