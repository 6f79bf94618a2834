//! How much of a model a device holds, decided before anything is loaded.

use std::ops::RangeInclusive;

use plimsoll_backend::{Backend, CacheShape, Fit, Room, Split};

use crate::forward::buffers;
use crate::quantized::Quantized;
use crate::{Error, KvCache, Opened, Options};

/// What a model is loaded for.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Tokens of a step at most.
    pub(crate) tokens: usize,
    /// Rows of logits of a step at most.
    pub(crate) outputs: usize,
    pub(crate) cache: CacheSize,
}

/// How large the KV cache is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CacheSize {
    /// Of so many bytes at most. By default eight full contexts within 1 GiB; where those do not fit fewer, down to one.
    Bytes(Option<u64>),
    Blocks(usize),
}

/// Where a model goes for which a device may be too small.
pub enum Placed<A, B> {
    /// All of it on the device.
    Whole(B),
    /// The last layers on the device.
    Shared(Split<A, B>),
}

impl Sizes {
    /// For [`Opened::start`].
    pub fn serving(kv_bytes: Option<u64>, options: &Options) -> Self {
        Self { tokens: options.step_tokens, outputs: options.outputs(), cache: CacheSize::Bytes(kv_bytes) }
    }

    /// For [`Opened::score`].
    pub fn scoring(sequences: &[Vec<u32>]) -> Self {
        const CHUNK: usize = 256;
        let longest = sequences.iter().map(Vec::len).max().unwrap_or(0);
        let blocks = longest.div_ceil(KvCache::BLOCK_TOKENS).max(1);
        Self { tokens: CHUNK, outputs: CHUNK, cache: CacheSize::Blocks(blocks) }
    }
}

impl Opened {
    /// All of the model on `device` if its memory holds it; else as many of the last layers as it holds, and the others on what
    /// `rest` makes.
    ///
    /// # Errors
    /// [`plimsoll_backend::Error::Memory`] if it does not hold a single layer; what `rest` says.
    pub fn place<A: Backend, B: Backend>(
        &self,
        device: B,
        rest: impl FnOnce() -> Result<A, plimsoll_backend::Error>,
        sizes: Sizes,
    ) -> Result<Placed<A, B>, Error> {
        let layers = self.checkpoint().decoder().layers.len();
        let (least, _) = self.caches(&device, sizes)?;
        if self.fit(&device, sizes, least)?.holds() {
            return Ok(Placed::Whole(device));
        }
        let mut split = Split::new(rest()?, device, layers);
        let mut on_device = |count: usize| {
            split.set_layers(layers - count);
            let (least, _) = self.caches(&split, sizes)?;
            self.fit(&split, sizes, least)
        };
        let most = largest(1..=layers - 1, |count| Ok(on_device(count)?.holds()))?;
        on_device(most.unwrap_or(1))?.check()?;
        Ok(Placed::Shared(split))
    }

    /// The largest KV cache that fits.
    ///
    /// # Errors
    /// [`plimsoll_backend::Error::Memory`] if none does.
    pub(crate) fn cache<B: Backend>(&self, backend: &B, sizes: Sizes) -> Result<KvCache, Error> {
        let (least, most) = self.caches(backend, sizes)?;
        let of = |blocks| KvCache { blocks, ..least };
        let fits = |blocks| Ok(self.fit(backend, sizes, of(blocks))?.holds());
        let cache = of(largest(least.blocks..=most.blocks, fits)?.unwrap_or(least.blocks));
        self.fit(backend, sizes, cache)?.check()?;
        Ok(cache)
    }

    /// The smallest and the largest cache that will do.
    fn caches<B: Backend>(&self, backend: &B, sizes: Sizes) -> Result<(KvCache, KvCache), Error> {
        let decoder = self.checkpoint().decoder();
        let block_bytes = backend.block_bytes(decoder, KvCache::BLOCK_TOKENS) as u64;
        let within = |bytes| KvCache::within(bytes, block_bytes.div_ceil(KvCache::BLOCK_TOKENS as u64));
        let contexts = |count: u64| {
            let context = decoder.context.div_ceil(KvCache::BLOCK_TOKENS) as u64;
            within(block_bytes.saturating_mul(context * count).min(1 << 30))
        };
        match sizes.cache {
            CacheSize::Bytes(Some(bytes)) => Ok((within(bytes)?, within(bytes)?)),
            CacheSize::Bytes(None) => Ok((contexts(1)?, contexts(8)?)),
            CacheSize::Blocks(blocks) => {
                let cache = KvCache { blocks, block_tokens: KvCache::BLOCK_TOKENS, block_bytes };
                Ok((cache, cache))
            }
        }
    }

    /// The model with a cache, held against a backend's memory.
    pub(crate) fn fit<B: Backend>(&self, backend: &B, sizes: Sizes, cache: KvCache) -> Result<Fit, Error> {
        let decoder = self.checkpoint().decoder();
        let buffers = buffers(decoder, sizes.tokens, sizes.outputs);
        let cache = CacheShape { blocks: cache.blocks, block: cache.block_tokens };
        let room = Room { cache, tokens: sizes.tokens, outputs: sizes.outputs, buffers: &buffers };
        let fit = match self.recipe() {
            None => backend.fit(decoder, self.checkpoint(), room),
            Some(recipe) => {
                backend.fit(decoder, &Quantized::new(self.checkpoint(), self.checkpoint(), recipe, 1)?, room)
            }
        };
        Ok(fit?)
    }
}

/// The largest number of a range that fits, where all below one that fits do so too.
fn largest(
    range: RangeInclusive<usize>,
    mut fits: impl FnMut(usize) -> Result<bool, Error>,
) -> Result<Option<usize>, Error> {
    let (mut least, mut most) = range.into_inner();
    if most < least || !fits(least)? {
        return Ok(None);
    }
    if fits(most)? {
        return Ok(Some(most));
    }
    while most - least > 1 {
        let middle = least.midpoint(most);
        if fits(middle)? {
            least = middle;
        } else {
            most = middle;
        }
    }
    Ok(Some(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_of_the_last_layers_as_fit() {
        const LAYERS: [u64; 6] = [9, 5, 5, 5, 3, 8];
        const HEAD: u64 = 10;
        let layers = |free: u64| {
            let takes = |count: usize| HEAD + LAYERS[LAYERS.len() - count..].iter().sum::<u64>();
            largest(1..=LAYERS.len(), |count| Ok(takes(count) <= free)).unwrap()
        };
        let cases =
            [(17, None), (18, Some(1)), (20, Some(1)), (21, Some(2)), (26, Some(3)), (44, Some(5)), (45, Some(6))];
        for (free, expected) in cases {
            assert_eq!(layers(free), expected, "{free}");
        }
    }

    #[test]
    fn nothing_of_nothing_fits() {
        assert_eq!(largest(RangeInclusive::new(1, 0), |_| Ok(true)).unwrap(), None);
        assert_eq!(largest(3..=3, |count| Ok(count < 4)).unwrap(), Some(3));
        assert!(largest(1..=2, |_| Err(Error::Stopped)).is_err());
    }
}
