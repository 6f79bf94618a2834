//! The conformance suite: every op of a backend against the naive definition, on small models of every kind.
//!
//! A backend's tests call [`check_ops`] and [`check_batches`] for each case of [`cases`].

mod cases;
mod weights;

use crate::naive::{self, Naive};
use crate::{Backend, CacheShape, Draw, Half, Model, Plan, Projection, Sequence, Top};

pub use cases::{Case, cases};
pub use weights::{RandomWeights, Rng};

/// Tokens per step at most, in the suite's plans.
const ROWS: usize = 160;
/// Of the weights.
const SEED: u64 = 7;
const CACHE: CacheShape = CacheShape { blocks: 48, block: 8 };

/// How far a backend may be from the reference.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Normalized mean squared error of one op's output: `sum (a - b)^2 / sum b^2`.
    pub op: f64,
    /// Largest difference of two logits computed by the same backend in different batches, as a share of the largest
    /// logit (or of 1, if that is more).
    pub batch: f32,
}

/// A model on a backend with its cache and buffers.
struct Bench<B: Backend> {
    model: Model<B>,
    cache: crate::Cache<B>,
    x: crate::Buffer<B>,
    q: crate::Buffer<B>,
    y: crate::Buffer<B>,
    h: crate::Buffer<B>,
    out: crate::Buffer<B>,
    batch: crate::Batch<B>,
}

impl<B: Backend> Bench<B> {
    fn new(backend: B, case: &Case, weights: &RandomWeights) -> Self {
        let model = Model::load(backend, case.decoder.clone(), weights).expect("load");
        let (q_width, inner) = case.widths();
        let buffer = |width| model.buffer(ROWS, width).expect("buffer");
        let (x, q, y) = (buffer(case.decoder.width), buffer(q_width), buffer(q_width));
        let (h, out) = (buffer(inner), buffer(case.decoder.vocab));
        let cache = model.cache(CACHE).expect("cache");
        let batch = model.batch(ROWS, ROWS, &cache).expect("batch");
        Self { model, cache, x, q, y, h, out, batch }
    }

    /// One step, as the engine's forward runs it.
    fn logits(&mut self, plan: &Plan) -> Vec<f32> {
        let Self { model, cache, x, q, y, h, out, batch } = self;
        model.upload(plan, cache, batch).expect("upload");
        let record = || {
            model.embed(batch, x)?;
            for layer in 0..model.decoder().layers.len() {
                model.attention_inputs(layer, batch, x, cache, q)?;
                model.attend(layer, batch, cache, q, y)?;
                model.project_add(Projection { layer, half: Half::Mixer }, batch, y, x)?;
                model.mlp_inputs(layer, batch, x, h)?;
                model.project_add(Projection { layer, half: Half::Mlp }, batch, h, x)?;
            }
            model.logits(batch, x, out)?;
            model.find_top(batch, out)
        };
        model.step(batch, record).expect("step");
        model.read(out, 0..plan.outputs.len()).expect("read")
    }
}

/// Every op of the backend, each fed with the reference's inputs, over two steps of a ragged batch.
pub fn check_ops<B: Backend>(backend: B, case: &Case, tolerance: Tolerance) {
    let weights = RandomWeights::new(&case.decoder, case.block, SEED);
    let (mut ours, mut naive) = (Bench::new(backend, case, &weights), Bench::new(Naive, case, &weights));
    for plan in ragged_steps(case.decoder.vocab) {
        ours.model.upload(&plan, &ours.cache, &mut ours.batch).expect("upload");
        naive.model.upload(&plan, &naive.cache, &mut naive.batch).expect("upload");
        let rows = plan.tokens.len();
        // Runs an op on both, compares what it wrote, and goes on from the reference's result.
        macro_rules! op {
            ($out:ident, $rows:expr, $run:ident($($arg:tt)*)) => {{
                op!(@call ours, $run($($arg)*));
                op!(@call naive, $run($($arg)*));
                let found = ours.model.read(&ours.$out, 0..$rows).expect("read");
                let expected = naive.model.read(&naive.$out, 0..$rows).expect("read");
                close(case.name, stringify!($run), &found, &expected, tolerance.op);
                ours.model.write(&expected, &mut ours.$out).expect("write");
            }};
            (@call $b:ident, embed()) => { $b.model.embed(&$b.batch, &mut $b.x).expect("embed") };
            (@call $b:ident, attention_inputs($l:expr)) => {
                $b.model.attention_inputs($l, &$b.batch, &$b.x, &mut $b.cache, &mut $b.q).expect("attention_inputs")
            };
            (@call $b:ident, attend($l:expr)) => {
                $b.model.attend($l, &$b.batch, &$b.cache, &$b.q, &mut $b.y).expect("attend")
            };
            (@call $b:ident, project_add($p:expr, $from:ident)) => {
                $b.model.project_add($p, &$b.batch, &$b.$from, &mut $b.x).expect("project_add")
            };
            (@call $b:ident, mlp_inputs($l:expr)) => {
                $b.model.mlp_inputs($l, &$b.batch, &$b.x, &mut $b.h).expect("mlp_inputs")
            };
            (@call $b:ident, logits()) => {
                $b.model.logits(&$b.batch, &$b.x, &mut $b.out).expect("logits")
            };
        }
        op!(x, rows, embed());
        for layer in 0..case.decoder.layers.len() {
            op!(q, rows, attention_inputs(layer));
            op!(y, rows, attend(layer));
            op!(x, rows, project_add(Projection { layer, half: Half::Mixer }, y));
            op!(h, rows, mlp_inputs(layer));
            op!(x, rows, project_add(Projection { layer, half: Half::Mlp }, h));
        }
        op!(out, plan.outputs.len(), logits());
        check_top(&ours, case, &plan);
    }
}

