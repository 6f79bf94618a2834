//! Sequences that guess.

use super::*;

const GUESS: Speculation = Speculation::PromptLookup { draft: 4, ngram: 1 };

/// Says 0 and nothing else: every guess comes true.
fn monotone() -> Sampling {
    Sampling { logit_bias: vec![(0, 1000.0)], ..Sampling::default() }
}

#[test]
fn an_answer_is_the_same_with_fewer_steps() {
    let prompt = count(13);
    let (mut drafted, mut accepted) = (0, 0);
    for seed in 0..20 {
        let mut rig = Rig::new(options(16, 16, 4), cache(32, 4));
        let probe = rig.add_as(&prompt, 80, &sampling(seed), Some(GUESS));
        rig.run();
        let log = probe.borrow();
        assert_eq!(log.tokens, alone(&prompt, 80, seed), "seed {seed}");
        // Each step chooses one token that was not guessed, the last one perhaps none.
        let steps = 80 - log.accepted;
        assert!((steps..=steps + 1).contains(&rig.model.steps.len()), "seed {seed}");
        assert_eq!(rig.model.steps.iter().sum::<usize>(), 13 + rig.model.steps.len() - 1 + log.drafted);
        (drafted, accepted) = (drafted + log.drafted, accepted + log.accepted);
    }
    assert!(accepted > 0 && accepted < drafted, "{accepted} of {drafted}: both kinds are met");
}

/// The last token is not computed, so there is nothing to guess behind the one before it.
#[test]
fn guesses_end_where_the_answer_does() {
    let cases: [(usize, &[usize]); 6] =
        [(1, &[4]), (2, &[4, 1]), (3, &[4, 2]), (6, &[4, 5]), (7, &[4, 5, 1]), (8, &[4, 5, 2])];
    for (max_tokens, steps) in cases {
        let mut rig = Rig::new(options(16, 16, 4), cache(3, 4));
        let probe = rig.add_as(&[0; 4], max_tokens, &monotone(), Some(GUESS));
        rig.run();
        assert_eq!(rig.model.steps, steps, "{max_tokens}");
        assert_eq!(probe.borrow().tokens, vec![0; max_tokens]);
        assert!(probe.borrow().ended);
    }
}

/// A step has room for 8 tokens: one of the answer, a chunk of the prompt, and then guesses.
#[test]
fn a_prompt_goes_before_guesses() {
    for (prefill_chunk, tokens, drafted) in [(8, 8, 0), (6, 8, 1), (4, 8, 3), (2, 7, 4)] {
        let mut rig = Rig::new(options(8, prefill_chunk, 4), cache(64, 4));
        let answering = rig.add_as(&[0; 2], 40, &monotone(), Some(GUESS));
        rig.step();
        let reading = rig.add(&count(48), 1, 1);
        for _ in 0..2 {
            let (before, done) = (answering.borrow().drafted, reading.borrow().prefill.last().map_or(0, |p| p.0));
            rig.step();
            assert_eq!(rig.model.steps.last(), Some(&tokens), "chunks of {prefill_chunk}");
            assert_eq!(answering.borrow().drafted, before + drafted, "chunks of {prefill_chunk}");
            assert_eq!(reading.borrow().prefill.last().unwrap().0 - done, tokens - 1 - drafted);
        }
        rig.run();
        assert_eq!(answering.borrow().tokens, [0; 40]);
        assert_eq!(reading.borrow().tokens, alone(&count(48), 1, 1));
    }
}

#[test]
fn the_oldest_guesses_first_and_all_advance() {
    let mut rig = Rig::new(Options { draft_tokens: 5, ..options(16, 16, 4) }, cache(64, 4));
    let probes = [(); 3].map(|()| rig.add_as(&[0; 3], 30, &monotone(), Some(GUESS)));
    rig.step();
    rig.step();
    assert_eq!(rig.model.steps, [9, 3 + 5]);
    assert_eq!(rig.model.rows, [3, 3 + 5]);
    assert_eq!(probes.each_ref().map(|probe| probe.borrow().tokens.len()), [1 + 5, 1 + 2, 1 + 1]);
    rig.run();
}

/// Guesses that were wrong leave nothing behind that another sequence could find.
#[test]
fn only_what_was_said_is_found_by_others() {
    for seed in 0..20 {
        let mut cached = [0; 2];
        for (cached, speculation) in cached.iter_mut().zip([None, Some(GUESS)]) {
            let mut rig = Rig::new(options(64, 64, 4), cache(32, 4));
            let first = rig.add_as(&count(7), 40, &sampling(seed), speculation);
            rig.run();
            let longer = [count(7), first.borrow().tokens.clone(), vec![5]].concat();
            let second = rig.add_as(&longer, 20, &sampling(seed), speculation);
            rig.run();
            *cached = second.borrow().prefill[0].0;
            assert_eq!(second.borrow().tokens, alone(&longer, 20, seed), "seed {seed}");
        }
        assert_eq!(cached, [44, 44], "seed {seed}");
    }
}

#[test]
fn cancelling_frees_the_blocks_of_guesses() {
    let mut rig = Rig::new(options(16, 16, 4), cache(16, 4));
    let leaves = rig.add_as(&[0; 4], 40, &monotone(), Some(GUESS));
    rig.step();
    rig.step();
    assert!(leaves.borrow().accepted > 0);
    leaves.borrow_mut().cancelled = true;
    let stays = rig.add_as(&[0; 4], 40, &sampling(3), Some(GUESS));
    rig.run();
    assert_eq!(stays.borrow().tokens, alone(&[0; 4], 40, 3));
}
