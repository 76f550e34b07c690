// SPDX-License-Identifier: MIT
// tests/vulkan/block_forms.c: a block as one kernel against the chain of eight on the same windows,
// and where the one gives way to the other. Both are held to plain loops by tests/cpu/block.c.
#include "run.h"

#include "vulkan/program.h"

#include <math.h>

typedef struct form_case {
    uint32_t channels, heads, hidden, shift;
    uint32_t rows, columns, kept; // windows; ALL: without a list
    bool has_modulator;
} form_case;

#define ALL UINT32_MAX
#define SIDE 8
#define IN 4 // channels before the block's own
#define MAX_WINDOWS 256
#define FEW 2 // groups along x

static const form_case cases[] = {
    { 32, 1, 128, 4, 16, 16, 3, true }, // the published network's first level,
    { 64, 2, 256, 0, 1, 2, ALL, true }, // and its second
    { 24, 1, 96, 4, 2, 3, ALL, true },  // the shipped model's
    { 48, 2, 196, 4, 2, 2, 3, false },  // a last slice that is narrower
    { 12, 3, 20, 0, 2, 3, 1, false },   // heads of four channels, less hidden than a slice
};

typedef struct rig {
    sl_graph *graph;
    sl_value x, list, y;
    sl_tensor weight[SL_BLOCK_WEIGHTS + 2];
    float *numbers, *input;
    size_t floats; // of the result
    int32_t windows[4 + MAX_WINDOWS];
} rig;

static float *draw(float *at, size_t count, float scale)
{
    static uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        *at++ = scale * ((float)(state >> 8) / 8388608.0f - 1.0f);
    }
    return at;
}

static void make_weights(rig *r, const form_case *f)
{
    uint64_t c = f->channels, m = f->hidden;
    const sl_shape shapes[SL_BLOCK_WEIGHTS + 2] = {
        { 1, { c } },    { 1, { c } }, { 2, { 64, c } },      { 2, { 225, f->heads } },
        { 2, { c, c } }, { 1, { c } }, { 2, { 2 * c, c } },   { 1, { 2 * c } },
        { 2, { c, c } }, { 1, { c } }, { 1, { c } },          { 1, { c } },
        { 2, { m, c } }, { 1, { m } }, { 4, { m, 1, 3, 3 } }, { 1, { m } },
        { 2, { c, m } }, { 1, { c } }, { 2, { c, IN } },      { 1, { c } },
    };
    size_t room = (size_t)f->rows * f->columns * SIDE * SIDE * IN + (1 << 17);
    float *at = r->numbers = sl_alloc(ctx, room, sizeof(float));
    for (size_t i = 0; i < SL_ARRAY_LEN(shapes); i++) {
        size_t count;
        ck_assert(sl_shape_elements(&shapes[i], &count));
        bool is_matrix = shapes[i].rank > 1 && i != SL_BLOCK_MODULATOR && i != SL_BLOCK_BIAS_TABLE;
        float scale = is_matrix ? 1.7f / sqrtf((float)count / (float)shapes[i].dim[0]) : 0.7f;
        r->weight[i] = (sl_tensor) { "w", SL_F32, shapes[i], at, count * sizeof(float) };
        at = draw(at, count, scale);
    }
    r->input = at;
    at = draw(at, (size_t)f->rows * f->columns * SIDE * SIDE * IN, 1);
    ck_assert(at <= r->numbers + room);
}

