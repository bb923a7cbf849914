// gnutls URL COUNT CA: one set of credentials, and the session data of the connection before.
#include "connect.h"

#include <gnutls/gnutls.h>

static void check(int result) {
    if (result < 0) {
        fail(gnutls_strerror(result));
    }
}

int main(int argc, char **argv) {
    struct target target = read_target(argc, argv);
    gnutls_certificate_credentials_t credentials;
    gnutls_datum_t last = {NULL, 0};
    check(gnutls_certificate_allocate_credentials(&credentials));
    check(gnutls_certificate_set_x509_trust_file(credentials, target.authority,
                                                 GNUTLS_X509_FMT_PEM));
    while (target.count--) {
        gnutls_session_t session;
        char answer[4096];
        int socket = connect_to(&target);
        ssize_t got;
        check(gnutls_init(&session, GNUTLS_CLIENT));
        check(gnutls_set_default_priority(session));
        check(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials));
        check(gnutls_server_name_set(session, GNUTLS_NAME_DNS, HOST, strlen(HOST)));
        gnutls_session_set_verify_cert(session, HOST, 0);
        gnutls_transport_set_int(session, socket);
        if (last.data) {
            check(gnutls_session_set_data(session, last.data, last.size));
        }
        check(gnutls_handshake(session));
        check(gnutls_record_send(session, target.request, strlen(target.request)));
        do {
            got = gnutls_record_recv(session, answer, sizeof answer);
        } while (got > 0 || got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED);
        gnutls_free(last.data);
        check(gnutls_session_get_data2(session, &last));
        gnutls_bye(session, GNUTLS_SHUT_WR);
        gnutls_deinit(session);
        close(socket);
    }
    gnutls_free(last.data);
    gnutls_certificate_free_credentials(credentials);
    return 0;
}
