//! Finished models as files: safetensors with Hugging Face's companions, or one GGUF.

use std::fs;
use std::io::BufWriter;
use std::path::Path;

use plimsoll_formats::{blocks, gguf};
use plimsoll_model::{Decoder, FAMILIES, Family, Gqa, Mixer, Mlp, Norm, Part, TensorId};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tokenizers::Tokenizer;

use super::layout::{Layout, Slot};
use super::recipe::{Recipe, Ship};
use super::run::resume;
use super::vocabulary::set_vocabulary;
use crate::Result;

const LICENSE: &str = "Apache-2.0";

/// A model to be written.
struct Export<'a> {
    recipe: &'a Recipe,
    tokenizer: &'a Tokenizer,
    layout: &'a Layout,
    params: &'a [f32],
}

/// Writes what a model's checkpoint holds to its folder in `models`.
pub fn export(root: &Path, recipe: &Recipe) -> Result<()> {
    let (tokenizer, net, run) = resume(root, recipe)?;
    let export = Export { recipe, tokenizer: &tokenizer, layout: &net.layout, params: &run.params };
    let folder = root.join("models").join(recipe.name);
    fs::create_dir_all(&folder)?;
    match recipe.ship {
        Ship::Safetensors => export.safetensors(&folder),
        Ship::Gguf => export.gguf(&folder),
    }
}

impl Export<'_> {
    fn values(&self, slot: &Slot) -> &[f32] {
        &self.params[slot.range.clone()]
    }

    fn id(&self, token: &str) -> Result<u32> {
        self.tokenizer.token_to_id(token).ok_or_else(|| format!("{token} is not a token").into())
    }

    fn safetensors(&self, folder: &Path) -> Result<()> {
        let data = |slot: &Slot| encode(&blocks::BF16, self.values(slot));
        let data = self.layout.slots.iter().map(|slot| Ok((slot, data(slot)?))).collect::<Result<Vec<_>>>()?;
        let view = |slot: &Slot, bytes| TensorView::new(Dtype::BF16, slot.shape.clone(), bytes);
        let views =
            data.iter().map(|(slot, bytes)| Ok((&slot.name, view(slot, bytes)?))).collect::<Result<Vec<_>>>()?;
        let meta = [("format".to_owned(), "pt".to_owned())].into();
        safetensors::serialize_to_file(views, Some(meta), &folder.join("model.safetensors"))?;

        let tokens = &self.recipe.tokens;
        let bos = tokens.bos.map(|bos| self.id(bos)).transpose()?;
        let eos = self.id(tokens.eos)?;
        let json = |name: &str, value: Value| fs::write(folder.join(name), format!("{value:#}\n"));
        json("config.json", self.config(bos, eos))?;
        json("generation_config.json", json!({ "bos_token_id": bos, "eos_token_id": eos, "do_sample": false }))?;
        let tokenizer_config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": tokens.bos,
            "eos_token": tokens.eos,
            "add_bos_token": tokens.bos.is_some(),
            "clean_up_tokenization_spaces": false,
            "model_max_length": self.recipe.decoder().context,
        });
        json("tokenizer_config.json", tokenizer_config)?;
        self.tokenizer.save(folder.join("tokenizer.json"), true)?;
        Ok(fs::write(folder.join("chat_template.jinja"), self.recipe.format.template)?)
    }

    fn config(&self, bos: Option<u32>, eos: u32) -> Value {
        let decoder = self.recipe.decoder();
        let Facts { gqa, ffn, eps, theta } = Facts::of(&decoder);
        let window = match gqa.span {
            plimsoll_model::Span::Full => None,
            plimsoll_model::Span::Window(window) => Some(window),
        };
        json!({
            "architectures": ["MistralForCausalLM"],
            "model_type": self.recipe.family,
            "vocab_size": decoder.vocab,
            "hidden_size": decoder.width,
            "intermediate_size": ffn,
            "num_hidden_layers": decoder.layers.len(),
            "num_attention_heads": gqa.heads,
            "num_key_value_heads": gqa.kv_heads,
            "head_dim": gqa.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": decoder.context,
            "rms_norm_eps": shortest(eps),
            "rope_theta": theta,
            "sliding_window": window,
            "tie_word_embeddings": decoder.tied_embeddings,
            "bos_token_id": bos,
            "eos_token_id": eos,
            "torch_dtype": "bfloat16",
        })
    }

    fn gguf(&self, folder: &Path) -> Result<()> {
        let mut writer = gguf::Writer::new();
        self.keys(&mut writer)?;
        self.vocabulary(&mut writer)?;
        self.tensors(&mut writer)?;
        let file = fs::File::create(folder.join("model.gguf"))?;
        Ok(writer.write(&mut BufWriter::new(file))?)
    }

    fn keys(&self, writer: &mut gguf::Writer<'_>) -> Result<()> {
        let family = family(self.recipe.family)?;
        writer.set("general.architecture", family.gguf_architecture());
        writer.set("general.type", "model");
        writer.set("general.name", format!("Plimsoll demo {}", self.recipe.name).as_str());
        writer.set("general.license", LICENSE);
        writer.set("general.file_type", 7u32); // mostly Q8_0
        writer.set("general.quantization_version", 2u32);
        let keys = family.gguf_keys(&self.recipe.decoder())?;
        keys.into_iter().for_each(|(key, value)| writer.set(&key, value));
        Ok(())
    }

    fn vocabulary(&self, writer: &mut gguf::Writer<'_>) -> Result<()> {
        let tokens = &self.recipe.tokens;
        let texts = (0..tokens.vocab as u32).map(|id| self.tokenizer.id_to_token(id).ok_or("a gap in the vocabulary"));
        let texts = texts.collect::<std::result::Result<Vec<_>, _>>()?;
        set_vocabulary(writer, self.recipe, texts, self.merges()?)
    }

    /// `a b` for each merge; the model itself does not show them.
    fn merges(&self) -> Result<Vec<String>> {
        let json: Value = serde_json::from_str(&self.tokenizer.to_string(false)?)?;
        let merges: Vec<(String, String)> = serde_json::from_value(json["model"]["merges"].clone())?;
        Ok(merges.into_iter().map(|(a, b)| format!("{a} {b}")).collect())
    }

    fn tensors(&self, writer: &mut gguf::Writer<'_>) -> Result<()> {
        let decoder = self.recipe.decoder();
        let family = family(self.recipe.family)?;
        for slot in &self.layout.slots {
            let id = id(family, &slot.name)?;
            let place = family.gguf.written(id)?;
            let (mut shape, mut rows) = (slot.shape.clone(), self.values(slot).to_vec());
            if let Some(order) = family.gguf_rows(&decoder, id) {
                let stride = rows.len() / order.len();
                let row = |row: &usize| &self.values(slot)[row * stride..][..stride];
                rows = order.iter().flat_map(row).copied().collect();
            }
            // Gate and up are one tensor in files of GLM-4, as they are in the layout.
            match (id.part, place.parts.len(), id.layer) {
                (Part::Gate, 2, _) => continue,
                (Part::Up, 2, Some(layer)) => {
                    shape[0] *= 2;
                    rows = self.params[self.layout.blocks[layer].gate_up.clone()].to_vec();
                }
                _ => {}
            }
            let name = place.name;
            let block = if shape.len() > 1 { &blocks::Q8_0 } else { &blocks::F32 };
            writer.tensor(&name, block, &shape, encode(block, &rows)?)?;
        }
        Ok(())
    }
}

