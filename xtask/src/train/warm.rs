//! A start that is not from nothing: what another demo model has learned, as far as it fits.

use tokenizers::Tokenizer;

use super::layout::Layout;

/// A model and its vocabulary.
pub struct Source<'a> {
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// Its tensors.
    pub layout: &'a Layout,
    /// Their values.
    pub params: &'a [f32],
}

/// Copies the tensors of the blocks that have the same name and shape, and the vectors of the tokens that have the same
/// text. All else stays as it is: the other architecture, the other vocabulary and the other prompt format are learned.
pub fn start(params: &mut [f32], layout: &Layout, tokenizer: &Tokenizer, source: &Source<'_>) {
    for slot in &layout.slots {
        let same = source.layout.slots.iter().find(|other| other.name == slot.name && other.shape == slot.shape);
        if let (Some(same), false) = (same, table(&slot.name)) {
            params[slot.range.clone()].copy_from_slice(&source.params[same.range.clone()]);
        }
    }
    for (text, id) in tokenizer.get_vocab(true) {
        let Some(other) = source.tokenizer.token_to_id(&text) else { continue };
        let row = |start: usize, id: u32, width: usize| start + id as usize * width..start + (id as usize + 1) * width;
        let width = layout.norm.len();
        for (to, from) in [(&layout.embed, &source.layout.embed), (&layout.head, &source.layout.head)] {
            let from = &source.params[row(from.start, other, width)];
            params[row(to.start, id, width)].copy_from_slice(from);
        }
    }
}

/// One row per token.
fn table(name: &str) -> bool {
    name.starts_with("lm_head") || name.contains("embed_tokens")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::recipe::Recipe;
    use crate::train::tokens::learn;

    #[test]
    fn blocks_and_known_tokens_are_taken_over() {
        let [llama, glm] = ["llama", "glm"].map(|name| Recipe::named(name).unwrap());
        let (from, to) = (Layout::new(&llama.decoder()), Layout::new(&glm.decoder()));
        let (from_tokens, to_tokens) = (learn(llama).unwrap(), learn(glm).unwrap());
        let (learned, mut params) = (from.init(1), to.init(2));
        start(&mut params, &to, &to_tokens, &Source { tokenizer: &from_tokens, layout: &from, params: &learned });
        assert_eq!(params[to.blocks[1].down.clone()], learned[from.blocks[1].down.clone()]);
        let [a, b] =
            [(&from, &from_tokens, &learned), (&to, &to_tokens, &params)].map(|(layout, tokenizer, params)| {
                let at = layout.head.start + tokenizer.token_to_id("a").unwrap() as usize * 256;
                params[at..at + 256].to_vec()
            });
        assert_eq!(a, b);
    }
}
