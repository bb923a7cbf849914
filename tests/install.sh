#!/usr/bin/env bash
# The result of `make install` is complete, and enough for a C server: examples/server.c is
# built against the installed tree with what pkg-config says and nothing else, and resumes.
# shellcheck source=tests/shell.sh
. "$(dirname "$0")/shell.sh"
# As for a user: nothing of a make above us, and no wishes about places.
unset MAKEFLAGS MFLAGS MAKELEVEL PREFIX BINDIR LIBDIR INCLUDEDIR DESTDIR
unset LD_PRELOAD PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR "${!SESSCACHE_@}"

lib=$work/usr/lib
server=

clean_up() {
    if [[ -n $server ]]; then kill "$server" 2>/dev/null || true; fi
}

# before FIRST SECOND WORD...: both are among the words, and no SECOND is before the first FIRST
before() {
    local first=$1 second=$2 word
    shift 2
    for word; do
        if [[ $word == "$first" ]]; then break; fi
        [[ $word != "$second" ]] || break
    done
    [[ ${word:-} == "$first" && " $* " == *" $second "* ]] || {
        printf '%s does not come before %s in: %s\n' "$first" "$second" "$*"
        return 1
    }
}

dynamic() { readelf -d "$1" | sed -nE "s/.*\($2\).*\[(.*)\]/\1/p"; }

comes_before_libssl() {
    local needed
    needed=$(dynamic "$1" NEEDED)
    # shellcheck disable=SC2086 # words are wanted
    before libsesscache.so.0 "$(grep '^libssl\.so\.' <<<"$needed")" $needed
}

# pkg-config as for a cross build: the prefix is /usr, below the folder we installed to
pkg() { PKG_CONFIG_PATH=$lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$work pkg-config "$@"; }

check_files() {
    local full=libsesscache.so.$version
    check 'the library is a plain file' test -f "$lib/$full" -a ! -L "$lib/$full"
    check 'all may read the library' same 'r--r--r--' "$(modes "$lib/$full")"
    check 'the command runs' "$work/usr/bin/sesscache" --version
    check 'the library is stripped' is_stripped "$lib/$full"
    check 'the command is stripped' is_stripped "$work/usr/bin/sesscache"
    check 'its units' same \
        'sesscache-agent.service sesscache-agent@.service sesscache-ratchet@.service sesscache-ratchet@.timer' \
        "$(cd "$work/usr/lib/systemd/system" && echo *)"
    check 'its units start what was installed' same '' "$(grep -h ^ExecStart= "$work"/usr/lib/systemd/system/* |
        grep -v '^ExecStart=/usr/bin/sesscache ')"
    if systemd-analyze --help 2>&1 | grep -q -- --offline; then
        check 'its units are at most 2.0 by systemd-analyze security' are_locked_down
    fi
    check 'each command has a manual page' same '' "$(commands_without_page)"
    check 'all may read the header' same 'r--r--r--' "$(modes "$work/usr/include/sesscache.h")"
    check 'each function of the header has one' same '' "$(functions_without_page)"
    check 'soname' same libsesscache.so.0 "$(dynamic "$lib/$full" SONAME)"
    check 'link for the loader' same "$full" "$(readlink "$lib/libsesscache.so.0")"
    check 'link for the linker' same libsesscache.so.0 "$(readlink "$lib/libsesscache.so")"
    check 'the header is the committed one' cmp "$root/include/sesscache.h" \
        "$work/usr/include/sesscache.h"
}

are_locked_down() {
    local unit
    for unit in "$work"/usr/lib/systemd/system/*.service; do
        systemd-analyze security --offline=yes --threshold=20 "$unit" >"$work/security" 2>&1 ||
            { grep . "$work/security" | tail -1 >&2; return 1; }
    done
}

commands_without_page() {
    local name
    for name in '' $("$work/usr/bin/sesscache" --help | sed -nE '/^Commands:/,/^$/s/^  ([a-z]+) .*/\1/p' | grep -vx help); do
        grep -qs '^.SH NAME' "$work/usr/share/man/man1/sesscache${name:+-$name}.1" || echo "sesscache $name"
    done
}

