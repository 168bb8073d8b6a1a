/* commands.h - the commands that the port answers itself, and the table of all commands.
 *
 * A command's function finds its arguments in the call and appends its answer to call->reply. When
 * the answer needs what only the server thread knows, it sets `outcome` instead. */
#ifndef MAILRAFT_CLIENTS_COMMANDS_H
#define MAILRAFT_CLIENTS_COMMANDS_H

#include "server/clients/port.h"
#include "server/clients/reply.h"

/* The version of Redis whose commands and texts are followed, for tools that look at it. */
#define REDIS_VERSION "7.0.15"

enum {
    CLUSTER_SLOTS = 16384,
    NODE_NAME_SIZE = 41,
    SOCKET_NAME_SIZE = 64 /* an IPv6 address in brackets, and a port */
};

enum call_outcome {
    CALL_ANSWERED, /* the reply is the answer */
    CALL_STATUS,   /* the server's status is wanted; `shape` says what becomes of it */
    CALL_SETTING,  /* `body` goes to the server thread */
    CALL_RESET,    /* the server thread is to reset its statistics too */
    CALL_SNAPSHOT, /* the server thread is to take a snapshot */
    CALL_BACKUP,   /* `body` goes to the server thread */
    CALL_TRANSFER, /* the same */
    CALL_LAST,     /* the reply is the answer, and the connection ends behind it */
    CALL_DROP      /* the connection ends at once */
};

struct call {
    struct clients *clients;
    struct connection *connection;
    const struct kv_argument *arguments; /* the command's name first */
    u32 count;
    struct reply reply;
    enum call_outcome outcome;
    enum status_shape shape;
    u32 details;
    struct span body; /* a setting, or an order */
};

struct local_command {
    const char *name; /* lower case */
    int arity;        /* as in Redis: with the name; negative: at least that many */
    enum connection_take take;
    void (*run)(struct call *call);
    const char *summary;
};

/* ---- the table ---- */

/* The port's own command of that name in any case, or NULL. */
const struct local_command *command_table_find(const struct kv_argument *name);
void command_run_command(struct call *call);

/* ---- small helpers for all commands ---- */

/* Whether the argument is that word (given in lower case), in any case. */
bool argument_is(const struct kv_argument *argument, const char *word);
/* Reads a decimal number in its one canonical form, as Redis does: neither "01" nor "+1". */
bool argument_number(const struct kv_argument *argument, u64 *number);
/* The same with a sign. */
bool argument_integer(const struct kv_argument *argument, i64 *number);
/* The argument cut to fit, with a NUL behind it. Returns false when it was cut or holds a NUL. */
bool argument_text(const struct kv_argument *argument, char *text, size_t size);
void call_wrong_arity(struct call *call, const char *name);

/* ---- commands with subcommands ---- */

struct subcommand {
    const char *name; /* lower case */
    int arity;        /* with both words; as above */
    void (*run)(struct call *call);
    const char *usage; /* both are lines of HELP */
    const char *summary;
};

struct container {
    const char *name; /* upper case */
    const struct subcommand *subcommands;
    size_t count;
};

/* Runs the subcommand that the call names, or HELP, which every container has. */
void call_subcommand(struct call *call, const struct container *container);

/* ---- connection and server ---- */
void command_run_ping(struct call *call);
void command_run_echo(struct call *call);
void command_run_hello(struct call *call);
void command_run_auth(struct call *call);
void command_run_select(struct call *call);
void command_run_quit(struct call *call);
void command_run_reset(struct call *call);
void command_run_multi(struct call *call);
void command_run_exec(struct call *call);
void command_run_discard(struct call *call);
void command_run_time(struct call *call);
void command_run_ok(struct call *call);
void command_run_config(struct call *call);
void command_run_redirect(struct call *call);
void command_run_status(struct call *call);
void command_run_snapshot(struct call *call);
void command_run_backup(struct call *call);
void command_run_transfer(struct call *call);
void command_run_member(struct call *call);
void command_run_http(struct call *call);
/* What HELLO answers, in the reply's protocol; the status says who leads. */
void hello_shape(const struct connection *connection, const char *status, size_t size,
                 struct reply *reply);
/* client_commands.c */
void command_run_client(struct call *call);
/* Where the client is, or which of our addresses it has called. */
void connection_address(const struct connection *connection, bool peer, char *text, size_t size);
bool connection_set_name(struct call *call, const struct kv_argument *name);

/* ---- INFO ---- */
void command_run_info(struct call *call);
/* The wanted sections as text; `status` is the server's, empty when no section needs it. */
void info_write(struct clients *clients, u32 sections, const char *status, size_t size,
                struct buffer *to);
/* The number or word behind "key:" at the beginning of a line of the status. */
u64 status_number(const char *status, size_t size, const char *key);
bool status_word(const char *status, size_t size, const char *key, char *word, size_t word_size);

/* ---- CLUSTER ---- */
void command_run_cluster(struct call *call);
void cluster_shape(struct clients *clients, enum status_shape shape, const char *status,
                   size_t size, struct reply *reply);
/* The hash slot of a key: CRC16 (XMODEM) of its {tag}, or of the whole key. */
u32 cluster_slot(const u8 *key, size_t size);
/* "host:port" cut at its last colon. `host` has room for ADDRESS_SIZE. */
void address_split(const char *address, char *host, u32 *port);

#endif
