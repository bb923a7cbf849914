// For the clients in C: the arguments URL COUNT CA, and a TCP connection.
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST "localhost"

struct target {
    int port;
    int count;
    const char *authority;
    char request[256];
};

static void fail(const char *why) {
    fprintf(stderr, "%s\n", why);
    exit(1);
}

static struct target read_target(int argc, char **argv) {
    struct target target = {0};
    char path[128];
    if (argc != 4 || sscanf(argv[1], "https://" HOST ":%d%127s", &target.port, path) != 2) {
        fail("usage: URL COUNT CA");
    }
    target.count = atoi(argv[2]);
    target.authority = argv[3];
    snprintf(target.request, sizeof target.request, "GET %s HTTP/1.0\r\n\r\n", path);
    return target;
}

static int connect_to(const struct target *target) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(target->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int made = socket(AF_INET, SOCK_STREAM, 0);
    if (made < 0 || connect(made, (struct sockaddr *)&address, sizeof address) != 0) {
        fail("cannot connect");
    }
    return made;
}
