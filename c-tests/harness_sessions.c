/* Sessions and recorded callbacks, see harness.h. Their state: the count of sessions alive. */
#include "harness.h"

#include <stdatomic.h>
#include <string.h>

static int alive_index = -1;
static atomic_long alive_count;

static struct session_id id_from(const unsigned char *bytes, size_t length)
{
    struct session_id id = { { 0 }, 0 };

    if (length <= sizeof(id.bytes)) {
        memcpy(id.bytes, bytes, length);
        id.length = (unsigned int)length;
    }
    return id;
}

struct session_id id_of(const SSL_SESSION *session)
{
    unsigned int length;
    const unsigned char *bytes = SSL_SESSION_get_id(session, &length);

    return id_from(bytes, length);
}

int same_id(const struct session_id *a, const struct session_id *b)
{
    return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

struct session_id server_id_of(const SSL_SESSION *client_session)
{
    const unsigned char *ticket;
    size_t length;

    if (SSL_SESSION_get_protocol_version(client_session) != TLS1_3_VERSION)
        return id_of(client_session);
    SSL_SESSION_get0_ticket(client_session, &ticket, &length);
    return id_from(ticket, length);
}

struct search {
    struct session_id id;
    SSL_SESSION *found;
};

static void compare_to_search(void *session, void *argument)
{
    struct search *search = argument;
    struct session_id id = id_of(session);

    if (same_id(&id, &search->id))
        search->found = session;
}

/* No typed macro for LHASH_OF(SSL_SESSION) is public; programs cast, as here. */
static SSL_SESSION *find_cached(SSL_CTX *ctx, struct session_id id)
{
    struct search search = { id, NULL };
    OPENSSL_LHASH *sessions = (OPENSSL_LHASH *)SSL_CTX_sessions(ctx);

    if (sessions != NULL)
        OPENSSL_LH_doall_arg(sessions, compare_to_search, &search);
    return search.found;
}

SSL_SESSION *cached_on_server(SSL_CTX *server, const SSL_SESSION *client_session)
{
    return find_cached(server, server_id_of(client_session));
}

int is_cached(SSL_CTX *ctx, const SSL_SESSION *session)
{
    return find_cached(ctx, id_of(session)) == session;
}

struct session_id made_id(unsigned int number)
{
    struct session_id id = { { 0 }, SSL_MAX_SSL_SESSION_ID_LENGTH };

    memset(id.bytes, 0x5e, sizeof(id.bytes));
    for (int i = 0; i < 4; i++)
        id.bytes[i] = (unsigned char)(number >> (8 * i));
    return id;
}

/* A session without a cipher cannot be serialised. */
static const SSL_CIPHER *cipher_for(SSL_CTX *ctx, int version)
{
    const char *wanted = version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2";
    STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(ctx);

    for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ciphers, i);

        if (strcmp(SSL_CIPHER_get_version(cipher), wanted) == 0)
            return cipher;
    }
    return NULL;
}

SSL_SESSION *make_session(SSL_CTX *ctx, int version, unsigned int number)
{
    SSL_SESSION *session = SSL_SESSION_new();
    const SSL_CIPHER *cipher = cipher_for(ctx, version);
    struct session_id id = made_id(number);
    unsigned char master_key[48];

    REQUIRE(session != NULL && cipher != NULL);
    memset(master_key, 0x4b, sizeof(master_key));
    REQUIRE(SSL_SESSION_set1_id(session, id.bytes, id.length) == 1);
    REQUIRE(SSL_SESSION_set1_master_key(session, master_key, sizeof(master_key)) == 1);
    REQUIRE(SSL_SESSION_set_protocol_version(session, version) == 1);
    REQUIRE(SSL_SESSION_set_cipher(session, cipher) == 1);
    REQUIRE(SSL_SESSION_set1_id_context(session, (const unsigned char *)"test", 4) == 1);
    REQUIRE(SSL_SESSION_set_timeout(session, 300) == 1);
    return session;
}

