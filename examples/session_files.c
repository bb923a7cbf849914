/* Sessions kept as files: the callbacks new_cb, get_cb and remove_cb of the manual page
 * SSL_CTX_sess_set_get_cb. A file's name is the session id in hex, its contents are the session as
 * i2d_SSL_SESSION writes it. An error with a file costs a full handshake, no more.
 *
 * A file is deleted when its session is removed. If no client ever offers a session again, its file
 * stays. So let cron delete files that are older than the timeout: find DIR -mmin +60 -delete */
#define _POSIX_C_SOURCE 200809L

#include "session_files.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_FILE_SIZE = 64 * 1024, /* a session with a client certificate is a few KiB */
    NAME_SIZE = 2 * SSL_MAX_SSL_SESSION_ID_LENGTH + 1
};

#define UNFINISHED ".new-" /* how the name of a file begins while it is written */

/* --- names and bytes ----------------------------------------------------------------------- */

static bool name_from_id(char name[NAME_SIZE], const unsigned char *id, size_t length)
{
    if (length == 0 || length > SSL_MAX_SSL_SESSION_ID_LENGTH)
        return false;
    for (size_t i = 0; i < length; i++)
        snprintf(name + 2 * i, 3, "%02x", (unsigned)id[i]);
    return true;
}

static bool name_from_session(char name[NAME_SIZE], const SSL_SESSION *session)
{
    unsigned int length = 0;
    const unsigned char *id = SSL_SESSION_get_id(session, &length);

    return name_from_id(name, id, length);
}

