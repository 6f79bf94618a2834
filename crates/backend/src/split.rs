//! Two backends that share a model: the layers that do not fit one run on the other.

use std::cell::Cell;
use std::ops::Range;

use plimsoll_formats::blocks::BlockType;
use plimsoll_formats::{Error as FormatError, TensorView};
use plimsoll_model::{Decoder, TensorId};

use crate::{Backend, CacheShape, Error, Fit, Half, Plan, Projection, Room, TensorSource, Top};

/// One backend has the embedding and the first layers, another the last layers and the head.
///
/// Each loads its own tensors only, and keeps the cache of its own layers. Buffers are there twice. The residual stream is
/// carried over once a step, behind the last layer of the first: it is read, and written to the second.
pub struct Split<A, B> {
    first: A,
    last: B,
    /// How many layers the first has.
    layers: usize,
    /// Whose ops are run; those of both outside of a step.
    turn: Cell<Option<Side>>,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    First,
    Last,
}

/// A model's slices.
pub struct SplitModel<A, B> {
    first: A,
    last: B,
    /// Of the residual stream.
    width: usize,
}

/// A plan on both.
pub struct SplitBatch<A, B> {
    first: A,
    last: B,
    tokens: usize,
}

/// Activations on both.
pub struct SplitBuffer<A, B> {
    first: A,
    last: B,
    /// Who has written them.
    side: Side,
}

/// The tensors of the layers behind so many, counted from 0 again.
struct Behind<'a> {
    source: &'a dyn TensorSource,
    layers: usize,
}

impl Behind<'_> {
    /// Of the whole model.
    fn id(&self, id: TensorId) -> TensorId {
        TensorId { layer: id.layer.map(|layer| layer + self.layers), ..id }
    }
}

impl TensorSource for Behind<'_> {
    fn tensor(&self, id: TensorId) -> Result<TensorView<'_>, FormatError> {
        self.source.tensor(self.id(id))
    }

    fn block(&self, id: TensorId) -> Result<&'static BlockType, FormatError> {
        self.source.block(self.id(id))
    }

    fn release(&self, view: TensorView<'_>) {
        self.source.release(view);
    }
}

impl<A: Backend, B: Backend> Split<A, B> {
    /// So many layers on `first`, and all behind them on `last`.
    pub fn new(first: A, last: B, layers: usize) -> Self {
        Self { first, last, layers, turn: Cell::new(None) }
    }

    /// The same two with another number of layers on the first.
    pub fn set_layers(&mut self, layers: usize) {
        self.layers = layers;
    }

    /// What each of them is given.
    fn slices(&self, decoder: &Decoder) -> (Decoder, Decoder) {
        let layers = self.layers.min(decoder.layers.len());
        (decoder.slice(0..layers), decoder.slice(layers..decoder.layers.len()))
    }

    /// Who runs a layer, and its number there.
    fn place(&self, layer: usize) -> (Side, usize) {
        match layer.checked_sub(self.layers) {
            None => (Side::First, layer),
            Some(layer) => (Side::Last, layer),
        }
    }

    /// Whether it is not this one's turn.
    fn skips(&self, side: Side) -> bool {
        self.turn.get().is_some_and(|turn| turn != side)
    }

    /// Runs `record` for the ops of one of them.
    fn on(&self, side: Side, record: &mut dyn FnMut() -> Result<(), Error>) -> Result<(), Error> {
        self.turn.set(Some(side));
        let result = record();
        self.turn.set(None);
        result
    }
}

impl<A: Backend, B: Backend> Backend for Split<A, B> {
    type Model = SplitModel<A::Model, B::Model>;
    type Cache = (A::Cache, B::Cache);
    type Batch = SplitBatch<A::Batch, B::Batch>;
    type Buffer = SplitBuffer<A::Buffer, B::Buffer>;

