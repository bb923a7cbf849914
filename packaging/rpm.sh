#!/usr/bin/env bash
# Makes RPM packages of what `make` has built: libsesscache0, libsesscache-devel, sesscache, sesscache-debuginfo.
#
#   packaging/rpm.sh FOLDER     where they go
#
# rpmbuild takes what `make install` installs, as packaging/sesscache.spec says.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:?packaging/rpm.sh FOLDER}")
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

packaging/notices.sh
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$out"
rm -f "$out"/*.rpm
rpmbuild -bb --define "tree $PWD" --define "own_version $version" --define "_topdir $stage" \
    --define "_rpmdir $out" --define '_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' \
    packaging/sesscache.spec >"$out/log" 2>&1 || { tail -n 30 "$out/log" >&2; exit 1; }
ls "$out"/*.rpm
