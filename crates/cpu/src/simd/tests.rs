//! Every tier of this machine against plain Rust, bit for bit.

use super::*;

/// Runs one vector operation on sixteen values.
struct Map<'a, F>(&'a F, &'a [Lanes]);

/// An operation over any instruction set.
trait Op {
    fn apply<S: Simd>(&self, s: S, x: S::F, y: S::F) -> S::F;
}

impl<F: Op> Kernel for Map<'_, F> {
    type Output = Vec<[u32; LANES]>;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let Map(op, values) = self;
        let pairs = values.iter().zip(values.iter().rev());
        let apply = |(x, y): (&Lanes, &Lanes)| {
            let mut out = [0.0; LANES];
            s.store(op.apply(s, s.load(x), s.load(y)), &mut out);
            out.map(f32::to_bits)
        };
        pairs.map(apply).collect()
    }
}

macro_rules! ops {
    ($(|$s:ident, $x:ident, $y:ident| $body:expr;)*) => {
        /// Checks every operation on every tier.
        fn check_all(values: &[Lanes]) {
            $({
                struct Own;
                impl Op for Own {
                    #[inline(always)]
                    #[allow(unused_variables)]
                    fn apply<S: Simd>(&self, $s: S, $x: S::F, $y: S::F) -> S::F { $body }
                }
                let expected = scalar::Scalar.run(Map(&Own, values));
                for tier in Tier::ALL.iter().filter_map(|tier| tier.isa()) {
                    assert_eq!(tier.run(Map(&Own, values)), expected, "{tier:?}: {}", stringify!($body));
                }
            })*
        }
    };
}

ops! {
    |s, x, y| s.add(x, y);
    |s, x, y| s.sub(x, y);
    |s, x, y| s.mul(x, y);
    |s, x, y| s.div(x, y);
    |s, x, y| s.fma(x, y, x);
    |s, x, y| s.max(x, y);
    |s, x, y| s.min(x, y);
    |s, x, y| s.abs(x);
    |s, x, y| s.keep_from(x, y, x);
    |s, x, y| s.to_f(s.to_i(x));
    |s, x, y| s.pow2(s.to_i(x));
    |s, x, y| exp(s, x);
    |s, x, y| sigmoid(s, x);
    |s, x, y| s.splat(sum_lanes(s, x));
    |s, x, y| s.splat(max_lanes(s, x));
    |s, x, y| {
        let mut bits = [0; LANES];
        s.store_f16(x, &mut bits);
        s.load_f16(&bits)
    };
    |s, x, y| {
        let mut bytes = [0; LANES];
        s.store_bytes(s.to_i(x), &mut bytes);
        s.load_i8(&bytes)
    };
}

#[test]
fn every_tier_computes_the_same_bits() {
    let row = |i: usize| std::array::from_fn(|lane| (lane as f32 - 7.5) * (i as f32 * 0.37 - 3.0) * 1.37);
    let values: Vec<Lanes> = (0..16).map(row).collect();
    check_all(&values);
}

#[test]
fn exponentials_are_right() {
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

/// Products of bytes over all tiers: unsigned weights up to 127, signed ones, and the extremes of both.
#[test]
fn integer_products_are_exact() {
    struct Dot<'a>(&'a Line, i32, bool);
    impl Kernel for Dot<'_> {
        type Output = [f32; LANES];
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> Lanes {
            let Dot(w, quad, signed) = self;
            let sum: i32 = quad.to_le_bytes().iter().map(|byte| i32::from(*byte as i8)).sum();
            let (w, a) = (s.line(w), s.quad(quad));
            let dot = match signed {
                true => s.dot4_signed(s.splat_i(1000 - S::SIGNED_BIAS * sum), w, a),
                false => s.dot4(s.splat_i(1000), w, a),
            };
            let mut out = [0.0; LANES];
            s.store(s.to_f(dot), &mut out);
            out
        }
    }
    for seed in 0..200_u32 {
        let byte = |i: u32| (seed.wrapping_mul(2_654_435_761).wrapping_add(i).wrapping_mul(2_246_822_519) >> 13) as u8;
        let extreme = |i: u32| if seed % 7 == 0 { [0, 255, 127, 128][(i % 4) as usize] } else { byte(i) };
        let w: Line = std::array::from_fn(|i| extreme(i as u32));
        let a = i32::from_le_bytes(std::array::from_fn(|i| {
            let value = if seed % 5 == 0 { 129 + 126 * (i as u8 % 2) } else { byte(100 + i as u32) };
            if value == 128 { 129 } else { value }
        }));
        for signed in [false, true] {
            let w = if signed { w } else { w.map(|w| w & 127) };
            let expected = scalar::Scalar.run(Dot(&w, a, signed));
            for tier in Tier::ALL.iter().filter_map(|tier| tier.isa()) {
                assert_eq!(tier.run(Dot(&w, a, signed)), expected, "{tier:?}, signed {signed}, {w:?} {a:x}");
            }
        }
    }
}
