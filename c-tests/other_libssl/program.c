/* Loads modules, each for itself, and lets each live: program MODULE... */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    int failed = 0;

    for (int i = 1; i < argc; i++) {
        void *module = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
        int (*live)(void);

        if (module == NULL) {
            printf("no module: %s\n", dlerror());
            return 1;
        }
        *(void **)&live = dlsym(module, "live");
        printf("module %d\n", i);
        failed |= live == NULL || live() != 0;
    }
    return failed;
}
