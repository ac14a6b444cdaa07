/* net.h: descriptors and addresses: what sockets need of the kernel, without Lua.
 *
 * Functions return 0 or a descriptor, or -1 with errno. Every descriptor made here is
 * non-blocking and close-on-exec. */
#ifndef GLUA_NET_H
#define GLUA_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct net_address {
    struct sockaddr_storage storage;
    socklen_t size;
};

int net_socket(int family, int type);
int net_socketpair(int fds[2]);

/* The next connection, or -1 with errno. */
int net_accept(int fd);

/* Closes what is behind a descriptor while its number stays taken: it is that of some idle
 * socket then. Does nothing when there are no descriptors left. */
void net_vacate(int fd);

void net_set_nonblocking(int fd);

bool net_is_listening(int fd);

/* Removes a Unix socket from the file system; does nothing if the path is anything else. */
void net_unlink_socket(const char *path);

/* The address of a Unix socket; a path that starts with NUL or '@' is an abstract one. */
int net_unix_address(struct net_address *a, const char *path, size_t length);

/* Writes the numeric host, or the path, and the port. */
int net_format(const struct net_address *a, char *host, size_t size, int *port);

/* "inet", "inet6" or "unix" */
const char *net_family_name(int family);

/* The pending error of a socket, taken: of a connect that went on in the background. */
int net_take_error(int fd);

#endif
