/* output.h - bytes on their way to a client: a queue of pieces.
 *
 * What is sent goes back to the heap piece by piece, and nothing that waits is ever moved or held
 * twice, as one growing buffer would: a client that reads late costs what it has not read, and at
 * most OUTPUT_PIECE_MAX more. Pieces begin small, so that a short answer is cheap, and double.
 *
 * Thread: one at a time. */
#ifndef MAILRAFT_CLIENTS_OUTPUT_H
#define MAILRAFT_CLIENTS_OUTPUT_H

#include <sys/types.h>

#include "common/bytes.h"

enum {
    OUTPUT_PIECE_MIN = 512,
    OUTPUT_PIECE_MAX = 64 * 1024 /* an answer that is larger has a piece of its size */
};

struct output_piece;

struct output {
    struct output_piece *first;
    struct output_piece *last;
    size_t sent; /* bytes of the first piece that are sent already */
    u64 size;    /* bytes not yet sent */
    u64 memory;  /* bytes allocated */
};

void output_init(struct output *output);
void output_deinit(struct output *output);
void output_append(struct output *output, const void *data, size_t size);

/* Sends as much as one system call takes, without blocking, and drops it. Returns the bytes sent,
 * or -1 with errno. Only when there are any. */
ssize_t output_send(struct output *output, int fd);

#endif
