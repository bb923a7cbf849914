/* Faults on purpose, so that run.sh can prove that the sanitizer is on. FAULT=leak|after_free|race */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* volatile, or the compiler sees through it. */
static char *volatile held;
static int shared;

static void *increment(void *unused)
{
    shared++;
    return unused;
}

int main(void)
{
    const char *fault = getenv("FAULT");
    char *volatile read_from;
    pthread_t threads[2];

    if (fault == NULL)
        return 2;
    if (strcmp(fault, "race") == 0) {
        for (int i = 0; i < 2; i++)
            pthread_create(&threads[i], NULL, increment, NULL);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        return shared == 0;
    }
    held = malloc(100);
    if (strcmp(fault, "leak") == 0) {
        held = NULL;
        return 0;
    }
    read_from = held;
    free(held);
    return read_from[1] == 'x';
}
