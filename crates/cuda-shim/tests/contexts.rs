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

/// One layer of nine queries a key: more than a pass takes.
fn decoder(name: &str, span: Span) -> Decoder {
    let mut decoder = cases().into_iter().find(|case| case.name == name).unwrap().decoder;
    decoder.context = 512;
    decoder.layers.truncate(1);
    let Mixer::Gqa(gqa) = &mut decoder.layers[0].mixer;
    (gqa.heads, gqa.kv_heads, gqa.span) = (9, 1, span);
    decoder
}

fn runner<B: Backend>(backend: B, decoder: &Decoder) -> Runner<B> {
    let weights = RandomWeights::new(decoder, &F32, 5);
    let model = Model::load(backend, decoder.clone(), &weights).unwrap();
    let blocks = LEN.div_ceil(BLOCK);
    Runner::new(model, KvCache { blocks, block_tokens: BLOCK, block_bytes: 0 }, LEN, LEN).unwrap()
}

/// Logits of the last positions, after all others in one step; blocks lie backwards.
fn logits(runner: &mut dyn Step, vocab: usize) -> Vec<f32> {
    let mut rng = Rng::new(17);
    let tokens: Vec<u32> = (0..LEN).map(|_| rng.below(vocab) as u32).collect();
    let block_table: Vec<u32> = (0..LEN.div_ceil(BLOCK) as u32).rev().collect();
    let mut found = Vec::new();
    for (start, end) in [(0, LEN - 8), (LEN - 8, LEN - 1), (LEN - 1, LEN)] {
        let sequences = vec![Sequence { start, len: end - start, block_table: block_table.clone() }];
        let outputs = if start == 0 { vec![] } else { (0..(end - start) as u32).collect() };
        let plan = Plan { tokens: tokens[start..end].to_vec(), sequences, outputs, ..Plan::default() };
        found.extend(runner.logits(&plan).unwrap());
    }
    found
}

#[test]
fn splits_of_attention_add_up_in_any_order() {
    for span in [Span::Full, Span::Window(150)] {
        let decoder = decoder("plain", span);
        let expected = logits(&mut runner(Naive, &decoder), decoder.vocab);
        let found = [Order::Forward, Order::Backward, Order::Shuffled(3)].map(|order| {
            logits(&mut runner(Cuda::new(Shim::new(order), KvType::F16).unwrap(), &decoder), decoder.vocab)
        });
        let most = expected.iter().zip(&found[0]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(most < 5e-3 && expected.len() == found[0].len(), "{most:e}");
        let bits = |logits: &[f32]| logits.iter().map(|logit| logit.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found[0]), bits(&found[1]));
        assert_eq!(bits(&found[0]), bits(&found[2]));
    }
}

/// Products of the prompt in bf16, those of decoding as ever.
#[test]
fn a_library_may_do_the_prompt() {
    for name in ["plain", "biases", "no grouping, odd sizes"] {
        let decoder = decoder(name, Span::Full);
        let expected = logits(&mut runner(Naive, &decoder), decoder.vocab);
        let cuda = || Cuda::new(Shim::new(Order::Shuffled(3)), KvType::F16).unwrap();
        let plain = logits(&mut runner(cuda(), &decoder), decoder.vocab);
        let fast = logits(&mut runner(cuda().with_fast_prefill().unwrap(), &decoder), decoder.vocab);
        let most = |found: &[f32]| expected.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(most(&fast) > most(&plain) && most(&fast) < 3e-2, "{name}: {:e} {:e}", most(&plain), most(&fast));
    }
}

#[test]
fn rows_beyond_shared_memory_are_refused_while_loading() {
    let mut decoder = decoder("plain", Span::Full);
    let Mlp::Dense(ffn) = &mut decoder.layers[0].mlp;
    ffn.width = 17_000;
    let weights = RandomWeights::new(&decoder, &F32, 5);
    let cuda = Cuda::new(Shim::new(Order::Forward), KvType::F16).unwrap();
    let error = Model::load(cuda, decoder, &weights).err().unwrap().to_string();
    let found = "rows of 17000 values on this GPU: 70848 bytes of shared memory, where a block has 65536";
    assert!(error.contains(found), "{error}");
}

#[test]
fn steps_beyond_a_grid_are_refused_before_any() {
    let decoder = decoder("plain", Span::Full);
    let weights = RandomWeights::new(&decoder, &F32, 5);
    let cuda = Cuda::new(Shim::new(Order::Forward), KvType::F16).unwrap();
    let model = Model::load(cuda, decoder, &weights).unwrap();
    let kv = KvCache { blocks: 1, block_tokens: BLOCK, block_bytes: 0 };
    let error = Runner::new(model, kv, 65_536, 1).err().unwrap().to_string();
    assert!(error.contains("steps of 65536 tokens; it takes 65535 at most"), "{error}");
}
