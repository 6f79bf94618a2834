//! Chat templates out of model files: parsed and rendered, they end in a text or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll_text::{Conversation, LocalTime, Template};

fuzz_target!(|source: &str| {
    let Ok(template) = Template::new(source) else { return };
    let messages = serde_json::json!([
        {"role": "system", "content": "s"},
        {"role": "user", "content": "what is <b>?"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {"x": [1, null, 2.5]}}}]},
    ]);
    let mut conversation = Conversation::new(messages.as_array().cloned().unwrap_or_default());
    conversation.tools = Some(vec![serde_json::json!({"type": "function", "function": {"name": "f"}})]);
    conversation.special = vec![("bos_token".to_owned(), "<s>".to_owned())];
    conversation.now = LocalTime::new((2024, 7, 4), (5, 6, 7));
    let _ = template.render(&conversation);
});
