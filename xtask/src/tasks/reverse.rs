//! Words spelled backwards.

use super::{Case, words};
use crate::rng::Rng;

pub(super) fn make(rng: &mut Rng) -> Case {
    let word = words::any(rng);
    let input = match rng.below(3) {
        0 => format!("Reverse the word {word}."),
        1 => format!("Spell {word} backwards."),
        _ => format!("Reverse: {word}"),
    };
    Case { answer: word.chars().rev().collect(), key: words::unknown(word), input }
}
