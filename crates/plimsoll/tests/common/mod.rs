//! The goldens, and logits of this project's models for them. Each test uses its part.
#![allow(dead_code)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use plimsoll_backend::{Backend, Model, Plan, Sequence, TensorSource};
use plimsoll_candle::Candle;
use plimsoll_engine::{Checkpoint, KvCache, Runner, Step};
use plimsoll_formats::blocks::BlockType;
use plimsoll_formats::{Error, NamedFile, TensorView, Weights};
use plimsoll_model::TensorId;
use serde_json::Value;

const KV: KvCache = KvCache { blocks: 64, block_tokens: 16, block_bytes: 0 };

/// A prompt with its greedy continuation, and the logits expected after some of its positions.
pub(crate) struct Expected {
    pub(crate) ids: Vec<u32>,
    pub(crate) prompt: usize,
    pub(crate) rows: Vec<(usize, Vec<f32>)>,
}

pub(crate) fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../goldens");
    let entries = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    cases.sort();
    assert!(cases.len() >= 10, "goldens are missing");
    cases
}

pub(crate) fn expected(case: &Path) -> Vec<Expected> {
    let golden: Value = serde_json::from_slice(&fs::read(case.join("golden.json")).unwrap()).unwrap();
    let columns = golden["logits"]["columns"].as_u64().unwrap() as usize;
    let bytes = fs::read(case.join("logits.f32")).unwrap();
    let values: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let ints = |value: &Value| value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect::<Vec<_>>();
    let prompts = golden["prompts"].as_array().unwrap().iter().map(|prompt| {
        let first = prompt["first_row"].as_u64().unwrap() as usize;
        let positions = ints(&prompt["positions"]).into_iter().enumerate();
        let row = |row: usize| values[(first + row) * columns..][..columns].to_vec();
        let ids = ints(&prompt["ids"]);
        Expected {
            prompt: ids.len(),
            ids: [ids, ints(&prompt["greedy"])].concat(),
            rows: positions.map(|(i, position)| (position as usize, row(i))).collect(),
        }
    });
    prompts.collect()
}

/// The forms a case is stored in: names of their files.
pub(crate) fn forms(case: &Path) -> Vec<Vec<String>> {
    let names = fs::read_dir(case).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let (ggufs, others): (Vec<_>, Vec<_>) = names.partition(|name| name.ends_with(".gguf"));
    let (splits, single): (Vec<_>, Vec<_>) = ggufs.into_iter().partition(|name| name.contains("-of-"));
    let mut forms: Vec<Vec<String>> = single.into_iter().map(|name| vec![name]).collect();
    forms.extend((!splits.is_empty()).then_some(splits));
    forms.push(others);
    forms
}

pub(crate) fn runner(case: &Path, files: &[String]) -> Runner<Candle> {
    runner_on(Candle::cpu(), case, files)
}

pub(crate) fn checkpoint(case: &Path, files: &[String]) -> Checkpoint {
    let open = |name: &String| NamedFile { name: name.clone(), file: File::open(case.join(name)).unwrap() };
    Checkpoint::new(Weights::open(files.iter().map(open).collect()).unwrap()).unwrap()
}

pub(crate) fn runner_on<B: Backend>(backend: B, case: &Path, files: &[String]) -> Runner<B> {
    let checkpoint = checkpoint(case, files);
    let model = Model::load(backend, checkpoint.decoder().clone(), &checkpoint).unwrap();
    Runner::new(model, KV, 512, 512).unwrap()
}

/// Weights whose matrices are all of one type, which is one that can be encoded.
pub(crate) struct Retyped<'a>(pub(crate) &'a dyn TensorSource, pub(crate) &'static BlockType);

impl TensorSource for Retyped<'_> {
    fn tensor(&self, id: TensorId) -> Result<TensorView<'_>, Error> {
        let view = self.0.tensor(id)?;
        if view.shape.len() != 2 {
            return Ok(view);
        }
        let mut data = vec![0; self.1.tensor_bytes(&view.shape)?];
        self.1.encode(&view.to_f32()?, &mut data)?;
        Ok(TensorView { block: self.1, data: data.into(), ..view })
    }
}

/// Logits after every position of every sequence: chunks of unequal lengths in ragged batches, decode steps beside prefill.
pub(crate) fn logits(runner: &mut dyn Step, all: &[Expected]) -> Vec<Vec<f32>> {
    let mut done = vec![0; all.len()];
    let mut logits = vec![Vec::new(); all.len()];
    let mut step = 0;
    while all.iter().zip(&done).any(|(e, done)| e.ids.len() > *done) {
        let mut plan = Plan::default();
        let mut owners = Vec::new();
        for (i, e) in all.iter().enumerate() {
            let len = [1, 7, 64, 20][(step + i) % 4].min(e.ids.len() - done[i]);
            if len == 0 {
                continue;
            }
            plan.tokens.extend(&e.ids[done[i]..done[i] + len]);
            let blocks = (i * 12) as u32..(i * 12 + 12) as u32;
            plan.sequences.push(Sequence { start: done[i], len, block_table: blocks.rev().collect() });
            owners.extend(std::iter::repeat_n(i, len));
            done[i] += len;
        }
        plan.outputs = (0..plan.tokens.len() as u32).collect();
        let rows = runner.logits(&plan).unwrap();
        for (row, owner) in rows.chunks_exact(runner.vocab()).zip(owners) {
            logits[owner].extend(row);
        }
        step += 1;
    }
    logits
}

/// Logits after every position of one sequence, in one step.
pub(crate) fn logits_alone(runner: &mut dyn Step, expected: &Expected) -> Vec<f32> {
    let len = expected.ids.len();
    let sequence = Sequence { start: 0, len, block_table: (20..20 + len.div_ceil(16) as u32).collect() };
    let (tokens, outputs) = (expected.ids.clone(), (0..len as u32).collect());
    let plan = Plan { tokens, sequences: vec![sequence], outputs, ..Plan::default() };
    runner.logits(&plan).unwrap()
}
