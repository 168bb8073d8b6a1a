/* fiber.c - see fiber.h. */
#include "test/sim/fiber.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/check.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

#if defined(__x86_64__) || defined(__aarch64__)
#define FIBER_BY_HAND 1
#else
#define FIBER_BY_HAND 0
#include <ucontext.h>
#endif

enum { GUARD_SIZE = 64 * 1024 }; /* a whole page wherever the program runs */

/* The first thing on a new stack, with the fiber that it is for. */
static _Noreturn void fiber_main(struct fiber *fiber);

#if defined(__x86_64__)
/* Saves the registers that a call preserves, changes the stack, and restores them from there. The
 * floating point control words are not saved: nothing here changes them. */
void fiber_exchange(void **save, void *load);
__asm__(".text\n"
        ".globl fiber_exchange\n"
        ".type fiber_exchange, @function\n"
        "fiber_exchange:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size fiber_exchange, . - fiber_exchange\n");

/* A new stack looks as if fiber_exchange had been called from fiber_entry, which finds the fiber
 * in rbx and its function in r12. */
void fiber_entry(void);
__asm__(".text\n"
        ".globl fiber_entry\n"
        ".type fiber_entry, @function\n"
        "fiber_entry:\n"
        "    movq %rbx, %rdi\n"
        "    xorl %ebp, %ebp\n"
        "    call *%r12\n"
        "    ud2\n"
        ".size fiber_entry, . - fiber_entry\n");

static void *fiber_prepare(struct fiber *fiber, u8 *top)
{
    void **sp = (void **)(void *)top;
    *--sp = NULL; /* keeps the stack aligned at the call in fiber_entry */
    *--sp = NULL;
    *--sp = (void *)(uintptr_t)fiber_entry;
    *--sp = NULL;                          /* rbp */
    *--sp = fiber;                         /* rbx */
    *--sp = (void *)(uintptr_t)fiber_main; /* r12 */
    *--sp = NULL;                          /* r13 */
    *--sp = NULL;                          /* r14 */
    *--sp = NULL;                          /* r15 */
    return sp;
}
#elif defined(__aarch64__)
void fiber_exchange(void **save, void *load);
__asm__(".text\n"
        ".globl fiber_exchange\n"
        ".type fiber_exchange, %function\n"
        "fiber_exchange:\n"
        "    sub sp, sp, #160\n"
        "    stp x19, x20, [sp, #0]\n"
        "    stp x21, x22, [sp, #16]\n"
        "    stp x23, x24, [sp, #32]\n"
        "    stp x25, x26, [sp, #48]\n"
        "    stp x27, x28, [sp, #64]\n"
        "    stp x29, x30, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n"
        "    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    mov x9, sp\n"
        "    str x9, [x0]\n"
        "    mov sp, x1\n"
        "    ldp x19, x20, [sp, #0]\n"
        "    ldp x21, x22, [sp, #16]\n"
        "    ldp x23, x24, [sp, #32]\n"
        "    ldp x25, x26, [sp, #48]\n"
        "    ldp x27, x28, [sp, #64]\n"
        "    ldp x29, x30, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n"
        "    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    add sp, sp, #160\n"
        "    ret\n"
        ".size fiber_exchange, . - fiber_exchange\n");

void fiber_entry(void);
__asm__(".text\n"
        ".globl fiber_entry\n"
        ".type fiber_entry, %function\n"
        "fiber_entry:\n"
        "    mov x0, x19\n"
        "    mov x29, #0\n"
        "    blr x20\n"
        "    brk #1\n"
        ".size fiber_entry, . - fiber_entry\n");

static void *fiber_prepare(struct fiber *fiber, u8 *top)
{
    void **sp = (void **)(void *)(top - 160);
    memset(sp, 0, 160);
    sp[0] = fiber;                           /* x19 */
    sp[1] = (void *)(uintptr_t)fiber_main;   /* x20 */
    sp[11] = (void *)(uintptr_t)fiber_entry; /* x30 */
    return sp;
}
#endif

/* ---- stacks ---- */

