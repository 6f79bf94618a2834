//! Locks and folders that someone prepared. Every case names what it must complain about.

use std::fs;
use std::sync::LazyLock;

use crate::fixture::{Fixture, parse};
use plimsoll_lock::{Error, Lock, LockedModel, MAX_LOCK_BYTES, Manifest, Project, Sha256, Verified};
use proptest::prelude::*;

/// Each case edits a good lock; the message must hold every text.
#[test]
fn locks_that_lie() {
    let hash = Sha256::of(b"GGUF").to_string();
    let short = &hash[1..];
    let cases: &[(&str, &str, &[&str])] = &[
        ("version = 1", "version = 2", &["models.lock: version: is 2, expected 1"]),
        ("version = 1", "version = '1'", &["models.lock: version: is \"1\", expected 1"]),
        ("version = 1", "", &["models.lock: version: is missing, expected 1"]),
        ("version = 1", "version = 1\nextra = 1", &["models.lock:", "unknown field `extra`"]),
        ("name = \"b\"", "name = \"a\"", &["model `a`: occurs twice"]),
        ("name = \"b\"", "name = \"../b\"", &["`../b` cannot be the name of a model"]),
        ("path:m/b.gguf", "hf:Qwen/Qwen3-4B", &["source `hf:Qwen/Qwen3-4B` is unknown, expected `path:`"]),
        ("path:m/b.gguf", "path:", &["source `path:` is unknown"]),
        (
            "path = \"b.gguf\"",
            "path = \"../b.gguf\"",
            &["`../b.gguf` cannot be a file", "`..` leaves the model's folder"],
        ),
        ("path = \"b.gguf\"", "path = \"/etc/passwd\"", &["it is absolute"]),
        ("path = \"b.gguf\"", "path = \"c:\\\\b\"", &["are not allowed"]),
        ("path = \"config.json\"", "path = \"LICENSE\"", &["model `a`, file `LICENSE`: occurs twice"]),
        (&hash, short, &["is not a SHA-256: 64 lower-case hex digits expected"]),
        (&hash, &hash.to_uppercase(), &["is not a SHA-256"]),
        (
            &hash,
            &hash.replace(|c: char| c.is_ascii_digit(), "0"),
            &["model `b`: digest is sha256:", ", its files give sha256:"],
        ),
        (
            "[[model.file]]\npath = \"b.gguf\"",
            "[model.load]\nrecipe = \"q5/1\"\nresult = \"sha256:00\"\n[[model.file]]\npath = \"b.gguf\"",
            &["quantize is `q5`, expected one of `q8_0`"],
        ),
        (
            "[[model.file]]\npath = \"b.gguf\"",
            "[model.load]\nrecipe = \"q8_0\"\nresult = \"sha256:00\"\n[[model.file]]\npath = \"b.gguf\"",
            &["`q8_0` is not a recipe: a name, `/` and a version expected"],
        ),
        (
            "[[model.file]]\npath = \"b.gguf\"",
            "[model.load]\nrecipe = \"q8_0/1\"\n[[model.file]]\npath = \"b.gguf\"",
            &["missing field `result`"],
        ),
        ("size = 4", "size = -4", &["models.lock:", "-4"]),
        ("size = 4", "size = 4.0", &["models.lock:", "floating point"]),
        ("size = 4", "size = 99999999999999999999", &["models.lock:"]),
        (
            "size = 4",
            "size = 4\nchunk-size = 0",
            &["model `b`, file `b.gguf`: chunk-size is 0, expected at least 65536"],
        ),
        ("size = 4", "size = 4\nchunk-size = 65536", &["there are 0 chunks, expected 1 for a size of 4"]),
        ("size = 4", "size = 9223372036854775807\nchunk-size = 65536", &["expected 140737488355328"]),
        ("size = 4", "size = 4\nchunks = ['00']", &["`00` is not a SHA-256"]),
        ("family = \"llama\"", "", &["missing field `family`"]),
        ("tokens = ", "tokenz = ", &["unknown field `tokenz`"]),
        ("Apache-2.0", "apache2", &["`apache2` is not an SPDX licence expression"]),
    ];
    let good = Fixture::new().generate().unwrap().text().to_owned();
    for (from, to, expected) in cases {
        assert!(good.contains(from), "{from}");
        let found = parse(&good.replace(from, to)).unwrap_err().to_string();
        assert!(expected.iter().all(|text| found.contains(text)), "{to}: {found}");
    }
}

#[test]
fn chunk_lists_that_do_not_fit_the_size() {
    let good = Fixture::new().generate().unwrap().text().to_owned();
    let chunks = vec![format!("'{}'", Sha256::of(b"")); 50_000].join(",");
    let text = good.replace("size = 4", &format!("size = 4\nchunk-size = 65536\nchunks = [{chunks}]"));
    assert!(parse(&text).unwrap_err().to_string().contains("there are 50000 chunks, expected 1"));
}

