/*
 * Shared by the test programs: checks, reports, contexts that talk to each other in memory, and a
 * recorder of the three session callbacks.
 *
 * A program checks what it knows (CHECK...) and reports values (report) as lines `name: value`.
 * run.sh runs it on stock OpenSSL and on sesscache, and compares the reported lines.
 * Nothing here sleeps, touches a file or opens a socket. For one thread, unless said otherwise.
 */
#ifndef SESSCACHE_TEST_HARNESS_H
#define SESSCACHE_TEST_HARNESS_H

#include <stddef.h>
#include <openssl/ssl.h>

/* ---- checks and reports ---------------------------------------------------------------------- */

/* A check that fails prints where and what, and makes test_end() return 1. The program goes on. */
#define CHECK(condition) check_true(__FILE__, __LINE__, #condition, (condition) ? 1 : 0)
#define CHECK_INT(got, want) check_int(__FILE__, __LINE__, #got, (long)(got), (long)(want))
#define CHECK_PTR(got, want) \
    check_ptr(__FILE__, __LINE__, #got, (const void *)(got), (const void *)(want))

/* Each returns 1 if the check held. Callable from any thread. */
int check_true(const char *file, int line, const char *what, int holds);
int check_int(const char *file, int line, const char *what, long got, long want);
int check_ptr(const char *file, int line, const char *what, const void *got, const void *want);

/* A check without which the program cannot go on: prints and exits with 1. */
#define REQUIRE(condition) \
    do { \
        if (!CHECK(condition)) \
            test_abort(); \
    } while (0)

/* The prefix of the report lines and failed checks that follow; "" for none. */
void section(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints `SECTION name: value`, a line that is compared. A name may be printed once a section. */
void report(const char *name, long value);
void report_text(const char *name, const char *value);

/* Prints a line that is not compared. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

_Noreturn void skip(const char *why); /* ends the program: it could not be tried here */
_Noreturn void test_abort(void);

/* The last line of main: `return test_end();`, the verdict. */
int test_end(void);

/* 1 if libsesscache is in front of libssl in this process (seen with dladdr, not by trust). */
int overlaid(void);

/* 1 if the context's cache is the overlay's. */
int is_ours(const SSL_CTX *ctx);

/* Stock's function of this name, past the overlay. */
void *stock_function(const char *name);

/* 1 if the environment's variable has this value. */
int variable_is(const char *variable, const char *value);

/* 1 under valgrind, where a test that repeats itself does so less often. */
int is_under_valgrind(void);

/* ---- contexts -------------------------------------------------------------------------------- */

/* The protocols whose sessions a server caches: ids in 1.2, stateful tickets in 1.3. */
struct protocol {
    const char *name; /* "tls12", "tls13", "dtls12" */
    int version;      /* TLS1_2_VERSION, ... */
    int is_dtls;
};

extern const struct protocol protocols[];
extern const size_t protocol_count;

/* for (each protocol p) */
#define FOR_EACH_PROTOCOL(p) \
    for (const struct protocol *p = protocols; p < protocols + protocol_count; p++)

/*
 * Contexts as a program makes them, with SSL_OP_NO_TICKET and that one protocol. The server has a
 * self-signed certificate, the id context "test" and issues one ticket a handshake in TLS 1.3; all
 * else is OpenSSL's default (server: cache mode SERVER; client: no cache).
 * Free with SSL_CTX_free.
 */
SSL_CTX *new_server(const struct protocol *p);
SSL_CTX *new_client(const struct protocol *p);

/* The server asks for a client certificate and the client has one; both accept whatever comes. */
void use_client_certificate(SSL_CTX *server, SSL_CTX *client);

/* Gives any context the certificate of the process (one for all; P-256, self-signed). */
void use_certificate(SSL_CTX *ctx);

/* ---- connections ----------------------------------------------------------------------------- */

struct connection {
    SSL *server;
    SSL *client;
};

/* The two ends, joined in memory, before the handshake: a test may set options on them. */
struct connection connection_new(SSL_CTX *server, SSL_CTX *client);

/* Drives both handshakes. 1 if both ended well. */
int connection_handshake(struct connection *c);

/* One byte each way, so that the client has read its TLS 1.3 tickets. 1 if both arrived. */
int connection_exchange(struct connection *c);

/* 1 if both ends say the session was reused, 0 if neither; a disagreement is a failed check. */
int connection_resumed(const struct connection *c);

/* close_notify both ways, then SSL_free: the sessions stay in the caches. */
void connection_close(struct connection *c);

/* SSL_free without a word: an unclean close, for which libssl removes the sessions. */
void connection_drop(struct connection *c);

/* new + offer the session (if any) + handshake + exchange; a failure is a failed check. */
struct connection connect_offering(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *offer);

/* A full handshake, closed cleanly; returns the client's session, to be freed by the caller. */
SSL_SESSION *obtain_session(SSL_CTX *server, SSL_CTX *client);

/* A handshake that offers the session, closed cleanly: 1 resumed, 0 full, -1 failed. */
int resumes(SSL_CTX *server, SSL_CTX *client, SSL_SESSION *offer);

/*
 * On a connection that has just been made: a handshake that offers a copy of the session (if any),
 * because after a failure libssl offers a session no more. Closes the connection. 1 resumed, 0 full,
 * -1 failed. Whatever the client has then goes to *made, if that is not NULL.
 */
int finish_offering(struct connection *c, SSL_SESSION *session, SSL_SESSION **made);

/*
 * Drives one operation until it no longer makes progress, the other end reading along; for odd
 * cases. Returns SSL_get_error's view of it (SSL_ERROR_NONE: done).
 */
int drive(SSL *moving, SSL *other, int (*operation)(SSL *));

/* ---- sessions -------------------------------------------------------------------------------- */

struct session_id {
    unsigned char bytes[SSL_MAX_SSL_SESSION_ID_LENGTH];
    unsigned int length;
};

struct session_id id_of(const SSL_SESSION *session);
int same_id(const struct session_id *a, const struct session_id *b);

/* The id under which the server knows what this client holds (1.2: its id; 1.3: its ticket). */
struct session_id server_id_of(const SSL_SESSION *client_session);

/* The session that the server has cached for the client's, or NULL. Not a new reference. */
SSL_SESSION *cached_on_server(SSL_CTX *server, const SSL_SESSION *client_session);

/*
 * A session made by hand, for caches without a handshake: its id is made of the number (32 bytes,
 * all different for different numbers), its time is now and its timeout 300 s. It serialises, but
 * no client could resume it.
 */
SSL_SESSION *make_session(SSL_CTX *ctx, int version, unsigned int number);
struct session_id made_id(unsigned int number);

/* How many SSL_SESSION objects exist, counted by ex_data from the first call on (call it first). */
long sessions_alive(void);

/* 1 if the session is in the context's cache (asked with SSL_CTX_sessions). */
int is_cached(SSL_CTX *ctx, const SSL_SESSION *session);

/* ---- callbacks ------------------------------------------------------------------------------- */

/* An external cache, as an application has one: sessions by id, as DER. */
#define STORE_SIZE 64
struct store {
    struct session_id ids[STORE_SIZE];
    unsigned char *der[STORE_SIZE];
    int der_length[STORE_SIZE];
};

void store_put(struct store *store, SSL_SESSION *session);
SSL_SESSION *store_find(const struct store *store, const unsigned char *id, int length);
int store_count(const struct store *store);
void store_clear(struct store *store);

/* The ways in which new_cb treats the reference it is given. */
enum new_action {
    NEW_FREES,   /* frees the reference and returns 1: nothing but the cache holds the session */
    NEW_KEEPS,   /* keeps the reference in recorder.kept and returns 1 */
    NEW_DECLINES /* returns 0 */
};

/* The callbacks of one context: what they do, and what was seen of them. Start with {0}. */
struct recorder {
    enum new_action new_action;
    struct store *external;  /* if set, new_cb saves to it and get_cb asks it (copy = 0) */
    SSL_SESSION *get_result; /* else what get_cb returns ... */
    int get_copy;            /* ... and what it sets *copy to; -1 leaves it untouched */

    int new_calls, remove_calls, get_calls;
    struct session_id last_new, last_removed, last_asked;
    SSL_SESSION *kept;          /* NEW_KEEPS: the last reference kept; the test frees it */
    int copy_on_entry;          /* *copy as get_cb found it last */
    const SSL *last_connection; /* the SSL that new_cb was given last */
    const SSL_CTX *last_ctx;    /* the ctx that remove_cb was given last */
};

/* Sets all three callbacks of the context to ones that record here (SSL_CTX_set_app_data). */
void record(SSL_CTX *ctx, struct recorder *recorder);

/* The same callbacks one by one, for tests that set them themselves; the app_data is needed. */
int recording_new_cb(SSL *ssl, SSL_SESSION *session);
void recording_remove_cb(SSL_CTX *ctx, SSL_SESSION *session);
SSL_SESSION *recording_get_cb(SSL *ssl, const unsigned char *id, int length, int *copy);

#endif
