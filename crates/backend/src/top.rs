//! What a device finds in a row of logits, so that the row need not be read.

/// How the token behind a row of logits will be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Divides the logits; above 0.
    pub temperature: f32,
    /// Ids from here on are never drawn.
    pub vocab: u32,
}

impl Default for Draw {
    /// All ids, with their logits as they are.
    fn default() -> Self {
        Self { temperature: 1.0, vocab: u32::MAX }
    }
}

/// The largest logits of a row, and what is known of the others.
#[derive(Clone, Debug, PartialEq)]
pub struct Top {
    /// Ids with their logits, the largest first, equal ones by id; of all ids of the row.
    pub tokens: Vec<(u32, f32)>,
    /// How many ids are not among them.
    pub others: usize,
    /// `sum(exp(logit - largest))` of all ids.
    pub sum: f64,
    /// `sum(exp((logit - largest) / temperature))` of the ids that may be drawn, if the largest is one of them.
    pub weight: f64,
    /// The first id whose logit is no number or infinite, and that logit: then nothing else here means anything.
    pub not_finite: Option<(u32, f32)>,
}

impl Top {
    /// How far the sums may be from what they stand for, as a share of it: they are of f32 exponentials, whose arguments
    /// count down to -30 and have 24 bits.
    pub const ERROR: f64 = 1e-5;
}
