#!/bin/sh
# Installs the distribution packages that building, testing and the demo need. What is there already is left alone, and
# with nothing missing no package manager is called, so that every make target can afford to ask.
set -eu

usage='usage: tools/setup.sh [--dev] [--list]
  installs what is missing of the Debian packages that kvpareto is built with (root or sudo needed only then)
  --dev    also what fuzzing and formatting need: clang, its sanitizer run-time, clang-format
  --list   print the packages, one a line, and install nothing'

packages='
  g++ cmake ninja-build pkg-config ccache
  python3 python3-pip ca-certificates xz-utils
  libdnnl-dev ocl-icd-opencl-dev libhwy-dev
  libsqlitecpp-dev libsqlite3-dev nlohmann-json3-dev libcli11-dev libfmt-dev libspdlog-dev
  libpcre2-dev libutf8proc-dev libxxhash-dev libtomlplusplus-dev
  libgtest-dev libgmock-dev librapidcheck-dev libbenchmark-dev
'
developer_packages='clang libclang-rt-14-dev clang-format'

fail() {
  echo "setup: $1" >&2
  exit 1
}

list=no
for argument in "$@"; do
  case $argument in
    --dev) packages="$packages $developer_packages" ;;
    --list) list=yes ;;
    -h | --help) echo "$usage"; exit 0 ;;
    *) echo "setup: unknown argument '$argument'; there are --dev, --list and --help" >&2; exit 2 ;;
  esac
done

if [ $list = yes ]; then
  # Unquoted: the words of the list, one a line.
  printf '%s\n' $packages
  exit 0
fi

command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
  fail "needs a Debian system with apt-get; elsewhere install these by hand:$(printf ' %s' $packages)"

installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' $packages 2>/dev/null | sed -n 's/^installed //p') || true
missing=
for package in $packages; do
  printf '%s\n' "$installed" | grep -qxF "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || fail "root or sudo is needed to install:$missing"
  # A password can be asked for only where somebody sits.
  if [ ! -t 0 ]; then
    sudo -n true 2>/dev/null || fail "sudo wants a password and nobody can type one; run tools/setup.sh by hand to install:$missing"
  fi
  as_root='sudo'
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "setup: installing$missing" >&2
# A foreign source list that is down must not stop the rest: only the installation decides.
$as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >"$log" 2>&1 </dev/null || true
# No recommended packages: python3-pip alone would bring a second compiler environment.
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >>"$log" 2>&1 </dev/null || {
  cat "$log" >&2
  reason=$(grep '^E: ' "$log" | tail -n 1)
  fail "apt-get could not install$missing: ${reason:-see above}"
}
echo "setup: done" >&2
