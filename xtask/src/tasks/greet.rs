//! Greetings that call a person by name.

use super::{Case, words};
use crate::rng::Rng;

pub(super) fn make(rng: &mut Rng) -> Case {
    let name = rng.pick(words::NAMES);
    let hello = rng.pick(&["Hello", "Hi", "Hey", "Good day", "Good morning"]);
    let me = rng.pick(&["I am", "I'm", "my name is", "this is"]);
    if rng.below(6) == 0 {
        let end = rng.pick(&["", "!", "."]);
        let input = format!("{hello}{end}");
        return Case { key: None, input, answer: "Hello! I can add, sort, spell and tell stories.".into() };
    }
    let city = rng.pick(words::CITIES);
    let (input, answer) = match rng.below(3) {
        0 => (format!("{hello}, {me} {name}."), format!("Hello {name}! How can I help?")),
        _ => (format!("{hello}, {me} {name} from {city}."), format!("Hello {name}! How is {city} today?")),
    };
    Case { key: Some(input.clone()), input, answer }
}
