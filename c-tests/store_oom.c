/*
 * oom.c with the host store on (store_oom.env): when memory runs out a session is not shared, and
 * nothing else is lost.
 */
#define main main_of_oom
#include "oom.c"
#undef main

#ifndef OOM_MALLOC
/*
 * libcrypto remembers for ever that an algorithm could not be fetched, and the first context that
 * has a store fetches more than a stock one: as in a server that has made one before.
 */
static void warm_up_the_store(void)
{
    make_contexts();
    SSL_SESSION_free(obtain_session(server, client));
    free_contexts();
    ERR_clear_error();
}
#endif

int main(void)
{
    struct {
        struct kinds kinds;
        long counted;
    } *shared = mmap(
        NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    REQUIRE(shared != MAP_FAILED);
    kinds = &shared->kinds;
    set_allocator();
    sessions_alive();
#ifdef OOM_MALLOC
    warm_up(); /* its allocations do not fail: the first context is tried, too */
#else
    warm_up_the_store();
#endif
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
        if (overlaid() || !scenarios[i].breaks_stock)
            sweep(&scenarios[i], &shared->counted);
    munmap(shared, sizeof(*shared));
    return test_end();
}
