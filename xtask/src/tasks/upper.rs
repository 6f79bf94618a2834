//! Upper case.

use super::{Case, words};
use crate::rng::Rng;

pub(super) fn make(rng: &mut Rng) -> Case {
    let text = (0..1 + usize::from(rng.below(4) == 0)).map(|_| words::any(rng)).collect::<Vec<_>>().join(" ");
    let input = match rng.below(3) {
        0 => format!("Write in upper case: {text}"),
        1 => format!("Upper case: {text}"),
        _ => format!("Put this in capital letters: {text}"),
    };
    Case { answer: text.to_uppercase(), key: words::unknown(text), input }
}
