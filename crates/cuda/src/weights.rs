//! A model's weights on the device.

use plimsoll_backend::{Error, TensorSource};
use plimsoll_model::*;

use crate::device::{Buffer, Device};
use crate::driver::Driver;
use crate::pack::{Pairs, pack};
use crate::params;

/// A model on this backend.
pub struct Weights<D: Driver> {
    pub(crate) decoder: Decoder,
    pub(crate) ropes: Ropes,
    embedding: Option<Linear<D>>,
    head: Option<Linear<D>>,
    norm: Option<Norm<D>>,
    pub(crate) layers: Vec<LayerWeights<D>>,
}

pub(crate) struct LayerWeights<D: Driver> {
    pub(crate) mixer_norm: Norm<D>,
    pub(crate) qkv: [Linear<D>; 3],
    pub(crate) q_norm: Option<Norm<D>>,
    pub(crate) k_norm: Option<Norm<D>>,
    pub(crate) out: Linear<D>,
    pub(crate) mixer_post_norm: Option<Norm<D>>,
    pub(crate) mlp_norm: Norm<D>,
    pub(crate) gate_up: [Linear<D>; 2],
    pub(crate) down: Linear<D>,
    pub(crate) mlp_post_norm: Option<Norm<D>>,
}

/// `W x + b`
pub(crate) struct Linear<D: Driver> {
    /// Keep what the addresses lie in.
    _planes: [Buffer<D>; 4],
    _bias: Option<Buffer<D>>,
    pub(crate) matrix: params::Matrix,
    pub(crate) width: usize,
}

/// RMS norm.
pub(crate) struct Norm<D: Driver> {
    weight: Buffer<D>,
    pub(crate) eps: f32,
}

impl<D: Driver> Norm<D> {
    pub(crate) fn address(&self) -> u64 {
        self.weight.address
    }
}

impl<D: Driver> Linear<D> {
    pub(crate) fn rows(&self) -> usize {
        self.matrix.rows as usize
    }

    /// Whether its products take activations in eight bits.
    pub(crate) fn rounds(&self) -> bool {
        self.matrix.format >= 3
    }
}

impl<D: Driver> Weights<D> {
    /// Packs tensor by tensor, each read once.
    pub(crate) fn load(device: &Device<D>, decoder: &Decoder, source: &dyn TensorSource) -> Result<Self, Error> {
        let loader = Loader { device, source };
        let global = |part: Part| decoder.has(part).then(|| loader.linear(part.global(), None, None)).transpose();
        let norm = |part: Part| decoder.has(part).then(|| loader.norm(decoder.norm, part.global())).transpose();
        Ok(Self {
            decoder: decoder.clone(),
            ropes: Ropes::new(decoder),
            embedding: global(Part::Embedding)?,
            layers: decoder
                .layers
                .iter()
                .enumerate()
                .map(|(i, layer)| loader.layer(layer, i))
                .collect::<Result<_, _>>()?,
            norm: norm(Part::FinalNorm)?,
            head: global(Part::Head)?,
        })
    }

    /// The matrix of the tokens.
    pub(crate) fn embedding(&self) -> &Linear<D> {
        self.embedding.as_ref().expect("a model that begins here")
    }

    /// Norm and matrix of the logits, if the model ends here.
    pub(crate) fn head(&self) -> Option<(&Norm<D>, &Linear<D>)> {
        self.norm.as_ref().zip(self.head.as_ref().or(self.embedding.as_ref()))
    }
}

struct Loader<'a, D: Driver> {
    device: &'a Device<D>,
    source: &'a dyn TensorSource,
}

impl<D: Driver> Loader<'_, D> {
    fn linear(&self, weight: TensorId, bias: Option<TensorId>, pairs: Option<Pairs>) -> Result<Linear<D>, Error> {
        let view = self.source.tensor(weight)?;
        let (format, packed, rows, width) = pack(&view, pairs)?;
        self.source.release(view);
        let filled = |bytes: &[u8]| self.device.filled(bytes);
        let planes = [filled(&packed.codes)?, filled(&packed.high)?, filled(&packed.scales)?, filled(&packed.blocks)?];
        let in_order = |values: Vec<f32>| match pairs {
            Some(pairs) => pairs.order(&values, 1),
            None => values,
        };
        let bias = bias.map(|id| self.device.filled(&in_order(self.source.values(id)?))).transpose()?;
        let [codes, high, scales, blocks] = planes.each_ref().map(|plane| plane.address);
        let bias_address = bias.as_ref().map_or(0, |bias| bias.address);
        let (format, rows) = (format.id, rows as u32);
        let matrix = params::Matrix { codes, high, scales, blocks, bias: bias_address, format, rows };
        Ok(Linear { _planes: planes, _bias: bias, matrix, width })
    }

    fn norm(&self, norm: plimsoll_model::Norm, id: TensorId) -> Result<Norm<D>, Error> {
        let plimsoll_model::Norm::Rms { eps } = norm;
        Ok(Norm { weight: self.device.filled(&self.source.values(id)?)?, eps })
    }

    fn layer(&self, layer: &Layer, i: usize) -> Result<LayerWeights<D>, Error> {
        let (Mixer::Gqa(gqa), Mlp::Dense(Ffn { bias: mlp_bias, .. })) = (&layer.mixer, &layer.mlp);
        let ordered = |weight: Part, has_bias: bool, bias: Part, pairs: Option<Pairs>| {
            self.linear(weight.of(i), has_bias.then(|| bias.of(i)), pairs)
        };
        let linear = |weight: Part, has_bias: bool, bias: Part| ordered(weight, has_bias, bias, None);
        let halves = gqa.rope.as_ref().filter(|rope| rope.pairing == Pairing::Half);
        let pairs = halves.map(|rope| Pairs { head_dim: gqa.head_dim, rotated: rope.dim });
        let norm = |part: Part| self.norm(layer.norm, part.of(i));
        let head_norm = |part| (gqa.qk_norm == QkNorm::Head).then(|| norm(part)).transpose();
        let post_norm = |part| (layer.residual == Residual::Sandwich).then(|| norm(part)).transpose();
        Ok(LayerWeights {
            mixer_norm: norm(Part::MixerNorm)?,
            qkv: [
                ordered(Part::Q, gqa.qkv_bias, Part::QBias, pairs)?,
                ordered(Part::K, gqa.qkv_bias, Part::KBias, pairs)?,
                linear(Part::V, gqa.qkv_bias, Part::VBias)?,
            ],
            q_norm: head_norm(Part::QNorm)?,
            k_norm: head_norm(Part::KNorm)?,
            out: linear(Part::Out, gqa.out_bias, Part::OutBias)?,
            mixer_post_norm: post_norm(Part::MixerPostNorm)?,
            mlp_norm: norm(Part::MlpNorm)?,
            gate_up: [linear(Part::Gate, *mlp_bias, Part::GateBias)?, linear(Part::Up, *mlp_bias, Part::UpBias)?],
            down: linear(Part::Down, *mlp_bias, Part::DownBias)?,
            mlp_post_norm: post_norm(Part::MlpPostNorm)?,
        })
    }
}
