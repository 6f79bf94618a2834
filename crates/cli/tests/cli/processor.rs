//! Options of the processor.

use serde_json::json;

use crate::fixture::{Fixture, golden, joined};

/// What an option can be on this machine, as the message about a value that it cannot says.
fn possible(fixture: &Fixture, option: &str, says: &str) -> Vec<String> {
    let ran = fixture.run(&["run", "x", option, "99999"]).failed(2, &["'99999' for '", option]);
    let (_, list) = ran.stderr.lines().next().unwrap().split_once(says).expect(&ran.stderr);
    list.split(", ").map(str::to_owned).collect()
}

#[test]
fn an_answer_is_the_same_on_every_tier_and_core() {
    let fixture = Fixture::locked();
    let prompt = &golden("golden.json")["prompts"][0];
    let ids = joined(&prompt["ids"]);
    let run = ["run", "--ids", &ids, "--max-tokens", "64", "--temperature", "0", "--ignore-eos", "--json"];
    let tiers = possible(&fixture, "--tier", "this processor has ");
    assert_eq!(tiers.last().unwrap(), "scalar");
    for tier in &tiers {
        let last = fixture.run(&[&run[..], &["--tier", tier, "--threads", "3"]].concat()).ok().lines().pop().unwrap();
        assert_eq!(last["token_ids"], prompt["greedy"], "{tier}");
    }
    if cfg!(target_os = "linux") {
        let cores = possible(&fixture, "--cores", "this process may use ").join(",");
        let last = fixture.run(&[&run[..], &["--cores", &cores]].concat()).ok().lines().pop().unwrap();
        assert_eq!(last["token_ids"], prompt["greedy"]);
    }
}

#[test]
fn the_cache_is_rounded_as_it_is_told() {
    let fixture = Fixture::locked();
    let score = |more: &[&str]| {
        let ran = fixture.run(&[&["score", "--ids", "3,17,42,5,99,7", "--json"], more].concat()).ok();
        ran.json()["log_likelihood"].as_f64().unwrap()
    };
    let [f32, f16, q8] = ["f32", "f16", "q8"].map(|kv| score(&["--kv", kv]));
    assert_eq!((f16, f16), (score(&[]), score(&["--tier", "scalar", "-t", "1"])));
    assert!(f32 != f16 && f16 != q8 && (f32 - f16).abs() < 1e-2 && (f32 - q8).abs() < 0.1, "{f32} {f16} {q8}");
}

#[test]
fn bench_tells_what_it_was_told() {
    let fixture = Fixture::locked();
    let bench = ["bench", "-p", "8", "-n", "2", "--reps", "1", "--no-bandwidth"];
    let options = ["--threads", "2", "--tier", "scalar", "--kv", "q8"];
    let last = fixture.run(&[&bench[..], &options, &["--json"]].concat()).ok().lines().pop().unwrap();
    let found = ["threads", "cores", "tier", "kv"].map(|key| &last[key]);
    assert_eq!(found, [&json!(2), &json!([]), &json!("scalar"), &json!("q8")]);
    let ran = fixture.run(&[&bench[..], &options].concat()).ok();
    assert!(ran.text().contains("cpu, 2 threads, scalar, q8 cache\n"), "{}", ran.text());
    if cfg!(target_os = "linux") {
        let core = &possible(&fixture, "--cores", "this process may use ")[0];
        let last = fixture.run(&[&bench[..], &["--cores", core, "--json"]].concat()).ok().lines().pop().unwrap();
        assert_eq!((&last["threads"], &last["cores"]), (&json!(1), &json!([core.parse::<usize>().unwrap()])));
    }
}

#[test]
fn what_this_machine_lacks_is_a_mistake() {
    let fixture = Fixture::locked();
    let foreign = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon-dotprod" };
    let cases: [(&[&str], &str); 7] = [
        (&["--device", "gpu"], "this build has auto, "),
        (&["--tier", foreign], "this processor has "),
        (&["--tier", "sse"], ", scalar"),
        (&["--kv", "q4"], "[possible values: f32, f16, q8]"),
        (&["--cores", "0,x"], "invalid value 'x' for '--cores"),
        (&["--threads", "0"], "0 is not in 1..=1024"),
        (&["--threads", "1025"], "1025 is not in 1..=1024"),
    ];
    for (args, message) in cases {
        for command in [&["run", "x"][..], &["score", "x"], &["bench"]] {
            fixture.run(&[command, args].concat()).failed(2, &[message]);
        }
    }
}