#[test]
fn locks_that_are_no_locks() {
    let fixture = Fixture::locked();
    let cases: [(&[u8], &str); 5] = [
        (b"", "version: is missing"),
        (b"\xff\xfe", "byte 0: is not UTF-8"),
        (b"version = 1\n\xc3", "byte 12: is not UTF-8"),
        (b"\0\0\0", "models.lock:"),
        (b"{\"version\": 1}", "models.lock: 1:1"),
    ];
    for (bytes, expected) in cases {
        fixture.write("models.lock", bytes);
        let found = fixture.verify("a").unwrap_err().to_string();
        assert!(found.contains(expected), "{found}");
    }
    fixture.write("models.lock", vec![b' '; MAX_LOCK_BYTES as usize + 1]);
    assert!(fixture.verify("a").unwrap_err().to_string().contains("at most 16777216 are read"));
    fs::remove_file(fixture.path("models.lock")).unwrap();
    assert!(matches!(fixture.verify("a"), Err(Error::Io { .. })));
    fs::create_dir(fixture.path("models.lock")).unwrap();
    assert!(fixture.verify("a").unwrap_err().to_string().contains("is not a regular file"));
}

#[test]
fn an_empty_lock_has_no_models() {
    let fixture = Fixture::locked();
    fixture.write("models.lock", "version = 1\n");
    assert!(fixture.verify("a").unwrap_err().to_string().contains("there is no model `a`; it has none"));
}

#[test]
fn a_lock_for_other_models() {
    let fixture = Fixture::locked();
    fixture.edit("models.toml", "[models.a]", "[models.c]");
    let file = fixture.path("models.lock").display().to_string();
    assert_eq!(fixture.verify("c").unwrap_err().to_string(), format!("{file}: there is no model `c`; it has `a`, `b`"));
    assert!(
        fixture.verify("a").unwrap_err().to_string().contains("models.toml: there is no model `a`; it has `b`, `c`")
    );
}

/// No cut gives a model other than what was locked: either the text is refused, or whole models are missing at its end.
#[test]
fn locks_cut_at_every_byte() {
    let good = Fixture::new().generate().unwrap();
    let mut prefixes = 0;
    for end in 0..good.text().len() {
        if let Ok(cut) = parse(&good.text()[..end]) {
            assert!(good.models().starts_with(cut.models()), "{end}");
            prefixes += 1;
        }
    }
    assert!(prefixes > 0);
}