/// Whatever the backend finds in its logits is there.
fn check_top<B: Backend>(bench: &Bench<B>, case: &Case, plan: &Plan) {
    bench.model.find_top(&bench.batch, &bench.out).expect("find_top");
    let Some(found) = bench.model.top(&bench.batch).expect("top") else { return };
    let logits = bench.model.read(&bench.out, 0..plan.outputs.len()).expect("read");
    assert_eq!(found.len(), plan.outputs.len(), "{}: rows", case.name);
    for ((found, row), draw) in found.iter().zip(logits.chunks_exact(case.decoder.vocab)).zip(&plan.draws) {
        same_top(case.name, found, &naive::top(row, *draw, found.tokens.len()));
    }
}

/// Fails unless two findings are the same, but for what sums may differ by.
pub fn same_top(what: &str, found: &Top, expected: &Top) {
    let near = |a: f64, b: f64| (a - b).abs() <= Top::ERROR * b;
    let bits = |tokens: &[(u32, f32)]| tokens.iter().map(|(id, logit)| (*id, logit.to_bits())).collect::<Vec<_>>();
    let value = |top: &Top| top.not_finite.map(|(id, logit)| (id, logit.to_bits()));
    assert_eq!(value(found), value(expected), "{what}: not finite");
    if found.not_finite.is_none() {
        assert_eq!(bits(&found.tokens), bits(&expected.tokens), "{what}: tokens");
        assert_eq!(found.others, expected.others, "{what}: others");
        assert!(near(found.sum, expected.sum), "{what}: sum {} for {}", found.sum, expected.sum);
        assert!(near(found.weight, expected.weight), "{what}: weight {} for {}", found.weight, expected.weight);
    }
}

/// Logits of two steps of a ragged batch, to be held against those of another backend.
pub fn logits<B: Backend>(backend: B, case: &Case) -> Vec<f32> {
    let mut bench = Bench::new(backend, case, &RandomWeights::new(&case.decoder, case.block, SEED));
    ragged_steps(case.decoder.vocab).iter().flat_map(|plan| bench.logits(plan)).collect()
}

/// One sequence's logits do not depend on how it is cut into chunks, on its neighbours or on copied blocks.
pub fn check_batches<B: Backend>(backend: B, case: &Case, tolerance: Tolerance) {
    const LEN: usize = 70;
    let mut bench = Bench::new(backend, case, &RandomWeights::new(&case.decoder, case.block, SEED));
    let mut rng = Rng::new(11);
    let tokens: Vec<u32> = (0..LEN).map(|_| rng.below(case.decoder.vocab) as u32).collect();
    let step = |start: usize, len: usize, block_table: &[u32]| Plan {
        tokens: tokens[start..start + len].to_vec(),
        sequences: vec![Sequence { start, len, block_table: block_table.to_vec() }],
        outputs: (0..len as u32).collect(),
        draws: vec![],
    };
    let table = [3, 0, 9, 4, 12, 7, 1, 20, 15];
    let alone = bench.logits(&step(0, LEN, &table));
    for chunk in [1, 7, 64] {
        let starts = (0..LEN).step_by(chunk);
        let chunked = starts.flat_map(|start| bench.logits(&step(start, chunk.min(LEN - start), &table)));
        near(case.name, "chunks", &chunked.collect::<Vec<_>>(), &alone, tolerance.batch);
    }
    let own: Vec<u32> = (39..48).collect();
    let beside = beside_seven(step(0, LEN, &own), case.decoder.vocab, &mut rng);
    near(case.name, "neighbours", &bench.logits(&beside), &alone, tolerance.batch);
    // The last positions again, behind copies of the blocks before them.
    let copies: Vec<(u32, u32)> = own[..8].iter().map(|block| (*block, block - 20)).collect();
    bench.model.copy_blocks(&mut bench.cache, &copies).expect("copy");
    let copied: Vec<u32> = copies.iter().map(|(_, to)| *to).chain([0]).collect();
    let last = bench.logits(&step(64, LEN - 64, &copied));
    near(case.name, "copied blocks", &last, &alone[64 * case.decoder.vocab..], tolerance.batch);
}

