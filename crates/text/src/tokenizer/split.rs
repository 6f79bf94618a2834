//! Splitting before merging. Unlike the splitter of the `tokenizers` crate, which stops splitting without a word when
//! its regex engine gives up (past a million backtracks or saved states), this one says so.

use fancy_regex::Regex;
use tokenizers::pattern::Pattern;
use tokenizers::{
    NormalizedString, Offsets, PreTokenizedString, PreTokenizer as _, PreTokenizerWrapper, SplitDelimiterBehavior,
};

/// One step of a pre-tokenizer.
pub(super) enum Step {
    /// A regex; matches and gaps become pieces as `behavior` says.
    Split { regex: Regex, invert: bool, behavior: SplitDelimiterBehavior },
    /// A space in front of a text that has none.
    PrefixSpace,
    /// Any other step, as the crate does it.
    Other(Box<PreTokenizerWrapper>),
}

impl Step {
    /// Matches and gaps each become a piece.
    pub(super) fn isolated(pattern: &str) -> Result<Self, fancy_regex::Error> {
        Ok(Self::Split { regex: Regex::new(pattern)?, invert: false, behavior: SplitDelimiterBehavior::Isolated })
    }

    pub(super) fn apply(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        match self {
            Self::Split { regex, invert, behavior } => {
                text.split(|_, piece| piece.split(Matches { regex, invert: *invert }, *behavior))
            }
            Self::PrefixSpace => text.split(|_, mut piece: NormalizedString| {
                if !piece.get().starts_with(' ') {
                    piece.prepend(" ");
                }
                Ok([piece])
            }),
            Self::Other(step) => step.pre_tokenize(text),
        }
    }
}

struct Matches<'a> {
    regex: &'a Regex,
    invert: bool,
}

impl Pattern for Matches<'_> {
    fn find_matches(&self, inside: &str) -> tokenizers::Result<Vec<(Offsets, bool)>> {
        if inside.is_empty() {
            return Ok(vec![((0, 0), false)]);
        }
        let mut pieces = Vec::new();
        let mut end = 0;
        for hit in self.regex.find_iter(inside) {
            let hit = hit.map_err(|error| format!("splitting at byte {end} of a text: {error}"))?;
            if hit.start() > end {
                pieces.push(((end, hit.start()), self.invert));
            }
            pieces.push(((hit.start(), hit.end()), !self.invert));
            end = hit.end();
        }
        if end < inside.len() {
            pieces.push(((end, inside.len()), self.invert));
        }
        Ok(pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(step: &Step, text: &str) -> tokenizers::Result<Vec<String>> {
        let mut text = PreTokenizedString::from(text);
        step.apply(&mut text)?;
        let splits = text.get_splits(tokenizers::OffsetReferential::Original, tokenizers::OffsetType::Byte);
        Ok(splits.into_iter().map(|(piece, _, _)| piece.to_owned()).collect())
    }

    #[test]
    fn a_run_of_spaces_is_split_right_or_refused() {
        let step = Step::isolated(super::super::pre::GPT2).unwrap();
        let mut text = " ".repeat(900_000);
        text.push('x');
        assert_eq!(pieces(&step, &text).unwrap().len(), 2);
        let mut text = " ".repeat(1_200_000);
        text.push_str("x y");
        match pieces(&step, &text) {
            Ok(pieces) => assert_eq!(pieces.len(), 3),
            Err(error) => assert!(error.to_string().contains("splitting at byte 0"), "{error}"),
        }
    }

    #[test]
    fn prefix_space_only_where_there_is_none() {
        assert_eq!(pieces(&Step::PrefixSpace, "a").unwrap(), [" a"]);
        assert_eq!(pieces(&Step::PrefixSpace, " a").unwrap(), [" a"]);
    }
}
