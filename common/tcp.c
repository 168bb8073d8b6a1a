/* tcp.c - see tcp.h. */
#include "common/tcp.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "common/clock.h"

enum { UNANSWERED_MIN = 2 /* packets of the kernel's: one may just be on its way */ };

static void set_option(int fd, int level, int name, u64 value)
{
    int number = (int)value;
    /* A kernel without the option is no reason to stop. */
    (void)setsockopt(fd, level, name, &number, sizeof(number));
}

void tcp_tune(int fd, u64 idle_s, u64 interval_s)
{
    const u64 most_s = 32767; /* the kernel's */
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, u64_min(idle_s, most_s));
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, u64_min(interval_s, most_s));
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, TCP_KEEPALIVE_COUNT);
}

bool tcp_host_is_gone(int fd, u64 silence_ns)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        return false; /* what is wrong with it, the next call on it tells */
    return info.tcpi_last_ack_recv >= silence_ns / NS_PER_MS &&
           (info.tcpi_probes >= UNANSWERED_MIN || info.tcpi_retransmits >= UNANSWERED_MIN);
}
