/* net.c: descriptors and addresses. See net.h. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net.h"

#define FLAGS (SOCK_NONBLOCK | SOCK_CLOEXEC)

/* An IPv6 socket is for IPv6 only, as LuaSocket's are, so that a server can bind to both. */
int net_socket(int family, int type) {
    int on = 1, fd = socket(family, type | FLAGS, 0);
    if (fd >= 0 && family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    return fd;
}

int net_socketpair(int fds[2]) { return socketpair(AF_UNIX, SOCK_STREAM | FLAGS, 0, fds); }

int net_accept(int fd) {
    for (;;) {
        int client = accept4(fd, NULL, NULL, FLAGS);
        if (client >= 0 || (errno != EINTR && errno != ECONNABORTED)) return client;
    }
}

void net_vacate(int fd) {
    int idle = socket(AF_UNIX, SOCK_STREAM | FLAGS, 0);
    if (idle < 0) return;
    dup3(idle, fd, O_CLOEXEC);
    close(idle);
}

void net_set_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0) fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

bool net_is_listening(int fd) {
    int listening = 0;
    socklen_t size = sizeof(listening);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening;
}

void net_unlink_socket(const char *path) {
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) unlink(path);
}

int net_unix_address(struct net_address *a, const char *path, size_t length) {
    struct sockaddr_un *un = (struct sockaddr_un *)&a->storage;
    if (length >= sizeof(un->sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memset(un, 0, sizeof(*un));
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, length);
    bool abstract = length > 0 && (path[0] == '@' || path[0] == '\0');
    if (abstract) un->sun_path[0] = '\0';
    a->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + !abstract);
    return 0;
}

static void format_unix(const struct net_address *a, char *host, size_t size) {
    const struct sockaddr_un *un = (const struct sockaddr_un *)&a->storage;
    size_t length = a->size - offsetof(struct sockaddr_un, sun_path);
    if (a->size <= offsetof(struct sockaddr_un, sun_path)) length = 0;
    if (length > 0 && un->sun_path[0] == '\0')
        snprintf(host, size, "@%.*s", (int)length - 1, un->sun_path + 1);
    else
        snprintf(host, size, "%.*s", (int)length, un->sun_path);
}

int net_format(const struct net_address *a, char *host, size_t size, int *port) {
    *port = 0;
    if (a->storage.ss_family == AF_UNIX) {
        format_unix(a, host, size);
        return 0;
    }
    if (a->storage.ss_family == AF_INET)
        *port = ntohs(((const struct sockaddr_in *)&a->storage)->sin_port);
    else
        *port = ntohs(((const struct sockaddr_in6 *)&a->storage)->sin6_port);
    int err = getnameinfo((const struct sockaddr *)&a->storage, a->size, host,
                          (socklen_t)size, NULL, 0, NI_NUMERICHOST);
    if (err == 0) return 0;
    errno = EAFNOSUPPORT;
    return -1;
}

const char *net_family_name(int family) {
    return family == AF_INET ? "inet" : family == AF_INET6 ? "inet6" : "unix";
}

int net_take_error(int fd) {
    int err = 0;
    socklen_t size = sizeof(err);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) < 0) return -1;
    errno = err;
    return err ? -1 : 0;
}
