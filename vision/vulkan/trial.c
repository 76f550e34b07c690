// SPDX-License-Identifier: MIT
// vulkan/trial.c: times the ways of which choices.c tells: each want becomes a graph of one op on
// made-up numbers, compiled with each of its ways and run a few times under the device's own clock.
// A way that fails, or whose result is not that of the usual one, which the self-test has seen, is
// never taken.
#include "vulkan/program.h"

#include <math.h>

// After which no question is begun any more: what is still open is measured with the next plan. A
// device's first start is slow anyway, for its driver compiles all kernels.
#define MOST_SECONDS 0.4
#define FIRST_SECONDS 1.0
#define RUNS 3 // of each way, of which the best counts
#define MOST_ROWS 131072u
#define MOST_WINDOWS 2048u
#define MOST_DIFFERENCE 1e-4f     // of the range, as in the self-test
#define MOST_DIFFERENCE_F16 0.02f // rounding stays far below it

typedef struct trial {
    sl_ctx *ctx;
    sl_vk_device *device;
    const sl_vk_want *want;
    sl_dtype precision;
    sl_graph *graph;
    uint32_t node; // that is timed
    sl_value x, y;
    sl_tensor weights[SL_MAX_WEIGHTS];
    float *numbers;        // of every weight and the input
    float *first, *result; // of the usual way, and of another
    size_t y_count;
} trial;

// ---- the graph of one op

// NULL for none; all weights are the same numbers.
static const sl_tensor *weight(trial *t, size_t i, const sl_shape *shape)
{
    size_t count = 0;
    if (!sl_shape_elements(shape, &count))
        return NULL;
    t->weights[i] = (sl_tensor) { "numbers", SL_F32, *shape, t->numbers, count * sizeof(float) };
    return &t->weights[i];
}

// As many as the largest tensor takes; small, of either sign, without a pattern that rows share.
static sl_status make_numbers(trial *t, const sl_shape *x, size_t most)
{
    size_t count;
    if (!sl_shape_elements(x, &count))
        return SL_ERR_LIMIT;
    count = most > count ? most : count;
    t->numbers = sl_alloc(t->ctx, count, sizeof(float));
    if (!t->numbers)
        return SL_ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        t->numbers[i] = (float)((uint32_t)i * 2654435761u >> 24) / 256.0f - 0.498f;
    return SL_OK;
}

static void finish_graph(trial *t, sl_value y)
{
    t->y = y;
    sl_graph_output(t->graph, y, "y");
}

static sl_status build_product(trial *t)
{
    const sl_vk_gemm *g = &t->want->gemm;
    bool is_conv = g->from == SL_VK_FROM_PATCHES;
    uint64_t rows = g->rows < MOST_ROWS ? g->rows : MOST_ROWS, height = g->in_height;
    if (is_conv && g->rows > MOST_ROWS)
        height = (MOST_ROWS / g->out_width + 1) * g->stride;
    const sl_shape x = is_conv ? (sl_shape) { 3, { height, g->in_width, g->channels } }
                               : (sl_shape) { 2, { rows, g->k } };
    sl_status st = make_numbers(t, &x, (size_t)g->n * g->k + g->n);
    if (st != SL_OK)
        return st;
    const sl_shape matrix = is_conv ? (sl_shape) { 4, { g->n, g->channels, g->side, g->side } }
                                    : (sl_shape) { 2, { g->n, g->k } };
    const sl_tensor *w[] = { weight(t, 0, &matrix), weight(t, 1, &(sl_shape) { 1, { g->n } }) };
    const sl_attr attr = { .stride = g->stride, .pad = g->pad };
    t->x = sl_graph_input(t->graph, "x", &x);
    finish_graph(t, sl_graph_add(t->graph, is_conv ? SL_OP_CONV2D : SL_OP_LINEAR, "trial", &attr,
                                 (sl_value[SL_MAX_INPUTS]) { t->x }, w, 2));
    return t->graph->status;
}

