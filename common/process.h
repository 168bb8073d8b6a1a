/* process.h - what every program does first, before it opens, prints or writes anything.
 *
 * Whoever starts a program may have closed its standard descriptors. Then the next files that it
 * opens get their numbers, and what is printed for people overwrites, say, a server's vote. */
#ifndef MAILRAFT_COMMON_PROCESS_H
#define MAILRAFT_COMMON_PROCESS_H

/* Sees to it that descriptors 0 to 2 are open: those that were closed are /dev/null, or, where
 * there is none, take up their numbers and nothing else. And what the program makes from now on,
 * files and directories, is for its owner alone, from the first byte. Ends the process, with a
 * sentence and 71 (EX_OSERR), when that cannot be had.
 *
 * At exit() what stands in stdout is written; where that fails, and the descriptor was open at the
 * start, a sentence says so, and an exit status of 0 becomes 74 (EX_IOERR). The name is kept.
 * Thread: main, before all others. */
void process_begin(const char *program);

#endif
