#!/usr/bin/env bash
# Runs every test. Installs what tests need beside a Rust toolchain from Debian's packages, where
# it may; where it may not, it says what is missing, and the tests that need it count as skipped.
# The last line is the count.
set -uo pipefail
cd "$(dirname "$0")/.."

has() { # a command, or one with arguments that must work
  case "$1" in *\ *) $1 >/dev/null 2>&1 ;; *) command -v "$1" >/dev/null 2>&1 ;; esac
}
need() { # command, Debian package, what for
  has "$1" && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    [ -n "${APT_UPDATED:-}" ] || { apt-get update -qq >/dev/null 2>&1; APT_UPDATED=1; }
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null 2>&1
  fi
  has "$1" || echo "missing: $1 (Debian package $2), needed for $3"
}
need cc gcc "building the bundled SQLite"
# Debian puts the programs of PostgreSQL outside the path, where the tests look for them.
has initdb || need "ls /usr/lib/postgresql/*/bin/initdb" postgresql "tests of the store that several nodes share"
need chromium chromium "tests of the console and of streams in a real browser"
need curl curl "the example in curl"
need node nodejs "clients from npm"
need npm npm "clients from npm"
need python3 python3 "clients from PyPI"
need "python3 -m ensurepip --version" python3-venv "clients from PyPI"

log=$(mktemp)
skipped=$(mktemp)
trap 'rm -f "$log" "$skipped"' EXIT

RIVULET_SKIPPED=$skipped cargo test --locked --lib --bins --tests "$@" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
RIVULET_SKIPPED=$skipped cargo test --locked --doc "$@" 2>&1 | tee -a "$log"
[ "${PIPESTATUS[0]}" = 0 ] || status=1

counted() { grep '^test result' "$log" | grep -oE "[0-9]+ $1" | awk '{n += $1} END {print n + 0}'; }
passed=$(counted passed)
failed=$(counted failed)
skips=$(sort -u "$skipped" | grep -c .)
ignored=$(counted ignored)
[ "$skips" = 0 ] || { echo "skipped:"; sort -u "$skipped" | sed 's/^/  /'; }
# A test that could not be compiled or started is a failure that no result line counts.
[ "$status" = 0 ] || [ "$failed" != 0 ] || failed=1
echo "$((passed - skips)) passed, $failed failed, $((skips + ignored)) skipped"
exit "$status"
