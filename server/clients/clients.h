/* clients.h - the port that clients talk to: RESP2, RESP3 and inline commands over TCP.
 *
 * One thread waits in epoll for all connections: it accepts, reads, parses, answers at once what
 * concerns the connection alone (PING, HELLO, CLIENT, COMMAND ...), and posts all commands of one
 * round of epoll as one mail. Answers come from the server thread through the command sink: each
 * goes to its place among the connection's answers, and at the end of a pile the server thread
 * sends what is in order, without blocking; what does not fit in the socket the port sends later.
 *
 * Order: a connection's answers have the order of its commands, and so have their effects: a write
 * that follows a read not yet answered waits in the port. What keeps it between servers stands in
 * server/README.md, "The order of a connection's commands".
 *
 * Bounds: connections, bytes of unparsed input and of unsent answers a connection, bytes of all
 * together. A client whose answers pile up is not read until it reads. One that for too long
 * neither sends the rest of a command, nor reads while more of its commands wait, is hung up on;
 * idle ones stay for ever. */
#ifndef MAILRAFT_CLIENTS_CLIENTS_H
#define MAILRAFT_CLIENTS_CLIENTS_H

#include "common/liveness.h"
#include "common/report.h"
#include "server/machine/kv.h"
#include "server/mail/limits.h"
#include "server/mail/mail.h"
#include "server/rules/configuration.h"

struct clients;

struct clients_options {
    server_id self;
    const struct configuration *configuration; /* client addresses, for redirects; copied */
    const char *listen_address;                /* "host:port" */
    struct kv_limits limits;
    const struct limits *agreed; /* with the other members; borrowed; NULL: the own ones hold */
    u32 connections_max;
    u64 input_bytes_max;  /* a connection: unparsed input; above the largest command */
    u64 output_bytes_max; /* a connection: unsent answers before it is not read any more */
    u64 memory_bytes_max; /* all connections: input, commands under way and answers */
    u64 stall_ns_max;     /* a connection: without progress, while something is waited for */
    bool redirect;        /* answer -MOVED instead of forwarding, for all clients */
    u32 arguments_max;    /* of one command, with its name */
    /* CONFIG GET: appends name and value of each key that matches the glob pattern to `to` as RESP
     * bulk strings and returns the number of pairs. CONFIG SET goes to the server thread. */
    u32 (*config_get)(void *context, const char *pattern, struct buffer *to);
    /* Whether the key may be set at run time, and the value is well-formed. */
    enum error_code (*config_check)(void *context, const char *key, const char *value,
                                    struct error *error);
    void *config_context;
    struct liveness *liveness; /* of the server's thread; borrowed until clients_stop. NULL: it
                                * never stalls */
};

/* Binds, listens and starts the port's thread. Errors: as peers_create. */
WARN_UNUSED enum error_code clients_create(const struct clients_options *options,
                                           struct mail_slot *slot, struct report *report,
                                           struct clients **clients, struct error *error);

/* The TCP port that it listens on: of use when port 0 was asked for. */
u16 clients_port(const struct clients *clients);

/* Empties the port in an orderly way: whoever waits to be accepted still is, and then nobody; what
 * comes from now on is refused with COMMAND_STOPPING, what is under way is answered; and a
 * connection ends when nothing is under way and nothing has come for a while. Returns when all have
 * ended, or at the deadline. Thread: any but the server's and the port's. Blocks. */
void clients_drain(struct clients *clients, u64 deadline_ns);

/* The server's thread has stalled, or does not any more: the port looks at the liveness. Thread:
 * any.
 */
void clients_look(struct clients *clients);

/* Stops accepting and reading; answers still go out. When it returns, nothing is posted to the slot
 * any more, so that the server may go. Thread: any but the server's and the port's. Blocks until
 * the port has ended its round. */
void clients_stop(struct clients *clients);

/* Sends what answers there are as far as the sockets take them, closes, joins the thread. No
 * command of its may be alive any more. Blocks. */
void clients_destroy(struct clients *clients);

#endif
