//! Every tier of this machine against plain Rust, bit for bit.

use std::array::from_fn;
use std::fmt::Debug;

use super::*;

/// Runs a kernel on all tiers of this machine; what plain Rust gives is what all must give.
fn on_every_tier<K: Kernel<Output: PartialEq + Debug> + Copy>(kernel: K, what: &str) -> K::Output {
    let expected = scalar::Scalar.run(kernel);
    for (tier, isa) in Tier::ALL.iter().filter_map(|tier| Some((tier, tier.isa()?))) {
        assert_eq!(isa.run(kernel), expected, "{tier}: {what}");
    }
    expected
}

/// Bits to compare: a result that is not a number has any of many.
fn bits(value: f32) -> u32 {
    if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() }
}

/// An operation over any instruction set.
trait Op: Copy {
    fn apply<S: Simd>(self, s: S, x: S::F, y: S::F) -> S::F;
}

/// Runs an operation on pairs of vectors.
#[derive(Clone, Copy)]
struct Map<'a, O>(O, &'a [(Lanes, Lanes)]);

impl<O: Op> Kernel for Map<'_, O> {
    type Output = Vec<[u32; LANES]>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let mut results = Vec::new();
        for (x, y) in self.1 {
            let mut out = [0.0; LANES];
            s.store(self.0.apply(s, s.load(x), s.load(y)), &mut out);
            results.push(out.map(bits));
        }
        results
    }
}

/// Every value beside every value.
fn pairs(values: &[f32]) -> Vec<(Lanes, Lanes)> {
    let n = values.len();
    let row = |first: usize| (from_fn(|i| values[(first + i) / n % n]), from_fn(|i| values[(first + i) % n]));
    (0..n * n).step_by(LANES).map(row).collect()
}

macro_rules! ops {
    ($check:ident: $(|$s:ident, $x:ident, $y:ident| $body:expr;)*) => {
        fn $check(pairs: &[(Lanes, Lanes)]) {
            $({
                #[derive(Clone, Copy)]
                struct Own;
                impl Op for Own {
                    #[inline(always)]
                    #[allow(unused_variables)]
                    fn apply<S: Simd>(self, $s: S, $x: S::F, $y: S::F) -> S::F { $body }
                }
                on_every_tier(Map(Own, pairs), stringify!($body));
            })*
        }
    };
}

ops! { check_of_any_float:
    |s, x, y| s.add(x, y);
    |s, x, y| s.sub(x, y);
    |s, x, y| s.mul(x, y);
    |s, x, y| s.div(x, y);
    |s, x, y| s.fma(x, y, x);
    |s, x, y| s.fma(x, x, s.sub(s.splat(0.0), y));
    |s, x, y| s.max(x, y);
    |s, x, y| s.min(x, y);
    |s, x, y| s.abs(x);
    |s, x, y| s.keep_from(x, y, x);
    |s, x, y| exp(s, x);
    |s, x, y| sigmoid(s, x);
    |s, x, y| s.splat(sum_lanes(s, x));
    |s, x, y| s.splat(max_lanes(s, x));
    |s, x, y| {
        let mut half = [0; LANES];
        s.store_f16(x, &mut half);
        s.load_f16(&half)
    };
}

ops! { check_of_small_floats:
    |s, x, y| s.to_f(s.to_i(x));
    |s, x, y| s.pow2(s.to_i(x));
    |s, x, y| {
        let mut bytes = [0; LANES];
        s.store_bytes(s.to_i(s.mul(x, y)), &mut bytes);
        s.load_i8(&bytes)
    };
}

#[test]
fn every_tier_computes_the_same_bits() {
    let values: Vec<f32> =
        (0..60).map(|i| (i as f32 - 29.5) * 3.1).chain([0.5, 1.5, 2.5, -0.5, -126.0, 127.0]).collect();
    check_of_any_float(&pairs(&values));
    check_of_small_floats(&pairs(&values));
}

#[test]
fn every_tier_computes_the_same_bits_of_extremes() {
    let positive = [0.0, f32::from_bits(1), f32::MIN_POSITIVE, f32::EPSILON, 1.0, 1.0 + f32::EPSILON, f32::MAX]
        .into_iter()
        .chain([f32::INFINITY, f32::NAN])
        .chain([86.5, 87.0, 87.0_f32.next_down(), 87.0_f32.next_up(), 87.5, 88.0, 88.0_f32.next_up(), 89.0, 104.0])
        .chain([65504.0, 65520.0, 65520.0_f32.next_down(), 1e-8, 5.96e-8, 6.1e-5]);
    let values: Vec<f32> = positive.flat_map(|value| [value, -value]).collect();
    check_of_any_float(&pairs(&values));
}

