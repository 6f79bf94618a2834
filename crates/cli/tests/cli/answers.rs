//! run and score.

use serde_json::{Value, json};

use crate::fixture::{Fixture, golden, joined};

#[test]
fn run_continues_ids_as_transformers_does() {
    let fixture = Fixture::locked();
    for prompt in golden("golden.json")["prompts"].as_array().unwrap() {
        let ids = joined(&prompt["ids"]);
        for model in [["--model", "hf"], ["--unlocked", "m/model.gguf"]] {
            let args = ["run", "--ids", &ids, "--max-tokens", "64", "--temperature", "0", "--ignore-eos", "--json"];
            let lines = fixture.run(&[&args[..], &model].concat()).ok().lines();
            let last = lines.last().unwrap();
            assert_eq!(last["token_ids"], prompt["greedy"]);
            assert_eq!((&last["event"], &last["reason"]), (&json!("finished"), &json!("length")));
            assert_eq!(last["unlocked"], model[0] == "--unlocked");
        }
    }
}

#[test]
fn run_answers_a_conversation() {
    let fixture = Fixture::locked();
    let case = &golden("texts.json")["chat"][0];
    let question = case["messages"][0]["content"].as_str().unwrap();
    let answer = format!("{}\n", case["answer"].as_str().unwrap());
    let options = ["--max-tokens", "64", "--temperature", "0", "--ignore-eos"];
    let argument = fixture.run(&[&["run", question], &options[..]].concat()).ok();
    assert_eq!((argument.text(), argument.stderr.as_str()), (answer.as_str(), ""));
    let stdin = fixture.run_with(&[&["run"], &options[..]].concat(), format!("{question}\n").as_bytes()).ok();
    assert_eq!(stdin.text(), answer);
    let lines = fixture.run(&[&["run", question, "--json", "--logprobs", "2"], &options[..]].concat()).ok().lines();
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).cloned().collect::<Vec<Value>>();
    assert_eq!(
        of("token").iter().map(|token| token["id"].clone()).collect::<Vec<_>>(),
        *case["greedy"].as_array().unwrap()
    );
    assert!(
        of("token").iter().all(|token| token["logprob"].is_number() && token["top"].as_array().unwrap().len() == 2)
    );
    let text: String = of("text").iter().map(|text| text["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!((&text, of("finished")[0]["text"].as_str()), (&answer.trim_end().to_owned(), Some(text.as_str())));
    assert_eq!(of("finished")[0]["usage"]["prompt"], case["ids"].as_array().unwrap().len());
}

#[test]
fn run_speculates() {
    let fixture = Fixture::locked();
    let ids = ["7,8,9"; 12].join(",");
    let last = |more: &[&str]| {
        let args = ["run", "--ids", &ids, "--max-tokens", "60", "--temperature", "0", "--ignore-eos", "--json"];
        fixture.run(&[&args[..], more].concat()).ok().lines().pop().unwrap()
    };
    let (plain, guessed) = (last(&[]), last(&["--speculate"]));
    assert_eq!(plain["token_ids"], guessed["token_ids"]);
    assert_eq!(plain["usage"]["drafted"], 0);
    let counts = [&guessed["usage"]["drafted"], &guessed["usage"]["accepted"]].map(|count| count.as_u64().unwrap());
    assert!(counts[0] >= counts[1] && counts[1] > 0, "{counts:?}");
}

#[test]
fn run_swaps_by_one_line() {
    let fixture = Fixture::locked();
    let model = |fixture: &Fixture| {
        fixture.run(&["run", "hi", "--max-tokens", "1", "--json"]).ok().lines().pop().unwrap()["model"].clone()
    };
    assert_eq!(model(&fixture), "hf");
    fixture.edit("models.toml", "default = \"hf\"", "default = \"gguf\"");
    assert_eq!(model(&fixture), "gguf");
}

#[test]
fn run_refuses_what_cannot_be() {
    let fixture = Fixture::locked();
    let long = vec!["1"; 600].join(",");
    let cases: [(&[&str], &[&str]); 9] = [
        (&["run", "x", "--temperature", "NaN"], &["temperature: found NaN"]),
        (&["run", "x", "--temperature", "-1"], &["temperature: found -1"]),
        (&["run", "x", "--top-p", "0"], &["top_p: found 0"]),
        (&["run", "x", "--min-p", "2"], &["min_p: found 2"]),
        (&["run", "x", "--repetition-penalty", "0"], &["repetition_penalty: found 0"]),
        (&["run", "x", "--logit-bias", "9999=1"], &["logit_bias"]),
        (&["run", "--ids", "9999"], &["9999"]),
        (&["run", "--ids", &long], &["600 tokens", "512"]),
        (&["run", ""], &["prompt: found no text"]),
    ];
    for (args, expected) in cases {
        let ran = fixture.run(args).failed(5, expected);
        assert_eq!(ran.text(), "");
    }
    fixture.run_with(&["run"], b"").failed(5, &["prompt: found no text"]);
    fixture.run_with(&["run"], b"\xff").failed(5, &["stdin: byte 0 is not UTF-8"]);
    let error: Value =
        serde_json::from_str(&fixture.run(&["run", "x", "--top-p", "0", "--json"]).failed(5, &[]).stderr).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["kind"]), (&json!(5), &json!("request")));
}

