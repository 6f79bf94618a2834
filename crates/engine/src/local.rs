//! A model on this machine.

use std::sync::Arc;

use crate::{
    Defaults, Error, Generate, Generation, Health, KvCache, ModelInfo, Options, Prompt, Request,
    draft::Drafter,
    reply::Reply,
    sampler::Sampler,
    scheduler::{Job, positions},
    step::Step,
    text::Text,
    thread::EngineThread,
};

/// What comes with a model besides its weights.
#[derive(Debug)]
pub struct Bundle {
    /// What the model is.
    pub info: ModelInfo,
    /// Its tokenizer, chat template and end-of-generation tokens.
    pub text: Text,
    /// What its publisher recommends.
    pub defaults: Defaults,
    /// The size of the cache its [`Step`] was built with.
    pub cache: KvCache,
}

/// A model on this machine, in a thread of its own.
///
/// Requests are batched. Dropping it ends every generation with [`Error::Stopped`], waits for the step in progress,
/// and returns all memory.
#[derive(Debug)]
pub struct Local {
    info: ModelInfo,
    text: Arc<Text>,
    defaults: Defaults,
    cache: KvCache,
    options: Options,
    thread: EngineThread<Reply>,
}

impl Local {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Error::Invalid`] for impossible options, generation defaults out of range and sizes that disagree;
    /// [`Error::Thread`] if the system gives no thread.
    pub fn new(model: impl Step + 'static, bundle: Bundle, options: Options) -> Result<Self, Error> {
        let Bundle { info, text, defaults, cache } = bundle;
        options.validate()?;
        cache.validate()?;
        defaults.validate()?;
        if info.vocab != model.vocab() || info.vocab == 0 {
            return Err(Error::invalid("vocab", info.vocab, format!("{}, the columns of the logits", model.vocab())));
        }
        if info.context < 2 {
            return Err(Error::invalid("context", info.context, "at least 2"));
        }
        let thread = EngineThread::start(model, options.clone(), cache)?;
        Ok(Self { info, text: Arc::new(text), defaults, cache, options, thread })
    }

    /// The model's tokenizer, chat template and end-of-generation tokens.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// The token ids of a valid request's prompt.
    fn encode(&self, request: &Request) -> Result<Vec<u32>, Error> {
        request.validate(self.info.vocab)?;
        let prompt = self.text.encode(&request.prompt)?;
        if prompt.is_empty() {
            return Err(Error::invalid("prompt", "no tokens", "at least one token"));
        }
        if let Some(id) = prompt.iter().find(|&&id| id as usize >= self.info.vocab) {
            let found = format!("token id {id} from the tokenizer");
            return Err(Error::invalid("prompt", found, format!("below the vocabulary of {}", self.info.vocab)));
        }
        Ok(prompt)
    }

    /// New tokens to reserve the cache for: what was asked for, or by default what fits, up to the end of the context.
    fn max_tokens(&self, prompt: usize, asked: Option<usize>) -> Result<usize, Error> {
        let KvCache { blocks, block_tokens, block_bytes } = self.cache;
        let left = self.info.context.saturating_sub(prompt);
        if left == 0 {
            return Err(Error::PromptTooLong { prompt, context: self.info.context });
        }
        let fits = (blocks.saturating_mul(block_tokens) + 1).saturating_sub(prompt);
        let max_tokens = asked.unwrap_or(self.options.max_tokens.min(fits)).clamp(1, left);
        let needed = self.cache.blocks_for(positions(prompt, max_tokens));
        if needed > blocks {
            let bytes = |blocks: usize| block_bytes.saturating_mul(blocks as u64);
            return Err(Error::CacheTooSmall {
                prompt,
                max_tokens,
                needed,
                needed_bytes: bytes(needed),
                blocks,
                bytes: bytes(blocks),
                block_tokens,
            });
        }
        Ok(max_tokens)
    }
}

impl Generate for Local {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn start(&self, request: Request) -> Result<Generation, Error> {
        let prompt = self.encode(&request)?;
        let max_tokens = self.max_tokens(prompt.len(), request.max_tokens)?;
        if request.speculation.is_some() && self.options.draft_tokens == 0 {
            return Err(Error::Unsupported { param: "speculation", by: "an engine with 0 draft_tokens".into() });
        }
        let drafter = request.speculation.map(Drafter::new);
        // A caller who speaks ids sees the whole head; others only what the tokenizer can say.
        let vocab = match request.prompt {
            Prompt::Ids(_) => self.info.vocab,
            Prompt::Chat(_) | Prompt::Text(_) => self.text.vocab(),
        };
        let sampler = Sampler::new(&self.defaults.fill(&request.sampling), &prompt, vocab, request.logprobs);
        let ticket = self.thread.status().enter()?;
        let (events, generation) = Generation::channel();
        let sink = Reply::new(&request, sampler.seed(), self.text.clone(), events, ticket);
        self.thread.send(Job { prompt, max_tokens, sampler, drafter, sink })?;
        Ok(generation)
    }

    fn count(&self, request: &Request) -> Result<usize, Error> {
        self.encode(request).map(|prompt| prompt.len())
    }

    fn health(&self) -> Health {
        self.thread.status().health()
    }
}

#[cfg(test)]
mod tests;
