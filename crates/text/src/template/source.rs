//! What happens to a template's source before it is parsed.

use std::sync::LazyLock;

use fancy_regex::Regex;
use minijinja::Error;
use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;

use crate::error::Error as TextError;

/// Longest template in bytes; published ones stay below 64 KiB.
const MAX_SOURCE: usize = 1 << 20;

/// Most tokens in one tag: bounds the depth of what the parser builds.
const MAX_TAG: usize = 2000;

/// Most `elif`s: minijinja's parser nests each in the one before.
const MAX_ELIF: usize = 500;

/// The syntax transformers sets: `trim_blocks` and `lstrip_blocks`.
pub(super) fn syntax() -> Result<SyntaxConfig, Error> {
    SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()
}

/// Prepares a source: line ends become `\n` as in Jinja2, also in string literals; `generation` blocks, which mark
/// the assistant's text for training, become blocks that print what is in them; and `*` gets a left operand that
/// minijinja cannot multiply while it compiles, where no limit holds.
pub(super) fn prepare(source: &str) -> Result<String, TextError> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    if source.len() > MAX_SOURCE {
        let message = format!("a source of {} bytes, at most {MAX_SOURCE}", source.len());
        return Err(TextError::Syntax { line: 1, message });
    }
    let mut prepared = String::with_capacity(source.len());
    let mut copied = 0;
    for edit in edits(&source)? {
        prepared.push_str(source.get(copied..edit.start).unwrap_or_default());
        prepared.push_str(edit.text);
        copied = edit.end;
    }
    prepared.push_str(source.get(copied..).unwrap_or_default());
    Ok(keep_line_after_raw(&prepared))
}

/// Jinja2 trims the line end after every block tag but `raw`; minijinja after that too.
fn keep_line_after_raw(source: &str) -> String {
    static RAW: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\{%[-+]?\s*raw\s*%\}\n").ok());
    match &*RAW {
        Some(raw) => raw.replace_all(source, "$0\n").into_owned(),
        None => source.to_owned(),
    }
}

struct Edit {
    start: usize,
    end: usize,
    text: &'static str,
}

fn edits(source: &str) -> Result<Vec<Edit>, TextError> {
    let syntax = syntax().map_err(|error| super::syntax_error(&error))?;
    let mut edits = Vec::new();
    let mut length = 0;
    let mut elifs = 0;
    let mut before = [None, None];
    for token in tokenize(source, false, syntax) {
        let (token, span) = token.map_err(|error| super::syntax_error(&error))?;
        let (start, end) = (span.start_offset as usize, span.end_offset as usize);
        length = if matches!(token, Token::BlockStart | Token::VariableStart) { 0 } else { length + 1 };
        if length > MAX_TAG {
            let message = format!("more than {MAX_TAG} tokens in one tag");
            return Err(TextError::Syntax { line: usize::from(span.start_line), message });
        }
        elifs += usize::from(matches!((&before, &token), ([_, Some(Token::BlockStart)], Token::Ident("elif"))));
        if elifs > MAX_ELIF {
            let message = format!("more than {MAX_ELIF} `elif` in one template");
            return Err(TextError::Syntax { line: usize::from(span.start_line), message });
        }
        if let ([_, Some(Token::BlockStart)], Token::Ident(name @ ("import" | "from"))) = (&before, &token) {
            let message = format!("`{name}`: a chat template stands alone");
            return Err(TextError::Syntax { line: usize::from(span.start_line), message });
        }
        let text = match (&before, &token) {
            ([_, Some(Token::BlockStart)], Token::Ident("generation")) => "if true",
            ([_, Some(Token::BlockStart)], Token::Ident("endgeneration")) => "endif",
            // `f(*args)` is no product.
            ([_, Some(Token::ParenOpen | Token::Comma)], Token::Mul) => "",
            (_, Token::Mul) => "|dynamic *",
            _ => "",
        };
        if !text.is_empty() {
            edits.push(Edit { start, end, text });
        }
        let [_, last] = before;
        before = [last, Some(token)];
    }
    Ok(edits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_prepared() {
        let cases = [
            ("a\r\nb\rc\n", "a\nb\nc\n"),
            ("{%- generation -%}x{% endgeneration %}", "{%- if true -%}x{% endif %}"),
            ("{%+generation%}x{%endgeneration+%}", "{%+if true%}x{%endif+%}"),
            (
                "generation {# {% generation %} #}{{ 'generation' }}",
                "generation {# {% generation %} #}{{ 'generation' }}",
            ),
            ("{% raw %}{% generation %}{% endraw %}", "{% raw %}{% generation %}{% endraw %}"),
            ("{% raw %}\n{% endraw %}\n", "{% raw %}\n\n{% endraw %}\n"),
            ("{{ 'a' * 3 ~ '*' }}", "{{ 'a' |dynamic * 3 ~ '*' }}"),
            ("{{ f(*a, **b) ** 2 }}", "{{ f(*a, **b) ** 2 }}"),
            ("{% set generation = 1 %}", "{% set generation = 1 %}"),
        ];
        for (source, prepared) in cases {
            assert_eq!(prepare(source).unwrap(), prepared);
        }
    }

    #[test]
    fn endless_tags_are_refused() {
        let source = format!("\n{{{{ 1{} }}}}", "+1".repeat(10_000));
        assert!(matches!(prepare(&source), Err(TextError::Syntax { line: 2, .. })));
        assert!(matches!(prepare(&" ".repeat(MAX_SOURCE + 1)), Err(TextError::Syntax { .. })));
    }
}
