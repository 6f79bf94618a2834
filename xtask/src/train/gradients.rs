//! Analytic gradients against central differences, over every kind of block.

use plimsoll_model::{
    Act, Decoder, Ends, Ffn, Gqa, Layer, Mixer, Mlp, Norm, Pairing, QkNorm, Residual, Rope, Scaling, Span,
};

use super::net::{Batch, Net, Tape};
use crate::rng::Rng;

fn decoder(residual: Residual, qk_norm: QkNorm, bias: bool, tied: bool, rope: (usize, Pairing), span: Span) -> Decoder {
    let norm = Norm::Rms { eps: 1e-5 };
    let rope = Rope { dim: rope.0, pairing: rope.1, theta: 100.0, scaling: Scaling::None };
    let gqa = Gqa {
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        qkv_bias: bias,
        out_bias: false,
        qk_norm,
        rope: Some(rope),
        span,
        scale: 0.35,
    };
    let mlp = Mlp::Dense(Ffn { width: 20, act: Act::Silu, bias: false });
    let layer = Layer { residual, norm, mixer: Mixer::Gqa(gqa), mlp };
    Decoder {
        vocab: 11,
        width: 24,
        context: 16,
        layers: vec![layer.clone(), layer],
        norm,
        tied_embeddings: tied,
        embedding_scale: 1.0,
        logit_scale: 1.0,
        logit_softcap: None,
        ends: Ends::BOTH,
    }
}

fn kinds() -> Vec<(&'static str, Decoder)> {
    use Residual::{PreNorm, Sandwich};
    vec![
        ("llama", decoder(PreNorm, QkNorm::None, false, true, (8, Pairing::Half), Span::Full)),
        ("mistral", decoder(PreNorm, QkNorm::None, false, false, (8, Pairing::Half), Span::Window(3))),
        ("qwen3", decoder(PreNorm, QkNorm::Head, false, true, (8, Pairing::Half), Span::Full)),
        ("glm4", decoder(Sandwich, QkNorm::None, true, false, (4, Pairing::Adjacent), Span::Full)),
    ]
}

/// Parameters far from the start, so that no gradient is small by symmetry.
fn params(net: &Net) -> Vec<f32> {
    let mut rng = Rng(5);
    net.layout.init(3).iter().map(|p| p * 2.0 + 0.1 * rng.normal()).collect()
}

fn batch() -> Batch {
    let ids = vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 3];
    let targets = ids.iter().enumerate().map(|(i, &id)| (i, (id * 7 + 3) % 11, 0.3 + 0.05 * i as f32)).collect();
    Batch { ids, lengths: vec![5, 1, 6], targets }
}

fn loss(net: &Net, params: &[f32], batch: &Batch) -> f64 {
    let losses = net.evaluate(params, batch, &mut Tape::default());
    losses.iter().zip(&batch.targets).map(|(l, t)| f64::from(l.0 * t.2)).sum()
}

#[test]
fn match_finite_differences() {
    for (name, decoder) in kinds() {
        let net = Net::new(decoder);
        let (params, batch) = (params(&net), batch());
        let mut grads = vec![0.0; params.len()];
        net.learn(&params, &mut grads, &batch, &mut Tape::default());
        let mut rng = Rng(9);
        for slot in &net.layout.slots {
            // A whole tensor at once along a random direction: far above the rounding of f32.
            let direction: Vec<f32> = slot.range.clone().map(|_| rng.normal()).collect();
            let step = 2e-3 / super::ops::dot(&direction, &direction).sqrt();
            let moved = |sign: f32| {
                let mut moved = params.clone();
                moved[slot.range.clone()].iter_mut().zip(&direction).for_each(|(p, d)| *p += sign * step * d);
                loss(&net, &moved, &batch)
            };
            let numeric = (moved(1.0) - moved(-1.0)) / (2.0 * f64::from(step));
            let analytic = f64::from(super::ops::dot(&grads[slot.range.clone()], &direction));
            let size = f64::from(super::ops::dot(&grads[slot.range.clone()], &grads[slot.range.clone()])).sqrt();
            let bound = 0.01 * numeric.abs() + 0.02 * size + 1e-3 / f64::from(step) * 1e-3;
            assert!((numeric - analytic).abs() < bound, "{name} {}: {numeric} {analytic}", slot.name);
        }
    }
}

#[test]
fn every_variable_gets_a_gradient() {
    for (name, decoder) in kinds() {
        let net = Net::new(decoder);
        let params = net.layout.init(1);
        let mut grads = vec![0.0; params.len()];
        net.learn(&params, &mut grads, &batch(), &mut Tape::default());
        for slot in &net.layout.slots {
            // The bias of k shifts all scores of a query alike where RoPE does not turn it, so one entry is not enough.
            assert!(grads[slot.range.clone()].iter().any(|g| g.abs() > 1e-9), "{name} {}", slot.name);
        }
    }
}

#[test]
fn sequences_of_a_batch_do_not_see_each_other() {
    for (name, decoder) in kinds() {
        let net = Net::new(decoder);
        let (params, together) = (params(&net), batch());
        let alone = Batch {
            ids: together.ids[6..].to_vec(),
            lengths: vec![6],
            targets: together.targets[6..].iter().map(|t| (t.0 - 6, t.1, t.2)).collect(),
        };
        let a = net.evaluate(&params, &together, &mut Tape::default());
        let b = net.evaluate(&params, &alone, &mut Tape::default());
        for (a, b) in a[6..].iter().zip(b) {
            assert!((a.0 - b.0).abs() < 1e-5, "{name}");
        }
    }
}
