//! `cargo xtask kernels [--check]`: compiles the CUDA kernels for every GPU, with NVIDIA's compiler from PyPI, which needs none.
//!
//! The image is committed beside the sources with the digests of both, so that a build needs no compiler, and with a table of
//! what each kernel takes; `--check` makes all of it again and compares. Both fail where a product takes more instructions than
//! it may.

mod sass;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::Result;

/// A compiler of one version: a newer one writes what an older driver does not load. Then what reads its output.
const PACKAGES: &[&str] = &[
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-cccl==13.0.85",
    "nvidia-cuda-cuobjdump==13.2.86",
    "nvidia-cuda-nvdisasm==13.2.86",
];
/// Machine code for these, and PTX of the second for what comes after them.
const PROCESSORS: &[&str] = &["75", "80", "89", "90a", "100", "120"];
const PTX: &str = "80";
const FOLDER: &str = "crates/cuda/kernels";

pub fn kernels(root: &Path, args: &[String]) -> Result<()> {
    let check = match args {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => return Err("usage: cargo xtask kernels [--check]".into()),
    };
    let folder = root.join(FOLDER);
    let [image, digests, table] =
        ["fatbin", "sha256", "txt"].map(|extension| folder.join("kernels").with_extension(extension));
    let made = root.join("target/kernels.fatbin");
    let home = match compiler(root) {
        // The digests are a gate of their own.
        Err(error) if check => {
            println!("kernels: not made again, for want of NVIDIA's compiler: {error}");
            return Ok(());
        }
        home => home?,
    };
    compile(&home, &folder, &made)?;
    let bytes = fs::read(&made)?;
    let rows = table::table(&home, &made)?;
    let text = format!("{}  sources\n{}  kernels.fatbin\n", sources(&folder)?, hex(&Sha256::digest(&bytes)));
    if !check {
        fs::write(&image, &bytes)?;
        fs::write(&digests, text)?;
        fs::write(&table, rows)?;
        println!("{}: {} bytes", image.display(), bytes.len());
        return sass::check(&home, &folder, &made);
    }
    let committed = (fs::read(&image)?, fs::read_to_string(&digests)?, fs::read_to_string(&table)?);
    if committed != (bytes, text, rows) {
        return Err("the committed kernels are not those of the sources; run `cargo xtask kernels`".into());
    }
    sass::check(&home, &folder, &made)?;
    println!("kernels: ok");
    Ok(())
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Digest over the names and contents of the sources.
fn sources(folder: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "cu" || extension == "cuh"));
    files.sort();
    let mut digest = Sha256::new();
    for file in files {
        digest.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        digest.update(fs::read(&file)?);
    }
    Ok(hex(&digest.finalize()))
}

/// An image of the kernels for all processors.
fn compile(home: &Path, folder: &Path, to: &Path) -> Result<()> {
    let mut nvcc = nvcc(home, folder, to);
    nvcc.args(["-fatbin", "--compress-mode=size"]);
    for processor in PROCESSORS {
        nvcc.arg(format!("-gencode=arch=compute_{processor},code=sm_{processor}"));
    }
    nvcc.arg(format!("-gencode=arch=compute_{PTX},code=compute_{PTX}"));
    run(nvcc.arg("all.cu"))
}

/// Machine code of one source for one processor.
fn compile_for(home: &Path, folder: &Path, source: &Path, to: &Path, processor: &str) -> Result<()> {
    let arch = format!("-arch=sm_{processor}");
    run(nvcc(home, folder, to).args(["-cubin", "-I."]).arg(arch).arg(source))
}

fn nvcc(home: &Path, folder: &Path, to: &Path) -> Command {
    let mut nvcc = tool(home, "nvcc");
    // Sums are written as they are meant: nothing is contracted.
    nvcc.current_dir(folder).args(["-std=c++17", "-O3", "-fmad=false", "-o"]).arg(to);
    nvcc
}

/// Where the compiler is, installed when it is not there.
fn compiler(root: &Path) -> Result<PathBuf> {
    let venv = root.join("target/nvcc");
    if home(&venv).is_none() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "--no-deps"]).args(PACKAGES))?;
    }
    home(&venv).ok_or_else(|| format!("no nvcc in {}", venv.display()).into())
}

fn home(venv: &Path) -> Option<PathBuf> {
    let pythons = fs::read_dir(venv.join("lib")).ok()?;
    let mut homes = pythons.filter_map(|entry| Some(entry.ok()?.path().join("site-packages/nvidia/cu13")));
    homes.find(|home| ["nvcc", "cuobjdump", "nvdisasm"].iter().all(|name| home.join("bin").join(name).exists()))
}

/// One of NVIDIA's programs, which call each other by name.
fn tool(home: &Path, name: &str) -> Command {
    let folder = home.join("bin");
    let mut command = Command::new(folder.join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path)));
    command.env("CUDA_HOME", home).env("PATH", path.unwrap_or_default());
    command
}

fn run(command: &mut Command) -> Result<()> {
    if command.status()?.success() {
        return Ok(());
    }
    Err(format!("{command:?} failed").into())
}

/// What a program prints.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "installs NVIDIA's compiler"]
    fn the_committed_image_is_that_of_the_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        kernels(root, &["--check".into()]).unwrap();
    }
}
