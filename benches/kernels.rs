//! The CPU backend's kernels, on one thread: bytes of weights and of cache a second where few tokens read them all,
//! elements a second elsewhere; an element of products and of attention is a multiply-accumulate.
//!
//! `cargo bench -p plimsoll-benches --bench kernels`; words after `--` choose among them, such as `-- product/Q4_K`.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use plimsoll::formats::blocks::{BlockType, F32, TABLE};
use plimsoll::model::{
    Act, Decoder, Ends, Ffn, Gqa, Layer, Mixer, Mlp, Norm, Pairing, QkNorm, Residual, Rope, Scaling, Span,
};
use plimsoll::{CpuOptions, KvType};
use plimsoll_backend::suite::{RandomWeights, Rng};
use plimsoll_backend::{Batch, Buffer, Cache, CacheShape, Model, Plan, Sequence};
use plimsoll_cpu::{Cpu, bench};

/// Rows and columns of the matrices: at four bits a weight, one lies in the second-level cache.
const MATRIX: (usize, usize) = (512, 2048);
/// Tokens in a step of a prompt.
const CHUNK: usize = 128;
/// Where attention decodes.
const DEPTH: usize = 4096;
const CACHE: CacheShape = CacheShape { blocks: (DEPTH + CHUNK) / 16, block: 16 };
/// The attention of Llama-3.2-1B, and its width.
const GQA: Gqa = Gqa {
    heads: 32,
    kv_heads: 8,
    head_dim: 64,
    qkv_bias: false,
    out_bias: false,
    qk_norm: QkNorm::None,
    rope: Some(Rope { dim: 64, pairing: Pairing::Half, theta: 500_000.0, scaling: Scaling::None }),
    span: Span::Full,
    scale: 0.125,
};
const WIDTH: usize = 2048;

fn options(kv: KvType) -> CpuOptions {
    let mut options = CpuOptions::default();
    (options.threads, options.kv) = (Some(1), kv);
    options
}

/// One layer, narrow but for its attention, and a head.
fn decoder(width: usize, vocab: usize, gqa: Gqa) -> Decoder {
    let norm = Norm::Rms { eps: 1e-5 };
    let mlp = Mlp::Dense(Ffn { width: 256, act: Act::Silu, bias: false });
    Decoder {
        vocab,
        width,
        context: DEPTH + CHUNK,
        layers: vec![Layer { residual: Residual::PreNorm, norm, mixer: Mixer::Gqa(gqa), mlp }],
        norm,
        tied_embeddings: true,
        embedding_scale: 1.0,
        logit_scale: 1.0,
        logit_softcap: None,
        ends: Ends::BOTH,
    }
}

fn model(decoder: Decoder, block: &'static BlockType, kv: KvType) -> Model<Cpu> {
    let weights = RandomWeights::new(&decoder, block, 7);
    Model::load(Cpu::new(&options(kv)).expect("backend"), decoder, &weights).expect("model")
}

/// `len` tokens of one sequence, whose logits are all wanted.
fn plan(start: usize, len: usize) -> Plan {
    let sequence = Sequence { start, len, block_table: (0..CACHE.blocks as u32).collect() };
    Plan { tokens: vec![1; len], sequences: vec![sequence], outputs: (0..len as u32).collect(), ..Plan::default() }
}

fn random(len: usize) -> Vec<f32> {
    let mut rng = Rng::new(3);
    (0..len).map(|_| rng.unit()).collect()
}

/// The head's matrix with one column and with many; the time includes norm and rounding of the columns.
fn products(c: &mut Criterion) {
    let (rows, width) = MATRIX;
    let mut group = c.benchmark_group("product");
    for block in TABLE {
        let narrow = Gqa { heads: 4, kv_heads: 4, ..GQA };
        let model = model(decoder(width, rows, narrow), block, KvType::F16);
        let cache = model.cache(CacheShape { blocks: CHUNK, block: 1 }).expect("cache");
        let (mut x, mut out) = (model.buffer(CHUNK, width).expect("x"), model.buffer(CHUNK, rows).expect("logits"));
        model.write(&random(CHUNK * width), &mut x).expect("x");
        let bytes = block.tensor_bytes(&[rows, width]).expect("whole blocks") as u64;
        let works = [(1, Throughput::Bytes(bytes)), (CHUNK, Throughput::Elements((CHUNK * rows * width) as u64))];
        for (columns, throughput) in works {
            let mut batch = model.batch(CHUNK, CHUNK, &cache).expect("batch");
            model.upload(&plan(0, columns), &cache, &mut batch).expect("upload");
            group.throughput(throughput);
            let mut logits = || model.logits(&batch, &x, &mut out).expect("logits");
            group.bench_function(format!("{block}/{columns}"), |b| b.iter(&mut logits));
        }
    }
}

