/* configuration.c - see configuration.h. */
#include "server/rules/configuration.h"

enum {
    FORMAT_PLAIN = 1, /* without identities */
    FORMAT_VERSION = 2,
    FLAG_VOTER = 1,
    FLAG_VOTER_OLD = 2,
    FLAG_READMITTED = 4
};

int configuration_position(const struct configuration *configuration, server_id id)
{
    for (u32 p = 0; p < configuration->count; p++) {
        if (configuration->members[p].id == id)
            return (int)p;
    }
    return -1;
}

const struct member *configuration_member(const struct configuration *configuration, server_id id)
{
    int position = configuration_position(configuration, id);
    return position < 0 ? NULL : &configuration->members[position];
}

bool configuration_is_voter(const struct configuration *configuration, server_id id)
{
    int position = configuration_position(configuration, id);
    if (position < 0)
        return false;
    member_set all_voters = configuration->voters | configuration->voters_old;
    return (all_voters >> position & 1) != 0;
}

/* ---- quorums ---- */

static bool has_majority(member_set voters, member_set set)
{
    int needed = __builtin_popcount(voters) / 2 + 1;
    return __builtin_popcount(voters & set) >= needed;
}

bool quorum(const struct configuration *configuration, member_set set)
{
    if (configuration->voters == 0)
        return false;
    if (configuration->voters_old != 0 && !has_majority(configuration->voters_old, set))
        return false;
    return has_majority(configuration->voters, set);
}

/* The highest value that a quorum has reached is one of the values: try each, and keep the best.
 * At most SERVERS_MAX of them, so nothing cleverer pays. */
u64 quorum_value(const struct configuration *configuration, const u64 *values)
{
    u64 best = 0;
    for (u32 p = 0; p < configuration->count; p++) {
        if (values[p] <= best)
            continue;
        member_set reached = 0;
        for (u32 other = 0; other < configuration->count; other++) {
            if (values[other] >= values[p])
                reached |= (member_set)1 << other;
        }
        if (quorum(configuration, reached))
            best = values[p];
    }
    return best;
}

/* ---- identities ---- */

bool configuration_is_complete(const struct configuration *configuration)
{
    if (configuration->feature < FEATURE_NEWEST || configuration->incarnation == 0)
        return false;
    for (u32 p = 0; p < configuration->count; p++) {
        if (configuration->members[p].directory_id == 0)
            return false;
    }
    return true;
}

void feature_encode(u32 level, struct buffer *to)
{
    u8 bytes[4];
    store_u32(bytes, level);
    buffer_append(to, bytes, sizeof(bytes));
}

enum error_code feature_decode(const u8 *data, size_t size, u64 index,
                               struct configuration *configuration, struct error *error)
{
    if (size != 4)
        return error_set(error, ERROR_FORMAT, "feature level of %zu bytes instead of 4", size);
    u32 level = load_u32(data);
    if (level > FEATURE_NEWEST)
        return error_set(error, ERROR_FORMAT,
                         "the cluster uses feature level %u, and this program knows only %d: "
                         "start a newer one",
                         (unsigned)level, FEATURE_NEWEST);
    configuration->feature = level;
    configuration->index = index;
    return ERROR_NONE;
}

/* ---- making one ---- */

/* A mask with a clear bit put in at `position`; the bits from there on move up. */
static member_set set_with_gap(member_set set, u32 position)
{
    member_set below = ((member_set)1 << position) - 1;
    return (set & below) | (set & ~below) << 1;
}

