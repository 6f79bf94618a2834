//! `config.json` of Hugging Face: typed access that names the field in every error, and the parts families share.

use serde_json::{Map, Value};

use crate::rope::yarn_magnitude;
use crate::*;

/// A configuration file, or an object inside one.
#[derive(Clone, Debug)]
pub struct Config {
    /// What stands before a field in messages: the objects around it, each with its dot.
    path: String,
    map: Map<String, Value>,
}

impl Config {
    /// Parses a file; `file` is its name in messages.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Error> {
        let syntax = |e: serde_json::Error| Error::Syntax { file: file.into(), reason: e.to_string() };
        Ok(Self { path: format!("{file}: "), map: serde_json::from_slice(bytes).map_err(syntax)? })
    }

    /// The name of a field in messages.
    pub(crate) fn field(&self, key: &str) -> String {
        format!("{}{key}", self.path)
    }

    /// A value read by `convert`; absent and null are `None`.
    fn read<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match convert(value) {
                Some(converted) => Ok(Some(converted)),
                None => Err(Error::invalid(&self.field(key), value, expected)),
            },
        }
    }

    /// The key is there with the value null.
    pub fn is_null(&self, key: &str) -> bool {
        matches!(self.map.get(key), Some(Value::Null))
    }

    /// A size: an integer of at least 1.
    pub fn size(&self, key: &str) -> Result<Option<usize>, Error> {
        let convert = |value: &Value| value.as_u64().filter(|n| *n > 0).and_then(|n| usize::try_from(n).ok());
        self.read(key, "a positive integer", convert)
    }

    /// A count: an integer of at least 0.
    pub fn count(&self, key: &str) -> Result<Option<usize>, Error> {
        let convert = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
        self.read(key, "a non-negative integer", convert)
    }

    /// A size that must be there.
    pub fn required(&self, key: &str) -> Result<usize, Error> {
        self.size(key)?.ok_or_else(|| Error::missing(&self.field(key), "a positive integer"))
    }

    /// A finite number.
    pub fn float(&self, key: &str) -> Result<Option<f32>, Error> {
        let convert = |value: &Value| value.as_f64().map(|x| x as f32).filter(|x| x.is_finite());
        self.read(key, "a number", convert)
    }

    /// True or false.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Error> {
        self.read(key, "true or false", Value::as_bool)
    }

    /// A string.
    pub fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        self.read(key, "a string", Value::as_str)
    }

    /// A list of strings.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<&str>>, Error> {
        let convert = |value: &'_ Value| -> Option<Vec<String>> {
            value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
        };
        self.read(key, "a list of strings", convert)?;
        let list = self.map.get(key).and_then(Value::as_array);
        Ok(list.map(|list| list.iter().filter_map(Value::as_str).collect()))
    }

    /// An object.
    pub fn object(&self, key: &str) -> Result<Option<Config>, Error> {
        let map = self.read(key, "an object", Value::as_object)?;
        Ok(map.map(|map| Config { path: format!("{}.", self.field(key)), map: map.clone() }))
    }

    /// Refuses any value of `key` but the given ones (or absence).
    pub fn only(&self, key: &str, supported: &[&str]) -> Result<(), Error> {
        match self.text(key)? {
            Some(found) if !supported.contains(&found) => {
                Err(Error::unsupported(&self.field(key), found, supported.join(", ")))
            }
            _ => Ok(()),
        }
    }
}

/// What a family's configuration class assumes where a file says nothing.
pub(crate) struct Defaults {
    /// `num_key_value_heads` when absent; `None`: as many as `num_attention_heads`, which null always means.
    pub(crate) kv_heads: Option<usize>,
    /// `head_dim` when absent or null; `None`: `hidden_size / num_attention_heads`.
    pub(crate) head_dim: Option<usize>,
    /// `rms_norm_eps`.
    pub(crate) eps: f32,
    /// `max_position_embeddings`.
    pub(crate) context: usize,
    /// `partial_rotary_factor`.
    pub(crate) rotary: f32,
    /// How the container's q and k are rotated.
    pub(crate) pairing: Pairing,
}

