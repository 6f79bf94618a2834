//! What `tokenizer.ggml.pre` stands for: how byte-level vocabularies split text before merging.
//!
//! The patterns are those of the models' own tokenizers. llama.cpp emulates some of them (tekken, gpt-4o, kimi-k2)
//! by rules that split capitals and combining marks differently.

/// One row of the table.
pub(super) struct Pre {
    /// Values of `tokenizer.ggml.pre`.
    names: &'static [&'static str],
    /// Applied in order, each to the pieces of the one before.
    pub(super) patterns: &'static [&'static str],
    /// The reference normalizes to NFC; GGUF does not store that.
    pub(super) nfc: bool,
    /// A piece that is a token is that token, whatever the merges say.
    pub(super) ignore_merges: bool,
    /// Whether a BOS is added where the file does not say.
    pub(super) add_bos: bool,
}

const DEFAULT: Pre = Pre { names: &[], patterns: &[], nfc: false, ignore_merges: false, add_bos: false };

macro_rules! contractions {
    () => {
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    };
}
macro_rules! lead {
    () => {
        r"[^\r\n\p{L}\p{N}]?"
    };
}
macro_rules! punctuation {
    () => {
        r" ?[^\s\p{L}\p{N}]+[\r\n]*"
    };
}
macro_rules! whitespace {
    () => {
        r"\s*[\r\n]+|\s+(?!\S)|\s+"
    };
}
macro_rules! upper {
    () => {
        r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}"
    };
}
macro_rules! lower {
    () => {
        r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
    };
}

/// Words by letters, numbers by the given pattern: Llama 3, Qwen 2, GLM-4.
macro_rules! words {
    ($numbers:literal) => {
        concat!(contractions!(), "|", lead!(), r"\p{L}+|", $numbers, "|", punctuation!(), "|", whitespace!())
    };
}
/// Words by case, so that CamelCase is two pieces: tekken, o200k, Kimi.
macro_rules! cased {
    ($before:literal, $class:literal, $after:expr, $rest:literal) => {
        concat!(
            $before,
            lead!(),
            "[",
            upper!(),
            $class,
            "]*[",
            lower!(),
            $class,
            "]+",
            $after,
            "|",
            lead!(),
            "[",
            upper!(),
            $class,
            "]+[",
            lower!(),
            $class,
            "]*",
            $after,
            "|",
            $rest,
            "|",
            whitespace!()
        )
    };
}

/// GPT-2's own pattern, also that of `ByteLevel` with `use_regex` in tokenizer.json.
pub(super) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = words!(r"\p{N}{1,3}");
const QWEN2: &str = words!(r"\p{N}");
const QWEN35: &str =
    concat!(contractions!(), "|", lead!(), r"[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|", whitespace!());
const TEKKEN: &str = cased!("", "", "", r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*");
const O200K: &str = cased!("", "", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?", r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*");
const KIMI: &str =
    cased!(r"\p{Han}+|", r"&&[^\p{Han}]", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?", r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*");
const DEEPSEEK_V3: [&str; 3] = [
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    concat!(
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|"##,
        r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|",
        whitespace!()
    ),
];
const DEEPSEEK_CODER: [&str; 5] = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}"];
const FALCON: [&str; 3] = [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"];

#[rustfmt::skip]
const TABLE: [Pre; 14] = [
    Pre { names: &["llama-bpe", "llama3", "llama-v3", "pixtral", "falcon3", "falcon-h1", "lfm2"], patterns: &[LLAMA3],
          ignore_merges: true, add_bos: true, ..DEFAULT },
    Pre { names: &["qwen2", "deepseek-r1-qwen"], patterns: &[QWEN2], nfc: true, ..DEFAULT },
    // transformers normalizes to NFC here too; llama.cpp's vectors hold decomposed characters as they are.
    Pre { names: &["qwen35"], patterns: &[QWEN35], ..DEFAULT },
    Pre { names: &["glm4", "glm5"], patterns: &[LLAMA3], ignore_merges: true, ..DEFAULT },
    Pre { names: &["chatglm-bpe"], patterns: &[LLAMA3], ..DEFAULT },
    Pre { names: &["deepseek-v3"], patterns: &DEEPSEEK_V3, ..DEFAULT },
    Pre { names: &["deepseek-coder"], patterns: &DEEPSEEK_CODER, ..DEFAULT },
    Pre { names: &["tekken"], patterns: &[TEKKEN], ignore_merges: true, add_bos: true, ..DEFAULT },
    Pre { names: &["gpt-4o", "llama4"], patterns: &[O200K], ignore_merges: true, ..DEFAULT },
    Pre { names: &["kimi-k2"], patterns: &[KIMI], ignore_merges: true, ..DEFAULT },
    Pre { names: &["falcon"], patterns: &FALCON, ..DEFAULT },
    Pre { names: &["starcoder", "refact", "command-r", "smollm", "codeshell"], patterns: &[r"\p{N}", GPT2], ..DEFAULT },
    Pre { names: &["gpt-2", "phi-2", "mpt", "olmo"], patterns: &[GPT2], ..DEFAULT },
    Pre { names: &["dbrx", "smaug-bpe"], patterns: &[LLAMA3], ..DEFAULT },
];

/// The row of a value of `tokenizer.ggml.pre`.
pub(super) fn find(name: &str) -> Option<&'static Pre> {
    TABLE.iter().find(|row| row.names.contains(&name))
}

