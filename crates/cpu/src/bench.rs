//! Kernels that no op runs alone, for this repository's benches; no part of the interface.

use plimsoll_backend::{CacheShape, Error, Plan};
use plimsoll_model::{Decoder, Mixer, Ropes};

use crate::batch::Batch;
use crate::cache::Cache;
use crate::rope::{Append, Qkv, check_heads};
use crate::weights::NormWeight;
use crate::{Cpu, Options};

/// `to = x / sqrt(mean(x^2)) * weight`, one row, as every norm of a layer does it.
///
/// # Errors
/// As for [`Cpu::new`].
pub fn rms_norm(options: &Options, weight: &[f32]) -> Result<impl Fn(&[f32], &mut [f32]) + use<>, Error> {
    let (isa, norm) = (options.isa()?, NormWeight { weight: weight.to_vec(), eps: 1e-5 });
    Ok(move |x: &[f32], to: &mut [f32]| norm.apply(isa, x, to))
}

/// Rotates queries and keys of the first layer and appends keys and values to its cache: from the rows of the products,
/// `[T, q | k | v]`, to the queries, `[T, heads * head_dim]`.
///
/// # Errors
/// As for [`Cpu::new`], and for memory that the cache does not get.
pub fn append(
    options: &Options,
    decoder: &Decoder,
    (plan, shape): (&Plan, CacheShape),
) -> Result<impl FnMut(&[f32], &mut [f32]) + use<>, Error> {
    check_heads(decoder)?;
    let (cpu, ropes) = (Cpu::new(options)?, Ropes::new(decoder));
    let (batch, mut cache) = (Batch::new(plan, shape, &ropes), Cache::new(decoder, shape, options.kv)?);
    let Mixer::Gqa(gqa) = decoder.layers[0].mixer.clone();
    let starts = [0, gqa.q_width(), gqa.q_width() + gqa.kv_width()];
    let stride = starts[2] + gqa.kv_width();
    Ok(move |values: &[f32], q: &mut [f32]| {
        let rotation = ropes.of_layer(0).map(|rope| &batch.rotations[rope]);
        let qkv = Qkv { values, stride, starts };
        let append = Append { gqa: &gqa, batch: &batch, q_norm: None, k_norm: None, rotation, qkv };
        append.run(&cpu.pool, cpu.isa, cache.layer_mut(0), q);
    })
}
