/* check_sim_world.c - virtual time, coroutines, processes, and the seams in terms of them. */
#include "test/unit/unit.h"

#include "common/clock.h"
#include "common/memory.h"
#include "common/sync.h"
#include "test/sim/world.h"

static struct world world;
static struct sim_clock clock_of_server;
static char story[256];
static size_t story_size;

static void tell(char what)
{
    ck_assert_uint_lt(story_size, sizeof(story) - 1);
    story[story_size++] = what;
    story[story_size] = '\0';
}

static struct process *begin(void)
{
    story_size = 0;
    story[0] = '\0';
    world_init(&world, 1);
    sim_clock_init(&clock_of_server);
    return process_create(&world, 1, &clock_of_server);
}

static void run_until(u64 time_ns)
{
    struct process *ran;
    while (world_step(&world, time_ns, &ran))
        continue;
}

static void end(struct process *process)
{
    if (process != NULL)
        process_end(process);
    world_deinit(&world);
}

/* ---- events ---- */

static void event(void *object, u64 argument)
{
    (void)object;
    tell((char)argument);
}

START_TEST(world_at__events_happen_in_order_of_time_and_making)
{
    struct process *process = begin();
    world_at(&world, 30, event, NULL, 'd');
    world_at(&world, 10, event, NULL, 'a');
    world_at(&world, 20, event, NULL, 'b');
    world_at(&world, 20, event, NULL, 'c');
    run_until(20);
    ck_assert_str_eq(story, "abc");
    ck_assert_uint_eq(world.now_ns, 20);
    run_until(100);
    ck_assert_str_eq(story, "abcd");
    ck_assert_uint_eq(world.now_ns, 100);
    end(process);
}
END_TEST

START_TEST(world_at__a_past_time_is_now)
{
    struct process *process = begin();
    run_until(50);
    world_at(&world, 10, event, NULL, 'a');
    run_until(50);
    ck_assert_str_eq(story, "a");
    ck_assert_uint_eq(world.now_ns, 50);
    end(process);
}
END_TEST

START_TEST(world_at__a_thousand_events_stay_sorted)
{
    struct process *process = begin();
    struct rng rng;
    rng_init(&rng, 7);
    for (int i = 0; i < 1000; i++)
        world_at(&world, rng_range(&rng, 0, 300), event, NULL, 'x');
    u64 before = 0;
    struct process *ran;
    for (int i = 0; i < 1000; i++) {
        story_size = 0;
        ck_assert(world_step(&world, 300, &ran));
        ck_assert_uint_ge(world.now_ns, before);
        before = world.now_ns;
    }
    ck_assert(!world_step(&world, 300, &ran));
    end(process);
}
END_TEST

/* ---- coroutines ---- */

static void sleeper(void *argument)
{
    const char *name = argument;
    tell(name[0]);
    coroutine_sleep(&world, (u64)(name[1] - '0') * 10);
    tell(name[0]);
}

START_TEST(coroutine_sleep__others_run_meanwhile)
{
    struct process *process = begin();
    (void)coroutine_start(process, sleeper, (void *)(uintptr_t) "a3");
    (void)coroutine_start(process, sleeper, (void *)(uintptr_t) "b1");
    run_until(100);
    ck_assert_str_eq(story, "abba");
    end(process);
}
END_TEST

static u64 deadline;

static void waiter(void *argument)
{
    (void)argument;
    while (clock_monotonic_ns() < deadline)
        (void)coroutine_wait(&world, deadline);
    tell(world.now_ns == 40 ? 'y' : 'n');
}

START_TEST(coroutine_wait__ends_at_the_deadline)
{
    struct process *process = begin();
    deadline = NS_PER_S + 40; /* clocks begin at 1 s */
    (void)coroutine_start(process, waiter, NULL);
    run_until(100);
    ck_assert_str_eq(story, "y");
    end(process);
}
END_TEST

static void late_waiter(void *argument)
{
    (void)argument;
    coroutine_sleep(&world, 40);
    ck_assert(!coroutine_wait(&world, NS_PER_S + 10));
    ck_assert(!coroutine_wait(&world, NS_PER_S + 20));
    tell(world.now_ns == 40 ? 'y' : 'n');
}

START_TEST(coroutine_wait__a_deadline_that_is_past_ends_at_once)
{
    struct process *process = begin();
    (void)coroutine_start(process, late_waiter, NULL);
    run_until(1000);
    ck_assert_str_eq(story, "y");
    end(process);
}
END_TEST

