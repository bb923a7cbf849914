/* Loads modules, then uses each: load local|global FILE...; a file behind a `-` is loaded alone. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#define MOST 8

int main(int argc, char **argv)
{
    int scope = argc > 1 && strcmp(argv[1], "global") == 0 ? RTLD_GLOBAL : RTLD_LOCAL;
    void *modules[MOST] = { NULL };

    for (int i = 2; i < argc && i < MOST; i++) {
        modules[i] = dlopen(argv[i] + (argv[i][0] == '-'), RTLD_NOW | scope);
        if (modules[i] == NULL) {
            puts(dlerror());
            return 2;
        }
    }
    for (int i = 2; i < argc && i < MOST; i++) {
        void (*use)(void);

        *(void **)&use = dlsym(modules[i], "use");
        if (argv[i][0] != '-')
            use();
    }
    puts("end");
    return 0;
}