functions_without_page() {
    local name
    for name in $(grep -oE '\b(sesscache|SSL_CTX_sess)_[a-z_]+\(' "$root/include/sesscache.h" | tr -d '(' | sort -u); do
        case $name in sesscache_old_*) continue ;; esac
        grep -qs "^.SH NAME" "$work/usr/share/man/man3/$name".3* || echo "$name"
    done
}

# The read bits of a file, the others shown as -
modes() { stat -c %A "$1" | cut -c2- | tr wxst -; }

build_id() { readelf -n "$1" 2>/dev/null | sed -n 's/.*Build ID: //p'; }

# Without symbols; its debug information is where debuggers look, and is that of this very file.
is_stripped() {
    local debug
    debug=$(dirname "$1")/.debug/$(basename "$1").debug
    same '' "$(readelf -SW "$1" | grep -E '\.(symtab|debug_[a-z]+) ')" &&
        same 1 "$(readelf -SW "$debug" | grep -c '\.debug_line ')" &&
        same 'r--r--r--' "$(modes "$debug")" &&
        readelf -p .gnu_debuglink "$1" | grep -q " $(basename "$debug")\$" &&
        [[ -n $(build_id "$1") ]] && same "$(build_id "$debug")" "$(build_id "$1")"
}

check_pkg_config() {
    local names
    check 'version' same "$version" "$(pkg --modversion sesscache)"
    check 'sesscache.pc is filled in' same '' "$(grep -n "@\|$work" "$lib/pkgconfig/sesscache.pc" |
        grep -v '#')"
    for names in sesscache 'openssl sesscache' 'sesscache openssl' 'libssl libcrypto sesscache'; do
        # shellcheck disable=SC2046,SC2086 # words are wanted
        check "pkg-config --libs $names" before -lsesscache -lssl $(pkg --libs $names)
    done
}

# header_alone FOLDER FLAG...: a program that includes it behind OpenSSL's, and again
header_alone() {
    printf '#include <openssl/ssl.h>\n#include <sesscache.h>\n#include <sesscache.h>\nint main(void) { return 0; }\n' |
        "${CC:-cc}" -Wall -Wextra -pedantic -Wredundant-decls -Werror "-I$1" -x c "${@:2}" -fsyntax-only -
}

# Without DESTDIR, to a prefix of one's own
check_own_prefix() {
    local own=$work/own
    check 'make install PREFIX=DIR' make -C "$root" install "PREFIX=$own"
    check 'units start the command there' same 3 \
        "$(cat "$own"/lib/systemd/system/* | grep -c "^ExecStart=$own/bin/sesscache ")"
    check 'sesscache.pc names that prefix' same "-L$own/lib" \
        "$(PKG_CONFIG_PATH=$own/lib/pkgconfig pkg-config --libs-only-L sesscache | sed 's/ *$//')"
    check 'the library is there' test -e "$own/lib/libsesscache.so.0"
    check 'the header is there' test -e "$own/include/sesscache.h"
    check 'it is C89, and gives no warning' header_alone "$own/include" -std=c89
    check 'it is C++' header_alone "$own/include" -x c++
}

# An order of the targets in a project: the library is before libssl in the program all the same.
# built_by TOOL ORDER...
built_by() {
    local tool=$1 folder=$work/$1-${2%%:*} sources
    shift
    mkdir "$folder"
    sources=$(printf "$root/examples/%s.c " server connections session_files)
    "with_$tool" "$folder" "$sources" "$@" >"$folder/log" 2>&1 || { cat "$folder/log"; return 1; }
    comes_before_libssl "$folder/build/server"
}

with_cmake() {
    cat >"$1/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.18)
project(server C)
find_package(sesscache 0.1 REQUIRED)
add_executable(server $2)
target_compile_definitions(server PRIVATE HAVE_SESSCACHE_H)
target_link_libraries(server PRIVATE ${*:3})
END
    cmake -S "$1" -B "$1/build" "-DCMAKE_PREFIX_PATH=$work/own" && cmake --build "$1/build"
}

with_meson() {
    cat >"$1/meson.build" <<END
project('server', 'c')
sesscache = dependency('sesscache')
openssl = dependency('openssl')
executable('server', '${2% }'.split(), c_args: '-DHAVE_SESSCACHE_H', dependencies: [${*:3}])
END
    PKG_CONFIG_PATH=$work/own/lib/pkgconfig meson setup "$1/build" "$1" && meson compile -C "$1/build"
}

