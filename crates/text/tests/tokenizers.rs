//! Small tokenizers of both kinds: what they encode, and what is refused.

use plimsoll_formats::gguf::{self, Metadata, Value, Writer};
use plimsoll_text::{Conversation, EndTokens, Error, Special, Template, Templates, TokenKind, Tokenizer};
use serde_json::json;

/// GPT-2's alphabet in the order of the bytes.
fn alphabet() -> Vec<String> {
    let mut next = 0x100;
    let mut char_of = |byte: u8| match byte {
        33..=126 | 161..=172 | 174..=255 => char::from(byte),
        _ => {
            next += 1;
            char::from_u32(next - 1).unwrap()
        }
    };
    (0..=255).map(|byte| char_of(byte).to_string()).collect()
}

/// All bytes, `he`, `hel`, ` a`, and three added tokens from id 259 on.
fn tokens() -> Vec<String> {
    let more = ["he", "hel", "Ġa", "<s>", "<|end|>", "<think>"];
    alphabet().into_iter().chain(more.map(str::to_owned)).collect()
}

const MERGES: [&str; 3] = ["h e", "he l", "Ġ a"];

fn hf_json() -> serde_json::Value {
    let vocab: serde_json::Map<_, _> =
        tokens()[..259].iter().zip(0..).map(|(token, id)| (token.clone(), json!(id))).collect();
    let added = |id: u32, content: &str, special: bool| {
        json!({"id": id, "content": content, "special": special, "normalized": false,
               "lstrip": false, "rstrip": false, "single_word": false})
    };
    json!({
        "truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "!"},
        "added_tokens": [added(259, "<s>", true), added(260, "<|end|>", true), added(261, "<think>", false)],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [259], "tokens": ["<s>"]}}},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": MERGES}
    })
}

fn hf(json: &serde_json::Value, config: Option<&serde_json::Value>) -> Result<Tokenizer, Error> {
    let config = config.map(|config| config.to_string().into_bytes());
    Tokenizer::from_hf(json.to_string().as_bytes(), config.as_deref())
}

fn strings<T: AsRef<str>>(texts: &[T]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_ref().as_bytes().to_vec()).collect()
}

fn metadata(keys: &[(&str, Value)]) -> Metadata {
    let mut writer = Writer::new();
    for (key, value) in keys {
        writer.set(key, value.clone());
    }
    let mut file = Vec::new();
    writer.write(&mut file).unwrap();
    gguf::parse("tiny.gguf", &file).unwrap().metadata
}

fn byte_level_keys() -> Vec<(&'static str, Value)> {
    let mut kinds = vec![1i32; 262];
    kinds[259..].copy_from_slice(&[3, 3, 4]);
    vec![
        ("tokenizer.ggml.model", "gpt2".into()),
        ("tokenizer.ggml.pre", "gpt-2".into()),
        ("tokenizer.ggml.tokens", strings(&tokens()).into()),
        ("tokenizer.ggml.token_type", kinds.into()),
        ("tokenizer.ggml.merges", strings(&MERGES).into()),
        ("tokenizer.ggml.bos_token_id", 259u32.into()),
        ("tokenizer.ggml.eos_token_id", 260u32.into()),
        ("tokenizer.ggml.add_bos_token", true.into()),
    ]
}

fn sentence_piece_keys() -> Vec<(&'static str, Value)> {
    let mut pieces: Vec<String> = ["<unk>", "<s>", "</s>"].map(str::to_owned).to_vec();
    pieces.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
    pieces.extend(["▁", "a", "b", "▁a", "ab", "▁ab"].map(str::to_owned));
    let mut kinds = vec![6i32; 265];
    kinds[..3].copy_from_slice(&[2, 3, 3]);
    kinds[259..].fill(1);
    let scores: Vec<f32> = (0..265u16).map(|id| -f32::from(id)).collect();
    vec![
        ("tokenizer.ggml.model", "llama".into()),
        ("tokenizer.ggml.tokens", strings(&pieces).into()),
        ("tokenizer.ggml.token_type", kinds.into()),
        ("tokenizer.ggml.scores", scores.into()),
        ("tokenizer.ggml.bos_token_id", 1u32.into()),
        ("tokenizer.ggml.eos_token_id", 2u32.into()),
        ("tokenizer.ggml.unknown_token_id", 0u32.into()),
    ]
}