    /// Of the one that logits come from.
    fn name(&self) -> &'static str {
        self.last.name()
    }

    fn threads(&self) -> usize {
        self.first.threads().min(self.last.threads())
    }

    fn placement(&self, decoder: &Decoder) -> Option<String> {
        let (layers, rest) = (decoder.layers.len(), self.first.name());
        Some(format!("{} of {layers} layers; the rest on the {rest}", layers.saturating_sub(self.layers)))
    }

    /// Of the first that does not hold its part.
    fn fit(&self, decoder: &Decoder, source: &dyn TensorSource, room: Room<'_>) -> Result<Fit, Error> {
        let (first, last) = self.slices(decoder);
        let fit = self.first.fit(&first, source, room)?;
        if !fit.holds() {
            return Ok(fit);
        }
        self.last.fit(&last, &Behind { source, layers: self.layers }, room)
    }

    fn load(&self, decoder: &Decoder, source: &dyn TensorSource) -> Result<Self::Model, Error> {
        let layers = decoder.layers.len();
        if self.layers == 0 || self.layers >= layers {
            let expected = format!("1 to {}, so that both have some", layers.saturating_sub(1));
            return Err(Error::shape("layers of the first backend", self.layers, expected));
        }
        let (first, last) = self.slices(decoder);
        Ok(SplitModel {
            first: self.first.load(&first, source)?,
            last: self.last.load(&last, &Behind { source, layers: self.layers })?,
            width: decoder.width,
        })
    }

    fn block_bytes(&self, decoder: &Decoder, block: usize) -> usize {
        let (first, last) = self.slices(decoder);
        self.first.block_bytes(&first, block) + self.last.block_bytes(&last, block)
    }

    fn cache(&self, decoder: &Decoder, shape: CacheShape) -> Result<Self::Cache, Error> {
        let (first, last) = self.slices(decoder);
        Ok((self.first.cache(&first, shape)?, self.last.cache(&last, shape)?))
    }

    fn buffer(&self, rows: usize, width: usize) -> Result<Self::Buffer, Error> {
        let (first, last) = (self.first.buffer(rows, width)?, self.last.buffer(rows, width)?);
        Ok(SplitBuffer { first, last, side: Side::First })
    }

    fn batch(
        &self,
        model: &Self::Model,
        tokens: usize,
        outputs: usize,
        cache: CacheShape,
    ) -> Result<Self::Batch, Error> {
        let first = self.first.batch(&model.first, tokens, outputs, cache)?;
        Ok(SplitBatch { first, last: self.last.batch(&model.last, tokens, outputs, cache)?, tokens: 0 })
    }

    fn upload(
        &self,
        model: &Self::Model,
        plan: &Plan,
        cache: CacheShape,
        batch: &mut Self::Batch,
    ) -> Result<(), Error> {
        batch.tokens = plan.tokens.len();
        self.first.upload(&model.first, plan, cache, &mut batch.first)?;
        self.last.upload(&model.last, plan, cache, &mut batch.last)
    }

    /// The ops of one after those of the other. Those of the first are called in every step, since the host reads what they
    /// leave; the second may repeat its own.
    fn step(&self, batch: &Self::Batch, record: &mut dyn FnMut() -> Result<(), Error>) -> Result<(), Error> {
        self.on(Side::First, record)?;
        self.last.step(&batch.last, &mut || self.on(Side::Last, record))
    }

    fn embed(&self, model: &Self::Model, batch: &Self::Batch, x: &mut Self::Buffer) -> Result<(), Error> {
        if self.skips(Side::First) {
            return Ok(());
        }
        x.side = Side::First;
        self.first.embed(&model.first, &batch.first, &mut x.first)
    }

    fn attention_inputs(
        &self,
        model: &Self::Model,
        layer: usize,
        batch: &Self::Batch,
        x: &Self::Buffer,
        cache: &mut Self::Cache,
        q: &mut Self::Buffer,
    ) -> Result<(), Error> {
        let (side, layer) = self.place(layer);
        if self.skips(side) {
            return Ok(());
        }
        q.side = side;
        let (a, b) = cache;
        match side {
            Side::First => self.first.attention_inputs(&model.first, layer, &batch.first, &x.first, a, &mut q.first),
            Side::Last => self.last.attention_inputs(&model.last, layer, &batch.last, &x.last, b, &mut q.last),
        }
    }

    fn attend(
        &self,
        model: &Self::Model,
        layer: usize,
        batch: &Self::Batch,
        cache: &Self::Cache,
        q: &Self::Buffer,
        y: &mut Self::Buffer,
    ) -> Result<(), Error> {
        let (side, layer) = self.place(layer);
        if self.skips(side) {
            return Ok(());
        }
        y.side = side;
        match side {
            Side::First => self.first.attend(&model.first, layer, &batch.first, &cache.0, &q.first, &mut y.first),
            Side::Last => self.last.attend(&model.last, layer, &batch.last, &cache.1, &q.last, &mut y.last),
        }
    }

    /// Behind the last op of the first backend, `x` is carried to the second.
    fn project_add(
        &self,
        model: &Self::Model,
        projection: Projection,
        batch: &Self::Batch,
        y: &Self::Buffer,
        x: &mut Self::Buffer,
    ) -> Result<(), Error> {
        let (side, layer) = self.place(projection.layer);
        if self.skips(side) {
            return Ok(());
        }
        x.side = side;
        let own = Projection { layer, ..projection };
        match side {
            Side::First => self.first.project_add(&model.first, own, &batch.first, &y.first, &mut x.first)?,
            Side::Last => self.last.project_add(&model.last, own, &batch.last, &y.last, &mut x.last)?,
        }
        if projection != (Projection { layer: self.layers - 1, half: Half::Mlp }) {
            return Ok(());
        }
        x.side = Side::Last;
        self.last.write(&self.first.read(&x.first, 0..batch.tokens * model.width)?, &mut x.last)
    }

    fn mlp_inputs(
        &self,
        model: &Self::Model,
        layer: usize,
        batch: &Self::Batch,
        x: &Self::Buffer,
        h: &mut Self::Buffer,
    ) -> Result<(), Error> {
        let (side, layer) = self.place(layer);
        if self.skips(side) {
            return Ok(());
        }
        h.side = side;
        match side {
            Side::First => self.first.mlp_inputs(&model.first, layer, &batch.first, &x.first, &mut h.first),
            Side::Last => self.last.mlp_inputs(&model.last, layer, &batch.last, &x.last, &mut h.last),
        }
    }

    fn logits(
        &self,
        model: &Self::Model,
        batch: &Self::Batch,
        x: &Self::Buffer,
        out: &mut Self::Buffer,
    ) -> Result<(), Error> {
        if self.skips(Side::Last) {
            return Ok(());
        }
        out.side = Side::Last;
        self.last.logits(&model.last, &batch.last, &x.last, &mut out.last)
    }

    fn find_top(&self, model: &Self::Model, batch: &Self::Batch, logits: &Self::Buffer) -> Result<(), Error> {
        if self.skips(Side::Last) {
            return Ok(());
        }
        self.last.find_top(&model.last, &batch.last, &logits.last)
    }

    fn top(&self, batch: &Self::Batch) -> Result<Option<Vec<Top>>, Error> {
        self.last.top(&batch.last)
    }

    fn copy_blocks(&self, cache: &mut Self::Cache, pairs: &[(u32, u32)]) -> Result<(), Error> {
        self.first.copy_blocks(&mut cache.0, pairs)?;
        self.last.copy_blocks(&mut cache.1, pairs)
    }

    fn read(&self, buffer: &Self::Buffer, values: Range<usize>) -> Result<Vec<f32>, Error> {
        match buffer.side {
            Side::First => self.first.read(&buffer.first, values),
            Side::Last => self.last.read(&buffer.last, values),
        }
    }

    fn write(&self, values: &[f32], buffer: &mut Self::Buffer) -> Result<(), Error> {
        self.first.write(values, &mut buffer.first)?;
        self.last.write(values, &mut buffer.last)
    }
}
