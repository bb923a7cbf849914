/*
 * Fact 2: libssl is brought in by a module that was loaded with RTLD_LOCAL, as Python and Perl do.
 * The program itself has none, and the overlay is active in the module's contexts all the same.
 */
#include "mapped.h"

#include <dlfcn.h>
#include <stdlib.h>

int main(void)
{
    const char *path = getenv("SESSCACHE_TEST_PLUGIN");
    int (*live)(void);
    void *module;
    int result;

    if (is_mapped("/libssl.so") != 0 || is_mapped("/libcrypto.so") != 0) {
        fprintf(stderr, "OpenSSL is in the program before its module\n");
        return 1;
    }
    module = path == NULL ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (module == NULL) {
        fprintf(stderr, "no module: %s\n", dlerror());
        return 1;
    }
    if (is_mapped("/libssl.so") != 1 || dlsym(RTLD_DEFAULT, "SSL_CTX_free") != NULL) {
        fprintf(stderr, "the module was to bring libssl in for itself only\n");
        return 1;
    }
    *(void **)&live = dlsym(module, "plugin_live");
    result = live == NULL ? 1 : live();
    dlclose(module);
    return result;
}
