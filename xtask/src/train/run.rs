//! The training loop.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use tokenizers::Tokenizer;

use super::checkpoint::Checkpoint;
use super::data::{Conversation, Writer, batch};
use super::net::{Net, Tape};
use super::optimizer::{Optimizer, share};
use super::recipe::Recipe;
use super::tokens::learn;
use super::warm::{Source, start};
use crate::Result;
use crate::rng::Rng;
use crate::tasks::TASKS;

const CONVERSATIONS: usize = 64;
/// Conversations that one thread takes at a time.
const PORTION: usize = 8;
const WARMUP: usize = 150;
const REPORT: usize = 50;
const SAVE: usize = 250;

/// Trains one model, from its checkpoint if there is one.
pub fn train(root: &Path, recipe: &Recipe) -> Result<()> {
    let path = Checkpoint::path(root, recipe.name);
    let tokenizer = tokenizer(&path, recipe)?;
    let net = Net::new(recipe.decoder());
    let mut run = match Checkpoint::load(&path)? {
        Some(run) => run,
        None => begin(root, recipe, &net, &tokenizer)?,
    };
    let writer = Writer { tokenizer: &tokenizer, format: recipe.format };
    let mut workers = Workers::new(net.layout.len);
    let progress = Progress::new(recipe, run.optimizer.step);
    let (mut loss, mut tokens, mut since) = (0.0, 0, Instant::now());
    while run.optimizer.step < recipe.steps {
        let step = run.optimizer.step;
        let portions = portions(&writer, recipe.seed, step, &run.hits)?;
        tokens += portions.iter().flatten().map(|c| c.ids.len()).sum::<usize>();
        loss += workers.learn(&net, &run.params, &portions, &mut run.hits) / REPORT as f32;
        let share = share(step, WARMUP, recipe.steps);
        run.optimizer.update(&net.layout, &mut run.params, workers.grads(), share);
        progress.bar.inc(1);
        if run.optimizer.step % REPORT == 0 {
            progress.report(run.optimizer.step, loss, tokens as f32 / since.elapsed().as_secs_f32(), &run.hits);
            (loss, tokens, since) = (0.0, 0, Instant::now());
        }
        if run.optimizer.step % SAVE == 0 || run.optimizer.step == recipe.steps {
            run.save(&path)?;
            progress.say(&format!("{} held out: {}", run.optimizer.step, rates(&examine(&net, &run.params, &writer)?)));
        }
    }
    Ok(())
}

/// A run without a step.
fn begin(root: &Path, recipe: &Recipe, net: &Net, tokenizer: &Tokenizer) -> Result<Checkpoint> {
    let mut params = net.layout.init(recipe.seed);
    if let Some(from) = recipe.from.and_then(Recipe::named) {
        let (theirs, their_net, run) = resume(root, from)?;
        let source = Source { tokenizer: &theirs, layout: &their_net.layout, params: &run.params };
        start(&mut params, &net.layout, tokenizer, &source);
    }
    Ok(Checkpoint { params, optimizer: Optimizer::new(net.layout.len), hits: vec![0.0; TASKS.len()] })
}

/// The conversations of one step. What goes wrong more often is practised more often.
fn portions(writer: &Writer<'_>, seed: u64, step: usize, hits: &[f32]) -> Result<Vec<Vec<Conversation>>> {
    let mut rng = Rng(seed << 32 | step as u64);
    rng.next();
    let shares: Vec<f32> = hits.iter().map(|hit| 1.04 - hit).collect();
    let mut all = (0..CONVERSATIONS).map(|_| writer.training(&mut rng, &shares)).collect::<Result<Vec<_>>>()?;
    let mut portions = Vec::new();
    while !all.is_empty() {
        portions.push(all.split_off(all.len().saturating_sub(PORTION)));
    }
    Ok(portions)
}

/// One gradient and one tape a thread; portions go to whoever is free.
struct Workers(Vec<(Vec<f32>, Tape)>);

