/* scenario.h - the scenario language: what a *.scn file says, as a tree, and the one who plays it.
 *
 * scenario_parse reads text into a `struct scenario` and knows nothing of any cluster; its grammar
 * stands at the head of scenario_parse.c. scenario_play makes a cluster of the simulator, carries
 * out the statements in virtual time and judges the expectations; a stress tool for real processes
 * can walk the same tree.
 *
 * The tree is never changed once it is read: it can be played again and again. All its memory is
 * the scenario's and goes with scenario_destroy. */
#ifndef MAILRAFT_SIM_SCENARIO_H
#define MAILRAFT_SIM_SCENARIO_H

#include <stdio.h>

#include "common/error.h"
#include "server/rules/raft.h"
#include "test/sim/cluster.h"

/* ---- words and values ---- */

enum scenario_design { DESIGN_PER_STATE, DESIGN_DISPATCH, DESIGN_STEP, DESIGN_MIXED, DESIGN_ALL };

/* Words that stand for servers. They are looked up when their statement is carried out. */
enum server_word {
    SERVERS_ALL = 1 << 0,
    SERVERS_LEADER = 1 << 1,    /* the live leader of the highest term; none: the scenario fails */
    SERVERS_FOLLOWERS = 1 << 2, /* all others that run */
    SERVERS_MAJORITY = 1 << 3,  /* the smallest one, the leader in it */
    SERVERS_MINORITY = 1 << 4   /* all that are not in the majority */
};

/* The union of what was named: `1,4-5,leader`. */
struct server_list {
    u32 numbers; /* bit id - 1 */
    u32 words;   /* enum server_word, or'ed */
    u32 randoms; /* that many others, chosen at random */
};

static inline bool server_list_is_empty(const struct server_list *list)
{
    return list->numbers == 0 && list->words == 0 && list->randoms == 0;
}

/* Links from each of `from` to each of `to`; `to` empty: all links that begin or end at one of
 * `from`. */
struct link_list {
    struct server_list from;
    struct server_list to;
};

struct duration_range {
    u64 min_ns; /* both inclusive */
    u64 max_ns;
};

/* A set of message kinds: bit (enum message_kind); MESSAGES_ANY for all there are. */
typedef u32 message_set;
#define MESSAGES_ANY ((message_set)0xffffffff)

enum comparison { COMPARE_AT_LEAST, COMPARE_AT_MOST, COMPARE_EQUAL, COMPARE_LESS, COMPARE_MORE };

/* ---- statements ---- */

/* X(NAME, first word) */
#define STATEMENT_KINDS(X)              \
    /* time */                          \
    X(RUN, "run")                       \
    X(AT, "at")                         \
    X(AFTER, "after")                   \
    X(REPEAT, "repeat")                 \
    X(UNTIL, "until")                   \
    X(EXPECT, "expect")                 \
    /* faults */                        \
    X(PARTITION, "partition")           \
    X(ISOLATE, "isolate")               \
    X(CUT, "cut")                       \
    X(JOIN, "join")                     \
    X(BRIDGE, "bridge")                 \
    X(RING, "ring")                     \
    X(HEAL, "heal")                     \
    X(DELAY, "delay")                   \
    X(LOSS, "loss")                     \
    X(FULL, "full")                     \
    X(DUPLICATE, "duplicate")           \
    X(REORDER, "reorder")               \
    X(CORRUPT, "corrupt")               \
    X(HOLD, "hold")                     \
    X(RELEASE, "release")               \
    X(CRASH, "crash")                   \
    X(KILL, "kill")                     \
    X(RESET, "reset")                   \
    X(STOP, "stop")                     \
    X(TIMERS, "timers")                 \
    X(RESTART, "restart")               \
    X(PAUSE, "pause")                   \
    X(RESUME, "resume")                 \
    X(WIPE, "wipe")                     \
    X(SWAP, "swap")                     \
    X(DISK, "disk")                     \
    X(CRASH_AT_WRITE, "crash-at-write") \
    X(KILL_AT_WRITE, "kill-at-write")   \
    X(EXHAUST, "exhaust")               \
    X(CLOCK, "clock")                   \
    X(CHAOS, "chaos")                   \
    /* work */                          \
    X(ELECT, "elect")                   \
    X(TIMEOUT, "timeout")               \
    X(COMMAND, "set")                   \
    X(ASYNC, "async")                   \
    X(PIPE, "pipe")                     \
    X(ONCE, "once")                     \
    X(LOAD, "load")                     \
    X(TRANSFER, "transfer")             \
    X(READMIT, "readmit")               \
    X(MEMBER, "member")                 \
    X(SNAPSHOT, "snapshot")

