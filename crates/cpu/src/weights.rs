//! A model's packed weights, one struct per op that reads them.

use plimsoll_backend::{Error, TensorSource};
use plimsoll_model::{Decoder, Ffn, Layer, Mixer, Mlp, Norm, Part, QkNorm, Residual, Ropes, TensorId};

use crate::NAME;
use crate::matrix::{Matrix, packs};
use crate::memory::Memory;
use crate::pool::Pool;
use crate::rope::check_heads;

/// A model on this backend.
pub struct Weights {
    pub(crate) decoder: Decoder,
    pub(crate) memory: Memory,
    pub(crate) ropes: Ropes,
    embedding: Option<Linear>,
    head: Option<Linear>,
    norm: Option<NormWeight>,
    pub(crate) layers: Vec<LayerWeights>,
}

pub(crate) struct LayerWeights {
    pub(crate) mixer_norm: NormWeight,
    pub(crate) qkv: [Linear; 3],
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

/// `W x + b`
pub(crate) struct Linear {
    pub(crate) matrix: Matrix,
    pub(crate) bias: Option<Vec<f32>>,
}

/// RMS norm.
pub(crate) struct NormWeight {
    pub(crate) weight: Vec<f32>,
    pub(crate) eps: f32,
}

impl Weights {
    /// Packs tensor by tensor, each read once.
    pub(crate) fn load(decoder: &Decoder, source: &dyn TensorSource, pool: &Pool) -> Result<Self, Error> {
        check_heads(decoder)?;
        let mut loader = Loader { source, pool, memory: Memory::default() };
        let embedding = loader.global(decoder, Part::Embedding)?;
        let layers = decoder.layers.iter().enumerate();
        let layers = layers.map(|(i, layer)| loader.layer(layer, i)).collect::<Result<_, _>>()?;
        let norm =
            decoder.has(Part::FinalNorm).then(|| loader.norm(decoder.norm, Part::FinalNorm.global())).transpose()?;
        let head = loader.global(decoder, Part::Head)?;
        let ropes = Ropes::new(decoder);
        Ok(Self { decoder: decoder.clone(), memory: loader.memory, ropes, embedding, head, norm, layers })
    }

    /// The matrix of the tokens.
    pub(crate) fn embedding(&self) -> &Linear {
        self.embedding.as_ref().expect("a model that begins here")
    }

    /// Norm and matrix of the logits.
    pub(crate) fn head(&self) -> (&NormWeight, &Linear) {
        self.norm.as_ref().zip(self.head.as_ref().or(self.embedding.as_ref())).expect("a model that ends here")
    }
}

struct Loader<'a> {
    source: &'a dyn TensorSource,
    pool: &'a Pool,
    memory: Memory,
}

impl Loader<'_> {
    /// A matrix outside the layers, if the model has it.
    fn global(&mut self, decoder: &Decoder, part: Part) -> Result<Option<Linear>, Error> {
        decoder.has(part).then(|| self.linear(part.global(), None)).transpose()
    }

    fn linear(&mut self, weight: TensorId, bias: Option<TensorId>) -> Result<Linear, Error> {
        let view = self.source.tensor(weight)?;
        if !packs(view.block) {
            let what = format!("{} weights (tensor `{}`)", view.block, view.name);
            return Err(Error::Unsupported { backend: NAME, what });
        }
        let matrix = Matrix::pack(&view, &mut self.memory, self.pool)?;
        self.source.release(view);
        let bias = bias.map(|id| self.source.values(id)).transpose()?;
        Ok(Linear { matrix, bias })
    }

    fn norm(&self, norm: Norm, id: TensorId) -> Result<NormWeight, Error> {
        let Norm::Rms { eps } = norm;
        Ok(NormWeight { weight: self.source.values(id)?, eps })
    }

    fn layer(&mut self, layer: &Layer, i: usize) -> Result<LayerWeights, Error> {
        let (Mixer::Gqa(gqa), Mlp::Dense(Ffn { bias: mlp_bias, .. })) = (&layer.mixer, &layer.mlp);
        let mut linear =
            |weight: Part, has_bias: bool, bias: Part| self.linear(weight.of(i), has_bias.then(|| bias.of(i)));
        let qkv = [
            linear(Part::Q, gqa.qkv_bias, Part::QBias)?,
            linear(Part::K, gqa.qkv_bias, Part::KBias)?,
            linear(Part::V, gqa.qkv_bias, Part::VBias)?,
        ];
        let out = linear(Part::Out, gqa.out_bias, Part::OutBias)?;
        let gate = linear(Part::Gate, *mlp_bias, Part::GateBias)?;
        let up = linear(Part::Up, *mlp_bias, Part::UpBias)?;
        let down = linear(Part::Down, *mlp_bias, Part::DownBias)?;
        let norm = |part: Part| self.norm(layer.norm, part.of(i));
        let head_norm = |part| (gqa.qk_norm == QkNorm::Head).then(|| norm(part)).transpose();
        let post_norm = |part| (layer.residual == Residual::Sandwich).then(|| norm(part)).transpose();
        Ok(LayerWeights {
            mixer_norm: norm(Part::MixerNorm)?,
            qkv,
            q_norm: head_norm(Part::QNorm)?,
            k_norm: head_norm(Part::KNorm)?,
            out,
            mixer_post_norm: post_norm(Part::MixerPostNorm)?,
            mlp_norm: norm(Part::MlpNorm)?,
            gate,
            up,
            down,
            mlp_post_norm: post_norm(Part::MlpPostNorm)?,
        })
    }
}