static void make_rig(const form_case *f, rig *r)
{
    const sl_tensor *weights[SL_BLOCK_WEIGHTS];
    const sl_tensor *before[] = { &r->weight[SL_BLOCK_WEIGHTS], &r->weight[SL_BLOCK_WEIGHTS + 1] };
    uint32_t windows = f->rows * f->columns;
    sl_shape x = { 3, { f->rows * SIDE, f->columns * SIDE, IN } }, list = { 1, { 4 + windows } };
    *r = (rig) { .floats = (size_t)windows * SIDE * SIDE * f->channels };
    make_weights(r, f);
    for (int i = 0; i < SL_BLOCK_WEIGHTS; i++)
        weights[i] = i == SL_BLOCK_MODULATOR && !f->has_modulator ? NULL : &r->weight[i];
    ck_ok(sl_graph_new(ctx, &r->graph));
    r->x = sl_graph_input(r->graph, "x", &x);
    if (f->kept != ALL) {
        r->list = sl_graph_input_typed(r->graph, "list", SL_I32, &list);
        r->windows[0] = (int32_t)f->kept;
        for (uint32_t i = 0; i < f->kept; i++)
            r->windows[4 + i] = (int32_t)((i + 1) * windows / f->kept - 1);
    }
    sl_value map = sl_graph_add(r->graph, SL_OP_LINEAR, "before", &(sl_attr) { 0 },
                                (sl_value[SL_MAX_INPUTS]) { r->x }, before, 2);
    const sl_attr attr = { .window = SIDE, .shift = f->shift, .heads = f->heads, .eps = 1e-5f };
    r->y = sl_graph_add(r->graph, SL_OP_WINDOW_BLOCK, "block", &attr,
                        (sl_value[SL_MAX_INPUTS]) { map, r->list }, weights, SL_BLOCK_WEIGHTS);
    sl_graph_output(r->graph, r->y, "y");
    ck_ok(r->graph->status);
}

static void free_rig(rig *r)
{
    sl_graph_free(r->graph);
    free(r->numbers);
}

// How many of its dispatches are whole blocks.
static size_t count_fused(sl_vk_device *d, const rig *r, sl_dtype precision)
{
    sl_vk_program p;
    size_t count = 0;
    ck_ok(sl_vk_program_new(ctx, d, r->graph, precision, &p));
    for (size_t i = 0; i < p.count; i++)
        count += p.dispatches[i].key.kernel % SL_VK_HALF == SL_VK_BLOCK;
    sl_vk_program_free(&p);
    sl_vk_weights_forget(d);
    return count;
}

static float *run_rig(sl_vk_device *d, const rig *r, sl_dtype precision)
{
    sl_plan *plan;
    float *out = sl_alloc(ctx, r->floats, sizeof(*out));
    ck_ok(sl_vk_compile(ctx, d, r->graph, precision, &plan));
    ck_ok(sl_plan_write(plan, r->x, r->input));
    if (r->list)
        ck_ok(sl_plan_write(plan, r->list, r->windows));
    ck_ok(sl_plan_run(plan));
    ck_ok(sl_plan_read(plan, r->y, out));
    sl_plan_free(plan);
    sl_vk_weights_free(d);
    return out;
}

// Both forms also where nearly all of their groups lie along z.
static void compare_forms(sl_vk_device *d, const form_case *f, sl_dtype precision)
{
    static const sl_vk_block_form forms[] = { SL_VK_CHAIN, SL_VK_FUSED };
    rig r;
    const uint32_t groups = d->info.limits.group_count[0];
    double tolerance = precision == SL_F16 ? 2e-2 : 2e-5; // of values up to about 4
    make_rig(f, &r);
    d->block_form = SL_VK_CHAIN;
    float *chain = run_rig(d, &r, precision);
    d->info.limits.group_count[0] = FEW;
    for (size_t k = 0; k < SL_ARRAY_LEN(forms); k++) {
        d->block_form = forms[k];
        ck_assert_uint_eq(count_fused(d, &r, precision), forms[k] == SL_VK_FUSED);
        float *other = run_rig(d, &r, precision);
        for (size_t i = 0; i < r.floats; i++)
            ck_assert_msg(fabs((double)chain[i] - (double)other[i]) <= tolerance,
                          "%u channels, form %d, element %zu: %.9g and %.9g", f->channels,
                          (int)forms[k], i, (double)chain[i], (double)other[i]);
        free(other);
    }
    d->info.limits.group_count[0] = groups;
    free(chain);
    free_rig(&r);
}

START_TEST(forms_agree)
{
    sl_vk_device *d;
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    compare_forms(d, &cases[_i], SL_F32);
    if (d->info.f16 && _i == 0)
        compare_forms(d, &cases[_i], SL_F16);
    sl_vk_close(d);
}
END_TEST

