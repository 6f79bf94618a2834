//! A byte-level vocabulary as the keys of a GGUF file.

use plimsoll_formats::gguf::{Array, Value, Writer};

use super::recipe::Recipe;
use crate::Result;

const NORMAL: i32 = 1;
const CONTROL: i32 = 3;

/// Tokens in the order of their ids and merges (`a b`), with what a recipe says of special tokens and conversations.
pub fn set_vocabulary(writer: &mut Writer<'_>, recipe: &Recipe, texts: Vec<String>, merges: Vec<String>) -> Result<()> {
    let tokens = &recipe.tokens;
    let special = |text: &String| tokens.specials.contains(&text.as_str());
    let kinds: Vec<i32> = texts.iter().map(|text| if special(text) { CONTROL } else { NORMAL }).collect();
    writer.set("tokenizer.ggml.model", "gpt2");
    writer.set("tokenizer.ggml.pre", tokens.pre);
    writer.set("tokenizer.ggml.token_type", kinds);
    let named = [("bos", tokens.bos), ("eos", Some(tokens.eos)), ("eot", tokens.eot), ("padding", tokens.padding)];
    let named = named.into_iter().filter_map(|(name, token)| Some((name, token?)));
    let id = |token: &str| texts.iter().position(|text| text == token).ok_or_else(|| format!("{token} is not a token"));
    let ids = named.map(|(name, token)| Ok((name, id(token)? as u32))).collect::<Result<Vec<_>>>()?;
    writer.set("tokenizer.ggml.tokens", strings(texts));
    writer.set("tokenizer.ggml.merges", strings(merges));
    for (name, id) in ids {
        writer.set(&format!("tokenizer.ggml.{name}_token_id"), id);
    }
    writer.set("tokenizer.ggml.add_bos_token", tokens.bos.is_some());
    writer.set("tokenizer.chat_template", recipe.format.template);
    Ok(())
}

fn strings(texts: Vec<String>) -> Value {
    Value::Array(Array::String(texts.into_iter().map(String::into_bytes).collect()))
}
