//! The scheduler against a model that notices wrong cache contents.

use std::{cell::RefCell, rc::Rc};

use proptest::prelude::*;

use super::*;
use crate::{
    Sampling, Speculation,
    fake::{Fake, Mishap, cache, options},
};

mod speculation;

/// What a sequence was told.
#[derive(Debug, Default)]
struct Log {
    prefill: Vec<(usize, usize, usize)>,
    tokens: Vec<u32>,
    drafted: usize,
    accepted: usize,
    ended: bool,
    error: Option<String>,
    cancelled: bool,
}

/// A sink that writes a log.
type Probe = Rc<RefCell<Log>>;

impl Sink for Probe {
    fn cancelled(&self) -> bool {
        self.borrow().cancelled
    }

    fn prefill(&mut self, done: usize, total: usize, cached: usize) {
        self.borrow_mut().prefill.push((done, total, cached));
    }

    fn token(&mut self, choice: Choice, last: bool) -> bool {
        let mut log = self.borrow_mut();
        log.tokens.push(choice.id);
        log.ended = last;
        true
    }

    fn drafted(&mut self, tokens: usize) {
        self.borrow_mut().drafted += tokens;
    }

    fn accepted(&mut self) {
        self.borrow_mut().accepted += 1;
    }

    fn fail(&mut self, error: Error) {
        self.borrow_mut().error = Some(error.to_string());
    }
}

/// Three tokens are likely, the others are not, so that some guesses come true and some do not.
fn sampling(seed: u64) -> Sampling {
    Sampling {
        temperature: Some(1.0),
        top_p: Some(0.9),
        repetition_penalty: Some(1.1),
        logit_bias: (3..Fake::VOCAB as u32).map(|id| (id, -3.0)).collect(),
        seed: Some(seed),
        ..Sampling::default()
    }
}

/// What the model says to a prompt when nothing else runs and nothing is cached.
fn alone(prompt: &[u32], max_tokens: usize, seed: u64) -> Vec<u32> {
    let mut sampler = Sampler::new(&sampling(seed), prompt, usize::MAX, None);
    let mut tokens = prompt.to_vec();
    for _ in 0..max_tokens {
        let token = sampler.choose(&Fake::logits(Fake::VOCAB, &tokens), tokens.len()).unwrap();
        tokens.push(token.id);
    }
    tokens.split_off(prompt.len())
}

/// A scheduler and its model.
struct Rig {
    scheduler: Scheduler<Probe>,
    model: Fake,
    blocks: usize,
}

impl Rig {
    fn new(options: Options, cache: KvCache) -> Self {
        Self { scheduler: Scheduler::new(options, cache), model: Fake::new(cache), blocks: cache.blocks }
    }

    fn add(&mut self, prompt: &[u32], max_tokens: usize, seed: u64) -> Probe {
        self.add_as(prompt, max_tokens, &sampling(seed), None)
    }

    fn add_as(
        &mut self,
        prompt: &[u32],
        max_tokens: usize,
        sampling: &Sampling,
        speculation: Option<Speculation>,
    ) -> Probe {
        let probe = Probe::default();
        self.scheduler.add(Job {
            prompt: prompt.to_vec(),
            max_tokens,
            sampler: Sampler::new(sampling, prompt, usize::MAX, None),
            drafter: speculation.map(Drafter::new),
            sink: probe.clone(),
        });
        probe
    }

    fn step(&mut self) {
        self.scheduler.step(&mut self.model);
    }

    fn run(&mut self) {
        for _ in 0..10_000 {
            if self.scheduler.idle() {
                assert_eq!(self.scheduler.blocks_available(), self.blocks, "blocks leaked");
                return;
            }
            self.step();
        }
        panic!("does not come to an end");
    }
}

fn count(n: u32) -> Vec<u32> {
    (0..n).map(|i| i % Fake::VOCAB as u32).collect()
}

#[test]
fn a_prompt_is_computed_in_chunks() {
    let mut rig = Rig::new(options(16, 5, 4), cache(8, 4));
    let probe = rig.add(&count(13), 3, 1);
    rig.run();
    let log = probe.borrow();
    assert_eq!(log.prefill, [(0, 13, 0), (5, 13, 0), (10, 13, 0), (13, 13, 0)]);
    assert_eq!(rig.model.steps, [5, 5, 3, 1, 1]);
    assert_eq!(log.tokens, alone(&count(13), 3, 1));
    assert!(log.ended);
}

#[test]
fn answers_advance_while_a_long_prompt_is_read() {
    let mut rig = Rig::new(options(8, 8, 4), cache(64, 4));
    let short = rig.add(&[1], 40, 1);
    rig.step();
    let long = rig.add(&count(100), 2, 2);
    for told in 2..=14 {
        rig.step();
        assert_eq!(short.borrow().tokens.len(), told);
        assert!(long.borrow().tokens.is_empty());
    }
    assert_eq!(rig.model.steps[1..], [8; 13], "the whole budget is used");
    rig.run();
    assert_eq!(long.borrow().tokens, alone(&count(100), 2, 2));
}

