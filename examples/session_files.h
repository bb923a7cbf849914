/* Sessions kept as files: OpenSSL's three session callbacks over one folder.
 *
 * Several servers may use the same folder at the same time, and a server that starts again finds
 * what it left there. The files hold the sessions' master secrets: the folder must be private. */
#ifndef SESSION_FILES_H
#define SESSION_FILES_H

#include <openssl/ssl.h>

struct session_files {
    int folder;      /* descriptor of the folder */
    int new_returns; /* what new_cb returns, 0 or 1 */
};

/* Opens the folder, made with mode 0700 if it is not there. Returns 0, or -1 with the reason on
 * stderr: a folder that other users may enter is refused. */
int session_files_open(struct session_files *files, const char *path, int new_returns);

/* Sets the three callbacks on ctx, whose app data is a pointer to files until detach. */
void session_files_attach(struct session_files *files, SSL_CTX *ctx);

/* Takes the callbacks off ctx again. Call it before SSL_CTX_free, or that deletes files. */
void session_files_detach(SSL_CTX *ctx);

void session_files_close(struct session_files *files);

#endif
