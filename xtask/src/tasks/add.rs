//! Sums below 100.

use super::Case;
use crate::rng::Rng;

pub(super) fn make(rng: &mut Rng) -> Case {
    let (a, b) = numbers(rng);
    let input = match rng.below(6) {
        0..=2 => format!("What is {a} + {b}?"),
        3 => format!("{a} + {b} ="),
        4 => format!("Add {a} and {b}."),
        _ => format!("How much is {a} plus {b}?"),
    };
    Case { key: Some(format!("{a} + {b}")), input, answer: (a + b).to_string() }
}

/// One digit more often than its share: easy sums are sure, and hard ones are made of them.
fn numbers(rng: &mut Rng) -> (usize, usize) {
    let mut number = || if rng.below(5) == 0 { rng.below(10) } else { rng.below(100) };
    loop {
        let (a, b) = (number(), number());
        if a + b < 100 {
            return (a, b);
        }
    }
}
