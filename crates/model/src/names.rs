//! What containers call the tensors.

use crate::{Error, Part, TensorId};

/// A kind of weight file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// Hugging Face safetensors with `config.json`.
    Safetensors,
    /// GGUF, the configuration in its keys.
    Gguf,
}

/// The names a family's tensors have in a container; `{}` stands for the layer.
#[derive(Debug)]
pub struct Names {
    /// One stored tensor per part.
    pub single: &'static [(Part, &'static str)],
    /// One stored tensor for several parts, their rows one after the other.
    pub fused: &'static [(&'static [Part], &'static str)],
    /// Stored for several parts too, and by the readers of this family in no other way: what a writer must do.
    pub always_fused: &'static [(&'static [Part], &'static str)],
}

/// Where a tensor may be stored: in `name`, together with others before and after it in the rows, if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The stored tensor.
    pub name: String,
    /// All parts in its rows, in order; only the wanted one when stored alone.
    pub parts: &'static [Part],
}

impl Place {
    fn new(name: &str, parts: &'static [Part], layer: Option<usize>) -> Self {
        let layer = layer.map(|layer| layer.to_string()).unwrap_or_default();
        Self { name: name.replace("{}", &layer), parts }
    }
}

impl Names {
    /// The places to look for a tensor, the usual one first.
    pub fn places(&self, id: TensorId) -> impl Iterator<Item = Place> + '_ {
        let single = self.single.iter().filter(move |(part, _)| *part == id.part);
        let fused = self.fused.iter().chain(self.always_fused).filter(move |(parts, _)| parts.contains(&id.part));
        let single = single.map(|(part, name)| (std::slice::from_ref(part), *name));
        let places = single.chain(fused.map(|(parts, name)| (*parts, *name)));
        places.map(move |(parts, name)| Place::new(name, parts, id.layer))
    }

    /// The place where a writer puts a tensor.
    pub fn written(&self, id: TensorId) -> Result<Place, Error> {
        let always = self.always_fused.iter().find(|(parts, _)| parts.contains(&id.part));
        let always = always.map(|(parts, name)| Place::new(name, parts, id.layer));
        let missing = || Error::missing(&id.to_string(), "a name in this container");
        always.or_else(|| self.places(id).next()).ok_or_else(missing)
    }

    /// The usual name of a tensor.
    pub fn name(&self, id: TensorId) -> Result<String, Error> {
        let missing = || Error::missing(&id.to_string(), "a name in this container");
        self.places(id).next().map(|place| place.name).ok_or_else(missing)
    }
}

const QKV: &[Part] = &[Part::Q, Part::K, Part::V];
const QKV_BIAS: &[Part] = &[Part::QBias, Part::KBias, Part::VBias];
const GATE_UP: &[Part] = &[Part::Gate, Part::Up];

/// The names of transformers for Llama and all that follow it.
pub(crate) const HUGGING_FACE: Names = Names {
    single: &[
        (Part::Embedding, "model.embed_tokens.weight"),
        (Part::FinalNorm, "model.norm.weight"),
        (Part::Head, "lm_head.weight"),
        (Part::MixerNorm, "model.layers.{}.input_layernorm.weight"),
        (Part::Q, "model.layers.{}.self_attn.q_proj.weight"),
        (Part::K, "model.layers.{}.self_attn.k_proj.weight"),
        (Part::V, "model.layers.{}.self_attn.v_proj.weight"),
        (Part::QBias, "model.layers.{}.self_attn.q_proj.bias"),
        (Part::KBias, "model.layers.{}.self_attn.k_proj.bias"),
        (Part::VBias, "model.layers.{}.self_attn.v_proj.bias"),
        (Part::QNorm, "model.layers.{}.self_attn.q_norm.weight"),
        (Part::KNorm, "model.layers.{}.self_attn.k_norm.weight"),
        (Part::Out, "model.layers.{}.self_attn.o_proj.weight"),
        (Part::OutBias, "model.layers.{}.self_attn.o_proj.bias"),
        (Part::MixerPostNorm, "model.layers.{}.post_self_attn_layernorm.weight"),
        (Part::MlpNorm, "model.layers.{}.post_attention_layernorm.weight"),
        (Part::Gate, "model.layers.{}.mlp.gate_proj.weight"),
        (Part::Up, "model.layers.{}.mlp.up_proj.weight"),
        (Part::Down, "model.layers.{}.mlp.down_proj.weight"),
        (Part::GateBias, "model.layers.{}.mlp.gate_proj.bias"),
        (Part::UpBias, "model.layers.{}.mlp.up_proj.bias"),
        (Part::DownBias, "model.layers.{}.mlp.down_proj.bias"),
        (Part::MlpPostNorm, "model.layers.{}.post_mlp_layernorm.weight"),
    ],
    fused: &[
        (QKV, "model.layers.{}.self_attn.qkv_proj.weight"),
        (QKV_BIAS, "model.layers.{}.self_attn.qkv_proj.bias"),
        (GATE_UP, "model.layers.{}.mlp.gate_up_proj.weight"),
    ],
    always_fused: &[],
};