// A map of as many windows, all of them kept, in front of the block a copy, as it works in place.
static sl_status build_block(trial *t)
{
    const sl_node *node = t->want->node;
    uint64_t side = node->attr.window, channels = node->weight[SL_BLOCK_NORM1_W]->shape.dim[0];
    uint64_t windows = t->want->windows < MOST_WINDOWS ? t->want->windows : MOST_WINDOWS;
    size_t most = 0, count;
    for (int i = 0; i < SL_BLOCK_WEIGHTS; i++)
        if (node->weight[i] && sl_shape_elements(&node->weight[i]->shape, &count))
            most = count > most ? count : most;
    const sl_shape map = { 3, { side, windows * side, channels } };
    sl_status st = make_numbers(t, &map, most);
    if (st != SL_OK)
        return st;
    const sl_tensor *w[SL_MAX_WEIGHTS] = { NULL };
    for (size_t i = 0; i < SL_BLOCK_WEIGHTS; i++)
        w[i] = node->weight[i] ? weight(t, i, &node->weight[i]->shape) : NULL;
    t->x = sl_graph_input(t->graph, "x", &map);
    sl_value x = sl_graph_add(t->graph, SL_OP_PIXEL_UNSHUFFLE, "copy", &(sl_attr) { .factor = 1 },
                              (sl_value[SL_MAX_INPUTS]) { t->x }, NULL, 0);
    x = sl_graph_add(t->graph, SL_OP_WINDOW_BLOCK, "trial", &node->attr,
                     (sl_value[SL_MAX_INPUTS]) { x }, w, SL_BLOCK_WEIGHTS);
    finish_graph(t, x);
    return t->graph->status;
}

static sl_status build(trial *t)
{
    sl_status st = sl_graph_new(t->ctx, &t->graph);
    if (st == SL_OK)
        st = t->want->question.question == SL_VK_WHICH_FORM ? build_block(t) : build_product(t);
    if (st != SL_OK)
        return st;
    t->node = (uint32_t)t->graph->node_count - 1;
    if (!sl_shape_elements(&t->graph->values[t->y].shape, &t->y_count))
        return SL_ERR_LIMIT;
    t->first = sl_alloc(t->ctx, t->y_count, sizeof(float));
    t->result = sl_alloc(t->ctx, t->y_count, sizeof(float));
    return t->first && t->result ? SL_OK : SL_ERR_NOMEM;
}

static void free_trial(trial *t)
{
    sl_graph_free(t->graph);
    free(t->numbers);
    free(t->first);
    free(t->result);
}

// ---- timing

static sl_status time_plan(const trial *t, sl_plan *plan, double *best)
{
    sl_status st = sl_plan_write(plan, t->x, t->numbers);
    for (int i = 0; i < RUNS && st == SL_OK; i++) {
        sl_plan_profile(plan, true); // zeroes
        if (!plan->profile)
            return SL_ERR_NOMEM;
        st = sl_plan_run(plan);
        double seconds = plan->profile ? plan->profile[t->node].seconds : 0;
        *best = i == 0 || seconds < *best ? seconds : *best;
    }
    return st;
}

static sl_status time_way(const trial *t, uint32_t way, float *result, double *best)
{
    sl_vk_choices *choices = &t->device->choices;
    sl_vk_choice answer = t->want->question;
    sl_plan *plan = NULL;
    size_t entries;
    uint32_t blocks;
    answer.answer = way;
    sl_vk_weights_count(t->device, &entries, &blocks);
    choices->trial = &answer;
    sl_status st = sl_vk_compile(t->ctx, t->device, t->graph, t->precision, &plan);
    choices->trial = NULL;
    if (st == SL_OK)
        st = time_plan(t, plan, best);
    if (st == SL_OK)
        st = sl_plan_read(plan, t->y, result);
    sl_plan_free(plan);
    sl_vk_weights_drop(t->device, entries, blocks); // they are kept by tensor, and these end here
    return st;
}

bool sl_vk_results_agree(sl_dtype precision, const float *first, const float *other, size_t count)
{
    float low = first[0], high = first[0], difference = 0;
    for (size_t i = 0; i < count; i++) {
        float d = fabsf(other[i] - first[i]);
        if (!isfinite(d))
            return false;
        low = fminf(low, first[i]);
        high = fmaxf(high, first[i]);
        difference = fmaxf(difference, d);
    }
    float most = precision == SL_F16 ? MOST_DIFFERENCE_F16 : MOST_DIFFERENCE;
    return difference <= most * fmaxf(high - low, 1e-6f);
}

// A way that computes nothing would pass with the results of another, whose memory it is likely to
// get.
sl_status sl_vk_spoil(sl_ctx *ctx, sl_vk_device *d, const sl_vk_buffer *arena,
                      const sl_vk_buffer *readback)
{
    memset(readback->mapped, 0xff, (size_t)readback->bytes);
    sl_status st = sl_vk_buffer_flush(ctx, d, readback);
    return st == SL_OK ? sl_vk_flood(ctx, d, arena, UINT32_MAX) : st;
}

