/* A module that uses a libcrypto alone. */
#include <openssl/evp.h>

void use(void);

void use(void)
{
    unsigned char digest[EVP_MAX_MD_SIZE];

    EVP_Digest("x", 1, digest, NULL, EVP_sha256(), NULL);
}
