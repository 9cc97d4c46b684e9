/* tallyd: a region's storage server. Starts it, waits for a signal, stops it. */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "server/server.h"

static const char help[] =
    "Usage: tallyd --data DIR\n"
    "\n"
    "Runs the storage server of one region on the data directory DIR, which `tally init` makes: it holds tallyd.yaml\n"
    "(every setting with a comment), the keys, the logs and everything derived from them.\n"
    "\n"
    "When it serves it prints one line, \"tallyd: region eu ready on 127.0.0.1:7401\"; what happens after goes to "
    "stderr.\n"
    "SIGTERM and SIGINT stop it: calls end, what was accepted becomes durable, files are closed. Killing it loses "
    "nothing\n"
    "that was acknowledged.\n"
    "\n"
    "Exit status: 0 stopped by a signal; 1 could not start, or stopped at once because a write failed; 2 usage.\n";

/* Signals go to one thread only; the threads made later inherit the mask. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGUSR1); /* our own: start again */
    pthread_sigmask(SIG_BLOCK, set, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a write past the limit on file sizes fails, and says so, like one on a full disk */
}

/* Called on a thread of the server: the main thread, which waits for signals, stops it. */
static void ended(void *context, uint64_t fresh_incarnation)
{
    atomic_uint_fast64_t *next = context;
    atomic_store(next, fresh_incarnation);
    kill(getpid(), SIGUSR1);
}

/* One life of the server. Returns the exit status, or -1 to start again. */
static int live(const char *folder, const sigset_t *set, const struct server_life *life)
{
    struct server *server = NULL;
    struct err err = {0};
    int signal_number = 0;
    char line[640];
    if (server_start(folder, life, &server, &err) != 0) {
        fprintf(stderr, "tallyd: cannot start: %s\n", err.message);
        return 1;
    }
    server_describe(server, line);
    printf("tallyd: %s\n", line);
    fflush(stdout);
    sigwait(set, &signal_number);
    server_stop(server);
    return signal_number == SIGUSR1 ? -1 : 0;
}

static int run(const char *folder)
{
    atomic_uint_fast64_t next = 0;
    struct server_life life = {.ended = ended, .context = &next};
    sigset_t set;
    int status = -1;
    block_signals(&set);
    while (status < 0) {
        life.fresh_incarnation = atomic_exchange(&next, 0);
        status = live(folder, &set, &life);
    }
    return status;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"data", required_argument, NULL, 'd'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    const char *folder = NULL;
    int option = 0;
    while ((option = getopt_long(argc, argv, "d:h", options, NULL)) != -1) {
        switch (option) {
        case 'd':
            folder = optarg;
            break;
        case 'h':
            fputs(help, stdout);
            return 0;
        case 'v':
            puts("tallyd 0.1.0");
            return 0;
        default:
            fputs("Try: tallyd --help\n", stderr);
            return 2;
        }
    }
    if (folder == NULL || optind != argc) {
        fputs("tallyd: --data DIR is needed, and nothing else. Try: tallyd --help\n", stderr);
        return 2;
    }
    mem_keep_freed();
    return run(folder);
}
