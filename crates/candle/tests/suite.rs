//! The conformance suite on this backend.

use plimsoll_backend::suite::{Tolerance, cases, check_batches, check_ops};
use plimsoll_candle::Candle;

/// f32 sums in another order than the reference's f64.
const TOLERANCE: Tolerance = Tolerance { op: 1e-10, batch: 2e-5 };

#[test]
fn ops_equal_the_reference() {
    for case in cases() {
        check_ops(Candle::cpu(), &case, TOLERANCE);
    }
}

#[test]
fn logits_do_not_depend_on_the_batch() {
    for case in cases() {
        check_batches(Candle::cpu(), &case, TOLERANCE);
    }
}
