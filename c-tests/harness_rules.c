/* Rules that change while a server is started again, see harness_admission.h. */
#include "harness_admission.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct rule_list *lists;
static size_t list_count;

const struct way *way_here;

static const struct rule_list *list_here(void)
{
    const char *number = getenv("TEST_RULES");

    REQUIRE(number != NULL && (size_t)atoi(number) < list_count);
    return &lists[atoi(number)];
}

static void send_name(const char *name)
{
    own_name = name == NULL ? "host.example" : *name != '\0' ? name : NULL;
}

/* 1 resumed, 0 full, -1 failed. What came of it, if wanted, is freed by the caller. */
static int shake_hands(void (*opened)(SSL *), SSL_SESSION *offer, SSL_SESSION **made)
{
    struct connection c = open_own(offer);
    int resumed = -1;

    if (opened != NULL)
        opened(c.server);
    if (connection_handshake(&c) && connection_exchange(&c)) {
        resumed = connection_resumed(&c);
        if (made != NULL)
            *made = SSL_get1_session(c.client);
    }
    connection_close(&c);
    return resumed;
}

static void file_for(char file[256], const struct rule *rule, const struct way *way, const char *who,
                     int successor)
{
    snprintf(file, 256, "%s, %s, %s, %d.session", rule->what, way->name, who, successor);
    for (char *c = file; *c != '\0'; c++)
        if (*c == '/')
            *c = '-';
}

#define EACH_CASE(rule, way, who) \
    for (const struct rule *rule = list_here()->rules; \
         rule < list_here()->rules + list_here()->count; rule++) \
        FOR_EACH_WAY(way) \
            if (!rule->only_tls12 || way->protocol->version != TLS1_3_VERSION) \
                for (int who = 0; who < 2; who++) \
                    if ((who == 0 ? rule->gone : rule->stays) != NULL)

/* ---- what is offered ------------------------------------------------------------------------- */

static uint64_t counter(size_t at)
{
    struct sesscache_stats stats = stats_of(own_server);
    uint64_t value;

    memcpy(&value, (const char *)&stats + at, sizeof(value));
    return value;
}

/* The first time, and when the name is known: what a full handshake gives. */
static void check_gone(const struct rule *rule, const struct way *way, void (*opened)(SSL *),
                       SSL_SESSION *session)
{
    size_t cause = rule->declined_by_ticket != 0 && way->by_ticket ? rule->declined_by_ticket
                                                                    : rule->declined;
    uint64_t declined = counter(cause), refused = counter(rule->refused);
    uint64_t hits = counter(COUNTER(hits));
    int first = shake_hands(opened, session, NULL), full = shake_hands(opened, NULL, NULL);

    CHECK(first != 1);
    CHECK_INT(shake_hands(opened, session, NULL), full);
    if (!rule->by_name) {
        CHECK_INT(first, full);
        CHECK_INT(counter(COUNTER(hits)) - hits, 0);
    }
    if (cause != 0)
        CHECK(counter(cause) > declined);
    /* What the full handshake made; a stateless ticket is not offered to the store. */
    if (rule->refused != 0 && !way->by_ticket)
        CHECK(counter(rule->refused) > refused);
}

static void check_stays(const struct rule *rule, void (*opened)(SSL *), SSL_SESSION *session)
{
    if (rule->by_name) {
        CHECK(shake_hands(opened, session, NULL) >= 0);
        CHECK_INT(shake_hands(opened, NULL, NULL), 0);
    }
    CHECK_INT(shake_hands(opened, session, NULL), 1);
    CHECK_INT(shake_hands(opened, session, NULL), 1);
}

/* That the process has resumed it, and may have cached it, does not make it the process's own. */
static void check_later(const struct rule *rule, void (*opened)(SSL *), SSL_SESSION *session)
{
    int resumed;

    if (rule->later != NULL)
        rule->later(own_server);
    if (rule->name_later != NULL)
        send_name(rule->name_later);
    resumed = shake_hands(opened, session, NULL);
    CHECK(resumed != 1);
    CHECK_INT(resumed, shake_hands(opened, NULL, NULL));
}

