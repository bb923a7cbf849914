/*
 * The program loses its environment before it uses OpenSSL, as nginx overwrites and Redis clears
 * it: what was set when it started holds. Says how many sessions are cached after one that new_cb
 * declined (clause 3). Built and run by guest.sh.
 */
#include "harness.h"

#include <stdlib.h>
#include <string.h>

extern char **environ;

int main(int argc, char **argv)
{
    struct recorder recorder = { .new_action = NEW_DECLINES, .get_copy = -1 };
    SSL_CTX *server, *client;

    (void)argv;
    if (argc > 1)
        for (char **variable = environ; *variable != NULL; variable++)
            memset(*variable, 'x', strlen(*variable));
    else
        clearenv();
    server = new_server(&protocols[0]);
    client = new_client(&protocols[0]);
    record(server, &recorder);
    SSL_SESSION_free(obtain_session(server, client));
    report("cached", SSL_CTX_sess_number(server));
    SSL_CTX_free(client);
    SSL_CTX_free(server);
    return test_end();
}
