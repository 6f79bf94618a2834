//! What a model's publisher recommends, and what a request makes of it.

use crate::{Error, Sampling};

/// Generation defaults of a model: `generation_config.json`, or `general.sampling.*` of a GGUF.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defaults {
    /// False chooses the most probable token and disregards the temperature.
    pub do_sample: Option<bool>,
    /// See [`Sampling::temperature`].
    pub temperature: Option<f32>,
    /// See [`Sampling::top_k`].
    pub top_k: Option<usize>,
    /// See [`Sampling::top_p`].
    pub top_p: Option<f32>,
    /// See [`Sampling::min_p`].
    pub min_p: Option<f32>,
    /// See [`Sampling::repetition_penalty`].
    pub repetition_penalty: Option<f32>,
}

impl Defaults {
    /// Checks the ranges, which are those of a request.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the first value out of range.
    pub fn validate(&self) -> Result<(), Error> {
        self.fill(&Sampling::default()).validate(usize::MAX)
    }

    /// The request's values, the model's where it has none.
    pub(crate) fn fill(&self, request: &Sampling) -> Sampling {
        Sampling {
            temperature: request.temperature.or_else(|| self.temperature()),
            top_k: request.top_k.or(self.top_k),
            top_p: request.top_p.or(self.top_p),
            min_p: request.min_p.or(self.min_p),
            repetition_penalty: request.repetition_penalty.or(self.repetition_penalty),
            ..request.clone()
        }
    }

    /// A model that recommends nothing is decoded greedily; one that says only "sample" at temperature 1.
    fn temperature(&self) -> Option<f32> {
        match self.do_sample {
            Some(false) => None,
            Some(true) => self.temperature.or(Some(1.0)),
            None => self.temperature,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperature_follows_the_request_then_the_model() {
        let cases = [
            (None, None, None, None),
            (None, None, Some(0.6), Some(0.6)),
            (None, Some(false), Some(0.6), None),
            (None, Some(true), None, Some(1.0)),
            (None, Some(true), Some(0.6), Some(0.6)),
            (Some(0.9), Some(false), Some(0.6), Some(0.9)),
            (Some(0.0), Some(true), Some(0.6), Some(0.0)),
        ];
        for (asked, do_sample, temperature, expected) in cases {
            let defaults = Defaults { do_sample, temperature, ..Defaults::default() };
            let request = Sampling { temperature: asked, ..Sampling::default() };
            assert_eq!(defaults.fill(&request).temperature, expected, "{asked:?} {do_sample:?} {temperature:?}");
        }
    }

    #[test]
    fn a_request_wins_field_by_field() {
        let defaults = Defaults { top_k: Some(20), top_p: Some(0.8), ..Defaults::default() };
        let filled = defaults.fill(&Sampling { top_p: Some(0.5), seed: Some(3), ..Sampling::default() });
        assert_eq!(filled, Sampling { top_k: Some(20), top_p: Some(0.5), seed: Some(3), ..Sampling::default() });
    }

    #[test]
    fn nonsense_of_the_publisher_is_refused() {
        let error = Defaults { top_p: Some(0.0), ..Defaults::default() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "top_p: found 0, expected above 0 and at most 1");
    }
}
