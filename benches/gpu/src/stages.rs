//! The stages.

use std::error::Error;
use std::path::Path;

use plimsoll_backend::suite::{Case, Tolerance, cases, check_batches, check_ops};
use plimsoll_cuda::gpu::Gpu;
use plimsoll_cuda::gpus::{GpuId, Gpus, kernels};
use plimsoll_cuda::{Cuda, Driver, KvType};
use plimsoll_cuda_shim::{Order, Shim};
use serde_json::{Value, json};

use crate::bits;
use crate::golden::golden;
use crate::speed::{Task, speed};

const USAGE: &str = "usage: plimsoll-gpu [--simulate | --kernels FILE] \
    (cases | probe | copy | launch | suite CASE | bits CASE | golden FOLDER \
    | speed FILE [fast] [q8] (prefill N | decode N DEPTH SEQUENCES))";
/// The one that is asked.
const GPU: GpuId = GpuId::Number(0);

/// Most that the order of additions moves a logit.
const NEAR: f32 = 1e-4;

type Failure = Box<dyn Error>;

pub(crate) fn run(args: &[String]) -> Result<(), Failure> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["cases"] => {
            cases().iter().for_each(|case| println!("{}", case.name));
            Ok(())
        }
        ["--simulate", ref words @ ..] => stage(words, |_| Ok(Shim::new(Order::Backward))),
        // SAFETY: whoever names a file of kernels vouches for them.
        ["--kernels", file, ref words @ ..] => on_gpu(words, || unsafe { Gpu::with_kernels(GPU, Path::new(file)) }),
        ref words => on_gpu(words, || Gpu::new(GPU)),
    }
}

/// What only a GPU can be asked, and the rest.
fn on_gpu(words: &[&str], gpu: impl Fn() -> Result<Gpu, plimsoll_backend::Error>) -> Result<(), Failure> {
    match words {
        ["probe"] => probe(),
        ["copy"] => copy(&gpu()?),
        ["launch"] => launch(&gpu()?),
        _ => stage(words, |overlap| Ok(gpu()?.overlapping(overlap))),
    }
}

/// A stage on drivers whose launches may overlap or not.
fn stage<D: Driver>(words: &[&str], driver: impl Fn(bool) -> Result<D, Failure>) -> Result<(), Failure> {
    let found = match words {
        ["suite", name] => suite(name, || driver(true))?,
        ["bits", name] => compare(name, driver(true)?)?,
        ["golden", folder] => golden(Path::new(folder), driver)?,
        ["speed", file, words @ ..] => speed(driver(true)?, file, &Task::new(words)?)?,
        _ => return Err(USAGE.into()),
    };
    println!("{found}");
    Ok(())
}

fn probe() -> Result<(), Failure> {
    let Gpus { cuda, release, gpus } = Gpus::look()?;
    for gpu in gpus {
        let (major, minor) = gpu.capability;
        println!(
            "{}",
            json!({
                "stage": "probe",
                "cuda": format!("{}.{}", cuda.0, cuda.1),
                "driver": release,
                "number": gpu.number,
                "name": gpu.name,
                "compute_capability": format!("{major}.{minor}"),
                "kernels": kernels(gpu.capability),
                "multiprocessors": gpu.multiprocessors,
                "memory_bytes": gpu.memory,
                "free_bytes": gpu.free,
            })
        );
    }
    Ok(())
}

/// Bytes read and bytes written a second, together, by copies within the GPU's memory.
fn copy(gpu: &Gpu) -> Result<(), Failure> {
    let mut rates = (0..5).map(|_| gpu.copy_bandwidth(4 << 30)).collect::<Result<Vec<_>, _>>()?;
    rates.sort_by(f64::total_cmp);
    println!("{}", json!({ "stage": "copy", "bytes_s": rates[2], "all": rates }));
    Ok(())
}

/// Seconds from one small kernel to the next.
fn launch(gpu: &Gpu) -> Result<(), Failure> {
    let mut times = (0..5).map(|_| gpu.launch_time(2000)).collect::<Result<Vec<_>, _>>()?;
    times.sort_by(f64::total_cmp);
    println!("{}", json!({ "stage": "launch", "seconds": times[2], "all": times }));
    Ok(())
}

fn case(name: &str) -> Result<Case, Failure> {
    let found = cases().into_iter().find(|case| case.name == name);
    found.ok_or_else(|| format!("no case is called {name}").into())
}

/// The conformance suite's case, which panics where it is not met.
fn suite<D: Driver>(name: &str, driver: impl Fn() -> Result<D, Failure>) -> Result<Value, Failure> {
    let case = case(name)?;
    for kv in [KvType::F16, KvType::Q8] {
        let activations = if case.block.values == 1 { 1e-10 } else { 5e-4 };
        let cache = if kv == KvType::F16 { 1e-6 } else { 2e-3 };
        let tolerance = Tolerance { op: f64::max(activations, cache), batch: 0.0 };
        check_ops(Cuda::new(driver()?, kv)?, &case, tolerance);
        check_batches(Cuda::new(driver()?, kv)?, &case, tolerance);
    }
    Ok(json!({ "stage": "suite", "case": name, "ok": true }))
}

/// Whether logits have the bits that the simulated GPU computes; with float weights, which tensor cores add in an order of their
/// own, whether they are near.
fn compare<D: Driver>(name: &str, driver: D) -> Result<Value, Failure> {
    let case = case(name)?;
    let found = bits::logits(Cuda::new(driver, KvType::F16)?, &case)?;
    let expected = bits::logits(Cuda::new(Shim::new(Order::Forward), KvType::F16)?, &case)?;
    let different = found.iter().zip(&expected).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    let most = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let ok = different == 0 || (case.block.values == 1 && most < NEAR);
    Ok(json!({ "stage": "bits", "case": name, "logits": found.len(), "different": different, "most": most, "ok": ok }))
}