/* Returns 0, or -1 with errno set: on a full disk write() stops short, then fails. */
static int write_all(int fd, const unsigned char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

/* Returns the number of bytes read, at most size, or -1 with errno set. */
static ssize_t read_all(int fd, unsigned char *data, size_t size)
{
    size_t length = 0;

    while (length < size) {
        ssize_t n = read(fd, data + length, size - length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        length += (size_t)n;
    }
    return (ssize_t)length;
}

/* Writes under a temporary name and then renames, so that no server ever sees half a session.
 * Returns 0, or -1 with errno set and nothing left behind. */
static int write_file(int folder, const char *name, const unsigned char *data, size_t size)
{
    static unsigned long counter; /* the server is one thread */
    char unfinished[64];
    int fd;

    snprintf(unfinished, sizeof unfinished, UNFINISHED "%ld-%lu", (long)getpid(), counter++);
    unlinkat(folder, unfinished, 0); /* a killed server with our pid may have left one */
    fd = openat(folder, unfinished, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;

    int result = write_all(fd, data, size);
    int reason = errno;
    if (close(fd) != 0 && result == 0) { /* some file systems report a full disk only here */
        result = -1;
        reason = errno;
    }
    if (result == 0 && renameat(folder, unfinished, folder, name) != 0) {
        result = -1;
        reason = errno;
    }
    if (result != 0)
        unlinkat(folder, unfinished, 0);
    errno = reason;
    return result;
}

/* --- sessions and files -------------------------------------------------------------------- */

/* Returns NULL when the session was saved, else the reason why not. */
static const char *save(int folder, const char *name, const SSL_SESSION *session)
{
    int size = i2d_SSL_SESSION(session, NULL);
    if (size <= 0 || size > MAX_FILE_SIZE)
        return "its size is out of bounds";

    unsigned char *data = OPENSSL_malloc((size_t)size);
    if (data == NULL)
        return "out of memory";
    unsigned char *end = data; /* i2d moves the pointer it is given */
    i2d_SSL_SESSION(session, &end);

    const char *reason = NULL;
    if (write_file(folder, name, data, (size_t)size) != 0)
        reason = strerror(errno);
    OPENSSL_clear_free(data, (size_t)size); /* it held the master secret */
    return reason;
}

/* Returns a new session with one reference, or NULL. */
static SSL_SESSION *parse(const char *name, const unsigned char *data, size_t size)
{
    const unsigned char *end = data;
    char name_inside[NAME_SIZE];

    ERR_set_mark(); /* a bad file is a miss, not an error of the connection */
    SSL_SESSION *session = d2i_SSL_SESSION(NULL, &end, (long)size);
    ERR_pop_to_mark();

    if (session != NULL
        && (end != data + size || !name_from_session(name_inside, session)
            || strcmp(name_inside, name) != 0)) {
        SSL_SESSION_free(session);
        session = NULL;
    }
    return session;
}

static SSL_SESSION *load(int folder, const char *name)
{
    SSL_SESSION *session = NULL;
    unsigned char *data = NULL;
    struct stat status;
    /* O_NONBLOCK: opening a FIFO that someone put here must not wait for its other end. */
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return NULL;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0
        && status.st_size <= MAX_FILE_SIZE)
        data = OPENSSL_malloc((size_t)status.st_size);
    if (data != NULL) {
        ssize_t length = read_all(fd, data, (size_t)status.st_size);
        if (length == status.st_size)
            session = parse(name, data, (size_t)length);
        OPENSSL_clear_free(data, (size_t)status.st_size);
    }
    close(fd);
    return session;
}

/* --- the three callbacks ------------------------------------------------------------------- */

/* A session was negotiated: once per full TLS 1.2 handshake, once per ticket in TLS 1.3.
 * We get one reference. A copy in a file is enough for us, so we do not keep the reference:
 *   return 0: OpenSSL releases the reference, and by the manual page the session leaves the
 *             internal cache, so that the file alone decides (libssl by itself does not do that);
 *   return 1: the reference is ours to release, and the session stays in the internal cache too. */
static int new_cb(SSL *ssl, SSL_SESSION *session)
{
    const struct session_files *files = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    char name[NAME_SIZE];

    if (!name_from_session(name, session))
        return 0; /* a session without an id cannot be looked up */
    const char *reason = save(files->folder, name, session);
    if (reason != NULL)
        printf("new_cb id=%.8s… not saved: %s\n", name, reason);
    printf("new_cb id=%.8s… -> %d\n", name, files->new_returns);
    if (files->new_returns == 0)
        return 0;
    SSL_SESSION_free(session);
    return 1;
}

/* A client offers a session that is not in the internal cache. OpenSSL puts our answer there, unless
 * SSL_SESS_CACHE_NO_INTERNAL_STORE is set. The next offer to this server then finds it faster.
 * OpenSSL itself checks that the session has not expired and has the right session id context. */
static SSL_SESSION *get_cb(SSL *ssl, const unsigned char *id, int length, int *copy)
{
    const struct session_files *files = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    SSL_SESSION *session = NULL;
    char name[NAME_SIZE];

    /* 0: our reference becomes OpenSSL's. With 1 OpenSSL would take one more, which a program needs
     * that goes on using the session itself. */
    *copy = 0;
    if (length < 0 || !name_from_id(name, id, (size_t)length))
        return NULL;
    session = load(files->folder, name);
    printf("get_cb id=%.8s… -> %s\n", name, session != NULL ? "found" : "none");
    return session;
}

/* A session left the internal cache, or must not be resumed any more: it expired, its connection
 * broke, or the cache was full. libssl may hold a lock of ctx here: call nothing that needs it. */
static void remove_cb(SSL_CTX *ctx, SSL_SESSION *session)
{
    const struct session_files *files = SSL_CTX_get_app_data(ctx);
    char name[NAME_SIZE];

    if (!name_from_session(name, session))
        return;
    bool removed = unlinkat(files->folder, name, 0) == 0;
    printf("remove_cb id=%.8s… -> %s\n", name, removed ? "file removed" : "no file");
}

/* --- the folder ---------------------------------------------------------------------------- */

int session_files_open(struct session_files *files, const char *path, int new_returns)
{
    struct stat status;

    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        fprintf(stderr, "cannot make the folder %s: %s\n", path, strerror(errno));
        return -1;
    }
    files->new_returns = new_returns;
    files->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (files->folder < 0 || fstat(files->folder, &status) != 0) {
        fprintf(stderr, "cannot open the folder %s: %s\n", path, strerror(errno));
        session_files_close(files);
        return -1;
    }
    if (status.st_uid != geteuid() || (status.st_mode & 077) != 0) {
        fprintf(stderr, "%s holds secrets: it must be yours, with mode 0700\n", path);
        session_files_close(files);
        return -1;
    }
    return 0;
}

void session_files_close(struct session_files *files)
{
    if (files->folder >= 0)
        close(files->folder);
    files->folder = -1;
}

void session_files_attach(struct session_files *files, SSL_CTX *ctx)
{
    SSL_CTX_set_app_data(ctx, files);
    SSL_CTX_sess_set_new_cb(ctx, new_cb);
    SSL_CTX_sess_set_get_cb(ctx, get_cb);
    SSL_CTX_sess_set_remove_cb(ctx, remove_cb);
}

/* SSL_CTX_free calls remove_cb for every session in the internal cache. At the end of a server
 * that is not wanted: the files are for other servers, and for this one when it starts again. */
void session_files_detach(SSL_CTX *ctx)
{
    SSL_CTX_sess_set_new_cb(ctx, NULL);
    SSL_CTX_sess_set_get_cb(ctx, NULL);
    SSL_CTX_sess_set_remove_cb(ctx, NULL);
    SSL_CTX_set_app_data(ctx, NULL);
}
