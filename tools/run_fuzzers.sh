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
  # Seeds of a target lie in testdata/fuzz/NAME; a corpus grows in the build folder.
  seeds=()
  [[ ! -d $root/testdata/fuzz/${target%_fuzz} ]] || seeds=("$root/testdata/fuzz/${target%_fuzz}")
  program=$(find "$build" -type f -name "$target" -perm -u+x | head -n 1)
  echo "$target for $seconds s"
  "$program" -max_total_time="$seconds" -rss_limit_mb=4096 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$build/corpus/$target." "$corpus" "${seeds[@]}" || { echo "$target FAILED" >&2; status=1; }
done
exit $status