enum statement_kind {
#define X(name, word) STATEMENT_##name,
    STATEMENT_KINDS(X)
#undef X
};

enum disk_action {
    DISK_SYNC_EIO,
    DISK_WRITE_EIO,
    DISK_WRITE_ENOSPC,
    DISK_SLOW, /* time_ns */
    DISK_READ, /* the same */
    DISK_STALL,
    DISK_HEAL,
    DISK_DAMAGE, /* damage, place; count: the entry's index */
    DISK_COPY,
    DISK_SET_BACK,
    DISK_STRAY,
    DISK_OWN
};

/* `exhaust 2 descriptors at 3`: the third use from now on finds nothing left, nor does any after it
 * until `exhaust 2 descriptors off`; with `once` only the third. Restarts do not change it. A
 * server without memory stops where it stands. */
enum scenario_resource { EXHAUST_MEMORY, EXHAUST_THREADS, EXHAUST_DESCRIPTORS };

enum member_action { MEMBER_ADD, MEMBER_REMOVE, MEMBER_PROMOTE, MEMBER_SET };

/* What a client asks. */
enum scenario_operation {
    OPERATION_SET,
    OPERATION_GET,
    OPERATION_INCR,
    OPERATION_CAS,
    OPERATION_DEL
};

struct scenario_command {
    enum scenario_operation operation;
    const char *key;
    const char *value;      /* SET, CAS: the new one */
    const char *old;        /* CAS */
    struct server_list via; /* empty: the leader */
};

/* X(NAME, word behind `expect`) */
#define EXPECT_KINDS(X)             \
    X(LEADER, "leader")             \
    X(STATE, "state")               \
    X(TERM, "term")                 \
    X(ANSWER, "answer")             \
    X(VALUE, "value")               \
    X(COMMITTED, "committed")       \
    X(COMMIT, "commit")             \
    X(LOG, "log")                   \
    X(LOG_BYTES, "log-bytes")       \
    X(MEMBERS, "members")           \
    X(SNAPSHOT, "snapshot")         \
    X(SAID, "said")                 \
    X(STOPPED, "stopped")           \
    X(UNRECOGNISED, "unrecognised") \
    X(AGREE, "agree")               \
    X(LINEARIZABLE, "linearizable") \
    X(MESSAGES, "messages")         \
    X(BYTES, "bytes")

enum expect_kind {
#define X(name, word) EXPECT_##name,
    EXPECT_KINDS(X)
#undef X
};

enum expect_leader {
    LEADER_IS,   /* the live leader of the highest term is one of these */
    LEADER_ONE,  /* exactly one live server leads: one that was deposed and does not know yet counts
                  */
    LEADER_NONE, /* no live server leads */
    LEADER_NOT   /* there is a leader, and it is none of these */
};
enum expect_answer {
    SAYS_OK,      /* it was carried out, and the answer is not nil */
    SAYS_ERROR,   /* a definite error: it was not carried out */
    SAYS_MOVED,   /* sent to another server */
    SAYS_TIMEOUT, /* nobody knows */
    SAYS_TEXT     /* the value is this text ("nil" for none), or the error has it in it */
};

