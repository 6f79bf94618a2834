//! Renderings equal those of Jinja2 as transformers sets it up; the goldens come from `xtask/golden/templates.py`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use plimsoll_text::{Conversation, Error, LocalTime, Template};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

fn read(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn conversation(messages: &Value, vars: Option<&Value>) -> Conversation {
    let special = [("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>")];
    let mut conversation = Conversation::new(messages.as_array().unwrap().clone());
    conversation.special = special.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
    conversation.vars = vars.and_then(Value::as_object).cloned().unwrap_or_default();
    conversation.now = LocalTime::new((2024, 7, 4), (5, 6, 7));
    conversation
}

fn render(source: &str, conversation: &Conversation) -> Result<String, Error> {
    Template::new(source)?.render(conversation)
}

#[test]
fn snippets() {
    let goldens = read("snippets.golden.json");
    let mut failures = Vec::new();
    let snippets = read("snippets.json");
    let conversation = conversation(&json!([{"role": "user", "content": "hi"}]), snippets.get("vars"));
    for (name, template) in snippets["templates"].as_object().unwrap() {
        let rendered = render(template.as_str().unwrap(), &conversation);
        match (goldens[name].as_str(), rendered) {
            (Some(golden), Ok(text)) if text == golden => {}
            (None, Err(_)) => {}
            (golden, rendered) => failures.push(format!("{name}: {rendered:?}\n  not {golden:?}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Length and beginning of the SHA-256 of every rendering; the templates themselves are only in `../shared/data/templates`.
#[test]
fn published_templates() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/templates");
    if !folder.is_dir() {
        println!("skipped: no {}", folder.display());
        return;
    }
    let (conversations, tools) = (read("conversations.json"), read("tools.json"));
    let by_name: BTreeMap<&str, &Value> =
        conversations.as_array().unwrap().iter().map(|entry| (entry["name"].as_str().unwrap(), entry)).collect();
    let mut failures = Vec::new();
    for (template, goldens) in read("templates.golden.json").as_object().unwrap() {
        let source = std::fs::read_to_string(folder.join(format!("{template}.jinja"))).unwrap();
        for (case, golden) in goldens.as_object().unwrap() {
            let [name, given, end]: [&str; 3] = case.split('/').collect::<Vec<_>>().try_into().unwrap();
            let entry = by_name[name];
            let mut conversation = conversation(&entry["messages"], entry.get("vars"));
            conversation.tools = (given == "tools").then(|| tools.as_array().unwrap().clone());
            conversation.documents = entry.get("documents").map(|documents| documents.as_array().unwrap().clone());
            conversation.add_generation_prompt = end == "open";
            let found = match render(&source, &conversation) {
                Ok(text) => digest(&text),
                Err(_) => "error".to_owned(),
            };
            if golden.as_str() != Some(&found) {
                failures.push(format!("{template}: {case}: {found}, not {golden}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn digest(text: &str) -> String {
    let mut digest = format!("{} ", text.len());
    for byte in &Sha256::digest(text)[..8] {
        write!(digest, "{byte:02x}").unwrap();
    }
    digest
}

#[test]
fn errors_say_where() {
    let conversation = Conversation { vars: Map::new(), ..conversation(&json!([]), None) };
    let cases: [(&str, &str); 9] = [
        ("a\n{% if %}", "chat template, line 2: unexpected end of block"),
        ("a\n\n{{ x", "chat template, line 3: "),
        ("{% for x in y %}", "chat template, line 1: "),
        ("{% import 'a' as b if c %}", "line 1: `import`: a chat template stands alone"),
        ("\n{{ missing.x }}", "chat template, line 2: `missing` is undefined"),
        ("\n\n{{ nothing() }}", "chat template, line 3: nothing is unknown"),
        ("{{ raise_exception('only ' ~ 'pairs') }}", "the chat template refuses the conversation: only pairs"),
        ("{{ messages | nope }}", "chat template, line 1: filter nope is unknown"),
        ("{% macro m() %}{{ raise_exception('deep') }}{% endmacro %}{{ m() }}", "refuses the conversation: deep"),
    ];
    for (source, expected) in cases {
        let error = render(source, &conversation).unwrap_err().to_string();
        assert!(error.contains(expected), "{source}: {error}");
    }
}

/// None of these may take long, take much memory or overflow the stack.
#[test]
fn endless_templates_end() {
    let doubling =
        |body: &str| format!("{{% set ns = namespace(x='ab') %}}{{% for i in range(99) %}}{body}{{% endfor %}}");
    let nested = |open: &str, close: &str| [open.repeat(20_000), close.repeat(20_000)].concat();
    let sources = [
        "{% for i in range(10**9) %}x{% endfor %}".to_owned(),
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}".to_owned(),
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".to_owned(),
        "{% macro f(x) %}{{ f(x ~ x) }}{{ f(x ~ x) }}{% endmacro %}{{ f('ab') }}".to_owned(),
        "{{ 'x' * 10000000 * 1000 }}".to_owned(),
        "{% for i in range(99999) %}{% set x = 'a' * 90000000 %}{% endfor %}".to_owned(),
        "{{ ('a' * 10000000).replace('a', 'b' * 10000000) }}".to_owned(),
        "{{ ('a' * 10000000)|replace('', 'b' * 1000000) }}".to_owned(),
        "{{ ('x' * 1000000).join('y' * 1000000) }}".to_owned(),
        "{{ ('x\n' * 1000000)|indent(1000000) }}".to_owned(),
        "{{ 'x'.ljust(10 ** 12) }}".to_owned(),
        "{{ '%1000000000d' % 1 }}".to_owned(),
        "{{ '%*d' % (10 ** 9, 1) }}".to_owned(),
        "{{ '{:1000000000}'.format(1) }}".to_owned(),
        "{{ '{:{}}'.format(1, 10 ** 9) }}".to_owned(),
        "{{ [1]|batch(10 ** 9, 0)|list }}".to_owned(),
        "{{ [1]|slice(10 ** 9)|list }}".to_owned(),
        "{{ [[1]]|tojson(indent=10 ** 10) }}".to_owned(),
        "{{ [0] * 10 ** 10 }}".to_owned(),
        doubling("{% set ns.x = ns.x + ns.x %}"),
        doubling("{% set ns.x = ns.x ~ ns.x %}"),
        doubling("{% set ns.x = [ns.x, ns.x] %}") + "{{ ns.x }}",
        doubling("{% set ns.x = [ns.x, ns.x] %}") + "{{ ns.x|tojson }}",
        doubling("{% set ns.x = [ns.x, ns.x] %}") + "{{ ns.x == [ns.x, ns.x] }}",
        doubling("{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}"),
        format!("{{% set x %}}{{% for i in range(99999) %}}{}{{% endfor %}}{{% endset %}}", "y".repeat(60_000)),
        "{% set x = ['a' * 5000000] * 99999 %}{{ x }}".to_owned(),
        "{% set x = ['a' * 5000000] * 99999 %}{{ x|tojson }}".to_owned(),
        "{% set x = ['a' * 5000000] * 99999 %}{{ x|join }}".to_owned(),
        "{% set x = ['a' * 5000000] * 99999 %}{{ x == x }}".to_owned(),
        "{% set x = namespace(y=['a' * 5000000] * 99999) %}{{ x }}".to_owned(),
        "{% set ns = namespace(x=[]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}".to_owned(),
        "{% set ns = namespace(x=1) %}{% for i in range(99999) %}{% set ns.x = namespace(x=ns.x) %}{% endfor %}"
            .to_owned(),
        "{% set ns = namespace(x=1) %}{% for i in range(99999) %}{% set ns.x = dict(x=ns.x) %}{% endfor %}".to_owned(),
        "{% set ns = namespace(x=[1]) %}{% for i in range(99999) %}{% set ns.x = ns.x|batch(1)|list %}{% endfor %}"
            .to_owned(),
        "{% set ns = namespace(x=[1]) %}{% for i in range(99999) %}{% set ns.x = ns.x|map('list') %}{% endfor %}"
            .to_owned(),
        "{% set ns = namespace(x='') %}{% for i in range(99999) %}{% set ns.x = ns.x.upper %}{% endfor %}".to_owned(),
        nested("{% if true %}", "{% endif %}"),
        nested("{{ (", ") }}"),
        format!("{{{{ {}1{} }}}}", "[".repeat(900), "]".repeat(900)),
        format!("{{{{ 1{} }}}}", "+1".repeat(100_000)),
        format!("{{{{ x{} }}}}", ".y".repeat(100_000)),
        format!("{{% if a %}}{}{{% endif %}}", "{% elif b %}".repeat(50_000)),
        "{% for x in [[[]]] recursive %}{{ loop([x]) }}{% endfor %}".to_owned(),
        "{% set x = 'a' * 5000000 %}{% for i in range(99999) %}{% if x[4999999] %}{% endif %}{% endfor %}".to_owned(),
        "{% set x = 'a' * 5000000 %}{% for i in range(99999) %}{% if x|length %}{% endif %}{% endfor %}".to_owned(),
        "{% set x = 'a' * 5000000 %}{% for i in range(99999) %}{% if x.find('b') %}{% endif %}{% endfor %}".to_owned(),
        "{% set x = 'a' * 5000000 %}{% for i in range(99999) %}{% if 'b' in x %}{% endif %}{% endfor %}".to_owned(),
        "{% set x = 'a' * 5000000 %}{% for i in range(99999) %}{% if x == x %}{% endif %}{% endfor %}".to_owned(),
        "{% set x = 'a' * 5000000 %}{% for i in range(99999) %}{% if x[::-1] %}{% endif %}{% endfor %}".to_owned(),
    ];
    let conversation = conversation(&json!([]), None);
    for source in sources {
        let head: String = source.chars().take(90).collect();
        let error = render(&source, &conversation).map(|text| text.len());
        assert!(error.is_err(), "{head}: {error:?}");
    }
}
