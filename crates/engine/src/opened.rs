//! A model's files, opened and understood, not yet loaded.

use std::cell::Cell;
use std::thread::available_parallelism;

use plimsoll_backend::{Backend, Model, TensorSource};
use plimsoll_formats::blocks::BlockType;
use plimsoll_formats::{NamedFile, Recipe, TensorView, Weights};
use plimsoll_lock::{Described, Digest, Load, Quantize, RecipeId, Verified};
use plimsoll_model::TensorId;

use crate::export::derived_from;
use crate::quantized::Quantized;
use crate::{
    Bundle, Checkpoint, Defaults, Error, KvCache, Local, ModelInfo, Options, Runner, Scores, Sizes, Text, assets, score,
};

/// Text whose token ids the lock records: words, case, numbers, punctuation, white space, other scripts.
pub(crate) const PROBE: &str =
    "The quick brown fox didn't jump over 12345 lazy dogs!\n\n\tÜber café, naïve 東京 Привет 🙂  {\"a\": [1, 2.5]}";

/// Told of loading: bytes of weights read, and all there are.
pub type Progress<'a> = &'a dyn Fn(u64, u64);

/// A model on disk with everything known of it but its weights' values.
///
/// Made from [`Verified`] files only; the backend packs the very bytes that were hashed.
#[derive(Debug)]
pub struct Opened {
    verified: Verified,
    checkpoint: Checkpoint,
    text: Text,
    defaults: Defaults,
    /// How the weights are quantized while they are loaded.
    recipe: Option<&'static Recipe>,
}

/// Maps the weight files of a model through their verified descriptors, and reads the small ones.
///
/// # Errors
/// Whatever is wrong with the files.
pub fn open_weights(verified: &Verified) -> Result<Weights, Error> {
    let duplicate = |file: &plimsoll_lock::VerifiedFile| {
        let io = |source| plimsoll_formats::Error::Io { file: file.path.clone(), source };
        Ok(NamedFile { name: file.path.clone(), file: file.file.try_clone().map_err(io)? })
    };
    let files = verified.files().iter().map(duplicate).collect::<Result<_, plimsoll_formats::Error>>()?;
    Ok(Weights::open(files)?)
}

impl Opened {
    /// Reads configuration, tokenizer, template and defaults.
    ///
    /// # Errors
    /// Whatever makes the model unusable.
    pub fn new(verified: Verified) -> Result<Self, Error> {
        let weights = open_weights(&verified)?;
        let (text, defaults) = (Text::open(&weights)?, assets::defaults(&weights)?);
        defaults.validate()?;
        let recipe = verified.quantize().map(|name| recipe(&verified, name)).transpose()?;
        Ok(Self { checkpoint: Checkpoint::new(weights)?, verified, text, defaults, recipe })
    }

