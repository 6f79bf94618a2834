//! Words to play with.

use crate::rng::Rng;

/// Things, for lists.
pub(super) const THINGS: &[&str] = &[
    "apple", "arrow", "bag", "ball", "banana", "bell", "bird", "boat", "book", "bottle", "box", "bread", "brush",
    "cake", "candle", "chair", "clock", "cloud", "coat", "coin", "cup", "desk", "door", "dress", "drum", "egg", "fan",
    "fig", "fish", "flag", "flower", "fork", "garden", "gate", "glass", "glove", "grape", "guitar", "hammer", "hat",
    "horn", "house", "ink", "iron", "jacket", "jar", "key", "kite", "knife", "ladder", "lamp", "leaf", "lemon",
    "letter", "map", "mango", "milk", "mirror", "moon", "nail", "needle", "net", "nut", "olive", "onion", "orange",
    "oven", "paper", "peach", "pear", "pen", "pencil", "piano", "pillow", "plate", "plum", "pot", "queen", "rain",
    "ring", "river", "road", "rope", "rose", "salt", "ship", "shoe", "soap", "spoon", "star", "stone", "sugar",
    "table", "tea", "tent", "tiger", "tomato", "towel", "tree", "tulip", "vase", "violin", "wagon", "wall", "watch",
    "wheel", "window", "wolf", "yarn", "zebra",
];

/// First names.
pub(super) const NAMES: &[&str] = &[
    "Anna", "Ben", "Clara", "David", "Emma", "Felix", "Grace", "Henry", "Ida", "Jack", "Kate", "Leo", "Maria", "Nina",
    "Oscar", "Paul", "Quinn", "Rosa", "Sam", "Tom", "Uma", "Victor", "Wendy", "Xenia", "Yusuf", "Zoe", "Alice",
    "Bruno", "Carla", "Daniel", "Elena", "Frank", "Hannah", "Ivan", "Julia", "Karl", "Laura", "Mark", "Nora", "Omar",
    "Peter", "Rita", "Simon", "Tina", "Walter", "Amir", "Chen", "Maya", "Priya", "Kenji",
];

/// Cities.
pub(super) const CITIES: &[&str] = &[
    "Paris", "London", "Berlin", "Rome", "Madrid", "Vienna", "Oslo", "Dublin", "Lisbon", "Prague", "Athens", "Boston",
    "Chicago", "Dallas", "Denver", "Tokyo", "Delhi", "Cairo", "Lima", "Quito", "Sydney", "Toronto", "Seoul", "Nairobi",
    "Geneva", "Munich", "Milan", "Naples", "Porto", "Zurich", "Warsaw", "Helsinki", "Austin", "Miami", "Seattle",
    "Havana", "Mumbai", "Accra", "Lagos", "Hanoi",
];

/// The word, unless it is in the list of things: how those are spelled must be learned one by one, since each may be a
/// single token.
pub(super) fn unknown(word: String) -> Option<String> {
    (!THINGS.contains(&word.as_str())).then_some(word)
}

/// A real word, or one made of syllables: there are more of those than any model could learn by heart.
pub(super) fn any(rng: &mut Rng) -> String {
    const STARTS: &[&str] = &["b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z"];
    const VOWELS: &[&str] = &["a", "e", "i", "o", "u", "a", "e", "o"];
    const ENDS: &[&str] = &["", "", "", "n", "r", "l", "t", "s", "m", "k", "x", "y"];
    if rng.below(3) == 0 {
        return rng.pick(THINGS).into();
    }
    let syllables = if rng.below(4) == 0 { 1 } else { 2 };
    let word: String = (0..syllables).map(|_| format!("{}{}", rng.pick(STARTS), rng.pick(VOWELS))).collect();
    format!("{word}{}", rng.pick(ENDS))
}
