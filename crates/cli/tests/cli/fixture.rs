//! A project with one small model, and the binary run in it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A tiny random Llama with its tokenizer and chat template, and what transformers makes of them.
pub(crate) const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../goldens/chat-llama");

pub(crate) struct Fixture {
    dir: tempfile::TempDir,
}

/// What a run of the binary left.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Fixture {
    /// Two models of the same weights, `hf` (the default) and `gguf`; not locked.
    pub(crate) fn new() -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        for file in [
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "chat_template.jinja",
        ] {
            fixture.write(&format!("m/hf/{file}"), fs::read(Path::new(GOLDEN).join(file)).unwrap());
        }
        fixture.write("m/hf/LICENSE", "terms");
        fixture.write("m/model.gguf", fs::read(Path::new(GOLDEN).join("model.gguf")).unwrap());
        fixture.write("models.toml", "default = \"hf\"\n\n[models.hf]\npath = \"m/hf\"\nlicense = \"MIT\"\n\n[models.gguf]\npath = \"m/model.gguf\"\n");
        fixture
    }

    pub(crate) fn locked() -> Self {
        let fixture = Self::new();
        fixture.run(&["lock"]).ok();
        fixture
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(path)).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        self.write(path, text.replace(from, to));
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_in("", args, b"")
    }

    pub(crate) fn run_with(&self, args: &[&str], stdin: &[u8]) -> Ran {
        self.run_in("", args, stdin)
    }

    pub(crate) fn run_in(&self, dir: &str, args: &[&str], stdin: &[u8]) -> Ran {
        let mut child = self.spawn(dir, args);
        // A command that does not read its input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        Ran { code: output.status.code(), stdout: output.stdout, stderr }
    }
}

impl Fixture {
    pub(crate) fn start(&self, args: &[&str]) -> Child {
        self.spawn("", args)
    }

    fn spawn(&self, dir: &str, args: &[&str]) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.args(args).current_dir(self.path(dir)).env_remove("CLICOLOR_FORCE").env("NO_COLOR", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

impl Ran {
    /// It worked.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// It failed with this exit code, and stderr holds every text.
    pub(crate) fn failed(self, code: i32, texts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        texts.iter().for_each(|text| assert!(self.stderr.contains(text), "`{text}` is not in {}", self.stderr));
        self
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The one object.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap()
    }

    /// The objects, one a line.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A JSON file of the golden.
pub(crate) fn golden(file: &str) -> Value {
    serde_json::from_slice(&fs::read(Path::new(GOLDEN).join(file)).unwrap()).unwrap()
}

/// Ids as the command line takes them.
pub(crate) fn joined(ids: &Value) -> String {
    ids.as_array().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
