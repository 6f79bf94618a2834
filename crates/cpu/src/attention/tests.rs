//! Attention against its definition in f64, and against itself in every other arrangement, bit for bit.

use half::f16;
use plimsoll_backend::{CacheShape, Plan, Sequence};
use plimsoll_model::*;

use super::*;
use crate::cache::{Cache, KvType};
use crate::rope::{Append, Qkv};
use crate::simd::Tier;

const BLOCKS: usize = 160;

/// The shape of a layer and what its cache is made of.
#[derive(Clone, Copy, Debug)]
struct Case {
    heads: usize,
    kv_heads: usize,
    dim: usize,
    span: Span,
    block: usize,
    kv: KvType,
}

/// Llama-like, but smaller.
const PLAIN: Case = Case { heads: 6, kv_heads: 2, dim: 16, span: Span::Full, block: 16, kv: KvType::F16 };

const CASES: &[Case] = &[
    PLAIN,
    Case { block: 8, ..PLAIN },
    Case { block: 24, span: Span::Window(100), ..PLAIN },
    Case { heads: 3, kv_heads: 3, dim: 10, span: Span::Window(5), ..PLAIN },
    Case { heads: 5, kv_heads: 1, dim: 12, block: 8, span: Span::Window(19), ..PLAIN },
    Case { heads: 9, kv_heads: 1, dim: 80, block: 1, ..PLAIN },
    Case { heads: 2, kv_heads: 2, dim: 128, ..PLAIN },
    Case { kv: KvType::F32, ..PLAIN },
    Case { kv: KvType::Q8, ..PLAIN },
    Case { kv: KvType::Q8, dim: 10, block: 8, span: Span::Window(37), ..PLAIN },
];

/// Who computes, and how the work is cut.
#[derive(Clone, Copy, Debug)]
struct How {
    tier: Tier,
    threads: usize,
    share_chunks: bool,
}

const ALONE: How = How { tier: Tier::Scalar, threads: 1, share_chunks: false };

fn best() -> How {
    How { tier: Tier::best(), ..ALONE }
}

impl Case {
    fn decoder(self) -> Decoder {
        let gqa = Gqa {
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.dim,
            qkv_bias: false,
            out_bias: false,
            qk_norm: QkNorm::None,
            rope: None,
            span: self.span,
            scale: (self.dim as f32).powf(-0.5),
        };
        let mlp = Mlp::Dense(Ffn { width: 16, act: Act::Silu, bias: false });
        let norm = Norm::Rms { eps: 1e-5 };
        let layer = Layer { residual: Residual::PreNorm, norm, mixer: Mixer::Gqa(gqa), mlp };
        Decoder {
            vocab: 9,
            width: 16,
            context: 4096,
            layers: vec![layer],
            norm,
            tied_embeddings: false,
            embedding_scale: 1.0,
            logit_scale: 1.0,
            logit_softcap: None,
            ends: Ends::BOTH,
        }
    }

    fn gqa(self) -> Gqa {
        let Mixer::Gqa(gqa) = self.decoder().layers[0].mixer.clone();
        gqa
    }

    fn shape(self) -> CacheShape {
        CacheShape { blocks: BLOCKS * 16 / self.block, block: self.block }
    }

    fn cache(self) -> Cache {
        Cache::new(&self.decoder(), self.shape(), self.kv).unwrap()
    }

    /// Widths of the queries and of the keys.
    fn widths(self) -> (usize, usize) {
        (self.heads * self.dim, self.kv_heads * self.dim)
    }

