/*
 * SESSCACHE_ID_CONTEXT=ours is a word about sessions of others. A session of the context's own that
 * its cache has evicted, and that the store gives back, is refused like on stock where the connection
 * has another session id context and asks for a certificate; and so is a ticket. Where nobody asks,
 * a session out of the store resumes.
 */
#include "harness_admission.h"

#include <string.h>

static int is_shared; /* the setting is SESSCACHE_ID_CONTEXT=ours, and has meaning */

static void rename_connection(SSL *ssl)
{
    REQUIRE(SSL_set_session_id_context(ssl, (const unsigned char *)"admin", 5) == 1);
}

/* 1 resumed, 0 full, -1 failed. */
static int offer(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *session, int mode)
{
    struct connection c = connection_new(server, client);

    rename_connection(c.server);
    SSL_set_verify(c.server, mode, NULL);
    return finish_offering(&c, session, NULL);
}

static const int requires = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;

static void refuse(const struct way *way, const char *later, int is_evicted)
{
    SSL_CTX *server = new_host_for(way), *other = new_host_for(way);
    SSL_CTX *client = new_client_for(way, "none"), *as = new_client_for(way, later);
    SSL_SESSION *session, *newer, *foreign;

    section("%s, client %s, evicted %d", way->name, later, is_evicted);
    trust(server, "root");
    if (is_evicted)
        SSL_CTX_sess_set_cache_size(server, 1);
    session = obtain_session(server, client);
    newer = obtain_session(server, client);
    foreign = obtain_session(other, client);
    for (int mode = SSL_VERIFY_PEER; mode <= requires; mode += requires - SSL_VERIFY_PEER) {
        int full = offer(server, as, NULL, mode);

        CHECK_INT(offer(server, as, session, mode), full);
        CHECK_INT(offer(server, as, session, mode), full);
        CHECK_INT(offer(server, as, newer, mode), full);
        CHECK_INT(offer(server, as, foreign, mode), full);
    }
    /* The setting is in force. */
    CHECK_INT(offer(server, as, foreign, SSL_VERIFY_NONE), is_shared);
    SSL_SESSION_free(session);
    SSL_SESSION_free(newer);
    SSL_SESSION_free(foreign);
    SSL_CTX_free(server);
    SSL_CTX_free(other);
    SSL_CTX_free(client);
    SSL_CTX_free(as);
}

static void all(void)
{
    is_shared = overlaid() && variable_is("SESSCACHE_ID_CONTEXT", "ours");
    FOR_EACH_WAY(way)
        for (int is_evicted = 0; is_evicted < 2; is_evicted++) {
            refuse(way, "none", is_evicted);
            refuse(way, "good", is_evicted);
        }
}

static const struct named_function functions[] = { NAMED(all), { NULL, NULL } };

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    make_clients();
    write_keys("keys", 1, 1);
    RUN_AGAIN(all, file_store("store"), key_file("keys"), "SESSCACHE_ID_CONTEXT=ours");
    RUN_AGAIN(all, file_store("store"), key_file("keys"));
    return test_end();
}
