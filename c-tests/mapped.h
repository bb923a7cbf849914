/* Asks what is mapped into this process; for programs that have no harness in them. */
#include <stdio.h>
#include <string.h>

/* 1 if a file of this name is mapped. */
static int is_mapped(const char *name)
{
    char line[512];
    int found = 0;
    FILE *maps = fopen("/proc/self/maps", "r");

    if (maps == NULL)
        return -1;
    while (fgets(line, sizeof(line), maps) != NULL)
        found |= strstr(line, name) != NULL;
    fclose(maps);
    return found;
}
