#!/usr/bin/env bash
# Makes Debian packages of what `make` has built: libsesscache0, libsesscache-dev and sesscache.
#
#   packaging/deb.sh FOLDER     where they go
#
# debhelper splits what `make install` installs, as packaging/debian says, strips it and puts the debug
# information into packages of its own (-dbgsym). Version and changelog are those of Cargo.toml and
# CHANGELOG.md. The copyright has the licences of all crates, which notices.sh collects.
set -euo pipefail
cd "$(dirname "$0")/.."
tree=$PWD out=${1:?packaging/deb.sh FOLDER}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

changelog() {
    printf 'sesscache (%s-1) unstable; urgency=medium\n\n' "$version"
    printf '  * Changes: /usr/share/doc/sesscache/changelog.gz.\n'
    printf '\n -- %s  %s\n' "$(sed -n 's/^Maintainer: //p' packaging/debian/control)" \
        "$(git log -1 --format=%cd --date=rfc2822 2>/dev/null || date -R)"
}

# The notices of all crates. Debian has the text of Apache's licence.
notices() {
    packaging/notices.sh
    awk '$1 == "@text" && $2 == "Apache-2.0" { print "See /usr/share/common-licenses/Apache-2.0."; skip = 1 }
        $1 == "@end" { skip = 0 }
        $1 !~ /^@(text|end)$/ && !skip' target/notices.txt
}

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir "$stage/sesscache"
cp -r packaging/debian "$stage/sesscache/debian"
changelog >"$stage/sesscache/debian/changelog"
cp CHANGELOG.md README.md "$stage/sesscache/"
{
    cat packaging/debian/copyright.head
    notices | sed 's/^$/./; s/^/ /'
} >"$stage/sesscache/debian/copyright"
rm "$stage/sesscache/debian/copyright.head"

mkdir -p "$out"
rm -f "$out"/*.deb
(cd "$stage/sesscache" && TREE=$tree dpkg-buildpackage --build=binary --no-sign --no-check-builddeps) >"$out/log" 2>&1 ||
    { tail -n 30 "$out/log" >&2; exit 1; }
mv "$stage"/*.deb "$out/"
ls "$out"/*.deb