/* ---- clocks ---- */

START_TEST(sim_clock__rates)
{
    struct sim_clock clock;
    sim_clock_init(&clock);
    clock.rate_ppm = 2000000;
    ck_assert_uint_eq(sim_clock_local_ns(&clock, 100), NS_PER_S + 200);
    ck_assert_uint_eq(sim_clock_true_ns(&clock, NS_PER_S + 200), 100);
    clock.rate_ppm = 950000;
    for (u64 local = NS_PER_S; local < NS_PER_S + 100; local++) {
        u64 when = sim_clock_true_ns(&clock, local);
        ck_assert_uint_ge(sim_clock_local_ns(&clock, when), local);
        ck_assert(when == 0 || sim_clock_local_ns(&clock, when - 1) < local);
    }
    ck_assert_uint_eq(sim_clock_true_ns(&clock, TIME_NEVER), TIME_NEVER);
}
END_TEST

START_TEST(process_clock_changed__deadlines_follow_the_clock)
{
    struct process *process = begin();
    deadline = NS_PER_S + 60;
    (void)coroutine_start(process, waiter, NULL);
    run_until(20); /* 40 are left, at double speed 20 */
    clock_of_server.local_ns = sim_clock_local_ns(&clock_of_server, 20);
    clock_of_server.true_ns = 20;
    clock_of_server.rate_ppm = 2000000;
    process_clock_changed(process);
    run_until(100);
    ck_assert_str_eq(story, "y");
    end(process);
}
END_TEST

/* ---- processes ---- */

static void endless(void *argument)
{
    (void)argument;
    char *memory = memory_alloc(100);
    memory[0] = 'x';
    for (;;) {
        tell('.');
        coroutine_sleep(&world, 10);
    }
}

START_TEST(process_end__drops_coroutines_and_memory)
{
    struct process *process = begin();
    (void)coroutine_start(process, endless, NULL);
    (void)coroutine_start(process, endless, NULL);
    run_until(15);
    ck_assert_uint_eq(process->memory_count, 2); /* asan would tell of what is left */
    process_end(process);
    run_until(1000);
    ck_assert_str_eq(story, "....");
    end(NULL);
}
END_TEST

static void suicide(void *argument)
{
    tell('a');
    process_end(argument);
    tell('b');
}

START_TEST(process_end__from_within_does_not_return)
{
    struct process *process = begin();
    (void)coroutine_start(process, suicide, process);
    (void)coroutine_start(process, endless, NULL);
    run_until(1000);
    ck_assert_str_eq(story, "a");
    end(NULL);
}
END_TEST

START_TEST(process_pause__nothing_runs_until_it_resumes)
{
    struct process *process = begin();
    (void)coroutine_start(process, sleeper, (void *)(uintptr_t) "a3");
    run_until(10);
    process_pause(process, true);
    run_until(100);
    ck_assert_str_eq(story, "a");
    process_pause(process, false);
    run_until(100);
    ck_assert_str_eq(story, "aa");
    end(process);
}
END_TEST

/* ---- locks and conditions ---- */

static struct mutex lock;
static struct condition changed;
static bool flag;

static void holder(void *argument)
{
    (void)argument;
    mutex_lock(&lock);
    tell('h');
    coroutine_sleep(&world, 50);
    tell('h');
    mutex_unlock(&lock);
}

static void contender(void *argument)
{
    (void)argument;
    mutex_lock(&lock);
    mutex_assert_held(&lock);
    tell('c');
    mutex_unlock(&lock);
}

START_TEST(mutex_lock__waits_for_a_holder_that_sleeps)
{
    struct process *process = begin();
    mutex_init(&lock);
    (void)coroutine_start(process, holder, NULL);
    (void)coroutine_start(process, contender, NULL);
    (void)coroutine_start(process, contender, NULL);
    run_until(1000);
    ck_assert_str_eq(story, "hhcc");
    mutex_deinit(&lock);
    end(process);
}
END_TEST

static void expectant(void *argument)
{
    (void)argument;
    mutex_lock(&lock);
    while (!flag)
        condition_wait(&changed, &lock);
    tell('w');
    mutex_unlock(&lock);
}

static void signaller(void *argument)
{
    coroutine_sleep(&world, 20);
    mutex_lock(&lock);
    flag = true;
    tell('s');
    if (argument != NULL)
        condition_broadcast(&changed);
    else
        condition_signal(&changed);
    mutex_unlock(&lock);
}

