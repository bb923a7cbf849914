/*
 * The client of the server, fleet and agent tests: it keeps sessions in a file and offers them. It
 * must not run with the overlay, because it measures the servers; its memory map tells.
 *
 *   client [OPTION...] PLACE save FILE COUNT     full connections; their sessions go to FILE
 *   client [OPTION...] PLACE offer FILE COUNT    goes round the sessions of FILE, and prints
 *                                                "resumed R of COUNT"
 *   client [OPTION...] PLACE try FILE COUNT      the same, with a line for each connection, even if
 *                                                the server ends it: "resumed CIPHER ANSWER", "full
 *                                                CIPHER ANSWER"; no cipher or no answer is "-"
 *   client [OPTION...] PLACE reach OTHER COUNT   how soon after a full handshake at PLACE its
 *                                                session resumes at OTHER, in milliseconds:
 *                                                "median M most M"
 *   client [OPTION...] PLACE once COUNT          so many connections, of which each offers the newest
 *                                                session, unless one before it has offered that;
 *                                                prints "resumed R of COUNT" (RFC 8446, C.4)
 *   client [OPTION...] PLACE spoil FILE          offers each session of FILE, which must resume,
 *                                                and breaks the connection off with a record that
 *                                                earns a fatal alert
 *   client [OPTION...] PLACE load OTHER SECONDS FILE
 *
 *   -p 1.2|1.3         protocol version (1.3)
 *   -t                 sessions are carried in tickets; else they are looked up by their id
 *   -s SERVERNAME      name to ask for (none)
 *   -a APPLICATION     what is spoken: http, imap, smtp, pop3, memcached, postgres, mqtt, dns,
 *                      mysql (http)
 *   -c FILE            shows the certificate of the file, which has its key and chain, too
 *   -k IDENTITY:HEX    has a pre-shared key
 *
 * load connects to PLACE and OTHER in turn. Each time one session of that place is offered, but one
 * connection in eight is a full one; those of PLACE go to FILE. Prints a line for each place:
 * "connections N failed N offered N resumed N p50 MS p99 MS most MS".
 *
 * A place is ADDRESS:PORT. A session that the server gives in another way than -t says is an error:
 * a stateless ticket would resume without any cache. Ends with 1 if a connection did not work
 * (load counts it instead) or a full one was resumed, 2 if called wrongly.
 */
#include "connection.h"

#include <openssl/pem.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FULL_ONE_IN = 8,
    MOST_CONNECTIONS = 200000, /* of one place under load */
    MOST_TRIES = 5000          /* until a session resumes elsewhere */
};

