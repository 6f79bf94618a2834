//! Unpacked tiles hold what the scalar decoders say.

use plimsoll_backend::suite::Rng;

use super::*;
use crate::simd::{Kernel, Tier};

struct Unpack<'a, F>(&'a [u8], &'a mut Tile, std::marker::PhantomData<F>);

impl<F: Format> Kernel for Unpack<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self(blocks, tile, _) = self;
        tile.unpack::<S, F>(s, blocks, 0, blocks.as_ptr());
    }
}

fn check<F: Format>() {
    let (block, mut rng) = (F::BLOCK, Rng::new(5));
    assert_eq!((F::BYTES, F::VALUES), (LANES * block.bytes, block.values), "{block}: sizes");
    let rows: Vec<Vec<u8>> = (0..LANES)
        .map(|_| {
            let mut bytes: Vec<u8> = (0..block.bytes).map(|_| rng.below(256) as u8).collect();
            // Scales in f16 may come out infinite: clear the top bit of their exponents.
            let mut at = 0;
            for field in F::FIELDS {
                if field.word == 2 {
                    bytes[at + 1] &= 0b1011_1111;
                }
                at += field.word * field.words;
            }
            bytes
        })
        .collect();
    let slices: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
    let mut packed = vec![0; LANES * block.bytes];
    pack(F::FIELDS, &slices, &mut packed);
    for isa in Tier::ALL.iter().filter_map(|tier| tier.isa()) {
        let mut tile = Box::new(Tile::ZERO);
        isa.run(Unpack::<F>(&packed, &mut tile, std::marker::PhantomData));
        let mut values = vec![0.0; block.values];
        for (row, bytes) in rows.iter().enumerate() {
            block.decode(bytes, &mut values).unwrap();
            for (k, expected) in values.iter().enumerate() {
                let (q, group) = (i32::from(tile.q[k / 4][4 * row + k % 4]), k / F::GROUP);
                let found = match F::ZERO {
                    0 => tile.scale[group][row] * q as f32 + tile.offset[group][row],
                    zero => tile.scale[group][row] * (q - zero) as f32,
                };
                assert_eq!(found, *expected, "{block} on {isa:?}: row {row}, value {k}");
                assert!(F::ZERO == 128 || q < 128, "{block}: {q} is too large for `dot4`");
            }
        }
    }
}

#[test]
fn tiles_hold_what_the_decoders_say() {
    check::<Q4_0>();
    check::<Q4_1>();
    check::<Q5_0>();
    check::<Q5_1>();
    check::<Q8_0>();
    check::<Iq4Nl>();
    check::<Mxfp4>();
    check::<Q2K>();
    check::<Q3K>();
    check::<Q4K>();
    check::<Q5K>();
    check::<Q6K>();
    check::<Iq4Xs>();
}
