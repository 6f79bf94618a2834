"""What the manifests and sources must keep true: `python3 .ci/gates.py`. Prints a line per gate; exits 1 if one fails."""

import hashlib
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
OFFLINE = ["plimsoll", "plimsoll-cli"]
NETWORK = re.compile(
    r"reqwest|hyper(-.*)?|ureq(-.*)?|attohttpc|isahc|surf|minreq|curl(-sys)?|http|h2|h3|quinn(-.*)?|s2n-quic"
    r"|rustls(-.*)?|native-tls|openssl(-.*)?|boring(-.*)?|aws-lc-.*|ring|webpki(-.*)?|schannel|security-framework(-.*)?"
    r"|tokio(-.*)?|async-std|smol|mio|socket2|tungstenite|async-tungstenite|tonic|axum|warp|tiny_http|hf-hub"
)
BUDGET = 150
UNSAFE = {
    "crates/formats/src/map.rs",
    "crates/cpu/src/simd/avx2.rs",
    "crates/cpu/src/simd/avx512.rs",
    "crates/cpu/src/simd/neon.rs",
    "crates/cpu/src/pool.rs",
    "crates/cpu/src/shared.rs",
    "crates/cuda/src/device.rs",
    "crates/cuda/src/driver.rs",
    "crates/cuda/src/gpu.rs",
    "crates/cuda/src/gpus.rs",
    "crates/cuda/src/library.rs",
    "crates/cuda-shim/src/lib.rs",
    "crates/cuda-shim/tests/faults.rs",
    "crates/cuda-shim/tests/mma.rs",
    "crates/cuda-shim-driver/src/blas.rs",
    "crates/cuda-shim-driver/src/lib.rs",
    "crates/cuda-shim-driver/src/state.rs",
    "crates/cuda-shim-driver/tests/driver.rs",
}
KERNELS = "crates/cuda/kernels"
LINES = 500


def cargo(*args):
    return subprocess.run(["cargo", *args, "--locked"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def packages(name, *options):
    """Name and version of everything a package is built from, itself included, by its default features."""
    tree = cargo("tree", "-e", "normal", "-p", name, "--prefix", "none", "--format", "{p}", *options)
    return {tuple(line.split()[:2]) for line in tree.splitlines() if line}


def offline():
    """The default builds reach no crate that speaks HTTP or TLS or opens sockets, on any platform."""
    for root in OFFLINE:
        for name, version in packages(root, "--target", "all"):
            if NETWORK.fullmatch(name):
                yield f"{root} reaches {name} {version}"


def weight():
    """The default engine takes fewer third-party packages than the budget."""
    all_packages = packages("plimsoll")
    foreign = [name for name, _ in all_packages if not name.startswith("plimsoll")]
    print(f"  {len(foreign)} packages of others, {len(all_packages)} with this project's own")
    if len(foreign) >= BUDGET:
        yield f"{len(foreign)} packages of others, expected fewer than {BUDGET}"


def publishable():
    """Only registry dependencies; what is published has a description, and a version for every dependency."""
    for package in json.loads(cargo("metadata", "--format-version", "1"))["packages"]:
        source = package["source"]
        if source and not source.startswith("registry+https://github.com/rust-lang/crates.io-index"):
            yield f"{package['name']} comes from {source}"
        if source or package["publish"] == []:
            continue
        if not (package["description"] and package["license"]):
            yield f"{package['name']} has no description or no license"
        for dependency in package["dependencies"]:
            if dependency["kind"] != "dev" and dependency["req"] == "*":
                yield f"{package['name']} depends on {dependency['name']} without a version"


def sources(*folders):
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.rs"))


def contained():
    """`unsafe` stands where it is listed: what maps files, the CPU's instructions and threads, launches on a GPU."""
    for path in sources("crates", "examples"):
        name = path.relative_to(ROOT).as_posix()
        if name not in UNSAFE and re.search(r"\bunsafe\b(?!_code)", path.read_text()):
            yield f"{name} uses unsafe"


def short():
    """A source file holds one idea."""
    for path in sources("crates", "examples", "xtask", "benches"):
        lines = len(path.read_text().splitlines())
        if lines > LINES:
            yield f"{path.relative_to(ROOT)} has {lines} lines, expected at most {LINES}"


def fresh():
    """The committed image of the CUDA kernels was made from the sources beside it."""
    folder, sources = ROOT / KERNELS, hashlib.sha256()
    for path in sorted(folder.glob("*.cu*")):
        sources.update(path.name.encode() + path.read_bytes())
    image = hashlib.sha256((folder / "kernels.fatbin").read_bytes())
    if (folder / "kernels.sha256").read_text() != f"{sources.hexdigest()}  sources\n{image.hexdigest()}  kernels.fatbin\n":
        yield "kernels.sha256 has other digests; `cargo xtask kernels` makes image and digests"


def main():
    failed = False
    for gate in [offline, weight, publishable, contained, short, fresh]:
        print(f"{gate.__name__}: {gate.__doc__}")
        for complaint in gate():
            print(f"  FAILED: {complaint}")
            failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
