/* memory.c - the simulator's side of common/memory.h: who allocates is charged.
 *
 * Each allocation is a link in its process's ring, so that a process that ends without unwinding is
 * freed whole. Links know their neighbours only: memory may be freed in anybody's name. */
#include "common/memory.h"

#include <stdlib.h>
#include <string.h>

#include "test/sim/world.h"

/* In front of each piece of memory. Keeps malloc's alignment. */
struct header {
    struct memory_link link; /* next NULL: the world's own, in no ring */
    struct process *process;
    u64 padding;
};

/* What malloc's failure leads to in production: the process ends there and then. */
static void count_allocation(void)
{
    if (!process_lacks(RESOURCE_MEMORY))
        return;
    struct world *world = world_current();
    world->starved(world->context, world->process);
    UNREACHABLE();
}

static void *charge(struct header *header)
{
    struct world *world = world_current();
    struct process *process = world != NULL ? world->process : NULL;
    header->process = process;
    if (process == NULL) {
        header->link.next = NULL;
        return header + 1;
    }
    struct memory_link *ring = &process->memory;
    header->link.next = ring->next;
    header->link.previous = ring;
    ring->next->previous = &header->link;
    ring->next = &header->link;
    process->memory_count++;
    return header + 1;
}

static void discharge(struct header *header)
{
    if (header->link.next == NULL)
        return;
    header->link.next->previous = header->link.previous;
    header->link.previous->next = header->link.next;
    header->process->memory_count--;
}

void *memory_alloc(size_t size)
{
    ASSERT(size < SIZE_MAX - sizeof(struct header));
    count_allocation();
    return charge(sim_alloc(sizeof(struct header) + size));
}

void *memory_alloc_zero(size_t count, size_t size)
{
    size_t all = 0;
    ASSERT(!__builtin_mul_overflow(count, size, &all));
    ASSERT(all < SIZE_MAX - sizeof(struct header));
    count_allocation();
    struct header *header = sim_alloc_zero(1, sizeof(struct header) + all);
    return charge(header);
}

void *memory_resize(void *pointer, size_t size)
{
    if (pointer == NULL)
        return memory_alloc(size);
    ASSERT(size < SIZE_MAX - sizeof(struct header));
    count_allocation();
    struct header *header = (struct header *)pointer - 1;
    discharge(header);
    return charge(sim_resize(header, sizeof(struct header) + size));
}

void memory_free(void *pointer)
{
    if (pointer == NULL)
        return;
    struct header *header = (struct header *)pointer - 1;
    discharge(header);
    sim_free(header);
}

void memory_trim(void)
{
    /* There is no system to give anything back to. */
}

char *memory_copy_string(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memory_alloc(size);
    memcpy(copy, text, size);
    return copy;
}
