#!/usr/bin/env bash
# Builds what run.sh needs into target/gpu, for a machine without Rust: programs that need a glibc of 2.36 at most. With the
# tracked files they may take 64 MiB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=${CARGO_TARGET_DIR:-target}
cargo build --release --package plimsoll-gpu --package plimsoll-cli --package xtask --features plimsoll-cli/cuda
mkdir -p target/gpu
for name in plimsoll-gpu plimsoll xtask; do
    strip -o "target/gpu/$name" "$target/release/$name"
    newest=$(objdump -T "target/gpu/$name" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1)
    if [ "$(printf '%s\nGLIBC_2.36\n' "$newest" | sort -V | tail -1)" != GLIBC_2.36 ]; then
        echo "$name needs $newest, expected GLIBC_2.36 at most" >&2
        exit 1
    fi
done
size=$( (git ls-files -z | xargs -0 cat; cat target/gpu/*) | wc -c)
echo "$((size >> 20)) MiB with the tracked files"
if ((size > 64 << 20)); then
    echo "expected 64 MiB at most" >&2
    exit 1
fi
