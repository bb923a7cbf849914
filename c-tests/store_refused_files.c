/*
 * A host store that cannot be used, or a key file that must not be: the server runs on without a
 * store, one line in the log says why, and what is there is left as it was, byte for byte.
 */
#include "harness_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STRANGER = 12345, MEBIBYTE = 1 << 20 };

static const char *log_file(void)
{
    static char variable[URL_SIZE];

    snprintf(variable, sizeof(variable), "SESSCACHE_LOG=%s", path_of("log"));
    return variable;
}

static void runs_with_store(void)
{
    own_server = new_host(&protocols[0]);
    own_client = new_client(&protocols[0]);
    CHECK(has_store(own_server));
    SSL_SESSION_free(obtain_here());
    free_own_contexts();
}

/* Contexts made twice, since one makes the library look at its key file again. */
static void runs_without_store(void)
{
    for (size_t i = 0; i < 2; i++) {
        SSL_SESSION *session;

        own_server = new_host(&protocols[i]);
        own_client = new_client(&protocols[i]);
        CHECK(!has_store(own_server));
        session = obtain_here();
        CHECK_INT(resumes_here(session), 1);
        SSL_CTX_flush_sessions(own_server, 0);
        CHECK_INT(resumes_here(session), 0);
        SSL_SESSION_free(session);
        free_own_contexts();
    }
}

/*
 * One line, which names the file or variable and the cause; one more if the key file is at fault,
 * for the tickets that it is not used for, either.
 */
static void check_log(const char *name, const char *cause)
{
    int all = log_lines("log", "");

    CHECK_INT(log_lines("log", "no session is shared") + log_lines("log", "no store is used"), 1);
    CHECK_INT(all - log_lines("log", "tickets are not shared"), 1);
    if (!CHECK(log_lines("log", name) == all && log_lines("log", cause) == all)) {
        size_t length;
        unsigned char *text = read_file("log", &length);

        fprintf(stderr, "not '%s' and '%s', but: %.*s\n", name, cause, (int)length, (char *)text);
        free(text);
    }
    unlink("log");
}

static void check_same(const char *name, const unsigned char *before, size_t length)
{
    size_t now_length;
    unsigned char *now = read_file(name, &now_length);

    CHECK_INT(now != NULL, before != NULL);
    CHECK_INT(now_length, length);
    if (now != NULL && before != NULL && now_length == length)
        CHECK(memcmp(now, before, length) == 0);
    free(now);
}

/* The store "SESSCACHE_STORE=..." with that key file; `name` is the file that is at fault. */
static void refused(
    const char *what, const char *store, const char *keys, const char *name, const char *cause)
{
    struct stat before, after;
    size_t length;
    unsigned char *bytes = read_file(name, &length);
    int existed = lstat(name, &before) == 0;

    section("%s", what);
    if (keys != NULL)
        RUN_AGAIN(runs_without_store, log_file(), store, keys);
    else
        RUN_AGAIN(runs_without_store, log_file(), store);
    check_log(name, cause);
    check_same(name, bytes, length);
    free(bytes);
    if (CHECK_INT(lstat(name, &after) == 0, existed) && existed) {
        CHECK_INT(after.st_mode, before.st_mode);
        CHECK_INT(after.st_uid, before.st_uid);
        CHECK_INT(after.st_size, before.st_size);
    }
}

/* A store as the library makes it, under another name. */
static void copy_store(const char *name, size_t length, size_t change_at, mode_t mode)
{
    size_t whole;
    unsigned char *bytes = read_file("store", &whole);

    REQUIRE(bytes != NULL && whole >= MEBIBYTE);
    REQUIRE((bytes = realloc(bytes, whole + length)) != NULL);
    memset(bytes + whole, 0, length);
    bytes[change_at] ^= 0x55;
    write_file(name, bytes, length == 0 ? whole : length, mode);
    free(bytes);
}

enum { AS_IT_IS = MEBIBYTE - 1 }; /* a change in the last byte, which is in no head */

static void store_files(void)
{
    const char *keys = key_file("keys");
    char path[PATH_SIZE];
    size_t length;

    free(read_file("store", &length));
    copy_store("truncated", length / 2, AS_IT_IS / 4, 0600);
    refused("truncated", file_store("truncated"), keys, "truncated", "damaged");
    copy_store("head_only", 100, 99, 0600);
    refused("head only", file_store("head_only"), keys, "head_only", "not a store");
    copy_store("longer", length + 4096, AS_IT_IS, 0600);
    refused("longer", file_store("longer"), keys, "longer", "damaged");
    copy_store("another", 0, 0, 0600);
    refused("another magic", file_store("another"), keys, "another", "not a store");
    write_file("text", "This is not a store.\n", 21, 0600);
    refused("text", file_store("text"), keys, "text", "not a store");
    copy_store("group", 0, AS_IT_IS, 0620);
    refused("group may write", file_store("group"), keys, "group", "others may");
    copy_store("world", 0, AS_IT_IS, 0604);
    refused("others may read", file_store("world"), keys, "world", "others may");
    CHECK_INT(mkdir("folder", 0700), 0);
    refused("folder", file_store("folder"), keys, "folder", "not a regular file");
    CHECK_INT(mkfifo("fifo", 0600), 0);
    refused("fifo", file_store("fifo"), keys, "fifo", "not a regular file");
    CHECK_INT(symlink("store", "link"), 0);
    refused("symlink", file_store("link"), keys, "link", "symbolic link");
    CHECK_INT(symlink("nothing", "dangling"), 0);
    refused("dangling symlink", file_store("dangling"), keys, "dangling", "symbolic link");
    CHECK(access("nothing", F_OK) != 0);
    snprintf(path, sizeof(path), "SESSCACHE_STORE=file:%s?size=2MiB", path_of("store"));
    refused("another size", path, keys, "store", "2097152");
    refused("missing folders", file_store("none/deeper/store"), keys, "none", "folder");
    CHECK_INT(mkdir("public", 0755), 0);
    refused("mistyped", file_store("public/none/store"), keys, "public/none", "does not exist");
    CHECK_INT(mkdir("open", 0700), 0);
    CHECK_INT(chmod("open", 0777), 0);
    refused("folder for all to write to", file_store("open/store"), keys, "open/store", "folder");
    if (getuid() != 0) {
        note("not root: without the store of another user");
        return;
    }
    copy_store("strangers", 0, AS_IT_IS, 0600);
    CHECK_INT(chown("strangers", STRANGER, STRANGER), 0);
    refused("another owner", file_store("strangers"), keys, "strangers", "another user");
}