static void session_born(
    void *parent, void *value, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
    (void)parent, (void)value, (void)data, (void)index, (void)argl, (void)argp;
    atomic_fetch_add(&alive_count, 1);
}

static void session_died(
    void *parent, void *value, CRYPTO_EX_DATA *data, int index, long argl, void *argp)
{
    (void)parent, (void)value, (void)data, (void)index, (void)argl, (void)argp;
    atomic_fetch_sub(&alive_count, 1);
}

long sessions_alive(void)
{
    if (alive_index < 0) {
        alive_index = SSL_SESSION_get_ex_new_index(0, NULL, session_born, NULL, session_died);
        REQUIRE(alive_index >= 0);
    }
    return atomic_load(&alive_count);
}

static int store_slot(const struct store *store, struct session_id id)
{
    for (int i = 0; i < STORE_SIZE; i++)
        if (store->der[i] != NULL && same_id(&store->ids[i], &id))
            return i;
    return -1;
}

void store_put(struct store *store, SSL_SESSION *session)
{
    struct session_id id = id_of(session);
    int slot = store_slot(store, id);

    for (int i = 0; slot < 0 && i < STORE_SIZE; i++)
        if (store->der[i] == NULL)
            slot = i;
    REQUIRE(slot >= 0);
    OPENSSL_free(store->der[slot]);
    store->der[slot] = NULL;
    store->ids[slot] = id;
    store->der_length[slot] = i2d_SSL_SESSION(session, &store->der[slot]);
    REQUIRE(store->der_length[slot] > 0);
}

SSL_SESSION *store_find(const struct store *store, const unsigned char *id, int length)
{
    int slot = store_slot(store, id_from(id, (size_t)length));
    const unsigned char *der;

    if (slot < 0)
        return NULL;
    der = store->der[slot];
    return d2i_SSL_SESSION(NULL, &der, store->der_length[slot]);
}

int store_count(const struct store *store)
{
    int count = 0;

    for (int i = 0; i < STORE_SIZE; i++)
        count += store->der[i] != NULL;
    return count;
}

void store_clear(struct store *store)
{
    for (int i = 0; i < STORE_SIZE; i++)
        OPENSSL_free(store->der[i]);
    memset(store, 0, sizeof(*store));
}

int recording_new_cb(SSL *ssl, SSL_SESSION *session)
{
    struct recorder *recorder = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    recorder->new_calls++;
    recorder->last_new = id_of(session);
    recorder->last_connection = ssl;
    if (recorder->external != NULL)
        store_put(recorder->external, session);
    switch (recorder->new_action) {
    case NEW_FREES:
        SSL_SESSION_free(session);
        return 1;
    case NEW_KEEPS:
        recorder->kept = session;
        return 1;
    case NEW_DECLINES:
        break;
    }
    return 0;
}

void recording_remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    struct recorder *recorder = SSL_CTX_get_app_data(ctx);

    recorder->remove_calls++;
    recorder->last_removed = id_of(session);
    recorder->last_ctx = ctx;
}

SSL_SESSION *recording_get_cb(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    struct recorder *recorder = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    recorder->get_calls++;
    recorder->copy_on_entry = *copy;
    recorder->last_asked = id_from(id, (size_t)length);
    if (recorder->external != NULL) {
        *copy = 0;
        return store_find(recorder->external, id, length);
    }
    if (recorder->get_copy >= 0)
        *copy = recorder->get_copy;
    return recorder->get_result;
}

void record(SSL_CTX *ctx, struct recorder *recorder)
{
    SSL_CTX_set_app_data(ctx, recorder);
    SSL_CTX_sess_set_new_cb(ctx, recording_new_cb);
    SSL_CTX_sess_set_remove_cb(ctx, recording_remove_cb);
    SSL_CTX_sess_set_get_cb(ctx, recording_get_cb);
}
