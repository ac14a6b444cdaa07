/* load.c: sends load to a server on this machine and says what came of it.
 *
 *     load HOST PORT echo CONNS SECONDS [SIZE=64] [-p PID]
 *     load HOST PORT pull BYTES [-p PID]
 *     load HOST PORT push BYTES [-p PID]
 *     load HOST PORT idle CONNS [-p PID]
 *
 * One loop, one struct client per connection, one struct load for the run. A run is a
 * mode: `start` begins it, usually with open_more, which keeps no more than OPENING
 * connections in the making, since a server's backlog that overflows costs a second each
 * time. Each client goes through `connected`, `readable` and `writable`, and calls
 * client_ready when the server has plainly taken it on; after the last one comes
 * `all_ready`. What is measured lies between two samples, of the clock and of the CPU
 * time of process PID, which is the server.
 *
 * Whatever goes wrong ends the program with a message and status 1, and so does the
 * watchdog when there is no result in time. Another mode is a set of such functions and a
 * row in modes[]. */

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <ev.h>

#include "bench.h"

#define OPENING 64           /* connections that may be in the making at once */
#define WARM_UP 0.3          /* seconds between the last connection and the measuring */
#define SETTLE_INTERVAL 0.02 /* seconds between two looks at the server's memory */
#define SETTLED 0.3          /* seconds without change after which it counts as settled */
#define GRACE 30.0           /* seconds a run may take beyond those it measures */

static const char usage[] = "usage: load HOST PORT echo CONNS SECONDS [SIZE=64] [-p PID]\n"
                            "       load HOST PORT pull|push BYTES [-p PID]\n"
                            "       load HOST PORT idle CONNS [-p PID]\n";

struct client;
struct load;

struct mode {
    const char *name;
    int min_arguments, max_arguments; /* after the mode's name */
    void (*arguments)(struct load *l, int argc, char **argv);
    void (*start)(struct load *l);
    void (*connected)(struct client *c); /* starts the watchers it wants */
    void (*readable)(struct client *c);
    void (*writable)(struct client *c);
    void (*all_ready)(struct load *l); /* NULL when there is nothing to do then */
};

struct sample {
    double time; /* seconds, monotonic */
    double cpu;  /* seconds on the CPU of process pid; 0 without one */
};

struct client {
    ev_io reader;
    ev_io writer; /* while connecting: waits for the connection */
    struct load *load;
    bool open;
    bool ready;            /* client_ready was called */
    size_t sent, received; /* echo: bytes of the round that is running */
};

struct load {
    struct ev_loop *loop;
    const struct mode *mode;
    struct sockaddr_storage address;
    socklen_t address_size;
    pid_t pid; /* the server, or 0 */

    size_t conns;
    double seconds; /* echo: how long to measure */
    size_t size;    /* echo: bytes of a message */
    uint64_t bytes; /* pull, push: bytes to move */

    struct client *clients;       /* conns of them; owned */
    size_t opened, ready, closed; /* of conns */

    ev_timer watchdog;
    ev_timer timer; /* echo: end of warm-up, of measuring; idle: next look */

    struct sample begin;
    uint64_t requests, requests_begin;
    bool ending;     /* echo: no further round is begun */
    char *message;   /* echo: what every client sends; owned */
    uint64_t moved;  /* pull, push: bytes so far */
    uint64_t answer; /* push: the count that the server answers, as far as it is there */

    size_t rss, rss_before;
    double rss_since; /* loop time since when rss is what it is */
    void (*settled)(struct load *l);

    char buffer[BENCH_CHUNK];
};

/* -- The server's process ---------------------------------------------------------- */

/* Opens /proc/PID/name, or returns NULL. */
static FILE *proc_open(pid_t pid, const char *name) {
    char path[300];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    return fopen(path, "r");
}

/* Nanoseconds on the CPU of all threads that pid has, 0 if the kernel does not count
 * them. A running thread may be behind by as much as a tick of the kernel; threads that
 * ended are missing, which is right for servers, whose threads stay. */
static uint64_t cpu_of_schedstat(pid_t pid) {
    char path[32];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (!tasks) return 0;
    uint64_t sum = 0;
    for (struct dirent *task; (task = readdir(tasks));) {
        char name[sizeof(task->d_name) + 16];
        uint64_t ns;
        snprintf(name, sizeof(name), "task/%s/schedstat", task->d_name);
        FILE *f = task->d_name[0] == '.' ? NULL : proc_open(pid, name);
        if (!f) continue;
        if (fscanf(f, "%" SCNu64, &ns) == 1) sum += ns;
        fclose(f);
    }
    closedir(tasks);
    return sum;
}

