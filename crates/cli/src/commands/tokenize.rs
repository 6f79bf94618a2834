//! `plimsoll tokenize`.

use plimsoll::core::Text;
use plimsoll::text::{Special, Tokenizer};
use serde_json::json;

use crate::args::{Global, TokenizeArgs};
use crate::exit::Result;
use crate::project::open_model;
use crate::{input, output};

/// Needs the tokenizer only, so a file without tensors will do.
pub(crate) fn run(global: &Global, args: &TokenizeArgs) -> Result<()> {
    let model = open_model(global, &args.model)?;
    let text = Text::open(&plimsoll::open_weights(&model)?)?;
    let bytes = input::text(args.text.as_deref())?;
    if args.decode {
        let ids = input::ids(&input::utf8("token ids", bytes)?)?;
        return decode(global, text.tokenizer()?, &ids, args.no_special, model.is_unlocked());
    }
    let special = if args.no_special { Special::TEMPLATE } else { Special::PROMPT };
    let ids = text.tokenizer()?.encode_bytes(&bytes, special)?;
    if global.json {
        return output::json(&json!({ "ids": ids, "unlocked": model.is_unlocked() }));
    }
    output::line(&ids.iter().map(u32::to_string).collect::<Vec<_>>().join(","))
}

/// The bytes as they are; in JSON, which has no bytes, broken characters become U+FFFD.
fn decode(global: &Global, tokenizer: &Tokenizer, ids: &[u32], skip_special: bool, unlocked: bool) -> Result<()> {
    let bytes = tokenizer.decode_bytes(ids, skip_special)?;
    if global.json {
        return output::json(&json!({ "ids": ids, "text": String::from_utf8_lossy(&bytes), "unlocked": unlocked }));
    }
    output::bytes(&bytes)
}
