/*
 * A key file whose key is a ratchet: tickets and records of the store open on hosts whose files are
 * at other steps, also after a week without a rewrite and with a clock before the file. A file opens
 * nothing of the epochs before its own, whatever the clock says. One process steps on by itself.
 */
#include "clock.h"
#include "harness_store.h"
#include "harness_tickets.h"

#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EPOCH = 21600, DAY = 86400, WEEK = 7 * DAY, BACK = 40, BYTES = 32 };

/* ---- the file -------------------------------------------------------------------------------- */

static void hmac(const unsigned char *key, const void *message, size_t length, unsigned char *out)
{
    unsigned int written = 0;

    REQUIRE(HMAC(EVP_sha256(), key, BYTES, message, length, out, &written) != NULL);
    REQUIRE(written == BYTES);
}

/* HKDF without a salt, its first block. */
static void step(unsigned char *state)
{
    static const unsigned char no_salt[BYTES] = { 0 };
    static const char info[] = "sesscache ratchet 1\x01";
    unsigned char extracted[BYTES];

    hmac(no_salt, state, BYTES, extracted);
    hmac(extracted, info, sizeof(info) - 1, state);
}

/* The first epoch begins a minute before the time of this test, so that none ends while it runs. */
static long begins_in;
static long first_epoch;

static void set_first_epoch(void)
{
    time_t now = time(NULL);

    first_epoch = (long)(now / EPOCH) + 1;
    begins_in = EPOCH - (long)(now % EPOCH) + 60;
}

