//! The tensors a description needs: the single source of shapes, parameter counts and what a loader reads.

use crate::{Decoder, Ends, Layer, Mixer, Mlp, QkNorm, Residual};

/// What a tensor is for. Weights are `[out, in]`, biases and norms `[out]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the names are the documentation
pub enum Part {
    Embedding,
    FinalNorm,
    Head,
    MixerNorm,
    Q,
    K,
    V,
    QBias,
    KBias,
    VBias,
    QNorm,
    KNorm,
    Out,
    OutBias,
    MixerPostNorm,
    MlpNorm,
    Gate,
    Up,
    Down,
    GateBias,
    UpBias,
    DownBias,
    MlpPostNorm,
}

/// A tensor of the model: its part, and the layer unless it stands outside the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId {
    /// Layer, counted from 0.
    pub layer: Option<usize>,
    /// Its part in it.
    pub part: Part,
}

impl std::fmt::Display for TensorId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.layer {
            Some(layer) => write!(f, "{:?} of layer {layer}", self.part),
            None => write!(f, "{:?}", self.part),
        }
    }
}

impl Part {
    /// The tensor of this part outside the layers.
    pub fn global(self) -> TensorId {
        TensorId { layer: None, part: self }
    }

    /// The tensor of this part in a layer.
    pub fn of(self, layer: usize) -> TensorId {
        TensorId { layer: Some(layer), part: self }
    }
}

impl Decoder {
    /// Every tensor the model has with its shape, slowest dimension first.
    pub fn tensors(&self) -> Vec<(TensorId, Vec<usize>)> {
        let global = |part: Part| Some((part.global(), self.shape(part.global())?));
        let mut list = Vec::from_iter(global(Part::Embedding));
        for (i, layer) in self.layers.iter().enumerate() {
            list.extend(layer.tensors(self.width).into_iter().map(|(part, shape)| (part.of(i), shape)));
        }
        list.extend(global(Part::FinalNorm));
        list.extend(global(Part::Head));
        list
    }

    /// Shape of one tensor; none if the model has no such tensor.
    pub fn shape(&self, id: TensorId) -> Option<Vec<usize>> {
        match (id.layer, id.part) {
            (Some(layer), part) => {
                let tensors = self.layers.get(layer)?.tensors(self.width);
                tensors.into_iter().find(|(own, _)| *own == part).map(|(_, shape)| shape)
            }
            (None, part) if !self.has(part) => None,
            (None, Part::FinalNorm) => Some(vec![self.width]),
            (None, _) => Some(vec![self.vocab, self.width]),
        }
    }

    /// Whether the model has a tensor of this part outside the layers.
    pub fn has(&self, part: Part) -> bool {
        let Ends { embedding, head } = self.ends;
        match part {
            Part::Embedding => embedding || head && self.tied_embeddings,
            Part::FinalNorm => head,
            Part::Head => head && !self.tied_embeddings,
            _ => false,
        }
    }

    /// Number of parameters: the element count of a checkpoint of this model.
    pub fn params(&self) -> usize {
        self.tensors().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    /// Numbers kept per token by the KV cache, over all layers: `2 * kv_heads * head_dim` each.
    pub fn kv_values_per_token(&self) -> usize {
        self.layers
            .iter()
            .map(|layer| match &layer.mixer {
                Mixer::Gqa(gqa) => 2 * gqa.kv_width(),
            })
            .sum()
    }
}

impl Layer {
    fn tensors(&self, width: usize) -> Vec<(Part, Vec<usize>)> {
        let mut list = vec![(Part::MixerNorm, vec![width])];
        match &self.mixer {
            Mixer::Gqa(gqa) => {
                let (q, kv) = (gqa.q_width(), gqa.kv_width());
                list.extend([(Part::Q, vec![q, width]), (Part::K, vec![kv, width]), (Part::V, vec![kv, width])]);
                if gqa.qkv_bias {
                    list.extend([(Part::QBias, vec![q]), (Part::KBias, vec![kv]), (Part::VBias, vec![kv])]);
                }
                if gqa.qk_norm == QkNorm::Head {
                    list.extend([(Part::QNorm, vec![gqa.head_dim]), (Part::KNorm, vec![gqa.head_dim])]);
                }
                list.push((Part::Out, vec![width, q]));
                if gqa.out_bias {
                    list.push((Part::OutBias, vec![width]));
                }
            }
        }
        if self.residual == Residual::Sandwich {
            list.push((Part::MixerPostNorm, vec![width]));
        }
        list.push((Part::MlpNorm, vec![width]));
        match &self.mlp {
            Mlp::Dense(ffn) => {
                let inner = ffn.width;
                list.extend([
                    (Part::Gate, vec![inner, width]),
                    (Part::Up, vec![inner, width]),
                    (Part::Down, vec![width, inner]),
                ]);
                if ffn.bias {
                    list.extend([
                        (Part::GateBias, vec![inner]),
                        (Part::UpBias, vec![inner]),
                        (Part::DownBias, vec![width]),
                    ]);
                }
            }
        }
        if self.residual == Residual::Sandwich {
            list.push((Part::MlpPostNorm, vec![width]));
        }
        list
    }
}
