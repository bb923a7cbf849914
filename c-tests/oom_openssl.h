/* The allocator of oom.c: OpenSSL's own is replaced. */
static void *failing_malloc(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return must_fail() ? NULL : malloc(size);
}

static void *failing_realloc(void *old, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return must_fail() ? NULL : realloc(old, size);
}

static void plain_free(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    free(memory);
}

static void set_allocator(void)
{
    REQUIRE(CRYPTO_set_mem_functions(failing_malloc, failing_realloc, plain_free) == 1);
}
