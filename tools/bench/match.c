// SPDX-License-Identifier: MIT
// tools/bench/match.c: how long one picture takes against a large gallery: written, opened (mapped)
// and matched, as softlens classify --gallery does after its network. One run, one table.
//     match-bench [classes] [dimension] [threads] [FILE]      (100000 256 2 /tmp/match.gallery)
#include "classify/classify.h"

#include <math.h>
#include <time.h>
#include <unistd.h>

#define REPEATS 40
#define POOL3 8
#define POOL4 8

static sl_ctx *ctx;

static float noise(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 40) / 8388608.0f - 1;
}

static void draw(float *x, size_t d, uint64_t *state)
{
    double square = 0;
    for (size_t i = 0; i < d; i++) {
        x[i] = noise(state);
        square += (double)x[i] * (double)x[i];
    }
    for (size_t i = 0; i < d; i++)
        x[i] = (float)((double)x[i] / sqrt(square));
}

static sl_status write_gallery(const sl_tensor_set *model, const char *path, size_t classes,
                               size_t d, float *x)
{
    sl_gallery *gallery = NULL;
    uint64_t state = 1;
    sl_status st = sl_gallery_new_for(ctx, model, &gallery);
    for (size_t i = 0; i < classes && st == SL_OK; i++) {
        char label[32];
        draw(x, d, &state);
        snprintf(label, sizeof(label), "class %zu", i);
        st = sl_gallery_add(ctx, gallery, label, &(sl_features) { d, POOL3, POOL4, x, x, x, NULL });
    }
    if (st == SL_OK)
        st = sl_gallery_save(ctx, gallery, path);
    sl_gallery_free(gallery);
    return st;
}

// Of all threads: what other programs take from the processors does not count.
static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static sl_status time_matches(sl_matcher *matcher, size_t d, float *x)
{
    double times[REPEATS], first = 0;
    uint64_t state = 99;
    const double cpu = cpu_seconds();
    for (size_t r = 0; r < REPEATS; r++) {
        sl_classification got;
        draw(x, d, &state);
        double start = sl_seconds();
        sl_status st =
            sl_matcher_rank(matcher, &(sl_features) { d, POOL3, POOL4, x, x, x, NULL }, 5, &got);
        times[r] = 1e3 * (sl_seconds() - start);
        first = r == 0 ? times[0] : first;
        if (st != SL_OK)
            return st;
        sl_classification_clear(&got);
    }
    qsort(times, REPEATS, sizeof(*times), by_time);
    printf(
        "match    %8.2f ms best, %.2f median, %.2f the first, of %d pictures; %.2f ms of processor "
        "time each\n",
        times[0], times[REPEATS / 2], first, REPEATS, 1e3 * (cpu_seconds() - cpu) / REPEATS);
    return SL_OK;
}

static sl_status measure(const char *path, size_t classes, size_t d, float *x)
{
    const float weight = 1;
    const sl_tensor tensor = {
        .name = "weight", .shape = { 1, { 1 } }, .data = &weight, .bytes = 4
    };
    const sl_known_shape shape = { .dimension = d, .pool3_size = POOL3, .pool4_size = POOL4 };
    sl_tensor_set *model = NULL;
    sl_gallery *gallery = NULL;
    sl_known *known = NULL;
    sl_matcher *matcher = NULL;
    double start = sl_seconds();
    sl_status st = sl_safetensors_write(ctx, path, true, &tensor, 1, NULL, 0);
    if (st == SL_OK)
        st = sl_tensor_set_open(ctx, path, &model);
    if (st == SL_OK)
        st = write_gallery(model, path, classes, d, x);
    printf("write    %8.0f ms, %zu classes enrolled one by one\n", 1e3 * (sl_seconds() - start),
           classes);
    start = sl_seconds();
    if (st == SL_OK)
        st = sl_gallery_open(ctx, path, NULL, &gallery);
    printf("open     %8.0f ms, every number checked\n", 1e3 * (sl_seconds() - start));
    start = sl_seconds();
    if (st == SL_OK)
        st = sl_known_new(ctx, model, &shape, &known);
    if (st == SL_OK)
        st = sl_matcher_new(ctx, known, gallery, 0, &matcher);
    printf("prepare  %8.2f ms\n", 1e3 * (sl_seconds() - start));
    if (st == SL_OK)
        st = time_matches(matcher, d, x);
    sl_matcher_free(matcher);
    sl_known_free(known);
    sl_gallery_free(gallery);
    sl_tensor_set_free(model);
    unlink(path);
    return st;
}

int main(int argc, char **argv)
{
    size_t classes = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
    size_t d = argc > 2 ? strtoul(argv[2], NULL, 10) : 256;
    const sl_ctx_options options = { .threads =
                                         argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 2 };
    if (sl_ctx_new(&options, &ctx) != SL_OK)
        return 2;
    float *x = sl_alloc(ctx, d > POOL3 ? d : POOL3, sizeof(*x));
    sl_status st =
        x ? measure(argc > 4 ? argv[4] : "/tmp/match.gallery", classes, d, x) : SL_ERR_NOMEM;
    if (st != SL_OK)
        fprintf(stderr, "match-bench: %s\n", sl_ctx_message(ctx));
    free(x);
    sl_ctx_free(ctx);
    return st == SL_OK ? 0 : 1;
}