    /// Its tokenizer, chat template and end tokens.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// Its weights and their description.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// How its weights are quantized while they are loaded; none loads them as they are.
    pub fn recipe(&self) -> Option<&'static Recipe> {
        self.recipe
    }

    pub(crate) fn verified(&self) -> &Verified {
        &self.verified
    }

    pub(crate) fn defaults(&self) -> &Defaults {
        &self.defaults
    }

    /// What the lock records of it besides its files. For a model that is quantized while it is loaded all weights are
    /// read and quantized, on every core; `progress` is told.
    ///
    /// # Errors
    /// A probe text that cannot be tokenized; weights that cannot be quantized.
    pub fn describe(&self, progress: Progress<'_>) -> Result<Described, Error> {
        let probe = self.text.encode(&crate::Prompt::Text(PROBE.into()))?;
        let ids: Vec<u8> = probe.iter().flat_map(|id| id.to_le_bytes()).collect();
        let Defaults { do_sample, temperature, top_k, top_p, min_p, repetition_penalty } = &self.defaults;
        let generation = serde_json::json!({
            "end": self.text.end().iter().collect::<Vec<u32>>(),
            "do_sample": do_sample,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "repetition_penalty": repetition_penalty,
        });
        Ok(Described {
            family: self.checkpoint.family().name.into(),
            derived_from: derived_from(self.checkpoint.weights())?,
            template: self.template(),
            tokens: Digest::of(&ids),
            generation: Digest::of(generation.to_string().as_bytes()),
            load: self.load(progress)?,
        })
    }

    /// What the recipe makes of the weights.
    fn load(&self, progress: Progress<'_>) -> Result<Option<Load>, Error> {
        let Some((recipe, name)) = self.recipe.zip(self.verified.quantize()) else { return Ok(None) };
        let counted = Counted::new(&self.checkpoint, progress);
        let threads = available_parallelism().map_or(1, usize::from);
        let result = Quantized::new(&self.checkpoint, &counted, recipe, threads)?.result()?;
        Ok(Some(Load { recipe: RecipeId { name, version: recipe.version }, result }))
    }

    /// Over the template of a conversation without tools and the one with, which are mostly the same; none for a base
    /// model.
    fn template(&self) -> Option<Digest> {
        let templates = self.text.templates();
        let (plain, tools) = (templates.source(false).ok()?, templates.source(true).ok()?);
        let both = format!("{plain}\0{tools}");
        Some(Digest::of(if plain == tools { plain } else { &both }.as_bytes()))
    }

    /// What it is on a backend.
    pub fn info<B: Backend>(&self, backend: &B) -> ModelInfo {
        let decoder = self.checkpoint.decoder();
        ModelInfo {
            name: self.verified.name().into(),
            family: self.checkpoint.family().name.into(),
            context: decoder.context,
            vocab: decoder.vocab,
            parameters: decoder.params() as u64,
            backend: backend.name().into(),
            placement: backend.placement(decoder),
            lock_digest: self.verified.digest().map(|digest| digest.to_string()),
            unlocked: self.verified.is_unlocked(),
        }
    }

    /// Loads the weights and starts an engine thread with a KV cache of at most `kv_bytes`; by default of eight full contexts
    /// within 1 GiB, and fewer where the backend's memory holds no more.
    ///
    /// # Errors
    /// What the backend lacks or refuses, a model too large for its memory before anything is loaded; files that changed while they were read; impossible options.
    pub fn start<B: Backend>(
        self,
        backend: B,
        kv_bytes: Option<u64>,
        options: Options,
        progress: Progress<'_>,
    ) -> Result<Local, Error> {
        options.validate()?;
        let sizes = Sizes::serving(kv_bytes, &options);
        let (cache, info) = (self.cache(&backend, sizes)?, self.info(&backend));
        let runner = self.runner(backend, cache, sizes, progress)?;
        let Self { text, defaults, .. } = self;
        Local::new(runner, Bundle { info, text, defaults, cache }, options)
    }

    /// Loads the weights and scores sequences, one after the other.
    ///
    /// # Errors
    /// As for [`start`](Self::start) and [`score`].
    pub fn score<B: Backend>(
        &self,
        backend: B,
        sequences: &[Vec<u32>],
        top: usize,
        progress: Progress<'_>,
    ) -> Result<Vec<Scores>, Error> {
        let context = self.checkpoint.decoder().context;
        let longest = sequences.iter().map(Vec::len).max().unwrap_or(0);
        if longest > context {
            return Err(Error::invalid("ids", format!("{longest} tokens"), format!("at most {context}, the context")));
        }
        let sizes = Sizes::scoring(sequences);
        let cache = self.cache(&backend, sizes)?;
        let mut runner = self.runner(backend, cache, sizes, progress)?;
        sequences.iter().map(|ids| score(&mut runner, cache, ids, sizes.tokens, top)).collect()
    }

    pub(crate) fn runner<B: Backend>(
        &self,
        backend: B,
        cache: KvCache,
        sizes: Sizes,
        progress: Progress<'_>,
    ) -> Result<Runner<B>, Error> {
        let (decoder, source) = (self.checkpoint.decoder().clone(), Counted::new(&self.checkpoint, progress));
        let model = match self.recipe {
            None => Model::load(backend, decoder, &source)?,
            Some(recipe) => {
                let quantized = Quantized::new(&self.checkpoint, &source, recipe, backend.threads())?;
                let model = Model::load(backend, decoder, &quantized)?;
                self.verified.check_result(quantized.result()?)?;
                model
            }
        };
        self.verified.check_unchanged()?;
        Runner::new(model, cache, sizes.tokens, sizes.outputs)
    }
}

/// The recipe of a name, if it is what the lock was made with.
fn recipe(verified: &Verified, name: Quantize) -> Result<&'static Recipe, Error> {
    let known = || plimsoll_formats::RECIPES.iter().map(|recipe| recipe.name).collect::<Vec<_>>().join(", ");
    let recipe = Recipe::find(name.as_str()).ok_or_else(|| Error::invalid("quantize", name, known()))?;
    verified.check_recipe(RecipeId { name, version: recipe.version })?;
    Ok(recipe)
}

/// A checkpoint that tells how much of it has been read.
pub(crate) struct Counted<'a> {
    checkpoint: &'a Checkpoint,
    progress: Progress<'a>,
    done: Cell<u64>,
    total: u64,
}

impl<'a> Counted<'a> {
    pub(crate) fn new(checkpoint: &'a Checkpoint, progress: Progress<'a>) -> Self {
        let tensors = checkpoint.decoder().tensors();
        let bytes = |id: TensorId| checkpoint.tensor(id).map_or(0, |view| view.data.len() as u64);
        Self { checkpoint, progress, done: Cell::new(0), total: tensors.into_iter().map(|(id, _)| bytes(id)).sum() }
    }
}

impl TensorSource for Counted<'_> {
    fn tensor(&self, id: TensorId) -> Result<TensorView<'_>, plimsoll_formats::Error> {
        let view = self.checkpoint.tensor(id)?;
        // A matrix that is embedding and head may be read twice, by backends that share the model.
        self.done.set(self.total.min(self.done.get() + view.data.len() as u64));
        (self.progress)(self.done.get(), self.total);
        Ok(view)
    }

    fn block(&self, id: TensorId) -> Result<&'static BlockType, plimsoll_formats::Error> {
        self.checkpoint.block(id)
    }

    fn release(&self, view: TensorView<'_>) {
        self.checkpoint.release(view);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lock knows the names, `formats` what they do.
    #[test]
    fn every_recipe_can_be_locked() {
        let names: Vec<_> = plimsoll_formats::RECIPES.iter().map(|recipe| recipe.name).collect();
        assert_eq!(Quantize::all().map(Quantize::as_str).collect::<Vec<_>>(), names);
    }
}