static void key_files(void)
{
    char text[70000];
    const char *store = file_store("fresh");

    refused("no key file", store, NULL, "fresh", "SESSCACHE_KEY_FILE");
    refused("missing key file", store, key_file("missing"), "missing", "does not exist");
    refused("relative key file", store, "SESSCACHE_KEY_FILE=keys", "keys", "keys");
    write_keys("readable", 1, 1);
    CHECK_INT(chmod("readable", 0660), 0);
    refused("group may write keys", store, key_file("readable"), "readable", "mode 0660");
    if (geteuid() == 0) {
        CHECK_INT(chmod("readable", 0640), 0);
        CHECK_INT(chown("readable", 0, STRANGER), 0);
        refused("another group may read keys", store, key_file("readable"), "readable",
                "may be read by group 12345");
    }
    CHECK_INT(chmod("readable", 0601), 0);
    refused("others' bit on keys", store, key_file("readable"), "readable", "mode 0601");
    CHECK_INT(symlink("keys_link", "keys_link"), 0);
    refused("circle of symlinks", store, key_file("keys_link"), "keys_link", "circle of links");
    CHECK_INT(mkdir("way", 0777), 0);
    CHECK_INT(chmod("way", 0777), 0);
    CHECK_INT(symlink("../keys", "way/keys"), 0);
    refused("symlink that all can replace", store, key_file("way/keys"), "way/keys",
            "can be replaced by other users, through");
    refused("folder of keys", store, key_file("folder"), "folder", "not a regular file");
    refused("fifo of keys", store, key_file("fifo"), "fifo", "not a regular file");
    write_file("empty", "# nothing\n\n", 11, 0600);
    refused("no key in it", store, key_file("empty"), "empty", "no key");
    write_file("short", "0123456789abcdef\n", 17, 0600);
    refused("short key", store, key_file("short"), "short", "line 1");
    write_keys("many", 1, 17);
    refused("17 keys", store, key_file("many"), "many", "16 keys");
    memset(text, '#', sizeof(text));
    write_file("huge", text, sizeof(text), 0600);
    refused("huge key file", store, key_file("huge"), "huge", "65536 bytes");
    if (getuid() != 0)
        return;
    write_keys("strangers_keys", 1, 1);
    CHECK_INT(chown("strangers_keys", STRANGER, STRANGER), 0);
    refused("another's keys", store, key_file("strangers_keys"), "strangers_keys", "user 12345");
}

static void urls(void)
{
    static const char *const wrong[] = { "file:store", "file:", "/run/store", "redis://host",
        "shm:/path", "shm:?size=1", "shm:?size=1023KiB", "shm:?size=lots", "shm:?colour=red" };
    char variable[256];

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        snprintf(variable, sizeof(variable), "SESSCACHE_STORE=%s", wrong[i]);
        refused(wrong[i], variable, key_file("keys"), "", wrong[i]);
    }
}

/* No store is asked for: nothing is said. */
static void unset(void)
{
    section("unset");
    RUN_AGAIN(runs_without_store, log_file(), "SESSCACHE_STORE=");
    CHECK_INT(log_lines("log", ""), 0);
}

/* And what is as it should be is used, again and again. */
static void usable(void)
{
    section("usable");
    RUN_AGAIN(runs_with_store, log_file(), file_store("store"), key_file("keys"));
    RUN_AGAIN(runs_with_store, log_file(), file_store("store"), key_file("keys"));
    copy_store("copy", 0, AS_IT_IS, 0600);
    RUN_AGAIN(runs_with_store, log_file(), file_store("copy"), key_file("keys"));
    /* A folder is made in one of the user's own. */
    CHECK_INT(mkdir("own", 0700), 0);
    RUN_AGAIN(runs_with_store, log_file(), file_store("own/made/store"), key_file("keys"));
    write_keys("sixteen", 1, 16);
    RUN_AGAIN(runs_with_store, log_file(), file_store("store"), key_file("sixteen"));
    CHECK_INT(log_lines("log", ""), 0);
}

static const struct named_function functions[] = {
    NAMED(runs_with_store), NAMED(runs_without_store), { NULL, NULL },
};

int main(int argc, char **argv)
{
    begin(argc, argv, functions);
    (void)host_identity();
    write_keys("keys", 1, 1);
    usable();
    store_files();
    key_files();
    urls();
    unset();
    return test_end();
}