/* The same from utime + stime, in steps of 10 ms. Ends the program if there is no pid. */
static uint64_t cpu_of_stat(pid_t pid) {
    char line[1024];
    uint64_t utime, stime;
    FILE *f = proc_open(pid, "stat");
    if (!f) err(1, "process %d", (int)pid);
    char *name_end = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
    fclose(f);
    if (!name_end || sscanf(name_end + 1,
                            " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u"
                            " %" SCNu64 " %" SCNu64,
                            &utime, &stime) != 2)
        errx(1, "process %d: its stat is not understood", (int)pid);
    return (utime + stime) * (1000000000 / sysconf(_SC_CLK_TCK));
}

static double cpu_seconds(pid_t pid) {
    uint64_t ns = cpu_of_schedstat(pid);
    return (ns ? ns : cpu_of_stat(pid)) / 1e9;
}

/* Resident bytes of pid. The kernel's own count in statm is good to some hundred
 * kilobytes only, so smaps_rollup, which walks the page table, comes first. */
static size_t rss_bytes(pid_t pid) {
    char line[256];
    size_t kilobytes = 0, pages = 0;
    FILE *f = proc_open(pid, "smaps_rollup");
    if (f) {
        while (!kilobytes && fgets(line, sizeof(line), f))
            sscanf(line, "Rss: %zu kB", &kilobytes);
        fclose(f);
    }
    if (kilobytes) return kilobytes * 1024;

    f = proc_open(pid, "statm");
    if (!f) err(1, "process %d", (int)pid);
    if (fscanf(f, "%*u %zu", &pages) != 1 || pages == 0)
        errx(1, "process %d: its statm is not understood", (int)pid);
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

static struct sample sample_take(const struct load *l) {
    struct timespec now;
    struct sample s = {.cpu = l->pid ? cpu_seconds(l->pid) : 0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    s.time = now.tv_sec + now.tv_nsec / 1e9;
    return s;
}

/* -- Connections ------------------------------------------------------------------- */

static void client_close(struct client *c) {
    struct load *l = c->load;
    ev_io_stop(l->loop, &c->reader);
    ev_io_stop(l->loop, &c->writer);
    close(c->reader.fd);
    c->open = false;
    l->closed++;
}

/* Bytes read into l->buffer, 0 when there are none yet, -1 at the end of the input. */
static ssize_t client_read(struct client *c) {
    ssize_t n = recv(c->reader.fd, c->load->buffer, BENCH_CHUNK, 0);
    if (n < 0 && !bench_again()) err(1, "recv");
    return n == 0 ? -1 : n < 0 ? 0 : n;
}

/* Bytes the socket took, 0 when it is full. */
static size_t client_send(struct client *c, const char *data, size_t size) {
    ssize_t n = send(c->writer.fd, data, size, MSG_NOSIGNAL);
    if (n < 0 && !bench_again()) err(1, "send");
    return n < 0 ? 0 : n;
}

static void readable_cb(struct ev_loop *loop, ev_io *w, int revents) {
    (void)loop, (void)revents;
    struct client *c = w->data;
    c->load->mode->readable(c);
}

static void writable_cb(struct ev_loop *loop, ev_io *w, int revents) {
    (void)loop, (void)revents;
    struct client *c = w->data;
    c->load->mode->writable(c);
}

static void connected_cb(struct ev_loop *loop, ev_io *w, int revents) {
    (void)revents;
    struct client *c = w->data;
    int error, on = 1;
    socklen_t size = sizeof(error);
    if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) err(1, "getsockopt");
    if (error) {
        errno = error;
        err(1, "connect");
    }
    setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ev_io_stop(loop, w);
    ev_set_cb(w, writable_cb);
    c->load->mode->connected(c);
}

static void client_open(struct client *c, struct load *l) {
    int fd = socket(l->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) err(1, "socket");
    c->load = l;
    c->open = true;
    ev_io_init(&c->reader, readable_cb, fd, EV_READ);
    ev_io_init(&c->writer, connected_cb, fd, EV_WRITE);
    c->reader.data = c->writer.data = c;
    if (connect(fd, (struct sockaddr *)&l->address, l->address_size) < 0 &&
        errno != EINPROGRESS)
        err(1, "connect");
    ev_io_start(l->loop, &c->writer);
}

static void open_more(struct load *l) {
    while (l->opened < l->conns && l->opened - l->ready < OPENING)
        client_open(&l->clients[l->opened++], l);
}

/* To be called once per client. */
static void client_ready(struct client *c) {
    struct load *l = c->load;
    c->ready = true;
    l->ready++;
    open_more(l);
    if (l->ready == l->conns && l->mode->all_ready) l->mode->all_ready(l);
}

/* -- echo: each client sends a message and waits for the whole of it to come back -- */

static void echo_arguments(struct load *l, int argc, char **argv) {
    l->conns = bench_number("CONNS", argv[0], 1, 1000000);
    l->size = argc > 2 ? bench_number("SIZE", argv[2], 1, 1 << 26) : 64;
    char *end;
    l->seconds = strtod(argv[1], &end);
    if (*end || end == argv[1] || !(l->seconds > 0 && l->seconds <= 3600))
        errx(2, "SECONDS: more than 0, at most 3600 expected, got '%s'", argv[1]);

    /* No short period, so that bytes which are lost or come twice are noticed. */
    l->message = bench_alloc(l->size, 1);
    for (size_t i = 0; i < l->size; i++)
        l->message[i] = 'a' + (i + i / 26 + i / 676) % 26;
}

static void echo_writable(struct client *c) {
    struct load *l = c->load;
    c->sent += client_send(c, l->message + c->sent, l->size - c->sent);
    if (c->sent < l->size)
        ev_io_start(l->loop, &c->writer);
    else
        ev_io_stop(l->loop, &c->writer);
}

static void echo_connected(struct client *c) {
    ev_io_start(c->load->loop, &c->reader);
    echo_writable(c);
}

/* Reads also while the message is not all sent: a large one fills the buffers of both
 * directions. After its first round a client is ready and waits for all the others:
 * rounds in the meantime would only slow down the opening. */
static void echo_readable(struct client *c) {
    struct load *l = c->load;
    ssize_t n = client_read(c);
    if (n == 0) return;
    if (n < 0) errx(1, "the server closed a connection");
    if ((size_t)n > c->sent - c->received ||
        memcmp(l->buffer, l->message + c->received, n) != 0)
        errx(1, "what came back is not what was sent");
    c->received += n;
    if (c->received < l->size) return;

    l->requests++;
    c->sent = c->received = 0;
    if (!c->ready) {
        client_ready(c);
    } else if (!l->ending) {
        echo_writable(c);
    } else {
        client_close(c);
        if (l->closed == l->conns) ev_break(l->loop, EVBREAK_ALL);
    }
}

/* Reports, and lets the rounds that are under way come to their end, so that the server
 * sees connections closed in good order. */
static void echo_measured_cb(struct ev_loop *loop, ev_timer *w, int revents) {
    (void)loop, (void)revents;
    struct load *l = w->data;
    struct sample end = sample_take(l);
    uint64_t requests = l->requests - l->requests_begin;
    double seconds = end.time - l->begin.time, cpu = end.cpu - l->begin.cpu;
    if (requests == 0) errx(1, "not one request in %.3f seconds", seconds);
    printf("requests=%" PRIu64 " seconds=%.3f rps=%.0f", requests, seconds,
           requests / seconds);
    if (l->pid) printf(" cpu=%.6f cpu_ns_per_request=%.0f", cpu, cpu * 1e9 / requests);
    printf("\n");
    l->ending = true;
}

static void echo_warm_cb(struct ev_loop *loop, ev_timer *w, int revents) {
    (void)revents;
    struct load *l = w->data;
    l->begin = sample_take(l);
    l->requests_begin = l->requests;
    ev_now_update(loop);
    ev_timer_init(&l->timer, echo_measured_cb, l->seconds, 0);
    ev_timer_start(loop, &l->timer);
}

static void echo_all_ready(struct load *l) {
    for (size_t i = 0; i < l->conns; i++)
        echo_writable(&l->clients[i]);
    ev_timer_init(&l->timer, echo_warm_cb, WARM_UP, 0);
    ev_timer_start(l->loop, &l->timer);
}

/* -- pull and push: one connection, as many bytes as fast as the server lets through  */

static void bytes_arguments(struct load *l, int argc, char **argv) {
    (void)argc;
    l->conns = 1;
    l->bytes = bench_number("BYTES", argv[0], 1, UINT64_C(1) << 50);
    memset(l->buffer, 'x', sizeof(l->buffer));
}

static void bytes_report(struct load *l) {
    struct sample end = sample_take(l);
    double seconds = end.time - l->begin.time;
    printf("bytes=%" PRIu64 " seconds=%.3f mbps=%.1f", l->moved, seconds,
           l->moved / seconds / 1e6);
    if (l->pid) printf(" cpu=%.6f", end.cpu - l->begin.cpu);
    printf("\n");
    ev_break(l->loop, EVBREAK_ALL);
}

static void pull_connected(struct client *c) {
    struct load *l = c->load;
    char line[32];
    size_t size = snprintf(line, sizeof(line), "%" PRIu64 "\n", l->bytes);
    l->begin = sample_take(l);
    if (client_send(c, line, size) != size)
        errx(1, "a new connection did not take %zu bytes", size);
    ev_io_start(l->loop, &c->reader);
    client_ready(c);
}

/* Ends with the last byte; that the server closes then is not waited for. */
static void pull_readable(struct client *c) {
    struct load *l = c->load;
    ssize_t n = BENCH_CHUNK;
    for (int i = 0; i < BENCH_BATCH && n == BENCH_CHUNK; i++) {
        n = client_read(c);
        if (n > 0) l->moved += n;
    }
    if (l->moved > l->bytes)
        errx(1, "more than the %" PRIu64 " bytes asked for came", l->bytes);
    if (l->moved == l->bytes)
        bytes_report(l);
    else if (n < 0)
        errx(1, "the server closed after %" PRIu64 " bytes", l->moved);
}

static void push_connected(struct client *c) {
    struct load *l = c->load;
    l->begin = sample_take(l);
    ev_io_start(l->loop, &c->reader);
    ev_io_start(l->loop, &c->writer);
    client_ready(c);
}

static void push_writable(struct client *c) {
    struct load *l = c->load;
    for (int i = 0; i < BENCH_BATCH && l->moved < l->bytes; i++) {
        uint64_t left = l->bytes - l->moved;
        size_t size = left < BENCH_CHUNK ? left : BENCH_CHUNK;
        size_t n = client_send(c, l->buffer, size);
        l->moved += n;
        if (n < size) return;
    }
    if (l->moved < l->bytes) return;
    ev_io_stop(l->loop, &c->writer);
    if (shutdown(c->writer.fd, SHUT_WR) < 0) err(1, "shutdown");
}

/* Reads the count that the server answers, digit by digit. */
static void push_readable(struct client *c) {
    struct load *l = c->load;
    ssize_t n = client_read(c);
    if (n < 0) errx(1, "the server closed without a count");
    for (ssize_t i = 0; i < n; i++) {
        char ch = l->buffer[i];
        if (ch == '\n' && l->answer == l->bytes) {
            bytes_report(l);
            return;
        }
        if (ch < '0' || ch > '9' || l->answer > l->bytes)
            errx(1, "the server's count is not the %" PRIu64 " bytes sent", l->bytes);
        l->answer = l->answer * 10 + (ch - '0');
    }
}

/* -- idle: what a connection costs on which nothing happens ------------------------ */

static void idle_arguments(struct load *l, int argc, char **argv) {
    (void)argc;
    l->conns = bench_number("CONNS", argv[0], 1, 1000000);
}

/* Without a process to look at, this merely gives the server the time to accept. */
static void settle_cb(struct ev_loop *loop, ev_timer *w, int revents) {
    (void)revents;
    struct load *l = w->data;
    size_t rss = l->pid ? rss_bytes(l->pid) : 0;
    if (rss != l->rss) {
        l->rss = rss;
        l->rss_since = ev_now(loop);
    } else if (ev_now(loop) - l->rss_since >= SETTLED) {
        ev_timer_stop(loop, w);
        l->settled(l);
    }
}

/* Calls settled when the server's memory, then in l->rss, has stopped changing. */
static void settle(struct load *l, void (*settled)(struct load *l)) {
    l->settled = settled;
    l->rss_since = ev_now(l->loop);
    ev_timer_init(&l->timer, settle_cb, SETTLE_INTERVAL, SETTLE_INTERVAL);
    ev_timer_start(l->loop, &l->timer);
}

static void idle_settled_before(struct load *l) {
    l->rss_before = l->rss;
    open_more(l);
}

static void idle_settled_after(struct load *l) {
    printf("conns=%zu", l->conns);
    if (l->pid)
        printf(" rss_before=%zu rss_after=%zu bytes_per_conn=%.1f", l->rss_before, l->rss,
               ((double)l->rss - (double)l->rss_before) / l->conns);
    printf("\n");
    ev_break(l->loop, EVBREAK_ALL);
}

static void idle_start(struct load *l) { settle(l, idle_settled_before); }

static void idle_connected(struct client *c) {
    ev_io_start(c->load->loop, &c->reader);
    client_ready(c);
}

static void idle_readable(struct client *c) {
    ssize_t n = client_read(c);
    if (n < 0) errx(1, "the server closed an idle connection");
    if (n > 0) errx(1, "the server sent something on an idle connection");
}

static void idle_all_ready(struct load *l) { settle(l, idle_settled_after); }

/* -- The program ------------------------------------------------------------------- */

static const struct mode modes[] = {
    {"echo", 2, 3, echo_arguments, open_more, echo_connected, echo_readable, echo_writable,
     echo_all_ready},
    {"pull", 1, 1, bytes_arguments, open_more, pull_connected, pull_readable, NULL, NULL},
    {"push", 1, 1, bytes_arguments, open_more, push_connected, push_readable, push_writable,
     NULL},
    {"idle", 1, 1, idle_arguments, idle_start, idle_connected, idle_readable, NULL,
     idle_all_ready},
};

static const struct mode *mode_find(const char *name) {
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(modes[i].name, name) == 0) return &modes[i];
    errx(2, "unknown mode '%s'", name);
}

