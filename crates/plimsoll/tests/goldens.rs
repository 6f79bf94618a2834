//! Logits and greedy tokens of tiny random models of every family, against Hugging Face transformers.

mod common;

use common::{cases, expected, forms, logits, logits_alone, runner, runner_on};
use plimsoll::{CpuOptions, KvType};
use plimsoll_cpu::Cpu;
use plimsoll_engine::Step;

/// Largest absolute difference of a logit, in f32.
const LOGITS: f32 = 2e-4;
/// The same where keys and values are rounded to f16.
const F16_LOGITS: f32 = 2e-2;
/// Forms a model is stored in.
const ALL: usize = usize::MAX;

fn argmax(row: &[f32]) -> u32 {
    (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap() as u32
}

/// Holds a model to its goldens, in so many forms of each; greedy tokens may differ only where two logits are closer than `limit`.
fn check(limit: f32, most_forms: usize, runner: impl Fn(&std::path::Path, &[String]) -> Box<dyn Step>) {
    for case in cases() {
        let expected = expected(&case);
        for form in forms(&case).into_iter().take(most_forms) {
            let name = format!("{}: {}", case.display(), form[0]);
            let mut runner = runner(&case, &form);
            let vocab = runner.vocab();
            for (expected, found) in expected.iter().zip(logits(&mut *runner, &expected)) {
                for (position, row) in &expected.rows {
                    let found = &found[position * vocab..][..vocab];
                    let most = found.iter().zip(row).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(most <= limit, "{name}: position {position} differs by {most:e}");
                }
                for next in expected.prompt..expected.ids.len() {
                    let row = &found[(next - 1) * vocab..][..vocab];
                    let (ours, theirs) = (argmax(row), expected.ids[next]);
                    let apart = row[ours as usize] - row[theirs as usize];
                    assert!(ours == theirs || (limit > 1e-3 && apart < limit), "{name}: token {next}, {apart:e} apart");
                }
            }
        }
    }
}

fn cpu(threads: usize, kv: KvType) -> Cpu {
    let mut options = CpuOptions::default();
    (options.threads, options.kv) = (Some(threads), kv);
    Cpu::new(&options).unwrap()
}

#[test]
fn logits_and_greedy_tokens_equal_transformers() {
    check(LOGITS, ALL, |case, form| Box::new(runner(case, form)));
}

#[test]
fn logits_of_the_cpu_backend_equal_transformers() {
    check(LOGITS, ALL, |case, form| Box::new(runner_on(cpu(2, KvType::F32), case, form)));
    check(F16_LOGITS, ALL, |case, form| Box::new(runner_on(cpu(2, KvType::F16), case, form)));
}

/// The CUDA kernels on a simulated device, in one form each, for a step takes long there.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn logits_of_the_cuda_kernels_equal_transformers() {
    use plimsoll_cuda::Cuda;
    use plimsoll_cuda_shim::{Order, Shim};
    check(F16_LOGITS, 1, |case, form| {
        Box::new(runner_on(Cuda::new(Shim::new(Order::Forward), plimsoll_cuda::KvType::F16).unwrap(), case, form))
    });
}

/// Of every family: alone in one step or in ragged chunks beside others, with one thread or three.
#[test]
fn logits_of_the_cpu_backend_have_the_same_bits_in_every_batch() {
    for case in cases() {
        let (expected, form) = (expected(&case), forms(&case).remove(0));
        let batched = logits(&mut runner_on(cpu(3, KvType::F16), &case, &form), &expected);
        for (expected, batched) in expected.iter().zip(batched) {
            let alone = logits_alone(&mut runner_on(cpu(1, KvType::F16), &case, &form), expected);
            let same = alone.iter().zip(&batched).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same && alone.len() == batched.len(), "{}", case.display());
        }
    }
}
