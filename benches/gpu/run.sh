#!/usr/bin/env bash
# Everything a machine with a GPU is asked, within nine minutes: `bash benches/gpu/run.sh target/gpu OUT`. What build.sh made
# is in the first folder; OUT gets a JSON object a line (gpu.jsonl), what went wrong (gpu.log) and a table (gpu.md).
# Each stage is a process of its own with a limit of time, in order of worth; none stops the next.
set -uo pipefail
programs=$(realpath "$1")
out=$2
mkdir -p "$out"
log=$out/gpu.log lines=$out/gpu.jsonl
: >"$log" >"$lines"
deadline=$((SECONDS + 520))

# stage SECONDS NAME COMMAND..: the JSON it prints, or an object that says how it failed.
stage() {
    local limit=$1 name=$2 status
    shift 2
    if ((SECONDS + limit > deadline)); then limit=$((deadline - SECONDS)); fi
    if ((limit < 5)); then
        echo "{\"stage\":\"$name\",\"skipped\":true}" >>"$lines"
        return
    fi
    echo "== $name: $*" >>"$log"
    timeout "$limit" "$@" >>"$lines" 2>>"$log"
    status=$?
    if ((status != 0)); then echo "{\"stage\":\"$name\",\"failed\":$status}" >>"$lines"; fi
}

# speed FILE ARGUMENT..: what `plimsoll bench` measures.
speed() {
    local file=$1
    shift
    stage 120 "bench ${file##*/} $*" "$programs/plimsoll" bench --unlocked "$file" --device cuda:0 --no-bandwidth --json "$@"
}

gpu=$programs/plimsoll-gpu
stage 60 probe "$gpu" probe
stage 60 copy "$gpu" copy
stage 60 launch "$gpu" launch
while read -r case; do stage 30 "suite $case" "$gpu" suite "$case"; done < <("$gpu" cases)
for case in F32 F16 BF16 Q8_0 Q4_0 MXFP4 Q4_K Q5_K Q6_K window sandwich "head norm"; do
    stage 30 "bits $case" "$gpu" bits "$case"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
synth() { timeout 90 "$programs/xtask" synth "$1" "$2" -o "$work/$1-$2.gguf" >>"$log" 2>&1; }
synth llama-1b q4_k_m
speed "$work/llama-1b-q4_k_m.gguf" -p 128 -n 64 --reps 3
synth llama-8b q4_k_m
speed "$work/llama-8b-q4_k_m.gguf" -p 0 -n 32 -d 0 --reps 3
rm -f "$work"/llama-8b*
synth llama-1b q8_0
speed "$work/llama-1b-q8_0.gguf" -p 0 -n 64 --reps 3

python3 - "$lines" "$out/gpu.md" <<'PYTHON'
import json, sys

rows = []
for line in open(sys.argv[1]):
    try:
        rows.append(json.loads(line))
    except ValueError:
        rows.append({"stage": "output", "failed": line.strip()})
with open(sys.argv[2], "w") as out:
    out.write("| stage | result |\n|---|---|\n")
    for row in rows:
        name = row.pop("stage", row.pop("event", "?"))
        out.write(f"| {name} | {', '.join(f'{key} {value}' for key, value in row.items())} |\n")
PYTHON
cat "$out/gpu.md"