/* Fills in the address. No resolver: "localhost" is 127.0.0.1, else it takes an address,
 * and only one that does not leave the machine. */
static void set_address(struct load *l, const char *host, uint16_t port) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)&l->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&l->address;
    struct in_addr ip4;
    struct in6_addr ip6;
    if (strcmp(host, "localhost") == 0) host = "127.0.0.1";
    if (inet_pton(AF_INET, host, &ip4) == 1 && ntohl(ip4.s_addr) >> 24 == IN_LOOPBACKNET) {
        *v4 = (struct sockaddr_in){AF_INET, htons(port), ip4, {0}};
        l->address_size = sizeof(*v4);
    } else if (inet_pton(AF_INET6, host, &ip6) == 1 && IN6_IS_ADDR_LOOPBACK(&ip6)) {
        *v6 = (struct sockaddr_in6){AF_INET6, htons(port), 0, ip6, 0};
        l->address_size = sizeof(*v6);
    } else {
        errx(2, "%s: not a loopback address; this program sends load to this machine only",
             host);
    }
}

static void watchdog_cb(struct ev_loop *loop, ev_timer *w, int revents) {
    (void)loop, (void)revents;
    struct load *l = w->data;
    errx(1,
         "no result after %.0f seconds; %zu of %zu connections ready, %" PRIu64
         " requests, %" PRIu64 " bytes",
         l->seconds + GRACE, l->ready, l->conns, l->requests, l->moved);
}

