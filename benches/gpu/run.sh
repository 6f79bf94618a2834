#!/usr/bin/env bash
# Everything a machine with a GPU is asked, within nine minutes: `bash benches/gpu/run.sh target/gpu OUT [OPTION..]`. What
# build.sh made is in the first folder; OUT gets an array of objects (gpu.json, and line by line gpu.jsonl), what went wrong
# (gpu.log) and a table (gpu.md). The options are plimsoll-gpu's: `--kernels FILE` takes kernels compiled there.
# Each stage is a process of its own with a limit of time, in order of worth; none stops the next.
set -uo pipefail
programs=$(realpath "$1")
mkdir -p "$2"
out=$(realpath "$2")
shift 2
gpu=("$programs/plimsoll-gpu" "$@")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
log=$out/gpu.log lines=$out/gpu.jsonl
: >"$log" >"$lines"
# Weights lie in memory where there is room for those of 8B in bf16 beside others.
if (($(df --output=avail /dev/shm | tail -1) > 48 << 20)); then export TMPDIR=/dev/shm; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
deadline=$((SECONDS + 520))

# cublasLt, where a program does not look for it by itself: beside torch, or in a toolkit.
blas=$(python3 - 2>>"$log" <<'END'
import glob, site
places = [f"{folder}/nvidia/**" for folder in [*site.getsitepackages(), site.getusersitepackages()]] + ["/usr/local/cuda*/**"]
print(*[file for place in places for file in glob.glob(f"{place}/libcublasLt.so.13", recursive=True)][:1])
END
)
if [ -n "$blas" ]; then export LD_LIBRARY_PATH=$(dirname "$blas")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}; fi

# limit SECONDS: those, or as many as are left.
limit() { echo $((SECONDS + $1 > deadline ? deadline - SECONDS : $1)); }

# stage SECONDS NAME COMMAND..: the JSON it prints, or an object that says how it failed.
stage() {
    local seconds name=$2 status
    seconds=$(limit "$1")
    shift 2
    if ((seconds < 5)); then
        echo "{\"stage\":\"$name\",\"skipped\":true}" >>"$lines"
        return
    fi
    echo "== $name: $*" >>"$log"
    timeout --kill-after=5 "$seconds" "$@" >>"$lines" 2>>"$log"
    status=$?
    if ((status != 0)); then echo "{\"stage\":\"$name\",\"failed\":$status}" >>"$lines"; fi
    return "$status"
}

# sanitize SECONDS TOOL STAGE..: a stage under compute-sanitizer, where there is one.
sanitize() {
    local seconds=$1 tool=$2
    shift 2
    if ! command -v compute-sanitizer >>"$log"; then return; fi
    if stage "$seconds" "$tool $*" compute-sanitizer --tool "$tool" --error-exitcode 9 --log-file "$work/found" "${gpu[@]}" "$@"; then
        echo "{\"stage\":\"$tool\",\"of\":\"$*\",\"ok\":true}" >>"$lines"
    fi
    cat "$work/found" >>"$log" 2>&1
}

# answer MODEL QUESTION RIGHT: whether a demo model says it.
answer() {
    local found
    if (($(limit 30) < 5)); then
        echo "{\"stage\":\"answer\",\"skipped\":true}" >>"$lines"
        return
    fi
    found=$(timeout "$(limit 30)" "$programs/plimsoll" run --device cuda:0 --model "$1" --temperature 0 "$2" 2>>"$log")
    if [ "$found" = "$3" ]; then echo "{\"stage\":\"answer\",\"model\":\"$1\",\"ok\":true}"; else
        echo "{\"stage\":\"answer\",\"model\":\"$1\",\"failed\":\"$(tr -d '\n"\\' <<<"$found")\"}"
    fi >>"$lines"
}

# model SHAPE TYPE: a file of random weights, made when it is first asked for.
model() {
    local file=$work/$1-$2.gguf
    if [ ! -e "$file" ] && (($(limit 60) >= 5)); then
        timeout "$(limit 60)" "$programs/xtask" synth "$1" "$2" -o "$file" >>"$log" 2>&1 || rm -f "$file"
    fi
    echo "$file"
}

speed() {
    local file
    file=$(model "$1" "$2")
    shift 2
    stage 60 "speed ${file##*/} $*" "${gpu[@]}" speed "$file" "$@"
}

stage 30 probe "${gpu[@]}" probe
stage 30 copy "${gpu[@]}" copy
stage 30 launch "${gpu[@]}" launch
if command -v nvcc >>"$log" && nvcc -std=c++17 -arch=native -o "$work/instructions" benches/gpu/instructions.cu 2>>"$log"; then
    for name in $("$work/instructions"); do stage 10 "instruction $name" "$work/instructions" "$name"; done
else
    echo '{"stage":"instruction","failed":"no nvcc that compiles"}' >>"$lines"
fi

while read -r case; do
    stage 30 "suite $case" "${gpu[@]}" suite "$case" || sanitize 40 memcheck suite "$case"
done < <("$programs/plimsoll-gpu" cases)
# The simulated GPU takes its time, on one core.
for case in F32 F16 BF16 Q8_0 Q4_0 MXFP4 Q4_K Q5_K Q6_K window sandwich "head norm"; do
    stage 60 "bits $case" "${gpu[@]}" bits "$case" &
done
wait
for folder in goldens/*/; do stage 30 "golden $folder" "${gpu[@]}" golden "$folder"; done
for name in llama qwen mistral glm; do answer "$name" "What is 12 + 7?" 19; done

speed llama-8b q4_k_m decode 64 1024 1
speed llama-8b q8_0 decode 64 1024 1
rm -f "$work"/*q8_0.gguf
speed llama-8b bf16 decode 64 1024 1
speed llama-8b bf16 prefill 2048
rm -f "$work"/*bf16.gguf
speed llama-1b q4_k_m decode 128 1024 1
speed llama-8b q4_k_m prefill 2048
speed llama-8b q4_k_m fast prefill 2048
speed llama-8b q4_k_m decode 32 1024 64
speed llama-8b q4_k_m q8 decode 32 1024 64
rm -f "$work"/*.gguf
for mode in prefill eager graph compile; do stage 90 "torch $mode" python3 benches/gpu/torch_peer.py "$mode"; done
sanitize 60 racecheck suite plain
sanitize 60 racecheck suite Q4_K

python3 benches/gpu/table.py "$lines" "$out/gpu.json" "$out/gpu.md"
cat "$out/gpu.md"