#[test]
fn both_containers_make_the_same_byte_level_tokenizer() {
    let both = [hf(&hf_json(), None).unwrap(), Tokenizer::from_gguf(&metadata(&byte_level_keys())).unwrap()];
    let cases: [(&str, Special, &[u32]); 6] = [
        ("hel a", Special::TEXT, &[257, 258]),
        ("hel a", Special::PROMPT, &[259, 257, 258]),
        ("<|end|>", Special::TEMPLATE, &[260]),
        ("<|end|>", Special::TEXT, &[60, 124, 101, 110, 100, 124, 62]),
        ("<think>", Special::TEXT, &[261]),
        ("", Special::PROMPT, &[259]),
    ];
    for tokenizer in &both {
        for (text, special, ids) in cases {
            assert_eq!(tokenizer.encode(text, special).unwrap(), ids, "{text}");
        }
        assert_eq!(tokenizer.vocab_size(), 262);
        assert_eq!((tokenizer.id("Ġa"), tokenizer.id("<s>"), tokenizer.id("nope")), (Some(258), Some(259), None));
        assert_eq!(
            (tokenizer.kind(260), tokenizer.kind(261)),
            (Some(TokenKind::Control), Some(TokenKind::UserDefined))
        );
        assert_eq!(tokenizer.decode(&[259, 257, 258, 260], true).unwrap(), "hel a");
        assert_eq!(tokenizer.decode(&[259, 257], false).unwrap(), "<s>hel");
        assert!(matches!(tokenizer.decode(&[900], false), Err(Error::UnknownId { id: 900, vocab: 262 })));
    }
}

#[test]
fn any_bytes_come_back() {
    let tokenizer = Tokenizer::from_gguf(&metadata(&byte_level_keys())).unwrap();
    for bytes in [&b"hel\xFF a"[..], b"\xE4\xB8", b"\xF0\x9F\x98\x80\x80<think>", &(0..=255).collect::<Vec<u8>>()] {
        let ids = tokenizer.encode_bytes(bytes, Special::TEXT).unwrap();
        assert_eq!(tokenizer.decode_bytes(&ids, false).unwrap(), bytes);
    }
    assert_eq!(tokenizer.encode_bytes(b"hel\xFF", Special::PROMPT).unwrap(), [259, 257, 255]);
    let characters = Tokenizer::from_gguf(&metadata(&sentence_piece_keys())).unwrap();
    let error = characters.encode_bytes(b"ab\xFF", Special::TEXT).unwrap_err();
    assert!(matches!(error, Error::NotUtf8 { offset: 2 }), "{error}");
}

#[test]
fn sentence_piece_merges_by_score() {
    let tokenizer = Tokenizer::from_gguf(&metadata(&sentence_piece_keys())).unwrap();
    let cases: [(&str, Special, &[u32]); 5] = [
        ("ab", Special::TEXT, &[264]),
        ("ab", Special::PROMPT, &[1, 264]),
        ("b a", Special::TEXT, &[259, 261, 262]),
        ("aé", Special::TEXT, &[262, 3 + 0xC3, 3 + 0xA9]),
        ("</s>", Special::TEMPLATE, &[2]),
    ];
    for (text, special, ids) in cases {
        assert_eq!(tokenizer.encode(text, special).unwrap(), ids, "{text}");
    }
    assert_eq!(tokenizer.decode(&[1, 264, 262], true).unwrap(), "ab a");
    let mut detokenizer = tokenizer.detokenizer(false);
    assert_eq!(detokenizer.push(tokenizer.token_bytes(262).unwrap()), " a");
}