/// The names of llama.cpp, the same for every dense family but GLM-4.
pub(crate) const GGUF: Names = Names {
    single: &[
        (Part::Embedding, "token_embd.weight"),
        (Part::FinalNorm, "output_norm.weight"),
        (Part::Head, "output.weight"),
        (Part::MixerNorm, "blk.{}.attn_norm.weight"),
        (Part::Q, "blk.{}.attn_q.weight"),
        (Part::K, "blk.{}.attn_k.weight"),
        (Part::V, "blk.{}.attn_v.weight"),
        (Part::QBias, "blk.{}.attn_q.bias"),
        (Part::KBias, "blk.{}.attn_k.bias"),
        (Part::VBias, "blk.{}.attn_v.bias"),
        (Part::QNorm, "blk.{}.attn_q_norm.weight"),
        (Part::KNorm, "blk.{}.attn_k_norm.weight"),
        (Part::Out, "blk.{}.attn_output.weight"),
        (Part::OutBias, "blk.{}.attn_output.bias"),
        (Part::MixerPostNorm, "blk.{}.post_attention_norm.weight"),
        (Part::MlpNorm, "blk.{}.ffn_norm.weight"),
        (Part::Gate, "blk.{}.ffn_gate.weight"),
        (Part::Up, "blk.{}.ffn_up.weight"),
        (Part::Down, "blk.{}.ffn_down.weight"),
        (Part::GateBias, "blk.{}.ffn_gate.bias"),
        (Part::UpBias, "blk.{}.ffn_up.bias"),
        (Part::DownBias, "blk.{}.ffn_down.bias"),
        (Part::MlpPostNorm, "blk.{}.post_ffw_norm.weight"),
    ],
    fused: &[
        (QKV, "blk.{}.attn_qkv.weight"),
        (QKV_BIAS, "blk.{}.attn_qkv.bias"),
        (GATE_UP, "blk.{}.ffn_gate_up.weight"),
    ],
    always_fused: &[],
};

/// The names of llama.cpp for GLM-4: gate and up are one tensor.
pub(crate) const GGUF_GLM4: Names =
    Names { single: GGUF.single, fused: GGUF.fused, always_fused: &[(GATE_UP, "blk.{}.ffn_up.weight")] };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fused_places_follow_the_single_one() {
        let places: Vec<_> = GGUF_GLM4.places(Part::Gate.of(3)).map(|place| place.name).collect();
        assert_eq!(places, ["blk.3.ffn_gate.weight", "blk.3.ffn_gate_up.weight", "blk.3.ffn_up.weight"]);
        let written = |names: &Names, part: Part| names.written(part.of(3)).unwrap().name;
        assert_eq!([written(&GGUF, Part::Up), written(&GGUF_GLM4, Part::Gate)], ["blk.3.ffn_up.weight"; 2]);
        assert_eq!(written(&GGUF_GLM4, Part::Q), "blk.3.attn_q.weight");
        assert_eq!(HUGGING_FACE.name(Part::Head.global()).unwrap(), "lm_head.weight");
    }

    #[test]
    fn every_part_has_one_name_per_container() {
        for names in [&HUGGING_FACE, &GGUF] {
            let mut parts: Vec<_> = names.single.iter().map(|(part, _)| *part).collect();
            parts.sort();
            parts.dedup();
            assert_eq!(parts.len(), names.single.len());
            assert_eq!(parts.len(), Part::MlpPostNorm as usize + 1);
        }
    }
}
