/*
 * errno after SSL_CTX_new: what stock leaves, whatever has become of the key file, which is looked
 * at whenever a context is made.
 */
#include "harness_store.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SOME_ERRNO = EXFULL };

static void make_context(const char *when)
{
    SSL_CTX *ctx;

    errno = SOME_ERRNO;
    ctx = SSL_CTX_new(TLS_server_method());
    section("%s", when);
    CHECK_INT(errno, SOME_ERRNO);
    CHECK(ctx != NULL);
    SSL_CTX_free(ctx);
}

static void make_contexts(void)
{
    /* libssl's own beginning may set it. */
    SSL_CTX_free(SSL_CTX_new(TLS_server_method()));
    make_context("as it was");
    write_keys("keys", 2, 2);
    make_context("other keys");
    CHECK_INT(chmod("keys", 0644), 0);
    make_context("open to others");
    CHECK_INT(unlink("keys"), 0);
    CHECK_INT(symlink("keys", "keys"), 0);
    make_context("a link");
    CHECK_INT(unlink("keys"), 0);
    make_context("gone");
    write_keys("keys", 3, 1);
    make_context("back");
}

static const struct named_function functions[] = { NAMED(make_contexts), { NULL, NULL } };

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    write_keys("keys", 1, 1);
    RUN_AGAIN(make_contexts, file_store("store"), key_file("keys"));
    write_keys("keys", 1, 1);
    RUN_AGAIN(make_contexts, "SESSCACHE_TICKETS=shared", key_file("keys"));
    write_keys("keys", 1, 1);
    RUN_AGAIN(make_contexts, file_store("store"), key_file("keys"), "SESSCACHE_LOG=/");
    return test_end();
}
