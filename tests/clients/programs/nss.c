// nss URL COUNT CA: one process, one session cache. NSS keeps it by address, port and name.
#include "connect.h"

#include <cert.h>
#include <certdb.h>
#include <nss.h>
#include <prerror.h>
#include <private/pprio.h>
#include <ssl.h>
#include <sslproto.h>

static void check(SECStatus status) {
    if (status != SECSuccess) {
        fail(PR_ErrorToName(PR_GetError()));
    }
}

// The first certificate of the file is believed, in memory.
static void trust(const char *file) {
    char text[8192] = {0};
    FILE *opened = fopen(file, "r");
    CERTCertificate *certificate;
    CERTCertTrust trusted = {CERTDB_TRUSTED_CA | CERTDB_VALID_CA, 0, 0};
    if (!opened || !fread(text, 1, sizeof text - 1, opened)) {
        fail("cannot read the certificate");
    }
    fclose(opened);
    certificate = CERT_DecodeCertFromPackage(text, (int)strlen(text));
    if (!certificate) {
        fail("cannot decode the certificate");
    }
    check(CERT_ChangeCertTrust(CERT_GetDefaultCertDB(), certificate, &trusted));
}

static void ask(const struct target *target) {
    char answer[4096];
    PRFileDesc *connection = SSL_ImportFD(NULL, PR_ImportTCPSocket(connect_to(target)));
    check(SSL_ResetHandshake(connection, PR_FALSE));
    check(SSL_SetURL(connection, HOST));
    if (PR_Write(connection, target->request, (PRInt32)strlen(target->request)) < 0) {
        fail(PR_ErrorToName(PR_GetError()));
    }
    while (PR_Read(connection, answer, sizeof answer) > 0) {
    }
    PR_Close(connection);
}

int main(int argc, char **argv) {
    struct target target = read_target(argc, argv);
    SSLVersionRange versions = {SSL_LIBRARY_VERSION_TLS_1_2, SSL_LIBRARY_VERSION_TLS_1_3};
    check(NSS_NoDB_Init(NULL));
    check(NSS_SetDomesticPolicy());
    check(SSL_VersionRangeSetDefault(ssl_variant_stream, &versions));
    check(SSL_OptionSetDefault(SSL_ENABLE_SESSION_TICKETS, PR_TRUE));
    trust(target.authority);
    while (target.count--) {
        ask(&target);
    }
    SSL_ClearSessionCache();
    return 0;
}