/* A server of the rule's other time, to which the client comes with a session of the first. */
static void come(const struct rule *rule, const struct way *way, const char *who, int is_gone,
                 SSL_SESSION *session)
{
    void (*opened)(SSL *) = rule->after != NULL ? rule->opened_after : rule->opened_before;

    send_name(rule->name_after != NULL ? rule->name_after : rule->name_before);
    own_server = new_host_for(way);
    own_client = new_client_for(way, is_gone && rule->comes_as != NULL ? rule->comes_as : who);
    if (rule->client != NULL)
        rule->client(own_client);
    (rule->after != NULL ? rule->after : rule->before)(own_server);
    if (is_gone)
        check_gone(rule, way, opened, session);
    else
        check_stays(rule, opened, session);
    if (!is_gone && (rule->later != NULL || rule->name_later != NULL))
        check_later(rule, opened, session);
    free_own_contexts();
}

/* ---- before ---------------------------------------------------------------------------------- */

/* Another context of the same process is as foreign as another process. */
static void come_at_once(const struct rule *rule, const struct way *way, const char *who,
                         int is_gone, SSL_SESSION *session)
{
    const char *before = list_here()->setting_before, *after = list_here()->setting_after;
    SSL_CTX *server = own_server;

    if (before != after && (before == NULL || after == NULL || strcmp(before, after) != 0))
        return;
    section("at once: %s, %s, client %s", rule->what, way->name, who);
    SSL_CTX_free(own_client);
    own_client = NULL;
    come(rule, way, who, is_gone, session);
    SSL_CTX_free(server);
}

static void leave_one(const struct rule *rule, const struct way *way, const char *who, int is_gone)
{
    SSL_SESSION *session = NULL, *successor = NULL;
    char file[256];

    section("before: %s, %s, client %s", rule->what, way->name, who);
    send_name(rule->name_before);
    way_here = way;
    own_server = new_host_for(way);
    own_client = new_client_for(way, who);
    if (rule->client != NULL)
        rule->client(own_client);
    rule->before(own_server);
    CHECK_INT(shake_hands(rule->opened_before, NULL, &session), 0);
    REQUIRE(session != NULL);
    if (!rule->own_fails) {
        CHECK_INT(shake_hands(rule->opened_before, session, &successor), 1);
        REQUIRE(successor != NULL);
        CHECK_INT(shake_hands(rule->opened_before, successor, NULL), 1);
    }
    file_for(file, rule, way, who, 0);
    save_session(file, session);
    file_for(file, rule, way, who, 1);
    save_session(file, successor != NULL ? successor : session);
    come_at_once(rule, way, who, is_gone, session);
    SSL_SESSION_free(session);
    SSL_SESSION_free(successor);
    free_own_contexts();
}

static void leave_by_rules(void)
{
    EACH_CASE(rule, way, who)
        leave_one(rule, way, who == 0 ? rule->gone : rule->stays, who == 0);
}

/* ---- after ----------------------------------------------------------------------------------- */

static void come_one(const struct rule *rule, const struct way *way, const char *who, int is_gone)
{
    way_here = way;
    for (int successor = 0; successor < 2; successor++) {
        SSL_SESSION *session;
        char file[256];

        section("after: %s, %s, client %s%s", rule->what, way->name, who,
                successor ? ", successor" : "");
        file_for(file, rule, way, who, successor);
        session = load_session(file);
        come(rule, way, who, is_gone, session);
        SSL_SESSION_free(session);
    }
}

static void come_by_rules(void)
{
    EACH_CASE(rule, way, who)
        come_one(rule, way, who == 0 ? rule->gone : rule->stays, who == 0);
}

/* ---- both ------------------------------------------------------------------------------------ */

static const struct named_function functions[]
    = { NAMED(leave_by_rules), NAMED(come_by_rules), { NULL, NULL } };

int main_with_rules(int argc, char **argv, const struct rule_list *of_test, size_t count)
{
    lists = of_test;
    list_count = count;
    begin(argc, argv, functions);
    (void)host_identity();
    make_clients();
    write_keys("keys", 1, 1);
    for (size_t i = 0; i < count; i++) {
        char number[32];

        snprintf(number, sizeof(number), "TEST_RULES=%zu", i);
        RUN_AGAIN(leave_by_rules, file_store("store"), key_file("keys"), number,
                  lists[i].setting_before);
        RUN_AGAIN(come_by_rules, file_store("store"), key_file("keys"), number,
                  lists[i].setting_after);
    }
    return test_end();
}
