//! The CPU backend's ops: models of any shape and type, steps of any lengths over any block tables. Every sequence's logits
//! have the bits they have alone, at another number of threads and on another instruction set.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use plimsoll_backend::suite::{RandomWeights, Rng};
use plimsoll_backend::{Model, Plan, Sequence, TensorSource};
use plimsoll_cpu::{Cpu, KvType, Options, Tier};
use plimsoll_engine::{KvCache, Runner, Step};
use plimsoll_formats::TensorView;
use plimsoll_formats::blocks::{BlockType, F32, TABLE};
use plimsoll_model::*;

/// Blocks of each type to make matrices of.
static BLOCKS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let blocks = |block: &&'static BlockType| {
        let matrix = RandomWeights::matrix(block, 64, block.values, 1);
        matrix.tensor(Part::Embedding.global()).expect("just made").data.into_owned()
    };
    TABLE.iter().map(blocks).collect()
});

/// Matrices of one type, everything else f32.
struct Weights<'a> {
    decoder: &'a Decoder,
    /// Index in the table of types.
    matrix: usize,
}

impl TensorSource for Weights<'_> {
    fn tensor(&self, id: TensorId) -> std::result::Result<TensorView<'_>, plimsoll_formats::Error> {
        let mut tensors = self.decoder.tensors().into_iter().enumerate();
        let (seed, (_, shape)) = tensors.find(|(_, (tensor, _))| *tensor == id).expect("a tensor of the description");
        let block = if shape.len() == 2 { TABLE[self.matrix] } else { &F32 };
        let index = TABLE.iter().position(|other| *other == block).expect("a type of the table");
        let (blocks, mut rng) = (&BLOCKS[index], Rng::new(seed as u64));
        let count = block.tensor_bytes(&shape).expect("whole blocks") / block.bytes;
        let data: Vec<u8> =
            (0..count).flat_map(|_| &blocks[rng.below(64) * block.bytes..][..block.bytes]).copied().collect();
        Ok(TensorView { name: "random", block, shape, data: data.into() })
    }
}

fn decoder(u: &mut Unstructured<'_>, block: &BlockType) -> Result<Decoder> {
    // Widths are whole blocks, of one value for types that have none.
    let unit = block.values;
    let width = |u: &mut Unstructured<'_>| Ok(unit * u.int_in_range(1..=(288 / unit).clamp(2, 80))?);
    let kv_heads = u.int_in_range(1..=2)?;
    let heads = kv_heads * u.int_in_range(1..=9)?;
    let least = (1..=unit).find(|dim| (heads * dim).is_multiple_of(unit)).unwrap_or(unit);
    let head_dim = least * u.int_in_range(1..=(80 / least).max(1))?;
    let dim = u.int_in_range(0..=head_dim / 2)? * 2;
    let pairing = if u.arbitrary()? { Pairing::Half } else { Pairing::Adjacent };
    let gqa = Gqa {
        heads,
        kv_heads,
        head_dim,
        qkv_bias: u.arbitrary()?,
        out_bias: u.arbitrary()?,
        qk_norm: if u.arbitrary()? { QkNorm::Head } else { QkNorm::None },
        rope: (dim > 0).then_some(Rope { dim, pairing, theta: 10000.0, scaling: Scaling::None }),
        span: if u.arbitrary()? { Span::Window(u.int_in_range(1..=300)?) } else { Span::Full },
        scale: (head_dim as f32).powf(-0.5),
    };
    let norm = Norm::Rms { eps: 1e-5 };
    let residual = if u.arbitrary()? { Residual::Sandwich } else { Residual::PreNorm };
    let mlp = Mlp::Dense(Ffn { width: width(u)?, act: Act::Silu, bias: u.arbitrary()? });
    Ok(Decoder {
        vocab: u.int_in_range(1..=70)?,
        width: width(u)?,
        context: 1024,
        layers: vec![Layer { residual, norm, mixer: Mixer::Gqa(gqa), mlp }],
        norm,
        tied_embeddings: u.arbitrary()?,
        embedding_scale: 1.0,
        logit_scale: 1.0,
        logit_softcap: u.arbitrary::<bool>()?.then_some(10.0),
        ends: Ends::BOTH,
    })
}

/// A model on some number of threads and some instruction set, for steps of so many tokens.
fn runner(
    u: &mut Unstructured<'_>,
    weights: &Weights<'_>,
    kv: KvType,
    cache: KvCache,
    tokens: usize,
) -> Result<Runner<Cpu>> {
    let tiers: Vec<Tier> = Tier::here().collect();
    let mut options = Options::default();
    (options.tier, options.threads, options.kv) = (Some(*u.choose(&tiers)?), Some(u.int_in_range(1..=3)?), kv);
    let backend = Cpu::new(&options).expect("a tier that is there");
    let model = Model::load(backend, weights.decoder.clone(), weights).expect("a model that can be run");
    Ok(Runner::new(model, cache, tokens, tokens).expect("memory"))
}

/// A sequence on its way.
struct Running {
    tokens: Vec<u32>,
    blocks: Vec<u32>,
    done: usize,
    logits: Vec<f32>,
}

