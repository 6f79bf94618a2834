//! The paged cache of keys and values.

use plimsoll_backend::{CacheShape, Error};
use plimsoll_model::{Decoder, Gqa, Mixer};

use crate::device::{Buffer, Device};
use crate::driver::Driver;
use crate::params;

/// What keys and values are stored as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvType {
    /// Half precision.
    #[default]
    F16,
    /// Eight bits, with an f32 scale per token and head for the key and one for the value.
    Q8,
}

/// Keys and values of all layers.
pub struct Cache<D: Driver> {
    /// What a launch's items of attention leave behind, `[items, heads, head_dim + 2]`, and a counter of each and kv head.
    pub(crate) partial: Buffer<D>,
    pub(crate) tickets: Buffer<D>,
    layers: Vec<LayerCache<D>>,
    pub(crate) shape: CacheShape,
    pub(crate) kv: KvType,
}

struct LayerCache<D: Driver> {
    keys: Buffer<D>,
    values: Buffer<D>,
    heads: usize,
    dim: usize,
}

/// Bytes of one position of a head, in whole units of eight values.
fn position_bytes(dim: usize, kv: KvType) -> usize {
    match kv {
        KvType::F16 => dim.next_multiple_of(8) * 2,
        KvType::Q8 => dim.next_multiple_of(8) + 4,
    }
}

fn gqas(decoder: &Decoder) -> impl Iterator<Item = &Gqa> {
    decoder.layers.iter().map(|layer| {
        let Mixer::Gqa(gqa) = &layer.mixer;
        gqa
    })
}

/// Bytes of a block of so many positions in all layers.
pub(crate) fn block_bytes(decoder: &Decoder, block: usize, kv: KvType) -> usize {
    gqas(decoder).map(|gqa| 2 * gqa.kv_heads * position_bytes(gqa.head_dim, kv) * block).sum()
}

/// Bytes of the keys of a layer, and of its values.
fn side_bytes(gqa: &Gqa, shape: CacheShape, kv: KvType) -> usize {
    shape.blocks * shape.block * gqa.kv_heads * position_bytes(gqa.head_dim, kv)
}

/// Bytes of every buffer of a cache.
pub(crate) fn bytes(decoder: &Decoder, shape: CacheShape, kv: KvType) -> Vec<usize> {
    gqas(decoder).flat_map(|gqa| [side_bytes(gqa, shape, kv); 2]).collect()
}

/// Bytes of what so many items of attention leave behind, and of their counters.
pub(crate) fn attention_bytes(decoder: &Decoder, items: usize) -> [usize; 2] {
    let most = |values: fn(&Gqa) -> usize| gqas(decoder).map(values).max().unwrap_or(0);
    [items * most(|gqa| gqa.heads * (gqa.head_dim + 2)) * 4, items * most(|gqa| gqa.kv_heads) * 4]
}

impl<D: Driver> Cache<D> {
    /// With room for what so many items of attention leave behind.
    pub(crate) fn new(
        device: &Device<D>,
        decoder: &Decoder,
        shape: CacheShape,
        kv: KvType,
        items: usize,
    ) -> Result<Self, Error> {
        let layer = |gqa: &Gqa| {
            let bytes = side_bytes(gqa, shape, kv);
            let (keys, values) = (device.zeros(bytes)?, device.zeros(bytes)?);
            Ok(LayerCache { keys, values, heads: gqa.kv_heads, dim: gqa.head_dim })
        };
        let [partial, tickets] = attention_bytes(decoder, items);
        Ok(Self {
            partial: device.buffer(partial)?,
            tickets: device.zeros(tickets)?,
            layers: gqas(decoder).map(layer).collect::<Result<_, Error>>()?,
            shape,
            kv,
        })
    }

    /// As kernels take a layer's.
    pub(crate) fn layer(&self, layer: usize) -> params::Cache {
        let LayerCache { keys, values, heads, dim } = &self.layers[layer];
        params::Cache {
            keys: keys.address,
            values: values.address,
            heads: *heads as u32,
            dim: *dim as u32,
            slots: (self.shape.blocks * self.shape.block) as u32,
            bits: if self.kv == KvType::Q8 { 8 } else { 16 },
        }
    }

    pub(crate) fn layers(&self) -> impl Iterator<Item = params::Cache> + '_ {
        (0..self.layers.len()).map(|layer| self.layer(layer))
    }
}
