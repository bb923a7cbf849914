#!/usr/bin/env bash
# OpenSSL's sessions whose time or timeout is 0, encoded and decoded.
#
# A cache outside the process keeps a session as i2d_SSL_SESSION(3) encodes it, and has it back by
# d2i_SSL_SESSION(3). SSL_SESSION_set_time(3) and SSL_SESSION_set_timeout(3) take 0 like any other number. One
# expects that both come back.
#
# OpenSSL 3.0.20 (Debian 3.0.20-1~deb12u2). A session that is set to a time and a timeout, and what the decoded
# one has:
#
#   time            timeout          time             timeout
#   1700000000      300              1700000000       300
#   0               1700000300       the present      1700000300
#   1700000000      0                1700000000       3
#
# Both fields are optional in the encoding, and are left out if they are 0. Where they are missing,
# d2i_SSL_SESSION takes the present, and 3 seconds. SSL_SESSION_dup(3) keeps both.
#
# So whoever keeps encoded sessions keeps their ends beside them. Of the second one, the end moves from 2023 to
# more than 50 years ahead.
#
# Fails if a figure is another one. Needs Debian 12, apt-get and a C compiler.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

apt-get download -q libssl3=3.0.20-1~deb12u2 libssl-dev=3.0.20-1~deb12u2 2>&1 >/dev/null | grep -v unsandboxed || true
for package in ./*.deb; do dpkg -x "$package" installed; done
library=$(echo "$PWD"/installed/usr/lib/*-linux-gnu)
include=$PWD/installed/usr/include

cat >zero.c <<'END'
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define REQUIRE(condition) \
    do { if (!(condition)) { fprintf(stderr, "line %d: %s\n", __LINE__, #condition); exit(2); } } while (0)

/* A session of TLS 1.2, made by public functions. */
static SSL_SESSION *make(void)
{
    static const unsigned char id[32] = "an id", secret[48] = "a secret";
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    SSL *ssl = SSL_new(ctx);
    SSL_SESSION *session = SSL_SESSION_new();

    REQUIRE(ssl != NULL && session != NULL);
    REQUIRE(SSL_SESSION_set_protocol_version(session, TLS1_2_VERSION));
    REQUIRE(SSL_SESSION_set_cipher(session, sk_SSL_CIPHER_value(SSL_get_ciphers(ssl), 0)));
    REQUIRE(SSL_SESSION_set1_id(session, id, sizeof(id)));
    REQUIRE(SSL_SESSION_set1_master_key(session, secret, sizeof(secret)));
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return session;
}

static int has(const SSL_SESSION *session, long begun, long timeout)
{
    return SSL_SESSION_get_time(session) == begun && SSL_SESSION_get_timeout(session) == timeout;
}

/* Sets them, and returns the session as it is decoded. */
static SSL_SESSION *decoded(long begun, long timeout)
{
    SSL_SESSION *session = make(), *copy, *again;
    unsigned char *der = NULL;
    const unsigned char *from;
    int length;

    SSL_SESSION_set_time(session, begun);
    SSL_SESSION_set_timeout(session, timeout);
    REQUIRE(has(session, begun, timeout));
    copy = SSL_SESSION_dup(session);
    REQUIRE(copy != NULL && has(copy, begun, timeout));
    REQUIRE((length = i2d_SSL_SESSION(session, &der)) > 0);
    from = der;
    REQUIRE((again = d2i_SSL_SESSION(NULL, &from, length)) != NULL);
    printf("%10ld %10ld -> %10ld %10ld\n", begun, timeout, (long)SSL_SESSION_get_time(again),
           SSL_SESSION_get_timeout(again));
    OPENSSL_free(der);
    SSL_SESSION_free(copy);
    SSL_SESSION_free(session);
    return again;
}

int main(void)
{
    long before = time(NULL), present;

    puts(OpenSSL_version(OPENSSL_VERSION));
    REQUIRE(has(decoded(1700000000, 300), 1700000000, 300));
    present = SSL_SESSION_get_time(decoded(0, 1700000300));
    REQUIRE(present >= before && present <= (long)time(NULL));
    REQUIRE(has(decoded(1700000000, 0), 1700000000, 3));
    return 0;
}
END
gcc -Wno-deprecated-declarations -I "$include" -I "$(dirname "$library" | sed 's|/lib$|/include|')/$(basename "$library")" \
    zero.c -L "$library" -lssl -lcrypto -o zero
LD_LIBRARY_PATH=$library ./zero
