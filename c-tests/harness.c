/* Checks and reports, see harness.h. Their state: how many checks failed, and the section. */
#include "harness.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <openssl/err.h>

enum { EXIT_SKIPPED = 77 };

static atomic_int failures;
static char current_section[128];

static void fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    char text[512];

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    atomic_fetch_add(&failures, 1);
    fflush(stdout);
    fprintf(stderr, "%s:%d: [%s] %s\n", file, line, current_section, text);
}

int check_true(const char *file, int line, const char *what, int holds)
{
    if (!holds)
        fail(file, line, "does not hold: %s", what);
    return holds;
}

int check_int(const char *file, int line, const char *what, long got, long want)
{
    if (got != want)
        fail(file, line, "%s is %ld, expected %ld", what, got, want);
    return got == want;
}

int check_ptr(const char *file, int line, const char *what, const void *got, const void *want)
{
    if (got != want)
        fail(file, line, "%s is %p, expected %p", what, got, want);
    return got == want;
}

void section(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(current_section, sizeof(current_section), format, args);
    va_end(args);
}

void report_text(const char *name, const char *value)
{
    printf("%s%s%s: %s\n", current_section, *current_section ? " " : "", name, value);
}

void report(const char *name, long value)
{
    char text[32];

    snprintf(text, sizeof(text), "%ld", value);
    report_text(name, text);
}

void note(const char *format, ...)
{
    va_list args;

    printf("# ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

void skip(const char *why)
{
    printf("# skipped: %s\n", why);
    fflush(stdout);
    exit(EXIT_SKIPPED);
}

void test_abort(void)
{
    fprintf(stderr, "cannot go on\n");
    ERR_print_errors_fp(stderr);
    exit(1);
}

int variable_is(const char *variable, const char *value)
{
    const char *has = getenv(variable);

    return has != NULL && strcmp(has, value) == 0;
}

int is_under_valgrind(void)
{
    const char *preloaded = getenv("LD_PRELOAD");

    return preloaded != NULL && strstr(preloaded, "vgpreload") != NULL;
}

int test_end(void)
{
    fflush(stdout);
    return atomic_load(&failures) == 0 ? 0 : 1;
}
