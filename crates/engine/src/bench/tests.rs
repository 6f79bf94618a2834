use plimsoll_backend::Sequence;

use super::*;
use crate::fake::Fake;
use room::token;

const CONTEXT: usize = 100;

fn bench(works: &[Work], chunk: usize) -> (Bench, KvCache) {
    let room = Room::of(works, chunk, CONTEXT).unwrap();
    let cache = room.cache(1, None).unwrap();
    let step = Box::new(Fake::new(cache));
    (Bench { step, info: ModelInfo::default(), step_bytes: 0, works: works.to_vec(), room, filled: false }, cache)
}

#[test]
fn a_prompt_is_cut_into_chunks_and_gives_the_last_logits() {
    let (bench, _) = bench(&[Work::prefill(10, 20)], 4);
    let plans = bench.room.plans(&bench.works[0], Fake::VOCAB);
    let shapes: Vec<_> =
        plans.iter().map(|plan| (plan.sequences[0].start, plan.tokens.len(), &plan.outputs[..])).collect();
    assert_eq!(shapes, [(20, 4, &[][..]), (24, 4, &[]), (28, 2, &[1])]);
    assert!(plans.iter().flat_map(|plan| &plan.tokens).all(|id| (*id as usize) < Fake::VOCAB));
    assert_eq!(plans, bench.room.plans(&bench.works[0], Fake::VOCAB));
}

#[test]
fn answers_take_one_token_of_each_sequence_a_step() {
    let (bench, cache) = bench(&[Work::decode(3, 15, 2)], 512);
    assert_eq!(cache.blocks, 4);
    let plans = bench.room.plans(&bench.works[0], Fake::VOCAB);
    assert_eq!(plans.len(), 3);
    for (plan, (start, tables)) in plans.iter().zip([(15, [vec![0], vec![2]]), (16, [vec![0, 1], vec![2, 3]])]) {
        assert_eq!((plan.tokens.len(), &plan.outputs[..]), (2, &[0, 1][..]));
        for (sequence, table) in plan.sequences.iter().zip(tables) {
            assert_eq!(*sequence, Sequence { start, len: 1, block_table: table });
        }
    }
}

/// The fake's logits depend on every slot: a cache that was not filled, or not copied, would show.
#[test]
fn the_cache_is_filled_to_the_depth_for_every_sequence() {
    let work = Work::decode(1, 33, 3);
    let (mut bench, _) = bench(&[Work::prefill(4, 0), work], 16);
    bench.fill().unwrap();
    let prompt = (0..33).map(|position| token(0, position, Fake::VOCAB));
    let plan = &bench.room.plans(&work, Fake::VOCAB)[0];
    let logits = bench.step.logits(plan).unwrap();
    assert_eq!(logits.len(), 3 * Fake::VOCAB);
    for (row, id) in logits.chunks_exact(Fake::VOCAB).zip(&plan.tokens) {
        let history: Vec<u32> = prompt.clone().chain([*id]).collect();
        assert_eq!(row, Fake::logits(Fake::VOCAB, &history));
    }
}

#[test]
fn what_was_not_loaded_for_is_refused() {
    let (mut bench, _) = bench(&[Work::prefill(4, 0)], 16);
    bench.run(&Work::prefill(4, 0)).unwrap();
    let error = bench.run(&Work::decode(4, 0, 1)).unwrap_err().to_string();
    assert_eq!(
        error,
        "work: found Decode of 4 tokens of 1 sequences at depth 0, expected what the model was loaded for"
    );
}

#[test]
fn bad_work_is_refused_with_its_numbers() {
    let of = |works: &[Work], chunk| Room::of(works, chunk, CONTEXT).unwrap_err().to_string();
    let cases = [
        (of(&[], 1), "work: found none, expected at least 1"),
        (of(&[Work::prefill(1, 0)], 0), "chunk: found 0, expected at least 1"),
        (of(&[Work::prefill(0, 0)], 1), "tokens: found 0, expected at least 1"),
        (of(&[Work::decode(1, 0, 0)], 1), "sequences: found 0, expected 1 to 1024"),
        (of(&[Work::decode(1, 0, 1025)], 1), "sequences: found 1025, expected 1 to 1024"),
        (
            of(&[Work::decode(1, 100, 1)], 1),
            "depth: found 100 and 1 tokens after it, expected together at most 100, the context",
        ),
    ];
    for (error, expected) in cases {
        assert_eq!(error, expected);
    }
    assert!(of(&[Work::prefill(2, usize::MAX)], 1).contains("together at most 100"));
    let room = Room::of(&[Work::decode(16, 16, 4)], 1, CONTEXT).unwrap();
    assert_eq!(room.cache(10, Some(80)).unwrap().blocks, 8);
    let error = room.cache(10, Some(79)).unwrap_err().to_string();
    assert!(error.starts_with("KV cache: found 80 bytes, 8 blocks of 16 tokens, expected at most 79 bytes"), "{error}");
    assert!(room.cache(u64::MAX, Some(1 << 40)).is_err());
}

#[test]
fn spreads() {
    assert_eq!(Spread::of(&[]), None);
    for (values, [median, min, max]) in
        [(&[2.0][..], [2.0, 2.0, 2.0]), (&[3.0, 1.0], [2.0, 1.0, 3.0]), (&[9.0, 1.0, 2.0], [2.0, 1.0, 9.0])]
    {
        assert_eq!(Spread::of(values), Some(Spread { median, min, max }));
    }
    assert_eq!(Work::decode(8, 0, 3).tok_s(Duration::from_secs(2)), 12.0);
}
