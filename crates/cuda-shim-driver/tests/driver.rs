//! The backend as it is, on the driver's own calls, in a process that finds the simulated driver under the name of the real one.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use std::os::unix::fs::symlink;
use std::process::Command;

use plimsoll_backend::suite::{RandomWeights, Tolerance, cases, check_batches, check_ops};
use plimsoll_backend::{CacheShape, Model, Plan, Sequence};
use plimsoll_cuda::gpu::Gpu;
use plimsoll_cuda::gpus::{GpuId, Gpus};
use plimsoll_cuda::{Cuda, Driver, KvType};
use plimsoll_model::Mixer;

const IMAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../cuda/kernels/kernels.fatbin");

/// Runs a test of this file in a process with the driver.
fn with_driver(test: &str) {
    let own = std::env::current_exe().unwrap();
    let library = own.parent().unwrap().join("libsimulated_driver.so");
    let folder = tempfile::tempdir().unwrap();
    for name in ["libcuda.so", "libcublasLt.so"] {
        symlink(&library, folder.path().join(name)).unwrap();
    }
    let mut command = Command::new(own);
    command.args(["--ignored", "--exact", test]).env("LD_LIBRARY_PATH", folder.path());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

fn gpu() -> Gpu {
    Gpu::new(GpuId::Number(0)).unwrap()
}

#[test]
fn a_gpu_is_found() {
    with_driver("on_it::a_gpu_is_found");
}

#[test]
fn ops_match_their_definitions() {
    with_driver("on_it::ops_match_their_definitions");
}

#[test]
fn a_library_may_do_the_prompt() {
    with_driver("on_it::a_library_may_do_the_prompt");
}

#[test]
fn steps_of_one_size_are_repeated() {
    with_driver("on_it::steps_of_one_size_are_repeated");
}

#[test]
fn memory_is_given_back() {
    with_driver("on_it::memory_is_given_back");
}

mod on_it {
    use super::*;

    #[test]
    #[ignore = "needs the simulated driver"]
    fn a_gpu_is_found() {
        let gpus = Gpus::look().unwrap();
        assert_eq!((gpus.cuda, gpus.gpus.len()), ((13, 0), 1));
        let found = &gpus.gpus[0];
        assert_eq!((found.name.as_str(), found.capability, found.multiprocessors), ("Simulated GPU", (9, 0), 2));
        assert_eq!((found.memory, found.free), (1 << 30, Some(1 << 30)));
        let uuid = found.uuid.to_string();
        assert_eq!(uuid, "GPU-706c696d-736f-6c6c-2773-2c2066616b65");
        Gpu::new(uuid.parse().unwrap()).unwrap();
        let refused = |id: GpuId| Gpu::new(id).err().unwrap().to_string();
        assert!(refused(GpuId::Number(1)).contains("found 1 GPUs"), "{}", refused(GpuId::Number(1)));
        // SAFETY: nothing is launched.
        let with = |file: &str| unsafe { Gpu::with_kernels(GpuId::Number(0), file.as_ref()) };
        with(IMAGE).unwrap();
        assert!(with(file!()).err().unwrap().to_string().contains("loading kernels"));
    }

    #[test]
    #[ignore = "needs the simulated driver"]
    fn ops_match_their_definitions() {
        let tolerance = Tolerance { op: 5e-4, batch: 0.0 };
        for overlap in [true, false] {
            for case in cases().iter().filter(|case| ["plain", "Q4_K", "sandwich"].contains(&case.name)) {
                let cuda = || Cuda::new(gpu().overlapping(overlap), KvType::F16).unwrap();
                check_ops(cuda(), case, tolerance);
            }
        }
        // Steps of one row are repeated as graphs.
        let case = cases().into_iter().find(|case| case.name == "biases").unwrap();
        check_batches(Cuda::new(gpu(), KvType::F16).unwrap(), &case, tolerance);
    }

    /// Queries of the first layer of a small model, of steps from so many tokens to so many, and how many of the steps were launched
    /// kernel by kernel.
    fn queries(backend: Cuda<Gpu>, bounds: &[usize]) -> (Vec<f32>, usize) {
        let len = bounds[bounds.len() - 1];
        let case = cases().into_iter().find(|case| case.name == "biases").unwrap();
        let weights = RandomWeights::new(&case.decoder, case.block, 3);
        let model = Model::load(backend, case.decoder.clone(), &weights).unwrap();
        let mut cache = model.cache(CacheShape { blocks: 5, block: 16 }).unwrap();
        let mut batch = model.batch(len, len, &cache).unwrap();
        let Mixer::Gqa(gqa) = &case.decoder.layers[0].mixer;
        let [mut x, mut q] = [case.decoder.width, gqa.q_width()].map(|width| model.buffer(len, width).unwrap());
        let (mut all, mut launched) = (vec![], 0);
        for step in bounds.windows(2) {
            let (start, rows) = (step[0], step[1] - step[0]);
            let plan = Plan {
                tokens: (step[0] as u32..step[1] as u32).collect(),
                sequences: vec![Sequence { start, len: rows, block_table: vec![4, 1, 0, 2, 3] }],
                outputs: (0..rows as u32).collect(),
                draws: vec![],
            };
            model.upload(&plan, &cache, &mut batch).unwrap();
            let record = || {
                launched += 1;
                model.embed(&batch, &mut x)?;
                model.attention_inputs(0, &batch, &x, &mut cache, &mut q)
            };
            model.step(&batch, record).unwrap();
            all.extend(model.read(&q, 0..rows).unwrap());
        }
        (all, launched)
    }

    #[test]
    #[ignore = "needs the simulated driver"]
    fn steps_of_one_size_are_repeated() {
        let cuda = || Cuda::new(gpu(), KvType::F16).unwrap();
        let (at_once, launched) = queries(cuda(), &[0, 6]);
        assert_eq!(launched, 1);
        // The first step as it is, the second captured, the others as a graph.
        let (one_by_one, launched) = queries(cuda(), &[0, 1, 2, 3, 4, 5, 6]);
        assert_eq!((launched, one_by_one), (2, at_once));
    }

    #[test]
    #[ignore = "needs the simulated driver"]
    fn a_library_may_do_the_prompt() {
        let cuda = || Cuda::new(gpu(), KvType::F16).unwrap();
        let (plain, _) = queries(cuda(), &[0, 70]);
        let (fast, _) = queries(cuda().with_fast_prefill().unwrap(), &[0, 70]);
        let largest = |values: &mut dyn Iterator<Item = f32>| values.map(f32::abs).fold(0.0, f32::max);
        let most = largest(&mut plain.iter().zip(&fast).map(|(a, b)| a - b));
        let of = largest(&mut plain.iter().copied());
        assert!(most > 0.0 && most < of / 50.0, "{most:e} of {of:e}");
    }

    #[test]
    #[ignore = "needs the simulated driver"]
    fn memory_is_given_back() {
        let free = || Gpus::look().unwrap().gpus[0].free.unwrap();
        let before = free();
        let gpu = gpu();
        let memory = gpu.allocate(100 << 20).unwrap();
        assert_eq!(free(), before - (100 << 20));
        let error = gpu.allocate(1 << 30).err().unwrap().to_string();
        assert!(error.contains("memory of 1073741824 bytes, where 968884224 are free"), "{error}");
        gpu.write(&memory, 5, &[1, 2, 3]).unwrap();
        let mut read = [0; 3];
        gpu.read(&memory, 5, &mut read).unwrap();
        assert_eq!(read, [1, 2, 3]);
        assert!(gpu.copy_bandwidth(1 << 20).unwrap() > 0.0);
        assert!(gpu.launch_time(10).unwrap() > 0.0);
        // Nothing but launches is captured, and the stream can be used again.
        let capture = gpu.capture(&mut || gpu.write(&memory, 0, &[1]));
        assert!(capture.err().unwrap().to_string().contains("copying to the GPU"));
        gpu.write(&memory, 0, &[1]).unwrap();
        drop((memory, gpu));
        assert_eq!(free(), before);
    }
}
