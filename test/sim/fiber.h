/* fiber.h - a stack of one's own, and the switch to it.
 *
 * The lowest layer of the simulator: a fiber is a point of execution with its own stack, and
 * fiber_switch leaves one and goes on in another. Who runs when is the scheduler's business
 * (world.h). On x86-64 and aarch64 the switch is a dozen instructions (3 ns here, against 0.4 us
 * of swapcontext, which asks the kernel about signals each time); elsewhere it is ucontext. The
 * sanitizers are told of each switch.
 *
 * Stacks are mapped with a guard page below, and pooled, since servers die young here.
 *
 * Thread: a fiber stays on the operating system thread that created it. */
#ifndef MAILRAFT_TEST_SIM_FIBER_H
#define MAILRAFT_TEST_SIM_FIBER_H

#include "common/types.h"

enum { FIBER_STACK_SIZE = 1024 * 1024 };

struct fiber_stack {
    struct fiber_stack *next; /* in the pool; lies at the top of the stack itself */
};

struct fiber_pool {
    struct fiber_stack *free;
};

struct fiber {
    void *stack_pointer; /* while it is not running */
    u8 *stack;           /* lowest usable byte; NULL: the thread's own stack */
    void (*run)(void *argument);
    void *argument;
    void *context;            /* ucontext_t, where that is used */
    void *fake_stack;         /* AddressSanitizer's */
    void *tsan;               /* ThreadSanitizer's */
    const void *thread_stack; /* AddressSanitizer: bounds of the thread's own stack */
    size_t thread_stack_size;
};

/* The fiber of whoever calls: the thread itself. */
void fiber_init_thread(struct fiber *fiber);
void fiber_deinit_thread(struct fiber *fiber);

/* A fiber that will call run(argument) when it is first switched to. run must never return: its
 * last act is fiber_switch with `last`. */
void fiber_init(struct fiber *fiber, struct fiber_pool *pool, void (*run)(void *argument),
                void *argument);
/* Gives the stack back. What was on it is abandoned. The fiber must not be running. */
void fiber_deinit(struct fiber *fiber, struct fiber_pool *pool);

/* Leaves `from`, which is running, and goes on in `to`. Returns when somebody switches back.
 * `last`: nobody ever will. */
void fiber_switch(struct fiber *from, struct fiber *to, bool last);

/* Unmaps all pooled stacks. */
void fiber_pool_deinit(struct fiber_pool *pool);

#endif