    /// Query, key and value of one token.
    fn qkv(self, seed: u32, position: usize) -> Vec<f32> {
        let (q, kv) = self.widths();
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(position as u32).wrapping_mul(2_246_822_519) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / (1 << 22) as f32 - 2.0
        };
        (0..q + 2 * kv).map(|_| next()).collect()
    }

    /// One step: appends and attends; `[T, heads * head_dim]`.
    fn step(self, cache: &mut Cache, how: How, sequences: &[(u32, Sequence)]) -> Vec<f32> {
        let positions = || sequences.iter().flat_map(|(seed, s)| (s.start..s.end()).map(move |p| (*seed, p)));
        let values: Vec<f32> = positions().flat_map(|(seed, position)| self.qkv(seed, position)).collect();
        self.step_with(cache, how, sequences, &values)
    }

    fn step_with(self, cache: &mut Cache, how: How, sequences: &[(u32, Sequence)], values: &[f32]) -> Vec<f32> {
        let (decoder, gqa, (q_width, kv_width)) = (self.decoder(), self.gqa(), self.widths());
        let sequences: Vec<_> = sequences.iter().map(|(_, s)| s.clone()).collect();
        let tokens = sequences.iter().map(|s| s.len).sum();
        let plan = Plan { tokens: vec![0; tokens], sequences, ..Plan::default() };
        let batch = Batch::new(&plan, self.shape(), &Ropes::new(&decoder));
        let qkv = Qkv { values, stride: q_width + 2 * kv_width, starts: [0, q_width, q_width + kv_width] };
        let append = Append { gqa: &gqa, batch: &batch, q_norm: None, k_norm: None, rotation: None, qkv };
        let (pool, isa) = (Pool::new(how.threads, &[]).unwrap(), how.tier.isa().unwrap());
        let (mut q, mut y) = (vec![0.0; tokens * q_width], vec![f32::NAN; tokens * q_width]);
        append.run(&pool, isa, cache.layer_mut(0), &mut q);
        let attention = Attention { gqa: &gqa, batch: &batch, cache: cache.layer(0), q: &q };
        let mut scratch = Scratch::default();
        attention.plan(&mut scratch);
        attention.compute(&pool, isa, &mut scratch, &mut y, how.share_chunks);
        y
    }

    /// A row as the cache gives it back.
    fn rounded(self, row: &[f32]) -> Vec<f32> {
        match self.kv {
            KvType::F32 => row.to_vec(),
            KvType::F16 => row.iter().map(|x| f16::from_f32(*x).to_f32()).collect(),
            KvType::Q8 => {
                let most = row.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                row.iter().map(|x| (x * (127.0 / most)).round_ties_even() * (most / 127.0)).collect()
            }
        }
    }

    /// The definition, for one row.
    fn reference(self, seed: u32, position: usize) -> Vec<f64> {
        let ((q_width, kv_width), dim) = (self.widths(), self.dim);
        let first = match self.span {
            Span::Full => 0,
            Span::Window(window) => (position + 1).saturating_sub(window),
        };
        let rows: Vec<_> = (first..=position).map(|p| self.qkv(seed, p)).collect();
        let head = |head: usize| {
            let q = &rows[position - first][head * dim..][..dim];
            let kv = head / (self.heads / self.kv_heads) * dim;
            let (keys, values): (Vec<_>, Vec<_>) = rows
                .iter()
                .map(|row| &row[q_width + kv..])
                .map(|row| (self.rounded(&row[..dim]), self.rounded(&row[kv_width..][..dim])))
                .unzip();
            let dot = |k: &Vec<f32>| q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum::<f64>();
            let weights: Vec<f64> = keys.iter().map(|k| (dot(k) / (dim as f64).sqrt()).exp()).collect();
            let total: f64 = weights.iter().sum();
            let sum =
                move |d: usize| values.iter().zip(&weights).map(|(v, w)| f64::from(v[d]) * w).sum::<f64>() / total;
            (0..dim).map(sum).collect::<Vec<_>>()
        };
        (0..self.heads).flat_map(head).collect()
    }
}

/// A sequence whose blocks lie in some order, the same for the same `order`.
fn sequence(case: Case, start: usize, len: usize, order: usize) -> Sequence {
    let blocks = case.shape().blocks;
    // 7 and 9 have no factor in common with the number of blocks, 160 times 16 over the block.
    let place = |i: usize| (i * [1, 7, 9][order % 3] + order * 37) % blocks;
    let block_table = (0..(start + len).div_ceil(case.block)).map(|i| place(i) as u32).collect();
    Sequence { start, len, block_table }
}

fn assert_close(what: &str, found: &[f32], expected: &[f64]) {
    let pairs = || found.iter().map(|found| f64::from(*found)).zip(expected);
    let error = pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>() / pairs().map(|(_, b)| b * b).sum::<f64>();
    assert!(error < 1e-11, "{what}: NMSE {error:e}");
}

#[track_caller]
fn assert_same(what: &str, found: &[f32], expected: &[f32]) {
    let differs = found.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits() || a.is_nan());
    assert!(found.len() == expected.len() && differs.is_none(), "{what}: differs at {differs:?}");
}

