//! The paged cache of keys and values.

use plimsoll_backend::{CacheShape, Error};
use plimsoll_model::{Decoder, Gqa, Mixer};

use crate::simd::LANES;

/// What keys and values are stored as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvType {
    /// Single precision: nothing is rounded.
    F32,
    /// Half precision.
    #[default]
    F16,
    /// Eight bits, with one f32 scale per token and head for the key and one for the value.
    Q8,
}

impl KvType {
    /// All of them, largest first.
    pub const ALL: [KvType; 3] = [KvType::F32, KvType::F16, KvType::Q8];

    /// The one of that name.
    pub fn by_name(name: &str) -> Option<KvType> {
        Self::ALL.into_iter().find(|kv| kv.name() == name)
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
            KvType::Q8 => "q8",
        }
    }
}

/// Where a layer's keys and values lie, in lines of sixteen numbers.
///
/// All blocks of a head lie together. A block is tiles of keys, `[tile, head_dim, 16 positions]`, so that sixteen scores are
/// the lanes of a vector, and rows of values, `[position, head_dim]`, padded to whole lines. Its scales, if there are any,
/// lie apart: those of the keys, padded to whole tiles, then those of the values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) heads: usize,
    pub(crate) dim: usize,
    pub(crate) block: usize,
}

/// Where one position lies in its head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// First line of its tile of keys, and its lane there.
    pub(crate) keys: usize,
    pub(crate) lane: usize,
    /// First line of its row of values.
    pub(crate) values: usize,
    /// The scale of lane 0 of its tile, and of its values.
    pub(crate) key_scales: usize,
    pub(crate) value_scale: usize,
}

impl Layout {
    fn new(gqa: &Gqa, block: usize) -> Self {
        Self { heads: gqa.kv_heads, dim: gqa.head_dim, block }
    }

    /// Lines of one row of values.
    pub(crate) fn row(self) -> usize {
        self.dim.div_ceil(LANES)
    }

    fn tiles(self) -> usize {
        self.block.div_ceil(LANES)
    }

    /// Lines of a block of one head.
    fn lines(self) -> usize {
        self.tiles() * self.dim + self.block * self.row()
    }

    /// Scales of a block of one head.
    fn scales(self) -> usize {
        2 * self.tiles() * LANES
    }

    pub(crate) fn place(self, slot: usize) -> Place {
        let (block, offset) = (slot / self.block, slot % self.block);
        let (lines, scales) = (block * self.lines(), block * self.scales());
        Place {
            keys: lines + offset / LANES * self.dim,
            lane: offset % LANES,
            values: lines + self.tiles() * self.dim + offset * self.row(),
            key_scales: scales + offset / LANES * LANES,
            value_scale: scales + self.tiles() * LANES + offset,
        }
    }

    /// Bytes of a block of all heads.
    fn bytes(self, kv: KvType) -> usize {
        self.heads
            * match kv {
                KvType::F32 => self.lines() * LANES * size_of::<f32>(),
                KvType::F16 => self.lines() * LANES * size_of::<u16>(),
                KvType::Q8 => self.lines() * LANES + self.scales() * size_of::<f32>(),
            }
    }
}

/// Numbers of all heads, and their scales if they have any.
pub(crate) struct Stored<E> {
    pub(crate) lines: Vec<[E; LANES]>,
    pub(crate) scales: Vec<f32>,
}

/// Keys and values of one layer.
pub(crate) struct LayerCache {
    pub(crate) layout: Layout,
    pub(crate) store: Store,
}

pub(crate) enum Store {
    F32(Stored<f32>),
    F16(Stored<u16>),
    Q8(Stored<i8>),
}

impl<E: Copy> Stored<E> {
    /// The lines and scales of one head.
    pub(crate) fn head(&self, layout: Layout, head: usize) -> (&[[E; LANES]], &[f32]) {
        let (lines, scales) = (self.lines.len() / layout.heads, self.scales.len() / layout.heads);
        (&self.lines[head * lines..][..lines], &self.scales[head * scales..][..scales])
    }