/// The Llama-shaped decoder that a configuration describes; families change what differs.
pub(crate) fn dense(config: &Config, defaults: &Defaults) -> Result<Decoder, Error> {
    config.only("hidden_act", &["silu"])?;
    if config.map.contains_key("quantization_config") && !config.is_null("quantization_config") {
        return Err(Error::unsupported(&config.field("quantization_config"), "present", "f32, f16 and bf16 weights"));
    }
    let width = config.required("hidden_size")?;
    let heads = config.required("num_attention_heads")?;
    let kv_heads = match config.size("num_key_value_heads")? {
        Some(kv_heads) => kv_heads,
        None if config.is_null("num_key_value_heads") => heads,
        None => defaults.kv_heads.unwrap_or(heads),
    };
    let head_dim = config.size("head_dim")?.or(defaults.head_dim).unwrap_or(width / heads);
    let context = config.size("max_position_embeddings")?.unwrap_or(defaults.context);
    let norm = Norm::Rms { eps: config.float("rms_norm_eps")?.unwrap_or(defaults.eps) };
    let gqa = Gqa {
        heads,
        kv_heads,
        head_dim,
        qkv_bias: false,
        out_bias: false,
        qk_norm: QkNorm::None,
        rope: Some(rope(config, defaults, head_dim, context)?),
        span: Span::Full,
        scale: (head_dim as f32).powf(-0.5),
    };
    let mlp = Mlp::Dense(Ffn { width: config.required("intermediate_size")?, act: Act::Silu, bias: false });
    let layer = Layer { residual: Residual::PreNorm, norm, mixer: Mixer::Gqa(gqa), mlp };
    let layers = config.required("num_hidden_layers")?;
    Ok(Decoder {
        vocab: config.required("vocab_size")?,
        width,
        context,
        layers: layer.repeat(&config.field("num_hidden_layers"), layers)?,
        norm,
        tied_embeddings: config.flag("tie_word_embeddings")?.unwrap_or(false),
        embedding_scale: 1.0,
        logit_scale: 1.0,
        logit_softcap: None,
        ends: Ends::BOTH,
    })
}

/// The rotary part of a configuration, wherever a version of transformers wrote it: inside `rope_parameters` or
/// `rope_scaling` first, then the top level, then the class default.
struct RopeConfig {
    inner: Option<Config>,
    outer: Config,
}

impl RopeConfig {
    fn new(config: &Config) -> Result<Self, Error> {
        let inner = config.object("rope_parameters")?.or(config.object("rope_scaling")?);
        if let Some(inner) = &inner
            && inner.map.values().any(Value::is_object)
        {
            let field = inner.path.trim_end_matches('.');
            return Err(Error::unsupported(field, "one entry per layer type", "one rotation for all layers"));
        }
        Ok(Self { inner, outer: config.clone() })
    }

    fn float(&self, key: &str) -> Result<Option<f32>, Error> {
        let inner = self.inner.as_ref().map(|inner| inner.float(key)).transpose()?.flatten();
        Ok(inner.or(self.outer.float(key)?))
    }

    /// A number of the scaling itself, which the top level never holds.
    fn required(&self, key: &str) -> Result<f32, Error> {
        let inner = self.inner.as_ref().map(|inner| (inner.float(key), inner.field(key)));
        match inner {
            Some((value, field)) => value?.ok_or_else(|| Error::missing(&field, "a number")),
            None => Err(Error::missing(&self.outer.field(key), "a number")),
        }
    }

    fn kind(&self) -> Result<&str, Error> {
        let Some(inner) = &self.inner else { return Ok("default") };
        Ok(inner.text("rope_type")?.or(inner.text("type")?).unwrap_or("default"))
    }

    /// The context length before stretching, which (alone of all) is read from the top level first.
    fn original(&self, context: usize) -> Result<f32, Error> {
        let key = "original_max_position_embeddings";
        Ok(self.outer.float(key)?.or(self.float(key)?).unwrap_or(context as f32))
    }

    fn scaling(&self, context: usize) -> Result<Scaling, Error> {
        match self.kind()? {
            "default" => Ok(Scaling::None),
            "linear" => Ok(Scaling::Linear { factor: self.required("factor")? }),
            "llama3" => Ok(Scaling::Llama3 {
                factor: self.required("factor")?,
                low: self.required("low_freq_factor")?,
                high: self.required("high_freq_factor")?,
                original: self.original(context)?,
            }),
            "yarn" => Ok(Scaling::Yarn {
                factor: self.required("factor")?,
                original: self.original(context)?,
                beta_fast: self.float("beta_fast")?.unwrap_or(32.0),
                beta_slow: self.float("beta_slow")?.unwrap_or(1.0),
                cos_scale: self.attention_factor()?,
                truncate: self.inner.as_ref().map(|c| c.flag("truncate")).transpose()?.flatten().unwrap_or(true),
            }),
            other => Err(Error::unsupported(
                &self.inner.as_ref().unwrap_or(&self.outer).field("rope_type"),
                other,
                "default, linear, llama3, yarn",
            )),
        }
    }

    fn attention_factor(&self) -> Result<f32, Error> {
        if let Some(given) = self.float("attention_factor")? {
            return Ok(given);
        }
        let factor = self.required("factor")?;
        let (mscale, all) = (self.float("mscale")?, self.float("mscale_all_dim")?);
        Ok(match (mscale.filter(|m| *m != 0.0), all.filter(|m| *m != 0.0)) {
            (Some(mscale), Some(all)) => yarn_magnitude(factor, mscale) / yarn_magnitude(factor, all),
            _ => yarn_magnitude(factor, 1.0),
        })
    }
}

fn rope(config: &Config, defaults: &Defaults, head_dim: usize, context: usize) -> Result<Rope, Error> {
    let rope = RopeConfig::new(config)?;
    let rotary = rope.float("partial_rotary_factor")?.unwrap_or(defaults.rotary);
    Ok(Rope {
        dim: (head_dim as f32 * rotary) as usize,
        pairing: defaults.pairing,
        theta: rope.float("rope_theta")?.unwrap_or(10000.0),
        scaling: rope.scaling(context)?,
    })
}