#[test]
fn ragged_batches_match_the_definition() {
    for case in CASES {
        let mut cache = case.cache();
        // Prompts of three lengths, the last over two chunks; then one goes on while two decode.
        let lens = [[1, 17, 300], [40, 1, 1]];
        let mut starts = [0; 3];
        for lens in lens {
            let mut first = 0;
            let sequences: Vec<_> = (0..3)
                .map(|i| {
                    let blocks = 400 / case.block + 1;
                    let mut own = sequence(*case, starts[i], lens[i], 0);
                    own.block_table.iter_mut().for_each(|block| *block += (i * blocks) as u32);
                    (i as u32, own)
                })
                .collect();
            let y = case.step(&mut cache, best(), &sequences);
            for (seed, own) in sequences {
                for (i, position) in (own.start..own.end()).enumerate().filter(|(_, p)| p % 29 < 3 || *p > 250) {
                    let found = &y[(first + i) * case.widths().0..][..case.widths().0];
                    assert_close(&format!("{case:?} {seed} {position}"), found, &case.reference(seed, position));
                }
                first += own.len;
                starts[seed as usize] = own.end();
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_how_the_work_is_cut() {
    // Three chunks in the first case, two in the others.
    for (case, len) in CASES.iter().zip([530].into_iter().chain(std::iter::repeat(280))) {
        let whole = |how, order| case.step(&mut case.cache(), how, &[(5, sequence(*case, 0, len, order))]);
        let expected = whole(best(), 0);
        for threads in [1, 2, 3] {
            for share_chunks in [false, true] {
                let how = How { threads, share_chunks, ..best() };
                assert_same(&format!("{case:?}, {how:?}"), &whole(how, threads), &expected);
            }
        }
        for chunk in [7, 64, 256] {
            let mut cache = case.cache();
            let starts = (0..len).step_by(chunk);
            let chunks = starts.enumerate().flat_map(|(i, start)| {
                let how = How { share_chunks: i % 2 == 0, ..best() };
                case.step(&mut cache, how, &[(5, sequence(*case, start, chunk.min(len - start), 1))])
            });
            assert_same(&format!("{case:?}, chunks of {chunk}"), &chunks.collect::<Vec<_>>(), &expected);
        }
    }
}

#[test]
fn decoding_gives_the_bits_of_prefill() {
    const LEN: usize = 40;
    for case in CASES {
        let mut cache = case.cache();
        let expected = case.step(&mut case.cache(), best(), &[(5, sequence(*case, 0, LEN, 0))]);
        let steps = (0..LEN).flat_map(|start| case.step(&mut cache, best(), &[(5, sequence(*case, start, 1, 2))]));
        assert_same(&format!("{case:?}"), &steps.collect::<Vec<_>>(), &expected);
    }
}

#[test]
fn bits_do_not_depend_on_neighbours() {
    for case in CASES {
        let own = |first: u32| {
            let mut own = sequence(*case, 0, 50, 0);
            own.block_table.iter_mut().for_each(|block| *block += first);
            own
        };
        let expected = case.step(&mut case.cache(), best(), &[(5, own(0))]);
        let block = |positions: usize| positions.div_ceil(case.block) as u32;
        for share_chunks in [false, true] {
            let mut sequences = vec![(1, own(0)), (2, sequence(*case, 0, 1, 0)), (5, own(block(50) + block(300)))];
            sequences[1].1.block_table = vec![block(50)];
            let how = How { threads: 2, share_chunks, ..best() };
            let y = case.step(&mut case.cache(), how, &sequences);
            assert_same(&format!("{case:?}, {how:?}"), &y[51 * case.widths().0..], &expected);
        }
    }
}

#[test]
fn every_tier_gives_the_same_bits() {
    for case in CASES {
        let step = |how| case.step(&mut case.cache(), how, &[(5, sequence(*case, 0, 33, 0))]);
        let expected = step(ALONE);
        for tier in Tier::ALL.iter().copied().filter(|tier| tier.available()) {
            assert_same(&format!("{case:?}, {tier}"), &step(How { tier, ..ALONE }), &expected);
        }
    }
}

#[test]
fn copied_blocks_hold_the_same() {
    for case in CASES {
        let mut cache = case.cache();
        let own = sequence(*case, 0, 50, 0);
        let y = case.step(&mut cache, best(), &[(5, own.clone())]);
        let pairs: Vec<(u32, u32)> = own.block_table.iter().map(|block| (*block, block + 64)).collect();
        cache.copy_blocks(&pairs);
        let block_table = pairs.iter().map(|(_, to)| *to).collect();
        let again = case.step(&mut cache, best(), &[(5, Sequence { start: 49, len: 1, block_table })]);
        assert_same(&format!("{case:?}"), &again, &y[49 * case.widths().0..]);
    }
}

/// What later tokens hold does not reach earlier rows, even if it is infinite.
#[test]
fn rows_do_not_see_later_tokens() {
    let (case, own) = (PLAIN, sequence(PLAIN, 0, 20, 0));
    let width = case.widths().0;
    let mut values: Vec<f32> = (0..20).flat_map(|position| case.qkv(5, position)).collect();
    let expected = case.step_with(&mut case.cache(), best(), &[(5, own.clone())], &values);
    let stride = values.len() / 20;
    values[11 * stride + width..].fill(f32::INFINITY);
    let found = case.step_with(&mut case.cache(), best(), &[(5, own)], &values);
    assert_same("before", &found[..11 * width], &expected[..11 * width]);
    assert_ne!(found[11 * width..12 * width], expected[11 * width..12 * width]);
}

#[test]
fn blocks_take_the_bytes_they_say() {
    let bytes = |kv| crate::cache::block_bytes(&Case { dim: 64, ..PLAIN }.decoder(), 16, kv);
    // Two kv heads, keys and values.
    assert_eq!(bytes(KvType::F16), 2 * 2 * 16 * 64 * 2);
    assert_eq!(bytes(KvType::Q8), 2 * 2 * 16 * (64 + 4));
}
