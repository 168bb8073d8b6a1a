/* bound.c - what this machine could do: three durable copies of every write, and no Raft.
 *
 * Three processes, as small as they can be. The first takes RESP from clients, as a leader does,
 * and hands what one turn of its loop has read to the other two, writes it to its own file, syncs,
 * and answers +OK when two of the three files have it. Nothing is elected, compared, kept in a
 * table or read again: no replicated store that syncs before it answers is faster with the same
 * disk calls.
 *
 *   bound PORT DIRECTORY [sync|direct|uring]
 *
 *   sync    pwrite into a file made of zeros beforehand, and fdatasync: as mailraft does
 *   direct  O_DIRECT, and pwritev2 with RWF_DSYNC
 *   uring   as sync, but the first process goes on while the kernel writes (io_uring)
 *
 * Prints the three processes' numbers in a line, and runs until SIGTERM. It is no server: it says
 * +OK to every command; a client that does not read, or a full disk, stops it.
 *
 * A batch, to the others and on disk: u32 size, u32 crc32c of the commands, u64 number, commands */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#include "common/crc32c.h"

enum {
    FOLLOWERS = 2,
    CLIENTS_MAX = 4096,
    HEAD = 16, /* of a batch */
    SECTOR = 4096,
    FILE_SIZE = 256 * 1024 * 1024, /* written round and round */
    READ_SIZE = 64 * 1024,
    BATCH_MAX = 32 * 1024 * 1024,
    ANSWERS_MAX = 1024 * 1024,
    WAITING_MAX = 1024 /* batches sent and not yet on two files; a power of two */
};

static void check(bool held, const char *what)
{
    if (!held) {
        fprintf(stderr, "bound: %s: %s\n", what, strerror(errno));
        exit(71);
    }
}

static size_t sectors(size_t size)
{
    return (size + SECTOR - 1) / SECTOR * SECTOR;
}

static void *allocate(size_t size)
{
    void *memory = aligned_alloc(SECTOR, sectors(size));
    check(memory != NULL, "memory");
    return memory;
}

/* ---- the disk ---- */

struct disk {
    enum { DISK_SYNC, DISK_DIRECT, DISK_URING } how;
    int fd, done_fd; /* done_fd, an eventfd: a write of the ring's has ended */
    off_t end;
    struct io_uring ring;
};

static void disk_open(struct disk *disk, const char *directory, int number)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%d.bound", directory, number);
    disk->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    check(disk->fd >= 0, path);
    char *zeros = memset(allocate(FILE_SIZE), 0, FILE_SIZE);
    check(pwrite(disk->fd, zeros, FILE_SIZE, 0) == FILE_SIZE && fsync(disk->fd) == 0, "zeros");
    free(zeros);
    if (disk->how == DISK_DIRECT)
        check(fcntl(disk->fd, F_SETFL, O_DIRECT) == 0, "O_DIRECT");
}

/* Where the next `size` bytes go. */
static off_t disk_place(struct disk *disk, size_t size)
{
    if (disk->end + (off_t)size > FILE_SIZE)
        disk->end = 0;
    off_t place = disk->end;
    disk->end += (off_t)size;
    return place;
}

/* Writes and syncs; `batch` begins on a sector's boundary, and what fills its last one is written,
 * too. */
static void disk_write(struct disk *disk, const char *batch, size_t size)
{
    if (disk->how == DISK_DIRECT) {
        struct iovec piece = {(void *)(uintptr_t)batch, sectors(size)};
        ssize_t done = pwritev2(disk->fd, &piece, 1, disk_place(disk, piece.iov_len), RWF_DSYNC);
        check(done == (ssize_t)piece.iov_len, "write");
    } else {
        check(pwrite(disk->fd, batch, size, disk_place(disk, size)) == (ssize_t)size, "write");
        check(fdatasync(disk->fd) == 0, "sync");
    }
}

static void disk_begin(struct disk *disk, const char *batch, size_t size)
{
    struct io_uring_sqe *write = io_uring_get_sqe(&disk->ring);
    io_uring_prep_write(write, disk->fd, batch, (unsigned)size, (u64)disk_place(disk, size));
    write->flags |= IOSQE_IO_LINK;
    io_uring_prep_fsync(io_uring_get_sqe(&disk->ring), disk->fd, IORING_FSYNC_DATASYNC);
    check(io_uring_submit(&disk->ring) == 2, "submit");
}

/* Whether what was begun has ended. */
static bool disk_ended(struct disk *disk)
{
    struct io_uring_cqe *ends[2];
    bool ended = io_uring_peek_batch_cqe(&disk->ring, ends, 2) == 2;
    check(!ended || (ends[0]->res >= 0 && ends[1]->res >= 0), "write");
    io_uring_cq_advance(&disk->ring, ended ? 2 : 0);
    return ended;
}

