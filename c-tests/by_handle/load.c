/* Loads modules, and lets each live. One whose name has "bound" in it is bound to its libraries first. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    int failed = 0;

    for (int i = 1; i < argc; i++) {
        int is_bound = strstr(argv[i], "bound") != NULL;
        void *module = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL | (is_bound ? RTLD_DEEPBIND : 0));
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
