// wolfssl URL COUNT CA: one context, and the session of the connection before.
#include "connect.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

static WOLFSSL_SESSION *ask(WOLFSSL_CTX *context, const struct target *target,
                            WOLFSSL_SESSION *last) {
    char answer[4096];
    int socket = connect_to(target);
    WOLFSSL *connection = wolfSSL_new(context);
    WOLFSSL_SESSION *session;
    wolfSSL_UseSNI(connection, WOLFSSL_SNI_HOST_NAME, HOST, strlen(HOST));
    wolfSSL_check_domain_name(connection, HOST);
    wolfSSL_set_fd(connection, socket);
    if (last) {
        wolfSSL_set_session(connection, last);
        wolfSSL_SESSION_free(last);
    }
    if (wolfSSL_connect(connection) != WOLFSSL_SUCCESS) {
        fail(wolfSSL_ERR_error_string(wolfSSL_get_error(connection, 0), answer));
    }
    wolfSSL_write(connection, target->request, (int)strlen(target->request));
    while (wolfSSL_read(connection, answer, sizeof answer) > 0) {
    }
    session = wolfSSL_get1_session(connection);
    wolfSSL_shutdown(connection);
    wolfSSL_free(connection);
    close(socket);
    return session;
}

int main(int argc, char **argv) {
    struct target target = read_target(argc, argv);
    WOLFSSL_CTX *context;
    WOLFSSL_SESSION *session = NULL;
    wolfSSL_Init();
    context = wolfSSL_CTX_new(wolfSSLv23_client_method());
    if (wolfSSL_CTX_load_verify_locations(context, target.authority, NULL) != WOLFSSL_SUCCESS) {
        fail("cannot read the certificate");
    }
    while (target.count--) {
        session = ask(context, &target, session);
    }
    wolfSSL_SESSION_free(session);
    wolfSSL_CTX_free(context);
    return 0;
}