static const char *signalled(void *all)
{
    struct process *process = begin();
    flag = false;
    mutex_init(&lock);
    condition_init(&changed);
    (void)coroutine_start(process, expectant, NULL);
    (void)coroutine_start(process, expectant, NULL);
    (void)coroutine_start(process, signaller, all);
    run_until(1000);
    end(process); /* with somebody still waiting, in one case */
    return story;
}

START_TEST(condition_signal__wakes_one)
{
    ck_assert_str_eq(signalled(NULL), "sw");
}
END_TEST

START_TEST(condition_broadcast__wakes_all)
{
    ck_assert_str_eq(signalled(&flag), "sww");
}
END_TEST

static void impatient(void *argument)
{
    (void)argument;
    mutex_lock(&lock);
    ck_assert(!condition_wait_until(&changed, &lock, clock_monotonic_ns() + 30));
    mutex_assert_held(&lock);
    tell(world.now_ns == 30 ? 'y' : 'n');
    mutex_unlock(&lock);
}

START_TEST(condition_wait_until__gives_up_at_the_deadline)
{
    struct process *process = begin();
    mutex_init(&lock);
    condition_init(&changed);
    (void)coroutine_start(process, impatient, NULL);
    run_until(1000);
    ck_assert_str_eq(story, "y");
    condition_deinit(&changed);
    mutex_deinit(&lock);
    end(process);
}
END_TEST

static void parent(void *argument)
{
    (void)argument;
    struct thread thread = {0};
    struct error error = {0};
    ck_assert_int_eq(thread_start(&thread, "child", sleeper, (void *)(uintptr_t) "c5", &error),
                     ERROR_NONE);
    tell('p');
    thread_join(&thread);
    tell('p');
}

START_TEST(thread_join__waits_for_the_end)
{
    struct process *process = begin();
    (void)coroutine_start(process, parent, NULL);
    run_until(1000);
    ck_assert_str_eq(story, "pccp");
    end(process);
}
END_TEST

START_TEST(thread_join__from_outside_lets_time_pass)
{
    struct process *process = begin();
    struct thread thread = {0};
    struct error error = {0};
    ck_assert_int_eq(thread_start(&thread, "child", sleeper, (void *)(uintptr_t) "c5", &error),
                     ERROR_NONE);
    thread_join(&thread);
    ck_assert_str_eq(story, "cc");
    ck_assert_uint_eq(world.now_ns, 50);
    end(process);
}
END_TEST

/* ---- memory ---- */

START_TEST(memory__is_charged_to_the_process_in_whose_name_it_is_taken)
{
    struct process *process = begin();
    char *of_the_world = memory_copy_string("world");
    struct process *before = process_enter(&world, process);
    char *of_the_server = memory_copy_string("server");
    of_the_server = memory_resize(of_the_server, 1000);
    (void)process_enter(&world, before);
    ck_assert_uint_eq(process->memory_count, 1);
    ck_assert_str_eq(of_the_server, "server");
    memory_free(of_the_server); /* in anybody's name */
    ck_assert_uint_eq(process->memory_count, 0);
    ck_assert_uint_eq(process_destroy(process), 0);
    ck_assert_str_eq(of_the_world, "world");
    memory_free(of_the_world);
    world_deinit(&world);
}
END_TEST

START_TEST(world_stream__streams_are_unlike)
{
    struct process *process = begin();
    ck_assert_uint_ne(world_stream(&world, "net", 0), world_stream(&world, "disk", 0));
    ck_assert_uint_ne(world_stream(&world, "disk", 1), world_stream(&world, "disk", 2));
    end(process);
}
END_TEST

UNIT_MAIN("sim_world", world_at__events_happen_in_order_of_time_and_making,
          world_at__a_past_time_is_now, world_at__a_thousand_events_stay_sorted,
          coroutine_sleep__others_run_meanwhile, coroutine_wait__ends_at_the_deadline,
          coroutine_wait__a_deadline_that_is_past_ends_at_once, sim_clock__rates,
          process_clock_changed__deadlines_follow_the_clock,
          process_end__drops_coroutines_and_memory, process_end__from_within_does_not_return,
          process_pause__nothing_runs_until_it_resumes, mutex_lock__waits_for_a_holder_that_sleeps,
          condition_signal__wakes_one, condition_broadcast__wakes_all,
          condition_wait_until__gives_up_at_the_deadline, thread_join__waits_for_the_end,
          thread_join__from_outside_lets_time_pass,
          memory__is_charged_to_the_process_in_whose_name_it_is_taken,
          world_stream__streams_are_unlike)
