//! One prefill chunk and one decode step of the default demo model on the reference backend.
//!
//! `cargo bench -p plimsoll-benches`

use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plimsoll::backend::{Model, Plan, Sequence};
use plimsoll::core::{KvCache, Runner, Step};
use plimsoll::open_unlocked;
use plimsoll_candle::Candle;

const KV: KvCache = KvCache { blocks: 64, block_tokens: 16, block_bytes: 0 };

fn runner() -> Runner<Candle> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/llama");
    let opened = open_unlocked(path).expect("the demo model");
    let checkpoint = opened.checkpoint();
    let model = Model::load(Candle::cpu(), checkpoint.decoder().clone(), checkpoint).expect("load");
    Runner::new(model, KV, 128, 1).expect("runner")
}

fn plan(start: usize, len: usize) -> Plan {
    Plan {
        tokens: (0..len as u32).map(|i| 5 + i % 200).collect(),
        sequences: vec![Sequence { start, len, block_table: (0..KV.blocks as u32).collect() }],
        outputs: vec![len as u32 - 1],
        ..Plan::default()
    }
}

fn steps(c: &mut Criterion) {
    let mut runner = runner();
    for (name, plan) in [("prefill 128", plan(0, 128)), ("decode at 128", plan(128, 1))] {
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(plan.tokens.len() as u64));
        group.bench_function("candle", |b| b.iter(|| runner.step(&plan).expect("step")));
    }
}

criterion_group!(benches, steps);
criterion_main!(benches);
