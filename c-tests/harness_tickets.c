/* Tickets and early data (harness_tickets.h). */
#include "harness_tickets.h"

#include <string.h>
#include <time.h>
#include <openssl/core_names.h>
#include <openssl/params.h>

/* ---- tickets --------------------------------------------------------------------------------- */

int same_ticket(const SSL_SESSION *a, const SSL_SESSION *b)
{
    const unsigned char *bytes[2];
    size_t length[2];

    SSL_SESSION_get0_ticket(a, &bytes[0], &length[0]);
    SSL_SESSION_get0_ticket(b, &bytes[1], &length[1]);
    return length[0] == length[1] && memcmp(bytes[0], bytes[1], length[0]) == 0;
}

struct connection connect_by_right_clock(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session)
{
    if (SSL_SESSION_get_time(session) > (long)time(NULL))
        SSL_SESSION_set_time(session, (long)time(NULL));
    return connect_offering(server, client, session);
}

/* ---- an application's ticket keys -------------------------------------------------------------- */

unsigned char application_keys[80] = "one key of the application's own, for names, macs and ciphers";
struct ticket_application ticket_application = { .answer = 1 };

enum { NAME_BYTES = 16, MAC_BYTES = 32, CIPHER_AT = NAME_BYTES + MAC_BYTES };

static int set_up(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, int enc)
{
    const unsigned char *key = application_keys + CIPHER_AT;

    if (ticket_application.ctx != NULL)
        CHECK_PTR(SSL_get_SSL_CTX(ssl), ticket_application.ctx);
    CHECK(enc == 0 || enc == 1);
    if (enc) {
        ticket_application.sealed++;
        memcpy(name, application_keys, NAME_BYTES);
        memset(iv, 7, 16);
        CHECK_INT(EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key, iv), 1);
        return 1;
    }
    ticket_application.opened++;
    if (memcmp(name, application_keys, NAME_BYTES) != 0) {
        ticket_application.strangers++;
        return 0;
    }
    CHECK_INT(EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key, iv), 1);
    return ticket_application.answer;
}

int application_evp_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                       EVP_MAC_CTX *mac, int enc)
{
    unsigned char *key = application_keys + NAME_BYTES;
    char digest[] = "SHA256";
    OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key, MAC_BYTES),
                            OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                            OSSL_PARAM_construct_end() };

    CHECK_INT(EVP_MAC_CTX_set_params(mac, params), 1);
    return set_up(ssl, name, iv, cipher, enc);
}

int application_hmac_cb(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                        HMAC_CTX *mac, int enc)
{
    CHECK_INT(HMAC_Init_ex(mac, application_keys + NAME_BYTES, MAC_BYTES, EVP_sha256(), NULL), 1);
    return set_up(ssl, name, iv, cipher, enc);
}

void set_application_keys(SSL_CTX *server)
{
    CHECK_INT(
        SSL_CTX_set_tlsext_ticket_keys(server, application_keys, sizeof(application_keys)), 1);
}

void set_application_evp_cb(SSL_CTX *server)
{
    CHECK_INT(SSL_CTX_set_tlsext_ticket_key_evp_cb(server, application_evp_cb), 1);
}

void set_application_hmac_cb(SSL_CTX *server)
{
    CHECK_INT(SSL_CTX_set_tlsext_ticket_key_cb(server, application_hmac_cb), 1);
}

/* ---- early data ------------------------------------------------------------------------------- */

void accept_early_data(SSL_CTX *server)
{
    enum { MOST = 16384 };

    CHECK_INT(SSL_CTX_set_max_early_data(server, MOST), 1);
    CHECK_INT(SSL_CTX_set_recv_max_early_data(server, MOST), 1);
}

size_t exchange_early_data(struct connection *c, SSL_SESSION *session)
{
    size_t length = 0, got = 0;
    char buffer[64];
    int state = SSL_READ_EARLY_DATA_ERROR;

    if (session != NULL)
        CHECK_INT(SSL_set_session(c->client, session), 1);
    CHECK_INT(SSL_write_early_data(c->client, early, sizeof(early), &length), 1);
    for (int turn = 0; turn < 10 && state != SSL_READ_EARLY_DATA_FINISH; turn++) {
        state = SSL_read_early_data(c->server, buffer, sizeof(buffer), &length);
        if (state == SSL_READ_EARLY_DATA_SUCCESS)
            got += length;
        else if (state == SSL_READ_EARLY_DATA_ERROR)
            (void)SSL_do_handshake(c->client);
    }
    return got;
}

long see_flight(SSL *server)
{
    char buffer[64];
    size_t length = 0;
    long seen = 0;

    if (SSL_read_early_data(server, buffer, sizeof(buffer), &length) == SSL_READ_EARLY_DATA_SUCCESS
        && length == sizeof(early) && memcmp(buffer, early, length) == 0)
        seen |= IS_READ;
    if (SSL_get_early_data_status(server) == SSL_EARLY_DATA_ACCEPTED)
        seen |= IS_ACCEPTED;
    if (SSL_session_reused(server))
        seen |= IS_RESUMED;
    return seen;
}
