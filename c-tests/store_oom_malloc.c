/* oom_malloc.c with the host store on (store_oom_malloc.env): our own code's allocations. */
#define OOM_MALLOC
#include "store_oom.c"
