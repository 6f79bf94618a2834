//! Help, completions, and mistakes on the command line.

use crate::fixture::Fixture;

#[test]
fn help_lists_every_exit_code() {
    let fixture = Fixture::new();
    let ran = fixture.run(&["--help"]).ok();
    for row in [
        "  0  done",
        "  2  the command line is wrong",
        "  3  models.toml or models.lock",
        "130  stopped by Ctrl-C",
        "With --json",
    ] {
        assert!(ran.text().contains(row), "{row}\n{}", ran.text());
    }
    for verb in ["run", "score", "bench", "tokenize", "render", "lock", "verify", "tree", "doctor", "completions"] {
        assert!(ran.text().contains(&format!("\n  {verb} ")), "{verb}");
        fixture.run(&[verb, "--help"]).ok();
    }
}

#[test]
fn completions_for_every_shell() {
    let fixture = Fixture::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(fixture.run(&["completions", shell]).ok().text().contains("no-generation-prompt"), "{shell}");
    }
    assert_eq!(fixture.run(&["completions", "bash", "--json"]).ok().json()["shell"], "bash");
}

#[test]
fn mistakes_are_usage_errors() {
    let fixture = Fixture::new();
    let cases: [&[&str]; 6] = [
        &[],
        &["walk"],
        &["run", "--max-tokens", "-1", "x"],
        &["run", "a", "b"],
        &["score", "--model", "a", "--unlocked", "b"],
        &["render"],
    ];
    for args in cases {
        fixture.run(args).failed(2, &["--help"]);
    }
    let error: serde_json::Value =
        serde_json::from_str(&fixture.run(&["run", "a", "b", "--json"]).failed(2, &[]).stderr).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["kind"]), (&2.into(), &"usage".into()));
}

#[test]
fn without_any_project_the_way_out_is_named() {
    let fixture = Fixture::new();
    fixture.run_in("/", &["run", "x"], b"").failed(3, &["no models.toml and no models.lock in ", "--unlocked PATH"]);
}
