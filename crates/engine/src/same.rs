//! Whether one model is another in a different container.

use plimsoll_model::{Decoder, Mixer, Pairing, RopeTable, Scaling};

use crate::opened::PROBE;
use crate::{Error, Opened, Request, Sampling};

impl Opened {
    /// Fails unless `copy` is, but for the precision of its weights, this very model: the same description, the same
    /// tokens for texts and conversations, the same templates, end tokens and sampling defaults.
    ///
    /// # Errors
    /// [`Error::NotTheSame`] with what differs.
    pub fn check_copy(&self, copy: &Opened) -> Result<(), Error> {
        let [text, chat] = [Request::prompt(PROBE), Request::chat().user(PROBE).assistant("Yes.").user("Why?")];
        let text = |opened: &Opened| opened.text().encode(&text.prompt).ok();
        let chat = |opened: &Opened| opened.text().encode(&chat.prompt).ok();
        let defaults = |opened: &Opened| opened.defaults().fill(&Sampling::default());
        let end = |opened: &Opened| opened.text().end().clone();
        let tokenizer = |opened: &Opened| opened.text().tokenizer().is_ok();
        let same = [
            ("configuration", same_decoder(self.checkpoint().decoder(), copy.checkpoint().decoder())),
            ("tokenizer", tokenizer(self) == tokenizer(copy) && text(self) == text(copy)),
            ("chat template", self.text().templates() == copy.text().templates() && chat(self) == chat(copy)),
            // Without a tokenizer GGUF has no place for them.
            ("end tokens", !tokenizer(self) || end(self) == end(copy)),
            ("sampling defaults", defaults(self) == defaults(copy)),
        ];
        match same.into_iter().find(|(_, same)| !same) {
            Some((what, _)) => Err(Error::NotTheSame { what }),
            None => Ok(()),
        }
    }
}

/// Whether two descriptions mean the same, however the rotation is stored.
fn same_decoder(a: &Decoder, b: &Decoder) -> bool {
    let close = |a: &f32, b: &f32| (a - b).abs() <= 1e-6 * a.abs();
    let tables = |decoder: &Decoder| {
        let gqas = decoder.layers.iter().map(|layer| {
            let Mixer::Gqa(gqa) = &layer.mixer;
            gqa
        });
        gqas.filter_map(|gqa| gqa.rope.as_ref()).map(|rope| rope.table()).collect::<Vec<_>>()
    };
    let same_table = |(a, b): (&RopeTable, &RopeTable)| {
        close(&a.cos_scale, &b.cos_scale) && a.inv_freq.iter().zip(&b.inv_freq).all(|(a, b)| close(a, b))
    };
    let same_tables = tables(a).iter().zip(&tables(b)).all(same_table);
    let plain = |decoder: &Decoder| {
        let mut decoder = decoder.clone();
        for layer in &mut decoder.layers {
            let Mixer::Gqa(gqa) = &mut layer.mixer;
            if let Some(rope) = &mut gqa.rope {
                (rope.pairing, rope.scaling) = (Pairing::Half, Scaling::None);
            }
        }
        decoder
    };
    same_tables && plain(a) == plain(b)
}
