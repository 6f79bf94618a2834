//! Progress bars on stderr; nothing where stderr is not a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that counts bytes, removed when it is dropped.
pub(crate) struct Bytes(ProgressBar);

impl Bytes {
    pub(crate) fn new(what: &str) -> Self {
        // A stderr that is not a terminal hides the bar.
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let template = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        Self(bar)
    }

    /// To be handed to whoever counts.
    pub(crate) fn set(&self, done: u64, total: u64) {
        // Setting a length draws at once, setting a position only now and then.
        if self.0.length() != Some(total) {
            self.0.set_length(total);
        }
        self.0.set_position(done);
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
