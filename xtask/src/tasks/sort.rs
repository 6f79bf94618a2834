//! Two or three numbers or words in order.

use super::{Case, words};
use crate::rng::Rng;

pub(super) fn make(rng: &mut Rng) -> Case {
    let n = 2 + rng.below(2);
    if rng.below(2) == 0 { numbers(rng, n) } else { names(rng, n) }
}

fn numbers(rng: &mut Rng, n: usize) -> Case {
    let mut values: Vec<usize> = (0..n).map(|_| rng.below(100)).collect();
    let given = list(&values);
    values.sort_unstable();
    case(rng, given, list(&values))
}

fn names(rng: &mut Rng, n: usize) -> Case {
    let mut values = rng.sample(words::THINGS, n);
    let given = list(&values);
    values.sort_unstable();
    case(rng, given, list(&values))
}

fn case(rng: &mut Rng, given: String, answer: String) -> Case {
    let input = match rng.below(3) {
        0 => format!("Sort: {given}"),
        1 => format!("Sort {given}."),
        _ => format!("Put in order: {given}"),
    };
    Case { key: Some(given), input, answer }
}

fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
