/*
 * With the host store on (store_quiet.env) the error queue, its marks, errno and dlerror() are what
 * stock leaves: errqueue.c with no difference. The store forgets what a connection without a proper
 * end used, as stock does, so that the same handshakes resume.
 */
#include "errqueue.c"
