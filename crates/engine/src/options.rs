//! How an engine is dimensioned.

use crate::Error;

/// Limits of one engine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Tokens computed in one step at most, of all sequences together. Bounds activation memory.
    pub step_tokens: usize,
    /// Prompt tokens of one sequence computed in one step at most, so that short prompts are not held up by long ones.
    pub prefill_chunk: usize,
    /// Sequences in the batch at most.
    pub sequences: usize,
    /// Requests that may wait for room in the batch.
    pub queue: usize,
    /// New tokens at most for requests that do not say.
    pub max_tokens: usize,
    /// Guesses of requests with [`Speculation`](crate::Speculation) computed in one step at most, of all sequences
    /// together; each has a row of logits. 0 refuses such requests.
    pub draft_tokens: usize,
    /// Share the KV cache of equal prompt beginnings.
    pub prefix_cache: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            step_tokens: 512,
            prefill_chunk: 256,
            sequences: 64,
            queue: 256,
            max_tokens: 1024,
            draft_tokens: 8,
            prefix_cache: true,
        }
    }
}

impl Options {
    /// Rows of logits in one step at most: one for each sequence, one for each guess.
    pub fn outputs(&self) -> usize {
        self.sequences.saturating_add(self.draft_tokens).min(self.step_tokens)
    }

    /// # Errors
    /// [`Error::Invalid`] for a limit of 0, and for fewer step tokens than sequences: every sequence in the batch must
    /// be able to advance in every step.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let limits = [
            ("step_tokens", self.step_tokens),
            ("prefill_chunk", self.prefill_chunk),
            ("sequences", self.sequences),
            ("queue", self.queue),
            ("max_tokens", self.max_tokens),
        ];
        for (param, limit) in limits {
            if limit == 0 {
                return Err(Error::invalid(param, 0, "at least 1"));
            }
        }
        if self.step_tokens < self.sequences {
            return Err(Error::invalid(
                "step_tokens",
                self.step_tokens,
                format!("at least {} sequences", self.sequences),
            ));
        }
        Ok(())
    }
}

/// The size of a paged KV cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KvCache {
    /// Blocks there are.
    pub blocks: usize,
    /// Tokens in a block.
    pub block_tokens: usize,
    /// Bytes of a block, all layers together.
    pub block_bytes: u64,
}

impl KvCache {
    /// Tokens in a block unless there is a reason for another number.
    pub const BLOCK_TOKENS: usize = 16;

    /// As many whole blocks as `budget` bytes hold, for a model whose cache takes `token_bytes` bytes a token.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they do not hold one.
    pub fn within(budget: u64, token_bytes: u64) -> Result<Self, Error> {
        let block_bytes = token_bytes.saturating_mul(Self::BLOCK_TOKENS as u64).max(1);
        let blocks = (budget / block_bytes).min(u64::from(u32::MAX)) as usize;
        if blocks == 0 {
            return Err(Error::invalid(
                "KV cache",
                format!("{budget} bytes"),
                format!("at least {block_bytes}, one block of {} tokens", Self::BLOCK_TOKENS),
            ));
        }
        Ok(Self { blocks, block_tokens: Self::BLOCK_TOKENS, block_bytes })
    }

    /// Blocks that hold `tokens`.
    pub fn blocks_for(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.block_tokens)
    }

    /// # Errors
    /// [`Error::Invalid`] for a size of 0, and for more blocks than block tables can name.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        if self.block_tokens == 0 {
            return Err(Error::invalid("block_tokens", 0, "at least 1"));
        }
        if self.blocks == 0 || u32::try_from(self.blocks).is_err() {
            return Err(Error::invalid("blocks", self.blocks, format!("1 to {}", u32::MAX)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_cut_into_whole_blocks() {
        assert_eq!(KvCache::within(10_000, 100).unwrap(), KvCache { blocks: 6, block_tokens: 16, block_bytes: 1600 });
        let error = KvCache::within(1599, 100).unwrap_err().to_string();
        assert_eq!(error, "KV cache: found 1599 bytes, expected at least 1600, one block of 16 tokens");
        assert_eq!(KvCache::within(u64::MAX, 0).unwrap().blocks, u32::MAX as usize);
    }

    #[test]
    fn limits_of_nothing_are_refused() {
        Options::default().validate().unwrap();
        let error = Options { queue: 0, ..Options::default() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "queue: found 0, expected at least 1");
        let error = Options { step_tokens: 8, sequences: 9, ..Options::default() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "step_tokens: found 8, expected at least 9 sequences");
    }
}
