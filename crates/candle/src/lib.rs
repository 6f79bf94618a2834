//! The reference backend: every op written plainly with candle tensors, on any device candle has.
//!
//! Weights are dequantized to f32 at load. It is the oracle for faster backends and the path to Metal.
#![forbid(unsafe_code)]

mod batch;
mod ops;
mod weights;

use std::ops::Range;

use candle_core::{DType, Device, Tensor};
use plimsoll_backend::{Backend, CacheShape, Error, Plan, Projection, Sequence, TensorSource};
use plimsoll_model::{Decoder, Mixer};

pub use batch::Batch;
pub use weights::Weights;

const NAME: &str = "candle";

/// The backend on one device.
#[derive(Clone, Debug)]
pub struct Candle {
    device: Device,
}

impl Candle {
    /// On the processor.
    pub fn cpu() -> Self {
        Self { device: Device::Cpu }
    }

    /// On Apple's GPU.
    ///
    /// # Errors
    /// [`Error::Device`] where there is none.
    #[cfg(feature = "metal")]
    pub fn metal() -> Result<Self, Error> {
        Ok(Self { device: Device::new_metal(0).map_err(device)? })
    }
}

/// Keys and values of one layer, `[slots, kv_heads * head_dim]` f32 each.
struct LayerCache {
    k: Tensor,
    v: Tensor,
}

/// Paged cache of all layers.
pub struct Cache {
    block: usize,
    layers: Vec<LayerCache>,
}

/// Activations; holds the rows of the last write only.
pub struct Buffer {
    width: usize,
    values: Tensor,
}

pub(crate) fn device(error: candle_core::Error) -> Error {
    Error::Device { backend: NAME, reason: error.to_string() }
}

impl Backend for Candle {
    type Model = Weights;
    type Cache = Cache;
    type Batch = Batch;
    type Buffer = Buffer;

    fn name(&self) -> &'static str {
        NAME
    }

    fn load(&self, decoder: &Decoder, source: &dyn TensorSource) -> Result<Weights, Error> {
        Weights::load(decoder, source, &self.device)
    }

    fn block_bytes(&self, decoder: &Decoder, block: usize) -> usize {
        decoder.kv_values_per_token() * block * size_of::<f32>()
    }

    fn cache(&self, decoder: &Decoder, shape: CacheShape) -> Result<Cache, Error> {
        let layer = |layer: &plimsoll_model::Layer| {
            let Mixer::Gqa(gqa) = &layer.mixer;
            let zeros = || Tensor::zeros((shape.blocks * shape.block, gqa.kv_width()), DType::F32, &self.device);
            Ok(LayerCache { k: zeros().map_err(device)?, v: zeros().map_err(device)? })
        };
        Ok(Cache { block: shape.block, layers: decoder.layers.iter().map(layer).collect::<Result<_, Error>>()? })
    }

    fn buffer(&self, _: usize, width: usize) -> Result<Buffer, Error> {
        let values = Tensor::zeros((1, width), DType::F32, &self.device).map_err(device)?;
        Ok(Buffer { width, values })
    }

    fn batch(&self, model: &Weights, _: usize, _: usize, cache: CacheShape) -> Result<Batch, Error> {
        // Not every device has tensors of no values.
        let sequences = vec![Sequence { start: 0, len: 1, block_table: vec![0] }];
        let plan = Plan { tokens: vec![0], sequences, outputs: vec![0], ..Plan::default() };
        Batch::new(model, &plan, cache.block, &self.device).map_err(device)
    }

    fn upload(&self, model: &Weights, plan: &Plan, cache: CacheShape, batch: &mut Batch) -> Result<(), Error> {
        *batch = Batch::new(model, plan, cache.block, &self.device).map_err(device)?;
        Ok(())
    }

    fn embed(&self, model: &Weights, batch: &Batch, x: &mut Buffer) -> Result<(), Error> {
        x.values = ops::embed(model, batch).map_err(device)?;
        Ok(())
    }

    fn attention_inputs(
        &self,
        model: &Weights,
        layer: usize,
        batch: &Batch,
        x: &Buffer,
        cache: &mut Cache,
        q: &mut Buffer,
    ) -> Result<(), Error> {
        let (query, key, value) = ops::attention_inputs(&model.layers[layer], batch, &x.values).map_err(device)?;
        let LayerCache { k, v } = &cache.layers[layer];
        batch.append(&key, k).and_then(|()| batch.append(&value, v)).map_err(device)?;
        q.values = query;
        Ok(())
    }

    fn attend(
        &self,
        model: &Weights,
        layer: usize,
        batch: &Batch,
        cache: &Cache,
        q: &Buffer,
        y: &mut Buffer,
    ) -> Result<(), Error> {
        let LayerCache { k, v } = &cache.layers[layer];
        y.values = ops::attend(&model.layers[layer], batch, k, v, &q.values).map_err(device)?;
        Ok(())
    }

    fn project_add(
        &self,
        model: &Weights,
        projection: Projection,
        _: &Batch,
        y: &Buffer,
        x: &mut Buffer,
    ) -> Result<(), Error> {
        let layer = &model.layers[projection.layer];
        x.values = ops::project_add(layer, projection.half, &y.values, &x.values).map_err(device)?;
        Ok(())
    }

    fn mlp_inputs(&self, model: &Weights, layer: usize, _: &Batch, x: &Buffer, h: &mut Buffer) -> Result<(), Error> {
        h.values = ops::mlp_inputs(&model.layers[layer], &x.values).map_err(device)?;
        Ok(())
    }

    fn logits(&self, model: &Weights, batch: &Batch, x: &Buffer, out: &mut Buffer) -> Result<(), Error> {
        out.values = ops::logits(model, batch, &x.values).map_err(device)?;
        Ok(())
    }

    fn copy_blocks(&self, cache: &mut Cache, pairs: &[(u32, u32)]) -> Result<(), Error> {
        let block = cache.block;
        for side in cache.layers.iter().flat_map(|layer| [&layer.k, &layer.v]) {
            for (from, to) in pairs {
                let copy = side.narrow(0, *from as usize * block, block).and_then(|rows| rows.copy());
                copy.and_then(|copy| side.slice_set(&copy, 0, *to as usize * block)).map_err(device)?;
            }
        }
        Ok(())
    }

    fn read(&self, buffer: &Buffer, values: Range<usize>) -> Result<Vec<f32>, Error> {
        let rows = buffer.values.narrow(0, values.start / buffer.width, values.len() / buffer.width);
        rows.and_then(|rows| rows.flatten_all()?.to_vec1()).map_err(device)
    }

    fn write(&self, values: &[f32], buffer: &mut Buffer) -> Result<(), Error> {
        let shape = (values.len() / buffer.width, buffer.width);
        buffer.values = Tensor::from_slice(values, shape, &self.device).map_err(device)?;
        Ok(())
    }
}
