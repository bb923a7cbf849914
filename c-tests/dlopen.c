/*
 * Fact 2: a program with libcrypto only, in which the overlay has nothing to do: it brings no
 * libssl in, and its functions say no. Being called so early does not spoil what comes: a module
 * brings libssl in with RTLD_GLOBAL, lives, goes, and comes again with RTLD_LOCAL.
 */
#include "mapped.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <openssl/ssl.h>

static int failures;

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            failures++; \
        } \
    } while (0)

/* A function that the program's calls would go to, if it made any. */
static void *found(const char *name)
{
    return dlsym(RTLD_DEFAULT, name);
}

/* The overlay's functions, in a process without libssl. */
static void too_early(void)
{
    SSL_CTX *(*ctx_new)(const SSL_METHOD *);
    long (*ctx_ctrl)(SSL_CTX *, int, long, void *);
    long (*set_time)(SSL_SESSION *, long);
    int (*is_active)(const SSL_CTX *);

    *(void **)&is_active = found("sesscache_is_active");
    if (is_active == NULL)
        return; /* stock */
    *(void **)&ctx_new = found("SSL_CTX_new");
    *(void **)&ctx_ctrl = found("SSL_CTX_ctrl");
    *(void **)&set_time = found("SSL_SESSION_set_time");
    CHECK(is_active(NULL) == 0);
    CHECK(ctx_new(NULL) == NULL);
    CHECK(ctx_ctrl(NULL, SSL_CTRL_SESS_NUMBER, 0, NULL) == 0);
    CHECK(set_time(NULL, 1) == 0);
}

/* The one function of libcrypto that is overlaid, for a class and for one of libssl's. */
static void indexes(void)
{
    int index = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_APP, 0, NULL, NULL, NULL, NULL);
    CRYPTO_EX_DATA data;

    CHECK(index >= 0);
    CHECK(CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_APP, 0, NULL, NULL, NULL, NULL) == index + 1);
    CHECK(CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL_CTX, 0, NULL, NULL, NULL, NULL) > 0);
    CHECK(CRYPTO_get_ex_new_index(-1, 0, NULL, NULL, NULL, NULL) == -1);
    CHECK(CRYPTO_new_ex_data(CRYPTO_EX_INDEX_APP, NULL, &data) == 1);
    CHECK(CRYPTO_set_ex_data(&data, index, &data) == 1);
    CHECK(CRYPTO_get_ex_data(&data, index) == &data);
    CRYPTO_free_ex_data(CRYPTO_EX_INDEX_APP, NULL, &data);
}

static void *load(int flags)
{
    const char *path = getenv("SESSCACHE_TEST_PLUGIN");
    void *module = path == NULL ? NULL : dlopen(path, RTLD_NOW | flags);

    if (module == NULL) {
        fprintf(stderr, "no module: %s\n", dlerror());
        exit(1);
    }
    return module;
}

static void live(void *module)
{
    int (*function)(void);

    *(void **)&function = dlsym(module, "plugin_live");
    CHECK(function != NULL && function() == 0);
}

static SSL_CTX *leave_context(void *module)
{
    SSL_CTX *(*function)(void);

    *(void **)&function = dlsym(module, "plugin_leave");
    CHECK(function != NULL);
    return function == NULL ? NULL : function();
}

int main(void)
{
    void (*ctx_free)(SSL_CTX *);
    SSL_CTX *left;
    void *module;

    CHECK(is_mapped("/libcrypto.so") == 1);
    too_early();
    indexes();
    CHECK(is_mapped("/libssl.so") == 0);

    module = load(RTLD_GLOBAL);
    CHECK(is_mapped("/libssl.so") == 1);
    *(void **)&ctx_free = found("SSL_CTX_free");
    CHECK(ctx_free != NULL);
    live(module);
    left = leave_context(module);
    dlclose(module);

    /* libssl stays (it is linked so, and the overlay holds it), and so does what was made. */
    CHECK(is_mapped(".plugin.so") == 0);
    CHECK(is_mapped("/libssl.so") == 1);
    indexes();
    if (ctx_free != NULL)
        ctx_free(left);

    module = load(RTLD_LOCAL);
    live(module);
    dlclose(module);
    return failures != 0;
}
