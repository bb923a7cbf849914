/*
 * The client of the fleet tests. It must not run with the overlay: it measures the servers.
 *
 *   visit [-p 1.2|1.3] [-t] PLACE save FILE COUNT     full connections; their sessions go to FILE
 *   visit [-p 1.2|1.3] [-t] PLACE offer FILE COUNT    goes round the sessions of FILE, and prints
 *                                                     "resumed R of COUNT"
 *   visit [-p 1.2|1.3] [-t] PLACE reach OTHER COUNT   how soon after a full handshake at PLACE its
 *                                                     session resumes at OTHER, in milliseconds:
 *                                                     "median M most M"
 *   visit [-p 1.2|1.3] [-t] PLACE spoil FILE          offers each session of FILE, which must
 *                                                     resume, and breaks the connection off with
 *                                                     a record that earns a fatal alert
 *   visit [-p 1.2|1.3] [-t] PLACE load OTHER SECONDS FILE
 *
 * load connects to PLACE and OTHER in turn. Each time one session of that place is offered, but one
 * connection in eight is a full one; those of PLACE go to FILE. Prints a line for each place:
 * "connections N failed N offered N resumed N p50 MS p99 MS most MS".
 *
 * A place is ADDRESS:PORT. Without -t sessions are looked up by their id, with it they are in the
 * ticket; what the server gives otherwise is an error. Ends with 1 if a connection did not work
 * (load counts it instead) or a full one was resumed, 2 if called wrongly.
 */
#include "connection.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FULL_ONE_IN = 8,
    MOST_CONNECTIONS = 200000, /* of one place under load */
    MOST_TRIES = 5000          /* until a session resumes elsewhere */
};

struct client {
    struct kind kind;
    SSL_CTX *ctx;
    struct sockaddr_in place;
};

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: visit [-p 1.2|1.3] [-t] PLACE save FILE COUNT\n"
                    "       visit [-p 1.2|1.3] [-t] PLACE offer FILE COUNT\n"
                    "       visit [-p 1.2|1.3] [-t] PLACE reach OTHER COUNT\n"
                    "       visit [-p 1.2|1.3] [-t] PLACE spoil FILE\n"
                    "       visit [-p 1.2|1.3] [-t] PLACE load OTHER SECONDS FILE\n");
    exit(2);
}

