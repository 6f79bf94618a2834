//! Products with many columns, on tensor cores: their bits are those of products with few.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use plimsoll_backend::suite::{RandomWeights, Rng, cases};
use plimsoll_backend::{CacheShape, Half, Model, Plan, Projection, Sequence};
use plimsoll_cuda::{Cuda, KvType};
use plimsoll_cuda_shim::{Order, Shim};
use plimsoll_formats::blocks::{BF16, BlockType, F16, F32, MXFP4, Q4_0, Q4_K, Q5_K, Q6_K, Q8_0};
use plimsoll_model::{Decoder, Ffn, Mixer, Mlp};

const CACHE: CacheShape = CacheShape { blocks: 16, block: 16 };
const MOST: usize = 256;
const WIDTH: usize = 256;
const INNER: usize = 1280;
/// Different rows of activations; others repeat them.
const ROWS: usize = 5;

/// A layer with biases, whose matrices end within a block, and whose slots have one group, or three and at the end fewer. With the
/// most columns gate and head are multiplied 64 columns at a time, all else sixteen.
fn decoder(inner: usize) -> Decoder {
    let mut decoder = cases().into_iter().find(|case| case.name == Q4_K.name).unwrap().decoder;
    (decoder.context, decoder.vocab, decoder.logit_softcap) = (MOST, 1930, Some(3.0));
    decoder.layers.truncate(1);
    let layer = &mut decoder.layers[0];
    let (Mixer::Gqa(gqa), Mlp::Dense(ffn)) = (&mut layer.mixer, &mut layer.mlp);
    (gqa.qkv_bias, gqa.out_bias, ffn.bias, ffn.width) = (true, true, true, inner);
    // Without positions rows that are equal have equal queries.
    gqa.rope = None;
    decoder
}

/// The first `count` values of rows that repeat.
fn repeated(rows: &[f32], count: usize) -> Vec<f32> {
    rows.iter().copied().cycle().take(count).collect()
}

/// Bits of what ops with products make of `count` rows: of every action, and of three matrices at once.
fn results(model: &Model<Cuda<Shim>>, x: &[f32], h: &[f32], count: usize) -> [Vec<u32>; 4] {
    let vocab = model.decoder().vocab;
    let Mlp::Dense(Ffn { width: inner, .. }) = model.decoder().layers[0].mlp;
    let mut cache = model.cache(CACHE).unwrap();
    let mut batch = model.batch(count, count, &cache).unwrap();
    let plan = Plan {
        tokens: vec![0; count],
        sequences: vec![Sequence { start: 0, len: count, block_table: (0..count.div_ceil(16) as u32).collect() }],
        outputs: (0..count as u32).collect(),
        draws: vec![],
    };
    model.upload(&plan, &cache, &mut batch).unwrap();
    let filled = |rows: &[f32], width: usize| {
        let mut buffer = model.buffer(count, width).unwrap();
        model.write(&repeated(rows, count * width), &mut buffer).unwrap();
        buffer
    };
    let bits = |buffer: &_, width: usize| -> Vec<u32> {
        let values = model.read(buffer, 0..count).unwrap();
        assert_eq!(values.len(), count * width);
        values.iter().map(|value| value.to_bits()).collect()
    };
    let (mut x, h_in) = (filled(x, WIDTH), filled(h, inner));
    let [mut q, mut h, mut out] = [WIDTH, inner, vocab].map(|width| model.buffer(count, width).unwrap());
    model.attention_inputs(0, &batch, &x, &mut cache, &mut q).unwrap();
    model.mlp_inputs(0, &batch, &x, &mut h).unwrap();
    model.logits(&batch, &x, &mut out).unwrap();
    // What few columns leave is rounded already.
    let down = Projection { layer: 0, half: Half::Mlp };
    model.project_add(down, &batch, &h, &mut x).unwrap();
    let gated = bits(&x, WIDTH);
    model.project_add(down, &batch, &h_in, &mut x).unwrap();
    [bits(&q, WIDTH), gated, bits(&out, vocab), bits(&x, WIDTH)]
}

fn check(block: &'static BlockType, order: Order, inner: usize, counts: &[usize]) {
    let decoder = decoder(inner);
    let weights = RandomWeights::new(&decoder, block, 3);
    let model = Model::load(Cuda::new(Shim::new(order), KvType::F16).unwrap(), decoder, &weights).unwrap();
    let mut rng = Rng::new(29);
    let mut rows = |width: usize| (0..ROWS * width).map(|_| rng.unit()).collect::<Vec<f32>>();
    let (x, h) = (rows(WIDTH), rows(inner));
    let alone = |row: usize| results(&model, &x[row * WIDTH..][..WIDTH], &h[row * inner..][..inner], 1);
    let alone: Vec<_> = (0..ROWS).map(alone).collect();
    for &count in counts {
        let found = results(&model, &x, &h, count);
        for (op, found) in found.iter().enumerate() {
            let width = found.len() / count;
            for (row, found) in found.chunks(width).enumerate() {
                assert!(found == alone[row % ROWS][op], "{}: op {op}, row {row} of {count}", block.name);
            }
        }
    }
}

#[test]
fn many_columns_have_the_bits_of_few() {
    let formats = [&Q8_0, &Q4_0, &MXFP4, &Q4_K, &Q5_K, &Q6_K, &F32, &F16, &BF16];
    for (i, block) in formats.into_iter().enumerate() {
        let order = [Order::Forward, Order::Backward, Order::Shuffled(5)][i % 3];
        check(block, order, INNER, &[2, 7, 8, 9, 64, 65, MOST]);
    }
}

/// Three of them are more than a block's shared memory takes.
#[test]
fn wide_rows_have_the_bits_of_one() {
    check(&F16, Order::Backward, 4128, &[3]);
}
