/* output.c - see output.h. */
#include "server/clients/output.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include "common/memory.h"

enum { PIECES_SENT_MAX = 64 };

struct output_piece {
    struct output_piece *next;
    size_t size; /* bytes in use */
    size_t capacity;
    u8 data[];
};

void output_init(struct output *output)
{
    *output = (struct output){0};
}

static void drop_first(struct output *output)
{
    struct output_piece *piece = output->first;
    output->first = piece->next;
    if (output->first == NULL)
        output->last = NULL;
    output->memory -= sizeof(*piece) + piece->capacity;
    memory_free(piece);
}

void output_deinit(struct output *output)
{
    while (output->first != NULL)
        drop_first(output);
    output_init(output);
}

static struct output_piece *add_piece(struct output *output, size_t size)
{
    size_t capacity = u64_min(u64_max(output->memory, OUTPUT_PIECE_MIN), OUTPUT_PIECE_MAX);
    capacity = u64_max(capacity, size + sizeof(struct output_piece)) - sizeof(struct output_piece);
    struct output_piece *piece = memory_alloc(sizeof(*piece) + capacity);
    piece->next = NULL;
    piece->size = 0;
    piece->capacity = capacity;
    if (output->last == NULL)
        output->first = piece;
    else
        output->last->next = piece;
    output->last = piece;
    output->memory += sizeof(*piece) + capacity;
    return piece;
}

void output_append(struct output *output, const void *data, size_t size)
{
    const u8 *from = data;
    output->size += size;
    while (size > 0) {
        struct output_piece *piece = output->last;
        if (piece == NULL || piece->size == piece->capacity)
            piece = add_piece(output, size);
        size_t part = u64_min(size, piece->capacity - piece->size);
        memcpy(piece->data + piece->size, from, part);
        piece->size += part;
        from += part;
        size -= part;
    }
}

static void drop_sent(struct output *output, size_t sent)
{
    output->size -= sent;
    output->sent += sent;
    while (output->first != NULL && output->sent >= output->first->size) {
        output->sent -= output->first->size;
        drop_first(output);
    }
}

ssize_t output_send(struct output *output, int fd)
{
    struct iovec pieces[PIECES_SENT_MAX];
    struct msghdr message = {.msg_iov = pieces};
    size_t skipped = output->sent;
    ASSERT(output->size > 0);
    for (struct output_piece *piece = output->first;
         piece != NULL && message.msg_iovlen < PIECES_SENT_MAX; piece = piece->next) {
        pieces[message.msg_iovlen++] = (struct iovec){piece->data + skipped, piece->size - skipped};
        skipped = 0;
    }
    ssize_t sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0)
        drop_sent(output, (size_t)sent);
    return sent;
}
