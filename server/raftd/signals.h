/* signals.h - what each signal from outside does to raftd.
 *
 * - SIGTERM, SIGINT, SIGXCPU: stop in an orderly way; the second time at once.
 * - SIGHUP: read cluster.conf's run-time keys again.
 * - SIGHUP, SIGINT: nothing, where they were ignored at the start, as nohup has it.
 * - SIGPIPE, SIGXFSZ: nothing; the write fails, and that is dealt with where it happens.
 * - SIGQUIT, SIGABRT, and what a fault raises: the end, with a core file where they are wanted.
 * - SIGKILL, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGCHLD, SIGURG, SIGWINCH: as ever.
 * - All others: nothing, and it is said. No signal ends a server without a word.
 *
 * Thread: main, but for signals_server_ended. */
#ifndef MAILRAFT_RAFTD_SIGNALS_H
#define MAILRAFT_RAFTD_SIGNALS_H

#include <pthread.h>
#include <signal.h>

#include "common/report.h"

struct signals {
    sigset_t awaited;
    pthread_t main_thread;
    _Atomic bool server_ended;
    struct report_limit meaningless;
};

enum signal_event {
    SIGNAL_STOP,
    SIGNAL_READ_AGAIN,
    SIGNAL_SERVER_ENDED /* no signal from outside */
};

/* Blocks what is waited for, but for SIGHUP and SIGINT where they were ignored at the start, in
 * this thread and all that it starts. */
void signals_begin(struct signals *signals);

/* Waits for one that means something; `*number` is which. Says those that mean nothing. Blocks. */
enum signal_event signals_wait(struct signals *signals, struct report *report, int *number);

/* Whether one that stops the server comes within that time. Others are dropped. Blocks. */
bool signals_stop_came(struct signals *signals, u64 wait_ns);

/* From now on one more SIGTERM or SIGINT ends the process at once, whatever it is doing. */
void signals_release(const struct signals *signals);

/* Wakes signals_wait: there is nothing left to run. Thread: any. */
void signals_server_ended(struct signals *signals);

#endif
