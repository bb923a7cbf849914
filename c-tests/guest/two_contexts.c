/*
 * Says whether a session of one context resumes at another, which has a session id context and a
 * certificate as the first: it does if they share a store. Built and run by side_data_before.sh.
 */
#include "harness.h"

int main(int argc, char **argv)
{
    SSL_CTX *first = new_server(&protocols[0]), *second = new_server(&protocols[0]);
    SSL_CTX *client = new_client(&protocols[0]);
    SSL_SESSION *session = obtain_session(first, client);

    (void)argc;
    (void)argv;
    report("resumed", resumes(second, client, session));
    SSL_SESSION_free(session);
    SSL_CTX_free(client);
    SSL_CTX_free(first);
    SSL_CTX_free(second);
    return test_end();
}
