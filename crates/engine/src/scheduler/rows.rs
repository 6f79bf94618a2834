//! The logits of a step.

use plimsoll_backend::Plan;

use crate::Error;
use crate::sampler::{Choice, Sampler};
use crate::step::{Logits, Step};

/// A step's outputs, and the model that may have to be asked for their logits.
pub(super) struct Rows<'m, S> {
    model: &'m mut S,
    logits: Logits,
}

impl<'m, S: Step> Rows<'m, S> {
    /// Runs a step.
    pub(super) fn of(model: &'m mut S, plan: &Plan) -> Result<Self, Error> {
        let logits = model.step(plan)?;
        let (found, expected) = match &logits {
            Logits::Whole(logits) => (logits.len(), plan.outputs.len() * model.vocab()),
            Logits::Top(rows) => (rows.len(), plan.outputs.len()),
        };
        if found == expected { Ok(Self { model, logits }) } else { Err(Error::StepShape { found, expected }) }
    }

    /// Chooses the token at a position from a row.
    pub(super) fn choose(&mut self, row: usize, sampler: &mut Sampler, position: usize) -> Result<Choice, Error> {
        let vocab = self.model.vocab();
        match &self.logits {
            Logits::Whole(logits) => sampler.choose(&logits[row * vocab..][..vocab], position),
            Logits::Top(rows) => match sampler.choose_listed(&rows[row], position)? {
                Some(choice) => Ok(choice),
                None => sampler.choose(&self.model.rows(row..row + 1)?, position),
            },
        }
    }
}
