// SPDX-License-Identifier: MIT
// tools/bench/nms.c: Soft-NMS of one class beside the published loop, which is compiled here with
// -O3; both in one run, in turn and as often, and compared bit for bit: it fails where they differ.
// Where the loop would take minutes (more than 20 000 boxes) it is left out. Seconds are the
// processor's, the best of ROUNDS * RUNS, or of ROUNDS without the loop.
//     nms-bench [boxes] [gaussian | linear | hard] [portable | avx2]        (10000 gaussian)
#include "../../tests/detect/published.h"
#include "../../tests/detect/sets.h"

#include <time.h>

#define MOST_FOR_LOOP 20000
#define ROUNDS 3
#define RUNS 5 // of one, then of the other

static const struct named_plan {
    const char *name;
    set_plan plan;
} plans[] = {
    { "spread, over 4000 x 4000 pixels", { SET_SPREAD, 0, false, 4000 } },
    { "spread, over 1000 x 1000 pixels", { SET_SPREAD, 0, false, 1000 } },
    { "clustered, 533 objects", { SET_CLUSTERED, 0, false, 4000 } },
    { "clustered, 133 objects", { SET_CLUSTERED, 0, false, 2000 } },
    { "clustered, 34 objects", { SET_CLUSTERED, 0, false, 1000 } },
    { "one heap", { SET_HEAP, 0, false, 1000 } },
    { "nested, all overlap", { SET_NESTED, 0, false, 1000 } },
    { "spread, 16 different scores", { SET_SPREAD, 16, false, 1000 } },
};

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

typedef struct race {
    sl_ctx *ctx;
    sl_nms_options options;
    size_t n, left[2];         // boxes: at first, and what both leave
    sl_scored *boxes, *out[2]; // [n]
    double best[2];            // seconds: ours, the loop's
    bool differs;              // for any boxes so far
} race;

static sl_status run(race *r, int who)
{
    sl_status st = SL_OK;
    memcpy(r->out[who], r->boxes, r->n * sizeof(*r->boxes));
    r->left[who] = r->n;
    const double start = cpu_seconds();
    if (who == 0)
        st = sl_soft_nms(r->ctx, r->out[0], &r->left[0], &r->options);
    else
        r->left[1] = published_soft_nms(r->out[1], r->n, &r->options);
    const double seconds = cpu_seconds() - start;
    if (r->best[who] == 0 || seconds < r->best[who])
        r->best[who] = seconds;
    return st;
}

static sl_status race_on(race *r, const struct named_plan *named)
{
    uint64_t state = 1;
    sl_status st = SL_OK;
    const bool loops = r->n <= MOST_FOR_LOOP;
    set_fill(&named->plan, r->boxes, r->n, &state);
    r->best[0] = r->best[1] = 0;
    for (int i = 0; i < ROUNDS * (loops ? 2 * RUNS : 1) && st == SL_OK; i++)
        st = run(r, loops ? i / RUNS % 2 : 0);
    if (st != SL_OK)
        return st;
    const bool differs =
        loops && (r->left[0] != r->left[1] ||
                  memcmp(r->out[0], r->out[1], r->left[0] * sizeof(*r->boxes)) != 0);
    r->differs = r->differs || differs;
    printf("%-32s %7zu left %9.2f ms", named->name, r->left[0], 1e3 * r->best[0]);
    if (loops)
        printf(", the loop %9.2f ms: %6.1f times%s", 1e3 * r->best[1], r->best[1] / r->best[0],
               differs ? ", DIFFERENT" : "");
    printf("\n");
    return SL_OK;
}

int main(int argc, char **argv)
{
    const char *kind = argc > 2 ? argv[2] : "gaussian";
    race r = { .n = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000,
               .options = { .kind = *kind == 'h'   ? SL_NMS_HARD
                                    : *kind == 'l' ? SL_NMS_LINEAR
                                                   : SL_NMS_GAUSSIAN,
                            .iou = *kind == 'h' ? 0.5f : 0.3f,
                            .sigma = 0.5f,
                            .least = 0.001f,
                            .plus_one = true } };
    const sl_ctx_options options = { .threads = 1, .simd = argc > 3 ? argv[3] : NULL };
    if (sl_ctx_new(&options, &r.ctx) != SL_OK)
        return 2;
    r.boxes = sl_alloc(r.ctx, 3 * r.n + 1, sizeof(*r.boxes));
    sl_status st = r.boxes ? SL_OK : SL_ERR_NOMEM;
    r.out[0] = r.boxes + r.n;
    r.out[1] = r.out[0] + r.n;
    printf("%s, %zu boxes of one class\n", kind, r.n);
    for (size_t i = 0; i < SL_ARRAY_LEN(plans) && st == SL_OK; i++)
        st = race_on(&r, &plans[i]);
    if (st != SL_OK)
        fprintf(stderr, "nms-bench: %s\n", sl_ctx_message(r.ctx));
    if (r.differs)
        fprintf(stderr, "nms-bench: softlens and the published loop leave different boxes\n");
    free(r.boxes);
    sl_ctx_free(r.ctx);
    return st == SL_OK && !r.differs ? 0 : 1;
}
