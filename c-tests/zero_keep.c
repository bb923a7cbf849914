/*
 * Clause 3 with SESSCACHE_NEW_CB_ZERO=keep (zero_keep.env): the body of zero_removes.c, and no
 * difference from stock: the session stays cached.
 */
#include "zero_removes.c"
