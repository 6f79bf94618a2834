//! Exit codes, and how a failure is shown.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use miette::{Diagnostic, MietteHandlerOpts, ReportHandler};
use serde_json::json;

/// Why the process ends. The number is the exit code; numbers are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Success = 0,
    Failure = 1,
    Usage = 2,
    Lock = 3,
    Model = 4,
    Request = 5,
    Interrupted = 130,
}

/// The one table: what `--help` prints, and the names that `--json` uses.
pub(crate) const CODES: [(Exit, &str, &str); 7] = [
    (Exit::Success, "success", "done"),
    (Exit::Failure, "failure", "something else went wrong, such as a file that cannot be read"),
    (Exit::Usage, "usage", "the command line is wrong"),
    (Exit::Lock, "lock", "models.toml or models.lock is wrong or out of date, or a file is not what the lock says"),
    (Exit::Model, "model", "the model is broken or not supported"),
    (Exit::Request, "request", "the request is wrong, not supported by the model, or does not fit"),
    (Exit::Interrupted, "interrupted", "stopped by Ctrl-C"),
];

/// The end of every `--help`.
pub(crate) fn help() -> String {
    let rows = CODES.iter().map(|(exit, _, meaning)| format!("  {:>3}  {meaning}\n", *exit as u8));
    format!(
        "Exit codes:\n{}\nWith --json, results go to stdout, and an error is one object on stderr: \
         {{\"error\":{{\"code\":3,\"kind\":\"lock\",\"message\":\"…\"}}}}",
        rows.collect::<String>()
    )
}

pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// An error on its way out: what happened, which exit code it means, and what may help.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    help: Option<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A file that could not be read or written.
    pub(crate) fn io(name: impl fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::new(Exit::Failure, format!("{name}: {error}"))
    }

    /// Shows the error on stderr and gives the exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if json {
            eprintln!("{}", self.to_json());
        } else if !self.message.is_empty() {
            eprint!("{}", Graphical(self));
        }
        ExitCode::from(self.exit as u8)
    }

    fn to_json(&self) -> serde_json::Value {
        let kind = CODES.iter().find(|(exit, ..)| *exit == self.exit).map(|(_, kind, _)| kind);
        let mut error = json!({ "code": self.exit as u8, "kind": kind, "message": self.message });
        if let Some(help) = &self.help {
            error["help"] = help.as_str().into();
        }
        json!({ "error": error })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

impl Diagnostic for Failure {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.help.as_ref()?))
    }
}

/// Lines are not wrapped: a path or a hash must stay in one piece.
struct Graphical<'a>(&'a Failure);

impl fmt::Display for Graphical<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        MietteHandlerOpts::new().wrap_lines(false).break_words(false).build().debug(self.0, f)
    }
}

impl From<plimsoll::lock::Error> for Failure {
    fn from(error: plimsoll::lock::Error) -> Self {
        use plimsoll::lock::Error as E;
        let help = match &error {
            E::Mismatch { .. } | E::File { .. } => {
                "if the change is wanted, run `plimsoll lock`; if not, restore the file"
            }
            E::Quantized { .. } => "if the weights of this build are wanted, run `plimsoll lock`",
            E::ChangedWhileRead { .. } => "run it again when nothing writes to the file any more",
            _ => "",
        };
        let exit = if matches!(error, E::Describe { .. }) { Exit::Model } else { Exit::Lock };
        let failure = Self::new(exit, error);
        if help.is_empty() { failure } else { failure.help(help) }
    }
}

/// Whose fault it is decides the code: the request's, the model's, or nobody's.
impl From<plimsoll::core::Error> for Failure {
    fn from(error: plimsoll::core::Error) -> Self {
        use plimsoll::core::Error as E;
        let exit = match &error {
            E::Invalid { .. } | E::Unsupported { .. } | E::PromptTooLong { .. } | E::CacheTooSmall { .. } => {
                Exit::Request
            }
            E::NothingToChoose { .. } => Exit::Request,
            E::Text(error) => return Self::text(error),
            E::NoTokenizer
            | E::Formats(_)
            | E::Model(_)
            | E::Backend(_)
            | E::NotFinite { .. }
            | E::NotTheSame { .. } => Exit::Model,
            _ => Exit::Failure,
        };
        if let E::Lock(error) = error {
            return error.into();
        }
        let no_template = matches!(error, E::Unsupported { param: "messages", .. });
        let no_room = matches!(error, E::Backend(plimsoll::backend::Error::Memory { .. }));
        let failure = Self::new(exit, error);
        match (no_template, no_room) {
            (true, _) => failure.help("--raw continues the prompt as text"),
            (_, true) => {
                failure.help("with --gpu-memory, or --device auto, layers that do not fit run on the processor")
            }
            _ => failure,
        }
    }
}

impl From<plimsoll::text::Error> for Failure {
    fn from(error: plimsoll::text::Error) -> Self {
        Self::text(&error)
    }
}

impl Failure {
    fn text(error: &plimsoll::text::Error) -> Self {
        use plimsoll::text::Error as E;
        let exit = match error {
            E::TooLong { .. }
            | E::NotUtf8 { .. }
            | E::Tokenize(_)
            | E::UnknownId { .. }
            | E::Refused { .. }
            | E::Ambiguous => Exit::Request,
            _ => Exit::Model,
        };
        Self::new(exit, error)
    }
}

impl From<plimsoll::Error> for Failure {
    fn from(error: plimsoll::Error) -> Self {
        match error {
            plimsoll::Error::Lock(error) => error.into(),
            plimsoll::Error::Engine(error) => error.into(),
            plimsoll::Error::Device(_) => Self::new(Exit::Model, error),
            _ => Self::new(Exit::Failure, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_complete() {
        let codes: Vec<u8> = CODES.iter().map(|(exit, ..)| *exit as u8).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 130]);
        assert!(CODES.iter().all(|(exit, ..)| help().contains(&format!("{:>3}  ", *exit as u8))));
    }

    #[test]
    fn json_names_the_kind() {
        let failure = Failure::new(Exit::Lock, "models.lock: gone").help("run `plimsoll lock`");
        let expected =
            r#"{"error":{"code":3,"kind":"lock","message":"models.lock: gone","help":"run `plimsoll lock`"}}"#;
        assert_eq!(failure.to_json().to_string(), expected);
    }

    #[test]
    fn long_messages_stay_in_one_line() {
        let message = "x".repeat(300) + " " + &"y".repeat(300);
        assert!(Graphical(&Failure::new(Exit::Lock, &message)).to_string().contains(&message));
    }
}
