//! Ctrl-C ends an answer; a second one ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::{Exit, Failure, Result};

/// Whether Ctrl-C was pressed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes Ctrl-C over from the system, for good.
    pub(crate) fn install() -> Result<Self> {
        let interrupt = Self::default();
        let seen = interrupt.clone();
        let handler = move || {
            if seen.0.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Interrupted as i32);
            }
        };
        ctrlc::set_handler(handler).map_err(|error| Failure::new(Exit::Failure, format!("Ctrl-C: {error}")))?;
        Ok(interrupt)
    }

    /// Whether it was pressed since the last call.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}
