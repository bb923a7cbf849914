#!/usr/bin/env bash
# OpenSSL's client and a server that renews tickets in TLS 1.2.
#
# RFC 5077 3.3 lets a server send a new ticket on a resumption, with which the client replaces the old one.
# SSL_CTX_sess_set_new_cb(3) says that new_cb is called whenever a new session has been negotiated.
#
# OpenSSL 3.6.3, from the crate openssl-src, on both ends. The client keeps the session that its new_cb
# (SSL_CTX_sess_set_new_cb) got last and offers it again, as Ruby's Net::HTTP and nginx do. Of ten
# connections resume:
#
#   TLS 1.2, the server keeps tickets (its ticket key callback answers 1)    9
#   TLS 1.2, the server renews them (it answers 2)                           5
#   TLS 1.3, the server renews them                                          9
#
# In TLS 1.2 the session that was offered is not resumable any more once a new ticket has come
# (SSL_SESSION_is_resumable), and new_cb is not called with the new session, because the connection was a
# resumption. The new one is there: a client that asks SSL_get1_session after each handshake resumes 9.
#
# Fails if one of these figures is another one. Takes some minutes, because it builds OpenSSL in a
# temporary folder. Needs cargo, perl, make and a C compiler.
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

cat >once.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/core_names.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#define REQUIRE(condition) \
    do { if (!(condition)) { fprintf(stderr, "line %d: %s\n", __LINE__, #condition); exit(2); } } while (0)

static unsigned char key[64];
static int answer;
static SSL_SESSION *told; /* by new_cb */

static int key_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                  EVP_MAC_CTX *mac, int enc)
{
    OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key, 32),
                            OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 0),
                            OSSL_PARAM_construct_end() };

    (void)ssl;
    if (enc) {
        memset(name, 1, 16);
        memset(iv, 2, 16);
    }
    REQUIRE(EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key + 32, iv, enc) == 1);
    REQUIRE(EVP_MAC_CTX_set_params(mac, params) == 1);
    return enc ? 1 : answer;
}

static int new_cb(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(told);
    told = session;
    return 1;
}

static SSL_CTX *make_server(int version)
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
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    SSL_CTX_set_session_id_context(ctx, key, 4);
    REQUIRE(SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, key_cb) == 1);
    X509_free(cert);
    EVP_PKEY_free(pkey);
    return ctx;
}

/* One connection; whether it resumed. `own`: the session that the connection has in the end. */
static int connect_once(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *offer, SSL_SESSION **own)
{
    SSL *s = SSL_new(server), *c = SSL_new(client);
    BIO *one, *other;
    char byte;
    int resumed;

    REQUIRE(BIO_new_bio_pair(&one, 0, &other, 0) == 1);
    SSL_set_bio(s, one, one);
    SSL_set_bio(c, other, other);
    SSL_set_accept_state(s);
    SSL_set_connect_state(c);
    if (offer != NULL)
        REQUIRE(SSL_set_session(c, offer) == 1);
    for (int i = 0; i < 10; i++) {
        SSL_do_handshake(c);
        SSL_do_handshake(s);
    }
    REQUIRE(SSL_is_init_finished(s) && SSL_is_init_finished(c));
    REQUIRE(SSL_write(s, "x", 1) == 1 && SSL_read(c, &byte, 1) == 1);
    resumed = SSL_session_reused(c);
    if (own != NULL)
        *own = SSL_get1_session(c);
    SSL_shutdown(c);
    SSL_shutdown(s);
    SSL_shutdown(c);
    SSL_free(s);
    SSL_free(c);
    return resumed;
}

int main(int argc, char **argv)
{
    int version = strcmp(argv[1], "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION, resumed = 0;
    SSL_CTX *server = make_server(version), *client = SSL_CTX_new(TLS_client_method());
    SSL_SESSION *last = NULL;

    REQUIRE(argc == 4);
    answer = atoi(argv[2]);
    SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client, new_cb);
    for (int i = 0; i < 10; i++) {
        SSL_SESSION *offer = strcmp(argv[3], "told") == 0 ? told : last, *own;

        if (offer != NULL)
            SSL_SESSION_up_ref(offer);
        resumed += connect_once(server, client, offer, &own);
        SSL_SESSION_free(offer);
        SSL_SESSION_free(last);
        last = own;
    }
    printf("%d\n", resumed);
    return 0;
}
END

echo 'building OpenSSL 3.6.3 (some minutes)'
FOLDERS=$work/folders cargo build --quiet
{ read -r include; read -r lib; } < <(cat folders; echo)
"${CC:-cc}" -O1 -I"$include" once.c -o once "$lib/libssl.a" "$lib/libcrypto.a" -ldl -lpthread

failed=0
expect() { # expect FIGURE VERSION ANSWER SESSION: `told` by new_cb, or that of the `last` connection
    local found
    found=$(./once "$2" "$3" "$4")
    echo "TLS $2, the ticket key callback answers $3, the client offers the session ($4): $found of 10 resume"
    [ "$found" = "$1" ] || { echo "  expected $1"; failed=1; }
}
expect 9 1.2 1 told
expect 5 1.2 2 told
expect 9 1.2 2 last
expect 9 1.3 2 told
exit $failed