enum error_code configuration_add(struct configuration *configuration, server_id id,
                                  const char *peer_address, const char *client_address,
                                  struct error *error)
{
    if (id == SERVER_NONE)
        return error_set(error, ERROR_CONFIG, "server id 0 means nobody; ids begin at 1");
    if (configuration_position(configuration, id) >= 0)
        return error_set(error, ERROR_CONFIG, "server %u is there twice", id);
    if (configuration->count == SERVERS_MAX)
        return error_set(error, ERROR_CONFIG, "server %u is one too many: at most %d", id,
                         SERVERS_MAX);
    if (strlen(peer_address) >= ADDRESS_SIZE || strlen(client_address) >= ADDRESS_SIZE)
        return error_set(error, ERROR_CONFIG, "server %u: address is longer than %d bytes", id,
                         ADDRESS_SIZE - 1);
    if (peer_address[0] == '\0')
        return error_set(error, ERROR_CONFIG, "server %u: no address for its peers", id);
    u32 position = 0;
    while (position < configuration->count && configuration->members[position].id < id)
        position++;
    struct member *members = configuration->members;
    memmove(&members[position + 1], &members[position],
            (configuration->count - position) * sizeof(members[0]));
    memset(&members[position], 0, sizeof(members[0]));
    members[position].id = id;
    memcpy(members[position].peer_address, peer_address, strlen(peer_address));
    memcpy(members[position].client_address, client_address, strlen(client_address));
    configuration->count++;
    configuration->voters = set_with_gap(configuration->voters, position) | (member_set)1
                                                                                << position;
    configuration->voters_old = set_with_gap(configuration->voters_old, position);
    return ERROR_NONE;
}

/* ---- its bytes ---- */

static void append_address(struct buffer *to, const char *address)
{
    u8 size = (u8)strlen(address);
    buffer_append(to, &size, 1);
    buffer_append(to, address, size);
}

static void append_u64(struct buffer *to, u64 value)
{
    u8 bytes[8];
    store_u64(bytes, value);
    buffer_append(to, bytes, sizeof(bytes));
}

static void append_identity(struct buffer *to, const struct member *member)
{
    const struct readmission *readmission = &member->readmission;
    append_u64(to, member->directory_id);
    if (readmission->entry.index == 0)
        return;
    append_u64(to, readmission->entry.index);
    append_u64(to, readmission->entry.term);
    append_u64(to, readmission->start_count);
    append_u64(to, readmission->start_id);
}

void configuration_encode(const struct configuration *configuration, struct buffer *to)
{
    bool plain = configuration->feature < FEATURE_IDENTITY;
    u8 head[2] = {plain ? FORMAT_PLAIN : FORMAT_VERSION, (u8)configuration->count};
    buffer_append(to, head, sizeof(head));
    if (!plain) {
        append_u64(to, configuration->incarnation);
        feature_encode(configuration->feature, to);
    }
    for (u32 p = 0; p < configuration->count; p++) {
        const struct member *member = &configuration->members[p];
        bool readmitted = !plain && member->readmission.entry.index != 0;
        u8 fixed[5];
        store_u32(fixed, member->id);
        fixed[4] = (u8)((configuration->voters >> p & 1 ? FLAG_VOTER : 0) |
                        (configuration->voters_old >> p & 1 ? FLAG_VOTER_OLD : 0) |
                        (readmitted ? FLAG_READMITTED : 0));
        buffer_append(to, fixed, sizeof(fixed));
        if (!plain)
            append_identity(to, member);
        append_address(to, member->peer_address);
        append_address(to, member->client_address);
    }
}

/* Bytes being read, from `at` on. */
struct cursor {
    const u8 *data;
    size_t size;
    size_t at;
};

/* The next `size` bytes, or NULL when there are not so many. */
static const u8 *cursor_take(struct cursor *cursor, size_t size)
{
    if (cursor->size - cursor->at < size)
        return NULL;
    const u8 *taken = cursor->data + cursor->at;
    cursor->at += size;
    return taken;
}

/* Reads a size byte and that many characters into `address`. */
static bool cursor_take_address(struct cursor *cursor, char address[ADDRESS_SIZE])
{
    const u8 *size = cursor_take(cursor, 1);
    if (size == NULL || *size >= ADDRESS_SIZE)
        return false;
    const u8 *text = cursor_take(cursor, *size);
    if (text == NULL || memchr(text, '\0', *size) != NULL)
        return false;
    memcpy(address, text, *size);
    address[*size] = '\0';
    return true;
}

static bool cursor_take_u64(struct cursor *cursor, u64 *value)
{
    const u8 *bytes = cursor_take(cursor, sizeof(*value));
    if (bytes != NULL)
        *value = load_u64(bytes);
    return bytes != NULL;
}

