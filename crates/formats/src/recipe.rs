//! Recipes: which block type each tensor of a model is quantized to.

use plimsoll_model::{Decoder, Part, TensorId};

use crate::blocks::{BlockType, F16, F32, Q4_0, Q4_K, Q6_K, Q8_0};

/// A named choice of block types, one row of [`RECIPES`].
#[derive(Debug, PartialEq, Eq)]
pub struct Recipe {
    /// Name, as llama.cpp calls its file types.
    pub name: &'static str,
    /// Raised whenever the same weights would become other blocks, so that a lock tells the two apart.
    pub version: u32,
    /// `general.file_type` of a GGUF made by it.
    pub file_type: u32,
    /// For every matrix but the following.
    matrix: &'static BlockType,
    /// For the output head, which may be the embedding.
    head: &'static BlockType,
    /// For what suffers most, v and the down projection, in [some layers](more_bits).
    sensitive: &'static BlockType,
}

const fn row(name: &'static str, file_type: u32, [matrix, head, sensitive]: [&'static BlockType; 3]) -> Recipe {
    Recipe { name, version: 1, file_type, matrix, head, sensitive }
}

/// All recipes: name, file type; blocks of matrices, of the head, of v and down in some layers.
///
/// The mixtures are those of llama.cpp without an importance matrix.
pub static RECIPES: [Recipe; 4] = [
    row("q8_0", 7, [&Q8_0, &Q8_0, &Q8_0]),
    row("q6_k", 18, [&Q6_K, &Q6_K, &Q6_K]),
    row("q4_k_m", 15, [&Q4_K, &Q6_K, &Q6_K]),
    row("q4_0", 2, [&Q4_0, &Q6_K, &Q4_0]),
];

impl Recipe {
    /// The recipe of a name.
    pub fn find(name: &str) -> Option<&'static Self> {
        RECIPES.iter().find(|recipe| recipe.name == name)
    }

    /// Name and version, as a lock records it: `q4_k_m/1`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }

    /// The block type of one tensor of a model; `shape` is the tensor's, slowest dimension first.
    ///
    /// Norms and biases are F32. A matrix whose rows are no whole number of blocks falls back to Q8_0, and to F16 where
    /// they are none of those either. (llama.cpp falls back from Q4_K to Q5_0, half a bit smaller and less exact.)
    pub fn block(&self, decoder: &Decoder, id: TensorId, shape: &[usize]) -> &'static BlockType {
        let &[.., _, len] = shape else { return &F32 };
        let wanted = match (id.part, id.layer) {
            (Part::Head, _) => self.head,
            (Part::Embedding, _) if decoder.tied_embeddings => self.head,
            (Part::V | Part::Down, Some(layer)) if more_bits(layer, decoder.layers.len()) => self.sensitive,
            _ => self.matrix,
        };
        let fits = |block: &&'static BlockType| len.is_multiple_of(block.values);
        [wanted, &Q8_0].into_iter().find(fits).unwrap_or(&F16)
    }
}

/// The first and the last eighth of the layers, and every third between.
fn more_bits(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_model::Family;

    fn decoder(layers: usize, tied: bool) -> Decoder {
        let config = format!(
            r#"{{"model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": {layers},
                "num_attention_heads": 4, "vocab_size": 96, "tie_word_embeddings": {tied}}}"#
        );
        Family::read_config("config.json", config.as_bytes()).unwrap().1
    }

    #[test]
    fn names_are_unique_and_every_block_has_an_encoder() {
        for (i, recipe) in RECIPES.iter().enumerate() {
            assert!([recipe.matrix, recipe.head, recipe.sensitive].iter().all(|block| block.encodes()));
            assert!(RECIPES[..i].iter().all(|other| other.name != recipe.name));
            assert_eq!(Recipe::find(recipe.name), Some(recipe));
        }
        assert_eq!((Recipe::find("Q8_0"), Recipe::find("")), (None, None));
        assert_eq!(RECIPES[2].id(), "q4_k_m/1");
    }

    /// What llama.cpp's `use_more_bits` says for models of these depths.
    #[test]
    fn layers_with_more_bits() {
        let layers = |n| (0..n).filter(|&i| more_bits(i, n)).collect::<Vec<_>>();
        assert_eq!(layers(4), [2, 3]);
        assert_eq!(layers(16), [0, 1, 4, 7, 10, 13, 14, 15]);
        assert_eq!(layers(28), [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 24, 25, 26, 27]);
        assert_eq!(layers(1), [0]);
    }

    #[test]
    fn blocks_by_role() {
        let [q8_0, q6_k, q4_k_m, q4_0] = &RECIPES;
        let (tied, untied) = (decoder(4, true), decoder(4, false));
        let cases: [(&Recipe, &Decoder, TensorId, &[usize], &BlockType); 14] = [
            (q4_k_m, &untied, Part::Q.of(2), &[256, 256], &Q4_K),
            (q4_k_m, &untied, Part::V.of(0), &[256, 256], &Q4_K),
            (q4_k_m, &untied, Part::V.of(2), &[256, 256], &Q6_K),
            (q4_k_m, &untied, Part::Down.of(3), &[256, 512], &Q6_K),
            (q4_k_m, &untied, Part::Embedding.global(), &[96, 256], &Q4_K),
            (q4_k_m, &tied, Part::Embedding.global(), &[96, 256], &Q6_K),
            (q4_k_m, &untied, Part::Head.global(), &[96, 256], &Q6_K),
            (q4_k_m, &untied, Part::MixerNorm.of(0), &[256], &F32),
            (q4_k_m, &untied, Part::QBias.of(0), &[256], &F32),
            (q4_k_m, &untied, Part::Q.of(0), &[256, 96], &Q8_0),
            (q4_0, &untied, Part::Down.of(3), &[256, 512], &Q4_0),
            (q4_0, &untied, Part::Head.global(), &[96, 250], &F16),
            (q6_k, &untied, Part::Gate.of(0), &[512, 256], &Q6_K),
            (q8_0, &tied, Part::Embedding.global(), &[96, 256], &Q8_0),
        ];
        for (recipe, decoder, id, shape, expected) in cases {
            assert_eq!(recipe.block(decoder, id, shape), expected, "{} {id} {shape:?}", recipe.name);
        }
    }
}
