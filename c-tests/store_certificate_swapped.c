/*
 * A program loads certificates into a context that is in use. It has a lock of its own around that and
 * around SSL_new, which is enough for libssl: a connection has its own references. Handshakes go on
 * meanwhile, and their sessions are shared as before.
 */
#include "harness_store.h"

#include <pthread.h>
#include <stdatomic.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static SSL_CTX *server;
static atomic_int over;

static void *swap(void *nothing)
{
    while (!atomic_load(&over)) {
        X509 *copy = X509_dup(host_identity()->certificate);

        pthread_mutex_lock(&lock);
        CHECK_INT(SSL_CTX_use_certificate(server, copy), 1);
        pthread_mutex_unlock(&lock);
        X509_free(copy);
    }
    return nothing;
}

static void connect_once(SSL_CTX *client)
{
    struct connection c;

    pthread_mutex_lock(&lock);
    c = connection_new(server, client);
    pthread_mutex_unlock(&lock);
    CHECK(connection_handshake(&c));
    CHECK_PTR(SSL_get_privatekey(c.server), host_identity()->key);
    connection_close(&c);
}

static void while_in_use(void)
{
    FOR_EACH_PROTOCOL(p) {
        SSL_CTX *client = new_client(p), *other = new_host(p);
        SSL_SESSION *session;
        pthread_t thread;

        section("%s", p->name);
        server = new_host(p);
        atomic_store(&over, 0);
        REQUIRE(pthread_create(&thread, NULL, swap, NULL) == 0);
        for (int i = 0; i < (is_under_valgrind() ? 30 : 1000); i++)
            connect_once(client);
        atomic_store(&over, 1);
        REQUIRE(pthread_join(thread, NULL) == 0);
        session = obtain_session(server, client);
        CHECK_INT(resumes(other, client, session), 1);
        SSL_SESSION_free(session);
        SSL_CTX_free(server);
        SSL_CTX_free(other);
        SSL_CTX_free(client);
    }
}

static const struct named_function functions[] = { NAMED(while_in_use), { NULL, NULL } };

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    write_keys("keys", 1, 1);
    RUN_AGAIN(while_in_use, file_store("store"), key_file("keys"));
    return test_end();
}