int main(int argc, char **argv) {
    static struct load l;
    for (int option; (option = getopt(argc, argv, "p:")) != -1;) {
        if (option != 'p') {
            fputs(usage, stderr);
            return 2;
        }
        l.pid = bench_number("PID", optarg, 1, INT32_MAX);
    }
    argc -= optind;
    argv += optind;
    if (argc < 3) {
        fputs(usage, stderr);
        return 2;
    }
    set_address(&l, argv[0], bench_number("PORT", argv[1], 1, 65535));
    l.mode = mode_find(argv[2]);
    argc -= 3;
    argv += 3;
    if (argc < l.mode->min_arguments || argc > l.mode->max_arguments) {
        fputs(usage, stderr);
        return 2;
    }
    l.mode->arguments(&l, argc, argv);

    bench_raise_nofile();
    l.clients = bench_alloc(l.conns, sizeof(*l.clients));
    l.loop = ev_default_loop(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (!l.loop) errx(1, "libev has no epoll here");
    l.timer.data = l.watchdog.data = &l;
    ev_timer_init(&l.watchdog, watchdog_cb, l.seconds + GRACE, 0);
    ev_timer_start(l.loop, &l.watchdog);

    l.mode->start(&l);
    ev_run(l.loop, 0);

    for (size_t i = 0; i < l.opened; i++)
        if (l.clients[i].open) client_close(&l.clients[i]);
    free(l.clients);
    free(l.message);
    return 0;
}
