# shellcheck shell=bash
# What the scripts share: finding the project, installing what is missing, and timing named steps.
# Sourced by scripts/run, test, check, build-web and media; does nothing by itself.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export root
# shellcheck disable=SC2034 # used by the scripts that source this
cargo=${CARGO:-cargo}

say() { printf '%s\n' "$*"; }

fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# install_packages NAME...: apt packages that are not installed yet. One call costs nothing when all are there.
install_packages() {
  local missing=() name
  for name in "$@"; do
    dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "please install by your system's package manager: ${missing[*]}"
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
    fail "please run as root, or with sudo installed: apt-get install ${missing[*]}"
  say "installing: ${missing[*]}"
  # Lists may be absent (a fresh container) or stale (a 404 for a replaced version): both are mended by an update.
  local log
  log=$(mktemp)
  { apt_install "${missing[@]}" || { as_root apt-get update -qq && apt_install "${missing[@]}"; }; } >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "apt-get could not install: ${missing[*]}"
  }
  rm -f "$log"
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

# need COMMAND PACKAGE...: installs the packages unless the command is there, from wherever it came.
need() {
  local tool=$1
  shift
  command -v "$tool" >/dev/null || install_packages "$@"
}

# version_at_least HAVE WANT
version_at_least() {
  [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# A C compiler with make (for aws-lc and jemalloc) and a Rust new enough for Cargo.toml's rust-version.
# need_gstreamer: what the ladder is linked with, and the plugins that its workers decode and encode with.
need_gstreamer() {
  need pkg-config pkg-config
  pkg-config --exists gstreamer-app-1.0 gstreamer-video-1.0 gstreamer-audio-1.0 ||
    install_packages libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev
  # GStreamer installed some other way has its own idea of packages; x264enc and avdec_h264 show that the plugins are there.
  if command -v gst-inspect-1.0 >/dev/null && gst-inspect-1.0 --exists x264enc && gst-inspect-1.0 --exists avdec_h264; then
    return 0
  fi
  install_packages gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
    gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav
}

need_rust() {
  need cc build-essential
  need make build-essential
  need_gstreamer
  [ -n "${CARGO:-}" ] && return 0
  local want have
  want=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
  # rustup's own folder is not on PATH in the shell that installed it.
  command -v cargo >/dev/null || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
  have=$(cd "$root" && rustc --version 2>/dev/null | cut -d ' ' -f 2)
  if [ -n "$have" ] && version_at_least "$have" "$want"; then return 0; fi
  say "Rust $want or newer is needed; found: ${have:-none}"
  if command -v rustup >/dev/null; then
    { rustup update stable && rustup default stable; } || fail "rustup could not update: see https://rustup.rs"
  else
    need curl curl ca-certificates
    say "installing Rust for this user by rustup (https://rustup.rs)"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal --no-modify-path ||
      fail "Rust could not be installed: install Rust $want or newer from https://rustup.rs and run this again"
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  fi
  have=$(rustc --version | cut -d ' ' -f 2)
  version_at_least "$have" "$want" || fail "Rust $have is still older than $want: another rustc stands before rustup's on PATH"
}

# need_rust_component NAME COMMAND
need_rust_component() {
  command -v "$2" >/dev/null && return 0
  command -v rustup >/dev/null || fail "$2 is missing: install your distribution's package for it, or Rust by rustup"
  rustup component add "$1"
}

need_node() {
  local want=18
  need node nodejs
  need npm npm
  version_at_least "$(node --version | tr -d v)" "$want" ||
    fail "Node.js $want or newer is needed, found $(node --version): see https://nodejs.org"
}

# step NAME COMMAND...: runs it with its output shown, says how long it took, and remembers a failure in $failed.
failed=()
step() {
  local name=$1 began=$SECONDS
  shift
  say
  say "== $name"
  if "$@"; then
    say "== $name: ok, $((SECONDS - began)) s"
  else
    failed+=("$name")
    say "== $name: FAILED, $((SECONDS - began)) s"
  fi
}

# What is ours of cargo's packages, for its flags.
# shellcheck disable=SC2034 # read by who sources this
own_packages=(--package headwater --package headwater-scale)
