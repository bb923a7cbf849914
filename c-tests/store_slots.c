/*
 * The application's ex_data on sessions and connections, with a host store: its dup functions see
 * what they would see on stock. (stunnel keeps an index on SSL_SESSION, whose dup function takes
 * for granted that its slot is set, and TLS 1.3 duplicates a session for every further ticket.)
 */
#include "harness.h"

static int sessions_duplicated, connections_duplicated, without_value;

static int dup_slot(CRYPTO_EX_DATA *to, const CRYPTO_EX_DATA *from, void **from_d, int index,
                    long counter, void *argument)
{
    (void)to, (void)from, (void)index, (void)argument;
    if (counter == 0)
        sessions_duplicated++;
    else
        connections_duplicated++;
    without_value += *from_d == NULL;
    return 1;
}

static void tickets(const struct protocol *p)
{
    SSL_CTX *server = new_server(p), *client = new_client(p);
    SSL_SESSION *session;

    section("%s", p->name);
    sessions_duplicated = without_value = 0;
    SSL_CTX_set_num_tickets(server, 3);
    session = obtain_session(server, client);
    CHECK_INT(resumes(server, client, session), 1);
    report("dup functions called without a value", without_value);
    report("dup functions called", sessions_duplicated);
    SSL_SESSION_free(session);
    SSL_CTX_free(server);
    SSL_CTX_free(client);
}

static void connections(void)
{
    SSL_CTX *server = new_server(&protocols[0]), *other = new_server(&protocols[0]);
    SSL *ssl = SSL_new(server), *copy;

    section("SSL_dup");
    connections_duplicated = without_value = 0;
    CHECK_PTR(SSL_set_SSL_CTX(ssl, other), other);
    copy = SSL_dup(ssl);
    CHECK(copy != NULL);
    report("dup functions called without a value", without_value);
    report("dup functions called", connections_duplicated);
    SSL_free(copy);
    SSL_free(ssl);
    SSL_CTX_free(server);
    SSL_CTX_free(other);
}

int main(void)
{
    REQUIRE(SSL_SESSION_get_ex_new_index(0, NULL, NULL, dup_slot, NULL) > 0);
    REQUIRE(SSL_get_ex_new_index(1, NULL, NULL, dup_slot, NULL) > 0);
    FOR_EACH_PROTOCOL(p)
        tickets(p);
    connections();
    return test_end();
}
