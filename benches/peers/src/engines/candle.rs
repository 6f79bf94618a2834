//! candle-transformers.

use std::fs::{self, File};
use std::io::BufReader;
use std::time::{Duration, Instant};

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Tensor};
use candle_transformers::models::{quantized_llama, quantized_qwen2, quantized_qwen3};
use plimsoll::bench::{Phase, Work};

use super::{Engine, Linked, Result, token};
use crate::job::Job;

const DEQUANTIZED: &str = "CANDLE_DEQUANTIZE_ALL=1";

pub(super) const LINKED: Linked = Linked { name: "candle", settings: &["", DEQUANTIZED], open };

/// Prompt tokens of one call.
const CHUNK: usize = 512;

/// Logits of the last of `[sequences, tokens]` ids after so many others; 0 of them clears the cache.
type Forward = Box<dyn FnMut(&Tensor, usize) -> candle_core::Result<Tensor>>;

struct Candle {
    forward: Forward,
    /// One architecture's attention takes a single sequence on the processor.
    batches: bool,
}

fn open(job: &Job) -> Result<Box<dyn Engine>> {
    if job.has(DEQUANTIZED) {
        fits(fs::metadata(&job.file)?.len() * 8)?;
    }
    let (device, mut file) = (Device::Cpu, BufReader::new(File::open(&job.file)?));
    let content = Content::read(&mut file)?;
    let architecture = content.metadata.get("general.architecture").ok_or("no general.architecture")?;
    let architecture = architecture.to_string()?.clone();
    let forward: Forward = match architecture.as_str() {
        "llama" => {
            let mut model = quantized_llama::ModelWeights::from_gguf(content, &mut file, &device)?;
            Box::new(move |ids, depth| model.forward(ids, depth))
        }
        "qwen2" => {
            let mut model = quantized_qwen2::ModelWeights::from_gguf(content, &mut file, &device)?;
            Box::new(move |ids, depth| model.forward(ids, depth))
        }
        "qwen3" => {
            let mut model = quantized_qwen3::ModelWeights::from_gguf(content, &mut file, &device)?;
            Box::new(move |ids, depth| {
                if depth == 0 {
                    model.clear_kv_cache();
                }
                model.forward(ids, depth)
            })
        }
        other => return Err(format!("architecture '{other}' is not covered here").into()),
    };
    Ok(Box::new(Candle { forward, batches: architecture != "qwen3" }))
}

/// Refuses what would push the page cache out of memory.
fn fits(bytes: u64) -> Result<()> {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let free =
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).map_or(u64::MAX, |kb| kb * 1024);
    if bytes > free / 2 {
        Err(format!("dequantized it takes {bytes} bytes of the {free} available").into())
    } else {
        Ok(())
    }
}

impl Candle {
    fn forward(&mut self, sequences: usize, start: usize, end: usize) -> Result<()> {
        let ids = |sequence| (start..end).map(move |position| token(sequence, position));
        let ids: Vec<u32> = (0..sequences).flat_map(ids).collect();
        (self.forward)(&Tensor::from_vec(ids, (sequences, end - start), &Device::Cpu)?, start)?;
        Ok(())
    }

    fn prefill(&mut self, sequences: usize, start: usize, end: usize) -> Result<()> {
        (start..end).step_by(CHUNK).try_for_each(|at| self.forward(sequences, at, end.min(at + CHUNK)))
    }
}

impl Engine for Candle {
    fn run(&mut self, work: &Work) -> Result<Duration> {
        let Work { phase, tokens, depth, sequences } = *work;
        if sequences > 1 && !self.batches {
            return Err("one sequence at a time".into());
        }
        self.prefill(sequences, 0, depth)?;
        let start = Instant::now();
        match phase {
            Phase::Prefill => self.prefill(sequences, depth, depth + tokens)?,
            Phase::Decode => (depth..depth + tokens).try_for_each(|at| self.forward(sequences, at, at + 1))?,
        }
        Ok(start.elapsed())
    }
}
