/*
 * Clients that are known by a pre-shared key: libssl asks the application for it, which may know
 * another set of them elsewhere, and after a restart. Their sessions resume in the process that made
 * them and nowhere else, also where the key is that of a session which the application has kept. A
 * client with a certificate is shared, callbacks or not.
 */
#include "harness_admission.h"

#include <stdio.h>
#include <string.h>

static const char user[] = "alice";
static const unsigned char key[] = "0123456789abcdef0123456789abcdef";
enum { KEY_LENGTH = sizeof(key) - 1, AGES = 3 };

static int client_has_key, knows_user;
/* An earlier connection's session, which is alice's from then on, and its key. */
static SSL_SESSION *kept;
static unsigned char key_of_kept[KEY_LENGTH];

/* ---- keys ------------------------------------------------------------------------------------ */

static unsigned int give_key(const char *identity, unsigned char *place, unsigned int most)
{
    if (!knows_user || strcmp(identity, user) != 0 || most < KEY_LENGTH)
        return 0;
    memcpy(place, key, KEY_LENGTH);
    return KEY_LENGTH;
}

static unsigned int server_cb(
    SSL *ssl, const char *identity, unsigned char *place, unsigned int most)
{
    (void)ssl;
    return give_key(identity, place, most);
}

static int find_session_cb(
    SSL *ssl, const unsigned char *identity, size_t length, SSL_SESSION **found)
{
    static const unsigned char aes_128_gcm_sha256[] = { 0x13, 0x01 };

    *found = NULL;
    if (!knows_user || length != strlen(user) || memcmp(identity, user, length) != 0)
        return 1;
    if (kept != NULL) {
        REQUIRE(SSL_SESSION_up_ref(kept) == 1);
        *found = kept;
        return 1;
    }
    REQUIRE((*found = SSL_SESSION_new()) != NULL);
    REQUIRE(SSL_SESSION_set1_master_key(*found, key, KEY_LENGTH) == 1);
    REQUIRE(SSL_SESSION_set_cipher(*found, SSL_CIPHER_find(ssl, aes_128_gcm_sha256)) == 1);
    REQUIRE(SSL_SESSION_set_protocol_version(*found, TLS1_3_VERSION) == 1);
    return 1;
}

/* Of the client, in both versions. */
static unsigned int client_cb(SSL *ssl, const char *hint, char *identity, unsigned int longest,
                              unsigned char *place, unsigned int most)
{
    (void)ssl, (void)hint;
    if (!client_has_key || longest <= strlen(user) || most < KEY_LENGTH)
        return 0;
    strcpy(identity, user);
    memcpy(place, kept != NULL ? key_of_kept : key, KEY_LENGTH);
    return KEY_LENGTH;
}

/* ---- servers --------------------------------------------------------------------------------- */

enum callbacks { SERVER, FIND, KEEP, SERVER_THERE, FIND_THERE, KEEP_THERE, CALLBACKS };
static const char *const described[]
    = { "psk_server", "psk_find_session", "session kept",
        "psk_server there", "psk_find_session there", "session kept there" };

static enum callbacks callbacks;

static int is_possible(const struct way *way)
{
    int gives_key = callbacks == SERVER || callbacks == SERVER_THERE;

    return gives_key || way->protocol->version == TLS1_3_VERSION;
}

static void set_callbacks(SSL_CTX *server)
{
    if (callbacks == SERVER)
        SSL_CTX_set_psk_server_callback(server, server_cb);
    if (callbacks == FIND || callbacks == KEEP)
        SSL_CTX_set_psk_find_session_callback(server, find_session_cb);
}

static void set_callbacks_there(SSL *ssl)
{
    if (callbacks == SERVER_THERE)
        SSL_set_psk_server_callback(ssl, server_cb);
    if (callbacks == FIND_THERE || callbacks == KEEP_THERE)
        SSL_set_psk_find_session_callback(ssl, find_session_cb);
}

static void open_service(const struct way *way, int only_keys)
{
    own_name = "host.example";
    own_server = new_host_for(way);
    own_client = new_client_for(way, only_keys ? "none" : "good");
    set_callbacks(own_server);
    if (only_keys) {
        REQUIRE(SSL_CTX_set_cipher_list(own_server, "PSK") == 1);
        REQUIRE(SSL_CTX_set_cipher_list(own_client, "PSK") == 1);
        SSL_CTX_set_psk_client_callback(own_client, client_cb);
    } else {
        trust(own_server, "root");
        require_client(own_server);
    }
    /* SHA-256 is the digest of keys without one. */
    REQUIRE(SSL_CTX_set_ciphersuites(own_server, "TLS_AES_128_GCM_SHA256") == 1);
}

