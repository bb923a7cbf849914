/*
 * Shared by the tests of admission: the ways in which a session comes back, clients with
 * certificates of authorities, and rules that change while the server is started again.
 *
 * Files of certificates lie in the current folder, made by the first process of a test.
 */
#ifndef SESSCACHE_TEST_HARNESS_ADMISSION_H
#define SESSCACHE_TEST_HARNESS_ADMISSION_H

#include "harness_store.h"

/* ---- ways ------------------------------------------------------------------------------------ */

/* By id or by ticket: TLS 1.2, TLS 1.3; DTLS by id. */
struct way {
    const char *name; /* "tls12-id", "tls12-ticket", "tls13-stateful", "tls13-ticket", "dtls12-id" */
    const struct protocol *protocol;
    int by_ticket;
};

extern const struct way ways[];
extern const size_t way_count;
#define FOR_EACH_WAY(w) for (const struct way *w = ways; w < ways + way_count; w++)

/* new_host() and new_client() that issue and take tickets, if the way is by ticket. */
SSL_CTX *new_host_for(const struct way *way);
SSL_CTX *new_client_for(const struct way *way, const char *client);

/* ---- clients and authorities ----------------------------------------------------------------- */

/*
 * Makes the files of all that are named here, in the first process of a test.
 *
 * Authorities: "root"; "middle", signed by it; "others"; "others again", of the same name with
 * another key. Clients: "good", "bad" (revoked in the list "after"), "short" (its certificate ends
 * in a minute), "weak" (RSA of 1024 bits), "only server" (by its extended key usage), all signed by
 * root; "deep", signed by middle; "other", signed by others; "stranger", self-signed; "none" has no
 * certificate. Lists of the revoked, signed by root: "before" (nobody) and "after".
 */
void make_clients(void);

/* Of any name above. Kept until the process ends. */
const struct identity *identity_named(const char *name);

/* The context trusts the authority; asks for a certificate; may take none. */
void trust(SSL_CTX *server, const char *authority);
void ask_client(SSL_CTX *server);
void require_client(SSL_CTX *server);

/* The context looks for the revoked in that list. */
void use_revoked(SSL_CTX *server, const char *list);

/* Trusts what lies in a folder that is made here: an authority, and a list if not NULL. */
void trust_folder(SSL_CTX *server, const char *authority, const char *other, const char *list);

/* ---- rules ----------------------------------------------------------------------------------- */

/* What a server does, in the process before and in the one after it was started again. */
struct rule {
    const char *what;
    void (*before)(SSL_CTX *server);
    void (*after)(SSL_CTX *server); /* NULL: as before */
    /* On each connection, before its handshake; NULL: nothing. */
    void (*opened_before)(SSL *ssl);
    void (*opened_after)(SSL *ssl);
    void (*client)(SSL_CTX *client); /* what else the client is, in both; NULL: nothing */
    const char *gone;  /* a client whose session does not resume afterwards, or NULL */
    const char *stays; /* a client whose session does, or NULL */
    const char *comes_as; /* what `gone` has then; NULL: the same */
    /* Counters of the store that `gone` moves, of sessions not resumed and of those not shared. */
    size_t declined, declined_by_ticket, refused;
    /* A change on the context in use, and a name, under which `stays` does no longer. */
    void (*later)(SSL_CTX *server);
    const char *name_later;
    const char *name_before, *name_after; /* server names; NULL: host.example, "": none is sent */
    int only_tls12;
    int by_name;       /* where the name leads is not known before the first full handshake */
    int own_fails;     /* libssl does not resume it in its own process either */
};

#define COUNTER(name) offsetof(struct sesscache_stats, name)

/* The way in which rules run at this moment. */
extern const struct way *way_here;

/* For `before` and `after`. */
void change_nothing(SSL_CTX *server);

/* The rules of a test: each list runs under one setting before and one after, or NULL. */
struct rule_list {
    const struct rule *rules;
    size_t count;
    const char *setting_before, *setting_after; /* "NAME=value" */
};
#define RULES(list) (list), sizeof(list) / sizeof((list)[0])

/*
 * The main of a test that has rules and nothing else. Runs them, each in every way: `gone` and
 * `stays` make a session in one process, where it resumes, and its successor; and offer both in the
 * next. There `gone` has what a full handshake gives it, and is not resumed.
 */
int main_with_rules(int argc, char **argv, const struct rule_list *lists, size_t count);

#endif
