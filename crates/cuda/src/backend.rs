//! The ops, launch by launch.

use std::ops::Range;

use plimsoll_backend::{Backend, CacheShape, Error, Fit, Half, Plan, Projection, Room, TensorSource, Top};
use plimsoll_model::{Decoder, Layer, Mixer};

use crate::NAME;
use crate::append::append_shared;
use crate::attention::{self, ITEMS};
use crate::batch::{Batch, filled};
use crate::cache::{self, Cache, KvType};
use crate::device::{Buffer, Device};
use crate::driver::Driver;
use crate::pack::GROUP;
use crate::params::{self, COPIED, GRID, SPLIT, THREADS};
use crate::product::{Action, Class, Input, Output, shared};
use crate::weights::{Linear, Weights};

/// Warps of a block.
pub(crate) const WARPS: usize = THREADS as usize / 32;

/// The backend on a driver's device.
pub struct Cuda<D: Driver> {
    pub(crate) device: Device<D>,
    pub(crate) kv: KvType,
    pub(crate) fast: bool,
    /// Bytes of memory that a model may take.
    pub(crate) most: u64,
    /// Items of a launch of attention, unless a row has more.
    items: usize,
}

impl<D: Driver> Cuda<D> {
    /// # Errors
    /// [`Error::Device`] if the device gives no memory.
    pub fn new(driver: D, kv: KvType) -> Result<Self, Error> {
        Ok(Self { device: Device::new(driver), kv, fast: false, most: u64::MAX, items: ITEMS })
    }

    /// With memory for so many splits of a launch of attention, or those of one row. More take several launches.
    pub fn with_items(self, items: usize) -> Self {
        Self { items, ..self }
    }

    pub(crate) fn capacity(&self, decoder: &Decoder) -> usize {
        self.items.max(decoder.context.div_ceil(SPLIT))
    }

    /// Has cublasLt do the products of steps of many rows, for prompts above all. What a prompt leaves in the cache then depends, in
    /// the last bits, on how many rows were computed with it.
    ///
    /// # Errors
    /// [`Error::Device`] if the library is not there, or too old.
    pub fn with_fast_prefill(mut self) -> Result<Self, Error> {
        self.device.load_gemm()?;
        self.fast = true;
        Ok(self)
    }

    /// A model may take so many bytes of memory at most.
    pub fn with_memory(self, most: u64) -> Self {
        Self { most, ..self }
    }

    /// Refuses what does not fit the shared memory of a block.
    fn check(&self, model: &Weights<D>) -> Result<(), Error> {
        let limit = self.device.shared_limit();
        let refuse = |what: String, bytes: usize| {
            let what = format!("{what} on this GPU: {bytes} bytes of shared memory, where a block has {limit}");
            if bytes > limit { Err(Error::Unsupported { backend: NAME, what }) } else { Ok(()) }
        };
        let product =
            |linears: &[&Linear<D>]| refuse(format!("rows of {} values", linears[0].width), shared(linears, 1));
        if let Some((_, head)) = model.head() {
            product(&[head])?;
        }
        for (layer, Layer { mixer, .. }) in model.layers.iter().zip(&model.decoder.layers) {
            let Mixer::Gqa(gqa) = mixer;
            let bytes = usize::max(append_shared(gqa), attention::least_shared(gqa));
            refuse(format!("heads of {} values", gqa.head_dim), bytes)?;
            product(&layer.qkv.each_ref())?;
            product(&layer.gate_up.each_ref())?;
            product(&[&layer.out])?;
            product(&[&layer.down])?;
        }
        Ok(())
    }
}

impl<D: Driver> Backend for Cuda<D> {
    type Model = Weights<D>;
    type Cache = Cache<D>;
    type Batch = Batch<D>;
    type Buffer = Buffer<D>;

