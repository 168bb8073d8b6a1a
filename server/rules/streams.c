/* streams.c - see streams.h. */
#include "server/rules/streams.h"

void streams_begin(struct streams *streams, u64 term)
{
    *streams = (struct streams){.term = term};
}

static struct stream *find(struct streams *streams, server_id taker)
{
    struct stream *free_place = NULL;
    for (u32 i = 0; i < SERVERS_MAX; i++) {
        struct stream *stream = &streams->streams[i];
        if (stream->taker == taker)
            return stream;
        if (stream->taker == SERVER_NONE && free_place == NULL)
            free_place = stream;
    }
    return free_place;
}

/* What is known of the stream that the FORWARD belongs to; NULL: nothing. */
static const struct stream *known(const struct streams *streams, const struct message *request)
{
    for (u32 i = 0; i < SERVERS_MAX; i++) {
        const struct stream *stream = &streams->streams[i];
        if (stream->taker == request->from)
            return streams->term == request->term &&
                           stream->start == request->as.forward_request.start
                       ? stream
                       : NULL;
    }
    return NULL;
}

void streams_forget(struct streams *streams, server_id taker)
{
    for (u32 i = 0; i < SERVERS_MAX; i++) {
        if (streams->streams[i].taker == taker)
            streams->streams[i] = (struct stream){0};
    }
}

static bool is_of_writes(const struct forward_request *forward)
{
    return forward->first_write != 0;
}

/* A build that does not number attempts: only rising messages are taken, so that one that arrives
 * twice is not executed twice. */
static enum stream_verdict take_unnumbered(struct stream *stream,
                                           const struct forward_request *forward, bool closed)
{
    if (forward->serial <= stream->message)
        return STREAM_KNOWN;
    stream->message = forward->serial;
    return closed ? STREAM_REFUSED : STREAM_TAKEN;
}

static enum stream_verdict take_reads(struct stream *stream, const struct forward_request *forward,
                                      bool closed)
{
    if (forward->previous_write > stream->taken)
        stream->broken = true;
    return closed || forward->previous_write > stream->taken ? STREAM_REFUSED : STREAM_TAKEN;
}

static enum stream_verdict take_writes(struct stream *stream, const struct forward_request *forward,
                                       bool closed)
{
    if (forward->first_write <= stream->taken)
        return STREAM_KNOWN;
    if (closed || forward->previous_write > stream->taken)
        stream->broken = true;
    if (stream->broken)
        return STREAM_REFUSED;
    stream->taken = forward->first_write + forward->count - 1;
    return STREAM_TAKEN;
}

enum stream_verdict streams_take(struct streams *streams, const struct message *request,
                                 bool closed)
{
    const struct forward_request *forward = &request->as.forward_request;
    struct stream *stream = find(streams, request->from);
    if (stream == NULL)
        return STREAM_REFUSED;
    if (stream->taker != request->from || forward->start > stream->start)
        *stream = (struct stream){.taker = request->from, .start = forward->start};
    if (forward->start < stream->start)
        return STREAM_KNOWN; /* of a life that is over: nobody waits for it */
    if (forward->attempt == 0)
        return take_unnumbered(stream, forward, closed);
    if (forward->attempt < stream->attempt)
        return streams_know(streams, request) ? STREAM_KNOWN : STREAM_REFUSED;
    if (forward->attempt > stream->attempt) {
        stream->attempt = forward->attempt;
        stream->broken = false;
    }
    return is_of_writes(forward) ? take_writes(stream, forward, closed)
                                 : take_reads(stream, forward, closed);
}

void streams_give_back(struct streams *streams, server_id taker, u64 serial)
{
    struct stream *stream = find(streams, taker);
    if (stream == NULL || stream->taker != taker || serial == 0 || serial > stream->taken)
        return;
    stream->taken = serial - 1;
    stream->broken = true;
}

bool streams_know(const struct streams *streams, const struct message *request)
{
    const struct stream *stream = known(streams, request);
    const struct forward_request *forward = &request->as.forward_request;
    if (stream == NULL)
        return false;
    if (forward->attempt == 0)
        return forward->serial <= stream->message;
    return is_of_writes(forward) && forward->first_write <= stream->taken;
}

u64 streams_refused_from(const struct streams *streams, const struct message *request)
{
    const struct stream *stream = known(streams, request);
    const struct forward_request *forward = &request->as.forward_request;
    if (is_of_writes(forward))
        return stream != NULL ? stream->taken + 1 : forward->first_write;
    bool missing = stream != NULL && stream->attempt == forward->attempt && stream->broken &&
                   forward->previous_write > stream->taken;
    return missing ? stream->taken + 1 : 0;
}