static void refuse_overlay(void)
{
    char line[4096];
    FILE *maps = fopen("/proc/self/maps", "r");

    if (maps == NULL)
        die("cannot read /proc/self/maps");
    while (fgets(line, sizeof line, maps) != NULL)
        if (strstr(line, "libsesscache") != NULL)
            die("the client itself runs with libsesscache");
    fclose(maps);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The figure below which are so many hundredths of a sorted array. */
static double percentile(const double *sorted, int count, int hundredths)
{
    int rank = (count * hundredths + 99) / 100;

    return count == 0 ? 0 : sorted[rank > 0 ? rank - 1 : 0];
}

/* A full connection; the caller frees the session. */
static SSL_SESSION *meet(const struct client *client, struct visit *result)
{
    if (!visit(client->ctx, &client->place, NULL, result))
        die("a full connection failed");
    if (result->resumed)
        die("a connection that offered nothing was resumed");
    if (result->session == NULL || !is_of_kind(result->session, &client->kind))
        die("the session is not of the kind that was asked for");
    return result->session;
}

static void save(const struct client *client, const char *path, int count)
{
    FILE *file = fopen(path, "w");

    if (file == NULL)
        die("cannot write the file of sessions");
    for (int i = 0; i < count; i++) {
        struct visit result;
        SSL_SESSION *session = meet(client, &result);

        if (!PEM_write_SSL_SESSION(file, session))
            die("cannot save a session");
        SSL_SESSION_free(session);
    }
    if (fclose(file) != 0)
        die("cannot save the sessions");
}

static int offer_once(const struct client *client, const struct sockaddr_in *place,
                      const SSL_SESSION *session)
{
    SSL_SESSION *copy = SSL_SESSION_dup(session);
    struct visit result;

    if (copy == NULL || !visit(client->ctx, place, copy, &result))
        die("a connection that offered a session failed");
    SSL_SESSION_free(result.session);
    SSL_SESSION_free(copy);
    return result.resumed;
}

static void offer(const struct client *client, const char *path, int count)
{
    SSL_SESSION **sessions;
    int known = load_sessions(path, &sessions), resumed = 0;

    for (int i = 0; i < count; i++)
        resumed += offer_once(client, &client->place, sessions[i % known]);
    free_sessions(sessions, known);
    printf("resumed %d of %d\n", resumed, count);
}

static void spoil(const struct client *client, const char *path)
{
    SSL_SESSION **sessions;
    int known = load_sessions(path, &sessions);

    for (int i = 0; i < known; i++)
        if (!visit_badly(client->ctx, &client->place, sessions[i]))
            die("no connection to spoil");
    free_sessions(sessions, known);
}

static void reach(const struct client *client, const struct sockaddr_in *other, int count)
{
    double *delays = calloc((size_t)count, sizeof *delays);

    if (delays == NULL)
        die("no memory");
    for (int i = 0; i < count; i++) {
        struct visit result;
        SSL_SESSION *session = meet(client, &result);
        int tries = 0;

        while (!offer_once(client, other, session))
            if (++tries == MOST_TRIES)
                die("the session never resumed at the other place");
        delays[i] = (seconds() - result.handshaken) * 1000;
        SSL_SESSION_free(session);
    }
    qsort(delays, (size_t)count, sizeof *delays, by_size);
    printf("median %.1f most %.1f\n", percentile(delays, count, 50), delays[count - 1]);
    free(delays);
}

/* What was seen of one place under load. */
struct record {
    struct sockaddr_in place;
    SSL_SESSION *session;
    double *times; /* milliseconds */
    int connections, failed, offered, resumed;
};

static void load_once(const struct client *client, struct record *record, FILE *file)
{
    int is_full = record->connections % FULL_ONE_IN == 0;
    SSL_SESSION *offered = is_full ? NULL : SSL_SESSION_dup(record->session);
    struct visit result;

    if (!visit(client->ctx, &record->place, offered, &result)) {
        record->failed++;
    } else {
        if (result.resumed && is_full)
            die("a connection that offered nothing was resumed");
        record->offered += !is_full;
        record->resumed += result.resumed;
        record->times[record->connections - record->failed] =
            (result.handshaken - result.began) * 1000;
        if (is_full && file != NULL && !PEM_write_SSL_SESSION(file, result.session))
            die("cannot save a session");
    }
    record->connections++;
    SSL_SESSION_free(result.session);
    SSL_SESSION_free(offered);
}

static void begin_record(const struct client *client, struct record *record,
                         const struct sockaddr_in *place)
{
    struct client there = *client;
    struct visit result;

    there.place = *place;
    *record = (struct record){ .place = *place };
    record->session = meet(&there, &result);
    record->times = calloc(MOST_CONNECTIONS, sizeof *record->times);
    if (record->times == NULL)
        die("no memory");
}

static void print_record(struct record *record)
{
    int worked = record->connections - record->failed;

    qsort(record->times, (size_t)worked, sizeof *record->times, by_size);
    printf("connections %d failed %d offered %d resumed %d p50 %.2f p99 %.2f most %.2f\n",
           record->connections, record->failed, record->offered, record->resumed,
           percentile(record->times, worked, 50), percentile(record->times, worked, 99),
           percentile(record->times, worked, 100));
    SSL_SESSION_free(record->session);
    free(record->times);
}

static void load(const struct client *client, const struct sockaddr_in *other, double duration,
                 const char *path)
{
    FILE *file = fopen(path, "w");
    struct record here, there;
    double end;

    if (file == NULL)
        die("cannot write the file of sessions");
    begin_record(client, &here, &client->place);
    begin_record(client, &there, other);
    end = seconds() + duration;
    while (seconds() < end && here.connections < MOST_CONNECTIONS) {
        load_once(client, &here, file);
        load_once(client, &there, NULL);
    }
    if (fclose(file) != 0)
        die("cannot save the sessions");
    print_record(&here);
    print_record(&there);
}

static void run(struct client *client, char **words, int count)
{
    const char *command = count > 1 ? words[1] : "";
    struct sockaddr_in other;

    if (count < 3 || !parse_place(words[0], &client->place))
        usage();
    if (count == 3 && strcmp(command, "spoil") == 0)
        spoil(client, words[2]);
    else if (count == 4 && strcmp(command, "save") == 0)
        save(client, words[2], atoi(words[3]));
    else if (count == 4 && strcmp(command, "offer") == 0)
        offer(client, words[2], atoi(words[3]));
    else if (!parse_place(words[2], &other))
        usage();
    else if (count == 4 && strcmp(command, "reach") == 0)
        reach(client, &other, atoi(words[3]));
    else if (count == 5 && strcmp(command, "load") == 0)
        load(client, &other, atof(words[3]), words[4]);
    else
        usage();
}

int main(int argc, char **argv)
{
    struct client client = { .kind = { .version = TLS1_3_VERSION } };
    int option;

    while ((option = getopt(argc, argv, "p:t")) != -1) {
        if (option == 'p')
            client.kind.version = strcmp(optarg, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;
        else if (option == 't')
            client.kind.in_tickets = 1;
        else
            usage();
    }
    refuse_overlay();
    client.ctx = client_context(&client.kind);
    run(&client, argv + optind, argc - optind);
    SSL_CTX_free(client.ctx);
    return 0;
}
