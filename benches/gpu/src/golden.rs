//! Logits of the tiny models in `goldens`, held to what transformers computes, in as many ways as there are to run a step.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;

use plimsoll_backend::{Model, Plan, Sequence};
use plimsoll_cuda::{Cuda, Driver, KvType};
use plimsoll_engine::{Checkpoint, KvCache, Runner, Step};
use plimsoll_formats::{NamedFile, Weights};
use serde_json::{Value, json};

const KV: KvCache = KvCache { blocks: 16, block_tokens: 16, block_bytes: 0 };
/// Most that keys and values of f16 and activations of eight bits move a logit.
const LIMIT: f32 = 2e-2;

/// A prompt with its greedy continuation, and the logits expected after some positions.
struct Expected {
    ids: Vec<u32>,
    prompt: usize,
    rows: Vec<(usize, Vec<f32>)>,
}

/// Compares logits of all tokens in one step, of one token a step, which is a graph from the second on, and of the same where
/// launches wait for each other.
pub(crate) fn golden<D: Driver>(
    folder: &Path,
    driver: impl Fn(bool) -> Result<D, Box<dyn Error>>,
) -> Result<Value, Box<dyn Error>> {
    let mut runners = [runner(folder, driver(true)?)?, runner(folder, driver(false)?)?];
    let vocab = runners[0].vocab();
    let (mut different, mut most, mut wrong, mut logits) = (0, 0.0_f32, 0, 0);
    for expected in expected(folder)? {
        let ids = &expected.ids;
        let found = tokens(&mut runners[0], ids, ids.len())?;
        for runner in &mut runners {
            let again = tokens(runner, ids, 1)?;
            different += found.iter().zip(&again).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        }
        logits += found.len();
        for (position, row) in &expected.rows {
            most = found[position * vocab..].iter().zip(row).map(|(a, b)| (a - b).abs()).fold(most, f32::max);
        }
        for next in expected.prompt..ids.len() {
            let row = &found[(next - 1) * vocab..][..vocab];
            let best = row.iter().copied().fold(f32::MIN, f32::max);
            wrong += usize::from(best - row[ids[next] as usize] > LIMIT);
        }
    }
    Ok(json!({
        "stage": "golden",
        "case": folder.file_name().map(|name| name.to_string_lossy()),
        "logits": logits,
        "different": different,
        "most": most,
        "wrong_tokens": wrong,
        "ok": different == 0 && most <= LIMIT && wrong == 0,
    }))
}

fn runner<D: Driver>(folder: &Path, driver: D) -> Result<Runner<Cuda<D>>, Box<dyn Error>> {
    let golden = read(folder)?;
    let names = golden["gguf"].as_array().ok_or("no gguf in golden.json")?.iter().filter_map(Value::as_str);
    let open = |name: &str| Ok(NamedFile { name: name.into(), file: File::open(folder.join(name))? });
    let files = names.map(open).collect::<Result<Vec<_>, std::io::Error>>()?;
    let checkpoint = Checkpoint::new(Weights::open(files)?)?;
    let model = Model::load(Cuda::new(driver, KvType::F16)?, checkpoint.decoder().clone(), &checkpoint)?;
    Ok(Runner::new(model, KV, 256, 256)?)
}

/// Logits after every token of a sequence, so many of them a step.
fn tokens(runner: &mut dyn Step, ids: &[u32], stride: usize) -> Result<Vec<f32>, Box<dyn Error>> {
    let mut logits = Vec::new();
    for start in (0..ids.len()).step_by(stride) {
        let len = stride.min(ids.len() - start);
        let block_table = (0..(start + len).div_ceil(KV.block_tokens) as u32).map(|block| KV.blocks as u32 - 1 - block);
        let sequences = vec![Sequence { start, len, block_table: block_table.collect() }];
        let tokens = ids[start..start + len].to_vec();
        let outputs = (0..len as u32).collect();
        logits.extend(runner.logits(&Plan { tokens, sequences, outputs, ..Plan::default() })?);
    }
    Ok(logits)
}

fn read(folder: &Path) -> Result<Value, Box<dyn Error>> {
    Ok(serde_json::from_slice(&fs::read(folder.join("golden.json"))?)?)
}

fn expected(folder: &Path) -> Result<Vec<Expected>, Box<dyn Error>> {
    let golden = read(folder)?;
    let columns = golden["logits"]["columns"].as_u64().ok_or("no columns in golden.json")? as usize;
    let bytes = fs::read(folder.join("logits.f32"))?;
    let values: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let ints = |value: &Value| -> Vec<u32> {
        value.as_array().into_iter().flatten().filter_map(|n| Some(n.as_u64()? as u32)).collect()
    };
    let prompts = golden["prompts"].as_array().ok_or("no prompts in golden.json")?.iter().map(|prompt| {
        let first = prompt["first_row"].as_u64().unwrap_or(0) as usize;
        let row = |row: usize| values[(first + row) * columns..][..columns].to_vec();
        let ids = ints(&prompt["ids"]);
        Expected {
            prompt: ids.len(),
            rows: ints(&prompt["positions"]).iter().enumerate().map(|(i, at)| (*at as usize, row(i))).collect(),
            ids: [ids, ints(&prompt["greedy"])].concat(),
        }
    });
    Ok(prompts.collect())
}
