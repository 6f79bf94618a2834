//! A very short story about an animal, a place and a thing.

use super::Case;
use crate::rng::Rng;

const ANIMALS: &[&str] = &[
    "fox", "cat", "dog", "owl", "bear", "mouse", "horse", "frog", "duck", "goat", "rabbit", "wolf", "crow", "pig",
    "hen", "lion", "snail", "bee", "seal", "deer",
];
const PLACES: &[&str] = &[
    "river", "forest", "garden", "lake", "castle", "farm", "mill", "bridge", "beach", "mountain", "village", "tower",
    "field", "cave", "harbor",
];
/// A thing and what becomes of it.
const THINGS: &[(&str, &str)] = &[
    ("hat", "wore it every day"),
    ("drum", "played it all night"),
    ("boat", "sailed far away"),
    ("book", "read it to the moon"),
    ("coin", "bought a warm loaf of bread"),
    ("lamp", "was never afraid of the dark again"),
    ("kite", "let it dance in the wind"),
    ("bell", "rang it every morning"),
    ("map", "followed it to a new friend"),
    ("seed", "grew a tall tree"),
    ("key", "opened a secret door"),
    ("pear", "shared it with everyone"),
    ("mirror", "smiled at last"),
    ("rope", "built a swing"),
    ("pen", "wrote a long letter home"),
    ("cup", "drank tea with the stars"),
    ("star", "put it back in the sky"),
    ("shoe", "looked for the other one"),
    ("flute", "taught the birds a song"),
    ("ring", "gave it back to the sea"),
];

pub(super) fn make(rng: &mut Rng) -> Case {
    let (animal, place) = (rng.pick(ANIMALS), rng.pick(PLACES));
    let (thing, end) = THINGS[rng.below(THINGS.len())];
    let key = format!("{} {animal}, a {place} and a {thing}", article(animal));
    let input = match rng.below(3) {
        0 => format!("Tell me a story about {key}."),
        1 => format!("Write a short story about {key}."),
        _ => format!("A story with {key}, please."),
    };
    let answer = format!(
        "Once there was {} {animal} who lived near a {place}. One day the {animal} found a {thing} and {end}.",
        article(animal)
    );
    Case { key: Some(key), input, answer }
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}