#[test]
fn exponentials_are_right() {
    #[derive(Clone, Copy)]
    struct Exp(f32);
    impl Kernel for Exp {
        type Output = f32;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> f32 {
            max_lanes(s, exp(s, s.splat(self.0)))
        }
    }
    for i in -870..880 {
        let x = i as f32 * 0.1;
        let (found, expected) = (scalar::Scalar.run(Exp(x)), f64::from(x).exp());
        let error = (f64::from(found) - expected).abs() / expected;
        assert!(error < 2.5e-7, "exp({x}) is {found}, off by {error:e}");
    }
    assert_eq!(scalar::Scalar.run(Exp(f32::NEG_INFINITY)), 0.0);
}

#[test]
fn comparisons_give_the_second_of_what_does_not_compare() {
    let (nan, pairs) = (f32::NAN, [(f32::NAN, 1.0), (1.0, f32::NAN), (0.0, -0.0), (-0.0, 0.0), (2.0, 1.0), (1.0, 2.0)]);
    let [larger, smaller] = [[1.0, nan, -0.0, 0.0, 2.0, 2.0], [1.0, nan, -0.0, 0.0, 1.0, 1.0]].map(|row| row.map(bits));
    #[derive(Clone, Copy)]
    struct Compare(f32, f32);
    impl Kernel for Compare {
        type Output = [u32; 2];
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> [u32; 2] {
            let (a, b) = (s.splat(self.0), s.splat(self.1));
            let mut out = [[0.0; LANES]; 2];
            s.store(s.max(a, b), &mut out[0]);
            s.store(s.min(a, b), &mut out[1]);
            out.map(|lanes| bits(lanes[0]))
        }
    }
    for (i, (a, b)) in pairs.into_iter().enumerate() {
        let found = on_every_tier(Compare(a, b), "max and min");
        assert_eq!(found, [larger[i], smaller[i]], "max and min of {a} and {b}");
    }
}

/// Rounds floats to f16.
#[derive(Clone, Copy)]
struct ToHalf<'a>(&'a Lanes);
impl Kernel for ToHalf<'_> {
    type Output = [u16; LANES];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [u16; LANES] {
        let mut half = [0; LANES];
        s.store_f16(s.load(self.0), &mut half);
        half
    }
}

/// Widens f16.
#[derive(Clone, Copy)]
struct FromHalf<'a>(&'a [u16; LANES]);
impl Kernel for FromHalf<'_> {
    type Output = [u32; LANES];
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> [u32; LANES] {
        let mut out = [0.0; LANES];
        s.store(s.load_f16(self.0), &mut out);
        out.map(bits)
    }
}

/// Each finite f16 and what lies between it and the next, of both signs, subnormal ones and overflow included.
#[test]
fn halves_are_exact_and_round_to_even() {
    const INFINITY: u16 = 0x7c00;
    // A step above the largest finite one is 2^16, to which rounding looks.
    let to_f32 = |half: u16| if half == INFINITY { 65536.0 } else { half::f16::from_bits(half).to_f32_const() };
    let step = if cfg!(miri) { 16 * 61 } else { 16 };
    for first in (0..INFINITY).step_by(step) {
        for sign in [0, 0x8000] {
            let halves: [u16; LANES] = from_fn(|i| (first + i as u16) | sign);
            let exact = on_every_tier(FromHalf(&halves), "load_f16").map(f32::from_bits);
            assert_eq!(exact, halves.map(to_f32), "widened {halves:x?}");
            assert_eq!(on_every_tier(ToHalf(&exact), "store_f16"), halves);

            let middle: Lanes = from_fn(|i| {
                let next = to_f32((halves[i] & 0x7fff) + 1);
                (exact[i].abs() + next) / 2.0
            });
            let signed = |value: f32| if sign == 0 { value } else { -value };
            let even = on_every_tier(ToHalf(&middle.map(signed)), "store_f16 of ties");
            assert_eq!(even, halves.map(|half| half + (half & 1)), "the even ones around {middle:?}");
            let up = on_every_tier(ToHalf(&middle.map(|value| signed(value.next_up()))), "store_f16");
            assert_eq!(up, halves.map(|half| half + 1), "above {middle:?}");
            let down = on_every_tier(ToHalf(&middle.map(|value| signed(value.next_down()))), "store_f16");
            assert_eq!(down, halves, "below {middle:?}");
        }
    }
    for bits in [INFINITY, INFINITY | 0x8000, 0x7e00, 0xfe01, 0x7c01] {
        let wide = on_every_tier(FromHalf(&[bits; LANES]), "load_f16")[0];
        assert_eq!(f32::from_bits(wide).is_nan(), bits & 0x3ff != 0, "{bits:x}");
    }
}

/// All that formats do with bytes and words, on one line of them.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a Line);

