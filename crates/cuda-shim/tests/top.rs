//! What the kernel finds in rows of logits is in them.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use plimsoll_backend::suite::{RandomWeights, Rng, cases, same_top};
use plimsoll_backend::{Batch, Buffer, CacheShape, Draw, Model, Plan, Sequence, Top, naive};
use plimsoll_cuda::{Cuda, KvType};
use plimsoll_cuda_shim::{Order, Shim};
use plimsoll_formats::blocks::F32;

const ROWS: usize = 6;
const FOUND: usize = 64;

/// A model that is never run, of a vocabulary.
struct Finder {
    model: Model<Cuda<Shim>>,
    batch: Batch<Cuda<Shim>>,
    logits: Buffer<Cuda<Shim>>,
    cache: plimsoll_backend::Cache<Cuda<Shim>>,
}

impl Finder {
    fn new(order: Order, vocab: usize) -> Self {
        let mut decoder = cases().into_iter().find(|case| case.name == "plain").unwrap().decoder;
        decoder.vocab = vocab;
        decoder.layers.truncate(1);
        decoder.tied_embeddings = true;
        let weights = RandomWeights::new(&decoder, &F32, 5);
        let model = Model::load(Cuda::new(Shim::new(order), KvType::F16).unwrap(), decoder, &weights).unwrap();
        let cache = model.cache(CacheShape { blocks: 1, block: 8 }).unwrap();
        let batch = model.batch(ROWS, ROWS, &cache).unwrap();
        let logits = model.buffer(ROWS, vocab).unwrap();
        Self { model, batch, logits, cache }
    }

    fn find(&mut self, rows: &[Vec<f32>], draws: &[Draw]) -> Vec<Top> {
        let sequences = vec![Sequence { start: 0, len: rows.len(), block_table: vec![0] }];
        let outputs = (0..rows.len() as u32).collect();
        let plan = Plan { tokens: vec![0; rows.len()], sequences, outputs, draws: draws.to_vec() };
        self.model.upload(&plan, &self.cache, &mut self.batch).unwrap();
        self.model.write(&rows.concat(), &mut self.logits).unwrap();
        self.model.find_top(&self.batch, &self.logits).unwrap();
        self.model.top(&self.batch).unwrap().unwrap()
    }
}

/// Rows of every kind: many values, few values and so ties, falling and rising, equal ones, zeros of both signs.
fn rows(vocab: usize) -> Vec<Vec<f32>> {
    let mut rng = Rng::new(vocab as u64);
    let mut row = |value: &mut dyn FnMut(&mut Rng, usize) -> f32| (0..vocab).map(|id| value(&mut rng, id)).collect();
    vec![
        row(&mut |rng, _| 30.0 * rng.unit()),
        row(&mut |rng, _| (3.0 * rng.unit()).round()),
        row(&mut |_, id| -(id as f32) / 64.0),
        row(&mut |_, id| id as f32 / 16.0),
        row(&mut |_, _| 7.5),
        row(&mut |rng, _| if rng.unit() < 0.0 { -0.0 } else { 0.0 }),
    ]
}

fn draws(vocab: usize) -> Vec<Draw> {
    let below = |less: usize| vocab.saturating_sub(less) as u32;
    vec![
        Draw { temperature: 0.7, vocab: below(3) },
        Draw::default(),
        Draw { temperature: 1e-40, vocab: u32::MAX },
        Draw { temperature: f32::MAX, vocab: below(0) },
        Draw { temperature: 2.0, vocab: below(vocab / 2) },
        Draw { temperature: 0.1, vocab: 1 },
    ]
}

#[test]
fn the_largest_logits_are_found() {
    for vocab in [1, 5, 63, 64, 65, 300, 4095, 4096, 4097, 9001] {
        let (rows, draws) = (rows(vocab), draws(vocab));
        let found = [Order::Forward, Order::Backward, Order::Shuffled(3)].map(|order| {
            let mut finder = Finder::new(order, vocab);
            let found = finder.find(&rows, &draws);
            // Tickets are as they were; a row does not depend on its neighbours.
            assert_eq!(finder.find(&rows, &draws), found, "{vocab}");
            assert_eq!(finder.find(&rows[3..4], &draws[3..4]), found[3..4], "{vocab}");
            found
        });
        for (row, found) in found[0].iter().enumerate() {
            same_top(&format!("{vocab}, row {row}"), found, &naive::top(&rows[row], draws[row], FOUND));
        }
        assert_eq!(found[0], found[1], "{vocab}");
        assert_eq!(found[0], found[2], "{vocab}");
    }
}

/// More parts than a block merges at a time, all of whose best are in one.
#[test]
fn long_rows_are_merged_in_turns() {
    const VOCAB: usize = 64 * 4096 + 1;
    let mut row: Vec<f32> = rows(VOCAB).swap_remove(0);
    let far: Vec<f32> = (0..VOCAB).map(|id| if id < 200 { 50.0 - id as f32 } else { -(id as f32) }).collect();
    row[VOCAB - 1] = 40.0;
    let rows = vec![row, far];
    let found = Finder::new(Order::Shuffled(9), VOCAB).find(&rows, &draws(VOCAB)[..2]);
    for ((found, row), draw) in found.iter().zip(&rows).zip(draws(VOCAB)) {
        same_top("a long row", found, &naive::top(row, draw, FOUND));
    }
}

#[test]
fn what_is_not_finite_is_found() {
    const VOCAB: usize = 9001;
    let values = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let mut rows = vec![vec![1.0; VOCAB]; 5];
    for ((i, value), row) in values.into_iter().enumerate().zip(&mut rows) {
        row[5000 + i] = value;
        row[8000] = f32::INFINITY;
    }
    rows[4].fill(f32::NEG_INFINITY);
    let found = Finder::new(Order::Backward, VOCAB).find(&rows, &[]);
    for (i, value) in values.into_iter().enumerate() {
        let (id, logit) = found[i].not_finite.unwrap();
        assert_eq!((id, logit.to_bits()), (5000 + i as u32, value.to_bits()));
    }
    assert_eq!(found[4].not_finite, Some((0, f32::NEG_INFINITY)));
}
