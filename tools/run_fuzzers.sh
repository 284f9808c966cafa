#!/usr/bin/env bash
# Builds every fuzz target (*_fuzz.cc) and runs each for some seconds; what crashes one is kept beside its corpus.
set -euo pipefail

if (($# != 2)); then
  echo "usage: tools/run_fuzzers.sh BUILD SECONDS" >&2
  exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
build=$1 seconds=$2
mapfile -t targets < <(cd "$root/src" && find . -name '*_fuzz.cc' -exec basename {} .cc \; | sort)
if ((${#targets[@]} == 0)); then
  echo "run_fuzzers: there is no *_fuzz.cc under src" >&2
  exit 1
fi
cmake --build "$build" -j "$(nproc)" --target "${targets[@]}"

status=0
for target in "${targets[@]}"; do
  corpus=$build/corpus/$target
  mkdir -p "$corpus"
  # The seeds of gguf_fuzz lie in testdata/gguf_corpus; what it finds grows in the build folder.
  seeds=()
  [[ ! -d $root/testdata/${target%_fuzz}_corpus ]] || seeds=("$root/testdata/${target%_fuzz}_corpus")
  program=$(find "$build" -type f -name "$target" -perm -u+x | head -n 1)
  log=$build/corpus/$target.log
  echo "$target: $seconds s from ${#seeds[@]} seed folders"
  if "$program" -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=4096 -timeout=10 -print_final_stats=1 \
    -artifact_prefix="$build/corpus/$target." "$corpus" "${seeds[@]}" >"$log" 2>&1 </dev/null; then
    grep -E '^stat::(number_of_executed_units|average_exec_per_sec|new_units_added)' "$log"
  else
    tail -n 40 "$log"
    echo "$target FAILED; all of it is in $log" >&2
    status=1
  fi
done
exit $status
