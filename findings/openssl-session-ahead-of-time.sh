#!/usr/bin/env bash
# OpenSSL's sessions that begin a second after the present.
#
# SSL_SESSION_get_time(3) is "the time at which the session s was established ... in seconds since the Epoch".
# A program that asks time(2) afterwards expects the same second or a later one.
#
# OpenSSL 3.6.3, from the crate openssl-src, on Linux with glibc: a session that was just made has a time
# of one second later than time(2) says after it, for the last milliseconds of each second:
#
#   made in 10 seconds    39,904,116
#   ahead of time(2)         251,641   (0.63 %)
#   by                      1 second
#
# OpenSSL 3.0 asks time(2) itself, and has none of these: 0 of 49,971,819. Since then libssl keeps time by
# gettimeofday(2). time(2) reads the clock as of the kernel's last tick, which may be milliseconds old. So
# the two disagree at the end of a second. A cache that computes a session's age as time(2) less its time
# gets -1; without a sign that is 136 years.
#
# Fails if no session is ahead, or one by more than a second. Takes some minutes, because it builds OpenSSL
# in a temporary folder. Needs cargo, perl, make and a C compiler.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

mkdir src
cat >Cargo.toml <<'END_TOML'
[package]
name = "openssl"
version = "0.0.0"
edition = "2021"
[dependencies]
[build-dependencies]
openssl-src = "=300.6.1+3.6.3"
END_TOML
echo 'fn main() {}' >src/main.rs
cat >build.rs <<'END_RS'
fn main() {
    let built = openssl_src::Build::new().build();
    let folders = [built.include_dir(), built.lib_dir()].map(|folder| folder.display().to_string());
    std::fs::write(std::env::var("FOLDERS").unwrap(), folders.join("\n")).unwrap();
}
END_RS

cat >ahead.c <<'END_C'
#include <stdio.h>
#include <time.h>
#include <openssl/ssl.h>

int main(void)
{
    long made = 0, ahead = 0, most = 0;
    time_t end = time(NULL) + 10;

    while (time(NULL) < end) {
        SSL_SESSION *session = SSL_SESSION_new();
        long by;

        if (session == NULL)
            return 2;
        by = (long)SSL_SESSION_get_time_ex(session) - (long)time(NULL);
        SSL_SESSION_free(session);
        made++;
        ahead += by > 0;
        most = by > most ? by : most;
    }
    printf("%s: %ld sessions, %ld ahead of time(2), by at most %ld s\n",
           OpenSSL_version(OPENSSL_VERSION), made, ahead, most);
    return ahead > 0 && most == 1 ? 0 : 1;
}
END_C

echo 'building OpenSSL 3.6.3, some minutes' >&2
FOLDERS=$work/folders cargo build --quiet
{ read -r include; read -r lib; } < <(cat folders; echo)
cc -O1 -Wall -Wextra -I"$include" ahead.c -o ahead -L"$lib" -lssl -lcrypto -ldl -lpthread
./ahead || { echo 'OpenSSL behaves otherwise than stated above' >&2; exit 1; }