check_build_systems() {
    check 'CMake, ours first' built_by cmake sesscache::sesscache OpenSSL::SSL
    check 'CMake, OpenSSL first' built_by cmake OpenSSL::SSL sesscache::sesscache
    check 'Meson, ours first' built_by meson 'sesscache,' openssl
}

build_server() {
    # shellcheck disable=SC2046 # words are wanted
    "${CC:-cc}" -std=c11 -Wall -Wextra -Wpedantic -Werror -DHAVE_SESSCACHE_H -o "$work/server" \
        "$root"/examples/{server,connections,session_files}.c $(pkg --cflags --libs sesscache)
}

run_server() { LD_LIBRARY_PATH=$lib "$work/server" "$@"; }

start_server() {
    local tries
    LD_LIBRARY_PATH=$lib "$work/server" --sessions "$work/sessions" >"$work/log" 2>&1 &
    server=$!
    for ((tries = 0; tries < 200; tries++)); do
        if grep -q '^listening on ' "$work/log"; then return 0; fi
        sleep 0.05
    done
    cat "$work/log"
    return 1
}

# visit FLAG...: prints New or Reused
visit() {
    local port
    port=$(sed -n 's/^listening on 127\.0\.0\.1://p' "$work/log")
    printf 'GET / HTTP/1.1\r\n\r\n' |
        timeout 20 openssl s_client -connect "127.0.0.1:$port" -tls1_2 -ign_eof "$@" 2>&1 |
        sed -nE 's/^(New|Reused), TLSv1.2.*/\1/p'
}

check_server() {
    check 'examples/server.c builds with pkg-config alone' build_server
    [[ -x $work/server ]] || return 0
    check 'sesscache is in front of libssl in the program' comes_before_libssl "$work/server"
    check 'the server shows its help' run_server --help
    check 'the server starts' start_server
    check 'its session cache is ours' grep -x 'session cache: sesscache' "$work/log"
    check 'first visit is a full handshake' same New "$(visit -sess_out "$work/session")"
    check 'second visit resumes' same Reused "$(visit -sess_in "$work/session")"
    kill "$server"
    check 'the server ends cleanly' wait "$server"
    server=
}

# A machine with little more than Debian 13's cargo: `make TARGET` on it
on_old_rust() {
    local tool
    mkdir -p "$work/old"
    printf '#!/bin/sh\necho "cargo 1.85.0 (d73d2caf9 2024-12-31)"\n' >"$work/old/cargo"
    for tool in apt-get dpkg-query; do
        printf '#!/bin/sh\necho "$0 $*" >>%s/old/called\nexit 1\n' "$work" >"$work/old/$tool"
    done
    chmod +x "$work"/old/*
    for tool in make bash sed head sort tr cut id echo uname basename dirname grep chmod rm; do
        ln -sf "$(type -P "$tool")" "$work/old/$tool"
    done
    ! PATH=$work/old make --no-print-directory -C "$root" CARGO=cargo "$1" >"$work/old.log" 2>&1
}

check_old_rust() {
    local target needed
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
    for target in demo test; do
        check "make $target ends on an old cargo" on_old_rust "$target"
        check "make $target says which Rust is needed" grep "^too old: Rust 1.85.0; $needed or later" "$work/old.log"
        check "make $target has not installed anything" same '' "$(grep -s apt-get "$work/old/called")"
    done
}

# Last, because the others need what it removes.
check_uninstall() {
    check 'make uninstall' make -C "$root" uninstall PREFIX=/usr "DESTDIR=$work"
    check 'leaves no file' same '' "$(find "$work/usr" ! -type d)"
}

for tool in cmake meson make pkg-config readelf openssl timeout "${CC:-cc}"; do
    command -v "$tool" >/dev/null || {
        echo "install: needs $tool, which is not installed" >&2
        exit 1
    }
done
version=$(sed -nE 's/^version = "([^"]+)".*/\1/p' "$root/Cargo.toml" | head -n 1)

check 'make install PREFIX=/usr DESTDIR=DIR' make -C "$root" install PREFIX=/usr "DESTDIR=$work"
if ((failed == 0)); then
    check_files
    check_pkg_config
    check_own_prefix
    check_build_systems
    check_server
    check_old_rust
    check_uninstall
fi
finish install