    fn name(&self) -> &'static str {
        NAME
    }

    fn fit(&self, decoder: &Decoder, source: &dyn TensorSource, room: Room<'_>) -> Result<Fit, Error> {
        self.fit_model(decoder, source, room)
    }

    fn load(&self, decoder: &Decoder, source: &dyn TensorSource) -> Result<Weights<D>, Error> {
        let weights = Weights::load(&self.device, decoder, source)?;
        self.check(&weights)?;
        Ok(weights)
    }

    fn block_bytes(&self, decoder: &Decoder, block: usize) -> usize {
        cache::block_bytes(decoder, block, self.kv)
    }

    fn cache(&self, decoder: &Decoder, shape: CacheShape) -> Result<Cache<D>, Error> {
        Cache::new(&self.device, decoder, shape, self.kv, self.capacity(decoder))
    }

    fn buffer(&self, rows: usize, width: usize) -> Result<Buffer<D>, Error> {
        self.device.zeros(filled(rows) * width * 4)
    }

    fn batch(&self, model: &Weights<D>, rows: usize, outputs: usize, cache: CacheShape) -> Result<Batch<D>, Error> {
        if rows.max(outputs) > GRID {
            let what = format!("steps of {} tokens; it takes {GRID} at most", rows.max(outputs));
            return Err(Error::Unsupported { backend: NAME, what });
        }
        let capacity = self.capacity(&model.decoder);
        Batch::new(&self.device, &model.decoder, &model.ropes, (rows, outputs), cache, self.fast, capacity)
    }

    fn upload(&self, model: &Weights<D>, plan: &Plan, cache: CacheShape, batch: &mut Batch<D>) -> Result<(), Error> {
        batch.set(&self.device, plan, cache, &model.ropes)
    }

    fn step(&self, batch: &Batch<D>, record: &mut dyn FnMut() -> Result<(), Error>) -> Result<(), Error> {
        batch.step(&self.device, record)
    }

    fn embed(&self, model: &Weights<D>, batch: &Batch<D>, x: &mut Buffer<D>) -> Result<(), Error> {
        let params = params::Embed {
            matrix: model.embedding().matrix,
            tokens: batch.tokens,
            out: x.address,
            width: model.decoder.width as u32,
            scale: model.decoder.embedding_scale,
        };
        self.device.launch([batch.rows, 1, 1], 0, params)
    }

    fn attention_inputs(
        &self,
        model: &Weights<D>,
        layer: usize,
        batch: &Batch<D>,
        x: &Buffer<D>,
        cache: &mut Cache<D>,
        q: &mut Buffer<D>,
    ) -> Result<(), Error> {
        self.append(model, layer, batch, x, cache, q)
    }

    fn attend(
        &self,
        model: &Weights<D>,
        layer: usize,
        batch: &Batch<D>,
        cache: &Cache<D>,
        q: &Buffer<D>,
        y: &mut Buffer<D>,
    ) -> Result<(), Error> {
        self.attention(model, layer, batch, cache, q, y)
    }

    fn project_add(
        &self,
        model: &Weights<D>,
        projection: Projection,
        batch: &Batch<D>,
        y: &Buffer<D>,
        x: &mut Buffer<D>,
    ) -> Result<(), Error> {
        let weights = &model.layers[projection.layer];
        let (linear, post_norm) = match projection.half {
            Half::Mixer => (&weights.out, &weights.mixer_post_norm),
            Half::Mlp => (&weights.down, &weights.mlp_post_norm),
        };
        let width = model.decoder.width;
        let input = Input { x: y, rows: 0, count: batch.rows, norm: None, batch };
        let Some(norm) = post_norm else {
            return self.products(&[linear], input, Output::new(x, Action::Add, width));
        };
        self.products(&[linear], input, Output::new(&batch.wide, Action::Store, width))?;
        let params = params::AddNormed {
            from: batch.wide.address,
            x: x.address,
            norm: norm.address(),
            width: width as u32,
            eps: norm.eps,
        };
        self.device.launch([batch.rows, 1, 1], 64, params)
    }

    fn mlp_inputs(
        &self,
        model: &Weights<D>,
        layer: usize,
        batch: &Batch<D>,
        x: &Buffer<D>,
        h: &mut Buffer<D>,
    ) -> Result<(), Error> {
        let weights = &model.layers[layer];
        let input = Input { x, rows: 0, count: batch.rows, norm: Some(&weights.mlp_norm), batch };
        let stride = weights.gate_up[0].rows();
        let linears = weights.gate_up.each_ref();
        let few = matches!(self.class(&linears, &input, Action::Gate), Class::Few);
        h.rounded = few && weights.down.rounds() && stride.is_multiple_of(GROUP);
        self.products(&linears, input, Output::new(h, Action::Gate, stride))
    }

    fn logits(&self, model: &Weights<D>, batch: &Batch<D>, x: &Buffer<D>, out: &mut Buffer<D>) -> Result<(), Error> {
        if batch.output_rows == 0 {
            return Ok(());
        }
        let Decoder { vocab, logit_scale, logit_softcap, .. } = model.decoder;
        let (norm, head) = model.head().expect("a model that ends here");
        let input = Input { x, rows: batch.outputs, count: batch.output_rows, norm: Some(norm), batch };
        let output = Output::new(out, Action::Logits, vocab);
        let output = Output { scale: logit_scale, cap: logit_softcap.unwrap_or(0.0), ..output };
        self.products(&[head], input, output)
    }

    fn find_top(&self, _: &Weights<D>, batch: &Batch<D>, logits: &Buffer<D>) -> Result<(), Error> {
        batch.found.find(&self.device, batch, logits)
    }

    fn top(&self, batch: &Batch<D>) -> Result<Option<Vec<Top>>, Error> {
        batch.found.read(&self.device, batch.wanted).map(Some)
    }

    fn copy_blocks(&self, cache: &mut Cache<D>, pairs: &[(u32, u32)]) -> Result<(), Error> {
        for some in pairs.chunks(COPIED) {
            let mut pairs = [[0; 2]; COPIED];
            pairs.iter_mut().zip(some).for_each(|(pair, (from, to))| *pair = [*from, *to]);
            let (count, block) = (some.len() as u32, cache.shape.block as u32);
            for layer in cache.layers() {
                let params = params::CopyBlocks { cache: layer, pairs, count, block };
                self.device.launch([layer.heads as usize, 1, 1], 0, params)?;
            }
        }
        Ok(())
    }

    fn read(&self, buffer: &Buffer<D>, range: Range<usize>) -> Result<Vec<f32>, Error> {
        if buffer.rounded {
            return self.device.read_rounded(buffer, range);
        }
        let mut values = vec![0.0; range.len()];
        self.device.read(buffer, range.start, &mut values)?;
        Ok(values)
    }

    fn write(&self, values: &[f32], buffer: &mut Buffer<D>) -> Result<(), Error> {
        buffer.rounded = false;
        self.device.write(buffer, values)
    }
}
