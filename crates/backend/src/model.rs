//! The shape-checked face of a backend.

use std::ops::Range;

use plimsoll_model::{Decoder, Gqa, Mixer, Mlp};

use crate::{Backend, CacheShape, Error, Half, Plan, Projection, TensorSource, Top};

/// A model loaded on a backend. Each op is described at [`Backend`].
pub struct Model<B: Backend> {
    inner: B::Model,
    decoder: Decoder,
    backend: B,
}

/// Activations, `[rows, width]`.
pub struct Buffer<B: Backend> {
    rows: usize,
    width: usize,
    inner: B::Buffer,
}

/// A paged KV cache.
pub struct Cache<B: Backend> {
    shape: CacheShape,
    inner: B::Cache,
}

/// A plan on the device, and room for others.
pub struct Batch<B: Backend> {
    /// Of the plan.
    tokens: usize,
    outputs: usize,
    /// Tokens and outputs at most.
    room: (usize, usize),
    inner: B::Batch,
}

impl<B: Backend> Buffer<B> {
    fn expect(&self, what: &str, rows: usize, width: usize) -> Result<(), Error> {
        if self.rows >= rows && self.width == width {
            return Ok(());
        }
        Err(Error::shape(what, format!("[{}, {}]", self.rows, self.width), format!("[at least {rows}, {width}]")))
    }
}

impl<B: Backend> Model<B> {
    /// Checks the description and packs the weights.
    pub fn load(backend: B, decoder: Decoder, source: &dyn TensorSource) -> Result<Self, Error> {
        decoder.check().map_err(|e| Error::shape("model description", e, "a model that can be run"))?;
        let inner = backend.load(&decoder, source)?;
        Ok(Self { backend, decoder, inner })
    }

    /// The description.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// The backend.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// An empty cache.
    pub fn cache(&self, shape: CacheShape) -> Result<Cache<B>, Error> {
        if shape.block == 0 || shape.blocks == 0 || shape.blocks > u32::MAX as usize {
            return Err(Error::shape("cache", format!("{shape:?}"), "at least one block of at least one position"));
        }
        Ok(Cache { shape, inner: self.backend.cache(&self.decoder, shape)? })
    }

    /// A buffer of zeros.
    pub fn buffer(&self, rows: usize, width: usize) -> Result<Buffer<B>, Error> {
        Ok(Buffer { rows, width, inner: self.backend.buffer(rows, width)? })
    }

    /// Room for plans of at most so many tokens and outputs, on one cache.
    pub fn batch(&self, tokens: usize, outputs: usize, cache: &Cache<B>) -> Result<Batch<B>, Error> {
        let inner = self.backend.batch(&self.inner, tokens, outputs, cache.shape)?;
        Ok(Batch { tokens: 0, outputs: 0, room: (tokens, outputs), inner })
    }

    /// Checks a plan against model and cache and puts it on the device.
    pub fn upload(&self, plan: &Plan, cache: &Cache<B>, batch: &mut Batch<B>) -> Result<(), Error> {
        plan.check(self.decoder.vocab, self.decoder.context, cache.shape)?;
        let (found, room) = ((plan.tokens.len(), plan.outputs.len()), batch.room);
        if found.0 > room.0 || found.1 > room.1 {
            let expected = format!("at most {} and {}", room.0, room.1);
            return Err(Error::shape("tokens and outputs of a step", format!("{} and {}", found.0, found.1), expected));
        }
        (batch.tokens, batch.outputs) = found;
        self.backend.upload(&self.inner, plan, cache.shape, &mut batch.inner)
    }

    /// See [`Backend::step`].
    pub fn step(&self, batch: &Batch<B>, mut record: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
        self.backend.step(&batch.inner, &mut record)
    }

    /// See [`Backend::embed`].
    pub fn embed(&self, batch: &Batch<B>, x: &mut Buffer<B>) -> Result<(), Error> {
        x.expect("x", batch.tokens, self.decoder.width)?;
        self.backend.embed(&self.inner, &batch.inner, &mut x.inner)
    }

    /// See [`Backend::attention_inputs`].
    pub fn attention_inputs(
        &self,
        layer: usize,
        batch: &Batch<B>,
        x: &Buffer<B>,
        cache: &mut Cache<B>,
        q: &mut Buffer<B>,
    ) -> Result<(), Error> {
        x.expect("x", batch.tokens, self.decoder.width)?;
        q.expect("q", batch.tokens, self.gqa(layer)?.q_width())?;
        self.backend.attention_inputs(&self.inner, layer, &batch.inner, &x.inner, &mut cache.inner, &mut q.inner)
    }

