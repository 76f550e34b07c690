// SPDX-License-Identifier: MIT
// tests/vulkan/choices.c: which way is the fastest is measured once and kept; whatever the answer,
// the result is the same.
#include "run.h"

#include "vulkan/program.h"

#include <math.h>

typedef struct layer {
    uint64_t rows, k, n;
    sl_graph *graph;
    sl_value x, y;
    float *numbers; // weight, bias, input
    sl_tensor weight, bias;
} layer;

static void make_layer(layer *l, uint64_t rows, uint64_t k, uint64_t n)
{
    size_t count = (size_t)(n * k + n + rows * k);
    *l = (layer) { .rows = rows, .k = k, .n = n };
    l->numbers = sl_alloc(ctx, count, sizeof(float));
    for (size_t i = 0; i < count; i++)
        l->numbers[i] = (float)(i * 2654435761u >> 7 & 15) - 7.5f; // products and sums are exact
    l->weight = (sl_tensor) { "w", SL_F32, { 2, { n, k } }, l->numbers, n * k * sizeof(float) };
    l->bias = (sl_tensor) { "b", SL_F32, { 1, { n } }, l->numbers + n * k, n * sizeof(float) };
    const sl_tensor *weights[] = { &l->weight, &l->bias };
    ck_ok(sl_graph_new(ctx, &l->graph));
    l->x = sl_graph_input(l->graph, "x", &(sl_shape) { 2, { rows, k } });
    l->y = sl_graph_add(l->graph, SL_OP_LINEAR, "linear", &(sl_attr) { 0 },
                        (sl_value[SL_MAX_INPUTS]) { l->x }, weights, 2);
    sl_graph_output(l->graph, l->y, "y");
    ck_ok(l->graph->status);
}

static void free_layer(layer *l)
{
    sl_graph_free(l->graph);
    free(l->numbers);
}

// In f16 only the result is rounded: the numbers and every product are exact in it, sums in f32.
static void check_result(const layer *l, sl_dtype precision, const float *y)
{
    const float *w = l->numbers, *bias = w + l->n * l->k, *x = bias + l->n;
    for (uint64_t r = 0; r < l->rows; r += 1 + r / 64)
        for (uint64_t n = 0; n < l->n; n++) {
            float want = bias[n];
            for (uint64_t k = 0; k < l->k; k++)
                want += x[r * l->k + k] * w[n * l->k + k];
            float most = precision == SL_F16 ? fabsf(want) / 2048 : 0;
            ck_assert_msg(fabsf(y[r * l->n + n] - want) <= most, "row %d, column %d: %g, not %g",
                          (int)r, (int)n, (double)y[r * l->n + n], (double)want);
        }
}

static void use_layer_in(sl_vk_device *d, const layer *l, sl_dtype precision)
{
    sl_plan *plan;
    float *y = sl_alloc(ctx, (size_t)(l->rows * l->n), sizeof(*y));
    ck_ok(sl_vk_compile(ctx, d, l->graph, precision, &plan));
    ck_ok(sl_plan_write(plan, l->x, l->numbers + l->n * l->k + l->n));
    ck_ok(sl_plan_run(plan));
    ck_ok(sl_plan_read(plan, l->y, y));
    check_result(l, precision, y);
    sl_plan_free(plan);
    free(y);
}

static void use_layer(sl_vk_device *d, const layer *l)
{
    use_layer_in(d, l, SL_F32);
}

// The one want of the layer, had it to be measured.
static sl_vk_want want_of(sl_vk_device *d, const layer *l, sl_dtype precision)
{
    sl_vk_program draft;
    ck_ok(sl_vk_program_draft(ctx, d, l->graph, precision, &draft));
    ck_assert_uint_eq(draft.want_count, 1);
    sl_vk_want want = draft.wants[0];
    sl_vk_program_free(&draft);
    return want;
}

// Every way that there is; their number.
static uint32_t try_ways(sl_vk_device *d, const layer *l, sl_dtype precision)
{
    sl_vk_want want = want_of(d, l, precision);
    uint32_t tried = 0;
    for (uint32_t way = 0; way < 32; way++)
        if (want.ways >> way & 1) {
            sl_vk_choice answer = want.question;
            answer.answer = way;
            d->choices.trial = &answer;
            use_layer_in(d, l, precision);
            tried++;
        }
    d->choices.trial = NULL;
    sl_vk_weights_free(d);
    return tried;
}

