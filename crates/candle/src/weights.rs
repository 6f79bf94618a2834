//! Dequantized weights, one struct per op that reads them.

use candle_core::{Device, Tensor};
use plimsoll_backend::{Error, TensorSource};
use plimsoll_model::{Decoder, Ffn, Gqa, Mixer, Mlp, Norm, Part, QkNorm, Residual, Rope, RopeTable, Span, TensorId};

use crate::device;

/// A model's weights on a device.
pub struct Weights {
    /// None where the model does not begin here.
    pub(crate) embedding: Option<Tensor>,
    pub(crate) embedding_scale: f64,
    pub(crate) layers: Vec<LayerWeights>,
    /// Norm and matrix of the logits; none where the model does not end here.
    pub(crate) head: Option<(NormWeight, Linear)>,
    pub(crate) logit_scale: f64,
    pub(crate) logit_softcap: Option<f64>,
    /// The different rotations of the layers, and the different spans.
    pub(crate) ropes: Vec<RopeTable>,
    pub(crate) spans: Vec<Span>,
}

pub(crate) struct LayerWeights {
    pub(crate) gqa: Gqa,
    /// Indices into [`Weights::ropes`] and [`Weights::spans`].
    pub(crate) rope: Option<usize>,
    pub(crate) span: usize,
    pub(crate) mixer_norm: NormWeight,
    pub(crate) q: Linear,
    pub(crate) k: Linear,
    pub(crate) v: Linear,
    pub(crate) q_norm: Option<NormWeight>,
    pub(crate) k_norm: Option<NormWeight>,
    pub(crate) out: Linear,
    pub(crate) mixer_post_norm: Option<NormWeight>,
    pub(crate) mlp_norm: NormWeight,
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
    pub(crate) mlp_post_norm: Option<NormWeight>,
}

/// `[out, in]` and `[out]`.
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

pub(crate) struct NormWeight {
    weight: Tensor,
    eps: f64,
}

impl Linear {
    /// `x W^T + b`, `x: [T, in]`.
    pub(crate) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let y = x.matmul(&self.weight.t()?)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(bias),
            None => Ok(y),
        }
    }
}

impl NormWeight {
    /// RMS norm over the last dimension.
    pub(crate) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let mean = x.sqr()?.mean_keepdim(candle_core::D::Minus1)?;
        x.broadcast_div(&(mean + self.eps)?.sqrt()?)?.broadcast_mul(&self.weight)
    }
}

/// Reads tensors from a source onto a device.
struct Loader<'a> {
    source: &'a dyn TensorSource,
    device: &'a Device,
}

impl Loader<'_> {
    fn tensor(&self, id: TensorId) -> Result<Tensor, Error> {
        let view = self.source.tensor(id)?;
        Tensor::from_vec(view.to_f32()?, view.shape, self.device).map_err(device)
    }

    fn linear(&self, weight: TensorId, bias: Option<TensorId>) -> Result<Linear, Error> {
        let bias = bias.map(|id| self.tensor(id)).transpose()?;
        Ok(Linear { weight: self.tensor(weight)?, bias })
    }

    fn norm(&self, norm: Norm, id: TensorId) -> Result<NormWeight, Error> {
        let Norm::Rms { eps } = norm;
        Ok(NormWeight { weight: self.tensor(id)?, eps: eps.into() })
    }
}

impl Weights {
    pub(crate) fn load(decoder: &Decoder, source: &dyn TensorSource, device: &Device) -> Result<Self, Error> {
        let loader = Loader { source, device };
        let (mut ropes, mut spans) = (Vec::new(), Vec::new());
        let layers = decoder.layers.iter().enumerate();
        let layers = layers.map(|(i, layer)| LayerWeights::load(&loader, layer, i, &mut ropes, &mut spans));
        let layers = layers.collect::<Result<_, _>>()?;
        let global = |part: Part| decoder.has(part).then(|| loader.tensor(part.global())).transpose();
        let embedding = global(Part::Embedding)?;
        let head = global(Part::Head)?.or_else(|| embedding.clone()).map(|weight| Linear { weight, bias: None });
        let norm = |part: Part| decoder.has(part).then(|| loader.norm(decoder.norm, part.global())).transpose();
        Ok(Self {
            embedding,
            embedding_scale: decoder.embedding_scale.into(),
            layers,
            head: norm(Part::FinalNorm)?.zip(head),
            logit_scale: decoder.logit_scale.into(),
            logit_softcap: decoder.logit_softcap.map(f64::from),
            ropes: ropes.iter().map(Rope::table).collect(),
            spans,
        })
    }
}

impl LayerWeights {
    fn load(
        loader: &Loader<'_>,
        layer: &plimsoll_model::Layer,
        i: usize,
        ropes: &mut Vec<Rope>,
        spans: &mut Vec<Span>,
    ) -> Result<Self, Error> {
        let (Mixer::Gqa(gqa), Mlp::Dense(Ffn { bias: mlp_bias, .. })) = (&layer.mixer, &layer.mlp);
        let linear =
            |weight: Part, has_bias: bool, bias: Part| loader.linear(weight.of(i), has_bias.then(|| bias.of(i)));
        let norm = |part: Part| loader.norm(layer.norm, part.of(i));
        let head_norm = |part| (gqa.qk_norm == QkNorm::Head).then(|| norm(part)).transpose();
        let post_norm = |part| (layer.residual == Residual::Sandwich).then(|| norm(part)).transpose();
        Ok(Self {
            gqa: gqa.clone(),
            rope: gqa.rope.as_ref().map(|rope| index_of(ropes, rope)),
            span: index_of(spans, &gqa.span),
            mixer_norm: norm(Part::MixerNorm)?,
            q: linear(Part::Q, gqa.qkv_bias, Part::QBias)?,
            k: linear(Part::K, gqa.qkv_bias, Part::KBias)?,
            v: linear(Part::V, gqa.qkv_bias, Part::VBias)?,
            q_norm: head_norm(Part::QNorm)?,
            k_norm: head_norm(Part::KNorm)?,
            out: linear(Part::Out, gqa.out_bias, Part::OutBias)?,
            mixer_post_norm: post_norm(Part::MixerPostNorm)?,
            mlp_norm: norm(Part::MlpNorm)?,
            gate: linear(Part::Gate, *mlp_bias, Part::GateBias)?,
            up: linear(Part::Up, *mlp_bias, Part::UpBias)?,
            down: linear(Part::Down, *mlp_bias, Part::DownBias)?,
            mlp_post_norm: post_norm(Part::MlpPostNorm)?,
        })
    }
}

/// Index of a value in a list of different ones, added where it is new.
fn index_of<T: Clone + PartialEq>(list: &mut Vec<T>, value: &T) -> usize {
    list.iter().position(|known| known == value).unwrap_or_else(|| {
        list.push(value.clone());
        list.len() - 1
    })
}
