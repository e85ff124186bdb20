#!/bin/sh
# Writes the manual pages and the shell completions that archives and packages carry, into packaging/out.
# Usage: packaging/docs.sh VERSION
set -eu

cd "$(dirname "$0")/.."
out=packaging/out
rm -rf "$out"
mkdir -p "$out/man" "$out/completions"

bin=$out/clara-push
CGO_ENABLED=0 go build -buildvcs=false -tags manual -ldflags "-X main.version=${1:-}" -o "$bin" ./cmd/clara-push
"$bin" man "$out/man"
gzip -n -9 "$out"/man/*.1
"$bin" completion bash >"$out/completions/clara-push.bash"
"$bin" completion zsh >"$out/completions/_clara-push"
"$bin" completion fish >"$out/completions/clara-push.fish"
"$bin" completion powershell >"$out/completions/clara-push.ps1"
rm "$bin"
