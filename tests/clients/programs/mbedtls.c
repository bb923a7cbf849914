// mbedtls URL COUNT CA: one configuration, and the session of the connection before.
#include "connect.h"

#include <mbedtls/ctr_drbg.h>
#include <mbedtls/entropy.h>
#include <mbedtls/net_sockets.h>
#include <mbedtls/ssl.h>

static void check(int result) {
    if (result < 0) {
        fprintf(stderr, "-0x%04x\n", -result);
        exit(1);
    }
}

static void ask(const mbedtls_ssl_config *settings, const struct target *target,
                mbedtls_ssl_session *session, int offer) {
    unsigned char answer[4096];
    mbedtls_net_context network = {connect_to(target)};
    mbedtls_ssl_context connection;
    mbedtls_ssl_init(&connection);
    check(mbedtls_ssl_setup(&connection, settings));
    check(mbedtls_ssl_set_hostname(&connection, HOST));
    mbedtls_ssl_set_bio(&connection, &network, mbedtls_net_send, mbedtls_net_recv, NULL);
    if (offer) {
        check(mbedtls_ssl_set_session(&connection, session));
    }
    check(mbedtls_ssl_handshake(&connection));
    mbedtls_ssl_session_free(session);
    mbedtls_ssl_session_init(session);
    check(mbedtls_ssl_get_session(&connection, session));
    check(mbedtls_ssl_write(&connection, (const unsigned char *)target->request,
                            strlen(target->request)));
    while (mbedtls_ssl_read(&connection, answer, sizeof answer) > 0) {
    }
    mbedtls_ssl_close_notify(&connection);
    mbedtls_ssl_free(&connection);
    mbedtls_net_free(&network);
}

int main(int argc, char **argv) {
    struct target target = read_target(argc, argv);
    mbedtls_entropy_context entropy;
    mbedtls_ctr_drbg_context random;
    mbedtls_x509_crt authority;
    mbedtls_ssl_config settings;
    mbedtls_ssl_session session;
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    mbedtls_x509_crt_init(&authority);
    mbedtls_ssl_config_init(&settings);
    mbedtls_ssl_session_init(&session);
    check(mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0));
    check(mbedtls_x509_crt_parse_file(&authority, target.authority));
    check(mbedtls_ssl_config_defaults(&settings, MBEDTLS_SSL_IS_CLIENT,
                                      MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT));
    mbedtls_ssl_conf_ca_chain(&settings, &authority, NULL);
    mbedtls_ssl_conf_rng(&settings, mbedtls_ctr_drbg_random, &random);
    for (int n = 0; n < target.count; n++) {
        ask(&settings, &target, &session, n > 0);
    }
    mbedtls_ssl_session_free(&session);
    return 0;
}
