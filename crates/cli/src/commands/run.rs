//! `plimsoll run`: one answer, or a chat.

use std::io::IsTerminal;
use std::sync::Arc;

use plimsoll::{Generate, Opened, Request};

use crate::answer::{Answer, Sink, answer};
use crate::args::{Global, RunArgs};
use crate::exit::{Exit, Failure, Result};
use crate::interrupt::Interrupt;
use crate::progress::Bytes;
use crate::project::open_model;
use crate::{chat, input, output};

pub(crate) fn run(global: &Global, args: &RunArgs) -> Result<()> {
    if args.sampling.logprobs.is_some() && !global.json {
        return Err(Failure::new(Exit::Usage, "--logprobs needs --json"));
    }
    let no_prompt = args.prompt.is_none() && args.ids.is_none();
    let chatting = no_prompt && std::io::stdin().is_terminal();
    if chatting && (global.json || args.raw) {
        let message = "a chat in the terminal has neither --json nor --raw: give a prompt, or pipe one to stdin";
        return Err(Failure::new(Exit::Usage, message));
    }
    // Stdin first: a prompt that cannot be read should not wait for a model.
    let request = if chatting { None } else { Some(request(args)?) };
    let model = load(global, args)?;
    let interrupt = Interrupt::install()?;
    match request {
        None => chat::run(model.as_ref(), args, &interrupt),
        Some(request) => {
            let mut sink = Sink::new(global.json);
            match answer(model.as_ref(), args.sampling.apply(request), &mut sink, &interrupt)? {
                Answer::Finished(_) => Ok(()),
                Answer::Interrupted => Err(Failure::new(Exit::Interrupted, "interrupted")),
            }
        }
    }
}

fn load(global: &Global, args: &RunArgs) -> Result<Arc<dyn Generate>> {
    let verified = open_model(global, &args.model)?;
    let bar = Bytes::new("loading");
    let settings = args.device.settings();
    let model = settings.start_reporting(Opened::new(verified)?, &|done, total| bar.set(done, total))?;
    drop(bar);
    if let Some(placement) = &model.info().placement {
        output::note(&format!("{}, {placement}", settings.device.pick().0));
    }
    Ok(model)
}

fn request(args: &RunArgs) -> Result<Request> {
    if let Some(ids) = &args.ids {
        return Ok(Request::ids(ids.clone()));
    }
    let prompt = match &args.prompt {
        Some(prompt) => prompt.clone(),
        None => input::utf8("stdin", input::stdin()?)?,
    };
    if args.raw {
        return Ok(Request::prompt(prompt));
    }
    // The line end is that of `echo`, not of the message.
    let prompt = prompt.strip_suffix('\n').map_or(prompt.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if prompt.is_empty() {
        return Err(Failure::new(Exit::Request, "prompt: found no text, expected at least one character"));
    }
    Ok(conversation(args).user(prompt))
}

/// A conversation before its first question.
pub(crate) fn conversation(args: &RunArgs) -> Request {
    let request = args.system.iter().fold(Request::chat(), |request, system| request.system(system));
    args.vars.iter().fold(request, |request, (name, value)| request.template_var(name, value.clone()))
}
