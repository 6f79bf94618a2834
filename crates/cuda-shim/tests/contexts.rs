//! Long contexts, whose attention several blocks share.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use plimsoll_backend::naive::Naive;
use plimsoll_backend::suite::{RandomWeights, Rng, cases};
use plimsoll_backend::{Backend, Model, Plan, Sequence};
use plimsoll_cuda::{Cuda, KvType};
use plimsoll_cuda_shim::{Order, Shim};
use plimsoll_engine::{KvCache, Runner, Step};
use plimsoll_formats::blocks::F32;
use plimsoll_model::{Decoder, Mixer, Mlp, Span};

const BLOCK: usize = 16;
/// Two splits and a bit.
const LEN: usize = 300;
/// Positions whose logits are compared: more than are taken one by one in a step.
const LAST: usize = 16;

/// One layer of a case with such heads.
fn decoder_of(name: &str, heads: usize, kv_heads: usize, head_dim: usize, span: Span) -> Decoder {
    let mut decoder = cases().into_iter().find(|case| case.name == name).unwrap().decoder;
    decoder.context = 512;
    decoder.layers.truncate(1);
    let Mixer::Gqa(gqa) = &mut decoder.layers[0].mixer;
    (gqa.heads, gqa.kv_heads, gqa.head_dim, gqa.span) = (heads, kv_heads, head_dim, span);
    decoder
}

fn decoder(heads: usize, kv_heads: usize, head_dim: usize, span: Span) -> Decoder {
    decoder_of("plain", heads, kv_heads, head_dim, span)
}

/// More queries a key than a pass takes, sizes that fill no unit, a window within a split, and more values than a block has.
fn setups() -> [(Decoder, KvType); 4] {
    [
        (decoder(9, 1, 8, Span::Full), KvType::F16),
        (decoder(6, 2, 10, Span::Window(150)), KvType::Q8),
        (decoder(2, 2, 72, Span::Window(20)), KvType::F16),
        (decoder(2, 1, 130, Span::Full), KvType::Q8),
    ]
}

fn runner<B: Backend>(backend: B, decoder: &Decoder) -> Runner<B> {
    let weights = RandomWeights::new(decoder, &F32, 5);
    let model = Model::load(backend, decoder.clone(), &weights).unwrap();
    let blocks = LEN.div_ceil(BLOCK);
    Runner::new(model, KvCache { blocks, block_tokens: BLOCK, block_bytes: 0 }, LEN, LEN).unwrap()
}

/// Logits of the last positions, computed so many at a time; blocks lie backwards.
fn logits<B: Backend>(backend: B, decoder: &Decoder, chunk: usize) -> Vec<f32> {
    let mut runner = runner(backend, decoder);
    let mut rng = Rng::new(17);
    let tokens: Vec<u32> = (0..LEN).map(|_| rng.below(decoder.vocab) as u32).collect();
    let block_table: Vec<u32> = (0..LEN.div_ceil(BLOCK) as u32).rev().collect();
    let mut step = |start: usize, end: usize| {
        let sequences = vec![Sequence { start, len: end - start, block_table: block_table.clone() }];
        let outputs = if start == 0 { vec![] } else { (0..(end - start) as u32).collect() };
        let plan = Plan { tokens: tokens[start..end].to_vec(), sequences, outputs, ..Plan::default() };
        runner.logits(&plan).unwrap()
    };
    step(0, LEN - LAST);
    (LEN - LAST..LEN).step_by(chunk).flat_map(|start| step(start, LEN.min(start + chunk))).collect()
}

#[test]
fn attention_over_splits_matches_its_definition() {
    for (decoder, kv) in setups() {
        let expected = logits(Naive, &decoder, LAST);
        let found = logits(Cuda::new(Shim::new(Order::Forward), kv).unwrap(), &decoder, LAST);
        assert_eq!(found.len(), expected.len());
        let squares =
            |values: &mut dyn Iterator<Item = f32>| values.map(|value| value as f64 * value as f64).sum::<f64>();
        let errors = squares(&mut expected.iter().zip(&found).map(|(a, b)| a - b));
        let error = errors / squares(&mut expected.iter().copied());
        // As in the suite.
        let most = if kv == KvType::F16 { 1e-6 } else { 2e-3 };
        assert!(error < most, "{kv:?}: NMSE {error:e}");
    }
}

#[test]
fn rows_have_the_same_bits_one_by_one_and_in_tiles() {
    for (decoder, kv) in setups() {
        let bits = |shim: Shim, items: usize, chunk: usize| -> Vec<u32> {
            let cuda = Cuda::new(shim, kv).unwrap().with_items(items);
            logits(cuda, &decoder, chunk).iter().map(|logit| logit.to_bits()).collect()
        };
        let tiles = bits(Shim::new(Order::Forward), 100, LAST);
        let large = Shim::new(Order::Shuffled(3)).with_shared(160 << 10);
        assert_eq!(bits(large, 100, LAST), tiles, "a block with more shared memory");
        assert_eq!(bits(Shim::new(Order::Backward), 100, 7), tiles, "few blocks");
        let wide = Shim::new(Order::Shuffled(4)).with_multiprocessors(5);
        assert_eq!(bits(wide, 0, 7), tiles, "many blocks and launches");
    }
}

/// Products of the prompt in bf16, those of decoding as ever.
#[test]
fn a_library_may_do_the_prompt() {
    for name in ["plain", "biases", "no grouping, odd sizes"] {
        let decoder = decoder_of(name, 9, 1, 12, Span::Full);
        let expected = logits(Naive, &decoder, LAST);
        let cuda = || Cuda::new(Shim::new(Order::Shuffled(3)), KvType::F16).unwrap();
        let plain = logits(cuda(), &decoder, LAST);
        let fast = logits(cuda().with_fast_prefill().unwrap(), &decoder, LAST);
        let most = |found: &[f32]| expected.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(most(&fast) > most(&plain) && most(&fast) < 3e-2, "{name}: {:e} {:e}", most(&plain), most(&fast));
    }
}

#[test]
fn rows_beyond_shared_memory_are_refused_while_loading() {
    let mut decoder = decoder(9, 1, 8, Span::Full);
    let Mlp::Dense(ffn) = &mut decoder.layers[0].mlp;
    ffn.width = 17_000;
    let weights = RandomWeights::new(&decoder, &F32, 5);
    let cuda = Cuda::new(Shim::new(Order::Forward), KvType::F16).unwrap();
    let error = Model::load(cuda, decoder, &weights).err().unwrap().to_string();
    let found = "rows of 17000 values on this GPU: 69376 bytes of shared memory, where a block has 65536";
    assert!(error.contains(found), "{error}");
}

#[test]
fn steps_beyond_a_grid_are_refused_before_any() {
    let decoder = decoder(9, 1, 8, Span::Full);
    let weights = RandomWeights::new(&decoder, &F32, 5);
    let cuda = Cuda::new(Shim::new(Order::Forward), KvType::F16).unwrap();
    let model = Model::load(cuda, decoder, &weights).unwrap();
    let kv = KvCache { blocks: 1, block_tokens: BLOCK, block_bytes: 0 };
    let error = Runner::new(model, kv, 65_536, 1).err().unwrap().to_string();
    assert!(error.contains("steps of 65536 tokens; it takes 65535 at most"), "{error}");
}