START_TEST(every_way_computes_the_same)
{
    static const uint64_t columns[] = { 32, 130, 256 };
    sl_vk_device *d;
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    for (size_t i = 0; i < SL_ARRAY_LEN(columns); i++) {
        layer l;
        make_layer(&l, 2050, 20, columns[i]);
        ck_assert_uint_eq(try_ways(d, &l, SL_F32), columns[i] == 256 ? 4 : 2);
        free_layer(&l);
    }
    sl_vk_close(d);
}
END_TEST

// With matrix units, at least their smallest tile: k of one slice and of several, with and without
// a remainder, and fewer rows than a tile.
START_TEST(every_way_computes_the_same_in_f16)
{
    static const uint64_t sizes[][3] = { { 2050, 20, 256 }, { 2100, 64, 64 }, { 7, 33, 250 } };
    static const uint32_t plain[] = { 4, 2, 2 };
    sl_vk_device *d;
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    for (size_t i = 0; i < SL_ARRAY_LEN(sizes) && d->info.f16; i++) {
        layer l;
        make_layer(&l, sizes[i][0], sizes[i][1], sizes[i][2]);
        uint32_t tried = try_ways(d, &l, SL_F16);
        if (d->info.matrix.m) // one of the others is left beside those on matrix units
            ck_assert_uint_ge(tried, 2);
        else
            ck_assert_uint_eq(tried, plain[i]);
        free_layer(&l);
    }
    sl_vk_close(d);
}
END_TEST

START_TEST(results_that_differ_are_told)
{
    const float first[] = { 0.5f, -2, 1e-3f }, same[] = { 0.5002f, -2.0002f, 9e-4f },
                near[] = { 0.51f, -1.99f, 0 }, off[] = { 0.5f, -2, 0.06f },
                broken[] = { 0.5f, -2, NAN }, flat[] = { 7, 7, 7 };
    for (int i = 0; i < 2; i++) {
        sl_dtype precision = i == 0 ? SL_F32 : SL_F16;
        ck_assert(sl_vk_results_agree(precision, first, same, 3));
        ck_assert(sl_vk_results_agree(precision, first, near, 3) == (precision == SL_F16));
        ck_assert(!sl_vk_results_agree(precision, first, off, 3));
        ck_assert(!sl_vk_results_agree(precision, first, broken, 3));
        ck_assert(!sl_vk_results_agree(precision, broken, first, 3));
        ck_assert(sl_vk_results_agree(precision, flat, flat, 3));
    }
}
END_TEST

START_TEST(measured_once_and_kept)
{
    sl_vk_device *d;
    layer l;
    make_layer(&l, 64, 16, 128);
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    sl_vk_want want = want_of(d, &l, SL_F32);
    use_layer(d, &l);
    for (int i = 0; i < 20 && d->choices.count == 0 && sl_vk_may_measure(d); i++)
        use_layer(d, &l); // a card's time was over; what it has compiled it keeps
    ck_assert_uint_eq(d->choices.count, sl_vk_may_measure(d) ? 1 : 0);
    d->choices.is_forced = true;
    if (!sl_vk_may_measure(d)) { // without timestamps there is nothing to test
        sl_vk_close(d);
        free_layer(&l);
        return;
    }
    size_t entries, entries_now;
    uint32_t blocks, blocks_now;
    d->choices.count = 0; // a card measures it again
    sl_vk_weights_count(d, &entries, &blocks);
    use_layer(d, &l);
    sl_vk_weights_count(d, &entries_now, &blocks_now);
    ck_assert(entries == entries_now && blocks == blocks_now);
    ck_assert_uint_eq(d->choices.count, 1);
    const sl_vk_choice *known =
        sl_vk_choice_find(d->choices.choices, d->choices.count, &want.question);
    ck_assert(known && want.ways >> known->answer & 1);
    d->choices.choices[0].answer = 17; // which is none
    use_layer(d, &l);
    ck_assert(d->choices.count == 1 && want.ways >> d->choices.choices[0].answer & 1);
    sl_vk_close(d);
    ck_ok(sl_vk_open(ctx, "vulkan", &d)); // which another process might do
    d->choices.is_forced = true;
    spy.fails = "vkQueueSubmit";
    atomic_store(&spy.countdown, 1000);
    use_layer(d, &l); // weights and slots go up, and one run: nothing is timed
    ck_assert_int_ge(atomic_load(&spy.countdown), 1000 - 3);
    ck_assert_uint_eq(d->choices.count, 1);
    sl_vk_close(d);
    free_layer(&l);
}
END_TEST

// Opens a device that measures, for a layer of two ways. False: this one cannot.
static bool open_to_measure(sl_vk_device **d, layer *l)
{
    make_layer(l, 64, 16, 128);
    ck_ok(sl_vk_open(ctx, "vulkan", d));
    (*d)->choices.is_forced = true;
    return sl_vk_may_measure(*d);
}