/* What version 2 says of a member behind its flags. */
static bool cursor_take_identity(struct cursor *cursor, u8 flags, struct member *member)
{
    struct readmission *readmission = &member->readmission;
    if (!cursor_take_u64(cursor, &member->directory_id))
        return false;
    if ((flags & FLAG_READMITTED) == 0)
        return true;
    return cursor_take_u64(cursor, &readmission->entry.index) &&
           cursor_take_u64(cursor, &readmission->entry.term) &&
           cursor_take_u64(cursor, &readmission->start_count) &&
           cursor_take_u64(cursor, &readmission->start_id) && readmission->entry.index != 0;
}

static enum error_code decode_member(struct cursor *cursor, struct configuration *configuration,
                                     u32 position, struct error *error)
{
    bool plain = configuration->feature < FEATURE_IDENTITY;
    u8 known = plain ? FLAG_VOTER | FLAG_VOTER_OLD : FLAG_VOTER | FLAG_VOTER_OLD | FLAG_READMITTED;
    struct member *member = &configuration->members[position];
    const u8 *fixed = cursor_take(cursor, 5);
    if (fixed == NULL)
        return error_set(error, ERROR_FORMAT, "configuration ends within member %u", position + 1);
    member->id = load_u32(fixed);
    server_id before = position > 0 ? configuration->members[position - 1].id : SERVER_NONE;
    if (member->id <= before)
        return error_set(error, ERROR_FORMAT, "configuration: ids do not ascend at member %u",
                         position + 1);
    if ((fixed[4] & ~known) != 0)
        return error_set(error, ERROR_FORMAT, "configuration: unknown flags %#x of server %u",
                         (unsigned)fixed[4], member->id);
    if ((fixed[4] & FLAG_VOTER) != 0)
        configuration->voters |= (member_set)1 << position;
    if ((fixed[4] & FLAG_VOTER_OLD) != 0)
        configuration->voters_old |= (member_set)1 << position;
    if (!plain && !cursor_take_identity(cursor, fixed[4], member))
        return error_set(error, ERROR_FORMAT, "configuration: bad identity of server %u",
                         member->id);
    if (!cursor_take_address(cursor, member->peer_address) ||
        !cursor_take_address(cursor, member->client_address))
        return error_set(error, ERROR_FORMAT, "configuration: bad address of server %u",
                         member->id);
    return ERROR_NONE;
}

static enum error_code decode_head(struct cursor *cursor, u32 *count,
                                   struct configuration *configuration, struct error *error)
{
    const u8 *head = cursor_take(cursor, 2);
    if (head == NULL)
        return error_set(error, ERROR_FORMAT, "configuration of %zu bytes is too short",
                         cursor->size);
    if (head[0] != FORMAT_PLAIN && head[0] != FORMAT_VERSION)
        return error_set(error, ERROR_FORMAT,
                         "configuration has version %u, this program knows only %d",
                         (unsigned)head[0], FORMAT_VERSION);
    if (head[1] > SERVERS_MAX)
        return error_set(error, ERROR_FORMAT, "configuration has %u members, more than %d",
                         (unsigned)head[1], SERVERS_MAX);
    *count = head[1];
    if (head[0] == FORMAT_PLAIN)
        return ERROR_NONE;
    const u8 *level = NULL;
    if (cursor_take_u64(cursor, &configuration->incarnation))
        level = cursor_take(cursor, 4);
    if (level == NULL)
        return error_set(error, ERROR_FORMAT, "configuration ends within its head");
    if (load_u32(level) < FEATURE_IDENTITY)
        return error_set(error, ERROR_FORMAT, "configuration of an impossible feature level 0");
    return feature_decode(level, 4, 0, configuration, error);
}

enum error_code configuration_decode(const u8 *data, size_t size, u64 index,
                                     struct configuration *configuration, struct error *error)
{
    struct cursor cursor = {.data = data, .size = size};
    memset(configuration, 0, sizeof(*configuration));
    u32 count = 0;
    enum error_code code = decode_head(&cursor, &count, configuration, error);
    for (u32 p = 0; p < count && code == ERROR_NONE; p++) {
        code = decode_member(&cursor, configuration, p, error);
        configuration->count = p + 1;
    }
    if (code != ERROR_NONE)
        return code;
    if (cursor.at != size)
        return error_set(error, ERROR_FORMAT, "configuration has %zu bytes too many",
                         size - cursor.at);
    configuration->index = index;
    return ERROR_NONE;
}
