/* The module of dlopen.c. */
#include "local.plugin.c"