START_TEST(ways_that_fail_are_left_out)
{
    sl_vk_device *d;
    layer l;
    if (open_to_measure(&d, &l)) {
        sl_vk_want want = want_of(d, &l, SL_F32);
        spy.fails = "vkCreateComputePipelines";
        spy.failure = VK_ERROR_UNKNOWN;
        atomic_store(&spy.countdown, 1); // the usual way's is made
        use_layer(d, &l);
        ck_assert_int_lt(atomic_load(&spy.countdown), 0);
        ck_assert_int_eq(warnings, 1);
        ck_assert_ptr_nonnull(strstr(warning, "left out"));
        ck_assert_uint_eq(d->choices.count, 1);
        ck_assert_uint_eq(d->choices.choices[0].answer, want.usual);
        use_layer(d, &l); // and not tried again
        ck_assert_int_eq(warnings, 1);
    }
    sl_vk_close(d);
    free_layer(&l);
}
END_TEST

// All tiles of products but the usual one of this layer, which has 64 columns.
static bool has_wide_tile(const VkComputePipelineCreateInfo *i)
{
    const VkSpecializationInfo *s = i->stage.pSpecializationInfo;
    return s->mapEntryCount >= 10 && ((const uint32_t *)s->pData)[7] > 64;
}

// Such a way is faster than any. What it leaves unwritten is not taken for its result, although the
// usual way's lay there.
START_TEST(ways_that_compute_nothing_are_left_out)
{
    sl_vk_device *d;
    layer l;
    if (open_to_measure(&d, &l)) {
        sl_plan *plan;
        sl_vk_want want = want_of(d, &l, SL_F32);
        d->choices.is_off = true;
        ck_ok(sl_vk_compile(ctx, d, l.graph, SL_F32, &plan)); // by which the memory stays
        d->choices.is_off = false;
        spy.is_idle = has_wide_tile;
        use_layer(d, &l);
        ck_assert_int_eq(warnings, 1);
        ck_assert_ptr_nonnull(strstr(warning, "computes wrongly"));
        ck_assert_uint_eq(d->choices.count, 1);
        ck_assert_uint_eq(d->choices.choices[0].answer, want.usual);
        sl_plan_free(plan);
    }
    sl_vk_close(d);
    free_layer(&l);
}
END_TEST

// Whichever submission of a trial is lost: where the usual way has been seen to serve, it is kept.
START_TEST(ways_that_lose_the_device_are_left_out)
{
    bool was_kept = false;
    for (long n = 0; !was_kept; n++) {
        sl_vk_device *d;
        sl_vk_choice *stored = NULL;
        layer l;
        size_t count = 1;
        ck_assert_int_lt(n, 100);
        if (open_to_measure(&d, &l)) {
            sl_vk_want want = want_of(d, &l, SL_F32);
            spy.fails = "vkQueueSubmit";
            spy.failure = VK_ERROR_DEVICE_LOST;
            atomic_store(&spy.countdown, n);
            sl_vk_measure(ctx, d, l.graph, SL_F32);
            ck_assert_int_lt(atomic_exchange(&spy.countdown, -1), 0);
            ck_assert(d->is_lost);
            sl_vk_choices_load(ctx, &d->info, &stored, &count);
            if (count)
                ck_assert_uint_eq(stored[0].answer, want.usual);
        }
        was_kept = count > 0;
        free(stored);
        sl_vk_close(d);
        free_layer(&l);
    }
}
END_TEST

// Spans of the host of that name; of others: of ops.
static size_t spans(const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < ctx->trace->count; i++) {
        const sl_span *s = &ctx->trace->spans[i];
        bool is_host = s->track == SL_TRACK_HOST;
        count += name ? is_host && strcmp(s->name, name) == 0 : !is_host;
    }
    return count;
}

// Of all runs of a trial a trace tells as one span; without anything to measure there is none.
START_TEST(trials_are_no_runs)
{
    sl_vk_device *d;
    layer l;
    make_layer(&l, 64, 16, 128);
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    d->choices.is_forced = true;
    bool measures = sl_vk_may_measure(d);
    ck_ok(sl_trace_begin(ctx, in_dir("trace.json"), false));
    for (size_t i = 1; i <= 2; i++) {
        use_layer(d, &l);
        ck_assert_uint_eq(spans("measure"), measures ? 1 : 0);
        ck_assert_uint_eq(spans("write"), i);
        ck_assert_uint_eq(spans("run"), i);
        ck_assert_uint_eq(spans("read"), i);
        ck_assert_uint_eq(spans(NULL), measures ? i : 0); // the one op
    }
    sl_vk_close(d);
    free_layer(&l);
}
END_TEST

