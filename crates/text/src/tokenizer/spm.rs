//! SentencePiece BPE: merges out of a vocabulary with scores, which stores none.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::bytes::SPACE;

/// Longest piece; SentencePiece itself stops at 16 characters, runs of spaces go further.
pub(super) const MAX_PIECE: usize = 1024;

/// How a vocabulary ranks its merges.
#[derive(Clone, Copy)]
pub(super) enum Rank<'a> {
    /// By descending score, then by id (Llama, Mistral, Phi-3).
    Scores(&'a [f32]),
    /// By id (Gemma).
    Ids,
}

/// All ways to make a piece out of two others, best first. `pieces`: text and id of what ordinary text may become.
///
/// The order among the splits of one piece is that of transformers' converter: longest left part first under scores,
/// shortest first under ids.
pub(super) fn merges(pieces: &HashMap<String, u32>, rank: Rank<'_>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (piece, &id) in pieces {
        for (at, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(at);
            if pieces.contains_key(left) && pieces.contains_key(right) {
                found.push((id, left, right));
            }
        }
    }
    match rank {
        Rank::Ids => found.sort_unstable_by_key(|&(id, left, _)| (id, left.len())),
        Rank::Scores(scores) => {
            let score = |id: u32| usize::try_from(id).ok().and_then(|id| scores.get(id)).copied().unwrap_or(f32::MIN);
            found.sort_unstable_by(|a, b| {
                let ids = (a.0, Reverse(a.1.len())).cmp(&(b.0, Reverse(b.1.len())));
                score(b.0).total_cmp(&score(a.0)).then(ids)
            });
        }
    }
    found.into_iter().map(|(_, left, right)| (left.to_owned(), right.to_owned())).collect()
}

/// A piece as text is normalized before it is looked up: some files store runs of real spaces.
pub(super) fn normalized(piece: &str) -> String {
    piece.replace(' ', SPACE.encode_utf8(&mut [0; 4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_follow_the_rank() {
        let pieces = ["a", "b", "c", "ab", "bc", "abc"].map(str::to_owned);
        let pieces: HashMap<String, u32> = pieces.into_iter().zip(0..).collect();
        let pairs = |rank| merges(&pieces, rank).iter().map(|(a, b)| format!("{a}+{b}")).collect::<Vec<_>>();
        assert_eq!(pairs(Rank::Scores(&[0., 0., 0., -2., -1., -3.])), ["b+c", "a+b", "ab+c", "a+bc"]);
        assert_eq!(pairs(Rank::Ids), ["a+b", "b+c", "a+bc", "ab+c"]);
        assert_eq!(pairs(Rank::Scores(&[])), ["a+b", "b+c", "ab+c", "a+bc"]);
    }

    #[test]
    fn spaces_become_visible() {
        assert_eq!(normalized("  a"), "▁▁a");
    }
}
