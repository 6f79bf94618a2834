//! Models of random weights in the shape of published ones: what speed is measured on where those cannot be had.
//!
//! Sizes, block types, keys and tensor names are those of real files; the tokenizer works; the words mean nothing.

mod mixes;
mod noise;
mod shapes;
mod words;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use plimsoll_formats::blocks::{self, BlockType};
use plimsoll_formats::gguf::Writer;
use plimsoll_model::{Container, Part, TensorId};

use crate::Result;
use crate::rng::Rng;
use crate::train::recipe::Recipe;
use crate::train::vocabulary::set_vocabulary;
use mixes::{MIXES, Mix};
use noise::Noise;
use shapes::{SHAPES, Shape};

/// `cargo xtask synth SHAPE TYPE [-o FILE] [--layers N] [--seed N]`
struct Options {
    shape: Shape,
    mix: &'static Mix,
    file: PathBuf,
    seed: u64,
}

/// A tensor to be written.
struct Tensor {
    id: TensorId,
    name: String,
    shape: Vec<usize>,
    block: &'static BlockType,
}

/// Writes a file, to `target/synth` unless it is told where.
pub fn synth(root: &Path, args: &[String]) -> Result<()> {
    let Options { shape, mix, file, seed } = Options::parse(root, args)?;
    let start = Instant::now();
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut out = BufWriter::new(File::create(&file)?);
    describe(&shape, mix, seed)?.write(&mut out)?;
    out.flush()?;
    let bytes = std::fs::metadata(&file)?.len();
    println!("{}: {:.3} GB in {:.1} s", file.display(), bytes as f64 / 1e9, start.elapsed().as_secs_f64());
    Ok(())
}

impl Options {
    fn parse(root: &Path, args: &[String]) -> Result<Self> {
        let (mut names, mut file, mut layers, mut seed) = (Vec::new(), None, None, 1);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "-o" => file = Some(PathBuf::from(value()?)),
                "--layers" => layers = Some(value()?.parse()?),
                "--seed" => seed = value()?.parse()?,
                flag if flag.starts_with('-') => return Err(format!("synth knows no {flag}").into()),
                name => names.push(name),
            }
        }
        let &[shape, mix] = &names[..] else { return Err(usage().into()) };
        let file = file.unwrap_or_else(|| root.join(format!("target/synth/{shape}-{mix}.gguf")));
        let mut shape = Shape::named(shape).ok_or_else(usage)?;
        shape.layers = layers.unwrap_or(shape.layers);
        Ok(Self { shape, mix: Mix::named(mix).ok_or_else(usage)?, file, seed })
    }
}

fn usage() -> String {
    let shapes = SHAPES.map(|shape| shape.name).join(", ");
    let mixes = MIXES.iter().map(|mix| mix.name).collect::<Vec<_>>().join(", ");
    format!("usage: cargo xtask synth SHAPE TYPE [-o FILE] [--layers N] [--seed N]\nshapes: {shapes}\ntypes: {mixes}")
}

/// The file, its tensors made while it is written.
fn describe(shape: &Shape, mix: &Mix, seed: u64) -> Result<Writer<'static>> {
    let mut writer = Writer::new();
    for (key, value) in shape.keys() {
        writer.set(&key, value);
    }
    writer.set("general.type", "model");
    writer.set("general.name", format!("Random {} {}", shape.name, mix.name).as_str());
    writer.set("general.file_type", mix.file_type);
    writer.set("general.quantization_version", 2u32);
    let recipe = Recipe::named(shape.demo).ok_or_else(|| format!("no demo model is called {}", shape.demo))?;
    let specials = recipe.tokens.specials;
    let mut words = words::words(shape.vocab - specials.len());
    words.texts.extend(specials.iter().map(ToString::to_string));
    set_vocabulary(&mut writer, recipe, words.texts, words.merges)?;

    if let Some(factors) = shape.rope_factors() {
        let bytes: Vec<u8> = factors.iter().flat_map(|factor| factor.to_le_bytes()).collect();
        writer.tensor("rope_freqs.weight", &blocks::F32, &[factors.len()], bytes)?;
    }
    let mut seeds = Rng(seed);
    for Tensor { id, name, shape: dims, block } in tensors(shape, mix)? {
        // Columns of a matrix; of a vector, the columns of the matrix it is added to or scales.
        let columns = if dims.len() == 2 { dims[1] } else { shape.width };
        let noise = if is_norm(id.part) { Noise::norm() } else { Noise::new(block, (columns as f32).sqrt().recip())? };
        let (bytes, seed) = (block.tensor_bytes(&dims)?, seeds.next());
        writer.stream(&name, block, &dims, move |out| noise.write(seed, bytes, out))?;
    }
    Ok(writer)
}

fn is_norm(part: Part) -> bool {
    use Part::{FinalNorm, KNorm, MixerNorm, MixerPostNorm, MlpNorm, MlpPostNorm, QNorm};
    matches!(part, FinalNorm | KNorm | MixerNorm | MixerPostNorm | MlpNorm | MlpPostNorm | QNorm)
}