/// What each change on disk is called.
#[test]
fn files_that_are_not_what_was_locked() {
    type Edit = fn(&Fixture);
    let cases: [(Edit, &str); 7] = [
        (
            |f| f.write("m/a/config.json", "[]"),
            "model `a`, file `config.json`: sha256 is 4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945, the lock expects 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        ),
        (|f| f.write("m/a/config.json", "{ }"), "model `a`, file `config.json`: size is 3, the lock expects 2"),
        (|f| f.write("m/a/config.json", ""), "model `a`, file `config.json`: size is 0, the lock expects 2"),
        (
            |f| fs::remove_file(f.path("m/a/config.json")).unwrap(),
            "model `a`, file `config.json`: is missing: no file at ",
        ),
        (|f| fs::remove_dir_all(f.path("m/a")).unwrap(), "m/a: No such file"),
        (
            |f| f.edit("models.lock", "size = 2", "size = 3"),
            "model `a`, file `config.json`: size is 2, the lock expects 3",
        ),
        (
            |f| {
                fs::remove_file(f.path("m/a/config.json")).unwrap();
                fs::create_dir(f.path("m/a/config.json")).unwrap();
            },
            "model `a`, file `config.json`: is not a regular file",
        ),
    ];
    for (edit, expected) in cases {
        let fixture = Fixture::locked();
        fixture.verify("a").unwrap();
        edit(&fixture);
        let found = fixture.verify("a").unwrap_err().to_string();
        assert!(found.contains(expected), "{found}");
        fixture.verify("b").unwrap();
    }
}

/// A file that the lock does not name cannot be loaded, since only named files are handed on; locking again shows it.
#[test]
fn an_extra_file_is_not_handed_on() {
    let fixture = Fixture::locked();
    fixture.write("m/a/model.safetensors.index.json", "{}");
    let model = fixture.verify("a").unwrap();
    assert!(model.file("model.safetensors.index.json").is_none());
    let project = Project::open(&fixture.path("models.lock")).unwrap();
    assert!(!project.lock().changes(&fixture.generate().unwrap()).is_empty());
}

#[cfg(unix)]
mod links {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_is_neither_locked_nor_verified() {
        let cases: [(&str, &str); 3] =
            [("config.json", "moved"), ("config.json", "../../outside"), ("config.json", "/dev/zero")];
        for (file, target) in cases {
            let fixture = Fixture::locked();
            fixture.write("outside", "{}");
            fixture.write("m/a/moved", "{}");
            let link = fixture.path("m/a").join(file);
            fs::remove_file(&link).unwrap();
            symlink(target, &link).unwrap();
            let found = fixture.verify("a").unwrap_err().to_string();
            assert!(found.contains("file `config.json`: is a symbolic link"), "{found}");
            let found = fixture.generate().unwrap_err().to_string();
            assert!(found.contains("file `config.json`: is a symbolic link"), "{found}");
        }
    }

    #[test]
    fn a_linked_folder_inside_a_model_is_refused() {
        let fixture = Fixture::new();
        fixture.write("m/a/sub/x.json", "{}");
        fixture.generate().unwrap().write(&fixture.path("models.lock")).unwrap();
        fixture.verify("a").unwrap();
        fs::rename(fixture.path("m/a/sub"), fixture.path("elsewhere")).unwrap();
        symlink(fixture.path("elsewhere"), fixture.path("m/a/sub")).unwrap();
        assert!(
            fixture
                .verify("a")
                .unwrap_err()
                .to_string()
                .contains("file `sub/x.json`: is a symbolic link, or lies behind one")
        );
        assert!(fixture.generate().is_err());
    }

    /// People put weights on another disk: the model's own folder may be a link.
    #[test]
    fn the_models_own_folder_may_be_a_link() {
        let fixture = Fixture::locked();
        fs::rename(fixture.path("m/a"), fixture.path("elsewhere")).unwrap();
        symlink(fixture.path("elsewhere"), fixture.path("m/a")).unwrap();
        fixture.verify("a").unwrap();
    }

    /// As in caches that keep files in a store; folders are not followed, so that no cycle is.
    #[test]
    fn unlocked_follows_links_to_files() {
        let fixture = Fixture::new();
        fs::create_dir(fixture.path("cache")).unwrap();
        symlink(fixture.path("m/b.gguf"), fixture.path("cache/model.gguf")).unwrap();
        symlink(fixture.path("cache"), fixture.path("cache/loop")).unwrap();
        symlink(fixture.path("absent"), fixture.path("cache/dangling")).unwrap();
        let model = Verified::unlocked(&fixture.path("cache")).unwrap();
        assert_eq!(
            model.files().iter().map(|file| (file.path.as_str(), file.size)).collect::<Vec<_>>(),
            [("model.gguf", 4)]
        );
    }

    /// Opening must not wait for someone to write.
    #[test]
    fn pipes_and_devices_are_refused() {
        let fixture = Fixture::locked();
        let pipe = fixture.path("m/a/config.json");
        fs::remove_file(&pipe).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(fixture.verify("a").unwrap_err().to_string().contains("is not a regular file"));
        assert!(fixture.generate().unwrap_err().to_string().contains("is not a regular file"));
        fs::remove_file(fixture.path("models.lock")).unwrap();
        fs::rename(&pipe, fixture.path("models.lock")).unwrap();
        assert!(fixture.verify("a").unwrap_err().to_string().contains("is not a regular file"));
        assert!(Verified::unlocked("/dev/zero".as_ref()).is_err());
    }

    #[test]
    fn names_that_are_not_utf8() {
        use std::os::unix::ffi::OsStrExt;
        let fixture = Fixture::new();
        let name = fixture.path("m/a").join(std::ffi::OsStr::from_bytes(b"x\xff.json"));
        if fs::write(name, "{}").is_err() {
            eprintln!("skipped: this file system takes UTF-8 names only");
            return;
        }
        assert!(fixture.generate().unwrap_err().to_string().contains("its name is not UTF-8"));
    }
}

#[test]
fn a_file_changed_after_it_was_verified_is_noticed() {
    let fixture = Fixture::locked();
    let model = fixture.verify("a").unwrap();
    model.check_unchanged().unwrap();
    fixture.write("m/a/model.safetensors", "WEIGHTZ and more");
    assert_eq!(
        model.check_unchanged().unwrap_err().to_string(),
        "model `a`, file `model.safetensors`: changed while it was being read"
    );
}

proptest! {
    /// Whatever the text, parsing answers.
    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        let _ = parse(&text);
        let _ = Manifest::parse("models.toml".as_ref(), &text);
    }

    /// One byte of a good lock changed: it is refused, or it says the same bytes of the same files, and means the same when
    /// it is written again.
    #[test]
    fn a_changed_byte_never_changes_the_files_of_a_digest(at in 0usize..2000, byte in 0x20u8..0x7f) {
        static GOOD: LazyLock<Lock> = LazyLock::new(|| Fixture::new().generate().unwrap());
        let good = &*GOOD;
        let mut bytes = good.text().as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(lock) = parse(std::str::from_utf8(&bytes).unwrap()) {
            let again = Lock::new(lock.models().to_vec()).unwrap();
            prop_assert_eq!(&parse(again.text()).unwrap(), &again);
            prop_assert_eq!(lock.changes(&again), []);
            for model in lock.models() {
                if let Some(same) = good.models().iter().find(|good| good.digest == model.digest) {
                    let hashes = |model: &LockedModel| model.files.iter().map(|file| file.sha256).collect::<Vec<_>>();
                    prop_assert_eq!(hashes(model), hashes(same));
                }
            }
        }
    }
}
