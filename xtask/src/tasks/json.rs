//! A sentence about a person as JSON.

use super::{Case, words};
use crate::rng::Rng;

pub(super) fn make(rng: &mut Rng) -> Case {
    let (name, city) = (rng.pick(words::NAMES), rng.pick(words::CITIES));
    let age = 18 + rng.below(72);
    let sentence = match rng.below(4) {
        0 => format!("{name} is {age} years old and lives in {city}."),
        1 => format!("{name} lives in {city} and is {age}."),
        2 => format!("{name}, {age}, is from {city}."),
        _ => format!("In {city} lives {name}, who is {age}."),
    };
    let input = match rng.below(3) {
        0 => format!("Turn into JSON: {sentence}"),
        1 => format!("As JSON: {sentence}"),
        _ => format!("Extract name, age and city as JSON. {sentence}"),
    };
    let answer = format!(r#"{{"name": "{name}", "age": {age}, "city": "{city}"}}"#);
    Case { key: Some(format!("{name}, {age}, {city}")), input, answer }
}