    fn copy_block(&mut self, layout: Layout, from: usize, to: usize) {
        let head = self.lines.len() / layout.heads;
        copy_within_each(&mut self.lines, head, layout.lines(), from, to);
        let head = self.scales.len() / layout.heads;
        copy_within_each(&mut self.scales, head, layout.scales(), from, to);
    }
}

/// Copies the block `from` of every head to the block `to`.
fn copy_within_each<T: Copy>(data: &mut [T], head: usize, block: usize, from: usize, to: usize) {
    for head in data.chunks_exact_mut(head.max(1)) {
        head.copy_within(from * block..(from + 1) * block, to * block);
    }
}

/// Keys and values of all layers.
pub struct Cache {
    layers: Vec<LayerCache>,
}

/// Bytes that one block of all layers takes.
pub(crate) fn block_bytes(decoder: &Decoder, block: usize, kv: KvType) -> usize {
    let bytes = |layer: &plimsoll_model::Layer| {
        let Mixer::Gqa(gqa) = &layer.mixer;
        Layout::new(gqa, block).bytes(kv)
    };
    decoder.layers.iter().map(bytes).sum()
}

impl Cache {
    /// An empty cache.
    ///
    /// # Errors
    /// [`Error::Device`] if the system does not give the memory.
    pub(crate) fn new(decoder: &Decoder, shape: CacheShape, kv: KvType) -> Result<Self, Error> {
        let layer = |layer: &plimsoll_model::Layer| {
            let Mixer::Gqa(gqa) = &layer.mixer;
            let layout = Layout::new(gqa, shape.block);
            let (lines, scales) = (layout.heads * layout.lines(), layout.heads * layout.scales());
            let store = match kv {
                KvType::F32 => Store::F32(Stored { lines: zeros([0.0; LANES], lines, shape)?, scales: Vec::new() }),
                KvType::F16 => Store::F16(Stored { lines: zeros([0; LANES], lines, shape)?, scales: Vec::new() }),
                KvType::Q8 => {
                    Store::Q8(Stored { lines: zeros([0; LANES], lines, shape)?, scales: zeros(0.0, scales, shape)? })
                }
            };
            Ok(LayerCache { layout, store })
        };
        Ok(Self { layers: decoder.layers.iter().map(layer).collect::<Result<_, Error>>()? })
    }

    /// One layer.
    pub(crate) fn layer(&self, layer: usize) -> &LayerCache {
        &self.layers[layer]
    }

    /// One layer, to append to.
    pub(crate) fn layer_mut(&mut self, layer: usize) -> &mut LayerCache {
        &mut self.layers[layer]
    }

    /// Copies whole blocks `(from, to)`, in order.
    pub(crate) fn copy_blocks(&mut self, pairs: &[(u32, u32)]) {
        for LayerCache { layout, store } in &mut self.layers {
            for (from, to) in pairs {
                let (from, to) = (*from as usize, *to as usize);
                match store {
                    Store::F32(stored) => stored.copy_block(*layout, from, to),
                    Store::F16(stored) => stored.copy_block(*layout, from, to),
                    Store::Q8(stored) => stored.copy_block(*layout, from, to),
                }
            }
        }
    }
}

/// Zeros for all blocks, which take no memory before they are written.
fn zeros<T: Clone>(zero: T, per_block: usize, shape: CacheShape) -> Result<Vec<T>, Error> {
    let refused = || Error::Device {
        backend: crate::NAME,
        reason: format!("no memory for a cache of {} blocks of {} positions", shape.blocks, shape.block),
    };
    let len = per_block.checked_mul(shape.blocks).ok_or_else(refused)?;
    // `vec!` ends the process where there is no memory, so ask first.
    Vec::<T>::new().try_reserve_exact(len).map_err(|_| refused())?;
    Ok(vec![zero; len])
}