/// Every tensor of the description, as GGUF stores it.
fn tensors(shape: &Shape, mix: &Mix) -> Result<Vec<Tensor>> {
    let (family, decoder) = shape.decoder()?;
    let names = family.names(Container::Gguf);
    let fused = family.name == "glm4"; // gate and up are one tensor, named after up
    let mut tensors = Vec::new();
    for (id, mut dims) in decoder.tensors() {
        match id.part {
            Part::Gate if fused => continue,
            Part::Up if fused => dims[0] *= 2,
            _ => {}
        }
        let block = mix.block(id, &dims, shape.layers, shape.tied);
        tensors.push(Tensor { id, name: names.name(id)?, shape: dims, block });
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use plimsoll::text::Special;
    use plimsoll::{Opened, Settings, open_unlocked};
    use tempfile::TempDir;

    use super::*;

    /// A shape of the same kind that takes no time.
    fn tiny(shape: Shape) -> Shape {
        let rope_dim = if shape.rope_dim == shape.head_dim { 64 } else { 32 };
        // A row of 288 values is no whole block of 256.
        let sizes = Shape { layers: 2, width: 256, heads: 4, kv_heads: 2, head_dim: 64, inner: 288, ..shape };
        Shape { vocab: 700, context: 64, rope_dim, ..sizes }
    }

    /// The model and the folder of its file, which is to stay until the weights are read.
    fn open(shape: &Shape, mix: &Mix) -> (Opened, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tiny.gguf");
        describe(shape, mix, 1).unwrap().write(&mut File::create(&file).unwrap()).unwrap();
        (open_unlocked(&file).unwrap(), folder)
    }

    #[test]
    fn every_shape_and_type_loads_and_runs() {
        let types = MIXES.iter().map(|mix| (SHAPES[0], mix));
        let shapes = SHAPES.into_iter().map(|shape| (shape, Mix::named("q4_k_m").unwrap()));
        for (shape, mix) in types.chain(shapes) {
            let what = format!("{} {}", shape.name, mix.name);
            let shape = tiny(shape);
            let (opened, _folder) = open(&shape, mix);
            let (family, decoder) = shape.decoder().unwrap();
            assert_eq!(opened.checkpoint().family().name, family.name, "{what}");
            assert_eq!(*opened.checkpoint().decoder(), decoder, "{what}");
            let scores = Settings::default().score(&opened, &[vec![1, 2, 3]], 0, &|_, _| ()).unwrap();
            let logprobs: Vec<f32> = scores[0].logprobs.iter().flatten().copied().collect();
            // Far from certain and far from impossible: logits of about one.
            assert!(logprobs.len() == 2 && logprobs.iter().all(|x| (-20.0..-1.0).contains(x)), "{what}: {logprobs:?}");
        }
    }

    #[test]
    fn text_survives_the_tokenizer_and_words_are_few_tokens() {
        for shape in SHAPES {
            let (opened, _folder) = open(&Shape { vocab: 4000, ..tiny(shape) }, &MIXES[0]);
            let tokenizer = opened.text().tokenizer().unwrap();
            let text = "the note, naïve 東京 🙂\n{\"a\": 12}";
            let ids = tokenizer.encode(text, Special::PROMPT).unwrap();
            assert_eq!(tokenizer.decode(&ids, true).unwrap(), text, "{}", shape.name);
            let words = tokenizer.encode("the note", Special::TEXT).unwrap();
            assert!(words.len() <= 4, "{}: {words:?}", shape.name);
        }
    }

    /// Tensors alone: what is missing to a published file is its larger vocabulary.
    #[test]
    fn files_are_as_large_as_published_ones() {
        let published = [
            ("llama-1b", "f16", 2.48),
            ("llama-1b", "q8_0", 1.32),
            ("llama-1b", "q6_k", 1.02),
            ("llama-1b", "q4_k_m", 0.808),
            ("llama-1b", "q4_0", 0.773),
            ("llama-8b", "q4_k_m", 4.92),
            ("llama-8b", "q8_0", 8.54),
            ("qwen3-0.6b", "q4_k_m", 0.397),
            ("mistral-7b", "q4_k_m", 4.37),
            ("glm-4-9b", "q4_k_m", 6.17),
        ];
        for (shape, mix, gigabytes) in published {
            let tensors = tensors(&Shape::named(shape).unwrap(), Mix::named(mix).unwrap()).unwrap();
            let bytes: usize = tensors.iter().map(|tensor| tensor.block.tensor_bytes(&tensor.shape).unwrap()).sum();
            let ratio = bytes as f64 / 1e9 / gigabytes;
            assert!((0.98..1.002).contains(&ratio), "{shape} {mix}: {bytes} bytes, {ratio:.3} of {gigabytes} GB");
        }
    }
}