    /// See [`Backend::attend`].
    pub fn attend(
        &self,
        layer: usize,
        batch: &Batch<B>,
        cache: &Cache<B>,
        q: &Buffer<B>,
        y: &mut Buffer<B>,
    ) -> Result<(), Error> {
        let width = self.gqa(layer)?.q_width();
        q.expect("q", batch.tokens, width)?;
        y.expect("y", batch.tokens, width)?;
        self.backend.attend(&self.inner, layer, &batch.inner, &cache.inner, &q.inner, &mut y.inner)
    }

    /// See [`Backend::project_add`].
    pub fn project_add(
        &self,
        projection: Projection,
        batch: &Batch<B>,
        y: &Buffer<B>,
        x: &mut Buffer<B>,
    ) -> Result<(), Error> {
        let width = match projection.half {
            Half::Mixer => self.gqa(projection.layer)?.q_width(),
            Half::Mlp => self.inner_width(projection.layer)?,
        };
        y.expect("y", batch.tokens, width)?;
        x.expect("x", batch.tokens, self.decoder.width)?;
        self.backend.project_add(&self.inner, projection, &batch.inner, &y.inner, &mut x.inner)
    }

    /// See [`Backend::mlp_inputs`].
    pub fn mlp_inputs(&self, layer: usize, batch: &Batch<B>, x: &Buffer<B>, h: &mut Buffer<B>) -> Result<(), Error> {
        x.expect("x", batch.tokens, self.decoder.width)?;
        h.expect("h", batch.tokens, self.inner_width(layer)?)?;
        self.backend.mlp_inputs(&self.inner, layer, &batch.inner, &x.inner, &mut h.inner)
    }

    /// See [`Backend::logits`].
    pub fn logits(&self, batch: &Batch<B>, x: &Buffer<B>, out: &mut Buffer<B>) -> Result<(), Error> {
        x.expect("x", batch.tokens, self.decoder.width)?;
        out.expect("logits", batch.outputs, self.decoder.vocab)?;
        self.backend.logits(&self.inner, &batch.inner, &x.inner, &mut out.inner)
    }

    /// See [`Backend::find_top`].
    pub fn find_top(&self, batch: &Batch<B>, logits: &Buffer<B>) -> Result<(), Error> {
        logits.expect("logits", batch.outputs, self.decoder.vocab)?;
        self.backend.find_top(&self.inner, &batch.inner, &logits.inner)
    }

    /// See [`Backend::top`].
    pub fn top(&self, batch: &Batch<B>) -> Result<Option<Vec<Top>>, Error> {
        self.backend.top(&batch.inner)
    }

    /// See [`Backend::copy_blocks`].
    pub fn copy_blocks(&self, cache: &mut Cache<B>, pairs: &[(u32, u32)]) -> Result<(), Error> {
        let blocks = cache.shape.blocks;
        match pairs.iter().find(|(from, to)| *from as usize >= blocks || *to as usize >= blocks) {
            Some(pair) => Err(Error::shape("copied blocks", format!("{pair:?}"), format!("less than {blocks}"))),
            None => self.backend.copy_blocks(&mut cache.inner, pairs),
        }
    }

    /// Rows of a buffer.
    pub fn read(&self, buffer: &Buffer<B>, rows: Range<usize>) -> Result<Vec<f32>, Error> {
        buffer.expect("buffer", rows.end, buffer.width)?;
        self.backend.read(&buffer.inner, rows.start * buffer.width..rows.end * buffer.width)
    }

    /// Sets the first rows of a buffer.
    pub fn write(&self, values: &[f32], buffer: &mut Buffer<B>) -> Result<(), Error> {
        if values.len() > buffer.rows * buffer.width {
            let expected = format!("at most {} * {}", buffer.rows, buffer.width);
            return Err(Error::shape("values", values.len(), expected));
        }
        self.backend.write(values, &mut buffer.inner)
    }

    fn gqa(&self, layer: usize) -> Result<&Gqa, Error> {
        let Mixer::Gqa(gqa) = &self.layer(layer)?.mixer;
        Ok(gqa)
    }

    fn inner_width(&self, layer: usize) -> Result<usize, Error> {
        let Mlp::Dense(ffn) = &self.layer(layer)?.mlp;
        Ok(ffn.width)
    }

    fn layer(&self, layer: usize) -> Result<&plimsoll_model::Layer, Error> {
        let layers = &self.decoder.layers;
        layers.get(layer).ok_or_else(|| Error::shape("layer", layer, format!("less than {}", layers.len())))
    }
}
