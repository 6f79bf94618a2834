//! Models that a device's memory does not hold: refused before anything is loaded, or shared with the processor.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::path::Path;
use std::sync::Arc;

use plimsoll_backend::{Backend, Error as BackendError, Memory, Need};
use plimsoll_cpu::{Cpu, Options as CpuOptions};
use plimsoll_cuda::{Cuda, KvType};
use plimsoll_cuda_shim::{Order, Shim};
use plimsoll_engine::{Error, Event, Generate, Opened, Options, Placed, Request, Sizes};
use plimsoll_lock::Verified;

/// Three layers each; the first has one matrix for embedding and head.
const MODELS: [&str; 2] = ["llama-gqa-tied/model.gguf", "qwen2-slide"];
const IDS: [u32; 12] = [5, 17, 40, 3, 88, 61, 9, 23, 70, 2, 31, 55];

fn opened(model: &str) -> Opened {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../goldens");
    Opened::new(Verified::unlocked(&goldens.join(model)).unwrap()).unwrap()
}

fn shim(bytes: u64) -> Shim {
    Shim::new(Order::Forward).with_memory(bytes as usize)
}

fn cuda(shim: &Shim) -> Cuda<Shim> {
    Cuda::new(shim.clone(), KvType::F16).unwrap()
}

fn cpu() -> Result<Cpu, BackendError> {
    let mut options = CpuOptions::default();
    options.threads = Some(1);
    Cpu::new(&options)
}

fn options() -> Options {
    let mut options = Options::default();
    (options.step_tokens, options.sequences, options.draft_tokens) = (16, 1, 0);
    options
}

fn start<B: Backend>(model: &str, backend: B, kv_bytes: Option<u64>) -> Result<Arc<dyn Generate>, Error> {
    Ok(Arc::new(opened(model).start(backend, kv_bytes, options(), &|_, _| ())?))
}

fn lacks<T>(result: Result<T, Error>) -> (Need, Memory) {
    match result.err() {
        Some(Error::Backend(BackendError::Memory { need, memory, .. })) => (need, memory),
        other => panic!("{other:?}"),
    }
}

/// What a model takes with a cache of so many bytes, by default the smallest.
fn need(model: &str, kv_bytes: Option<u64>) -> u64 {
    lacks(start(model, cuda(&shim(1000)), kv_bytes)).0.total()
}

fn tokens(model: &dyn Generate) -> Vec<u32> {
    let request = Request::ids(IDS.to_vec()).temperature(0.0).max_tokens(6).ignore_eos();
    let token = |event| match event {
        Ok(Event::Token(token)) => Some(token.id),
        other => other.map(|_| None).unwrap(),
    };
    model.start(request).unwrap().blocking().filter_map(token).collect()
}

#[test]
fn too_large_a_model_is_refused_before_anything_is_loaded() {
    for model in MODELS {
        let needed = need(model, None);
        for (free, fits) in [(1 << 16, false), (needed - 1, false), (needed, true)] {
            let shim = shim(free);
            let cuda = cuda(&shim);
            let allocations = shim.usage().allocations();
            let result = start(model, cuda, None);
            if fits {
                assert_eq!(tokens(&*result.unwrap()).len(), 6);
                continue;
            }
            let (need, memory) = lacks(result);
            assert_eq!((need.total(), memory), (needed, Memory { free, total: free }), "{model}");
            assert!(need.weights > 0 && need.cache > 0 && need.activations > 0, "{need:?}");
            assert_eq!(shim.usage().allocations(), allocations);
        }
    }
}

#[test]
fn the_default_cache_takes_what_is_left_and_a_context_at_least() {
    let [model, _] = MODELS;
    let blocks = |bytes: u64| start(model, cuda(&shim(bytes)), None).unwrap().health().blocks;
    let (least, plenty) = (need(model, None), 1 << 30);
    let (one, most) = (blocks(least), blocks(plenty));
    // A context of 256 tokens is 16 blocks; attention of long sequences has more to compute on the way.
    assert_eq!((one, most), (16, 8 * 16));
    let between = blocks(least + (plenty - least).min(200_000));
    assert!(one < between && between < most, "{between}");
}

#[test]
fn what_does_not_fit_a_budget_runs_on_the_processor() {
    for model in MODELS {
        let sizes = Sizes::serving(None, &options());
        let whole = start(model, cuda(&shim(1 << 30)), None).unwrap();
        let expected = tokens(&*whole);
        assert_eq!((expected.len(), &whole.info().placement), (6, &None));
        let needed = need(model, None);
        let mut seen = vec![];
        for budget in (1..=20).map(|part| needed * part / 20) {
            let cuda = cuda(&shim(1 << 30)).with_memory(budget);
            match opened(model).place(cuda, cpu, sizes) {
                Err(error) => assert!(lacks::<()>(Err(error)).0.total() > budget),
                Ok(Placed::Whole(_)) => seen.push("whole".to_owned()),
                Ok(Placed::Shared(split)) => {
                    let shared = start(model, split, None).unwrap();
                    let placement = shared.info().placement.clone().unwrap();
                    if seen.last() != Some(&placement) {
                        assert_eq!(tokens(&*shared), expected, "{model}: {placement}");
                    }
                    seen.push(placement);
                }
            }
        }
        seen.dedup();
        let layers = |count: usize| format!("{count} of 3 layers; the rest on the cpu");
        assert_eq!(seen, [layers(1), layers(2), "whole".into()], "{model}");
    }
}
