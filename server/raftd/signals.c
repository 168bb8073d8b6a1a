/* signals.c - see signals.h. */
#include "server/raftd/signals.h"

#include <errno.h>
#include <string.h>

#include "common/types.h"

/* The one with which the process wakes its main thread; from outside it means nothing. */
enum { WAKE_SIGNAL = SIGUSR1 };

/* Those that nobody has to wait for: faults, job control, and what cannot be caught or does no
 * harm. */
static const int left_alone[] = {SIGQUIT, SIGILL,  SIGTRAP, SIGABRT, SIGBUS,  SIGFPE,
                                 SIGKILL, SIGSEGV, SIGSYS,  SIGCHLD, SIGCONT, SIGSTOP,
                                 SIGTSTP, SIGTTIN, SIGTTOU, SIGURG,  SIGWINCH};

void signals_begin(struct signals *signals)
{
    sigset_t *set = &signals->awaited;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    sigfillset(set);
    for (size_t i = 0; i < ARRAY_LENGTH(left_alone); i++)
        sigdelset(set, left_alone[i]);
    /* The kernel keeps a blocked signal even if it is ignored: these must not be blocked. */
    static const int may_be_ignored[] = {SIGHUP, SIGINT};
    for (size_t i = 0; i < ARRAY_LENGTH(may_be_ignored); i++) {
        struct sigaction now;
        if (sigaction(may_be_ignored[i], NULL, &now) == 0 && now.sa_handler == SIG_IGN)
            sigdelset(set, may_be_ignored[i]);
    }
    signals->main_thread = pthread_self();
    (void)pthread_sigmask(SIG_BLOCK, set, NULL);
}

static bool stops(int number)
{
    return number == SIGTERM || number == SIGINT || number == SIGXCPU;
}

bool signals_stop_came(struct signals *signals, u64 wait_ns)
{
    const struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS_PER_S),
                                  .tv_nsec = (long)(wait_ns % NS_PER_S)};
    return stops(sigtimedwait(&signals->awaited, NULL, &wait));
}

enum signal_event signals_wait(struct signals *signals, struct report *report, int *number)
{
    for (;;) {
        siginfo_t info;
        *number = sigwaitinfo(&signals->awaited, &info);
        if (*number < 0 && errno == EINTR)
            continue; /* stopped and continued */
        ASSERT(*number > 0);
        if (stops(*number))
            return SIGNAL_STOP;
        switch (*number) {
        case SIGHUP:
            return SIGNAL_READ_AGAIN;
        case WAKE_SIGNAL:
            if (atomic_load(&signals->server_ended))
                return SIGNAL_SERVER_ENDED;
            break;
        default:
            break;
        }
        const char *name = sigabbrev_np(*number);
        REPORT_LIMITED(report, &signals->meaningless, REPORT_WARN, "raftd",
                       "signal %d (%s) came from process %d, and means nothing here: raftd --help "
                       "tells which signals do",
                       *number, name != NULL ? name : "real-time", (int)info.si_pid);
    }
}

void signals_release(const struct signals *signals)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++) {
        if (sigismember(&signals->awaited, numbers[i]) != 1)
            continue;
        (void)signal(numbers[i], SIG_DFL);
        sigaddset(&set, numbers[i]);
    }
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void signals_server_ended(struct signals *signals)
{
    atomic_store(&signals->server_ended, true);
    (void)pthread_kill(signals->main_thread, WAKE_SIGNAL);
}
