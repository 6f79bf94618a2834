//! Logits and greedy tokens of tiny random models of every family, against Hugging Face transformers.

mod common;

use common::{cases, expected, forms, logits, runner};
use plimsoll_engine::Step;

/// Largest absolute difference of a logit, in f32.
const LOGITS: f32 = 2e-4;

fn argmax(row: &[f32]) -> u32 {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap() as u32
}

#[test]
fn logits_and_greedy_tokens_equal_transformers() {
    for case in cases() {
        let expected = expected(&case);
        for form in forms(&case) {
            let name = format!("{}: {}", case.display(), form[0]);
            let mut runner = runner(&case, &form);
            let vocab = runner.vocab();
            for (expected, found) in expected.iter().zip(logits(&mut runner, &expected)) {
                for (position, row) in &expected.rows {
                    let found = &found[position * vocab..][..vocab];
                    let most = found.iter().zip(row).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(most <= LOGITS, "{name}: position {position} differs by {most:e}");
                }
                for next in expected.prompt..expected.ids.len() {
                    assert_eq!(
                        argmax(&found[(next - 1) * vocab..][..vocab]),
                        expected.ids[next],
                        "{name}: token {next}"
                    );
                }
            }
        }
    }
}
