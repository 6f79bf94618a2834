//! The conformance suite on every tier of this machine.

use plimsoll_backend::suite::{Case, Tolerance, cases, check_batches, check_ops, logits};
use plimsoll_backend::{Backend, Split};
use plimsoll_cpu::{Cpu, KvType, Options, Tier};

/// What int8 activations, and f16 or 8-bit keys and values, may cost.
fn tolerance(case: &Case, kv: KvType) -> Tolerance {
    let activations = if case.block.values == 1 { 1e-10 } else { 5e-4 };
    let cache = match kv {
        KvType::F32 => 1e-10,
        KvType::F16 => 1e-6,
        KvType::Q8 => 2e-3,
    };
    Tolerance { op: f64::max(activations, cache), batch: 0.0 }
}

fn each(check: impl Fn(Cpu, &Case, Tolerance)) {
    for tier in Tier::ALL.iter().copied().filter(|tier| tier.available()) {
        // Plain Rust is slow.
        let setups: &[_] = match tier {
            Tier::Scalar => &[(2, KvType::F16)],
            _ => &[(1, KvType::F32), (2, KvType::F16), (3, KvType::Q8)],
        };
        for &(threads, kv) in setups {
            let mut options = Options::default();
            (options.threads, options.tier, options.kv) = (Some(threads), Some(tier), kv);
            for case in cases() {
                check(Cpu::new(&options).unwrap(), &case, tolerance(&case, kv));
            }
        }
    }
}

#[test]
fn ops_match_their_definitions() {
    each(check_ops);
}

#[test]
fn logits_do_not_depend_on_the_batch() {
    each(check_batches);
}

/// The ops of a model's halves are those of the whole, in the same order.
#[test]
fn two_backends_compute_what_one_does() {
    let cpu = |threads| {
        let mut options = Options::default();
        options.threads = Some(threads);
        Cpu::new(&options).unwrap()
    };
    let split = || Split::new(cpu(2), cpu(1), 1);
    let bits = |logits: Vec<f32>| logits.into_iter().map(f32::to_bits).collect::<Vec<_>>();
    for case in cases() {
        if case.block.values == 1 {
            check_ops(split(), &case, tolerance(&case, KvType::F16));
            check_batches(split(), &case, tolerance(&case, KvType::F16));
        }
        assert_eq!(bits(logits(split(), &case)), bits(logits(cpu(3), &case)), "{}", case.name);
    }
}

/// As many as compute, and not one for each core.
#[test]
fn weights_are_prepared_on_its_threads() {
    let mut options = Options::default();
    options.threads = Some(37);
    assert_eq!(Cpu::new(&options).unwrap().threads(), 37);
}
