/* sesscache: TLS session caching for C servers. Made by cbindgen; see `make header`. */

#ifndef SESSCACHE_H
#define SESSCACHE_H

#include <openssl/ssl.h>

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

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
 * Sets the function that is called when a session was negotiated: once for every session in
 * TLS 1.2 and DTLS, once for every ticket in TLS 1.3, never on a resumption in TLS 1.2, and not
 * while caching is off for that side (SSL_CTX_set_session_cache_mode(3)).
 *
 * `cb` gets a session of which one reference belongs to the application. Return 1 to keep the
 * reference; the session also stays in the internal cache. Return 0 to give it back: the session
 * is then removed from the internal cache at once, and no remove_cb is called for it.
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
}  // extern "C"
#endif  // __cplusplus

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
