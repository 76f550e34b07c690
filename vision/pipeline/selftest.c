// SPDX-License-Identifier: MIT
// pipeline/selftest.c: see selftest.h.
#include "pipeline/selftest.h"

#include "pipeline/specimen.h"

#include <math.h>

typedef struct test {
    sl_ctx *ctx;
    sl_specimen specimen;
    void *want[SL_SPECIMEN_OUTPUTS], *got[SL_SPECIMEN_OUTPUTS];
    char *why; // SL_VK_WHY_BYTES, of the precision that is tested
} test;

static const sl_value_info *output(const test *t, size_t i)
{
    return &t->specimen.graph->values[t->specimen.output[i].value];
}

static sl_status compute(const test *t, sl_plan *plan, void *const results[SL_SPECIMEN_OUTPUTS])
{
    sl_status st = sl_plan_write(plan, t->specimen.image, t->specimen.picture);
    if (st == SL_OK)
        st = sl_plan_write(plan, t->specimen.extent, t->specimen.sides);
    if (st == SL_OK)
        st = sl_plan_write(plan, t->specimen.rows, t->specimen.numbers);
    if (st == SL_OK)
        st = sl_plan_run(plan);
    for (size_t i = 0; i < SL_SPECIMEN_OUTPUTS && st == SL_OK; i++)
        st = sl_plan_read(plan, t->specimen.output[i].value, results[i]);
    return st;
}

static sl_status compute_on_cpu(test *t)
{
    sl_cpu_weights *weights = NULL;
    sl_plan *plan = NULL;
    sl_status st = sl_cpu_weights_new(t->ctx, &weights);
    if (st == SL_OK)
        st = sl_cpu_compile(t->ctx, t->specimen.graph, SL_F32, weights, &plan);
    if (st == SL_OK)
        st = compute(t, plan, t->want);
    sl_plan_free(plan);
    sl_cpu_weights_free(weights);
    return st;
}

// The largest difference, as a share of the range of what is wanted; infinite where it is no
// number.
static float distance(const float *want, const float *got, size_t count)
{
    float low = want[0], high = want[0], worst = 0;
    for (size_t i = 0; i < count; i++) {
        float d = fabsf(want[i] - got[i]);
        low = fminf(low, want[i]);
        high = fmaxf(high, want[i]);
        worst = isfinite(d) ? fmaxf(worst, d) : INFINITY;
    }
    return worst / fmaxf(high - low, 1e-6f);
}

static void compare(test *t, sl_dtype precision)
{
    float most = precision == SL_F16 ? SL_SELFTEST_TOLERANCE_F16 : SL_SELFTEST_TOLERANCE;
    for (size_t i = 0; i < SL_SPECIMEN_OUTPUTS && !*t->why; i++) {
        const sl_value_info *info = output(t, i);
        const char *what = t->specimen.output[i].what, *type = sl_dtype_name(precision);
        if (precision == SL_F16 && t->specimen.output[i].needs_f32)
            continue;
        if (info->dtype == SL_U8) {
            if (memcmp(t->want[i], t->got[i], info->bytes) != 0)
                snprintf(t->why, SL_VK_WHY_BYTES, "in %s %s is wrong", type, what);
            continue;
        }
        float d = distance(t->want[i], t->got[i], info->bytes / sizeof(float));
        sl_log(t->ctx, SL_LOG_DEBUG, "self-test in %s: %s: off by %.2g of the range", type, what,
               (double)d);
        if (!(d <= most))
            snprintf(t->why, SL_VK_WHY_BYTES, "in %s %s: off by %.2g of the range", type, what,
                     (double)d);
    }
}

// A call that fails is what is wrong with the device, unless it is memory that others may hold. Of
// a lost device it is not kept.
static sl_status blame(test *t, sl_status st)
{
    if (st != SL_ERR_DEVICE && st != SL_ERR_UNSUPPORTED && st != SL_ERR_LIMIT)
        return st;
    const char *message = sl_ctx_message(t->ctx);
    snprintf(t->why, SL_VK_WHY_BYTES, "%.*s", (int)strcspn(message, ";"), message);
    return SL_OK;
}

static sl_status test_precision(test *t, sl_vk_device *device, sl_dtype precision, char *why)
{
    sl_plan *plan = NULL;
    t->why = why;
    // What is left over from another run must not pass for a result.
    for (size_t i = 0; i < SL_SPECIMEN_OUTPUTS; i++)
        memset(t->got[i], 0xff, output(t, i)->bytes);
    sl_status st = sl_vk_compile(t->ctx, device, t->specimen.graph, precision, &plan);
    if (st == SL_OK)
        st = compute(t, plan, t->got);
    if (st == SL_OK)
        compare(t, precision);
    sl_plan_free(plan);
    return blame(t, st);
}

static sl_status make(test *t)
{
    sl_status st = sl_specimen_new(t->ctx, &t->specimen);
    for (size_t i = 0; i < SL_SPECIMEN_OUTPUTS && st == SL_OK; i++) {
        t->want[i] = sl_alloc(t->ctx, output(t, i)->bytes, 1);
        t->got[i] = sl_alloc(t->ctx, output(t, i)->bytes, 1);
        if (!t->want[i] || !t->got[i])
            st = SL_ERR_NOMEM;
    }
    return st;
}

sl_status sl_selftest_run(sl_ctx *ctx, const sl_vk_info *info, sl_vk_verdict *out, bool *was_lost)
{
    test t = { .ctx = ctx };
    char name[32];
    // Opened for this alone: weights are kept by device and tensor, and the specimen's go.
    sl_vk_device *device = NULL;
    *out = (sl_vk_verdict) { 0 };
    *was_lost = false;
    snprintf(name, sizeof(name), "vulkan:%u", info->index);
    double start = sl_seconds();
    sl_status st = make(&t);
    if (st == SL_OK)
        st = compute_on_cpu(&t);
    if (st == SL_OK)
        st = sl_vk_open(ctx, name, &device);
    if (st == SL_OK) { // a trial holds the other ways to these
        sl_vk_take_usual_ways(device);
        st = test_precision(&t, device, SL_F32, out->why);
    }
    if (st == SL_OK && sl_vk_was_lost(device))
        st = SL_ERR_DEVICE; // whose message stands
    if (st == SL_OK && info->f16 && !*out->why) {
        st = test_precision(&t, device, SL_F16, out->why_f16);
        *was_lost = sl_vk_was_lost(device);
    }
    if (st == SL_OK)
        sl_log(ctx, SL_LOG_DEBUG, "%s %s: self-test %s%s%s (%.2f s)", name, info->name,
               *out->why || *out->why_f16 ? "failed: " : "passed", out->why, out->why_f16,
               sl_seconds() - start);
    sl_vk_close(device);
    for (size_t i = 0; i < SL_SPECIMEN_OUTPUTS; i++) {
        free(t.want[i]);
        free(t.got[i]);
    }
    sl_specimen_free(&t.specimen);
    return st;
}

sl_status sl_selftest_verdict(sl_ctx *ctx, const sl_vk_info *info, sl_vk_verdict *out)
{
    bool was_lost;
    if (sl_vk_verdict_load(ctx, info, out))
        return SL_OK;
    double start = sl_trace_start(ctx);
    sl_trace *trace = sl_trace_pause(ctx);
    sl_status st = sl_selftest_run(ctx, info, out, &was_lost);
    sl_trace_resume(ctx, trace);
    sl_trace_end(ctx, "self-test", start);
    if (st == SL_OK && !was_lost)
        sl_vk_verdict_store(ctx, info, out);
    return st;
}
