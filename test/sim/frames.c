/* frames.c - lists of frames: what is held back, or waits for room. */
#include "test/sim/inside.h"

void frames_put(struct frame_list *list, struct frame *frame)
{
    frame->next = NULL;
    if (list->last != NULL)
        list->last->next = frame;
    else
        list->first = frame;
    list->last = frame;
    list->count++;
    list->bytes += frame->size;
}

struct frame *frames_take(struct frame_list *list)
{
    struct frame *frame = list->first;
    if (frame == NULL)
        return NULL;
    list->first = frame->next;
    if (list->first == NULL)
        list->last = NULL;
    list->count--;
    list->bytes -= frame->size;
    return frame;
}

void frames_clear(struct frame_list *list)
{
    struct frame *frame;
    while ((frame = frames_take(list)) != NULL)
        sim_free(frame);
}
