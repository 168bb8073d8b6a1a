/* check_sim_golden.c - golden stories: a scenario played, and its story compared byte for byte with
 * the one that was accepted. A difference is a change of protocol, to be reviewed as such; when it
 * is right, `raftsim play --story FILE` makes the new one. */
#include "test/unit/unit.h"

#include "common/bytes.h"
#include "test/sim/scenario_play.h"

struct story {
    char *text;
    size_t size;
};

static void story_add(void *context, const char *line, size_t size)
{
    struct story *story = context;
    story->text = realloc(story->text, story->size + size + 1);
    ck_assert_ptr_nonnull(story->text);
    memcpy(story->text + story->size, line, size);
    story->size += size;
    story->text[story->size] = '\0';
}

static struct story story_read(const char *path)
{
    struct story story = {0};
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "there is no %s", path);
    char piece[4096];
    for (size_t got; (got = fread(piece, 1, sizeof(piece), file)) > 0;)
        story_add(&story, piece, got);
    fclose(file);
    return story;
}

static struct story story_play(const char *path)
{
    struct story story = {0};
    struct scenario *scenario;
    struct error error = {0};
    enum error_code code = scenario_load(path, &scenario, &error);
    ck_assert_msg(code == ERROR_NONE, "%s", error.text);
    struct play_options options = {
        .design = CLUSTER_PER_STATE,
        .seed = scenario->seed_first,
        .story = story_add,
        .story_context = &story,
        .complaints = stderr,
        .replay = path,
    };
    struct play_result result;
    code = scenario_play(scenario, &options, &result, &error);
    ck_assert_msg(code == ERROR_NONE, "%s", error.text);
    ck_assert_msg(result.held, "%s: %s", result.failure.property, result.failure.text);
    scenario_destroy(scenario);
    return story;
}

static void check_story(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "test/scenarios/%s.scn", name);
    struct story played = story_play(path);
    snprintf(path, sizeof(path), "test/scenarios/golden/%s.story", name);
    struct story golden = story_read(path);
    ck_assert_uint_gt(golden.size, 0);
    u32 line = 1;
    size_t at = 0;
    while (at < played.size && at < golden.size && played.text[at] == golden.text[at]) {
        line += played.text[at] == '\n';
        at++;
    }
    ck_assert_msg(at == played.size && at == golden.size, "%s differs from the play in line %u",
                  path, line);
    free(played.text);
    free(golden.text);
}

START_TEST(golden__figure_7)
{
    check_story("16-figure-7");
}
END_TEST

START_TEST(golden__figure_8)
{
    check_story("17-figure-8");
}
END_TEST

UNIT_MAIN("sim_golden", golden__figure_7, golden__figure_8)
