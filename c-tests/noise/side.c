/*
 * A program that is a client, a server, or cannot be told for either by its contexts' method. Makes
 * three contexts, and exits. Built and run by noise.sh and syslog.sh.
 */
#include <stdio.h>
#include <string.h>
#include <openssl/ssl.h>

static int is(const char *side, const char *name)
{
    return strcmp(side, name) == 0;
}

static int set_up(const char *side)
{
    const SSL_METHOD *method = is(side, "client") ? TLS_client_method() : TLS_method();
    SSL_CTX *ctx;
    int result = 1;

    if (is(side, "server"))
        method = TLS_server_method();
    else if (is(side, "datagram-server"))
        method = DTLS_server_method();
    ctx = SSL_CTX_new(method);
    if (ctx == NULL)
        return 0;
    /* As Python does for clients, too; of a context for both sides it shows that this is a server. */
    if (!is(side, "both"))
        result = SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"side", 4);
    SSL_CTX_free(ctx);
    return result;
}

int main(int argc, char **argv)
{
    for (int i = 0; argc == 2 && i < 3; i++)
        if (!set_up(argv[1]))
            return 1;
    puts(argc == 2 ? argv[1] : "which?");
    return argc != 2;
}