impl Kernel for Bytes<'_> {
    type Output = (Vec<Line>, Vec<Lanes>);
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let (line, words) = (s.line(self.0), s.words(self.0));
        let halves = s.halves(&from_fn(|i| u16::from_le_bytes([self.0[2 * i], self.0[2 * i + 1]])));
        let table = from_fn(|i| 255 - 13 * i as u8);
        let (mut lines, mut lanes) = (Vec::new(), Vec::new());
        for bytes in [
            s.lookup(&table, s.bits(line, 4, 4)),
            s.bits(line, 0, 1),
            s.bits(line, 6, 2),
            s.join(s.bits(line, 0, 4), s.bits(line, 5, 3), 4),
            s.add_byte(line, 200),
            s.spread(words),
            s.spread(s.bits_i(words, 28, 4)),
        ] {
            lines.push([0; 64]);
            s.store_line(bytes, lines.last_mut().unwrap());
        }
        for integers in [
            halves,
            s.bits_i(words, 0, 6),
            s.bits_i(words, 30, 2),
            s.join_i(s.bits_i(words, 7, 4), s.bits_i(words, 20, 2), 4),
            s.byte_i(words, 0),
            s.byte_i(words, 3),
        ] {
            lanes.push([0.0; LANES]);
            s.store(s.to_f(integers), lanes.last_mut().unwrap());
        }
        (lines, lanes)
    }
}

#[test]
fn bytes_and_words_are_taken_apart_and_joined() {
    for first in [0, 64, 128, 192_u8] {
        let line: Line = from_fn(|i| (first + i as u8).wrapping_mul(37));
        let (lines, lanes) = on_every_tier(Bytes(&line), "bytes");
        let word = |lane: usize| u32::from_le_bytes(from_fn(|i| line[4 * lane + i]));
        assert_eq!(lines[0], line.map(|byte| 255 - 13 * (byte >> 4)));
        assert_eq!(lines[3], line.map(|byte| byte & 15 | (byte >> 5) << 4));
        assert_eq!(lines[4], line.map(|byte| byte.wrapping_add(200)));
        assert_eq!(lines[6], from_fn(|i| (word(i / 4) >> (28 + i % 4) & 1) as u8));
        assert_eq!(lanes[2], from_fn(|lane| (word(lane) >> 30) as f32));
        assert_eq!(lanes[5], from_fn(|lane| f32::from(line[4 * lane + 3] as i8)));
    }
}

/// A line of weights times four activations, by either kind of weights.
#[derive(Clone, Copy)]
struct Dot<'a>(&'a Line, [i8; 4], bool);

impl Kernel for Dot<'_> {
    type Output = Lanes;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Lanes {
        let Dot(w, quad, signed) = self;
        let sum: i32 = quad.into_iter().map(i32::from).sum();
        let (w, a) = (s.line(w), s.quad(i32::from_le_bytes(quad.map(|byte| byte as u8))));
        let dot = match signed {
            true => s.dot4_signed(s.splat_i(1000 - S::SIGNED_BIAS * sum), w, a),
            false => s.dot4(s.splat_i(1000), w, a),
        };
        let mut out = [0.0; LANES];
        s.store(s.to_f(dot), &mut out);
        out
    }
}

fn check_dot(w: &Line, quad: [i8; 4]) {
    for (signed, bias) in [(false, 0), (true, 128)] {
        let w = if signed { *w } else { w.map(|w| w & 127) };
        let product = |i: usize| (i32::from(w[i]) - bias) * i32::from(quad[i % 4]);
        let expected = from_fn(|lane| (1000 + (4 * lane..4 * lane + 4).map(product).sum::<i32>()) as f32);
        let found = on_every_tier(Dot(&w, quad, signed), "a product of bytes");
        assert_eq!(found, expected, "signed {signed}, {w:?} {quad:?}");
    }
}

#[test]
fn integer_products_are_exact() {
    for seed in 0..200_u32 {
        let byte = |i: u32| (seed.wrapping_mul(2_654_435_761).wrapping_add(i).wrapping_mul(2_246_822_519) >> 13) as u8;
        check_dot(&from_fn(|i| byte(i as u32)), from_fn(|i| (byte(100 + i as u32) as i8).max(-127)));
    }
}

/// Neighbouring products are largest together: all pairs of extreme weights times all pairs of extreme activations.
#[test]
fn integer_products_do_not_saturate() {
    let (weights, activations) = ([0, 1, 127, 128, 255], [-127, -1, 0, 1, 127]);
    let w: Line = from_fn(|i| if i % 2 == 0 { weights[i / 2 % 5] } else { weights[i / 10 % 5] });
    for a in activations {
        for b in activations {
            check_dot(&w, [a, b, b, a]);
        }
    }
}

#[test]
fn tiers_have_names() {
    for tier in Tier::ALL {
        assert_eq!(Tier::by_name(tier.name()), Some(*tier));
    }
    assert_eq!(Tier::by_name("sse2"), None);
    assert!(Tier::Scalar.available());
    assert!(Tier::ALL.iter().take_while(|tier| **tier != Tier::best()).all(|tier| !tier.available()));
}
