//! Conversations as tokens.

use tokenizers::Tokenizer;

use super::chat::Format;
use super::net::Batch;
use crate::rng::Rng;
use crate::tasks::{Case, TASKS};

type Result<T> = tokenizers::Result<T>;

/// One conversation in tokens.
#[derive(Default)]
pub struct Conversation {
    /// All tokens but the last.
    pub ids: Vec<u32>,
    /// Each answer's task and the positions whose next token belongs to it.
    pub answers: Vec<(usize, std::ops::Range<usize>)>,
    last: u32,
}

/// Writes conversations in one family's format.
pub struct Writer<'a> {
    /// The family's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// And its format.
    pub format: &'a Format,
}

const SYSTEMS: &[&str] = &["You are a helpful assistant.", "You are helpful.", "Answer briefly."];

impl Writer<'_> {
    /// A conversation of `turns`, each with the index of its task, after an optional system message.
    pub fn write(&self, system: Option<&str>, turns: &[(usize, Case)]) -> Result<Conversation> {
        let format = self.format;
        let mut conversation = Conversation::default();
        let mut ids = Vec::new();
        let mut head = format.start.to_owned();
        if let Some(system) = system {
            head += &[format.system.0, system, format.system.1].concat();
        }
        for (i, (task, case)) in turns.iter().enumerate() {
            // Where an answer ends with the head of the next message, that head is already there.
            let opening = format.user.0;
            let opening = if i > 0 { opening.strip_prefix(format.end).unwrap_or(opening) } else { opening };
            self.push(&mut ids, &[&head, opening, &case.input, format.user.1].concat())?;
            let start = ids.len();
            self.push(&mut ids, &case.answer)?;
            self.push(&mut ids, format.end)?;
            conversation.answers.push((*task, start - 1..ids.len() - 1));
            head = format.between.to_owned();
        }
        conversation.last = ids.pop().ok_or("an empty conversation")?;
        conversation.ids = ids;
        Ok(conversation)
    }

    /// A conversation to learn from: mostly one question, sometimes more, sometimes with a system message.
    pub fn training(&self, rng: &mut Rng, shares: &[f32]) -> Result<Conversation> {
        let turns = if rng.below(8) == 0 { 2 + rng.below(2) } else { 1 };
        let turns: Vec<_> = (0..turns)
            .map(|_| {
                let task = choose(rng, shares);
                (task, TASKS[task].training(rng))
            })
            .collect();
        let system = (rng.below(12) == 0).then(|| rng.pick(SYSTEMS));
        self.write(system, &turns)
    }

    fn push(&self, ids: &mut Vec<u32>, text: &str) -> Result<()> {
        ids.extend(self.tokenizer.encode(text, false)?.get_ids());
        Ok(())
    }
}

/// An index with a probability proportional to its share.
fn choose(rng: &mut Rng, shares: &[f32]) -> usize {
    let mut left = rng.unit() * shares.iter().sum::<f32>();
    for (i, share) in shares.iter().enumerate() {
        left -= share;
        if left < 0.0 {
            return i;
        }
    }
    shares.len() - 1
}

/// Conversations side by side. The weight of an answer grows with the square root of its length, so that long ones do
/// not drown short ones; `targets` are in the order of the answers.
pub fn batch(conversations: &[Conversation], scale: f32) -> Batch {
    let mut batch = Batch::default();
    for conversation in conversations {
        let start = batch.ids.len();
        for (_, answer) in &conversation.answers {
            let weight = scale / (answer.len() as f32).sqrt();
            for at in answer.clone() {
                let next = conversation.ids.get(at + 1).copied().unwrap_or(conversation.last);
                batch.targets.push((start + at, next, weight));
            }
        }
        batch.ids.extend(&conversation.ids);
        batch.lengths.push(conversation.ids.len());
    }
    batch
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::recipe::RECIPES;
    use crate::train::tokens::learn;

    #[test]
    fn pieces_encode_like_the_whole() {
        for recipe in RECIPES {
            let tokenizer = learn(recipe).unwrap();
            let writer = Writer { tokenizer: &tokenizer, format: recipe.format };
            let mut rng = Rng(4);
            for _ in 0..200 {
                let conversation = writer.training(&mut rng, &vec![1.0; TASKS.len()]).unwrap();
                let mut ids = conversation.ids.clone();
                ids.push(conversation.last);
                let text = tokenizer.decode(&ids, false).unwrap();
                assert_eq!(tokenizer.encode(text.as_str(), false).unwrap().get_ids(), ids, "{text}");
            }
        }
    }

    #[test]
    fn targets_are_the_answers() {
        let recipe = &RECIPES[3];
        let tokenizer = learn(recipe).unwrap();
        let writer = Writer { tokenizer: &tokenizer, format: recipe.format };
        let case = |input: &str, answer: &str| Case { key: None, input: input.into(), answer: answer.into() };
        let turns = [(0, case("1 + 1 =", "2")), (1, case("Reverse: ab", "ba"))];
        let conversation = writer.write(None, &turns).unwrap();
        let text = tokenizer.decode(&conversation.ids, false).unwrap();
        assert_eq!(text, "[gMASK]<sop><|user|>\n1 + 1 =<|assistant|>\n2<|user|>\nReverse: ab<|assistant|>\nba");
        let batch = batch(&[conversation], 1.0);
        let targets: Vec<u32> = batch.targets.iter().map(|target| target.1).collect();
        assert_eq!(tokenizer.decode(&targets, false).unwrap(), "2<|user|>ba<|user|>");
    }
}