START_TEST(usual_ways_need_no_trial)
{
    sl_vk_device *d;
    layer l;
    make_layer(&l, 64, 16, 128);
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    d->choices.is_forced = true;
    sl_vk_take_usual_ways(d);
    ck_assert(!sl_vk_may_measure(d));
    use_layer(d, &l);
    ck_assert_uint_eq(d->choices.count, 0);
    sl_vk_close(d);
    free_layer(&l);
}
END_TEST

// ---- the file

static sl_vk_device *device;
static char path[512];

static void open_device(void)
{
    ck_ok(sl_vk_open(ctx, "vulkan", &device));
    snprintf(path, sizeof(path), "%s/softlens/vulkan-%s.choices", dir, device->info.uuid);
}

// How many are kept, of which the one about `about` says `answer`; SIZE_MAX: it says something
// else.
static size_t kept(uint32_t about, uint32_t answer)
{
    sl_vk_choice *choices;
    size_t count;
    sl_vk_choices_load(ctx, &device->info, &choices, &count);
    const sl_vk_choice question = { .question = SL_VK_WHICH_FORM, .about = { about } };
    const sl_vk_choice *found = sl_vk_choice_find(choices, count, &question);
    if (found ? found->answer != answer : count > 0)
        count = SIZE_MAX;
    free(choices);
    return count;
}

static void keep(uint32_t about, uint32_t answer)
{
    const sl_vk_choice choice = { SL_VK_WHICH_FORM, { about }, answer };
    sl_vk_choices_store(ctx, &device->info, &choice, 1);
}

START_TEST(choices_come_back)
{
    open_device();
    ck_assert_uint_eq(kept(1, 0), 0);
    keep(1, 2);
    keep(2, 1); // by another process, which did not know of the first
    ck_assert_uint_eq(kept(1, 2), 2);
    ck_assert_uint_eq(kept(2, 1), 2);
    keep(1, 0); // measured anew
    ck_assert_uint_eq(kept(1, 0), 2);
    device->info.driver_version++;
    ck_assert_uint_eq(kept(1, 0), 0);
    device->info.driver_version--;
    setenv("XDG_CACHE_HOME", "/dev/null/nowhere", 1);
    keep(3, 1);
    ck_assert_uint_eq(kept(3, 1), 0);
    sl_vk_close(device);
    ck_assert_str_eq(sl_ctx_message(ctx), "");
    ck_assert_int_eq(warnings, 0);
}
END_TEST

START_TEST(damaged_choices_are_not_believed)
{
    open_device();
    keep(1, 2);
    sl_blob good;
    ck_ok(sl_file_read(ctx, path, 1 << 20, &good));
    for (size_t size = 0; size < good.size; size++) {
        ck_ok(sl_file_write(ctx, path, true, good.data, size));
        ck_assert_msg(kept(1, 2) == 0, "cut to %zu bytes", size);
    }
    for (size_t bit = 0; bit < 8 * good.size; bit += 3) {
        good.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_ok(sl_file_write(ctx, path, true, good.data, good.size));
        ck_assert_msg(kept(1, 2) == 0, "bit %zu", bit);
        good.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    sl_vk_verdict_store(ctx, &device->info, &(sl_vk_verdict) { 0 });
    char other[512];
    snprintf(other, sizeof(other), "%s/softlens/vulkan-%s.verdict", dir, device->info.uuid);
    ck_assert_int_eq(rename(other, path), 0);
    ck_assert_uint_eq(kept(1, 2), 0);
    keep(1, 1);
    ck_assert_uint_eq(kept(1, 1), 1);
    sl_blob_free(&good);
    sl_vk_close(device);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("choices");
    tcase_add_test(tests, every_way_computes_the_same);
    tcase_add_test(tests, every_way_computes_the_same_in_f16);
    tcase_add_test(tests, results_that_differ_are_told);
    tcase_add_test(tests, measured_once_and_kept);
    tcase_add_test(tests, ways_that_fail_are_left_out);
    tcase_add_test(tests, ways_that_compute_nothing_are_left_out);
    tcase_add_test(tests, ways_that_lose_the_device_are_left_out);
    tcase_add_test(tests, trials_are_no_runs);
    tcase_add_test(tests, usual_ways_need_no_trial);
    tcase_add_test(tests, choices_come_back);
    tcase_add_test(tests, damaged_choices_are_not_believed);
    return run_vulkan("vulkan-choices", tests);
}
