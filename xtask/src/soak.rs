//! Long runs that CI has no time for: every fuzz target for some minutes, plain code under Miri, the CPU backend under
//! AddressSanitizer and on an emulated Arm processor.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;

/// `cargo xtask soak [--minutes N] [--allow-missing] [NAME..]`; no name means everything.
struct Options {
    minutes: f64,
    allow_missing: bool,
    names: Vec<String>,
}

/// What checks need: commands that succeed where it is, and how to get it.
struct Tool {
    probes: &'static [&'static str],
    install: &'static str,
}

const FUZZ: Tool = Tool {
    probes: &["cargo +nightly fuzz --version"],
    install: "rustup toolchain install nightly && cargo install cargo-fuzz --locked",
};
const MIRI: Tool = Tool {
    probes: &["cargo +nightly miri --version"],
    install: "rustup toolchain install nightly --component miri,rust-src",
};
const SANITIZER: Tool = Tool { probes: &["cargo +nightly --version"], install: "rustup toolchain install nightly" };
const QEMU: Tool = Tool {
    probes: &["qemu-aarch64 --version", "aarch64-linux-gnu-gcc --version", "test -d /usr/aarch64-linux-gnu/lib"],
    install: "apt-get install qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
              && rustup target add aarch64-unknown-linux-gnu",
};

/// Checks by name, the tool and arguments to cargo. Miri maps no files, finds the plain tier alone, and is given what it can
/// interpret in minutes.
const CHECKS: &[(&str, &Tool, &str)] = &[
    ("miri-model", &MIRI, "+nightly miri test --package plimsoll-model --lib"),
    ("miri-formats", &MIRI, "+nightly miri test --package plimsoll-formats --test blocks -- decode"),
    ("miri-cpu", &MIRI, "+nightly miri test --package plimsoll-cpu --lib -- pool halves lookups --skip every_unit"),
    (
        "asan-cpu",
        &SANITIZER,
        "+nightly test --package plimsoll-cpu --tests --target host-tuple \
         --config build.rustflags=[\"-Zsanitizer=address\"]",
    ),
    (
        "neon-cpu",
        &QEMU,
        "test --package plimsoll-cpu --tests --target aarch64-unknown-linux-gnu \
         --config target.aarch64-unknown-linux-gnu.linker=\"aarch64-linux-gnu-gcc\" \
         --config target.aarch64-unknown-linux-gnu.runner=[\"qemu-aarch64\",\"-L\",\"/usr/aarch64-linux-gnu\"]",
    ),
];

/// A command of cargo.
struct Check {
    name: String,
    run: Vec<String>,
    tool: &'static Tool,
    /// What AddressSanitizer is told.
    sanitizer: &'static str,
}

pub fn soak(root: &Path, args: &[String]) -> Result<()> {
    let options = Options::parse(args)?;
    let (mut failed, mut missing) = (Vec::new(), Vec::new());
    for check in checks(root, &options)? {
        if let Some(probe) = check.tool.missing() {
            println!("soak: {} skipped, as `{probe}` fails; get it with: {}", check.name, check.tool.install);
            missing.push(check.name);
            continue;
        }
        println!("soak: {}: cargo {}", check.name, check.run.join(" "));
        let mut command = Command::new("cargo");
        // Tests under Miri read goldens; a fuzzer's crash is kept in fuzz/artifacts.
        command.current_dir(root).args(&check.run).env("MIRIFLAGS", "-Zmiri-disable-isolation");
        command.env("ASAN_OPTIONS", check.sanitizer);
        if !succeeds(&mut command) {
            failed.push(check.name);
        }
    }
    if !failed.is_empty() {
        return Err(format!("failed: {}", failed.join(", ")).into());
    }
    if !missing.is_empty() && !options.allow_missing {
        return Err(format!("skipped: {} (--allow-missing accepts that)", missing.join(", ")).into());
    }
    println!("soak: ok");
    Ok(())
}

impl Options {
    fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self { minutes: 10.0, allow_missing: false, names: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--minutes" => options.minutes = args.next().ok_or("--minutes needs a number")?.parse()?,
                "--allow-missing" => options.allow_missing = true,
                flag if flag.starts_with('-') => return Err(format!("soak knows no {flag}").into()),
                name => options.names.push(name.into()),
            }
        }
        Ok(options)
    }
}

impl Tool {
    /// The first command that does not work.
    fn missing(&self) -> Option<&'static str> {
        self.probes.iter().copied().find(|probe| {
            let mut words = probe.split_whitespace();
            let mut command = Command::new(words.next().unwrap_or_default());
            !succeeds(command.args(words).stdout(Stdio::null()).stderr(Stdio::null()))
        })
    }
}

/// The checks that were asked for, fuzz targets first.
fn checks(root: &Path, options: &Options) -> Result<Vec<Check>> {
    let mut targets = Vec::new();
    for entry in std::fs::read_dir(root.join("fuzz/fuzz_targets"))? {
        targets.extend(entry?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    targets.sort();
    let mut checks = Vec::new();
    for target in targets {
        checks.push(fuzz(root, target, options.minutes)?);
    }
    checks.extend(CHECKS.iter().map(|(name, tool, run)| Check {
        name: name.to_string(),
        run: run.split_whitespace().map(String::from).collect(),
        tool,
        sanitizer: "",
    }));
    let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
    if let Some(unknown) = options.names.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("no check is called {unknown}; there are {}", names.join(", ")).into());
    }
    checks.retain(|check| options.names.is_empty() || options.names.contains(&check.name));
    Ok(checks)
}

fn fuzz(root: &Path, target: String, minutes: f64) -> Result<Check> {
    let (corpus, seeds) = (format!("fuzz/corpus/{target}"), format!("fuzz/seeds/{target}"));
    std::fs::create_dir_all(root.join(&corpus))?;
    let seconds = format!("-max_total_time={}", (minutes * 60.0) as u64);
    let bounds = [seconds.as_str(), "-timeout=10", "-rss_limit_mb=1024"];
    let run = ["+nightly", "fuzz", "run", &target, &corpus, &seeds, "--"].into_iter().chain(bounds);
    // What lives as long as the process is no leak, but is reported as one at its end.
    let sanitizer = "detect_leaks=0";
    Ok(Check { run: run.map(String::from).collect(), name: target, tool: &FUZZ, sanitizer })
}

fn succeeds(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}