/* The state of one chain, so many epochs after the first. */
static void write_state(const char *name, int after)
{
    unsigned char state[BYTES];
    char text[256];
    size_t length;

    memset(state, 7, sizeof(state));
    for (int i = 0; i < BACK + after; i++)
        step(state);
    length = (size_t)snprintf(text, sizeof(text), "# a test's\n%ld:", first_epoch + after);
    for (int i = 0; i < BYTES; i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%02x", state[i]);
    length += (size_t)snprintf(text + length, sizeof(text) - length, " 2026-11-28\n");
    write_file(name, text, length, 0600);
}

/* ---- sessions of both kinds ------------------------------------------------------------------ */

struct kind {
    const char *name;
    const struct protocol *protocol;
    int by_ticket;
};

static const struct kind kinds[] = {
    { "ticket-12", &protocols[0], 1 },
    { "ticket-13", &protocols[1], 1 },
    { "record-12", &protocols[0], 0 },
    { "record-13", &protocols[1], 0 },
};

#define FOR_EACH(k) for (const struct kind *k = kinds; k < kinds + 4; k++)

static SSL_CTX *make_server(const struct kind *k)
{
    SSL_CTX *server = new_host(k->protocol);

    SSL_CTX_set_timeout(server, 30 * DAY);
    if (k->by_ticket)
        SSL_CTX_clear_options(server, SSL_OP_NO_TICKET);
    return server;
}

static SSL_CTX *make_client(const struct kind *k)
{
    SSL_CTX *client = new_client(k->protocol);

    if (k->by_ticket)
        SSL_CTX_clear_options(client, SSL_OP_NO_TICKET);
    return client;
}

static void leave(void)
{
    FOR_EACH(k) {
        SSL_CTX *server = make_server(k), *client = make_client(k);
        SSL_SESSION *session = obtain_session(server, client);

        section("leave %s", k->name);
        save_session(k->name, session);
        SSL_SESSION_free(session);
        SSL_CTX_free(server);
        SSL_CTX_free(client);
    }
}

static void find_as(int expected)
{
    FOR_EACH(k) {
        SSL_CTX *server = make_server(k), *client = make_client(k);
        SSL_SESSION *session = load_session(k->name);
        struct connection c;

        section("find %s", k->name);
        c = connect_by_right_clock(server, client, session);
        CHECK_INT(connection_resumed(&c), expected);
        connection_close(&c);
        SSL_SESSION_free(session);
        SSL_CTX_free(server);
        SSL_CTX_free(client);
    }
}

static void find(void) { find_as(1); }
static void lose(void) { find_as(0); }

/* ---- hosts ----------------------------------------------------------------------------------- */

static const char week_long[] = "SESSCACHE_MAX_LIFETIME=604800";

/* Runs a part with this key file, so many seconds after the beginning of the first epoch. */
static void on_host(void (*part)(void), const char *file, long clock)
{
    char ahead[48];

    snprintf(ahead, sizeof(ahead), "TEST_CLOCK=%ld", begins_in + clock);
    RUN_AGAIN(part, key_file(file), file_store("store"), ahead, week_long);
}

static void epochs(void)
{
    section("epochs");
    on_host(leave, "now", 0);
    on_host(find, "now", 0);
    on_host(find, "now", 21600);
    on_host(find, "now", 583200); /* 27 epochs, which is a week but for one */
    on_host(find, "earlier", 0);
    on_host(find, "earlier", 583200);
    on_host(lose, "other", 0);
}

/* What is lost is closed for ever: also for somebody who sets his clock back. */
static void steps(void)
{
    section("steps");
    on_host(leave, "now", 0);
    on_host(lose, "later", 0);
    on_host(lose, "later", 21600);
    on_host(leave, "now", 21600);
    on_host(find, "later", 21600);
    on_host(find, "later", 0); /* a clock before the file is in the file's epoch */
}

static void clocks(void)
{
    section("clocks");
    on_host(leave, "now", -43200);
    on_host(find, "now", 0);
    on_host(find, "now", -43200);
    on_host(leave, "now", 21600); /* a clock that is ahead */
    on_host(find, "now", 0);
    on_host(find, "later", 0);
}

/* ---- one process, for a week ----------------------------------------------------------------- */

static void set_ahead(long seconds)
{
    char text[24];

    snprintf(text, sizeof(text), "%ld", seconds);
    REQUIRE(setenv("TEST_CLOCK", text, 1) == 0);
}

/*
 * Its file is never rewritten. It seals with the key of each epoch, and other processes open that. All
 * kinds go through the days together: a clock that went back by a month would let new records take
 * the place of those from then, whose deadlines cannot be.
 */
static void run_for_days(void)
{
    enum { KINDS = sizeof(kinds) / sizeof(kinds[0]), EPOCHS = 120 };
    SSL_CTX *servers[KINDS], *clients[KINDS];
    const char *clock = getenv("TEST_CLOCK");
    long begin;

    REQUIRE(clock != NULL);
    begin = atol(clock);
    for (int k = 0; k < KINDS; k++) {
        servers[k] = make_server(&kinds[k]);
        clients[k] = make_client(&kinds[k]);
    }
    for (int epoch = 0; epoch < EPOCHS; epoch++) {
        set_ahead(begin + (long)epoch * EPOCH);
        for (int k = 0; k < KINDS; k++) {
            SSL_SESSION *session;

            section("days %s", kinds[k].name);
            session = obtain_session(servers[k], clients[k]);
            if (epoch == EPOCHS - 1)
                save_session(kinds[k].name, session);
            SSL_SESSION_free(session);
        }
    }
    for (int k = 0; k < KINDS; k++) {
        SSL_CTX_free(servers[k]);
        SSL_CTX_free(clients[k]);
    }
}

static void days(void)
{
    section("days");
    on_host(run_for_days, "now", 0);
    on_host(find, "now", 2570400); /* 119 epochs */
    on_host(find, "month", 2570400);
    on_host(lose, "after", 2570400);
}

static const struct named_function functions[] = {
    NAMED(leave), NAMED(find), NAMED(lose), NAMED(run_for_days), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    set_first_epoch();
    write_state("earlier", -BACK);
    write_state("now", 0);
    write_state("later", 1);
    write_state("month", 119);
    write_state("after", 120);
    write_keys("other", 20, 1);
    epochs();
    steps();
    clocks();
    days();
    return test_end();
}