#[test]
fn a_short_prompt_does_not_wait_for_the_end_of_a_long_one() {
    let mut rig = Rig::new(options(8, 4, 4), cache(64, 4));
    let long = rig.add(&count(100), 1, 1);
    let short = rig.add(&[1, 2, 3], 1, 2);
    rig.step();
    assert_eq!(short.borrow().tokens.len(), 1);
    assert_eq!(long.borrow().prefill.last(), Some(&(4, 100, 0)));
}

#[test]
fn equal_beginnings_are_computed_once_and_say_the_same() {
    let mut rig = Rig::new(options(64, 64, 4), cache(32, 4));
    let system = count(10);
    let with = |tail: &[u32]| [&system[..], tail].concat();
    let cases: [(&[u32], usize); 4] = [(&[1, 2, 3], 0), (&[1, 2, 3], 12), (&[1, 9], 8), (&[1, 2, 3, 4, 5], 12)];
    for (tail, cached) in cases {
        let probe = rig.add(&with(tail), 4, 3);
        rig.run();
        let log = probe.borrow();
        assert_eq!(log.prefill[0], (cached, with(tail).len(), cached), "{tail:?}");
        assert_eq!(log.tokens, alone(&with(tail), 4, 3), "{tail:?}");
    }
}

#[test]
fn an_answer_is_found_when_it_becomes_part_of_the_prompt() {
    let mut rig = Rig::new(options(64, 64, 4), cache(32, 4));
    let first = rig.add(&count(6), 7, 3);
    rig.run();
    let longer = [count(6), first.borrow().tokens.clone(), vec![5]].concat();
    let second = rig.add(&longer, 2, 3);
    rig.run();
    assert_eq!(second.borrow().prefill[0], (12, 14, 12));
    assert_eq!(second.borrow().tokens, alone(&longer, 2, 3));
}

/// The last token of a prompt that is wholly cached is computed again, in a block that no one else reads.
#[test]
fn a_wholly_cached_prompt_computes_its_last_token() {
    let mut rig = Rig::new(options(64, 64, 4), cache(8, 4));
    let first = rig.add(&count(8), 6, 3);
    rig.step();
    let second = rig.add(&count(8), 6, 4);
    rig.run();
    assert_eq!(rig.model.copies, 1, "the first one still holds the block");
    let third = rig.add(&count(8), 6, 5);
    rig.run();
    assert_eq!(rig.model.copies, 1, "nobody holds the block any more");
    assert_eq!(rig.model.steps[..2], [8, 2]);
    for (probe, seed, cached) in [(first, 3, 0), (second, 4, 7), (third, 5, 7)] {
        assert_eq!(probe.borrow().prefill[0], (cached, 8, cached));
        assert_eq!(probe.borrow().tokens, alone(&count(8), 6, seed));
    }
}

#[test]
fn without_the_prefix_cache_nothing_is_shared() {
    let mut rig = Rig::new(Options { prefix_cache: false, ..options(64, 64, 4) }, cache(8, 4));
    for _ in 0..2 {
        let probe = rig.add(&count(8), 2, 3);
        rig.run();
        assert_eq!(probe.borrow().prefill[0], (0, 8, 0));
    }
}

#[test]
fn cancelling_frees_blocks_also_within_the_prompt() {
    let mut rig = Rig::new(options(4, 4, 1), cache(8, 4));
    let running = rig.add(&count(30), 2, 1);
    let waiting = rig.add(&count(5), 2, 2);
    let last = rig.add(&count(4), 2, 3);
    rig.step();
    assert_eq!(rig.scheduler.blocks_available(), 0);
    running.borrow_mut().cancelled = true;
    waiting.borrow_mut().cancelled = true;
    rig.step();
    assert_eq!(rig.scheduler.blocks_available(), 8 - 2);
    rig.run();
    assert!(running.borrow().tokens.is_empty());
    assert!(waiting.borrow().prefill.is_empty());
    assert_eq!(last.borrow().tokens, alone(&count(4), 2, 3));
}

#[test]
fn nobody_overtakes_the_first_in_line() {
    let mut rig = Rig::new(options(16, 16, 4), cache(4, 4));
    let _running = rig.add(&count(8), 3, 1);
    let large = rig.add(&count(8), 3, 2);
    let small = rig.add(&[1], 2, 3);
    rig.step();
    assert!(large.borrow().prefill.is_empty());
    assert!(small.borrow().prefill.is_empty());
    rig.run();
    assert!(large.borrow().ended && small.borrow().ended);
}

#[test]
fn a_failed_step_ends_those_who_took_part() {
    let mut rig = Rig::new(options(4, 4, 4), cache(16, 4));
    let first = rig.add(&count(8), 2, 1);
    let second = rig.add(&[1, 2, 3], 2, 2);
    rig.model.mishap = Some(Mishap::Error);
    rig.run();
    let message = "the model's step failed: everything is not supported by the fake";
    assert_eq!(first.borrow().error.as_deref(), Some(message));
    assert_eq!(second.borrow().error, None);
    assert_eq!(second.borrow().tokens, alone(&[1, 2, 3], 2, 2));

    let short = rig.add(&[1, 2, 3], 2, 2);
    rig.model.mishap = Some(Mishap::Short);
    rig.run();
    let message = "the model's step failed: the model's step returned 31 logits, expected 32";
    assert_eq!(short.borrow().error.as_deref(), Some(message));
}