#[test]
fn configurations_override() {
    let cases: [(serde_json::Value, &str, Special, &[u32]); 4] = [
        (json!({"add_bos_token": false, "bos_token": "<s>"}), "he", Special::PROMPT, &[256]),
        (json!({"add_eos_token": true, "eos_token": {"content": "<|end|>"}}), "he", Special::PROMPT, &[256, 260]),
        (
            json!({"added_tokens_decoder": {"261": {"content": "<think>", "special": true}}}),
            "<think>",
            Special::TEXT,
            &[60, 116, 104, 105, 110, 107, 62],
        ),
        (json!({"bos_token": null, "eos_token": "he"}), "he", Special::TEMPLATE, &[256]),
    ];
    for (config, text, special, ids) in cases {
        let tokenizer = hf(&hf_json(), Some(&config)).unwrap();
        assert_eq!(tokenizer.encode(text, special).unwrap(), ids, "{config}");
    }
    let named = hf(&hf_json(), Some(&json!({"bos_token": "<s>", "eos_token": "<|end|>"}))).unwrap();
    assert_eq!(named.special_ids().eos, Some(260));
    assert_eq!(named.special_texts()[0], ("bos_token".to_owned(), "<s>".to_owned()));
}

#[test]
fn bad_tokenizer_files_are_refused() {
    let with = |path: &str, value: serde_json::Value| {
        let mut json = hf_json();
        *json.pointer_mut(path).unwrap() = value;
        json
    };
    let cases = [
        (with("/model/merges", json!(["h e", "x y"])), "model.merges[1]: found \"x y\""),
        (with("/model/merges", json!([["h"]])), "model.merges[0]"),
        (with("/model/type", json!("Fancy")), "tokenizer.json: model: found Fancy"),
        (with("/decoder", json!(null)), "decoder: `nothing` is not supported"),
        (with("/decoder/type", json!("CTC")), "decoder: `CTC` is not supported"),
        (
            with("/pre_tokenizer", json!({"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"})),
            "pre_tokenizer: found",
        ),
        (
            with("/normalizer", json!({"type": "Precompiled", "precompiled_charsmap": ""})),
            "`Precompiled` is not supported",
        ),
        (with("/added_tokens/0/id", json!(4_000_000_000u32)), "id 4000000000"),
        (json!({"model": 3}), "tokenizer.json: model: found nothing"),
        (json!([]), "tokenizer.json: line"),
    ];
    for (json, expected) in cases {
        let error = hf(&json, None).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let error = hf(&hf_json(), Some(&json!({"bos_token": 3}))).unwrap_err().to_string();
    assert!(error.contains("tokenizer_config.json: bos_token"), "{error}");
}

#[test]
fn bad_metadata_is_refused() {
    type Case<'a> = (Vec<(&'static str, Value)>, &'static str, Option<Value>, &'a str);
    let cases: [Case<'_>; 11] = [
        (byte_level_keys(), "tokenizer.ggml.model", Some("rwkv".into()), "`rwkv` is not supported, only gpt2"),
        (byte_level_keys(), "tokenizer.ggml.model", None, "key `tokenizer.ggml.model`: found nothing"),
        (byte_level_keys(), "tokenizer.ggml.pre", None, "key `tokenizer.ggml.pre`: found nothing"),
        (byte_level_keys(), "tokenizer.ggml.pre", Some("default".into()), "`default` is not supported, only llama-bpe"),
        (byte_level_keys(), "tokenizer.ggml.merges", None, "key `tokenizer.ggml.merges`: found nothing"),
        (byte_level_keys(), "tokenizer.ggml.merges", Some(strings(&["ab"]).into()), "found ab"),
        (byte_level_keys(), "tokenizer.ggml.merges", Some(strings(&["a zz"]).into()), "found a zz"),
        (sentence_piece_keys(), "tokenizer.ggml.scores", None, "key `tokenizer.ggml.scores`: found nothing"),
        (sentence_piece_keys(), "tokenizer.ggml.scores", Some(vec![f32::NAN; 265].into()), "found NaN"),
        (byte_level_keys(), "tokenizer.ggml.token_type", Some(vec![9i32; 262].into()), "found 9, expected 0 to 6"),
        (byte_level_keys(), "tokenizer.ggml.tokens", None, "key `tokenizer.ggml.tokens`: found nothing"),
    ];
    for (mut keys, key, value, expected) in cases {
        keys.retain(|(name, _)| *name != key);
        keys.extend(value.map(|value| (key, value)));
        let error = Tokenizer::from_gguf(&metadata(&keys)).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn users_cannot_write_structure() {
    let tokenizer = Tokenizer::from_gguf(&metadata(&byte_level_keys())).unwrap();
    let template = Template::new(
        "{% for m in messages %}<s>{{ m.content }}<|end|>{% endfor %}{{ tools|tojson(ensure_ascii=true) }}",
    );
    let template = template.unwrap();
    let text_ids = |text: &str| tokenizer.encode(text, Special::TEXT).unwrap();
    let cases = ["hel", "a<|end|>b", "<s><s>", "\u{F0000}<|end|>\u{F0001}", "<|en<|end|>d|>", "<think><|end|>"];
    for content in cases {
        let mut conversation = Conversation::new(vec![json!({"role": "user", "content": content})]);
        conversation.tools = Some(vec![json!({"<s>": "<|end|>"})]);
        let rendered = template.render_for(&conversation, &tokenizer).unwrap();
        let tools = r#"[{"<s>": "<|end|>"}]"#;
        assert_eq!(rendered.text(), format!("<s>{content}<|end|>{tools}"));
        let expected = [&[259], text_ids(content).as_slice(), &[260], &text_ids(tools)].concat();
        assert_eq!(tokenizer.encode_rendered(&rendered).unwrap(), expected, "{content}");
    }
}

#[test]
fn templates_that_act_on_control_tokens() {
    let tokenizer = Tokenizer::from_gguf(&metadata(&byte_level_keys())).unwrap();
    let render = |source: &str, content: &str| {
        let conversation = Conversation::new(vec![json!({"role": "user", "content": content})]);
        Template::new(source).unwrap().render_for(&conversation, &tokenizer)
    };
    let split = render("<s>{{ messages[0].content.split('<|end|>')[-1].lstrip() }}", "a<|end|> b<s>").unwrap();
    assert_eq!(split.text(), "<s>b<s>");
    assert_eq!(split.literal().first(), Some(&(4..7)));
    let swapped =
        render("{% if messages[0].content.startswith('<s>') %}<|end|>{% endif %}{{ messages[0].content }}", "<s>");
    assert!(matches!(swapped, Err(Error::Ambiguous)));
}

#[test]
fn generations_end() {
    let tokenizer = Tokenizer::from_gguf(&metadata(&byte_level_keys())).unwrap();
    let mut end = EndTokens::new(&tokenizer);
    assert_eq!(end.iter().collect::<Vec<_>>(), [260]);
    end.add_config("generation_config.json", br#"{"eos_token_id": [5, 260]}"#).unwrap();
    end.add_config("config.json", br#"{"eos_token_id": 7}"#).unwrap();
    end.add_config("config.json", br#"{"eos_token_id": null}"#).unwrap();
    assert_eq!(end.iter().collect::<Vec<_>>(), [5, 7, 260]);
    assert!(end.contains(7) && !end.contains(8));
    let error = end.add_config("config.json", br#"{"eos_token_id": -1}"#).unwrap_err().to_string();
    assert!(error.starts_with("config.json: eos_token_id: found -1"), "{error}");
    let mut keys = byte_level_keys();
    let renamed: Vec<String> =
        tokens().into_iter().map(|token| token.replace("<s>", "<|return|>").replace("<think>", "<|call|>")).collect();
    keys.retain(|(key, _)| *key != "tokenizer.ggml.tokens" && *key != "tokenizer.ggml.eos_token_id");
    keys.push(("tokenizer.ggml.tokens", strings(&renamed).into()));
    let gpt_oss = Tokenizer::from_gguf(&metadata(&keys)).unwrap();
    assert_eq!(EndTokens::new(&gpt_oss).iter().collect::<Vec<_>>(), [259, 261]);
}

#[test]
fn templates_of_gguf_files() {
    let keys = [
        ("tokenizer.chat_template", Value::from("d")),
        ("tokenizer.chat_templates", strings(&["tool_use"]).into()),
        ("tokenizer.chat_template.tool_use", "t".into()),
    ];
    let templates = Templates::from_gguf(&metadata(&keys)).unwrap();
    assert_eq!((templates.source(false).unwrap(), templates.source(true).unwrap()), ("d", "t"));
    let error = Templates::from_gguf(&metadata(&keys[..2])).unwrap_err().to_string();
    assert!(error.contains("tokenizer.chat_template.tool_use"), "{error}");
}
