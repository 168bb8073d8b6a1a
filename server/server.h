/* server.h - one Raft server: the rooms wired together, and what all designs do alike.
 *
 * A server owns its Raft state, storage, machine, mailbox and outbox. The world outside comes in
 * through seams: a vfs, a transport, a slot to post mail to, command sinks, a report, a trace, a
 * seed. The shipped binary and the simulator make the very same server.
 *
 * server_run() runs the chosen design until the server is to stop, and says why it stopped. A
 * server never ends its process.
 *
 * Thread: everything here is for the server thread, except server_slot's posting. */
#ifndef MAILRAFT_SERVER_SERVER_H
#define MAILRAFT_SERVER_SERVER_H

#include "server/replica/replica.h"

/* Opens the storage and builds the server, its log and its machine (entries known to be committed
 * are applied). `machine` is taken over, on failure too. Errors: storage_open's. Blocks. */
WARN_UNUSED enum error_code server_create(const struct server_options *options,
                                          const struct server_world *world, struct machine *machine,
                                          struct server **server, struct error *error);

/* From now on no mail goes in, and nobody waits to post any. Thread: any. */
void server_close(struct server *server);

/* Frees everything and closes the storage. What commands are left fail with COMMAND_STOPPING. */
void server_destroy(struct server *server);

/* Where to post this server's mail. Lives as long as the server. */
struct mail_slot *server_slot(struct server *server);

/* Runs the server's design until MAIL_STOP or a failure. Blocks. Returns ERROR_NONE, or what made
 * it stop. `transport` is how it speaks. */
enum error_code server_run(struct server *server, struct transport *transport, struct error *error);

#endif