/// The value for a way of splitting, if there is one.
pub(super) fn name(patterns: &[&str], nfc: bool, ignore_merges: bool) -> Option<&'static str> {
    let same = |row: &&Pre| (row.patterns, row.nfc, row.ignore_merges) == (patterns, nfc, ignore_merges);
    TABLE.iter().find(same).and_then(|row| row.names.first()).copied()
}

/// All known values, for messages.
pub(super) fn known() -> String {
    TABLE.iter().flat_map(|row| row.names).copied().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_compiles_and_names_are_unique() {
        let mut names: Vec<&str> = TABLE.iter().flat_map(|row| row.names).copied().collect();
        for row in &TABLE {
            for pattern in row.patterns {
                fancy_regex::Regex::new(pattern).unwrap_or_else(|error| panic!("{:?}: {error}", row.names));
            }
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(find("default").is_none());
        let same = |row: &Pre| name(row.patterns, row.nfc, row.ignore_merges).and_then(find).unwrap().patterns;
        assert!(TABLE.iter().all(|row| same(row) == row.patterns));
        assert_eq!((name(&[QWEN2], true, false), name(&[QWEN2], false, false)), (Some("qwen2"), None));
    }

    /// Pieces of the first pattern of a row, as the models' own tokenizers give them.
    #[test]
    fn pieces() {
        let cases: [(&str, &str, &[&str]); 12] = [
            ("llama-bpe", "It's 12345 ok", &["It", "'s", " ", "123", "45", " ok"]),
            ("qwen2", "It'S 123", &["It", "'S", " ", "1", "2", "3"]),
            ("qwen2", "a  \n\n  b", &["a", "  \n\n", " ", " b"]),
            ("qwen35", "e\u{301}te", &["e\u{301}te"]),
            ("qwen2", "e\u{301}te", &["e", "\u{301}te"]),
            ("tekken", "CamelCase ÉCOLE", &["Camel", "Case", " ÉCOLE"]),
            ("tekken", "ПриветМир", &["Привет", "Мир"]),
            ("gpt-4o", "DON'T 1234", &["DON'T", " ", "123", "4"]),
            ("kimi-k2", "中文Abc漢x", &["中文", "Abc", "漢", "x"]),
            ("gpt-2", "a  b\t\tc", &["a", " ", " b", "\t", "\t", "c"]),
            ("starcoder", "ab12", &["ab", "1", "2"]),
            ("gpt-4o", "a/b//\nc", &["a", "/b", "//\n", "c"]),
        ];
        for (name, text, pieces) in cases {
            let pattern = find(name).unwrap().patterns[0];
            let regex = fancy_regex::Regex::new(pattern).unwrap();
            let mut found = Vec::new();
            let mut end = 0;
            for hit in regex.find_iter(text).map(Result::unwrap) {
                if hit.start() > end {
                    found.push(&text[end..hit.start()]);
                }
                found.push(hit.as_str());
                end = hit.end();
            }
            assert_eq!(found, pieces, "{name}: {text}");
        }
    }
}
