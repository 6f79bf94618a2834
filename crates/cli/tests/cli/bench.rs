//! bench, with as little work as can be.

use serde_json::{Value, json};

use crate::fixture::Fixture;

const TINY: [&str; 9] = ["bench", "-p", "8", "-n", "2", "--reps", "2", "--chunk", "3"];

#[test]
fn lists_give_a_row_each() {
    let fixture = Fixture::locked();
    let args = [&TINY[..], &["-d", "0,20", "-b", "1,3", "--no-bandwidth", "--json"]].concat();
    let lines = fixture.run(&args).ok().lines();
    let rows = [
        ("prefill", 8, 0, 1),
        ("prefill", 8, 20, 1),
        ("decode", 2, 0, 1),
        ("decode", 2, 0, 3),
        ("decode", 2, 20, 1),
        ("decode", 2, 20, 3),
    ];
    assert_eq!(lines.len(), rows.len() + 1);
    for (line, (phase, tokens, depth, sequences)) in lines.iter().zip(rows) {
        let found = ["event", "phase", "tokens", "depth", "sequences"].map(|key| line[key].clone());
        assert_eq!(json!(found), json!(["measured", phase, tokens, depth, sequences]));
        let number = |key: &str| line[key].as_f64().unwrap();
        assert!(number("tok_s_min") <= number("tok_s") && number("tok_s") <= number("tok_s_max"), "{line}");
        assert_eq!(line["tok_s_all"].as_array().unwrap().len(), 2);
    }
    let last = &lines[rows.len()];
    assert_eq!((&last["prefill_tok_s"], &last["decode_tok_s"]), (&lines[0]["tok_s"], &lines[2]["tok_s"]));
    for absent in ["read_gb_s", "read_threads", "decode_bandwidth_share"] {
        assert_eq!(last.get(absent), Some(&Value::Null), "{absent}");
    }
}

#[test]
fn the_last_line_is_what_scripts_read() {
    let fixture = Fixture::locked();
    let lines = fixture.run(&[&TINY[..], &["-d", "0", "--threads", "2", "--json"]].concat()).ok().lines();
    let last = lines.last().unwrap();
    let rates = ["prefill_tok_s", "decode_tok_s", "read_gb_s", "decode_bandwidth_share", "load_s"];
    let sizes = ["file_bytes", "step_bytes", "read_threads", "reps"];
    for key in rates.iter().chain(&sizes) {
        assert!(last[key].as_f64().unwrap() > 0.0, "{key} {last}");
    }
    assert_eq!((&last["event"], &last["model"], &last["unlocked"]), (&json!("finished"), &json!("hf"), &json!(false)));
    assert!(last.get("threads").is_some());
    // The GiB that is read does not count, and this model takes nowhere near it.
    assert!(last["peak_rss_bytes"].as_u64().is_none_or(|bytes| bytes < 1 << 29), "{last}");
    assert!(lines[1]["bandwidth_share"].is_number() && lines[0]["bandwidth_share"].is_null());
}

#[test]
fn people_get_a_table() {
    let fixture = Fixture::new();
    let ran = fixture.run(&[&TINY[..], &["--unlocked", "m/model.gguf", "--no-bandwidth"]].concat()).ok();
    for part in
        ["model      model.gguf (llama), ", "\nbandwidth  not read\n", "tokens   depth sequences", "\nprefill       8 "]
    {
        assert!(ran.text().contains(part), "{part}\n{}", ran.text());
    }
    assert!(ran.stderr.contains("is unlocked"));
}

#[test]
fn bad_work_is_refused() {
    let fixture = Fixture::locked();
    let requests: [(&[&str], &str); 6] = [
        (&["-p", "0", "-n", "0"], "work: found none, expected at least 1"),
        (&["-b", "0"], "sequences: found 0, expected 1 to 1024"),
        (&["--chunk", "0"], "chunk: found 0, expected at least 1"),
        (&["-p", "513"], "depth: found 0 and 513 tokens after it, expected together at most 512, the context"),
        (&["-d", "505"], "depth: found 505 and 512 tokens after it, expected together at most 512, the context"),
        (&["-p", "18446744073709551615", "-d", "1"], "expected together at most 512, the context"),
    ];
    for (args, message) in requests {
        let ran = fixture.run(&[&["bench"], args].concat()).failed(5, &[message]);
        assert_eq!(ran.text(), "");
    }
    for args in [["--threads", "0"], ["--threads", "1025"], ["--reps", "0"], ["-p", "x"], ["-d", "-1"], ["-d", ""]] {
        fixture.run(&[&["bench"], &args[..]].concat()).failed(2, &["--help"]);
    }
}

#[test]
fn guesses_are_timed_where_they_do_not_help() {
    let fixture = Fixture::locked();
    let bench = ["bench", "--speculate", "-n", "40", "-d", "0,30", "--reps", "2"];
    let lines = fixture.run(&[&bench[..], &["--json"]].concat()).ok().lines();
    let rows = [("no-repeats", 0), ("no-repeats", 30), ("false-repeats", 0), ("false-repeats", 30)];
    assert_eq!(lines.len(), rows.len() + 1);
    for (line, (text, depth)) in lines.iter().zip(rows) {
        let found = ["event", "text", "tokens", "depth"].map(|key| line[key].clone());
        assert_eq!(json!(found), json!(["measured", text, 40, depth]));
        let number = |key: &str| line[key].as_f64().unwrap();
        assert!(number("ratio_min") <= number("ratio") && number("ratio") <= number("ratio_max"), "{line}");
        assert!(number("off_tok_s") > 0.0 && number("on_tok_s") > 0.0, "{line}");
        assert_eq!(number("drafted") > 0.0, text == "false-repeats", "{line}");
        assert!(number("accepted") <= number("drafted") / 2.0, "{line}");
    }
    assert!(lines[..4].iter().any(|line| line["ratio"] == lines[4]["ratio"]), "{lines:?}");
    let text = fixture.run(&bench).ok();
    assert_eq!(text.text().lines().map(str::len).collect::<Vec<_>>(), [text.text().lines().next().unwrap().len(); 5]);
    fixture.run(&["bench", "--speculate", "-n", "1"]).failed(5, &["tokens: found 1, expected at least 2"]);
    fixture.run(&["bench", "--speculate", "-b", "2"]).failed(2, &["cannot be used with"]);
}
