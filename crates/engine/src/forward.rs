//! The forward pass: the same for every family and every backend.

use std::collections::BTreeSet;

use plimsoll_backend::{Backend, Batch, Buffer, Cache, Error, Half, Model, Projection};
use plimsoll_model::{Decoder, Layer, Mixer, Mlp, Residual};

/// Activations of one step, allocated once.
pub(crate) struct Scratch<B: Backend> {
    /// Residual stream, `[T, width]`.
    x: Buffer<B>,
    /// Queries and what attention gives for them, `[T, heads * head_dim]`, one pair per width in the model.
    attention: PerWidth<(Buffer<B>, Buffer<B>)>,
    /// Inside of the MLP, `[T, inner width]`.
    hidden: PerWidth<Buffer<B>>,
    /// `[R, vocab]`
    pub(crate) logits: Buffer<B>,
}

/// Buffers by the width they have; layers of one width share them.
struct PerWidth<T>(Vec<(usize, T)>);

impl<T> PerWidth<T> {
    fn new(widths: Vec<usize>, make: impl Fn(usize) -> Result<T, Error>) -> Result<Self, Error> {
        Ok(Self(widths.into_iter().map(|width| Ok((width, make(width)?))).collect::<Result<_, Error>>()?))
    }

    fn of(&mut self, width: usize) -> Result<&mut T, Error> {
        let found = self.0.iter_mut().find(|(own, _)| *own == width).map(|(_, buffers)| buffers);
        found.ok_or_else(|| Error::Shape {
            what: "layer width".into(),
            found: width.to_string(),
            expected: "a width of this model".into(),
        })
    }
}

impl<B: Backend> Scratch<B> {
    /// Room for steps of at most `tokens` tokens and `outputs` rows of logits.
    pub(crate) fn new(model: &Model<B>, tokens: usize, outputs: usize) -> Result<Self, Error> {
        let Decoder { width, vocab, layers, .. } = model.decoder();
        let buffer = |width| model.buffer(tokens, width);
        Ok(Self {
            x: buffer(*width)?,
            attention: PerWidth::new(q_widths(layers), |width| Ok((buffer(width)?, buffer(width)?)))?,
            hidden: PerWidth::new(inner_widths(layers), buffer)?,
            logits: model.buffer(outputs, *vocab)?,
        })
    }
}

/// Rows and width of every buffer of [`Scratch`].
pub(crate) fn buffers(decoder: &Decoder, tokens: usize, outputs: usize) -> Vec<(usize, usize)> {
    let (q, inner) = (q_widths(&decoder.layers), inner_widths(&decoder.layers));
    let widths = [&[decoder.width], &q[..], &q[..], &inner[..]].concat();
    widths.into_iter().map(|width| (tokens, width)).chain([(outputs, decoder.vocab)]).collect()
}

fn distinct(widths: impl Iterator<Item = usize>) -> Vec<usize> {
    widths.collect::<BTreeSet<_>>().into_iter().collect()
}

fn q_widths(layers: &[Layer]) -> Vec<usize> {
    distinct(layers.iter().map(|layer| q_width(&layer.mixer)))
}

fn inner_widths(layers: &[Layer]) -> Vec<usize> {
    distinct(layers.iter().map(|layer| inner_width(&layer.mlp)))
}

fn q_width(mixer: &Mixer) -> usize {
    let Mixer::Gqa(gqa) = mixer;
    gqa.q_width()
}

fn inner_width(mlp: &Mlp) -> usize {
    let Mlp::Dense(ffn) = mlp;
    ffn.width
}

/// One step: tokens to logits, new keys and values appended to the cache.
pub(crate) fn forward<B: Backend>(
    model: &Model<B>,
    batch: &Batch<B>,
    cache: &mut Cache<B>,
    scratch: &mut Scratch<B>,
) -> Result<(), Error> {
    let Scratch { x, attention, hidden, logits } = scratch;
    model.embed(batch, x)?;
    for (i, layer) in model.decoder().layers.iter().enumerate() {
        let (q, y) = attention.of(q_width(&layer.mixer))?;
        let h = hidden.of(inner_width(&layer.mlp))?;
        match layer.residual {
            // The norms of a sandwich are inside `project_add`.
            Residual::PreNorm | Residual::Sandwich => {
                model.attention_inputs(i, batch, x, cache, q)?;
                model.attend(i, batch, cache, q, y)?;
                model.project_add(Projection { layer: i, half: Half::Mixer }, batch, y, x)?;
                model.mlp_inputs(i, batch, x, h)?;
                model.project_add(Projection { layer: i, half: Half::Mlp }, batch, h, x)?;
            }
        }
    }
    model.logits(batch, x, logits)?;
    model.find_top(batch, logits)
}
