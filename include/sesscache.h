/* sesscache: TLS session caching for C servers. Made by cbindgen; see `make header`. */

#ifndef SESSCACHE_H
#define SESSCACHE_H

#include <stdint.h>
#include <openssl/ssl.h>

/* <openssl/ssl.h> declares the callback functions as well, with the same types. */
#ifdef __GNUC__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wredundant-decls"
#endif

/**
 * The counters of a host store, over all its processes since it was made, and how full it is.
 */
typedef struct sesscache_stats {
  /**
   * Sessions that were found and given to OpenSSL to resume.
   */
  uint64_t hits;
  /**
   * Lookups that found none.
   */
  uint64_t misses;
  /**
   * Sessions stored, and permits for early data.
   */
  uint64_t stores;
  /**
   * Sessions removed.
   */
  uint64_t removes;
  /**
   * Sessions for single use that were taken, and permits for early data.
   */
  uint64_t takes;
  /**
   * Sessions that were met after their end.
   */
  uint64_t expired;
  /**
   * Sessions that made room before their end.
   */
  uint64_t evicted;
  /**
   * Lookups that met a removed session.
   */
  uint64_t tombstone_hits;
  /**
   * Sessions too large to be stored.
   */
  uint64_t oversize;
  /**
   * Sessions that did not open: another key file, another server name, or damage.
   */
  uint64_t undecryptable;
  /**
   * Sessions that opened and were not what was asked for.
   */
  uint64_t mismatched;
  /**
   * Sessions not stored because other processes changed the same few slots again and again.
   */
  uint64_t busy;
  /**
   * Removals that were forgotten before their time, because their bucket was full of removals.
   */
  uint64_t resets;
  /**
   * Sessions not shared: the context has neither a certificate nor a session id context.
   */
  uint64_t refused_no_identity;
  /**
   * Sessions not shared: SSL_VERIFY_PEER without a session id context.
   */
  uint64_t refused_verify_without_id_context;
  /**
   * Sessions not shared: the application stores none and has no callbacks.
   */
  uint64_t refused_not_asked;
  /**
   * Sessions in the store.
   */
  uint64_t entries;
  /**
   * Their bytes.
   */
  uint64_t bytes;
  /**
   * Bytes there are for sessions.
   */
  uint64_t capacity;
  /**
   * Sessions not shared: a client certificate was asked for and none given.
   */
  uint64_t refused_no_client_certificate;
  /**
   * Sessions not shared: OpenSSL has not found the client's certificate good, or
   * SESSCACHE_CLIENT_CERTS is `never`.
   */
  uint64_t refused_unverified;
  /**
   * Sessions not shared: authenticated by a pre-shared key or SRP.
   */
  uint64_t refused_application;
  /**
   * Sessions not resumed: made for another server name or another service.
   */
  uint64_t declined_name;
  /**
   * Sessions not resumed: over their lifetime by the settings of today.
   */
  uint64_t declined_lifetime;
  /**
   * Sessions not resumed: the connection has another session id context.
   */
  uint64_t declined_id_context;
  /**
   * Sessions not resumed: their cipher would not be negotiated now.
   */
  uint64_t declined_cipher;
  /**
   * Sessions not resumed: the client has to show a certificate, or another one.
   */
  uint64_t declined_client;
  /**
   * Sessions not resumed: it is not known yet to which virtual host the server name leads.
   */
  uint64_t declined_host;
  /**
   * Contexts whose ticket keys are the application's, although SESSCACHE_KEY_FILE has some.
   */
  uint64_t application_ticket_keys;
  /**
   * Contexts with OpenSSL's own session cache, because they lie in memory that other processes use.
   */
  uint64_t shared_memory;
  /**
   * Sessions not shared, or made elsewhere and not resumed: the program keeps data of its own with
   * sessions (SSL_SESSION_get_ex_new_index), which cannot travel.
   */
  uint64_t refused_side_data;
  /**
   * Sessions that processes have packed in their own caches, or let go there because this store had
   * them (SESSCACHE_LIVE_SESSIONS).
   */
  uint64_t packed;
  /**
   * Sessions that could not be packed, and stay whole.
   */
  uint64_t kept_live;
} sesscache_stats;

