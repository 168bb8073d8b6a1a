/* identity.c - see identity.h. */
#include "server/rules/identity.h"

const char *distrust_words(enum distrust distrust)
{
    switch (distrust) {
#define X(name, words) \
    case name:         \
        return words;
        DISTRUSTS(X)
#undef X
    case DISTRUST_END:
        break;
    }
    return "it is not recognised";
}