/* 1 resumed (or let in by its key in TLS 1.3), 0 full, -1 failed. */
static int shake_hands(SSL_SESSION *offer, SSL_SESSION **made)
{
    struct connection c = open_own(offer);
    int resumed = -1;

    set_callbacks_there(c.server);
    if (connection_handshake(&c) && connection_exchange(&c)) {
        resumed = connection_resumed(&c);
        if (made != NULL)
            *made = SSL_get1_session(c.client);
    }
    connection_close(&c);
    return resumed;
}

/* ---- before and after ------------------------------------------------------------------------ */

/* The application takes the session of a client without key. */
static void keep(void)
{
    struct connection c = open_own(NULL);

    CHECK(connection_handshake(&c) && connection_exchange(&c));
    REQUIRE((kept = SSL_get1_session(c.server)) != NULL);
    REQUIRE(SSL_SESSION_get_master_key(kept, key_of_kept, KEY_LENGTH) == KEY_LENGTH);
    connection_close(&c);
}

/* Age 0 comes of a full handshake, or of the key. */
static const char *file_of(const struct way *way, int only_keys, int age)
{
    static char file[256];

    snprintf(file, sizeof(file), "%s, %s, %d, %d.session", described[callbacks], way->name,
             only_keys, age);
    return file;
}

static void leave_one(const struct way *way, int only_keys)
{
    SSL_SESSION *session[AGES + 1] = { NULL };

    section("before: %s, %s, %s", described[callbacks], way->name,
            only_keys ? "key" : "certificate");
    open_service(way, only_keys);
    client_has_key = 0;
    if (only_keys && (callbacks == KEEP || callbacks == KEEP_THERE))
        keep();
    client_has_key = only_keys;
    CHECK(shake_hands(NULL, &session[0]) >= 0);
    client_has_key = 0;
    for (int age = 0; age < AGES; age++) {
        REQUIRE(session[age] != NULL);
        CHECK_INT(shake_hands(session[age], &session[age + 1]), 1);
        save_session(file_of(way, only_keys, age), session[age]);
        SSL_SESSION_free(session[age]);
    }
    SSL_SESSION_free(session[AGES]);
    SSL_SESSION_free(kept);
    kept = NULL;
    free_own_contexts();
}

/* Its user may be known or not: without a key a full handshake does not let it in as that user. */
static void come_with_session(const struct way *way, int age)
{
    SSL_SESSION *session = load_session(file_of(way, 1, age));
    int full;

    section("after: %s, %s, key, age %d", described[callbacks], way->name, age);
    open_service(way, 1);
    client_has_key = 0;
    for (int known = 0; known < 2; known++) {
        knows_user = known;
        full = shake_hands(NULL, NULL);
        CHECK(full != 1);
        CHECK_INT(shake_hands(session, NULL), full);
    }
    SSL_SESSION_free(session);
    free_own_contexts();
}

static void come_with_certificate(const struct way *way, int age)
{
    SSL_SESSION *session = load_session(file_of(way, 0, age));

    section("after: %s, %s, certificate, age %d", described[callbacks], way->name, age);
    open_service(way, 0);
    CHECK_INT(shake_hands(session, NULL), 1);
    SSL_SESSION_free(session);
    free_own_contexts();
}

static void leave(void)
{
    knows_user = 1;
    for (callbacks = SERVER; callbacks < CALLBACKS; callbacks++)
        FOR_EACH_WAY(way)
            for (int only_keys = 0; only_keys < 2 && is_possible(way); only_keys++)
                leave_one(way, only_keys);
}

static void come(void)
{
    for (callbacks = SERVER; callbacks < CALLBACKS; callbacks++)
        FOR_EACH_WAY(way)
            for (int age = 0; age < AGES && is_possible(way); age++) {
                come_with_session(way, age);
                come_with_certificate(way, age);
            }
}

/* A second service of the same process, with keys of its own, of which alice has none. */
static void come_to_second(void)
{
    for (callbacks = SERVER; callbacks < CALLBACKS; callbacks++)
        FOR_EACH_WAY(way) {
            SSL_SESSION *session = NULL;
            SSL_CTX *first;

            if (!is_possible(way))
                continue;
            section("second service: %s, %s", described[callbacks], way->name);
            open_service(way, 1);
            client_has_key = knows_user = 1;
            CHECK(shake_hands(NULL, &session) >= 0);
            REQUIRE(session != NULL);
            first = own_server;
            SSL_CTX_free(own_client);
            open_service(way, 1);
            client_has_key = knows_user = 0;
            CHECK(shake_hands(session, NULL) != 1);
            SSL_SESSION_free(session);
            SSL_CTX_free(first);
            free_own_contexts();
        }
}

static const struct named_function functions[]
    = { NAMED(leave), NAMED(come), NAMED(come_to_second), { NULL, NULL } };

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    make_clients();
    write_keys("keys", 1, 1);
    RUN_AGAIN(leave, file_store("store"), key_file("keys"));
    RUN_AGAIN(come, file_store("store"), key_file("keys"));
    RUN_AGAIN(come_to_second, file_store("store"), key_file("keys"));
    return test_end();
}
