/*
 * oom.c with the host store on (store_oom.env): when memory runs out a session is not shared, and
 * nothing else is lost.
 */
#define OOM_STORE
#include "oom.c"
