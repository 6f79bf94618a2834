//! Which tensor gets which block type: the recipes of llama.cpp's quantizer (`src/llama-quant.cpp`).

use plimsoll_formats::blocks::{self, BlockType};
use plimsoll_model::{Part, TensorId};

/// Block types of a file's matrices.
pub struct Mix {
    /// Name on the command line.
    pub name: &'static str,
    /// `general.file_type`
    pub file_type: u32,
    /// Of most matrices.
    most: &'static BlockType,
    /// Of the matrix that makes the logits, tied or not.
    head: &'static BlockType,
    /// Of v and down in the layers that are given more bits.
    more: &'static BlockType,
}

macro_rules! table {
    ($($name:literal $file_type:literal $most:ident $head:ident $more:ident;)*) => {
        /// One for each block type, and the mixed ones.
        pub static MIXES: &[Mix] = &[$(Mix {
            name: $name,
            file_type: $file_type,
            most: &blocks::$most,
            head: &blocks::$head,
            more: &blocks::$more,
        }),*];
    };
}

// name, file type, most, head, more
table! {
    "f32"    0  F32    F32  F32;
    "f16"    1  F16    F16  F16;
    "bf16"   32 BF16   BF16 BF16;
    "q4_0"   2  Q4_0   Q6_K Q4_0;
    "q4_1"   3  Q4_1   Q6_K Q4_1;
    "q5_0"   8  Q5_0   Q6_K Q5_0;
    "q5_1"   9  Q5_1   Q6_K Q5_1;
    "q8_0"   7  Q8_0   Q8_0 Q8_0;
    "q2_k"   10 Q2_K   Q6_K Q2_K;
    "q3_k"   11 Q3_K   Q6_K Q3_K;
    "q4_k"   14 Q4_K   Q6_K Q4_K;
    "q5_k"   16 Q5_K   Q6_K Q5_K;
    "q6_k"   18 Q6_K   Q6_K Q6_K;
    "iq4_nl" 25 IQ4_NL Q6_K IQ4_NL;
    "iq4_xs" 30 IQ4_XS Q6_K IQ4_XS;
    "mxfp4"  38 MXFP4  Q8_0 MXFP4;
    "q4_k_m" 15 Q4_K   Q6_K Q6_K;
    "q5_k_m" 17 Q5_K   Q6_K Q6_K;
}

impl Mix {
    /// The mix of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        MIXES.iter().find(|mix| mix.name == name)
    }

    /// The type of a tensor in a model of so many layers; vectors stay f32.
    pub fn block(&self, id: TensorId, shape: &[usize], layers: usize, tied: bool) -> &'static BlockType {
        let &[_, columns] = shape else { return &blocks::F32 };
        let wanted = match (id.part, id.layer) {
            (Part::Head, _) => self.head,
            (Part::Embedding, _) if tied => self.head,
            (Part::V | Part::Down, Some(layer)) if wants_more(layer, layers) => self.more,
            _ => self.most,
        };
        fitting(wanted, columns)
    }
}

/// The first and the last eighth of the layers, and every third between.
fn wants_more(layer: usize, layers: usize) -> bool {
    let eighth = layers / 8;
    layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
}

/// The type itself, or one with smaller blocks where rows are not whole blocks.
fn fitting(block: &'static BlockType, columns: usize) -> &'static BlockType {
    let smaller = match block.name {
        _ if columns.is_multiple_of(block.values) => return block,
        "Q2_K" | "Q3_K" => &blocks::Q4_0,
        "Q4_K" => &blocks::Q5_0,
        "Q5_K" => &blocks::Q5_1,
        "Q6_K" => &blocks::Q8_0,
        "IQ4_XS" => &blocks::IQ4_NL,
        _ => &blocks::F16,
    };
    fitting(smaller, columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_type_has_a_mix_of_its_name() {
        for block in blocks::TABLE {
            let mix = Mix::named(&block.name.to_lowercase()).unwrap_or_else(|| panic!("{block}"));
            assert_eq!(mix.block(Part::V.of(0), &[1, 256], 1, true), *block);
        }
    }

    #[test]
    fn more_bits_go_where_llama_cpp_puts_them() {
        let mix = Mix::named("q4_k_m").unwrap();
        let many = |part: Part, layers| -> Vec<usize> {
            (0..layers).filter(|&i| *mix.block(part.of(i), &[8, 256], layers, true) == blocks::Q6_K).collect()
        };
        assert_eq!(many(Part::V, 16), [0, 1, 4, 7, 10, 13, 14, 15]);
        assert_eq!(many(Part::Down, 2), [1]);
        assert!(many(Part::Q, 16).is_empty());
        let block = |part: Part, columns, tied| mix.block(part.global(), &[8, columns], 16, tied).name;
        assert_eq!((block(Part::Head, 256, false), block(Part::Head, 288, false)), ("Q6_K", "Q8_0"));
        assert_eq!((block(Part::Embedding, 256, true), block(Part::Embedding, 256, false)), ("Q6_K", "Q4_K"));
        assert_eq!((block(Part::Embedding, 288, false), block(Part::Embedding, 280, false)), ("Q5_0", "F16"));
        assert_eq!(*mix.block(Part::MixerNorm.of(0), &[256], 16, true), blocks::F32);
    }
}
