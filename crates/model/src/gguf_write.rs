//! A model as a GGUF file has it: what `gguf.rs` reads, the other way round.

use crate::rope::yarn_magnitude;
use crate::*;

/// The value of a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeyValue {
    /// A size.
    Size(u32),
    /// A number.
    Float(f32),
    /// A word.
    Text(&'static str),
}

impl Family {
    /// The keys under which a GGUF file describes `decoder`. Some of the description is in the tensors: whether the
    /// embedding is tied and which biases there are, and [`Rope::divisors`] as `rope_freqs.weight`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what no key can say, such as layers that differ.
    pub fn gguf_keys(&self, decoder: &Decoder) -> Result<Vec<(String, KeyValue)>, Error> {
        let arch = self.gguf_architecture();
        let Some(layer) = decoder.layers.first().filter(|first| decoder.layers.iter().all(|layer| layer == *first))
        else {
            return Err(Error::unsupported("layers", "different from each other", "equal layers in a GGUF file"));
        };
        let (Mixer::Gqa(gqa), Mlp::Dense(ffn), Norm::Rms { eps }) = (&layer.mixer, &layer.mlp, layer.norm);
        let sizes = [
            ("vocab_size", decoder.vocab),
            ("context_length", decoder.context),
            ("embedding_length", decoder.width),
            ("block_count", decoder.layers.len()),
            ("feed_forward_length", ffn.width),
            ("attention.head_count", gqa.heads),
            ("attention.head_count_kv", gqa.kv_heads),
            ("attention.key_length", gqa.head_dim),
            ("attention.value_length", gqa.head_dim),
        ];
        let mut keys =
            sizes.into_iter().map(|(key, value)| Ok((key, size(key, value)?))).collect::<Result<Vec<_>, _>>()?;
        let rope = gqa.rope.as_ref().ok_or_else(|| Error::unsupported("rope", "none", "a rotation in a GGUF file"))?;
        keys.extend(rope_keys(rope)?);
        keys.push(("attention.layer_norm_rms_epsilon", KeyValue::Float(eps)));
        if gqa.scale != (gqa.head_dim as f32).powf(-0.5) {
            keys.push(("attention.scale", KeyValue::Float(gqa.scale)));
        }
        if let Span::Window(window) = gqa.span {
            keys.push(("attention.sliding_window", size("sliding_window", window)?));
        }
        Ok(keys.into_iter().map(|(key, value)| (format!("{arch}.{key}"), value)).collect())
    }
}

impl Family {
    /// The order in which a GGUF file stores the rows of a tensor, as rows of the description's; none where that is the
    /// same. Files of the architecture `llama` rotate neighbours, so each head's halves are interleaved there.
    pub fn gguf_rows(&self, decoder: &Decoder, id: TensorId) -> Option<Vec<usize>> {
        let rotated = matches!(id.part, Part::Q | Part::K | Part::QBias | Part::KBias);
        if !rotated || self.gguf_architecture() != "llama" {
            return None;
        }
        let Mixer::Gqa(gqa) = &decoder.layers.get(id.layer?)?.mixer;
        let dim = gqa.rope.as_ref().filter(|rope| rope.pairing == Pairing::Half)?.dim;
        let from = |row: usize| match row % gqa.head_dim {
            i if i < dim => row - i + i / 2 + (i % 2) * (dim / 2),
            _ => row,
        };
        Some((0..*decoder.shape(id)?.first()?).map(from).collect())
    }
}

fn rope_keys(rope: &Rope) -> Result<Vec<(&'static str, KeyValue)>, Error> {
    const TYPE: &str = "rope.scaling.type";
    const FACTOR: &str = "rope.scaling.factor";
    let mut keys =
        vec![("rope.dimension_count", size("rope dim", rope.dim)?), ("rope.freq_base", KeyValue::Float(rope.theta))];
    match rope.scaling {
        Scaling::None | Scaling::Llama3 { .. } | Scaling::Factors(_) => {}
        Scaling::Linear { factor } => {
            keys.extend([(TYPE, KeyValue::Text("linear")), (FACTOR, KeyValue::Float(factor))]);
        }
        Scaling::Yarn { factor, original, beta_fast, beta_slow, cos_scale, truncate: true } => keys.extend([
            (TYPE, KeyValue::Text("yarn")),
            (FACTOR, KeyValue::Float(factor)),
            ("rope.scaling.original_context_length", KeyValue::Size(original as u32)),
            ("rope.scaling.yarn_beta_fast", KeyValue::Float(beta_fast)),
            ("rope.scaling.yarn_beta_slow", KeyValue::Float(beta_slow)),
            ("rope.scaling.attn_factor", KeyValue::Float(cos_scale / yarn_magnitude(factor, 1.0))),
        ]),
        Scaling::Yarn { truncate: false, .. } => {
            return Err(Error::unsupported("rope truncate", false, "true in a GGUF file"));
        }
    }
    Ok(keys)
}

fn size(field: &str, value: usize) -> Result<KeyValue, Error> {
    let value = u32::try_from(value).map_err(|_| Error::unsupported(field, value, "below 2^32 in a GGUF file"))?;
    Ok(KeyValue::Size(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(family: &str) -> (&'static Family, Decoder) {
        let config = format!(
            r#"{{"model_type": "{family}", "hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 2, "head_dim": 8,
                "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 9, "sliding_window": null}}"#
        );
        Family::read_config("config.json", config.as_bytes()).unwrap()
    }

    #[test]
    fn rows_of_llama_are_interleaved() {
        let (family, mut decoder) = read("mistral");
        let rows = |decoder: &Decoder, part: Part| family.gguf_rows(decoder, part.of(1));
        assert_eq!(rows(&decoder, Part::K), Some(vec![0, 4, 1, 5, 2, 6, 3, 7]));
        assert_eq!(rows(&decoder, Part::Q).unwrap()[8..], [8, 12, 9, 13, 10, 14, 11, 15]);
        assert_eq!((rows(&decoder, Part::V), family.gguf_rows(&decoder, Part::K.of(2))), (None, None));
        for layer in &mut decoder.layers {
            let Mixer::Gqa(gqa) = &mut layer.mixer;
            gqa.rope.as_mut().unwrap().dim = 4;
        }
        assert_eq!(rows(&decoder, Part::K), Some(vec![0, 2, 1, 3, 4, 5, 6, 7]));
        let (qwen, decoder) = read("qwen3");
        assert_eq!(qwen.gguf_rows(&decoder, Part::K.of(1)), None);
    }

    #[test]
    fn what_no_key_can_say_is_refused() {
        type Edit = fn(&mut Decoder);
        let cases: [(Edit, &str); 4] = [
            (|d| d.layers.clear(), "layers is different from each other"),
            (|d| d.layers[1].residual = Residual::Sandwich, "layers is different from each other"),
            (|d| d.vocab = 1 << 40, "vocab_size is 1099511627776"),
            (|d| d.layers.iter_mut().for_each(|Layer { mixer: Mixer::Gqa(gqa), .. }| gqa.rope = None), "rope is none"),
        ];
        for (edit, expected) in cases {
            let (family, mut decoder) = read("llama");
            family.gguf_keys(&decoder).unwrap();
            edit(&mut decoder);
            let message = family.gguf_keys(&decoder).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
