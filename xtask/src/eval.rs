//! Accuracy of the shipped models on held-out cases, through the engine.

use std::path::Path;

use plimsoll::{Event, Generate, Request, Settings, open_unlocked};

use crate::Result;
use crate::tasks::{Case, TASKS};
use crate::train::recipe::Recipe;

/// Requests under way at a time.
const BATCH: usize = 25;

/// Prints the share of right answers per task.
pub fn eval(root: &Path, recipe: &Recipe) -> Result<()> {
    let opened = open_unlocked(root.join("models").join(recipe.name))?;
    let model = Settings::default().start(opened)?;
    println!("{}", recipe.name);
    let mut lowest = f32::INFINITY;
    for task in TASKS {
        let cases = task.held_out();
        let mut wrong = Vec::new();
        for batch in cases.chunks(BATCH) {
            let answers = answers(&*model, batch)?;
            wrong.extend(batch.iter().zip(answers).filter(|(case, answer)| case.answer != *answer));
        }
        let share = 1.0 - wrong.len() as f32 / cases.len() as f32;
        lowest = lowest.min(share);
        println!("  {:<10} {:5.1} %", task.name, 100.0 * share);
        if let Some((case, answer)) = wrong.first() {
            println!("             {:?} -> {answer:?}, not {:?}", case.input, case.answer);
        }
    }
    println!("  {:<10} {:5.1} %", "lowest", 100.0 * lowest);
    Ok(())
}

/// The greedy answers to some questions.
fn answers(model: &dyn Generate, cases: &[Case]) -> Result<Vec<String>> {
    let request = |case: &Case| Request::chat().user(&case.input).temperature(0.0).max_tokens(64);
    let running = cases.iter().map(|case| Ok(model.start(request(case))?)).collect::<Result<Vec<_>>>()?;
    let answers = running.into_iter().map(|generation| {
        let mut answer = String::new();
        for event in generation.blocking() {
            if let Event::Text(text) = event? {
                answer += &text;
            }
        }
        Ok(answer)
    });
    answers.collect()
}