static void shares_little(VkPhysicalDeviceProperties2 *p)
{
    p->properties.limits.maxComputeSharedMemorySize = 16384;
}

START_TEST(chain_where_a_window_does_not_fit)
{
    const form_case unfit[] = {
        { 10, 1, 40, 0, 1, 1, ALL, true },  // not in fours
        { 24, 4, 96, 0, 1, 1, ALL, true },  // heads of six
        { 24, 1, 50, 0, 1, 1, ALL, true },  // hidden channels
        { 136, 1, 32, 0, 1, 1, ALL, true }, // too deep
        { 128, 4, 32, 0, 1, 1, ALL, true }, // fits in f16
    };
    sl_vk_device *d;
    rig r;
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    d->block_form = SL_VK_FUSED; // where that is possible
    for (size_t i = 0; i < SL_ARRAY_LEN(unfit); i++) {
        make_rig(&unfit[i], &r);
        ck_assert_uint_eq(count_fused(d, &r, SL_F32), 0);
        if (d->info.f16)
            ck_assert_uint_eq(count_fused(d, &r, SL_F16), unfit[i].channels == 128);
        free_rig(&r);
    }
    sl_vk_close(d);
    spy.change = shares_little;
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    d->block_form = SL_VK_FUSED; // where that is possible
    make_rig(&cases[0], &r);
    ck_assert_uint_eq(count_fused(d, &r, SL_F32), 0);
    if (d->info.f16)
        ck_assert_uint_eq(count_fused(d, &r, SL_F16), 1);
    free_rig(&r);
    sl_vk_close(d);
}
END_TEST

// What a tile takes is asked for before anything is measured.
START_TEST(told_memory_suffices_for_every_way)
{
    sl_vk_device *d;
    sl_vk_program p;
    rig r;
    size_t before, told;
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    make_rig(&cases[0], &r);
    ck_ok(sl_vk_memory(ctx, d, r.graph, SL_F32, &before));
    ck_ok(sl_vk_program_draft(ctx, d, r.graph, SL_F32, &p));
    sl_vk_choice answer = { 0 };
    for (size_t i = 0; i < p.want_count; i++)
        if (p.wants[i].question.question == SL_VK_WHICH_FORM)
            answer = p.wants[i].question;
    ck_assert_uint_eq(answer.question, SL_VK_WHICH_FORM);
    sl_vk_program_free(&p);
    for (; answer.answer < 3; answer.answer++) {
        d->choices.trial = &answer;
        ck_ok(sl_vk_program_new(ctx, d, r.graph, SL_F32, &p));
        ck_assert_uint_le(p.memory.total, before);
        sl_vk_program_free(&p);
        sl_vk_weights_forget(d);
        ck_ok(sl_vk_memory(ctx, d, r.graph, SL_F32, &told));
        ck_assert_uint_eq(told, before);
    }
    d->choices.trial = NULL;
    free_rig(&r);
    sl_vk_close(d);
}
END_TEST

START_TEST(memory_is_told_of_what_compiles)
{
    sl_vk_device *d;
    sl_plan *plan;
    rig r;
    size_t told;
    ck_ok(sl_vk_open(ctx, "vulkan", &d));
    make_rig(&cases[0], &r);
    d->info.limits.group_count[0] = FEW;
    ck_ok(sl_vk_memory(ctx, d, r.graph, SL_F32, &told));
    d->info.limits.group_count[2] = 1;
    ck_fails(sl_vk_memory(ctx, d, r.graph, SL_F32, &told), SL_ERR_LIMIT, "allows 2 x ");
    ck_fails(sl_vk_compile(ctx, d, r.graph, SL_F32, &plan), SL_ERR_LIMIT, "allows 2 x ");
    free_rig(&r);
    sl_vk_close(d);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("block");
    tcase_add_loop_test(tests, forms_agree, 0, SL_ARRAY_LEN(cases));
    tcase_add_test(tests, chain_where_a_window_does_not_fit);
    tcase_add_test(tests, told_memory_suffices_for_every_way);
    tcase_add_test(tests, memory_is_told_of_what_compiles);
    return run_vulkan("vulkan-block-forms", tests);
}
