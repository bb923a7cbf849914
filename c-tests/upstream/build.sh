#!/usr/bin/env bash
# Builds the other of the two worlds (docs/CONTRACT.md, fact 1): libssl as upstream links it, shared
# and with -Bsymbolic (Debian takes that flag out), from the source in the crate openssl-src, into a
# cache folder outside the tree. Prints two lines, OPENSSL_LIBDIR=... and OPENSSL_INCDIR=..., on
# stdout; everything else goes to stderr. Quick when already built.
#
# The cache folder is $SESSCACHE_CACHE, else $XDG_CACHE_HOME/sesscache, else ~/.cache/sesscache.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly jobs=2

# Protocols and ciphers as upstream's defaults have them. no-legacy: the crate leaves out the symbol
# list of that provider, and no test needs it.
readonly options=(shared no-tests no-apps no-docs no-legacy --libdir=lib)
# Counted up when the way of building changes, so that an old result is not taken for the new one.
readonly recipe=1

say() { printf 'upstream libssl: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

# Flags of an outer make or of a sanitizer build are not meant for OpenSSL.
unset MAKEFLAGS MFLAGS MAKELEVEL CFLAGS CPPFLAGS LDFLAGS LD_PRELOAD LD_LIBRARY_PATH

require_tools() {
    local tool missing=()
    for tool in cargo perl make "${CC:-cc}" readelf flock sha256sum; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    if ((${#missing[@]})); then
        die "missing: ${missing[*]} (Debian: apt-get install perl make gcc binutils; cargo: rustup.rs)"
    fi
    # Debian's perl-base brings a perl that lacks the modules OpenSSL's Configure loads.
    perl -MFindBin -MIPC::Cmd -MTime::Piece -MPod::Usage -e 1 2>/dev/null ||
        die "perl is here without its standard modules (Debian: apt-get install perl)"
}

# The folder of the crate that Cargo.lock pins; cargo downloads it if it has to.
crate_dir() {
    local manifest
    manifest=$(cargo metadata --quiet --locked --format-version 1 \
        --manifest-path "$here/Cargo.toml" |
        grep -o '"manifest_path":"[^"]*/openssl-src-[^"]*/Cargo.toml"' | cut -d'"' -f4) ||
        die "cargo could not find the crate openssl-src (no network, and not downloaded before?)"
    dirname "$manifest"
}

source_version() {
    sed -n 's/^MAJOR=//p; s/^MINOR=//p; s/^PATCH=//p' "$source/VERSION.dat" | paste -sd.
}

cache_root() {
    printf '%s\n' "${SESSCACHE_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/sesscache}"
}

# Writes the linker's version script for one symbol list of OpenSSL's (util/lib*.num): a node for
# each release that added symbols. Upstream's util/mkdef.pl does this, but the crate leaves it out,
# and without the script no program built for OPENSSL_3.0.0 would find its symbols. Names of other
# platforms stay in: the linker passes over what is not defined.
version_script() {
    awk '$4 ~ /^EXIST:/ { gsub("_", ".", $3); print $3, $1 }' "$1" | LC_ALL=C sort -k1,1V -k2,2 |
        awk '
            $1 != release {
                if (release) { print "}" base ";"; base = " OPENSSL_" release }
                release = $1
                print "OPENSSL_" release " {\n    global:"
            }
            { print "        " $2 ";" }
            END { print "    local: *;\n}" base ";" }'
}

# Runs one step of the build into the log; a failure shows the end of the log and where it is.
step() {
    printf '\n== %s\n' "$*" >>"$log"
    "$@" >>"$log" 2>&1 && return
    tail -n 15 "$log" | cut -c1-160 >&2
    die "failed: $*; the whole log is $log"
}

# "-o" keeps make from rebuilding the version scripts by the mkdef.pl that is not there.
build() {
    mkdir -p "$dir/build" "$dir/lib" "$dir/include/openssl"
    cd "$dir/build"
    step perl "$source/Configure" "--prefix=$dir" "--openssldir=$dir/ssl" "${options[@]}" \
        '-Wl,-rpath,\$$ORIGIN'
    step make -j"$jobs" build_generated
    version_script "$source/util/libcrypto.num" >libcrypto.ld
    version_script "$source/util/libssl.num" >libssl.ld
    step make -j"$jobs" -o libcrypto.ld -o libssl.ld libcrypto.so libssl.so
    step cp -P libcrypto.so libcrypto.so.3 libssl.so libssl.so.3 "$dir/lib/"
    step cp "$source"/include/openssl/*.h include/openssl/*.h "$dir/include/openssl/"
}

# The result must be what this test world is for, else the tests would pass for the wrong reason.
check() {
    local dynamic symbols
    dynamic=$(readelf -dW "$dir/lib/libssl.so.3")
    symbols=$(readelf --dyn-syms -W "$dir/lib/libssl.so.3")
    [[ $dynamic == *SYMBOLIC* ]] || die "libssl.so.3 is not linked with -Bsymbolic; log: $log"
    [[ $dynamic == *'[$ORIGIN]'* ]] || die "libssl.so.3 would not find its libcrypto; log: $log"
    [[ $symbols == *SSL_CTX_new@@OPENSSL_3.0.0* ]] || die "symbols have no version; log: $log"
}

require_tools
crate=$(crate_dir)
readonly crate source=$crate/openssl
version=$(source_version)
recipe_hash=$(printf '%s\n' "${crate##*/}" "$recipe" "${CC:-cc}" "${options[@]}" | sha256sum | cut -c1-12)
root=$(cache_root)
mkdir -p "$root"
root=$(cd "$root" && pwd)
readonly dir=$root/openssl-$version-$recipe_hash log=$root/openssl-$version-$recipe_hash.log
readonly stamp=$dir/built

exec 9>"$dir.lock"
flock 9 # a second caller waits here, then finds the stamp

if [[ ! -e $stamp ]]; then
    say "building OpenSSL $version into $dir (about a minute and a half on two cores)"
    rm -rf "$dir"
    : >"$log"
    build
    check
    rm -rf "$dir/build"
    touch "$stamp"
    say "built in $SECONDS s"
else
    say "OpenSSL $version is built already"
fi

printf 'OPENSSL_LIBDIR=%s\nOPENSSL_INCDIR=%s\n' "$dir/lib" "$dir/include"