#[test]
fn unlocked_is_said_on_stderr_and_in_the_output() {
    let fixture = Fixture::new();
    let args = ["score", "--unlocked", "m/hf", "--ids", "3,17,42", "--json"];
    let ran = fixture.run(&args).ok();
    assert_eq!(ran.stderr, "warning: m/hf is unlocked: its files are not verified\n");
    assert_eq!(ran.json()["unlocked"], true);
    fixture.run(&["score", "--unlocked", "m/absent", "--ids", "3"]).failed(3, &["m/absent: No such file"]);
}

#[test]
fn score_gives_what_scripts_read() {
    let fixture = Fixture::locked();
    let report = fixture.run(&["score", "--ids", "3,17,42", "--top", "5", "--json"]).ok().json();
    assert_eq!((&report["ids"], &report["logprobs"][0]), (&json!([3, 17, 42]), &Value::Null));
    let top = report["top"].as_array().unwrap();
    assert_eq!(top.len(), 3);
    let gguf = fixture.run(&["score", "--model", "gguf", "--ids", "3,17,42", "--top", "5", "--json"]).ok().json();
    for (row, other) in top.iter().zip(gguf["top"].as_array().unwrap()) {
        let row = row.as_array().unwrap();
        assert!(row.len() == 5 && row.windows(2).all(|pair| pair[0][1].as_f64() >= pair[1][1].as_f64()));
        assert_eq!(row[0][0], other[0][0]);
        assert!((row[0][1].as_f64().unwrap() - other[0][1].as_f64().unwrap()).abs() < 1e-4);
    }
    let sum: f64 = report["logprobs"].as_array().unwrap().iter().filter_map(Value::as_f64).sum();
    assert!((report["log_likelihood"].as_f64().unwrap() - sum).abs() < 1e-4);
    assert!((report["perplexity"].as_f64().unwrap() - (-sum / 2.0).exp()).abs() < 1e-2);
    assert_eq!(report["bits_per_byte"], Value::Null);
}

/// Checkpoints often come without a tokenizer: ids need none.
#[test]
fn ids_work_without_a_tokenizer() {
    let fixture = Fixture::new();
    for file in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        std::fs::remove_file(fixture.path("m/hf").join(file)).unwrap();
    }
    let prompt = &golden("golden.json")["prompts"][1];
    let ids = joined(&prompt["ids"]);
    let of =
        |args: &[&str]| fixture.run(&[args, &["--unlocked", "m/hf", "--json", "--ids", &ids]].concat()).ok().lines();
    assert_eq!(of(&["score"])[0]["ids"], prompt["ids"]);
    let lines = of(&["run", "--temperature", "0", "--max-tokens", "64", "--ignore-eos"]);
    assert_eq!(lines.last().unwrap()["token_ids"], prompt["greedy"]);
    for verb in ["run", "score", "tokenize"] {
        fixture.run(&[verb, "--unlocked", "m/hf", "x"]).failed(4, &["tokenizer: found none, expected tokenizer.json"]);
    }
}

#[test]
fn score_of_a_text() {
    let fixture = Fixture::locked();
    let report = fixture.run_with(&["score", "--json"], b"The ship").ok().json();
    assert_eq!(report["ids"], json!([300, 51, 256, 276]));
    let bits = -report["log_likelihood"].as_f64().unwrap() / std::f64::consts::LN_2 / 8.0;
    assert!((report["bits_per_byte"].as_f64().unwrap() - bits).abs() < 1e-6);
    let ran = fixture.run(&["score", "The ship"]).ok();
    assert!(
        ran.text().starts_with("tokens          4\nlog-likelihood  -") && ran.text().contains("\nbits per byte   "),
        "{}",
        ran.text()
    );
    fixture.run(&["score", "x", "--top", "3"]).failed(2, &["--top needs --json"]);
}

/// What is printed does not fit a pipe, so that the answer cannot end before it is interrupted.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_an_answer() {
    use std::io::{BufRead, BufReader, Read};
    let fixture = Fixture::locked();
    let mut child = fixture.start(&["run", "x", "--ignore-eos", "--max-tokens", "480", "--logprobs", "20", "--json"]);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert!(!rest.contains("\"finished\""), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
