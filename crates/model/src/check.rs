//! What every description must satisfy before anything is computed or allocated from it.

use crate::{Decoder, Error, Layer, Mixer, Mlp, Norm};

/// Largest sizes taken seriously; products of any few stay far inside 64 bits.
const LAYERS: usize = 4096;
const WIDTH: usize = 1 << 20;
const VOCAB: usize = 1 << 24;
const CONTEXT: usize = 1 << 28;

impl Decoder {
    /// The layer count, refused before a description is allocated for it.
    pub(crate) fn check_layers(field: &str, layers: usize) -> Result<usize, Error> {
        within(field, layers, LAYERS)?;
        Ok(layers)
    }

    /// Refuses a description that no model can have.
    pub fn check(&self) -> Result<(), Error> {
        within("vocabulary", self.vocab, VOCAB)?;
        within("width", self.width, WIDTH)?;
        within("context length", self.context, CONTEXT)?;
        within("layers", self.layers.len(), LAYERS)?;
        self.norm.check()?;
        self.layers.iter().try_for_each(Layer::check)
    }
}

impl Layer {
    fn check(&self) -> Result<(), Error> {
        self.norm.check()?;
        let Mixer::Gqa(gqa) = &self.mixer;
        within("heads", gqa.heads, WIDTH)?;
        within("kv_heads", gqa.kv_heads, WIDTH)?;
        within("head_dim", gqa.head_dim, WIDTH)?;
        within("heads * head_dim", gqa.heads * gqa.head_dim, WIDTH)?;
        if gqa.heads % gqa.kv_heads != 0 {
            return Err(Error::invalid("heads", gqa.heads, format!("a multiple of kv_heads, {}", gqa.kv_heads)));
        }
        if let Some(rope) = &gqa.rope {
            if rope.dim == 0 || rope.dim % 2 != 0 || rope.dim > gqa.head_dim {
                let expected = format!("even, at least 2 and at most head_dim, {}", gqa.head_dim);
                return Err(Error::invalid("rotated dimensions", rope.dim, expected));
            }
            if !(rope.theta > 0.0 && rope.theta.is_finite()) {
                return Err(Error::invalid("rope theta", rope.theta, "a positive number"));
            }
            if let crate::Scaling::Factors(factors) = &rope.scaling
                && factors.len() != rope.dim / 2
            {
                return Err(Error::invalid("rope factors", factors.len(), format!("{} values", rope.dim / 2)));
            }
            if rope.table().inv_freq.iter().any(|freq| !freq.is_finite()) {
                return Err(Error::invalid("rope scaling", "a frequency that is not finite", "finite frequencies"));
            }
        }
        let Mlp::Dense(ffn) = &self.mlp;
        within("intermediate size", ffn.width, VOCAB)
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
