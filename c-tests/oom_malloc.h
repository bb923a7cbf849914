/* The allocator of oom_malloc.c: malloc and its family, defined in the program for all. */
#ifdef __SANITIZE_ADDRESS__
static void set_allocator(void)
{
    (void)must_fail();
    skip("the sanitizer has a malloc of its own");
}
#else
#include <errno.h>
#include <link.h>
#include <stdint.h>

/* Other names of glibc's own. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static uintptr_t libcrypto_start, libcrypto_end;

static int find_libcrypto(struct dl_phdr_info *object, size_t size, void *argument)
{
    (void)size, (void)argument;
    if (strstr(object->dlpi_name, "/libcrypto.so") == NULL)
        return 0;
    libcrypto_start = object->dlpi_addr;
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];

        if (part->p_type == PT_LOAD)
            libcrypto_end = object->dlpi_addr + part->p_vaddr + part->p_memsz;
    }
    return 1;
}

/* OpenSSL asks for all its memory in libcrypto. */
static int must_fail_for(const void *caller)
{
    uintptr_t address = (uintptr_t)caller;

    return !(address >= libcrypto_start && address < libcrypto_end) && must_fail();
}

#define FAIL_IF_IT_MUST \
    do { \
        if (must_fail_for(__builtin_return_address(0))) { \
            errno = ENOMEM; \
            return NULL; \
        } \
    } while (0)

void *malloc(size_t size)
{
    FAIL_IF_IT_MUST;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    FAIL_IF_IT_MUST;
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    FAIL_IF_IT_MUST;
    return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size)
{
    FAIL_IF_IT_MUST;
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    FAIL_IF_IT_MUST;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    if (must_fail_for(__builtin_return_address(0)))
        return ENOMEM;
    *memory = __libc_memalign(alignment, size);
    return *memory == NULL ? ENOMEM : 0;
}

static void set_allocator(void)
{
    if (is_slow())
        skip("valgrind has a malloc of its own");
    REQUIRE(dl_iterate_phdr(find_libcrypto, NULL) == 1);
}
#endif
