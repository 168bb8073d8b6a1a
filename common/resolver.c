/* resolver.c - see resolver.h. */
#include "common/resolver.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/memory.h"
#include "common/sync.h"

enum { PORT_SIZE = 8 };

struct resolver_question {
    char host[RESOLVER_HOST_SIZE];
    char port[PORT_SIZE];
    bool passive;
    int done; /* eventfd: the answer is there */
    struct thread thread;
    atomic_bool answered; /* set before `done` is written to: then those below are valid */
    int result;           /* of getaddrinfo */
    int number;           /* errno */
    struct addrinfo *found;
    atomic_int holders; /* the thread and whoever asks: the last one frees it */
};

/* ---- what is asked ---- */

static enum error_code split(const char *address, char host[RESOLVER_HOST_SIZE],
                             char port[PORT_SIZE], struct error *error)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon[1] == '\0' || strlen(colon + 1) >= PORT_SIZE)
        return error_set(error, ERROR_CONFIG, "address %s is not of the form host:port", address);
    const char *begin = address;
    const char *end = colon;
    if (*begin == '[' && end > begin && end[-1] == ']') {
        begin++;
        end--;
    }
    size_t size = (size_t)(end - begin);
    if (size == 0 || size >= RESOLVER_HOST_SIZE)
        return error_set(error, ERROR_CONFIG, "address %s has no proper host", address);
    memcpy(host, begin, size);
    host[size] = '\0';
    memcpy(port, colon + 1, strlen(colon + 1) + 1);
    return ERROR_NONE;
}

static int ask_system(const char *host, const char *port, bool passive, int flags,
                      struct addrinfo **found)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV | flags | (passive ? AI_PASSIVE : 0),
    };
    *found = NULL;
    return getaddrinfo(host, port, &hints, found);
}

static enum error_code judge(const char *address, int result, int number, struct error *error)
{
    switch (result) {
    case 0:
        return ERROR_NONE;
    case EAI_SYSTEM:
        return error_set_errno(error, ERROR_UNAVAILABLE, number, "resolve %s", address);
    case EAI_AGAIN:
    case EAI_FAIL:
    case EAI_MEMORY:
        return error_set(error, ERROR_UNAVAILABLE, "resolve %s: %s", address, gai_strerror(result));
    default:
        return error_set(error, ERROR_CONFIG, "resolve %s: %s", address, gai_strerror(result));
    }
}

/* ---- the question ---- */

static void release(struct resolver_question *question)
{
    if (atomic_fetch_sub(&question->holders, 1) > 1)
        return;
    if (question->found != NULL)
        freeaddrinfo(question->found);
    (void)close(question->done);
    memory_free(question);
}

static void question_run(void *argument)
{
    struct resolver_question *question = argument;
    question->result =
        ask_system(question->host, question->port, question->passive, 0, &question->found);
    question->number = errno;
    atomic_store_explicit(&question->answered, true, memory_order_release);
    u64 one = 1;
    ssize_t written = write(question->done, &one, sizeof(one));
    (void)written; /* it fails only when it has been written to 2^64 times */
    release(question);
}

static enum error_code begin(struct resolver *resolver, const char *host, const char *port,
                             bool passive, struct error *error)
{
    struct resolver_question *question = memory_alloc_zero(1, sizeof(*question));
    memcpy(question->host, host, RESOLVER_HOST_SIZE);
    memcpy(question->port, port, PORT_SIZE);
    question->passive = passive;
    atomic_init(&question->holders, 2);
    question->done = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    enum error_code code =
        question->done < 0
            ? error_set_errno(error, ERROR_SYSTEM, errno, "make an eventfd")
            : thread_start(&question->thread, "resolver", question_run, question, error);
    if (code != ERROR_NONE) {
        if (question->done >= 0)
            (void)close(question->done);
        memory_free(question);
        return code;
    }
    thread_abandon(&question->thread);
    resolver->question = question;
    return ERROR_NONE;
}

/* Waits for the answer. Blocks. */
static enum error_code await(const struct resolver_question *question, const char *address,
                             int wake, u64 deadline_ns, struct error *error)
{
    for (;;) {
        struct pollfd polled[2] = {{.fd = wake, .events = POLLIN},
                                   {.fd = question->done, .events = POLLIN}};
        u64 now_ns = clock_monotonic_ns();
        u64 left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
        struct timespec rest = {.tv_sec = (time_t)(left_ns / NS_PER_S),
                                .tv_nsec = (long)(left_ns % NS_PER_S)};
        int ready = ppoll(polled, 2, &rest, NULL);
        if (atomic_load_explicit(&question->answered, memory_order_acquire))
            return ERROR_NONE;
        if (ready > 0 && polled[0].revents != 0)
            return error_set(error, ERROR_BUSY, "resolve %s: interrupted", address);
        if (ready == 0 && clock_monotonic_ns() >= deadline_ns)
            return error_set(error, ERROR_UNAVAILABLE,
                             "resolve %s: the name service has not answered as yet", address);
    }
}

enum error_code resolver_ask(struct resolver *resolver, const char *address, bool passive, int wake,
                             u64 deadline_ns, struct addrinfo **found, struct error *error)
{
    char host[RESOLVER_HOST_SIZE] = "";
    char port[PORT_SIZE] = "";
    enum error_code code = split(address, host, port, error);
    if (code != ERROR_NONE)
        return code;
    if (ask_system(host, port, passive, AI_NUMERICHOST, found) == 0)
        return ERROR_NONE;
    struct resolver_question *question = resolver->question;
    if (question != NULL &&
        (strcmp(question->host, host) != 0 || strcmp(question->port, port) != 0))
        resolver_deinit(resolver);
    if (resolver->question == NULL)
        code = begin(resolver, host, port, passive, error);
    if (code == ERROR_NONE)
        code = await(resolver->question, address, wake, deadline_ns, error);
    if (code != ERROR_NONE)
        return code;
    question = resolver->question;
    code = judge(address, question->result, question->number, error);
    *found = question->found;
    question->found = NULL;
    resolver_deinit(resolver);
    return code;
}

void resolver_deinit(struct resolver *resolver)
{
    if (resolver->question != NULL)
        release(resolver->question);
    resolver->question = NULL;
}