/* ---- a copy ---- */

static void follow(const char *directory, int number, struct disk *disk, int connection)
{
    disk_open(disk, directory, number);
    char *buffer = allocate(2 * BATCH_MAX + SECTOR);
    size_t size = 0;
    for (;;) {
        ssize_t got = recv(connection, buffer + size, 2 * BATCH_MAX - size, 0);
        if (got <= 0)
            exit(0);
        size += (size_t)got;
        u64 newest = 0, whole = 0;
        while (size - whole >= HEAD) {
            u32 head[2];
            memcpy(head, buffer + whole, sizeof(head));
            if (size - whole < HEAD + head[0])
                break;
            check(crc32c(0, buffer + whole + HEAD, head[0]) == head[1], "checksum");
            memcpy(&newest, buffer + whole + 8, sizeof(newest));
            whole += HEAD + head[0];
        }
        if (whole == 0)
            continue;
        disk_write(disk, buffer, whole);
        check(send(connection, &newest, sizeof(newest), MSG_NOSIGNAL) > 0, "acknowledge");
        memmove(buffer, buffer + whole, size - whole);
        size -= whole;
    }
}

/* ---- the first process ---- */

struct client {
    int fd; /* 0: none */
    char *input;
    size_t size, capacity;
};

struct batch {
    char *data;
    size_t size;
    u32 owed_count;
    struct owed {
        struct client *client;
        u32 commands;
    } owed[CLIENTS_MAX];
};

static struct client clients[CLIENTS_MAX];
static struct batch *batches[WAITING_MAX]; /* by number; the gathered one is last + 1 */
static u64 last, answered, written, acknowledged[FOLLOWERS];
static int followers[FOLLOWERS];
static struct disk disk;

static struct batch *gathered(void)
{
    struct batch **batch = &batches[(last + 1) % WAITING_MAX];
    if (*batch == NULL) {
        *batch = allocate(sizeof(**batch));
        **batch = (struct batch){.data = allocate(BATCH_MAX + SECTOR), .size = HEAD};
    }
    return *batch;
}

/* The end of the decimal number behind a mark such as '$', or NULL if it is not all there. */
static const char *number(const char *at, const char *end, char mark, size_t *value)
{
    if (at == NULL || at == end || *at != mark)
        return NULL;
    *value = 0;
    for (at++; at < end && *at >= '0' && *at <= '9'; at++)
        *value = *value * 10 + (size_t)(*at - '0');
    return end - at >= 2 ? at + 2 : NULL;
}

/* The end of the command that begins here, or NULL. */
static const char *whole_command(const char *at, const char *end)
{
    size_t count, size;
    at = number(at, end, '*', &count);
    for (size_t i = 0; at != NULL && i < count; i++) {
        at = number(at, end, '$', &size);
        if (at == NULL || (size_t)(end - at) < size + 2)
            return NULL;
        at += size + 2;
    }
    return at;
}

static void take_commands(struct client *client)
{
    struct batch *batch = gathered();
    const char *at = client->input, *end = at + client->size, *next;
    u32 commands = 0;
    for (; (next = whole_command(at, end)) != NULL; at = next) {
        size_t size = (size_t)(next - at);
        check(batch->size + size <= BATCH_MAX, "more commands at once than it can hold");
        memcpy(batch->data + batch->size, at, size);
        batch->size += size;
        commands++;
    }
    client->size = (size_t)(end - at);
    memmove(client->input, at, client->size);
    if (commands > 0)
        batch->owed[batch->owed_count++] = (struct owed){client, commands};
}

static void read_client(struct client *client)
{
    if (client->size + READ_SIZE > client->capacity) {
        client->capacity = 2 * client->size + READ_SIZE;
        client->input = realloc(client->input, client->capacity);
        check(client->input != NULL, "memory");
    }
    ssize_t got = recv(client->fd, client->input + client->size, READ_SIZE, MSG_DONTWAIT);
    if (got > 0) {
        client->size += (size_t)got;
        take_commands(client);
    } else if (got == 0 || errno != EAGAIN) {
        close(client->fd); /* an answer owed to it goes nowhere */
        client->fd = 0;
        client->size = 0;
    }
}

static void answer_batch(struct batch *batch)
{
    static char answers[ANSWERS_MAX];
    for (struct owed *owed = batch->owed; owed < batch->owed + batch->owed_count; owed++) {
        check(owed->commands <= ANSWERS_MAX / 5, "more answers at once than it can hold");
        for (u32 i = 0; i < owed->commands; i++)
            memcpy(answers + 5 * i, "+OK\r\n", 5);
        if (owed->client->fd != 0)
            (void)!send(owed->client->fd, answers, 5 * owed->commands, MSG_NOSIGNAL);
    }
    batch->owed_count = 0;
    batch->size = HEAD;
}

