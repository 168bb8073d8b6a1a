/* advice.h - what people are told to do, where several files must say it. For this room only. */
#ifndef MAILRAFT_STORAGE_ADVICE_H
#define MAILRAFT_STORAGE_ADVICE_H

/* What is left to do where a server's directory cannot be used any more. */
#define ADVICE_BEGIN_BLANK                                                                         \
    "move the directory away, make a blank one with raftd --init, with which the server gets the " \
    "data again, and give it its vote back with raftctl member readmit"

#endif
