/*
 * An allocator of the program's for OpenSSL (CRYPTO_set_mem_functions), in memory that the processes
 * forked later share or in private memory, as the program says from one moment to the next.
 *
 * Blocks are never given back, so a test ends before the room does. Included once in a program, which
 * calls use_own_allocator() before anything of OpenSSL.
 */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <openssl/crypto.h>

enum { ROOM = 64 << 20, BEFORE = 16 };

/* The beginning of the shared memory: what the processes of a test tell each other. */
struct common {
    size_t used;
    SSL_CTX *server, *second, *client;
    SSL *ssl;
    int count;
};

static struct common *common;
static unsigned char *private_room;
static size_t private_used;
static int allocates_shared;

/* Each process finds what it has put there, and in the shared memory also what others have. */
static void *allocate(size_t size, const char *file, int line)
{
    size_t *used = allocates_shared ? &common->used : &private_used;
    unsigned char *room = allocates_shared ? (unsigned char *)common : private_room;
    size_t place = __atomic_fetch_add(used, BEFORE + (size + 15) / 16 * 16, __ATOMIC_RELAXED);

    (void)file, (void)line;
    if (size == 0 || place + BEFORE + size > ROOM)
        return NULL;
    memcpy(room + place, &size, sizeof(size));
    return room + place + BEFORE;
}

static void *reallocate(void *old, size_t size, const char *file, int line)
{
    void *grown = allocate(size, file, line);
    size_t before = 0;

    if (old != NULL)
        memcpy(&before, (unsigned char *)old - BEFORE, sizeof(before));
    if (grown != NULL && old != NULL)
        memcpy(grown, old, before < size ? before : size);
    return grown;
}

static void release(void *block, const char *file, int line)
{
    (void)block, (void)file, (void)line;
}

static void *map(int kind)
{
    void *room = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return room == MAP_FAILED ? NULL : room;
}

/* 0 if OpenSSL has allocated already, and so refuses. */
static int use_own_allocator(int shared)
{
    common = map(MAP_SHARED);
    private_room = map(MAP_PRIVATE);
    if (common == NULL || private_room == NULL)
        return 0;
    common->used = private_used = (sizeof(*common) + 15) / 16 * 16;
    allocates_shared = shared;
    return CRYPTO_set_mem_functions(allocate, reallocate, release);
}
