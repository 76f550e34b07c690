// SPDX-License-Identifier: MIT
// base/trace.c: spans of time, kept while a context works; pipeline/trace.c writes them.
#include "base/base.h"

#include <assert.h>

#define FIRST_SPANS 1024

sl_status sl_trace_new(sl_ctx *ctx, sl_trace **out)
{
    sl_trace *trace = sl_alloc(ctx, 1, sizeof(*trace));
    *out = trace;
    if (!trace)
        return SL_ERR_NOMEM;
    trace->started = sl_seconds();
    trace->tracks[SL_TRACK_HOST] = (sl_track) { "softlens", "host" };
    trace->track_count = 1;
    return SL_OK;
}

void sl_trace_free(sl_trace *trace)
{
    if (!trace)
        return;
    free(trace->path);
    free(trace->spans);
    free(trace);
}

// Without memory spans are dropped, which the file then tells: no work fails for its trace.
void sl_trace_reserve(sl_ctx *ctx, size_t more)
{
    sl_trace *trace = ctx ? ctx->trace : NULL;
    if (!trace || more <= trace->capacity - trace->count || trace->capacity >= SL_MAX_SPANS)
        return;
    size_t want = trace->count + more, twice = 2 * trace->capacity;
    want = want > twice ? want : twice;
    want = want > FIRST_SPANS ? want : FIRST_SPANS;
    want = want < SL_MAX_SPANS ? want : SL_MAX_SPANS;
    sl_span *grown = realloc(trace->spans, want * sizeof(*grown));
    if (!grown)
        return;
    trace->spans = grown;
    trace->capacity = want;
}

unsigned sl_trace_track(sl_ctx *ctx, const char *name, const char *clock)
{
    sl_trace *trace = ctx->trace;
    for (unsigned i = 0; i < trace->track_count; i++)
        if (strcmp(trace->tracks[i].name, name) == 0)
            return i;
    if (trace->track_count == SL_MAX_TRACKS)
        return SL_MAX_TRACKS - 1;
    sl_track *track = &trace->tracks[trace->track_count];
    snprintf(track->name, sizeof(track->name), "%s", name);
    track->clock = clock;
    return trace->track_count++;
}

void sl_trace_add(sl_ctx *ctx, const sl_span *span)
{
    sl_trace *trace = ctx->trace;
    assert(span->track < trace->track_count);
    if (trace->count < trace->capacity)
        trace->spans[trace->count++] = *span;
    else
        trace->dropped++;
}

double sl_trace_start(const sl_ctx *ctx)
{
    return ctx && ctx->trace ? sl_seconds() : 0;
}

void sl_trace_end(sl_ctx *ctx, const char *name, double start)
{
    if (!ctx || !ctx->trace || start <= 0) // it began before the trace did
        return;
    sl_span span = { .start = start, .seconds = sl_seconds() - start, .track = SL_TRACK_HOST };
    snprintf(span.name, sizeof(span.name), "%s", name);
    sl_trace_reserve(ctx, 1);
    sl_trace_add(ctx, &span);
}

sl_trace *sl_trace_pause(sl_ctx *ctx)
{
    sl_trace *paused = ctx->trace;
    ctx->trace = NULL;
    return paused;
}

void sl_trace_resume(sl_ctx *ctx, sl_trace *paused)
{
    ctx->trace = paused;
}
