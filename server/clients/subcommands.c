/* subcommands.c - what CLIENT, COMMAND, CONFIG and CLUSTER have in common: a table of subcommands,
 * HELP made of it, and Redis' words for what is not in it. */
#include <ctype.h>
#include <stdio.h>

#include "server/clients/commands.h"

enum { WORD_SHOWN_MAX = 128 };

static bool arity_fits(int arity, u32 count)
{
    return arity >= 0 ? count == (u32)arity : count >= (u32)-arity;
}

static void help(struct call *call, const struct container *container)
{
    reply_array(&call->reply, 2 * container->count + 3);
    reply_status(&call->reply,
                 "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", container->name);
    for (size_t i = 0; i < container->count; i++) {
        reply_status(&call->reply, "%s", container->subcommands[i].usage);
        reply_status(&call->reply, "    %s", container->subcommands[i].summary);
    }
    reply_simple(&call->reply, "HELP");
    reply_simple(&call->reply, "    Print this help.");
}

static void wrong_arity(struct call *call, const struct container *container, const char *name)
{
    char whole[64];
    int size = snprintf(whole, sizeof(whole), "%s|%s", container->name, name);
    for (int i = 0; i < size && whole[i] != '\0'; i++)
        whole[i] = (char)tolower((unsigned char)whole[i]);
    call_wrong_arity(call, whole);
}

void call_subcommand(struct call *call, const struct container *container)
{
    const struct kv_argument *name = &call->arguments[1];
    for (size_t i = 0; i < container->count; i++) {
        const struct subcommand *subcommand = &container->subcommands[i];
        if (!argument_is(name, subcommand->name))
            continue;
        if (arity_fits(subcommand->arity, call->count))
            subcommand->run(call);
        else
            wrong_arity(call, container, subcommand->name);
        return;
    }
    if (argument_is(name, "help")) {
        if (call->count == 2)
            help(call, container);
        else
            wrong_arity(call, container, "help");
        return;
    }
    char word[WORD_SHOWN_MAX + 1];
    (void)argument_text(name, word, sizeof(word));
    reply_error(&call->reply, "ERR unknown subcommand '%s'. Try %s HELP.", word, container->name);
}
