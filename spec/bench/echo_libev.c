/* echo_libev.c: the server in plain C on libev that gluarun's numbers are divided by.
 *
 *     echo_libev PORT [echo|source|sink]
 *
 * One process, one loop on epoll, one struct per connection. Input goes through one
 * buffer of the server, so an idle connection costs its struct and nothing else. A
 * connection has a reader and a writer watcher, of which exactly one is active: it reads
 * until a send would block, then writes what is left before it reads again. In the usual
 * case a request is therefore one recv and one send, without any change to epoll.
 *
 *   echo    what is read is written back
 *   source  reads a line with a decimal number, sends so many bytes, closes
 *   sink    reads to the end, answers a line with the number of bytes, closes
 *
 * Prints "listening PORT" when it accepts connections on 127.0.0.1 (PORT 0 takes a free
 * one); SIGTERM ends it with status 0. Another mode is a pair of callbacks and a row in
 * modes[]; connection_write and connection_close are what they are made of. */

#define _GNU_SOURCE 1 /* accept4 */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ev.h>

#include "bench.h"

typedef void io_callback(struct ev_loop *loop, ev_io *w, int revents);

struct mode {
    const char *name;
    io_callback *readable_cb;
    io_callback *writable_cb;
};

struct server {
    struct ev_loop *loop;
    const struct mode *mode;
    ev_io listener;
    ev_signal term;
    char buffer[BENCH_CHUNK]; /* input of the running callback; what a source sends */
};

struct connection {
    ev_io reader; /* exactly one of the two is active */
    ev_io writer;
    struct server *server;
    char *rest; /* what a send did not take, else NULL; owned */
    size_t rest_sent, rest_size;
    uint64_t count; /* source: bytes still to send; sink: bytes read */
    bool last;      /* close when the rest is sent */
};

static void connection_close(struct connection *c) {
    ev_io_stop(c->server->loop, &c->reader);
    ev_io_stop(c->server->loop, &c->writer);
    close(c->reader.fd);
    free(c->rest);
    free(c);
}

static void connection_wait_writable(struct connection *c) {
    ev_io_stop(c->server->loop, &c->reader);
    ev_io_start(c->server->loop, &c->writer);
}

/* Bytes read into the server's buffer, 0 when there are none yet, -1 at the end of the
 * input or when the connection is broken. */
static ssize_t connection_read(struct connection *c) {
    ssize_t n = recv(c->reader.fd, c->server->buffer, sizeof(c->server->buffer), 0);
    if (n > 0) return n;
    return n < 0 && bench_again() ? 0 : -1;
}

/* Bytes the socket took, 0 when it is full, -1 when the connection is broken. */
static ssize_t connection_send(struct connection *c, const char *data, size_t size) {
    ssize_t n = send(c->writer.fd, data, size, MSG_NOSIGNAL);
    return n < 0 && bench_again() ? 0 : n;
}

/* Sends data, the first bytes at once. Returns true when that was all; else the rest is
 * kept and the writer waits for its turn, or the connection was broken and is closed. */
static bool connection_write(struct connection *c, const char *data, size_t size) {
    ssize_t n = connection_send(c, data, size);
    if (n == (ssize_t)size) return true;
    if (n < 0) {
        connection_close(c);
        return false;
    }
    c->rest_sent = 0;
    c->rest_size = size - n;
    c->rest = bench_alloc(1, c->rest_size);
    memcpy(c->rest, data + n, c->rest_size);
    connection_wait_writable(c);
    return false;
}

/* The writer's callback wherever connection_write is used. */
static void rest_writable_cb(struct ev_loop *loop, ev_io *w, int revents) {
    (void)revents;
    struct connection *c = w->data;
    ssize_t n = connection_send(c, c->rest + c->rest_sent, c->rest_size - c->rest_sent);
    if (n < 0) {
        connection_close(c);
        return;
    }
    c->rest_sent += n;
    if (c->rest_sent < c->rest_size) return;
    if (c->last) {
        connection_close(c);
        return;
    }
    free(c->rest);
    c->rest = NULL;
    ev_io_stop(loop, &c->writer);
    ev_io_start(loop, &c->reader);
}

/* Reads once a turn: a second recv would mostly find nothing. */
static void echo_readable_cb(struct ev_loop *loop, ev_io *w, int revents) {
    (void)loop, (void)revents;
    struct connection *c = w->data;
    ssize_t n = connection_read(c);
    if (n < 0)
        connection_close(c);
    else if (n > 0)
        connection_write(c, c->server->buffer, n);
}