static u8 *stack_map(void)
{
    u8 *base = mmap(NULL, GUARD_SIZE + FIBER_STACK_SIZE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    ASSERT(base != MAP_FAILED);
    ASSERT(mprotect(base, GUARD_SIZE, PROT_NONE) == 0);
    return base + GUARD_SIZE;
}

static struct fiber_stack *stack_top(u8 *stack)
{
    return (struct fiber_stack *)(void *)(stack + FIBER_STACK_SIZE - sizeof(struct fiber_stack));
}

static u8 *stack_take(struct fiber_pool *pool)
{
    struct fiber_stack *top = pool->free;
    if (top == NULL)
        return stack_map();
    pool->free = top->next;
    return (u8 *)top + sizeof(struct fiber_stack) - FIBER_STACK_SIZE;
}

void fiber_pool_deinit(struct fiber_pool *pool)
{
    while (pool->free != NULL) {
        u8 *stack = stack_take(pool);
        ASSERT(munmap(stack - GUARD_SIZE, GUARD_SIZE + FIBER_STACK_SIZE) == 0);
    }
}

/* ---- fibers ---- */

void fiber_init_thread(struct fiber *fiber)
{
    *fiber = (struct fiber){0};
#if defined(__SANITIZE_THREAD__)
    fiber->tsan = __tsan_get_current_fiber();
#endif
#if defined(__SANITIZE_ADDRESS__)
    pthread_attr_t attributes;
    void *stack = NULL;
    ASSERT(pthread_getattr_np(pthread_self(), &attributes) == 0);
    ASSERT(pthread_attr_getstack(&attributes, &stack, &fiber->thread_stack_size) == 0);
    fiber->thread_stack = stack;
    ASSERT(pthread_attr_destroy(&attributes) == 0);
#endif
#if !FIBER_BY_HAND
    fiber->context = calloc(1, sizeof(ucontext_t));
    ASSERT(fiber->context != NULL);
#endif
}

void fiber_deinit_thread(struct fiber *fiber)
{
    free(fiber->context);
    fiber->context = NULL;
}

#if !FIBER_BY_HAND
static void fiber_entry_ucontext(unsigned low, unsigned high)
{
    fiber_main((struct fiber *)(uintptr_t)((u64)high << 32 | low));
}
#endif

void fiber_init(struct fiber *fiber, struct fiber_pool *pool, void (*run)(void *argument),
                void *argument)
{
    *fiber = (struct fiber){.run = run, .argument = argument};
    fiber->stack = stack_take(pool);
    u8 *top = (u8 *)stack_top(fiber->stack);
    top -= (uintptr_t)top % 16;
#if FIBER_BY_HAND
    fiber->stack_pointer = fiber_prepare(fiber, top);
#else
    ucontext_t *context = calloc(1, sizeof(ucontext_t));
    ASSERT(context != NULL && getcontext(context) == 0);
    context->uc_stack.ss_sp = fiber->stack;
    context->uc_stack.ss_size = (size_t)(top - fiber->stack);
    makecontext(context, (void (*)(void))fiber_entry_ucontext, 2, (unsigned)(uintptr_t)fiber,
                (unsigned)((u64)(uintptr_t)fiber >> 32));
    fiber->context = context;
#endif
#if defined(__SANITIZE_THREAD__)
    fiber->tsan = __tsan_create_fiber(0);
#endif
}

void fiber_deinit(struct fiber *fiber, struct fiber_pool *pool)
{
#if defined(__SANITIZE_THREAD__)
    __tsan_destroy_fiber(fiber->tsan);
#endif
#if defined(__SANITIZE_ADDRESS__)
    /* Frames that never returned have left their red zones behind. */
    __asan_unpoison_memory_region(fiber->stack, FIBER_STACK_SIZE);
#endif
    free(fiber->context);
    struct fiber_stack *top = stack_top(fiber->stack);
    top->next = pool->free;
    pool->free = top;
    *fiber = (struct fiber){0};
}

void fiber_switch(struct fiber *from, struct fiber *to, bool last)
{
#if defined(__SANITIZE_ADDRESS__)
    const void *bottom = to->stack != NULL ? (const void *)to->stack : to->thread_stack;
    size_t size = to->stack != NULL ? FIBER_STACK_SIZE : to->thread_stack_size;
    __sanitizer_start_switch_fiber(last ? NULL : &from->fake_stack, bottom, size);
#else
    (void)last;
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
#if FIBER_BY_HAND
    fiber_exchange(&from->stack_pointer, to->stack_pointer);
#else
    ASSERT(swapcontext(from->context, to->context) == 0);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}

static _Noreturn void fiber_main(struct fiber *fiber)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
    fiber->run(fiber->argument);
    UNREACHABLE();
}
