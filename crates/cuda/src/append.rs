//! Queries, keys and values of new tokens.

use plimsoll_backend::Error;
use plimsoll_model::{Gqa, Mixer, Pairing};

use crate::backend::{Cuda, WARPS};
use crate::batch::Batch;
use crate::cache::{Cache, KvType};
use crate::device::Buffer;
use crate::driver::Driver;
use crate::params;
use crate::product::{Action, Class, Few, Input, Output};
use crate::weights::{Norm, Weights};

/// Bytes of shared memory of a head for each warp.
pub(crate) fn append_shared(gqa: &Gqa) -> usize {
    WARPS * gqa.head_dim * 4
}

impl<D: Driver> Cuda<D> {
    /// In one launch where results can go to their places two at a time: not where a head's norm or its scale in the cache needs
    /// all of it.
    pub(crate) fn append(
        &self,
        model: &Weights<D>,
        layer: usize,
        batch: &Batch<D>,
        x: &Buffer<D>,
        cache: &Cache<D>,
        q: &Buffer<D>,
    ) -> Result<(), Error> {
        let weights = &model.layers[layer];
        let Mixer::Gqa(gqa) = &model.decoder.layers[layer].mixer;
        let heads = gqa.heads + 2 * gqa.kv_heads;
        let address = |norm: &Option<Norm<D>>| norm.as_ref().map_or(0, Norm::address);
        let append = params::Append {
            cache: cache.layer(layer),
            qkv: batch.wide.address,
            q: q.address,
            q_norm: address(&weights.q_norm),
            k_norm: address(&weights.k_norm),
            rotation: model.ropes.of_layer(layer).map_or(0, |rope| batch.rotations[rope]),
            slots: batch.slots,
            rows: batch.rows as u32,
            heads: gqa.heads as u32,
            rotated: gqa.rope.as_ref().map_or(0, |rope| rope.dim as u32),
            adjacent: gqa.rope.as_ref().is_some_and(|rope| rope.pairing == Pairing::Adjacent).into(),
            eps: weights.q_norm.as_ref().map_or(0.0, |norm| norm.eps),
            padding: 0,
        };
        let linears = weights.qkv.each_ref();
        let input = Input { x, rows: 0, count: batch.rows, norm: Some(&weights.mixer_norm), batch };
        let output = Output::new(&batch.wide, Action::Store, heads * gqa.head_dim);
        let pairs = weights.q_norm.is_none() && cache.kv == KvType::F16 && gqa.head_dim.is_multiple_of(2);
        if pairs && matches!(self.class(&linears, &input, output.action), Class::Few) {
            let Few { params: product, grid, columns, shared } = self.few(&linears, &input, &output);
            let qkv = params::Qkv { product, append };
            return match columns {
                1 => self.device.launch(grid, shared, params::Qkv1(qkv)),
                _ => self.device.launch(grid, shared, params::Qkv4(qkv)),
            };
        }
        self.products(&linears, input, output)?;
        self.device.launch([(batch.rows * heads).div_ceil(WARPS), 1, 1], append_shared(gqa), append)
    }
}