/// A layer's attention with a cache that was filled to the depth.
struct Attention {
    model: Model<Cpu>,
    cache: Cache<Cpu>,
    x: Buffer<Cpu>,
    q: Buffer<Cpu>,
    y: Buffer<Cpu>,
}

impl Attention {
    fn new(kv: KvType) -> Self {
        let model = model(decoder(32, 32, GQA), &F32, kv);
        let buffer = |width| model.buffer(CHUNK, width).expect("buffer");
        let (mut x, q, y) = (buffer(32), buffer(GQA.q_width()), buffer(GQA.q_width()));
        model.write(&random(CHUNK * 32), &mut x).expect("x");
        let cache = model.cache(CACHE).expect("cache");
        let mut attention = Self { model, cache, x, q, y };
        (0..DEPTH).step_by(CHUNK).for_each(|start| drop(attention.inputs(start, CHUNK)));
        attention
    }

    /// Queries, and keys and values in the cache.
    fn inputs(&mut self, start: usize, len: usize) -> Batch<Cpu> {
        let mut batch = self.model.batch(CHUNK, CHUNK, &self.cache).expect("batch");
        self.model.upload(&plan(start, len), &self.cache, &mut batch).expect("upload");
        self.model.attention_inputs(0, &batch, &self.x, &mut self.cache, &mut self.q).expect("inputs");
        batch
    }
}

/// One token behind many, and chunks of a prompt.
fn attention(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention");
    for kv in KvType::ALL {
        let mut attention = Attention::new(kv);
        for (start, len) in [(DEPTH - 1, 1), (0, CHUNK), (DEPTH, CHUNK)] {
            let batch = attention.inputs(start, len);
            // The chunk's lower triangle, for the scores and for the sums of values.
            let keys = len * start + len * (len + 1) / 2;
            let bytes = match kv {
                KvType::F32 => 4 * GQA.head_dim,
                KvType::F16 => 2 * GQA.head_dim,
                KvType::Q8 => GQA.head_dim + size_of::<f32>(),
            };
            group.throughput(match len {
                1 => Throughput::Bytes((2 * keys * GQA.kv_heads * bytes) as u64),
                _ => Throughput::Elements((2 * keys * GQA.q_width()) as u64),
            });
            let Attention { model, cache, q, y, .. } = &mut attention;
            let mut attend = || model.attend(0, &batch, cache, q, y).expect("attend");
            group.bench_function(format!("{}/{len} at {start}", kv.name()), |b| b.iter(&mut attend));
        }
    }
}

/// One row's norm; rotation and append of one token and of a chunk.
fn rows(c: &mut Criterion) {
    let mut group = c.benchmark_group("rows");
    let (x, mut to) = (random(WIDTH), vec![0.0; WIDTH]);
    let norm = bench::rms_norm(&options(KvType::F16), &x).expect("norm");
    group.throughput(Throughput::Elements(WIDTH as u64));
    group.bench_function("rms norm", |b| b.iter(|| norm(black_box(&x), &mut to)));
    let stride = GQA.q_width() + 2 * GQA.kv_width();
    for kv in KvType::ALL {
        for len in [1, CHUNK] {
            let (options, decoder) = (options(kv), decoder(32, 32, GQA));
            let mut append = bench::append(&options, &decoder, (&plan(0, len), CACHE)).expect("append");
            let (values, mut q) = (random(len * stride), vec![0.0; len * GQA.q_width()]);
            group.throughput(Throughput::Elements((len * stride) as u64));
            group.bench_function(format!("rope and append/{}/{len}", kv.name()), |b| {
                b.iter(|| append(black_box(&values), &mut q));
            });
        }
    }
}

fn config() -> Criterion {
    let short = Duration::from_millis(300);
    Criterion::default().sample_size(20).warm_up_time(short).measurement_time(3 * short)
}

criterion_group! { name = kernels; config = config(); targets = products, attention, rows }
criterion_main!(kernels);
