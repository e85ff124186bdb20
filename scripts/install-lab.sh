#!/usr/bin/env bash
# Installs what the lab (integration/lab) needs: an SSH server, Docker 20.10 of the distribution, podman, a registry, and,
# built once into a cache folder, the modern engine and its runc.
#
# It starts no service and enables none, replaces nothing that is there, and is quick when everything is. Packages need
# Debian or Ubuntu and root; without them it says what is missing. It fails only when nothing useful could run.
#
#   CLARA_PUSH_LAB_CACHE   where the modern engine goes; default $XDG_CACHE_HOME/clara-push-lab or ~/.cache/clara-push-lab
set -euo pipefail

moby=v2.0.0-beta.24
runc=v1.5.2
cache=${CLARA_PUSH_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/clara-push-lab}
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin"

say() { echo "install-lab: $*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

# Program and the package that brings it. A program that is there, from wherever, is used as it is.
programs=(
  sshd:openssh-server ssh:openssh-client dockerd:docker.io containerd:containerd runc:runc podman:podman
  docker-registry:docker-registry ip:iproute2 zstd:zstd rsync:rsync unshare:util-linux mkfs.ext4:e2fsprogs
)

# What building the modern engine takes besides.
build_programs=(gcc:gcc pkg-config:pkg-config)

modern_ready() {
  [ -x "$cache/bin/dockerd" ] && [ -x "$cache/bin/runc" ] && [ "$(cat "$cache/bin/versions" 2>/dev/null)" = "$moby $runc" ]
}

missing_packages() {
  local p
  for p in "${programs[@]}"; do have "${p%%:*}" || echo "${p#*:}"; done
  modern_ready && return
  for p in "${build_programs[@]}"; do have "${p%%:*}" || echo "${p#*:}"; done
  [ -e /usr/include/seccomp.h ] || echo libseccomp-dev
  # gcc without a C library's headers builds nothing.
  [ -e /usr/include/stdlib.h ] || echo libc6-dev
}

# While packages are installed no service may start: sshd would take port 22, docker its default socket. The file that
# says so is put aside afterwards exactly as it was.
policy=/usr/sbin/policy-rc.d
saved=
refuse_services() {
  saved=$(mktemp -d)
  if [ -e $policy ] || [ -L $policy ]; then cp -a $policy "$saved/policy-rc.d"; fi
  trap restore_services EXIT
  rm -f $policy
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod 755 $policy
}
restore_services() {
  rm -f $policy
  if [ -e "$saved/policy-rc.d" ] || [ -L "$saved/policy-rc.d" ]; then cp -a "$saved/policy-rc.d" $policy; fi
  rm -rf "$saved"
  trap - EXIT
}

# Packages enable their services; the ones we bring must not start at the next boot either.
disable_services() {
  local p name disabled=()
  for p in "$@"; do
    for name in $(dpkg -L "$p" 2>/dev/null | sed -nE 's#.*/systemd/system/([^/]*\.(service|socket|timer))$#\1#p' | sort -u); do
      [[ $name == *@* ]] && continue # a template runs only when somebody names an instance
      DPKG_MAINTSCRIPT_PACKAGE=$p deb-systemd-helper disable "$name" >/dev/null 2>&1 && disabled+=("$name")
    done
    for name in $(dpkg -L "$p" 2>/dev/null | sed -n 's|^/etc/init.d/\([^/]*\)$|\1|p'); do
      update-rc.d "$name" disable >/dev/null 2>&1 || true
    done
  done
  [ ${#disabled[@]} = 0 ] || say "installed and left disabled: ${disabled[*]}"
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  local before after plan
  say "installing $*"
  apt-get update -qq || say "apt-get update failed; trying with the lists that are there"
  plan=$(apt-get install -s --no-install-recommends "$@")
  if grep -q '^Remv ' <<<"$plan"; then
    say "this would remove packages, so nothing is installed:"
    grep '^Remv ' <<<"$plan" >&2
    return 1
  fi
  before=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | sed -n 's/^ii //p' | sort)
  refuse_services
  apt-get install -qq -y --no-install-recommends -o Dpkg::Options::=--force-confold "$@" >/dev/null
  restore_services
  after=$(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | sed -n 's/^ii //p' | sort)
  # shellcheck disable=SC2046  # one word for each package is meant
  disable_services $(comm -13 <(echo "$before") <(echo "$after"))
}

build_modern() {
  local new
  new=$(mktemp -d)
  say "building dockerd $moby and runc $runc into $cache/bin: some minutes, once"
  # A folder of its own, so that the project's go.mod does not take part.
  (
    cd "$new"
    GOBIN=$new GOFLAGS= CGO_ENABLED=1 go install "github.com/moby/moby/v2/cmd/dockerd@$moby"
    GOBIN=$new GOFLAGS= CGO_ENABLED=1 go install -tags seccomp "github.com/opencontainers/runc@$runc"
  ) || { rm -rf "$new"; return 1; }
  mkdir -p "$cache/bin"
  # Beside, then renamed: another lab may be running the old one.
  for f in dockerd runc; do
    mv "$new/$f" "$cache/bin/.$f.new" && mv "$cache/bin/.$f.new" "$cache/bin/$f"
  done
  echo "$moby $runc" >"$cache/bin/versions"
  rm -rf "$new"
}

main() {
  if [ "$(uname -s)" != Linux ]; then
    say "the lab runs on Linux only"
    exit 1
  fi
  local missing
  mapfile -t missing < <(missing_packages | sort -u)
  if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" != 0 ]; then
      say "not root; missing: ${missing[*]}"
      say "get them with: sudo apt-get install --no-install-recommends ${missing[*]}"
    elif ! have apt-get; then
      say "no apt-get here; install what these Debian packages hold: ${missing[*]}"
    else
      install_packages "${missing[@]}" || say "some packages are missing; the tests that need them are skipped"
    fi
  fi
  # Newer distributions have the docker command in a package of its own.
  if ! have docker && [ "$(id -u)" = 0 ] && have apt-get; then
    install_packages docker-cli || say "the docker command is missing"
  fi
  if ! have go; then
    say "go is missing: get Go 1.26 or newer from https://go.dev/dl/ and unpack it to /usr/local"
    exit 1
  fi
  if ! modern_ready; then
    build_modern || say "the modern engine was not built; the tests that need it are skipped"
  fi
  if ! have sshd; then
    say "no sshd: nothing useful can run"
    exit 1
  fi
  [ "$(id -u)" = 0 ] || say "not root: engines and namespaces cannot run, their tests are skipped"
}

main
