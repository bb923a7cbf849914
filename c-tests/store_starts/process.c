/*
 * A process that takes part in a start: process SERVER|CLIENT|NONE [GATE]. It makes contexts as its
 * first argument says, and prints what it has mapped of the store (t/store): none, or the inode and
 * whether a core dump would have it. With GATE it waits until that file is gone, then makes another
 * context and prints the same again.
 */
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int make_context(const char *kind)
{
    if (strcmp(kind, "none") == 0)
        return 1;
    return SSL_CTX_new(strcmp(kind, "client") == 0 ? TLS_client_method() : TLS_server_method())
           != NULL;
}

static void print_mapping(void)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    char line[4096];
    unsigned long inode, found = 0;
    int is_store = 0, is_dumped = 0;

    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
        if (sscanf(line, "%*x-%*x %*s %*x %*s %lu", &inode) == 1) {
            is_store = strstr(line, "/t/store") != NULL;
            found = is_store ? inode : found;
        } else if (is_store && strncmp(line, "VmFlags:", 8) == 0) {
            is_dumped |= strstr(line, " dd") == NULL;
        }
    }
    if (maps != NULL)
        fclose(maps);
    if (found == 0)
        printf("none\n");
    else
        printf("%lu %s\n", found, is_dumped ? "dumped" : "not-dumped");
    fflush(stdout);
}

int main(int count, char **arguments)
{
    if (count < 2 || !make_context(arguments[1]))
        return 1;
    print_mapping();
    if (count > 2) {
        while (access(arguments[2], F_OK) == 0)
            usleep(10000);
        if (!make_context(arguments[1]))
            return 1;
        print_mapping();
    }
    return 0;
}