#[test]
fn unusable_logits_end_one_sequence() {
    let mut rig = Rig::new(options(16, 16, 4), cache(16, 4));
    let first = rig.add(&[1, 2], 2, 1);
    let second = rig.add(&[1, 2, 3], 2, 2);
    rig.model.mishap = Some(Mishap::Nan);
    rig.run();
    let message = "logits at position 2: found NaN for token 0, expected a finite number";
    assert_eq!(first.borrow().error.as_deref(), Some(message));
    assert_eq!(second.borrow().tokens, alone(&[1, 2, 3], 2, 2));
}

#[test]
fn whole_rows_are_read_for_those_who_need_them() {
    let said = |top: Option<usize>| {
        let mut rig = Rig::new(options(8, 8, 4), cache(8, 4));
        rig.model.top = top;
        let greedy = Sampling::default();
        let raised = Sampling { logit_bias: vec![(7, 2.0)], ..Sampling::default() };
        let probes = [&greedy, &raised].map(|sampling| rig.add_as(&[1, 2], 5, sampling, None));
        rig.run();
        (probes.map(|probe| probe.borrow().tokens.clone()), rig.model.read)
    };
    let (whole, read) = said(None);
    assert_eq!(read, 0);
    assert_eq!(said(Some(4)), (whole, 5));
}

/// A request of the property below: it arrives, and perhaps leaves, at a step.
#[derive(Clone, Debug)]
struct Visit {
    arrives: usize,
    leaves: Option<usize>,
    prompt: Vec<u32>,
    max_tokens: usize,
    speculation: Option<Speculation>,
}

/// Prompts that often begin alike, ending anywhere in a block.
fn any_visit() -> impl Strategy<Value = Visit> {
    let prompt = (0usize..24, prop::collection::vec(0u32..2, 0..6)).prop_map(|(shared, own)| {
        let mut prompt = count(shared as u32);
        prompt.extend(own);
        if prompt.is_empty() { vec![0] } else { prompt }
    });
    let speculation = (1usize..6, 1usize..3).prop_map(|(draft, ngram)| Speculation::PromptLookup { draft, ngram });
    let leaves = prop::option::weighted(0.2, 0usize..40);
    (0usize..30, leaves, prompt, 1usize..12, prop::option::of(speculation)).prop_map(
        |(arrives, leaves, prompt, max_tokens, speculation)| Visit { arrives, leaves, prompt, max_tokens, speculation },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever else runs, whatever is shared, evicted, copied, cancelled or guessed, however the work is cut, and
    /// whether the model finds the largest logits itself: a request and its seed give the same tokens, every block comes back, and no step exceeds its limits.
    #[test]
    fn tokens_depend_on_the_request_alone(
        visits in prop::collection::vec(any_visit(), 1..12),
        block_tokens in 1usize..6,
        spare in 0usize..20,
        sequences in 1usize..6,
        extra in 0usize..20,
        prefill_chunk in 1usize..12,
        draft_tokens in 0usize..10,
        prefix_cache: bool,
        top in prop::option::of(1usize..40),
    ) {
        let need = |v: &Visit| positions(v.prompt.len(), v.max_tokens).div_ceil(block_tokens);
        let blocks = visits.iter().map(need).max().unwrap_or(1) + spare;
        let limits = options(sequences + extra, prefill_chunk, sequences);
        let options = Options { prefix_cache, draft_tokens, ..limits };
        let mut rig = Rig::new(options.clone(), cache(blocks, block_tokens));
        rig.model.top = top;
        let mut probes: Vec<Option<Probe>> = vec![None; visits.len()];
        for now in 0..40 {
            for (seed, (visit, probe)) in visits.iter().zip(&mut probes).enumerate() {
                if visit.arrives == now {
                    let sampling = sampling(seed as u64);
                    *probe = Some(rig.add_as(&visit.prompt, visit.max_tokens, &sampling, visit.speculation));
                }
                if visit.leaves == Some(now) && let Some(probe) = probe {
                    probe.borrow_mut().cancelled = true;
                }
            }
            rig.step();
        }
        rig.run();
        prop_assert!(rig.model.steps.iter().all(|&tokens| tokens <= options.step_tokens));
        prop_assert!(rig.model.rows.iter().all(|&rows| rows <= options.outputs()));
        for (seed, (visit, probe)) in visits.iter().zip(&probes).enumerate() {
            let Some(probe) = probe else { continue };
            let log = probe.borrow();
            let expected = alone(&visit.prompt, visit.max_tokens, seed as u64);
            prop_assert_eq!(&log.error, &None);
            prop_assert_eq!(&log.tokens, &expected[..log.tokens.len()]);
            prop_assert!(log.ended || log.cancelled);
        }
    }
}
