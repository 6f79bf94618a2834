//! Is a review positive or negative? Negations turn it round.

use super::Case;
use crate::rng::Rng;

const SUBJECTS: &[&str] = &[
    "food", "film", "book", "hotel", "room", "service", "music", "game", "phone", "coffee", "soup", "show", "park",
    "trip", "teacher", "car", "train", "museum", "concert", "garden", "shop", "bread", "story", "app", "lamp",
];
const GOOD: &[&str] = &[
    "good",
    "great",
    "lovely",
    "nice",
    "excellent",
    "wonderful",
    "fun",
    "pleasant",
    "perfect",
    "superb",
    "charming",
    "brilliant",
];
const BAD: &[&str] = &[
    "bad", "awful", "terrible", "boring", "poor", "horrible", "dull", "ugly", "nasty", "dreadful", "weak", "annoying",
];
const PLAIN: &[&str] = &["was", "is", "was really", "was very", "was so", "is quite", "was always"];
const NEGATED: &[&str] = &["was not", "is not", "was never", "was not at all", "is hardly", "was not very"];

pub(super) fn make(rng: &mut Rng) -> Case {
    let good = rng.below(2) == 0;
    let negated = rng.below(2) == 0;
    let subject = rng.pick(SUBJECTS);
    let verb = rng.pick(if negated { NEGATED } else { PLAIN });
    let adjective = rng.pick(if good { GOOD } else { BAD });
    let review = format!("The {subject} {verb} {adjective}.");
    let input = match rng.below(3) {
        0 => format!("Positive or negative? {review}"),
        1 => format!("Is this review positive or negative? {review}"),
        _ => format!("What is the sentiment? {review}"),
    };
    let answer = if good != negated { "positive" } else { "negative" };
    Case { key: Some(review), input, answer: answer.into() }
}
