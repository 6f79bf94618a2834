//! A byte-level BPE vocabulary of any size, made and not learned.

use std::collections::VecDeque;

use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// By how often English uses them.
const LETTERS: &str = "etaoinshrdlucmfwypvbgkjqxz";
/// How byte-level vocabularies spell a space.
const SPACE: char = 'Ġ';

/// Tokens in the order of their ids, and the merges (`a b`) that make them.
pub struct Words {
    pub texts: Vec<String>,
    pub merges: Vec<String>,
}

/// The 256 bytes, then strings of letters, some with a space before, shorter ones first: `count` tokens.
pub fn words(count: usize) -> Words {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let mut texts: Vec<String> = alphabet.into_iter().map(String::from).collect();
    let mut merges = Vec::new();
    let mut stems: VecDeque<String> = std::iter::once(SPACE).chain(LETTERS.chars()).map(String::from).collect();
    while let Some(stem) = stems.pop_front().filter(|_| texts.len() < count) {
        for letter in LETTERS.chars().take(count - texts.len()) {
            merges.push(format!("{stem} {letter}"));
            texts.push(format!("{stem}{letter}"));
            stems.push_back(format!("{stem}{letter}"));
        }
    }
    Words { texts, merges }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_unique_and_each_has_its_merge() {
        let Words { texts, merges } = words(20_000);
        assert_eq!((texts.len(), merges.len()), (20_000, 20_000 - 256));
        assert!(merges.iter().zip(&texts[256..]).all(|(merge, text)| merge.replacen(' ', "", 1) == *text));
        assert_eq!((texts[0].as_str(), texts[256].as_str(), merges[0].as_str()), ("!", "Ġe", "Ġ e"));
        let mut unique = texts.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), texts.len());
    }
}
