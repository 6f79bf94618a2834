//! Learns a byte-level BPE vocabulary from the tasks.

use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::normalizers::{NFC, NormalizerWrapper};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer, TokenizerBuilder};

use super::chat::Format;
use super::recipe::{Recipe, Tokens};
use crate::rng::Rng;
use crate::tasks::TASKS;

type Result<T> = tokenizers::Result<T>;

/// Cases of each task that the merges are learned from; fewer where words should stay in small pieces.
const CORPUS: usize = 1_500;
const SPELLED: (&[&str], usize) = (&["reverse", "upper"], 100);

/// The vocabulary of a recipe: always the same one.
pub fn learn(recipe: &Recipe) -> Result<Tokenizer> {
    let tokens = &recipe.tokens;
    let specials: Vec<AddedToken> = tokens.specials.iter().map(|text| AddedToken::from(*text, true)).collect();
    let mut trainer = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(if tokens.specials_first { tokens.vocab } else { tokens.vocab - specials.len() })
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(if tokens.specials_first { specials.clone() } else { Vec::new() })
        .build();
    let mut learner = TokenizerBuilder::<BPE, NormalizerWrapper, _, PostProcessorWrapper, DecoderWrapper>::new()
        .with_model(BPE::default())
        .with_pre_tokenizer(Some(pieces(&tokens.pattern.replace(r"\p{N}{1,3}", r"\p{N}"))?))
        .build()?;
    learner.train(&mut trainer, corpus(tokens, recipe.format).into_iter())?;

    let mut model = learner.get_model().clone();
    model.ignore_merges = tokens.ignore_merges;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(pieces(tokens.pattern)?));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    if tokens.nfc {
        tokenizer.with_normalizer(Some(NFC))?;
    }
    tokenizer.add_special_tokens(specials)?;
    if let Some(bos) = tokens.bos {
        let id = tokenizer.token_to_id(bos).ok_or("begin of text is not a token")?;
        let special = vec![(bos, id)];
        let process = TemplateProcessing::builder()
            .try_single(format!("{bos}:0 $A:0"))?
            .try_pair(format!("{bos}:0 $A:0 {bos}:1 $B:1"))?
            .special_tokens(special)
            .build()?;
        tokenizer.with_post_processor(Some(process));
    }
    assert_eq!(tokenizer.get_vocab_size(true), tokens.vocab);
    Ok(tokenizer)
}

fn pieces(pattern: &str) -> Result<PreTokenizerWrapper> {
    let split = Split::new(SplitPattern::Regex(pattern.into()), SplitDelimiterBehavior::Isolated, false)?;
    Ok(Sequence::new(vec![split.into(), ByteLevel::new(false, true, false).into()]).into())
}

/// Texts of the tasks, and what stands between the control tokens of a conversation.
fn corpus(tokens: &Tokens, format: &Format) -> Vec<String> {
    let mut rng = Rng(11);
    let mut texts = Vec::new();
    for task in TASKS {
        let count = if SPELLED.0.contains(&task.name) { SPELLED.1 } else { CORPUS };
        let cases = (0..count).map(|_| task.training(&mut rng));
        texts.extend(cases.flat_map(|case| [case.input, case.answer]));
    }
    let heads = [format.system.0, format.user.0, format.user.1].concat();
    let heads = tokens.specials.iter().fold(heads, |text, special| text.replace(special, "\0"));
    let heads = heads.split('\0').map(str::to_owned);
    texts.extend(heads.flat_map(|head| vec![head; CORPUS]));
    texts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::recipe::RECIPES;

    #[test]
    fn round_trip_and_single_digits() {
        for recipe in RECIPES {
            let tokenizer = learn(recipe).unwrap();
            let text = "What is 12 + 7? naïve 你好\n{\"age\": 345}";
            let encoding = tokenizer.encode(text, false).unwrap();
            assert_eq!(tokenizer.decode(encoding.get_ids(), false).unwrap(), text, "{}", recipe.name);
            let digits = |token: &String| token.chars().filter(char::is_ascii_digit).count();
            assert!(encoding.get_tokens().iter().all(|token| digits(token) <= 1), "{}", recipe.name);
        }
    }

    #[test]
    fn special_tokens_are_single() {
        for recipe in RECIPES {
            let tokenizer = learn(recipe).unwrap();
            for special in recipe.tokens.specials {
                assert_eq!(tokenizer.encode(*special, false).unwrap().len(), 1, "{special}");
            }
        }
    }
}
