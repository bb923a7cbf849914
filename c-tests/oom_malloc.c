/*
 * oom.c with malloc itself failing, for what OpenSSL does not ask for: our own code's allocations,
 * and those that the C library makes on our behalf (dlopen, dlsym). Rust's default is to abort.
 */
#define OOM_MALLOC
#include "oom.c"
