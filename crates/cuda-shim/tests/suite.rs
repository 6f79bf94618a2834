//! The conformance suite on the simulated device. It runs thousands of threads on one, so not every case in every setup.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use plimsoll_backend::suite::{Case, Tolerance, cases, check_batches, check_ops, logits};
use plimsoll_backend::{Backend, Split};
use plimsoll_cpu::{Cpu, Options};
use plimsoll_cuda::{Cuda, KvType};
use plimsoll_cuda_shim::{Order, Shim};

/// What int8 activations, and f16 or 8-bit keys and values, may cost.
fn tolerance(case: &Case, kv: KvType) -> Tolerance {
    let activations = if case.block.values == 1 { 1e-10 } else { 5e-4 };
    let cache = match kv {
        KvType::F16 => 1e-6,
        KvType::Q8 => 2e-3,
    };
    Tolerance { op: f64::max(activations, cache), batch: 0.0 }
}

fn each(order: Order, kv: KvType, names: &[&str], check: impl Fn(Cuda<Shim>, &Case, Tolerance)) {
    each_on(|| Cuda::new(Shim::new(order), kv).unwrap(), kv, names, check);
}

fn each_on<B: Backend>(backend: impl Fn() -> B, kv: KvType, names: &[&str], check: impl Fn(B, &Case, Tolerance)) {
    let cases = cases();
    assert!(names.iter().all(|name| cases.iter().any(|case| case.name == *name)), "{names:?}");
    for case in cases.iter().filter(|case| names.is_empty() || names.contains(&case.name)) {
        check(backend(), case, tolerance(case, kv));
    }
}

#[test]
fn ops_match_their_definitions() {
    each(Order::Forward, KvType::F16, &[], check_ops);
}

#[test]
fn ops_match_their_definitions_with_an_8_bit_cache() {
    each(
        Order::Backward,
        KvType::Q8,
        &["plain", "no grouping, odd sizes", "window", "half of the head", "Q5_K"],
        check_ops,
    );
}

#[test]
fn logits_do_not_depend_on_the_batch() {
    each(
        Order::Shuffled(7),
        KvType::F16,
        &["biases", "head norm", "sandwich", "window", "Q4_0", "Q6_K"],
        check_batches,
    );
    each(Order::Forward, KvType::Q8, &["one kv head"], check_batches);
}

/// The first layer on the processor, the last one and the head on the device.
#[test]
fn half_a_model_on_the_device_computes_what_all_of_it_does() {
    let names = ["plain", "tied, scaled, capped", "sandwich", "Q4_K"];
    let cuda = || Cuda::new(Shim::new(Order::Forward), KvType::F16).unwrap();
    let cpu = || Cpu::new(&Options::default()).unwrap();
    let split = || Split::new(cpu(), cuda(), 1);
    each_on(split, KvType::F16, &names, check_ops);
    each_on(split, KvType::F16, &names[1..2], check_batches);
    each_on(
        || Split::new(cuda(), cuda(), 1),
        KvType::F16,
        &names,
        |split, case, _| {
            let bits = |logits: Vec<f32>| logits.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(logits(split, case)), bits(logits(cuda(), case)), "{}", case.name);
        },
    );
}