/// What all layers of a demo model share.
struct Facts<'a> {
    gqa: &'a Gqa,
    ffn: usize,
    eps: f32,
    theta: f32,
}

impl<'a> Facts<'a> {
    fn of(decoder: &'a Decoder) -> Self {
        let layer = &decoder.layers[0];
        let (Mixer::Gqa(gqa), Mlp::Dense(ffn), Norm::Rms { eps }) = (&layer.mixer, &layer.mlp, layer.norm);
        let theta = gqa.rope.as_ref().map_or(0.0, |rope| rope.theta);
        Self { gqa, ffn: ffn.width, eps, theta }
    }
}

fn family(name: &str) -> Result<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name).ok_or_else(|| format!("no family {name}").into())
}

/// What the tensor of a Hugging Face name is for.
fn id(family: &Family, name: &str) -> Result<TensorId> {
    let layer = name.split('.').find_map(|part| part.parse::<usize>().ok());
    let general = layer.map_or(name.into(), |layer| name.replacen(&format!(".{layer}."), ".{}.", 1));
    let part = family.hugging_face.single.iter().find(|(_, known)| *known == general);
    let (part, _) = part.ok_or_else(|| format!("{name} is no tensor of {}", family.name))?;
    Ok(TensorId { layer, part: *part })
}

fn encode(block: &blocks::BlockType, values: &[f32]) -> Result<Vec<u8>> {
    let mut bytes = vec![0; block.row_bytes(values.len())?];
    block.encode(values, &mut bytes)?;
    Ok(bytes)
}

/// A number that prints as it was written: 1e-5, not 9.99999974e-6.
fn shortest(value: f32) -> Value {
    serde_json::from_str(&value.to_string()).unwrap_or(json!(value))
}
