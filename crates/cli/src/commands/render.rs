//! `plimsoll render`.

use plimsoll::core::Text;
use plimsoll::text::{Conversation, Template};
use serde_json::json;

use crate::args::{Global, RenderArgs};
use crate::exit::Result;
use crate::project::open_model;
use crate::{input, output};

/// Exactly the bytes: no line end is added.
pub(crate) fn run(global: &Global, args: &RenderArgs) -> Result<()> {
    let mut conversation = Conversation::new(input::json_array(&args.messages)?);
    conversation.tools = args.tools.as_deref().map(input::json_array).transpose()?;
    conversation.vars = args.vars.iter().cloned().collect();
    conversation.add_generation_prompt = !args.no_generation_prompt;
    let (template, unlocked) = match &args.template {
        Some(file) => {
            let source = input::utf8(&file.display().to_string(), input::file(file)?)?;
            (Template::new(source)?, false)
        }
        None => {
            let model = open_model(global, &args.model)?;
            let text = Text::open(&plimsoll::open_weights(&model)?)?;
            conversation.special = text.tokenizer()?.special_texts().to_vec();
            (text.templates().choose(conversation.tools.is_some())?, model.is_unlocked())
        }
    };
    let prompt = template.render(&conversation)?;
    if global.json {
        return output::json(&json!({ "prompt": prompt, "unlocked": unlocked }));
    }
    output::bytes(prompt.as_bytes())
}
