#!/usr/bin/env bash
# OpenSSL's server and early data on a ticket that is some days old.
#
# In TLS 1.3 a client tells the age of its ticket as a sum: age in milliseconds + ticket_age_add, modulo 2^32
# (RFC 8446 4.2.11.1). ticket_age_add is random for each ticket, so that the sum wraps for some.
#
# OpenSSL 3.6.3, from the crate openssl-src, on both ends. Each client offers a ticket once, with early
# data, and both clocks agree on its age. The server accepts the early data of every ticket whose sum does
# not wrap, and of none whose sum does:
#
#   age       tickets whose sum wraps    their early data accepted
#   0         none                       -
#   2 days    about 4 %                  0
#   6 days    about 12 %                 0
#
# All of them resume; only the early data is lost, and the client has to send it again. Which tickets are
# concerned is chance, and more are the older they are.
#
# Fails if early data is accepted of a ticket whose sum wraps, or refused of another one. Takes some
# minutes, because it builds OpenSSL in a temporary folder. Needs cargo, perl, make and a C compiler.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

mkdir src
cat >Cargo.toml <<'END'
[package]
name = "openssl"
version = "0.0.0"
edition = "2021"
[dependencies]
[build-dependencies]
openssl-src = "=300.6.1+3.6.3"
END
echo 'fn main() {}' >src/main.rs
cat >build.rs <<'END'
fn main() {
    let built = openssl_src::Build::new().build();
    let folders = [built.include_dir(), built.lib_dir()].map(|folder| folder.display().to_string());
    std::fs::write(std::env::var("FOLDERS").unwrap(), folders.join("\n")).unwrap();
}
END

cat >early.c <<'END'
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <openssl/asn1t.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#define REQUIRE(condition) \
    do { if (!(condition)) { fprintf(stderr, "line %d: %s\n", __LINE__, #condition); exit(2); } } while (0)

enum { DAY = 24 * 3600, EARLY = 5 };

static SSL_SESSION *got, *kept; /* by the client, and by the server's cache */

static int client_new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(got);
    got = session;
    return 1;
}

static int server_new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    kept = session;
    return 0;
}

static SSL_CTX *make_server(void)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *pkey = EVP_EC_gen("P-256");
    X509 *cert = X509_new();

    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, pkey);
    REQUIRE(X509_sign(cert, pkey, EVP_sha256()) > 0);
    REQUIRE(SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, pkey) == 1);
    SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"s", 1);
    SSL_CTX_set_max_early_data(ctx, 1000);
    SSL_CTX_set_timeout(ctx, 7 * DAY);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_sess_set_new_cb(ctx, server_new_cb);
    X509_free(cert);
    EVP_PKEY_free(pkey);
    return ctx;
}

/* The field ticket_age_add of a session as i2d_SSL_SESSION(3) writes it: context-specific tag 14. */
static uint32_t age_add(SSL_SESSION *session)
{
    unsigned char *der = NULL;
    const unsigned char *at, *end;
    long length;
    int tag, class;
    uint32_t value = 0;

    length = i2d_SSL_SESSION(session, &der);
    REQUIRE(length > 0);
    at = der;
    end = der + length;
    ASN1_get_object(&at, &length, &tag, &class, end - at);
    while (at < end) {
        ASN1_get_object(&at, &length, &tag, &class, end - at);
        if (class == V_ASN1_CONTEXT_SPECIFIC && tag == 14) {
            ASN1_INTEGER *integer = d2i_ASN1_INTEGER(NULL, &at, length);
            uint64_t wide;

            REQUIRE(integer != NULL && ASN1_INTEGER_get_uint64(&wide, integer) == 1);
            ASN1_INTEGER_free(integer);
            value = (uint32_t)wide;
            break;
        }
        at += length;
    }
    OPENSSL_free(der);
    return value;
}

/* A connection with early data if a session is offered; what became of it (SSL_EARLY_DATA_...). */
static int connect_once(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *offer)
{
    SSL *s = SSL_new(server), *c = SSL_new(client);
    BIO *one, *other;
    char bytes[EARLY];
    size_t written, length;
    int status, i;

    REQUIRE(BIO_new_bio_pair(&one, 0, &other, 0) == 1);
    SSL_set_bio(s, one, one);
    SSL_set_bio(c, other, other);
    SSL_set_accept_state(s);
    SSL_set_connect_state(c);
    if (offer != NULL) {
        REQUIRE(SSL_set_session(c, offer) == 1);
        REQUIRE(SSL_write_early_data(c, "early", EARLY, &written) == 1 && written == EARLY);
    }
    for (i = 0; i < 10; i++) {
        if (SSL_read_early_data(s, bytes, sizeof(bytes), &length) == SSL_READ_EARLY_DATA_FINISH)
            break;
        SSL_do_handshake(c);
    }
    for (i = 0; i < 5; i++) {
        SSL_do_handshake(c);
        SSL_do_handshake(s);
    }
    REQUIRE(SSL_is_init_finished(s) && SSL_is_init_finished(c));
    REQUIRE(offer == NULL || SSL_session_reused(s));
    REQUIRE(SSL_write(s, "x", 1) == 1 && SSL_read(c, bytes, 1) == 1);
    status = SSL_get_early_data_status(s);
    SSL_shutdown(c);
    SSL_shutdown(s);
    SSL_shutdown(c);
    SSL_free(s);
    SSL_free(c);
    return status;
}

int main(int argc, char **argv)
{
    SSL_CTX *server = make_server(), *client = SSL_CTX_new(TLS_client_method());
    int days = atoi(argv[1]), count = atoi(argv[2]), accepted[2] = { 0, 0 }, of[2] = { 0, 0 };

    REQUIRE(argc == 3);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client, client_new_cb);
    for (int i = 0; i < count; i++) {
        SSL_SESSION *offer;
        int wraps;

        connect_once(server, client, NULL);
        offer = got;
        got = NULL;
        /* Both ends obtained it `days` ago. */
        SSL_SESSION_set_time_ex(offer, time(NULL) - (time_t)days * DAY);
        SSL_SESSION_set_time_ex(kept, time(NULL) - (time_t)days * DAY);
        wraps = (uint64_t)age_add(offer) + (uint64_t)days * DAY * 1000 > UINT32_MAX;
        of[wraps]++;
        accepted[wraps] += connect_once(server, client, offer) == SSL_EARLY_DATA_ACCEPTED;
        SSL_SESSION_free(offer);
    }
    printf("%d %d %d %d\n", accepted[0], of[0], accepted[1], of[1]);
    return 0;
}
END

echo 'building OpenSSL 3.6.3 (some minutes)'
FOLDERS=$work/folders cargo build --quiet
{ read -r include; read -r lib; } < <(cat folders; echo)
"${CC:-cc}" -O1 -I"$include" early.c -o early "$lib/libssl.a" "$lib/libcrypto.a" -ldl -lpthread

failed=0
for days in 0 2 6; do
    read -r accepted plain accepted_wrapped wrapped < <(./early "$days" 1000)
    echo "$days days: early data accepted of $accepted of $plain tickets, and of $accepted_wrapped of $wrapped whose sum wraps"
    [ "$accepted" = "$plain" ] || { echo '  expected all of the first'; failed=1; }
    [ "$accepted_wrapped" = 0 ] || { echo '  expected none of those whose sum wraps'; failed=1; }
    [ "$days" = 0 ] || [ "$wrapped" -gt 0 ] || { echo '  expected that some sums wrap'; failed=1; }
done
exit $failed