impl Workers {
    fn new(len: usize) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self((0..threads).map(|_| (vec![0.0; len], Tape::default())).collect())
    }

    /// Leaves the gradient of all portions in the first worker, and returns the mean loss.
    fn learn(&mut self, net: &Net, params: &[f32], portions: &[Vec<Conversation>], hits: &mut [f32]) -> f32 {
        let next = AtomicUsize::new(0);
        let results = Mutex::new(Vec::new());
        let answers: usize = portions.iter().flatten().map(|c| c.answers.len()).sum();
        std::thread::scope(|scope| {
            for (grads, tape) in &mut self.0 {
                scope.spawn(|| {
                    grads.fill(0.0);
                    while let Some(portion) = portions.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let losses = net.learn(params, grads, &batch(portion, 1.0 / answers as f32), tape);
                        results.lock().unwrap_or_else(|e| e.into_inner()).extend(answers_of(portion, &losses));
                    }
                });
            }
        });
        let (first, others) = self.0.split_at_mut(1);
        for (grads, _) in others {
            first[0].0.iter_mut().zip(grads).for_each(|(sum, g)| *sum += *g);
        }
        let results = results.into_inner().unwrap_or_else(|e| e.into_inner());
        for &(task, _, hit) in &results {
            hits[task] += 0.01 * (f32::from(u8::from(hit)) - hits[task]);
        }
        results.iter().map(|r| r.1).sum::<f32>() / results.len() as f32
    }

    fn grads(&self) -> &[f32] {
        &self.0[0].0
    }
}

/// Task, mean loss, and whether every token was the most likely one, per answer.
fn answers_of(conversations: &[Conversation], losses: &[(f32, bool)]) -> Vec<(usize, f32, bool)> {
    let mut losses = losses.iter();
    let answers = conversations.iter().flat_map(|c| &c.answers);
    let answers = answers.map(|(task, range)| {
        let tokens: Vec<_> = losses.by_ref().take(range.len()).collect();
        let loss = tokens.iter().map(|t| t.0).sum::<f32>() / tokens.len() as f32;
        (*task, loss, tokens.iter().all(|t| t.1))
    });
    answers.collect()
}

/// Share of held-out cases answered right, per task. A greedy answer is right exactly if each of its tokens is the most
/// likely one after the right ones before it, so one pass over question and answer decides.
pub fn examine(net: &Net, params: &[f32], writer: &Writer<'_>) -> Result<Vec<f32>> {
    let mut tape = Tape::default();
    let mut shares = Vec::new();
    for (i, task) in TASKS.iter().enumerate() {
        let cases = task.held_out().into_iter().map(|case| writer.write(None, &[(i, case)]));
        let cases = cases.collect::<Result<Vec<_>>>()?;
        let right = cases.chunks(PORTION).flat_map(|portion| {
            let losses = net.evaluate(params, &batch(portion, 1.0), &mut tape);
            answers_of(portion, &losses)
        });
        let right = right.filter(|answer| answer.2).count();
        shares.push(right as f32 / cases.len() as f32);
    }
    Ok(shares)
}

/// `add 0.98 reverse 0.95 ...`
pub fn rates(shares: &[f32]) -> String {
    TASKS.iter().zip(shares).map(|(task, share)| format!("{} {share:.3}", task.name)).collect::<Vec<_>>().join(" ")
}

/// Loads a run as it is.
pub fn resume(root: &Path, recipe: &Recipe) -> Result<(Tokenizer, Net, Checkpoint)> {
    let path = Checkpoint::path(root, recipe.name);
    let run = Checkpoint::load(&path)?.ok_or_else(|| format!("{} has no checkpoint: train it first", recipe.name))?;
    Ok((tokenizer(&path, recipe)?, Net::new(recipe.decoder()), run))
}

/// The vocabulary of a run, which outlives changes of the tasks that it was learned from.
fn tokenizer(checkpoint: &Path, recipe: &Recipe) -> Result<Tokenizer> {
    let kept = checkpoint.with_file_name("tokenizer.json");
    if kept.exists() {
        return Tokenizer::from_file(kept);
    }
    let tokenizer = learn(recipe)?;
    std::fs::create_dir_all(kept.parent().unwrap_or(Path::new(".")))?;
    tokenizer.save(&kept, false)?;
    Ok(tokenizer)
}

/// A bar on a terminal, lines elsewhere.
struct Progress {
    bar: ProgressBar,
}

impl Progress {
    fn new(recipe: &Recipe, step: usize) -> Self {
        let bar = ProgressBar::new(recipe.steps as u64).with_position(step as u64).with_prefix(recipe.name);
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} {eta} {msg}") {
            bar.set_style(style);
        }
        Self { bar }
    }

    fn report(&self, step: usize, loss: f32, speed: f32, hits: &[f32]) {
        self.bar.set_message(format!("loss {loss:.3}, {speed:.0} tokens/s"));
        self.say(&format!("{step} loss {loss:.4} {speed:.0} tokens/s {}", rates(hits)));
    }

    fn say(&self, line: &str) {
        match self.bar.is_hidden() {
            true => println!("{line}"),
            false => self.bar.println(line),
        }
    }
}
