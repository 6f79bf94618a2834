//! What every description must satisfy before anything is computed or allocated from it.

use crate::{Decoder, Ends, Error, Layer, Mixer, Mlp, Norm, Rope, Scaling, Span};

/// Largest sizes taken seriously; products of any few stay far inside 64 bits.
const LAYERS: usize = 4096;
const WIDTH: usize = 1 << 20;
const HEAD_DIM: usize = 1 << 12;
const VOCAB: usize = 1 << 24;
const CONTEXT: usize = 1 << 28;

impl Decoder {
    /// Refuses a description that no model can have.
    pub fn check(&self) -> Result<(), Error> {
        within("vocabulary", self.vocab, VOCAB)?;
        within("width", self.width, WIDTH)?;
        within("context length", self.context, CONTEXT)?;
        within("layers", self.layers.len(), LAYERS)?;
        if self.ends != Ends::BOTH {
            return Err(Error::invalid("ends of the model", format!("{:?}", self.ends), "both"));
        }
        self.norm.check()?;
        self.layers.iter().try_for_each(Layer::check)
    }
}

impl Layer {
    /// As many layers of this kind as `field` says; a count out of range is refused before anything is allocated.
    pub(crate) fn repeat(self, field: &str, layers: usize) -> Result<Vec<Layer>, Error> {
        within(field, layers, LAYERS)?;
        self.check()?;
        Ok(vec![self; layers])
    }

    fn check(&self) -> Result<(), Error> {
        self.norm.check()?;
        let Mixer::Gqa(gqa) = &self.mixer;
        within("heads", gqa.heads, WIDTH)?;
        within("kv_heads", gqa.kv_heads, WIDTH)?;
        within("head_dim", gqa.head_dim, HEAD_DIM)?;
        within("heads * head_dim", gqa.heads * gqa.head_dim, WIDTH)?;
        if !gqa.heads.is_multiple_of(gqa.kv_heads) {
            return Err(Error::invalid("heads", gqa.heads, format!("a multiple of kv_heads, {}", gqa.kv_heads)));
        }
        positive("attention scale", gqa.scale)?;
        if let Span::Window(window) = gqa.span {
            within("window", window, CONTEXT)?;
        }
        if let Some(rope) = &gqa.rope {
            rope.check(gqa.head_dim)?;
        }
        let Mlp::Dense(ffn) = &self.mlp;
        within("intermediate size", ffn.width, VOCAB)
    }
}

impl Rope {
    fn check(&self, head_dim: usize) -> Result<(), Error> {
        if self.dim == 0 || !self.dim.is_multiple_of(2) || self.dim > head_dim {
            let expected = format!("even, at least 2 and at most head_dim, {head_dim}");
            return Err(Error::invalid("rotated dimensions", self.dim, expected));
        }
        positive("rope theta", self.theta)?;
        self.scaling.check(self.dim / 2)?;
        if self.table().inv_freq.iter().any(|freq| !freq.is_finite()) {
            return Err(Error::invalid("rope scaling", "a frequency that is not finite", "finite frequencies"));
        }
        Ok(())
    }
}

impl Scaling {
    fn check(&self, frequencies: usize) -> Result<(), Error> {
        let numbers = match self {
            Self::None => vec![],
            Self::Linear { factor } => vec![*factor],
            Self::Llama3 { factor, low, high, original } => vec![*factor, *low, *high, *original],
            Self::Yarn { factor, original, beta_fast, beta_slow, cos_scale, truncate: _ } => {
                vec![*factor, *original, *beta_fast, *beta_slow, *cos_scale]
            }
            Self::Factors(factors) if factors.len() != frequencies => {
                return Err(Error::invalid("rope factors", factors.len(), format!("{frequencies} values")));
            }
            Self::Factors(factors) => factors.clone(),
        };
        numbers.into_iter().try_for_each(|number| positive("a number of the rope scaling", number))
    }
}

impl Norm {
    fn check(&self) -> Result<(), Error> {
        let Norm::Rms { eps } = self;
        if eps.is_finite() && *eps >= 0.0 { Ok(()) } else { Err(Error::invalid("norm eps", eps, "a small number")) }
    }
}

fn within(field: &str, found: usize, most: usize) -> Result<(), Error> {
    if (1..=most).contains(&found) { Ok(()) } else { Err(Error::invalid(field, found, format!("1 to {most}"))) }
}

fn positive(field: &str, found: f32) -> Result<(), Error> {
    if found > 0.0 && found.is_finite() { Ok(()) } else { Err(Error::invalid(field, found, "a positive number")) }
}
