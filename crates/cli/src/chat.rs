//! A conversation in the terminal.

use plimsoll::{Generate, Request};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::answer::{Answer, Sink, answer};
use crate::args::RunArgs;
use crate::commands::conversation;
use crate::exit::{Exit, Failure, Result};
use crate::interrupt::Interrupt;
use crate::output;

/// Until Ctrl-D. Ctrl-C ends an answer, which is then forgotten together with its question; so is one that failed.
pub(crate) fn run(model: &dyn Generate, args: &RunArgs, interrupt: &Interrupt) -> Result<()> {
    let terminal = |error: ReadlineError| Failure::new(Exit::Failure, format!("terminal: {error}"));
    let mut editor = DefaultEditor::new().map_err(terminal)?;
    output::note(&format!("{} ({}); Ctrl-C ends an answer, Ctrl-D the chat", model.info().name, model.info().family));
    let mut conversation = conversation(args);
    loop {
        let line = match editor.readline("> ") {
            Ok(line) if line.trim().is_empty() => continue,
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(terminal(error)),
        };
        // A history that cannot grow is no reason to stop.
        let _ = editor.add_history_entry(&line);
        if let Some(longer) = exchange(model, args, conversation.clone().user(line), interrupt) {
            conversation = longer;
        }
    }
}

/// The conversation with its answer, if there was one.
fn exchange(model: &dyn Generate, args: &RunArgs, asked: Request, interrupt: &Interrupt) -> Option<Request> {
    // One that came after the last answer is not meant for this one.
    interrupt.take();
    match answer(model, args.sampling.apply(asked.clone()), &mut Sink::new(false), interrupt) {
        Ok(Answer::Finished(text)) => Some(asked.assistant(text)),
        Ok(Answer::Interrupted) => None,
        Err(failure) => {
            failure.report(false);
            None
        }
    }
}
