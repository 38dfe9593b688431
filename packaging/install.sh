#!/bin/sh
# Installs workqueue (new_task, worker and broker) from a release:
#
#   sh install.sh [--url URL] [--version VERSION] [--prefix FOLDER]
#
# It takes the archive for this machine from URL, checks its SHA-256 sum, and puts the binary and its
# links into FOLDER/bin: of the whole system for root (/usr/local), else of this user (~/.local).
# Nothing is changed before everything is there and checked; what was installed before stays until
# then. It needs curl or wget, tar, gzip, and sha256sum or shasum.
set -eu
# What is installed is for everybody who can reach its folder.
umask 022

url='@URL@'
version='@VERSION@'
prefix=

fail() {
  echo "install.sh: $*" >&2
  exit 1
}

while [ $# -gt 0 ]; do
  case $1 in
  --url | --version | --prefix)
    [ $# -ge 2 ] || fail "$1 needs a value"
    case $1 in
    --url) url=$2 ;;
    --version) version=$2 ;;
    --prefix) prefix=$2 ;;
    esac
    shift 2
    ;;
  -h | --help)
    echo "Usage: sh install.sh [--url URL] [--version VERSION] [--prefix FOLDER]"
    exit 0
    ;;
  *) fail "the argument \"$1\" is not known; --help lists those that are" ;;
  esac
done

work=
staged=
clean_up() {
  [ -z "$work" ] || rm -rf "$work"
  [ -z "$staged" ] || rm -rf "$staged"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Nothing is run before all of the script is here.
main() {
  case $url in *://*) ;; *) fail "--url must say where the release is" ;; esac
  if [ -z "$prefix" ]; then
    if [ "$(id -u)" = 0 ]; then
      prefix=/usr/local
    else
      [ -n "${HOME:-}" ] || fail "HOME must be set, or --prefix given"
      prefix=$HOME/.local
    fi
  fi
  target=$(find_target)
  name=workqueue-$version-$target
  work=$(mktemp -d) || fail "there is no place for temporary files"
  fetch SHA256SUMS
  fetch "$name.tar.gz"
  check "$name.tar.gz"
  install_into "$prefix/bin" "$work/$name.tar.gz" "$name/workqueue"
  echo "installed in $prefix/bin: workqueue, new_task, worker, broker ($version)"
  case :$PATH: in *:"$prefix/bin":*) ;; *) echo "$prefix/bin is not on PATH" ;; esac
}

find_target() {
  case $(uname -s) in
  Linux) system=unknown-linux-gnu ;;
  Darwin) system=apple-darwin ;;
  *) fail "there is no archive for $(uname -s)" ;;
  esac
  case $(uname -m) in
  x86_64 | amd64) echo "x86_64-$system" ;;
  aarch64 | arm64) echo "aarch64-$system" ;;
  *) fail "there is no archive for $(uname -m)" ;;
  esac
}

fetch() {
  if command -v curl >/dev/null 2>&1; then
    curl --fail --silent --show-error --location --output "$work/$1" "$url/$1"
  elif command -v wget >/dev/null 2>&1; then
    wget -q -O "$work/$1" "$url/$1"
  else
    fail "curl or wget must be installed"
  fi || fail "cannot download $url/$1; nothing was installed"
}

check() {
  wanted=$(awk -v name="$1" '$2 == name || $2 == "*" name { print $1 }' "$work/SHA256SUMS")
  [ -n "$wanted" ] || fail "SHA256SUMS does not name $1; nothing was installed"
  if command -v sha256sum >/dev/null 2>&1; then
    found=$(sha256sum "$work/$1")
  elif command -v shasum >/dev/null 2>&1; then
    found=$(shasum -a 256 "$work/$1")
  else
    fail "sha256sum or shasum must be installed; nothing was installed"
  fi
  [ "${found%% *}" = "$wanted" ] ||
    fail "the SHA-256 sum of $1 must be $wanted, and is ${found%% *}; nothing was installed"
}

# The binary, $3 of the archive $2, is written beside its place and renamed into it: it is there
# whole, or as it was.
install_into() {
  mkdir -p "$1" || fail "cannot create $1; nothing was installed"
  staged=$(mktemp -d "$1/.workqueue.XXXXXX") || fail "cannot write to $1; nothing was installed"
  gzip -dc "$2" | tar -xOf - "$3" >"$staged/workqueue" ||
    fail "cannot write to $1; nothing was installed"
  chmod 755 "$staged/workqueue"
  # Here and not among the temporary files, of which a system may let nobody run any.
  "$staged/workqueue" --version >/dev/null 2>&1 ||
    fail "the binary for $target does not run on this machine, in $1; nothing was installed"
  [ ! -d "$1/workqueue" ] || fail "$1/workqueue is there and not ours; nothing was installed"
  for link in new_task worker broker; do
    if [ -e "$1/$link" ] && [ "$(readlink "$1/$link" || true)" != workqueue ]; then
      fail "$1/$link is there and not ours; nothing was installed"
    fi
    ln -s workqueue "$staged/$link" || fail "cannot write to $1; nothing was installed"
  done
  for file in workqueue new_task worker broker; do
    mv -f "$staged/$file" "$1/$file"
  done
}

main
