/* Faults on purpose, so that run.sh can prove that the sanitizer is on. FAULT=leak|after_free */
#include <stdlib.h>
#include <string.h>

/* volatile, or the compiler sees through it. */
static char *volatile held;

int main(void)
{
    const char *fault = getenv("FAULT");
    char *volatile read_from;

    if (fault == NULL)
        return 2;
    held = malloc(100);
    if (strcmp(fault, "leak") == 0) {
        held = NULL;
        return 0;
    }
    read_from = held;
    free(held);
    return read_from[1] == 'x';
}
