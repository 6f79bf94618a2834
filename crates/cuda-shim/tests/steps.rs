//! What a step asks of the device: launches, and those of one size as a graph; and what is given back.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use plimsoll_backend::naive::Naive;
use plimsoll_backend::suite::{Case, RandomWeights, cases};
use plimsoll_backend::{Backend, CacheShape, Model, Plan, Room, Sequence, Split};
use plimsoll_cuda::{Cuda, KvType};
use plimsoll_cuda_shim::{Order, Shim};
use plimsoll_engine::{KvCache, Runner, Step};
use plimsoll_model::{Mixer, Mlp};

const BLOCK: usize = 16;
const BLOCKS: usize = 8;
/// Of a step at most.
const TOKENS: usize = 32;
const OUTPUTS: usize = 8;

fn case(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

fn runner(shim: Shim, case: &Case) -> Runner<Cuda<Shim>> {
    runner_on(Cuda::new(shim, KvType::F16).unwrap(), case)
}

fn runner_on<B: Backend>(backend: B, case: &Case) -> Runner<B> {
    let weights = RandomWeights::new(&case.decoder, case.block, 5);
    let model = Model::load(backend, case.decoder.clone(), &weights).unwrap();
    let cache = KvCache { blocks: BLOCKS, block_tokens: BLOCK, block_bytes: 0 };
    Runner::new(model, cache, TOKENS, OUTPUTS).unwrap()
}

/// One token each of so many sequences, at a position.
fn decode(sequences: u32, start: usize) -> Plan {
    Plan {
        tokens: (0..sequences).collect(),
        sequences: (0..sequences).map(|i| Sequence { start, len: 1, block_table: vec![i] }).collect(),
        outputs: (0..sequences).collect(),
        draws: vec![],
    }
}

#[test]
fn steps_of_one_size_are_one_graph_and_ask_for_no_memory() {
    let shim = Shim::new(Order::Forward);
    let usage = shim.usage();
    let mut runner = runner(shim, &case("plain"));
    let mut position = 0;
    // Five and six rows are filled up to eight.
    for sequences in [1, 5] {
        let (allocations, replays) = (usage.allocations(), usage.replays());
        let mut launches = vec![];
        for step in 0..4 {
            let before = usage.launches();
            runner.step(&decode(sequences + u32::from(sequences > 1 && step > 1), position)).unwrap();
            launches.push(usage.launches() - before);
            position += 1;
        }
        assert_eq!(usage.allocations(), allocations);
        assert_eq!(usage.replays(), replays + 3);
        assert!(launches.iter().all(|count| *count == launches[0]), "{launches:?}");
    }
    let sequence = Sequence { start: 0, len: 20, block_table: vec![6, 7] };
    let prompt = Plan { tokens: vec![1; 20], sequences: vec![sequence], outputs: vec![19], draws: vec![] };
    let allocations = usage.allocations();
    runner.step(&prompt).unwrap();
    assert_eq!(usage.allocations(), allocations);
}

/// Llama and Qwen2; Qwen3, whose heads are normed; GLM-4, which norms what it adds.
#[test]
fn a_layer_is_few_launches() {
    for (name, expected) in [("plain", 5), ("biases", 5), ("head norm", 6), ("sandwich", 7)] {
        let (shim, case) = (Shim::new(Order::Forward), case(name));
        let usage = shim.usage();
        let mut runner = runner(shim, &case);
        let before = usage.launches();
        runner.step(&decode(1, 0)).unwrap();
        // Beside the layers: embedding, logits, the largest of them.
        assert_eq!(usage.launches() - before, 3 + expected * case.decoder.layers.len(), "{name}");
    }
}

/// Rows that fill up a step change nothing: neither the other rows nor the cache.
#[test]
fn graphs_have_the_bits_of_plain_launches() {
    let case = case("head norm");
    let (mut plain, mut repeated) =
        (runner(Shim::new(Order::Forward), &case), runner(Shim::new(Order::Backward), &case));
    for position in 0..4 {
        // A wanted row less than there are tokens: not repeated.
        let mut one_less = decode(6, position);
        one_less.outputs.pop();
        let expected = plain.logits(&one_less).unwrap();
        let found = repeated.logits(&decode(6, position)).unwrap();
        let bits = |logits: &[f32]| logits.iter().map(|logit| logit.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found)[..expected.len()], bits(&expected));
    }
}

#[test]
fn all_memory_is_given_back() {
    let shim = Shim::new(Order::Forward);
    let usage = shim.usage();
    let case = case("Q4_K");
    for _ in 0..20 {
        let mut runner = runner(shim.clone(), &case);
        (0..3).for_each(|position| drop(runner.step(&decode(2, position)).unwrap()));
        assert!(usage.bytes() > 0);
        drop(runner);
        assert_eq!(usage.bytes(), 0);
    }
}

/// Half a model's launches are repeated as those of a whole one are, with what the other half hands over.
#[test]
fn the_last_half_of_a_model_is_repeated() {
    let (shim, case) = (Shim::new(Order::Forward), case("tied, scaled, capped"));
    let usage = shim.usage();
    let mut split = runner_on(Split::new(Naive, Cuda::new(shim, KvType::F16).unwrap(), 1), &case);
    let mut whole = runner(Shim::new(Order::Forward), &case);
    for position in 0..4 {
        let (found, expected) =
            (split.logits(&decode(2, position)).unwrap(), whole.logits(&decode(2, position)).unwrap());
        let most = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(most < 1e-3 && found.len() == expected.len(), "{most:e}");
    }
    assert_eq!(usage.replays(), 3);
}

#[test]
fn what_a_model_is_said_to_take_is_what_it_takes() {
    for name in ["plain", "tied, scaled, capped", "biases", "head norm", "sandwich", "Q6_K", "Q5_0"] {
        let (shim, case) = (Shim::new(Order::Forward), case(name));
        let usage = shim.usage();
        let decoder = &case.decoder;
        let (Mixer::Gqa(gqa), Mlp::Dense(ffn)) = (&decoder.layers[0].mixer, &decoder.layers[0].mlp);
        let widths = [decoder.width, gqa.q_width(), gqa.q_width(), ffn.width];
        let buffers: Vec<_> =
            widths.into_iter().map(|width| (TOKENS, width)).chain([(OUTPUTS, decoder.vocab)]).collect();
        let cache = CacheShape { blocks: BLOCKS, block: BLOCK };
        let room = Room { cache, tokens: TOKENS, outputs: OUTPUTS, buffers: &buffers };
        let cuda = Cuda::new(shim, KvType::Q8).unwrap();
        let need = cuda.fit(decoder, &RandomWeights::new(decoder, case.block, 5), room).unwrap().need;
        let mut runner = runner_on(cuda, &case);
        runner.step(&decode(8, 0)).unwrap();
        assert_eq!(usage.bytes() as u64, need.total(), "{name}");
    }
}