/// The plan of one sequence with seven others of unequal lengths before it; only its own logits are wanted.
fn beside_seven(own: Plan, vocab: usize, rng: &mut Rng) -> Plan {
    let mut plan = Plan::default();
    let mut block = 0;
    for len in [1_usize, 17, 9, 5, 2, 30, 11] {
        plan.tokens.extend((0..len).map(|_| rng.below(vocab) as u32));
        let blocks = len.div_ceil(CACHE.block) as u32;
        plan.sequences.push(Sequence { start: 0, len, block_table: (block..block + blocks).collect() });
        block += blocks;
    }
    let first = plan.tokens.len() as u32;
    plan.outputs = own.outputs.iter().map(|row| first + row).collect();
    plan.tokens.extend(own.tokens);
    plan.sequences.extend(own.sequences);
    plan
}

/// Two steps of three sequences: prefill chunks of unequal lengths, then one decodes while others go on.
fn ragged_steps(vocab: usize) -> Vec<Plan> {
    let mut rng = Rng::new(3);
    let lens = [[1, 17, 9], [1, 4, 20]];
    let tables: [&[u32]; 3] = [&[7], &[2, 11, 8], &[10, 19, 12, 13]];
    let mut starts = [0; 3];
    let step = |lens: [usize; 3]| {
        let mut plan = Plan::default();
        for ((len, start), table) in lens.into_iter().zip(&mut starts).zip(tables) {
            plan.tokens.extend((0..len).map(|_| rng.below(vocab) as u32));
            plan.outputs.push(plan.tokens.len() as u32 - 1);
            plan.draws.push(Draw { temperature: 0.7, vocab: vocab as u32 - 3 });
            plan.sequences.push(Sequence { start: *start, len, block_table: table.to_vec() });
            *start += len;
        }
        plan
    };
    lens.map(step).into()
}

fn close(case: &str, op: &str, found: &[f32], expected: &[f32], limit: f64) {
    let sum = |f: &dyn Fn((&f32, &f32)) -> f64| found.iter().zip(expected).map(f).sum::<f64>();
    let error = sum(&|(a, b)| (*a as f64 - *b as f64).powi(2)) / sum(&|(_, b)| (*b as f64).powi(2)).max(1e-30);
    assert!(found.len() == expected.len() && error <= limit, "{case}: {op}: NMSE {error:e}, limit {limit:e}");
}

fn near(case: &str, what: &str, found: &[f32], expected: &[f32], limit: f32) {
    let largest = expected.iter().fold(1.0_f32, |largest, logit| largest.max(logit.abs()));
    let most = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest;
    let finite = found.iter().chain(expected).all(|logit| logit.is_finite());
    assert!(finite && found.len() == expected.len(), "{case}: {what}: {} logits, all finite: {finite}", found.len());
    assert!(most <= limit, "{case}: {what}: differs by {most:e}, limit {limit:e}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Split;

    /// Each half's ops and their order are those of the whole.
    #[test]
    fn two_references_compute_what_one_does() {
        for case in cases().iter().filter(|case| case.block.values == 1) {
            check_ops(Split::new(Naive, Naive, 1), case, Tolerance { op: 0.0, batch: 0.0 });
            check_batches(Split::new(Naive, Naive, 1), case, Tolerance { op: 0.0, batch: 0.0 });
            assert_eq!(logits(Split::new(Naive, Naive, 1), case), logits(Naive, case), "{}", case.name);
        }
    }

    #[test]
    fn a_half_without_layers_is_refused() {
        let case = &cases()[0];
        let weights = RandomWeights::new(&case.decoder, case.block, SEED);
        for layers in [0, 2, 3] {
            let split = Split::new(Naive, Naive, layers);
            let error = Model::load(split, case.decoder.clone(), &weights).err().unwrap().to_string();
            assert_eq!(
                error,
                format!("layers of the first backend is {layers}, expected 1 to 1, so that both have some")
            );
        }
    }

    #[test]
    fn the_reference_does_not_depend_on_batches() {
        for case in cases().iter().filter(|case| case.block.values == 1) {
            check_batches(Naive, case, Tolerance { op: 0.0, batch: 0.0 });
        }
    }
}