/* Reads the number digit by digit, so that it may come in pieces. */
static void source_readable_cb(struct ev_loop *loop, ev_io *w, int revents) {
    (void)loop, (void)revents;
    struct connection *c = w->data;
    ssize_t n = connection_read(c);
    for (ssize_t i = 0; i < n; i++) {
        char ch = c->server->buffer[i];
        if (ch == '\n') {
            connection_wait_writable(c);
            return;
        }
        if (ch < '0' || ch > '9' || c->count >= UINT64_MAX / 10 - 1) {
            connection_close(c);
            return;
        }
        c->count = c->count * 10 + (ch - '0');
    }
    if (n < 0) connection_close(c);
}

static void source_writable_cb(struct ev_loop *loop, ev_io *w, int revents) {
    (void)loop, (void)revents;
    struct connection *c = w->data;
    for (int i = 0; i < BENCH_BATCH && c->count > 0; i++) {
        size_t size = c->count < BENCH_CHUNK ? c->count : BENCH_CHUNK;
        ssize_t n = connection_send(c, c->server->buffer, size);
        if (n < 0) {
            connection_close(c);
            return;
        }
        c->count -= n;
        if ((size_t)n < size) return;
    }
    if (c->count == 0) connection_close(c);
}

static void sink_readable_cb(struct ev_loop *loop, ev_io *w, int revents) {
    (void)loop, (void)revents;
    struct connection *c = w->data;
    ssize_t n = 0;
    for (int i = 0; i < BENCH_BATCH; i++) {
        n = connection_read(c);
        if (n <= 0) break;
        c->count += n;
        if (n < BENCH_CHUNK) break;
    }
    if (n >= 0) return;

    /* On a broken connection the send fails and closes it, just as well. */
    char line[32];
    int size = snprintf(line, sizeof(line), "%" PRIu64 "\n", c->count);
    c->last = true;
    if (connection_write(c, line, size)) connection_close(c);
}

static const struct mode modes[] = {
    {"echo", echo_readable_cb, rest_writable_cb},
    {"source", source_readable_cb, source_writable_cb},
    {"sink", sink_readable_cb, rest_writable_cb},
};

static const struct mode *mode_find(const char *name) {
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (strcmp(modes[i].name, name) == 0) return &modes[i];
    errx(2, "unknown mode '%s'", name);
}

static void connection_open(struct server *s, int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct connection *c = bench_alloc(1, sizeof(*c));
    c->server = s;
    ev_io_init(&c->reader, s->mode->readable_cb, fd, EV_READ);
    ev_io_init(&c->writer, s->mode->writable_cb, fd, EV_WRITE);
    c->reader.data = c->writer.data = c;
    ev_io_start(s->loop, &c->reader);
}

/* Out of descriptors is the end: a server that refuses clients gives no baseline. */
static void accept_cb(struct ev_loop *loop, ev_io *w, int revents) {
    (void)loop, (void)revents;
    for (int i = 0; i < BENCH_BATCH; i++) {
        int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            connection_open(w->data, fd);
        else if (bench_again())
            return;
        else if (errno != ECONNABORTED)
            err(1, "accept4");
    }
}

static void term_cb(struct ev_loop *loop, ev_signal *w, int revents) {
    (void)w, (void)revents;
    ev_break(loop, EVBREAK_ALL);
}

/* A listening socket on 127.0.0.1; *port becomes the port it has. */
static int listen_on(uint16_t *port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(*port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    socklen_t size = sizeof(address);
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) err(1, "socket");
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        err(1, "port %u", *port);
    *port = ntohs(address.sin_port);
    return fd;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: echo_libev PORT [echo|source|sink]\n");
        return 2;
    }
    static struct server s;
    uint16_t port = bench_number("PORT", argv[1], 0, 65535);
    s.mode = mode_find(argc > 2 ? argv[2] : "echo");
    /* Never written, it would be one shared page of zeros, which is faster to send. */
    memset(s.buffer, 'x', sizeof(s.buffer));
    bench_raise_nofile();
    s.loop = ev_default_loop(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (!s.loop) errx(1, "libev has no epoll here");

    ev_io_init(&s.listener, accept_cb, listen_on(&port), EV_READ);
    s.listener.data = &s;
    ev_io_start(s.loop, &s.listener);
    ev_signal_init(&s.term, term_cb, SIGTERM);
    ev_signal_start(s.loop, &s.term);

    printf("listening %u\n", port);
    fflush(stdout);
    ev_run(s.loop, 0);
    return 0; /* the end of the process closes the connections */
}