/// Takes some of the next tokens of each sequence; all of them when the input is at its end.
fn plan(u: &mut Unstructured<'_>, running: &[Running]) -> Result<Plan> {
    let mut plan = Plan::default();
    for Running { tokens, blocks, done, .. } in running {
        let left = tokens.len() - done;
        let len = match u.int_in_range(0..=2)? {
            0 => left,
            1 => left.min(1),
            _ => u.int_in_range(0..=left)?,
        };
        if len > 0 {
            plan.tokens.extend(&tokens[*done..done + len]);
            plan.sequences.push(Sequence { start: *done, len, block_table: blocks.clone() });
        }
    }
    plan.outputs = (0..plan.tokens.len() as u32).collect();
    Ok(plan)
}

/// Sequences of any lengths, and blocks for each from all over the cache.
fn sequences(u: &mut Unstructured<'_>, block_tokens: usize, vocab: usize) -> Result<Vec<Running>> {
    let mut running = Vec::new();
    for _ in 0..u.int_in_range(1..=4)? {
        let len: u32 = if u.ratio(1, 20)? { u.int_in_range(200..=600)? } else { u.int_in_range(1..=40)? };
        let seed: u32 = u.arbitrary()?;
        let tokens = (0..len).map(|i| i.wrapping_mul(seed) % vocab as u32).collect();
        running.push(Running { tokens, blocks: Vec::new(), done: 0, logits: Vec::new() });
    }
    let blocks = |running: &Running| running.tokens.len().div_ceil(block_tokens);
    let mut rng = Rng::new(u.arbitrary()?);
    let mut free: Vec<u32> = (0..running.iter().map(blocks).sum::<usize>() as u32).collect();
    for running in &mut running {
        running.blocks = (0..blocks(running)).map(|_| free.swap_remove(rng.below(free.len()))).collect();
    }
    Ok(running)
}

/// Runs all sequences side by side, in steps of any lengths.
fn run(u: &mut Unstructured<'_>, runner: &mut Runner<Cpu>, running: &mut [Running]) -> Result<()> {
    while running.iter().any(|sequence| sequence.done < sequence.tokens.len()) {
        let plan = plan(u, running)?;
        if plan.tokens.is_empty() {
            continue;
        }
        let logits = runner.logits(&plan).expect("a plan that fits");
        let mut rows = logits.chunks_exact(runner.vocab());
        for part in &plan.sequences {
            let sequence = running.iter_mut().find(|sequence| sequence.blocks == part.block_table);
            let sequence = sequence.expect("blocks belong to one sequence");
            sequence.done = part.end();
            sequence.logits.extend(rows.by_ref().take(part.len).flatten());
        }
    }
    Ok(())
}

/// Any other plan is refused, or computes something.
fn run_any(u: &mut Unstructured<'_>, runner: &mut Runner<Cpu>, blocks: usize) -> Result<()> {
    let tokens = vec![u.int_in_range(0..=70)?; u.int_in_range(0..=40)?];
    let block_table = (0..u.int_in_range(0..=80)?).map(|_| u.int_in_range(0..=blocks as u32)).collect::<Result<_>>()?;
    let start = if u.ratio(1, 8)? { usize::MAX } else { u.int_in_range(0..=1100)? };
    let sequences = vec![Sequence { start, len: u.int_in_range(0..=41)?, block_table }];
    let _ = runner.logits(&Plan { tokens, sequences, outputs: vec![u.int_in_range(0..=41)?], ..Plan::default() });
    Ok(())
}

fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let matrix = u.choose_index(TABLE.len())?;
    let decoder = decoder(u, TABLE[matrix])?;
    let weights = Weights { decoder: &decoder, matrix };
    let (kv, block_tokens) = (*u.choose(&KvType::ALL)?, u.int_in_range(1..=40)?);
    let mut running = sequences(u, block_tokens, decoder.vocab)?;
    let blocks = running.iter().map(|sequence| sequence.blocks.len()).sum();
    let tokens = running.iter().map(|sequence| sequence.tokens.len()).sum();
    let cache = KvCache { blocks, block_tokens, block_bytes: 0 };
    let mut together = runner(u, &weights, kv, cache, tokens)?;
    run(u, &mut together, &mut running)?;
    let mut alone = runner(u, &weights, kv, cache, tokens)?;
    for Running { tokens, blocks, logits, .. } in running {
        let outputs = (0..tokens.len() as u32).collect();
        let block_table = blocks.into_iter().rev().collect();
        let sequences = vec![Sequence { start: 0, len: tokens.len(), block_table }];
        let found = alone.logits(&Plan { tokens, sequences, outputs, ..Plan::default() }).expect("a plan that fits");
        let same = found.iter().zip(&logits).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same && found.len() == logits.len(), "{decoder:?}, {kv:?}, blocks of {block_tokens}");
    }
    run_any(u, &mut alone, blocks)
}

fuzz_target!(|input: &[u8]| {
    let _ = check(&mut Unstructured::new(input));
});