#ifdef __cplusplus
extern "C" {
#endif /* __cplusplus */

/**
 * Returns the version of the library, such as "0.1.0".
 *
 * The string is constant and must not be freed. Any thread may call it at any time. Since 0.1.
 */
const char *sesscache_version(void);

/**
 * Returns 1 if the session cache of `ctx` is sesscache's, 0 if it is OpenSSL's own: the context
 * was made before the library was loaded or when there was no memory, the OpenSSL is not a
 * supported one, or `ctx` is NULL.
 *
 * Any thread may call it at any time. Since 0.1.
 *
 * # Safety
 * `ctx` must be NULL or a valid context.
 */
int sesscache_is_active(const SSL_CTX *ctx);

/**
 * Has `ctx` share its sessions through the host store that `url` names: "shm:", for the processes
 * that this one forks, or "file:/PATH", both with "?size=64MiB" and "&key=/PATH" as wanted; see
 * sesscache(7). For servers that prefer code to the environment variable SESSCACHE_STORE, before
 * which it goes.
 *
 * Returns 1, or 0 with an entry on OpenSSL's error queue whose data (ERR_peek_last_error_all)
 * names the cause. Attaching the same URL again does nothing; another one is an error. A store
 * stays mapped until the process ends. If its file was removed, the next call makes another store,
 * and the old one goes with its last context.
 *
 * Call it before the context is used for connections; other threads may use other contexts
 * meanwhile. A "shm:" store is shared with processes that are forked after the first call with its
 * URL. Since 0.1.
 *
 * # Safety
 * `ctx` must be NULL or a valid context, `url` NULL or a C string.
 */
int sesscache_store_attach(SSL_CTX *ctx, const char *url);

/**
 * Fills `*stats` with the counters of the store that `ctx` uses: as much of it as `size`, which is
 * sizeof(struct sesscache_stats) for the program, so that later versions can add to its end.
 *
 * Returns 1, or 0 if `ctx` has no store or an argument is NULL; nothing is written then. Any
 * thread may call it at any time; other processes go on counting meanwhile. Since 0.1.
 *
 * # Safety
 * `ctx` must be NULL or a valid context, `stats` NULL or a place of `size` bytes.
 */
int sesscache_store_stats(const SSL_CTX *ctx, struct sesscache_stats *stats, size_t size);

/**
 * Sets the function that is called when a session was negotiated: once for every session in
 * TLS 1.2 and DTLS, once for every ticket in TLS 1.3, never on a resumption in TLS 1.2, and not
 * while caching is off for that side (SSL_CTX_set_session_cache_mode(3)).
 *
 * `cb` gets a session of which one reference belongs to the application. Return 1 to keep the
 * reference; the session also stays in the internal cache. Return 0 to give it back: the session
 * is then removed from the internal cache at once, and no remove_cb is called for it. In a program
 * that was not linked with this library, 0 leaves the session cached, as OpenSSL does;
 * SESSCACHE_NEW_CB_ZERO decides in both. With a host store the session is shared all the same.
 * NULL unsets it. Ignored if `ctx` is NULL.
 *
 * Thread safety: may be called at any time by any thread; handshakes that are past the point call
 * the function of before. No lock is held around `cb`, which may call any session function.
 *
 * Since 0.1. See SSL_CTX_sess_set_get_cb(3).
 *
 * # Safety
 * `ctx` must be NULL or a valid context, and `cb` callable while the context is in use.
 */
void SSL_CTX_sess_set_new_cb(SSL_CTX *ctx, int (*cb)(SSL *ssl, SSL_SESSION *sess));

/**
 * Returns the function that SSL_CTX_sess_set_new_cb() set, or NULL.
 *
 * Thread safety: may be called at any time by any thread. Since 0.1.
 *
 * # Safety
 * `ctx` must be NULL or a valid context.
 */
int (*SSL_CTX_sess_get_new_cb(SSL_CTX *ctx))(SSL *ssl, SSL_SESSION *sess);

/**
 * Sets the function that is called when a session leaves the internal cache: because it was
 * removed or flushed, faulty (fatal alert, unclean close), expired or evicted, and for every
 * cached session when `ctx` is freed. As in OpenSSL it is also called by SSL_CTX_remove_session()
 * for a session that is not cached, so that external caches hear of it.
 *
 * The session belongs to the library; take a reference to keep it. NULL unsets it. Ignored if
 * `ctx` is NULL.
 *
 * Thread safety: may be called at any time by any thread. No lock is held around `cb`, which may
 * call any session function, and runs on the thread that caused the removal.
 *
 * Since 0.1. See SSL_CTX_sess_set_get_cb(3).
 *
 * # Safety
 * `ctx` must be NULL or a valid context, and `cb` callable while the context is in use.
 */
void SSL_CTX_sess_set_remove_cb(SSL_CTX *ctx, void (*cb)(SSL_CTX *ctx, SSL_SESSION *sess));

/**
 * Returns the function that SSL_CTX_sess_set_remove_cb() set, or NULL.
 *
 * Thread safety: may be called at any time by any thread. Since 0.1.
 *
 * # Safety
 * `ctx` must be NULL or a valid context.
 */
void (*SSL_CTX_sess_get_remove_cb(SSL_CTX *ctx))(SSL_CTX *ctx, SSL_SESSION *sess);

/**
 * Sets the function that provides sessions from an external cache: it is called on servers, when
 * a client offers the session of `len` bytes at `data` and the internal cache does not have it
 * (or SSL_SESS_CACHE_NO_INTERNAL_LOOKUP is set), also while caching is off.
 *
 * `cb` returns the session or NULL. `*copy` is 1 on entry. If it is left so, OpenSSL takes a
 * reference of its own; set it to 0 to pass on the reference that the application holds. The
 * session is added to the internal cache unless SSL_SESS_CACHE_NO_INTERNAL_STORE is set.
 * NULL unsets it. Ignored if `ctx` is NULL.
 *
 * Thread safety: may be called at any time by any thread. No lock is held around `cb`, which may
 * call any session function.
 *
 * Since 0.1. See SSL_CTX_sess_set_get_cb(3).
 *
 * # Safety
 * `ctx` must be NULL or a valid context, and `cb` callable while the context is in use.
 */
void SSL_CTX_sess_set_get_cb(SSL_CTX *ctx, SSL_SESSION *(*cb)(SSL *ssl,
                                                              const unsigned char *data,
                                                              int len,
                                                              int *copy));

/**
 * Returns the function that SSL_CTX_sess_set_get_cb() set, or NULL.
 *
 * Thread safety: may be called at any time by any thread. Since 0.1.
 *
 * # Safety
 * `ctx` must be NULL or a valid context.
 */
SSL_SESSION *(*SSL_CTX_sess_get_get_cb(SSL_CTX *ctx))(SSL *ssl,
                                                      const unsigned char *data,
                                                      int len,
                                                      int *copy);

#ifdef __cplusplus
}  /* extern "C" */
#endif  /* __cplusplus */