static _Noreturn void usage(void)
{
    fprintf(stderr, "usage: client [OPTION...] PLACE save FILE COUNT\n"
                    "       client [OPTION...] PLACE offer FILE COUNT\n"
                    "       client [OPTION...] PLACE try FILE COUNT\n"
                    "       client [OPTION...] PLACE reach OTHER COUNT\n"
                    "       client [OPTION...] PLACE once COUNT\n"
                    "       client [OPTION...] PLACE spoil FILE\n"
                    "       client [OPTION...] PLACE load OTHER SECONDS FILE\n"
                    "options: -p 1.2|1.3, -t, -s SERVERNAME, -a http|imap|smtp|pop3|memcached|postgres|mqtt|dns,\n"
                    "         -c FILE, -k IDENTITY:HEX\n");
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
static SSL_SESSION *meet(const struct client *client, const struct sockaddr_in *place,
                         struct visit *result)
{
    if (!visit(client, place, NULL, result))
        die("a full connection failed");
    /* In TLS 1.3 a pre-shared key resumes a session that it made itself. */
    if (result->resumed && client->shared_key == NULL)
        die("a connection that offered nothing was resumed");
    if (result->session == NULL || !is_of_kind(result->session, client))
        die("the session is not of the kind that was asked for");
    return result->session;
}

static void save(const struct client *client, const struct sockaddr_in *place, const char *path,
                 int count)
{
    FILE *file = fopen(path, "w");

    if (file == NULL)
        die("cannot write the file of sessions");
    for (int i = 0; i < count; i++) {
        struct visit result;
        SSL_SESSION *session = meet(client, place, &result);

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

    if (copy == NULL || !visit(client, place, copy, &result))
        die("a connection that offered a session failed");
    SSL_SESSION_free(result.session);
    SSL_SESSION_free(copy);
    return result.resumed;
}

static void offer(const struct client *client, const struct sockaddr_in *place, const char *path,
                  int count)
{
    SSL_SESSION **sessions;
    int known = load_sessions(path, &sessions), resumed = 0;

    for (int i = 0; i < count; i++)
        resumed += offer_once(client, place, sessions[i % known]);
    free_sessions(sessions, known);
    printf("resumed %d of %d\n", resumed, count);
}

static void once(const struct client *client, const struct sockaddr_in *place, int count)
{
    SSL_SESSION *newest = NULL;
    int resumed = 0;

    for (int i = 0; i < count; i++) {
        SSL_SESSION *copy = newest != NULL ? SSL_SESSION_dup(newest) : NULL;
        struct visit result;

        if (!visit(client, place, copy, &result))
            die("a connection failed");
        resumed += result.resumed;
        if (!is_of_kind(result.session, client))
            die("the session is not of the kind that was asked for");
        if (newest != NULL && has_ticket_of(result.session, newest)) {
            SSL_SESSION_free(result.session);
            result.session = NULL;
        }
        SSL_SESSION_free(newest);
        SSL_SESSION_free(copy);
        newest = result.session;
    }
    SSL_SESSION_free(newest);
    printf("resumed %d of %d\n", resumed, count);
}

static void try_each(const struct client *client, const struct sockaddr_in *place,
                     const char *path, int count)
{
    SSL_SESSION **sessions;
    int known = load_sessions(path, &sessions);

    for (int i = 0; i < count; i++) {
        SSL_SESSION *copy = SSL_SESSION_dup(sessions[i % known]);
        struct visit result;
        int answered = copy != NULL && visit(client, place, copy, &result);

        if (copy == NULL || !result.met)
            die("no connection to try");
        printf("%s %s %s\n", result.resumed ? "resumed" : "full",
               result.cipher != NULL ? result.cipher : "-", answered ? result.answer : "-");
        SSL_SESSION_free(result.session);
        SSL_SESSION_free(copy);
    }
    free_sessions(sessions, known);
}

static void spoil(const struct client *client, const struct sockaddr_in *place, const char *path)
{
    SSL_SESSION **sessions;
    int known = load_sessions(path, &sessions);

    for (int i = 0; i < known; i++)
        if (!visit_badly(client, place, sessions[i]))
            die("no connection to spoil");
    free_sessions(sessions, known);
}

static void reach(const struct client *client, const struct sockaddr_in *place,
                  const struct sockaddr_in *other, int count)
{
    double *delays = calloc((size_t)count, sizeof *delays);

    if (delays == NULL)
        die("no memory");
    for (int i = 0; i < count; i++) {
        struct visit result;
        SSL_SESSION *session = meet(client, place, &result);
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

    if (!visit(client, &record->place, offered, &result)) {
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
    struct visit result;

    *record = (struct record){ .place = *place };
    record->session = meet(client, place, &result);
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

static void load(const struct client *client, const struct sockaddr_in *place,
                 const struct sockaddr_in *other, double duration, const char *path)
{
    FILE *file = fopen(path, "w");
    struct record here, there;
    double end;

    if (file == NULL)
        die("cannot write the file of sessions");
    begin_record(client, &here, place);
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

static void run(const struct client *client, char **words, int count)
{
    const char *command = count > 1 ? words[1] : "";
    struct sockaddr_in place, other;

    if (count < 3 || !parse_place(words[0], &place))
        usage();
    if (count == 3 && strcmp(command, "spoil") == 0)
        spoil(client, &place, words[2]);
    else if (count == 3 && strcmp(command, "once") == 0)
        once(client, &place, atoi(words[2]));
    else if (count == 4 && strcmp(command, "save") == 0)
        save(client, &place, words[2], atoi(words[3]));
    else if (count == 4 && strcmp(command, "offer") == 0)
        offer(client, &place, words[2], atoi(words[3]));
    else if (count == 4 && strcmp(command, "try") == 0)
        try_each(client, &place, words[2], atoi(words[3]));
    else if (!parse_place(words[2], &other))
        usage();
    else if (count == 4 && strcmp(command, "reach") == 0)
        reach(client, &place, &other, atoi(words[3]));
    else if (count == 5 && strcmp(command, "load") == 0)
        load(client, &place, &other, atof(words[3]), words[4]);
    else
        usage();
}

static int parse_version(const char *text)
{
    if (strcmp(text, "1.2") == 0)
        return TLS1_2_VERSION;
    if (strcmp(text, "1.3") != 0)
        usage();
    return TLS1_3_VERSION;
}

int main(int argc, char **argv)
{
    struct client client = { .version = TLS1_3_VERSION,
                             .application = find_application("http") };
    int option;

    while ((option = getopt(argc, argv, "p:ts:a:c:k:")) != -1) {
        if (option == 'p')
            client.version = parse_version(optarg);
        else if (option == 't')
            client.in_tickets = 1;
        else if (option == 's')
            client.name = optarg;
        else if (option == 'c')
            client.certificate = optarg;
        else if (option == 'k')
            client.shared_key = optarg;
        else if (option != 'a' || (client.application = find_application(optarg)) == NULL)
            usage();
    }
    refuse_overlay();
    signal(SIGPIPE, SIG_IGN); /* a server that refuses may close before it has read the request */
    make_context(&client);
    run(&client, argv + optind, argc - optind);
    SSL_CTX_free(client.ctx);
    return 0;
}
