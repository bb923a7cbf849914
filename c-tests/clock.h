/*
 * A clock of the program's own, TEST_CLOCK seconds ahead of the system's; or it stands still, TEST_TIME
 * seconds after 1970. It stands before the C library's, for libssl, libcrypto and sesscache too: NAME.build says CFLAGS=-rdynamic.
 */
#ifndef SESSCACHE_TEST_CLOCK_H
#define SESSCACHE_TEST_CLOCK_H

#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    const char *ahead = getenv("TEST_CLOCK"), *still = getenv("TEST_TIME");

    if (result != 0 || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
        return result;
    if (ahead != NULL)
        time->tv_sec += atol(ahead);
    if (still != NULL)
        *time = (struct timespec){ .tv_sec = atol(still) };
    return result;
}

time_t time(time_t *place)
{
    struct timespec now = { 0, 0 };

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (place != NULL)
        *place = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict value, void *restrict zone)
{
    struct timespec now = { 0, 0 };
    int result = clock_gettime(CLOCK_REALTIME, &now);

    (void)zone;
    value->tv_sec = now.tv_sec;
    value->tv_usec = now.tv_nsec / 1000;
    return result;
}

#endif