#ifdef __GNUC__
#pragma GCC diagnostic pop
#endif

#endif  /* SESSCACHE_H */

#if defined(SESSCACHE_OLD_GET_CB) && !defined(SSL_CTX_sess_set_get_cb)
/*
 * The manual pages of OpenSSL 0.9.8 to 1.0.2 show get_cb without `const` on `data`. Code of that
 * age builds when it defines SESSCACHE_OLD_GET_CB before it includes this header.
 */
static inline void sesscache_old_get_cb_set(SSL_CTX *ctx,
                                            SSL_SESSION *(*cb)(SSL *ssl,
                                                               unsigned char *data,
                                                               int len,
                                                               int *copy))
{
    SSL_CTX_sess_set_get_cb(ctx,
                            (SSL_SESSION *(*)(SSL *, const unsigned char *, int, int *))
                                (void (*)(void))cb);
}
static inline SSL_SESSION *(*sesscache_old_get_cb_get(SSL_CTX *ctx))(SSL *ssl,
                                                                     unsigned char *data,
                                                                     int len,
                                                                     int *copy)
{
    return (SSL_SESSION *(*)(SSL *, unsigned char *, int, int *))
        (void (*)(void))SSL_CTX_sess_get_get_cb(ctx);
}
#define SSL_CTX_sess_set_get_cb(ctx, cb) sesscache_old_get_cb_set((ctx), (cb))
#define SSL_CTX_sess_get_get_cb(ctx) sesscache_old_get_cb_get((ctx))
#endif