// In place of an answer that is not among the ways.
static sl_status keep_answer(const trial *t, uint32_t answer)
{
    sl_vk_choices *c = &t->device->choices;
    sl_vk_choice choice = t->want->question;
    choice.answer = answer;
    c->is_changed = true;
    for (size_t i = 0; i < c->count; i++)
        if (sl_vk_choice_find(&c->choices[i], 1, &choice)) {
            c->choices[i] = choice;
            return SL_OK;
        }
    sl_status st =
        sl_vk_grow(t->ctx, (void **)&c->choices, c->count, &c->capacity, sizeof(*c->choices));
    if (st == SL_OK)
        c->choices[c->count++] = choice;
    return st;
}

// A way that fails is left out, and the answer kept, so that nobody tries it again; but exhausted
// memory says nothing about it. On a lost device no other can be tried.
static sl_status try_way(trial *t, uint32_t way, uint32_t *answer, double *best)
{
    bool is_usual = way == t->want->usual;
    double seconds;
    sl_status st = time_way(t, way, is_usual ? t->first : t->result, &seconds);
    if (st != SL_OK && (is_usual || st == SL_ERR_NOMEM))
        return st;
    if (st != SL_OK) {
        const char *message = sl_ctx_message(t->ctx);
        sl_log(t->ctx, SL_LOG_WARNING, "vulkan: %s fails in way %u, which is left out: %.*s",
               t->device->info.name, way, (int)strcspn(message, ";"), message);
        *answer = t->device->is_lost ? t->want->usual : *answer;
        return t->device->is_lost ? st : SL_OK;
    }
    if (!is_usual && !sl_vk_results_agree(t->precision, t->first, t->result, t->y_count)) {
        sl_log(t->ctx, SL_LOG_WARNING, "vulkan: %s computes wrongly in way %u; left out",
               t->device->info.name, way);
    } else if (is_usual || seconds < *best) {
        *best = seconds;
        *answer = way;
    }
    return SL_OK;
}

static sl_status answer_want(trial *t)
{
    const sl_vk_want *want = t->want;
    double best = 0;
    uint32_t answer = want->usual;
    sl_status st = build(t);
    if (st == SL_OK)
        st = try_way(t, want->usual, &answer, &best);
    bool is_usual_right = st == SL_OK;
    for (uint32_t way = 0; way < 32 && st == SL_OK; way++)
        if ((want->ways >> way & 1) && way != want->usual)
            st = try_way(t, way, &answer, &best);
    if (is_usual_right && st != SL_ERR_NOMEM) {
        sl_status kept = keep_answer(t, answer);
        st = st == SL_OK ? kept : st;
    }
    sl_log(t->ctx, SL_LOG_DEBUG, "vulkan: measured %u about %u, %u, %u: %u (%.3g ms)",
           want->question.question, want->question.about[2], want->question.about[3],
           want->question.about[4], answer, 1e3 * best);
    free_trial(t);
    return st;
}

// ---- all that a graph wants to know

static void load_kept(sl_ctx *ctx, sl_vk_device *d)
{
    sl_vk_choices *c = &d->choices;
    if (c->is_loaded)
        return;
    c->is_loaded = true;
    sl_vk_choices_load(ctx, &d->info, &c->choices, &c->count);
    c->capacity = c->count;
}

void sl_vk_measure(sl_ctx *ctx, sl_vk_device *d, const sl_graph *g, sl_dtype precision)
{
    sl_vk_program draft;
    if (!sl_vk_may_measure(d) || d->choices.trial)
        return;
    load_kept(ctx, d);
    double most = d->choices.count == 0 ? FIRST_SECONDS : MOST_SECONDS;
    double deadline = d->choices.is_forced ? 1e9 : sl_seconds() + most;
    sl_status st = sl_vk_program_draft(ctx, d, g, precision, &draft);
    if (st != SL_OK) // which the real program will tell
        return;
    double start = sl_trace_start(ctx);
    sl_trace *trace = sl_trace_pause(ctx);
    for (size_t i = 0; i < draft.want_count && st == SL_OK && sl_seconds() < deadline; i++) {
        trial t = { .ctx = ctx, .device = d, .want = &draft.wants[i], .precision = precision };
        st = answer_want(&t);
    }
    sl_trace_resume(ctx, trace);
    if (draft.want_count > 0)
        sl_trace_end(ctx, "measure", start);
    sl_vk_program_free(&draft);
    if (d->choices.is_changed)
        sl_vk_choices_store(ctx, &d->info, d->choices.choices, d->choices.count);
    d->choices.is_changed = false;
}
