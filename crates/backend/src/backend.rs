//! The trait a backend implements.

use std::ops::Range;

use plimsoll_model::Decoder;

use crate::{CacheShape, Error, Fit, Plan, Room, TensorSource, Top};

/// The two halves of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The token mixer.
    Mixer,
    /// The channel mixer.
    Mlp,
}

/// The matrix at the end of half a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Projection {
    /// Layer, counted from 0.
    pub layer: usize,
    /// Which half of it.
    pub half: Half,
}

/// A compute backend: a few coarse ops over its own weights, buffers and cache.
///
/// Called through [`Model`](crate::Model) only, which has checked what the docs below promise: shapes, token ids, block
/// tables. `T` is the number of tokens in the batch, `D` the model's width. Buffers hold f32, row-major, and have room for
/// more rows than a batch needs. From `upload` to `read` no op touches host data.
pub trait Backend: Send + Sized + 'static {
    /// Packed weights.
    type Model: Send;
    /// Paged KV cache of all layers.
    type Cache: Send;
    /// A plan on the device.
    type Batch: Send;
    /// Activations, `[rows, width]`.
    type Buffer: Send;

    /// Name in messages.
    fn name(&self) -> &'static str;

    /// Threads of this machine that may prepare weights for [`load`](Self::load).
    fn threads(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// Which layers of a model run where, if not all in one place.
    fn placement(&self, _: &Decoder) -> Option<String> {
        None
    }

    /// Holds a model against the memory there is, by the block types of its tensors; nothing is loaded. By default the memory is
    /// the system's, and every model fits.
    fn fit(&self, _: &Decoder, _: &dyn TensorSource, _: Room<'_>) -> Result<Fit, Error> {
        Ok(Fit::unbounded(self.name()))
    }

    /// Packs the weights; what cannot be run is refused here. The description may be a [slice](Decoder::slice) of a model: then
    /// there are no others than its tensors, and it sees no [`embed`](Self::embed) or no [`logits`](Self::logits).
    fn load(&self, decoder: &Decoder, source: &dyn TensorSource) -> Result<Self::Model, Error>;

    /// Bytes one cache block of all layers takes.
    fn block_bytes(&self, decoder: &Decoder, block: usize) -> usize;

    /// An empty cache.
    fn cache(&self, decoder: &Decoder, shape: CacheShape) -> Result<Self::Cache, Error>;

    /// A buffer of `rows * width`.
    fn buffer(&self, rows: usize, width: usize) -> Result<Self::Buffer, Error>;

    /// Room for plans of at most so many tokens and outputs.
    fn batch(
        &self,
        model: &Self::Model,
        tokens: usize,
        outputs: usize,
        cache: CacheShape,
    ) -> Result<Self::Batch, Error>;

    /// Places tokens, positions and block tables where the device reads them.
    fn upload(&self, model: &Self::Model, plan: &Plan, cache: CacheShape, batch: &mut Self::Batch)
    -> Result<(), Error>;

    /// Runs the ops that `record` calls, from `embed` to `find_top`. With one batch they are the same in every step, on the same
    /// buffers and cache, so that a backend may repeat what it launched for a plan of the same size and not call `record`; or
    /// call it twice and run some of the ops each time.
    fn step(&self, _: &Self::Batch, record: &mut dyn FnMut() -> Result<(), Error>) -> Result<(), Error> {
        record()
    }

    /// `x = embedding[tokens] * embedding_scale`, `[T, D]`.
    fn embed(&self, model: &Self::Model, batch: &Self::Batch, x: &mut Self::Buffer) -> Result<(), Error>;

    /// `q, k, v = W norm(x) + b`, norm on heads and RoPE where the layer has them; k and v are appended to the cache and
    /// `q` is `[T, heads * head_dim]`.
    fn attention_inputs(
        &self,
        model: &Self::Model,
        layer: usize,
        batch: &Self::Batch,
        x: &Self::Buffer,
        cache: &mut Self::Cache,
        q: &mut Self::Buffer,
    ) -> Result<(), Error>;

    /// `y = softmax(q k^T * scale) v` over the sequence's cache, the keys its span allows; `[T, heads * head_dim]`.
    fn attend(
        &self,
        model: &Self::Model,
        layer: usize,
        batch: &Self::Batch,
        cache: &Self::Cache,
        q: &Self::Buffer,
        y: &mut Self::Buffer,
    ) -> Result<(), Error>;

    /// `x += post_norm(W y + b)`, the norm where the layer is a sandwich; `[T, D]`.
    fn project_add(
        &self,
        model: &Self::Model,
        projection: Projection,
        batch: &Self::Batch,
        y: &Self::Buffer,
        x: &mut Self::Buffer,
    ) -> Result<(), Error>;

    /// `h = act(W_gate norm(x)) * (W_up norm(x))`, `[T, inner width]`.
    fn mlp_inputs(
        &self,
        model: &Self::Model,
        layer: usize,
        batch: &Self::Batch,
        x: &Self::Buffer,
        h: &mut Self::Buffer,
    ) -> Result<(), Error>;

    /// Logits of the wanted rows: norm, head, scale and softcap; `[R, vocab]`.
    fn logits(
        &self,
        model: &Self::Model,
        batch: &Self::Batch,
        x: &Self::Buffer,
        out: &mut Self::Buffer,
    ) -> Result<(), Error>;

    /// Finds the largest logits of every output, for [`top`](Self::top) to read.
    fn find_top(&self, _: &Self::Model, _: &Self::Batch, _logits: &Self::Buffer) -> Result<(), Error> {
        Ok(())
    }

    /// What `find_top` found, `[R]`; none from a backend that leaves it to its caller.
    fn top(&self, _: &Self::Batch) -> Result<Option<Vec<Top>>, Error> {
        Ok(None)
    }

    /// Copies whole cache blocks `(from, to)`, in order.
    fn copy_blocks(&self, cache: &mut Self::Cache, pairs: &[(u32, u32)]) -> Result<(), Error>;

    /// A range of the values of a buffer, of whole rows.
    fn read(&self, buffer: &Self::Buffer, values: Range<usize>) -> Result<Vec<f32>, Error>;

    /// Sets the first values of a buffer.
    fn write(&self, values: &[f32], buffer: &mut Self::Buffer) -> Result<(), Error>;
}
