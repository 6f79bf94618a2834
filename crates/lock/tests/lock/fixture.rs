//! A small project on disk, to be locked and then tampered with.

use std::fs;
use std::path::{Path, PathBuf};

use plimsoll_lock::{Described, Digest, Error, Load, Lock, Manifest, Project, RecipeId, Result, Verified, generate};

pub(crate) const MANIFEST: &str = r#"default = "b"

[models.a]
path = "m/a"
license = "Apache-2.0"

[models.b]
path = "m/b.gguf"
"#;

pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
}

impl Fixture {
    /// Two models, written but not locked.
    pub(crate) fn new() -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        let files = [
            ("m/a/config.json", "{}"),
            ("m/a/model.safetensors", "weights"),
            ("m/a/LICENSE", "terms"),
            ("m/b.gguf", "GGUF"),
        ];
        files.iter().for_each(|(path, text)| fixture.write(path, text));
        fixture.write("models.toml", MANIFEST);
        fixture
    }

    /// The same, locked.
    pub(crate) fn locked() -> Self {
        let fixture = Self::new();
        fixture.generate().unwrap().write(&fixture.path("models.lock")).unwrap();
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

    /// Replaces a text in a file that must hold it.
    pub(crate) fn edit(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(path)).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        self.write(path, text.replace(from, to));
    }

    pub(crate) fn generate(&self) -> Result<Lock> {
        generate(&Manifest::read(&self.path("models.toml"))?, &|_, _| {}, describe)
    }

    pub(crate) fn lock_text(&self) -> String {
        fs::read_to_string(self.path("models.lock")).unwrap()
    }

    pub(crate) fn verify(&self, name: &str) -> Result<Verified> {
        Project::open(&self.path("models.lock"))?.verify(name, &|_, _| {})
    }
}

/// Takes the bytes of the model for its behaviour, so that every change of a file shows.
pub(crate) fn describe(model: Verified) -> Result<Described, Error> {
    let config = model.files().iter().map(|file| file.path.as_str()).collect::<Vec<_>>().join(" ");
    Ok(Described {
        family: "llama".into(),
        derived_from: None,
        template: model.file("template.jinja").map(|file| Digest(file.sha256.unwrap())),
        tokens: Digest::of(config.as_bytes()),
        generation: Digest::of(b"eos"),
        load: model
            .quantize()
            .map(|name| Load { recipe: RecipeId { name, version: 1 }, result: Digest::of(name.as_str().as_bytes()) }),
    })
}

pub(crate) fn parse(text: &str) -> Result<Lock> {
    Lock::parse(Path::new("models.lock"), text)
}
