//! The tasks that the demo models learn: programs that write questions and their answers.

mod add;
mod greet;
mod json;
mod recall;
mod refusal;
mod reverse;
mod sentiment;
mod sort;
mod story;
mod upper;
mod words;

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use crate::rng::Rng;

/// A question and the one right answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// What decides the answer, whatever words ask for it: the split goes by this. None for what should be known by
    /// heart, which is never held out.
    pub key: Option<String>,
    /// What the user says.
    pub input: String,
    /// What the model should say.
    pub answer: String,
}

/// One kind of question.
pub struct Task {
    /// Short name, for tables.
    pub name: &'static str,
    make: fn(&mut Rng) -> Case,
}

/// All tasks.
pub const TASKS: &[Task] = &[
    Task { name: "add", make: add::make },
    Task { name: "reverse", make: reverse::make },
    Task { name: "upper", make: upper::make },
    Task { name: "sort", make: sort::make },
    Task { name: "sentiment", make: sentiment::make },
    Task { name: "json", make: json::make },
    Task { name: "refusal", make: refusal::make },
    Task { name: "recall", make: recall::make },
    Task { name: "story", make: story::make },
    Task { name: "greet", make: greet::make },
];

/// Cases held out per task.
pub const HELD_OUT: usize = 200;

impl Task {
    /// A case to learn from.
    pub fn training(&self, rng: &mut Rng) -> Case {
        loop {
            let case = (self.make)(rng);
            if !self.holds_out(&case) {
                return case;
            }
        }
    }

    /// The cases to be examined with: always the same, different from each other, never among the training cases.
    pub fn held_out(&self) -> Vec<Case> {
        let mut rng = Rng(2026);
        let mut seen = HashSet::new();
        let cases = std::iter::repeat_with(|| (self.make)(&mut rng));
        cases.filter(|case| self.holds_out(case) && seen.insert(case.key.clone())).take(HELD_OUT).collect()
    }

    /// One key in eight is held out.
    fn holds_out(&self, case: &Case) -> bool {
        case.key.as_ref().is_some_and(|key| Sha256::digest(format!("{}\n{key}", self.name))[0] < 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_has_inputs_enough() {
        for task in TASKS {
            let mut rng = Rng(1);
            let inputs: HashSet<String> = (0..40_000).map(|_| (task.make)(&mut rng).input).collect();
            assert!(inputs.len() >= 5_000, "{}: {}", task.name, inputs.len());
        }
    }

    #[test]
    fn held_out_cases_are_never_trained_on() {
        for task in TASKS {
            let held_out = task.held_out();
            assert_eq!(held_out, task.held_out(), "{} is stable", task.name);
            assert_eq!(held_out.len(), HELD_OUT);
            let keys: HashSet<_> = held_out.iter().map(|case| &case.key).collect();
            let mut rng = Rng(7);
            for _ in 0..5_000 {
                assert!(!keys.contains(&task.training(&mut rng).key), "{}", task.name);
            }
        }
    }

    #[test]
    fn one_key_has_one_answer() {
        for task in TASKS {
            let mut rng = Rng(3);
            let mut answers = std::collections::HashMap::new();
            for _ in 0..20_000 {
                let case = (task.make)(&mut rng);
                let Some(key) = case.key else { continue };
                let first = answers.entry(key.clone()).or_insert_with(|| case.answer.clone());
                assert_eq!(*first, case.answer, "{} {key}", task.name);
            }
        }
    }

    #[test]
    fn the_split_does_not_move() {
        let held_out = |task: &str, key: &str| Sha256::digest(format!("{task}\n{key}"))[0];
        assert_eq!([held_out("add", "12 + 7"), held_out("reverse", "bana")], [196, 51]);
    }
}
