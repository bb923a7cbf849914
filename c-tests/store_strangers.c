/*
 * Somebody offers a session or a ticket that he has seen on the wire, without the secret that
 * belongs to it. He never resumes. In TLS 1.2 the handshake ends with a fatal alert, by which the
 * session is removed for every process; a TLS 1.3 ticket stays as it is, unless it is for early data
 * and so for one use. docs/SECURITY.md says the same.
 */
#include "harness_store.h"

enum { A, B, C, THREE };

static struct worker workers[THREE];

/* What a stranger has: all but the secret. */
static SSL_SESSION *seen_on_the_wire(SSL_SESSION *session)
{
    unsigned char secret[SSL_MAX_MASTER_KEY_LENGTH];
    size_t length = SSL_SESSION_get_master_key(session, secret, sizeof(secret));
    SSL_SESSION *seen = SSL_SESSION_dup(session);

    REQUIRE(seen != NULL && length > 0);
    secret[0] ^= 1;
    REQUIRE(SSL_SESSION_set1_master_key(seen, secret, length) == 1);
    return seen;
}

/* The client has it from A, a stranger comes to B with it, then the client to C and to A. */
static void come(int still_resumes)
{
    SSL_SESSION *session, *seen;

    for (int i = 0; i < THREE; i++)
        workers[i] = fork_worker();
    session = obtain_in(&workers[A]);
    seen = seen_on_the_wire(session);
    CHECK_INT(resumes_in(&workers[B], seen), -1);
    CHECK_INT(resumes_in(&workers[C], session), still_resumes);
    CHECK_INT(resumes_in(&workers[A], session), still_resumes);
    SSL_SESSION_free(seen);
    SSL_SESSION_free(session);
    for (int i = 0; i < THREE; i++)
        end_worker(&workers[i]);
    free_own_contexts();
}

static void make_contexts(const struct protocol *p)
{
    own_server = new_host(p);
    own_client = new_client(p);
}

/* DTLS drops what does not decrypt, and sends no alert. */
static void with_an_id(const struct protocol *p)
{
    section("%s, id", p->name);
    make_contexts(p);
    come(p->version != TLS1_2_VERSION);
}

static void with_early_data(void)
{
    section("early data");
    make_contexts(&protocols[1]);
    CHECK_INT(SSL_CTX_set_max_early_data(own_server, 16384), 1);
    CHECK_INT(SSL_CTX_set_recv_max_early_data(own_server, 16384), 1);
    come(0);
}

static void with_a_ticket(void)
{
    for (const struct protocol *p = protocols; p < protocols + 2; p++) {
        section("%s, ticket", p->name);
        make_contexts(p);
        SSL_CTX_clear_options(own_server, SSL_OP_NO_TICKET);
        SSL_CTX_clear_options(own_client, SSL_OP_NO_TICKET);
        come(1);
    }
}

static const struct named_function functions[] = { NAMED(with_a_ticket), { NULL, NULL } };

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    write_keys("keys", 1, 1);
    FOR_EACH_PROTOCOL(p)
        with_an_id(p);
    with_early_data();
    RUN_AGAIN(with_a_ticket, key_file("keys"), "SESSCACHE_STORE=shm:?size=1MiB");
    return test_end();
}
