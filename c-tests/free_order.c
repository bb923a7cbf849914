/*
 * Fact 6: while remove_cb runs for what SSL_CTX_free takes out of the cache, the application's
 * ex_data is still there, though its indexes were taken before the library made its first context.
 */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The events, in order: "r" remove_cb, else the letter of an index whose value was freed. */
static char events[64];

static void event(char letter)
{
    size_t length = strlen(events);

    if (length + 1 < sizeof(events))
        events[length] = letter;
}

enum { EARLY, EARLY_TOO, LATE, INDEXES };
static int indexes[INDEXES];
static const char letters[INDEXES] = { 'a', 'b', 'c' };
static const char app_data[] = "application";

static void free_value(
    void *parent, void *value, CRYPTO_EX_DATA *data, int index, long letter, void *argument)
{
    (void)parent, (void)data, (void)index, (void)argument;
    if (value == NULL)
        return;
    event((char)letter);
    memset(value, 'x', sizeof(int));
    free(value);
}

static int take(int which)
{
    int index = SSL_CTX_get_ex_new_index(letters[which], NULL, NULL, NULL, free_value);

    REQUIRE(index >= 0);
    return index;
}

/* Before main, as C++ programs and modules do: before any context and any of our functions. */
__attribute__((constructor)) static void take_early(void)
{
    indexes[EARLY] = SSL_CTX_get_ex_new_index(letters[EARLY], NULL, NULL, NULL, free_value);
}

static void set_values(SSL_CTX *ctx)
{
    for (int i = 0; i < INDEXES; i++) {
        int *value = malloc(sizeof(*value));

        REQUIRE(value != NULL);
        *value = 1000 + i;
        CHECK_INT(SSL_CTX_set_ex_data(ctx, indexes[i], value), 1);
    }
    CHECK_INT(SSL_CTX_set_app_data(ctx, (void *)(size_t)app_data), 1);
}

/* Every value is there and was not freed. */
static void check_values(SSL_CTX *ctx)
{
    CHECK_PTR(SSL_CTX_get_app_data(ctx), app_data);
    for (int i = 0; i < INDEXES; i++) {
        const int *value = SSL_CTX_get_ex_data(ctx, indexes[i]);

        if (CHECK(value != NULL))
            CHECK_INT(*value, 1000 + i);
    }
}

static void remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    CHECK(SSL_SESSION_get_id(session, NULL) != NULL);
    check_values(ctx);
    event('r');
}

static SSL_CTX *new_filled_server(const struct protocol *p, int sessions)
{
    SSL_CTX *ctx = new_server(p);

    memset(events, 0, sizeof(events));
    set_values(ctx);
    SSL_CTX_sess_set_remove_cb(ctx, remove_cb);
    for (int i = 0; i < sessions; i++) {
        SSL_SESSION *session = make_session(ctx, p->version, (unsigned int)i);

        CHECK_INT(SSL_CTX_add_session(ctx, session), 1);
        SSL_SESSION_free(session);
    }
    CHECK_INT(strlen(events), 0);
    return ctx;
}

static void check_events(const char *expected)
{
    if (!CHECK(strcmp(events, expected) == 0))
        fprintf(stderr, "events: %s\n", events);
}

/* remove_cb for each session, then the values in the order of their indexes. */
static void freed(const struct protocol *p)
{
    SSL_CTX *ctx = new_filled_server(p, 3);

    section("%s freed", p->name);
    check_values(ctx);
    SSL_CTX_free(ctx);
    check_events("rrrabc");
}

/* The last reference is not the application's but a connection's. */
static void freed_by_a_connection(const struct protocol *p)
{
    SSL_CTX *server = new_filled_server(p, 2), *client = new_client(p);
    struct connection c = connect_offering(server, client, NULL);

    section("%s freed by a connection", p->name);
    SSL_CTX_free(server);
    check_events("");
    check_values(SSL_get_SSL_CTX(c.server));
    connection_close(&c);
    check_events("rrrabc");
    SSL_CTX_free(client);
}

/* Two contexts: each has its own, and the second loses nothing when the first goes. */
static void two_contexts(const struct protocol *p)
{
    SSL_CTX *first = new_filled_server(p, 1), *second = new_filled_server(p, 1);

    section("%s two contexts", p->name);
    SSL_CTX_free(first);
    check_events("rabc");
    check_values(second);
    CHECK_INT(SSL_CTX_sess_number(second), 1);
    SSL_CTX_up_ref(second);
    SSL_CTX_free(second);
    check_events("rabc");
    SSL_CTX_free(second);
    check_events("rabcrabc");
}

/* No session, no remove_cb; and no remove_cb set. */
static void nothing_to_remove(const struct protocol *p)
{
    SSL_CTX *ctx = new_filled_server(p, 0);

    section("%s nothing to remove", p->name);
    SSL_CTX_free(ctx);
    check_events("abc");
    ctx = new_filled_server(p, 2);
    SSL_CTX_sess_set_remove_cb(ctx, NULL);
    SSL_CTX_free(ctx);
    check_events("abc");
}

int main(void)
{
    REQUIRE(indexes[EARLY] >= 0);
    indexes[EARLY_TOO] = take(EARLY_TOO);
    SSL_CTX_free(SSL_CTX_new(TLS_method()));
    indexes[LATE] = take(LATE);
    /* 0 is SSL_CTX_set_app_data's. */
    report("first index", indexes[EARLY]);
    report("second follows", indexes[EARLY_TOO] - indexes[EARLY]);
    report("third follows", indexes[LATE] - indexes[EARLY_TOO]);
    FOR_EACH_PROTOCOL(p) {
        freed(p);
        freed_by_a_connection(p);
        two_contexts(p);
        nothing_to_remove(p);
    }
    return test_end();
}
