/*
 * Shared by the tests of the host store: the library's functions for it, files and certificates
 * that outlive a process, processes with other settings, and workers that do what they are asked.
 *
 * Needs an overlaid process: NAME.build says WAYS="preload link". The files lie in the current
 * folder, which run.sh makes for each run.
 */
#ifndef SESSCACHE_TEST_HARNESS_STORE_H
#define SESSCACHE_TEST_HARNESS_STORE_H

#include "harness.h"

#include <stdint.h>
#include <sys/types.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <sesscache.h>

/* ---- the library's functions ----------------------------------------------------------------- */

/* Found with dlsym: the program that is preloaded is not linked with the library. */
int attach_store(SSL_CTX *ctx, const char *url);
int read_stats(const SSL_CTX *ctx, struct sesscache_stats *stats, size_t size);

/* The counters of the context's store; a failed check if it has none. */
struct sesscache_stats stats_of(const SSL_CTX *ctx);
int has_store(const SSL_CTX *ctx);

/* Empties the internal cache, which is no flush: what was in it is evicted. */
void empty_cache(SSL_CTX *server);

/* SSL_SESSION_set_time() by libssl itself: the time has passed, and the application ends nothing. */
void set_time_unseen(SSL_SESSION *session, long seconds);

/* ---- files ----------------------------------------------------------------------------------- */

enum { PATH_SIZE = 4096, URL_SIZE = 2 * PATH_SIZE + 64 };

/* The absolute path of a file in the current folder, in one of a few buffers that take turns. */
const char *path_of(const char *name);

void write_file(const char *name, const void *bytes, size_t length, mode_t mode);

/* A file's bytes, to be freed with free(); NULL if it cannot be read. */
unsigned char *read_file(const char *name, size_t *length);

/* A key file with that many keys, the same for the same seed, newest first, mode 0600. */
void write_keys(const char *name, int seed, int count);

/* Lines with this part in them ("": all) that the library logged to the file (SESSCACHE_LOG). */
int log_lines(const char *name, const char *part);

/* The client's session, for another process. */
void save_session(const char *name, SSL_SESSION *session);
SSL_SESSION *load_session(const char *name);

/* ---- certificates ---------------------------------------------------------------------------- */

struct identity {
    EVP_PKEY *key;
    X509 *certificate;
};

/* Self-signed, of this name; its certificate ends in so many seconds. */
struct identity new_identity(const char *name, long ends_in);
void use_identity(SSL_CTX *ctx, const struct identity *identity);
void free_identity(struct identity *identity);

/* One for all processes of the test: made when first asked for, then read from its file. */
const struct identity *host_identity(void);

/* new_server() with that certificate. */
SSL_CTX *new_host(const struct protocol *p);

/* A verify callback that takes every certificate. */
int accept_every(int preverified, X509_STORE_CTX *store);

/* ---- processes ------------------------------------------------------------------------------- */

/*
 * A function that another process of this program is asked for. It goes by its name, because the
 * other process may have it at another address.
 */
typedef void function(void);
struct named_function {
    const char *name;
    function *function;
};
#define NAMED(function) { #function, (void (*)(void))(function) }

/*
 * The first line of main: in a process that run_again made, it does what that one is there for.
 * `functions` ends with { NULL, NULL }: the tasks and bodies of this test.
 */
void begin(int argc, char **argv, const struct named_function *functions);

/*
 * Runs `body` in a process of its own, this program started again. Of SESSCACHE_* it has the
 * variables given here, "NAME=value" up to a NULL, and no others. Its checks must hold.
 */
void run_again(function *body, const char *const *variables);
#define RUN_AGAIN(body, ...) run_again((body), (const char *const[]){ __VA_ARGS__, NULL })

/* "SESSCACHE_STORE=file:...", 1 MiB in the current folder, and "SESSCACHE_KEY_FILE=...". */
const char *file_store(const char *name);
const char *key_file(const char *name);

/* ---- workers --------------------------------------------------------------------------------- */

struct worker {
    pid_t pid;
    int wire; /* a socket, on which it is asked and answers */
};

/*
 * A task of a worker: it finds the client's session that was sent, or NULL, may put another in
 * its place (freeing the first) that is sent back, and returns the answer.
 */
typedef long task(long argument, SSL_SESSION **session);

struct worker fork_worker(void);                          /* a child of this process */
struct worker start_worker(const char *const *variables); /* and one that is started again */

void send_task(struct worker *worker, task *task, long argument, SSL_SESSION *session);
long receive_answer(struct worker *worker, SSL_SESSION **session);

/* Both, with nothing to be sent back; and with nothing but a session to be sent back. */
long ask(struct worker *worker, task *task, long argument, SSL_SESSION *session);
SSL_SESSION *ask_for_session(struct worker *worker, task *task, long argument);

/* It ends; its checks must have held. */
void end_worker(struct worker *worker);

/* In a worker: closes every descriptor but its wire and 2, where failed checks go. */
void close_descriptors(void);

/* The tasks below work on these, in each process its own. */
extern SSL_CTX *own_server, *own_client;
extern const char *own_name; /* the server name that the client sends, or NULL */

void free_own_contexts(void);

/* The two ends before the handshake, offering a session if there is one. */
struct connection open_own(SSL_SESSION *offer);

SSL_SESSION *obtain_in(struct worker *worker);               /* a full handshake there */
int resumes_in(struct worker *worker, SSL_SESSION *session); /* 1 resumed, 0 full, -1 failed */
SSL_SESSION *renew_in(struct worker *worker, SSL_SESSION *session); /* resumes: what came of it */
long end_in(struct worker *worker, SSL_SESSION *session); /* resumes: when what is cached ends */
int remove_in(struct worker *worker, SSL_SESSION *session); /* of the cache: 1 if it was there */

/* The same here. */
SSL_SESSION *obtain_here(void);
int resumes_here(SSL_SESSION *session);
SSL_SESSION *renew_here(SSL_SESSION *session);

#endif