struct expectation {
    enum expect_kind kind;
    bool contrary;             /* not expect ... */
    enum expect_leader leader; /* LEADER */
    enum expect_answer answer; /* ANSWER */
    enum raft_state state;     /* STATE */
    struct server_list who; /* LEADER is/not, STATE, VALUE, COMMIT and LOG_BYTES on, LOG, MEMBERS,
                               SNAPSHOT, SAID, STOPPED, UNRECOGNISED */
    struct server_list on;  /* UNRECOGNISED: to whom; empty: they know it themselves */
    struct link_list links; /* MESSAGES, BYTES */
    message_set messages;
    enum comparison comparison; /* COMMIT, LOG_BYTES, SNAPSHOT, SAID, MESSAGES, BYTES */
    u64 number;                 /* TERM, COMMITTED, and of those with a comparison */
    bool same;                  /* TERM same */
    const char *client;         /* ANSWER: whose; NULL: the last waited-for one */
    const char *key;            /* VALUE */
    const char *text; /* VALUE (NULL: nil), ANSWER text, SAID, STOPPED (NULL: for any reason) */
    u64 *terms;       /* LOG: of entries 1 and up */
    u32 term_count;
};

struct statement {
    struct statement *next;
    u32 line;         /* in the file */
    const char *text; /* as it was written, without comment and outer blanks */
    enum statement_kind kind;
    struct statement *inner; /* AT, AFTER, UNTIL: the one; REPEAT: the first of the list */
    u64 time_ns;             /* RUN, AT, AFTER, UNTIL, DISK slow and read, LOAD, CHAOS */
    u64 count;      /* REPEAT, DISK flip log, CRASH/KILL_AT_WRITE, EXHAUST (0: off), ONCE serial */
    u64 per_second; /* LOAD */
    u32 ppm;        /* LOSS ... CORRUPT: chance; CLOCK rate: 1,000,000 is right */
    i64 jump_ns;    /* CLOCK jump; 0: the statement sets the rate */
    bool on;        /* TIMERS on; RELEASE reverse; EXHAUST once */
    struct duration_range delay; /* DELAY */
    struct server_list who;
    struct link_list links;     /* CUT, JOIN, DELAY ... RELEASE; RESET: both sides */
    struct server_list *groups; /* PARTITION */
    u32 group_count;
    message_set messages; /* HOLD */
    enum disk_action disk;
    enum scenario_resource resource;
    enum cluster_damage damage; /* DISK damage, all three */
    enum cluster_place place;
    enum member_action member;
    const char *client;              /* ASYNC, PIPE: which; ONCE: session */
    struct scenario_command command; /* COMMAND, ASYNC, PIPE, ONCE */
    struct expectation expectation;
};

/* ---- the head ---- */

struct scenario_option {
    struct scenario_option *next;
    u32 line;
    const char *key;
    const char *value;
};

/* With what a server starts. */
struct scenario_start {
    u64 *terms; /* of its entries; NULL: the configuration's alone */
    u32 term_count;
    u64 current_term; /* 0: that of the last entry */
};

struct scenario {
    char *file; /* for messages */
    u32 servers;
    u32 spares;
    enum scenario_design design;
    u64 seed_first; /* one play for each seed, both inclusive */
    u64 seed_last;
    struct duration_range election_timeout;
    enum cluster_founding founding;
    u64 heartbeat_ns;
    struct duration_range latency;
    struct duration_range disk_sync;
    struct scenario_option *options;
    struct scenario_start starts[SERVERS_MAX]; /* by id - 1 */
    u32 design_line;                           /* 0: not given */
    u32 spares_line;
    struct statement *first;
    struct scenario_memory *memory;
};

/* Reads a scenario. Errors: ERROR_FORMAT, `file:line: what is wrong, what was expected`. Ownership:
 * caller destroys. */
WARN_UNUSED enum error_code scenario_parse(const char *text, size_t size, const char *file,
                                           struct scenario **scenario, struct error *error);
/* Reads it from a file. Errors: ERROR_MISSING and ERROR_IO too. */
WARN_UNUSED enum error_code scenario_load(const char *path, struct scenario **scenario,
                                          struct error *error);
void scenario_destroy(struct scenario *scenario);

/* Whether everything in it can be played by what is built today. Errors: ERROR_FORMAT, `file:line:
 * ... is not supported yet`. */
WARN_UNUSED enum error_code scenario_supported(const struct scenario *scenario,
                                               struct error *error);

/* "per-state" and so on. Returns false for any other word. */
bool scenario_design_parse(const char *word, enum scenario_design *design);
const char *scenario_design_word(enum scenario_design design);

#endif
