/* acknowledged.h - the judge's witness at the machines' doors: no acknowledged write is lost.
 *
 * It believes no server's word, neither about what is committed nor about which entry a command
 * waits for. It sees commands go into the machines, and answers come out to clients:
 *
 *   - each server's machine is given the same commands in the same order, none twice, none left out
 *     (a snapshot stands for all before it), and no command more often than clients sent it: nobody
 *     hands one on twice;
 *   - the writes of one connection go in in the order in which they were sent, and none goes in
 *     after a read that was sent behind it has been answered;
 *   - when a client is told that its write succeeded, some machine was given that very command
 * since the client had sent it; the answer is the one it has at that place; and no other client was
 *     told of that same place. So each acknowledged write has an entry of its own;
 *   - whoever leads, and has an entry of its own term committed, holds all those entries, or has
 *     begun its log behind them;
 *   - a machine that has been given all of them, directly or in a snapshot, holds what they imply:
 *     looked at when a leader has committed for the first time, and at the end of a run.
 *
 * Which place? Commands may be alike (INCR of one key), so that an answer can fit several. Answers
 * come in order of time, and each takes the first place that fits, is free, and was applied since
 * its command was sent: if the answers can be matched to places at all, this matches them. So each
 * answer costs a look at what was applied while its client waited, and no search.
 *
 * (A history's linearizability says more, of reads too, but is judged at the end, may be given up
 * when histories are large, and cannot see a promise that was made too early and then kept.) */
#ifndef MAILRAFT_TEST_SIM_ACKNOWLEDGED_H
#define MAILRAFT_TEST_SIM_ACKNOWLEDGED_H

#include "server/machine/machine.h"
#include "test/sim/model.h"

struct cluster;
struct command;
struct flight;
struct sim_server;

/* What the first machine that was given the entry at this index was given. */
struct applied_entry {
    u64 term;     /* 0: it was no command, or nobody has applied it yet */
    u64 previous; /* index of the command before it; 0: it is the first */
    i64 answer;   /* by the model */
    u32 crc;      /* of the command */
    bool refused; /* the answer is an error */
    bool claimed; /* a client was told that this is done */
};

/* Commands of the same bytes. (Those of the same checksum, which at worst hides something.) */
struct sent_command {
    u32 crc;
    u32 sent;       /* to any server; 0: a free slot */
    u32 applied;    /* at so many indexes */
    u64 connection; /* the newest one's: on which it came */
    u64 number;     /* its client's number for it */
    u64 overtaken;  /* the number of a read, sent behind it, that was answered before it was
                       applied; 0: there is none */
};

/* What was applied last of what came on a connection. */
struct applied_connection {
    u64 number;
    u64 index;
};

struct acknowledged {
    struct applied_entry *line; /* by index */
    u64 capacity;
    u64 last;                  /* highest index applied by anybody */
    u64 claimed_last;          /* highest index that somebody was told of */
    u64 count;                 /* of writes that somebody was told of */
    struct sent_command *sent; /* hash table, a power of two */
    u32 sent_capacity;
    u32 sent_count;
    struct applied_connection *connections; /* by number */
    u64 connection_capacity;
    struct model model; /* all through `last` */
};

/* Stands between a server and its machines: the machine's own functions, but where it looks. */
struct witness {
    struct machine_ops ops;
    const struct machine_ops *inner;
    u64 last;   /* what its machine was given last */
    bool known; /* false: that came in a snapshot, and is not known */
};

void acknowledged_deinit(struct cluster *cluster);

/* A new life begins with this empty machine, which the witness looks at from now on; so it does at
 * those that come in its place. */
struct machine *acknowledged_watch(struct sim_server *server, struct machine *machine);

/* A client's write reaches a server's mailbox: its command of that number, on that connection.
 * Returns its checksum. */
u32 acknowledged_sent(struct cluster *cluster, const struct command *command, u64 connection,
                      u64 number);

/* A read is answered before this write, which was sent on the same connection before it. */
void acknowledged_overtaken(struct cluster *cluster, const struct flight *write, u64 read);

/* `server` answers a command in flight: flight->incoming. */
void acknowledged_answered(struct sim_server *server, const struct flight *flight);

/* This leader has committed an entry of its own term. */
void acknowledged_leader(struct cluster *cluster, const struct sim_server *server);

/* At the end: all live servers that are as far as any. */
void acknowledged_finish(struct cluster *cluster);

#endif
