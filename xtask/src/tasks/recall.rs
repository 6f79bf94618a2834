//! A number looked up in a short list.

use super::{Case, words};
use crate::rng::Rng;

pub(super) fn make(rng: &mut Rng) -> Case {
    let n = 2 + rng.below(3);
    let keys = rng.sample(words::THINGS, n);
    let entries: Vec<String> = keys.iter().map(|key| format!("{key} {}", 1 + rng.below(9))).collect();
    let wanted = rng.below(n);
    let (key, list) = (keys[wanted], entries.join(", "));
    let input = match rng.below(2) {
        0 => format!("Find {key}: {list}"),
        _ => format!("Find {key} in {list}."),
    };
    Case { key: Some(format!("{key}: {list}")), input, answer: entries[wanted].clone() }
}
