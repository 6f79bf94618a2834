//! Logits to compare bit by bit.

use plimsoll_backend::suite::{Case, RandomWeights, Rng};
use plimsoll_backend::{Backend, Model, Plan, Sequence};
use plimsoll_engine::{Error, KvCache, Runner, Step};

const BLOCK: usize = 16;
/// Attention of the last ones is shared by two blocks.
const LEN: usize = 180;

/// All logits of one sequence, read in a chunk and written one by one.
pub(crate) fn logits<B: Backend>(backend: B, case: &Case) -> Result<Vec<f32>, Error> {
    let mut decoder = case.decoder.clone();
    decoder.context = 512;
    decoder.layers.truncate(1);
    let weights = RandomWeights::new(&decoder, case.block, 5);
    let blocks = LEN.div_ceil(BLOCK);
    let model = Model::load(backend, decoder.clone(), &weights)?;
    let mut runner = Runner::new(model, KvCache { blocks, block_tokens: BLOCK, block_bytes: 0 }, LEN, LEN)?;
    let mut rng = Rng::new(17);
    let tokens: Vec<u32> = (0..LEN).map(|_| rng.below(decoder.vocab) as u32).collect();
    let block_table: Vec<u32> = (0..blocks as u32).rev().collect();
    let mut step = |start: usize, end: usize| {
        let sequences = vec![Sequence { start, len: end - start, block_table: block_table.clone() }];
        let outputs = (0..(end - start) as u32).collect();
        runner.logits(&Plan { tokens: tokens[start..end].to_vec(), sequences, outputs, ..Plan::default() })
    };
    let mut found = step(0, LEN - 3)?;
    for start in LEN - 3..LEN {
        found.extend(step(start, start + 1)?);
    }
    Ok(found)
}
