#!/bin/sh
# Builds the bare Linux programs that run as agent on a host, and packs them where a build with the tag embed_agents finds
# them: pkg/transfer/agentbin/agents. Usage: packaging/agents.sh VERSION COMMIT
set -eu

version=${1:-} commit=${2:-}
limit=20000000 # bytes; an agent travels to the host, so it must stay small

cd "$(dirname "$0")/.."
out=pkg/transfer/agentbin/agents
mkdir -p "$out"
rm -f "$out"/*.gz "$out"/*.sha256

for arch in amd64 arm64; do
	bare=$out/clara-push-linux-$arch
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch GOFLAGS= go build -buildvcs=false -trimpath \
		-ldflags "-s -w -X main.version=$version -X main.commit=$commit" -o "$bare" ./cmd/clara-push
	size=$(wc -c <"$bare")
	sha256sum <"$bare" | cut -d ' ' -f 1 >"$bare.sha256"
	gzip -n -9 -f "$bare"
	echo "agent linux/$arch: $size bytes, $(wc -c <"$bare.gz") packed"
	if [ "$size" -ge "$limit" ]; then
		echo "agent linux/$arch has $size bytes, $limit is the limit" >&2
		exit 1
	fi
done
