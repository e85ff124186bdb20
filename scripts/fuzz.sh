#!/usr/bin/env bash
# Runs every fuzz target there is, one after the other, each for FUZZTIME (default 1m). It finds them by itself and stops at
# the first that fails; go test then says where the input lies that did it.
#
#   FUZZTIME=10s scripts/fuzz.sh ./pkg/bundle
set -euo pipefail

go=${GO:-go}
[ $# -gt 0 ] || set -- ./...
list=$(mktemp)
trap 'rm -f "$list"' EXIT

# go test -list names the tests of a package and then, behind "ok", the package.
$go test -list '^Fuzz' "$@" | awk '/^Fuzz/ { names[n++] = $1 } /^ok/ { for (i = 0; i < n; i++) print $2, names[i]; n = 0 }' >"$list"

[ -s "$list" ] || { echo "there is no fuzz target in $*" >&2; exit 1; }
while read -r package name; do
	echo "$package $name"
	# What is new is made smaller only a little: by default that may take a whole minute, and finds nothing.
	$go test -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-1m}" -fuzzminimizetime 100x "$package" </dev/null
done <"$list"
