#!/usr/bin/env bash
# Runs the tests of a build and says what happened; the last line is "N passed, N failed, N skipped".
# Exit code 1 if a test failed or none ran, 2 for a wrong call.
set -euo pipefail

usage='usage: tools/run_tests.sh [-B BUILD] [LABEL]
  -B BUILD   the build folder (default: build)
  LABEL      only tests with this label: fast (seconds) or slow (a real model, or minutes); without it fast, then the rest
JUnit files are left in BUILD/test-results. Tests find models in $KVPARETO_MODELS (default ~/.cache/kvpareto/models) and
evaluation data in $KVPARETO_DATA; what they do not find they skip, and say so.'

root=$(cd "$(dirname "$0")/.." && pwd)
build=$root/build
while getopts 'B:h' option; do
  case $option in
    B) build=$OPTARG ;;
    h) echo "$usage"; exit 0 ;;
    *) echo "$usage" >&2; exit 2 ;;
  esac
done
shift $((OPTIND - 1))
if (($# > 1)); then
  echo "$usage" >&2
  exit 2
fi
label=${1:-}
if [[ ! -f $build/CTestTestfile.cmake ]]; then
  echo "run_tests: $build is no build with tests; 'make build' makes one" >&2
  exit 2
fi

# Evaluation sets that lie beside the checkout are unpacked once, and again when an archive changes.
archives=$root/../shared/data
if [[ -z ${KVPARETO_DATA:-} && -x $archives/unpack ]]; then
  data=${XDG_CACHE_HOME:-$HOME/.cache}/kvpareto/data
  contents=$(cd "$archives" && cksum -- *.tar.xz)
  if [[ ! -f $data/.contents || $(<"$data/.contents") != "$contents" ]]; then
    echo "unpacking evaluation data into $data" >&2
    rm -rf "$data" "$data.unfinished"
    "$archives/unpack" "$data.unfinished"
    echo "$contents" >"$data.unfinished/.contents"
    mv "$data.unfinished" "$data"
  fi
  export KVPARETO_DATA=$data
fi

build=$(cd "$build" && pwd)
results=$build/test-results
rm -rf "$results"
mkdir -p "$results"

# Two programs at a time, each with a thread a core: threads that wait must sleep, not spin.
export OMP_WAIT_POLICY=passive

# run NAME CTEST-ARGUMENT...: ctest's own verdict is dropped, since the summary below reads the result files and prints
# what failed.
run() {
  local name=$1
  shift
  ctest --test-dir "$build" --output-junit "$results/$name.xml" --no-tests=ignore --test-output-size-passed 100000 \
    --test-output-size-failed 1000000 "$@" </dev/null 2>&1 || true
  if [[ ! -s $results/$name.xml ]]; then
    echo "run_tests: ctest left no results of the $name tests" >&2
    exit 1
  fi
}

case $label in
  '')
    run fast -L '^fast$' --parallel 2
    run slow -LE '^fast$'
    ;;
  fast) run fast -L '^fast$' --parallel 2 ;;
  *) run "$label" -L "^$label\$" ;;
esac

exec python3 "$root/tools/test_summary.py" "$results"/*.xml