/* Answers all that two of the three files have. */
static void answer(void)
{
    u64 low = acknowledged[0] < acknowledged[1] ? acknowledged[0] : acknowledged[1];
    u64 high = acknowledged[0] < acknowledged[1] ? acknowledged[1] : acknowledged[0];
    u64 on_two = written < low ? low : written < high ? written : high;
    while (answered < on_two) {
        if (disk.how == DISK_URING && answered == written)
            return; /* the kernel still reads it */
        answer_batch(batches[++answered % WAITING_MAX]);
    }
}

/* Hands what was gathered to the others and to the disk. */
static void store(void)
{
    struct batch *batch = gathered();
    if (batch->owed_count == 0 || (disk.how == DISK_URING && written < last))
        return;
    u32 head[2] = {(u32)(batch->size - HEAD), crc32c(0, batch->data + HEAD, batch->size - HEAD)};
    last++;
    check(last - answered < WAITING_MAX - 1, "the others are too slow");
    memcpy(batch->data, head, sizeof(head));
    memcpy(batch->data + 8, &last, sizeof(last));
    for (int i = 0; i < FOLLOWERS; i++)
        check(send(followers[i], batch->data, batch->size, 0) == (ssize_t)batch->size, "send");
    (disk.how == DISK_URING ? disk_begin : disk_write)(&disk, batch->data, batch->size);
    written = disk.how == DISK_URING ? written : last;
}

static void take_acknowledgements(int i)
{
    u64 numbers[512];
    ssize_t got = recv(followers[i], numbers, sizeof(numbers), MSG_DONTWAIT);
    check(got > 0 && got % 8 == 0, "another process is gone");
    acknowledged[i] = numbers[got / 8 - 1];
}

static void watch(int epoll, int fd, void *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll");
}

static void lead(int listener)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    watch(epoll, listener, &listener);
    for (int i = 0; i < FOLLOWERS; i++)
        watch(epoll, followers[i], &followers[i]);
    if (disk.how == DISK_URING) {
        check(io_uring_queue_init(8, &disk.ring, 0) == 0, "io_uring");
        disk.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        check(io_uring_register_eventfd(&disk.ring, disk.done_fd) == 0, "io_uring");
        watch(epoll, disk.done_fd, &disk);
    }
    for (;;) {
        struct epoll_event events[512];
        int count = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < count; i++) {
            void *what = events[i].data.ptr;
            if (what == &listener) {
                int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                struct client *client = clients;
                while (client->fd != 0)
                    client++;
                check(fd > 0 && client < clients + CLIENTS_MAX - 1, "accept");
                client->fd = fd;
                watch(epoll, fd, client);
            } else if (what == &followers[0] || what == &followers[1]) {
                take_acknowledgements(what == &followers[1]);
            } else if (what == &disk) {
                u64 times;
                (void)!read(disk.done_fd, &times, sizeof(times));
                if (written < last && disk_ended(&disk))
                    written = last;
            } else if (((struct client *)what)->fd != 0) {
                read_client(what);
            }
        }
        answer();
        store();
        answer();
    }
}

static int listen_at(u16 port, struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(*address);
    check(bind(fd, (struct sockaddr *)address, size) == 0 && listen(fd, 1024) == 0 &&
              getsockname(fd, (struct sockaddr *)address, &size) == 0,
          "listen");
    return fd;
}

int main(int argc, char **argv)
{
    const char *how = argc > 3 ? argv[3] : "sync";
    errno = EINVAL;
    check(argc == 3 || argc == 4, "usage: bound PORT DIRECTORY [sync|direct|uring]");
    while (strcmp(how, (const char *[]){"sync", "direct", "uring"}[disk.how]) != 0)
        check(disk.how++ < DISK_URING, "sync, direct or uring");
    struct sockaddr_in address;
    pid_t pids[FOLLOWERS];
    for (int i = 0; i < FOLLOWERS; i++) {
        int listener = listen_at(0, &address);
        pids[i] = fork();
        if (pids[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            struct disk own = {.how = disk.how == DISK_DIRECT ? DISK_DIRECT : DISK_SYNC};
            follow(argv[2], i + 2, &own, accept4(listener, NULL, NULL, SOCK_CLOEXEC));
        }
        followers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        check(connect(followers[i], (struct sockaddr *)&address, sizeof(address)) == 0, "connect");
        close(listener);
    }
    disk_open(&disk, argv[2], 1);
    int listener = listen_at((u16)atoi(argv[1]), &address);
    printf("%d %d %d\n", getpid(), pids[0], pids[1]);
    fflush(stdout);
    lead(listener);
}
