// SPDX-License-Identifier: MIT
// pipeline/trace.c: what a context did and when, as Chrome's trace events, which Perfetto opens.
#include "pipeline/pipeline.h"
#include "tensor/json.h"

sl_status sl_trace_begin(sl_ctx *ctx, const char *path, bool overwrite)
{
    sl_output *probe = NULL;
    sl_trace *trace = NULL;
    if (ctx->trace)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "%s: another trace is being recorded; write it first",
                       path);
    // A place where nothing can be written is told before any work is done.
    sl_status st = sl_output_open(ctx, path, overwrite, &probe);
    sl_output_discard(probe);
    if (st == SL_OK)
        st = sl_trace_new(ctx, &trace);
    if (st != SL_OK)
        return st;
    trace->path = sl_strdup(ctx, path);
    trace->overwrite = overwrite;
    if (!trace->path) {
        sl_trace_free(trace);
        return SL_ERR_NOMEM;
    }
    ctx->trace = trace;
    return SL_OK;
}

// By track, then as they begin, the longer first: parents before their children.
static int by_time(const void *a, const void *b)
{
    const sl_span *x = a, *y = b;
    if (x->track != y->track)
        return x->track < y->track ? -1 : 1;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

// What names a process or a track.
static json_t *name_json(const char *kind, int track, const char *name)
{
    return json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "name", kind, "ph", "M", "pid", 1, "tid",
                     track, "args", "name", name);
}

static json_t *args_json(const sl_span *span)
{
    const double gmac = 1e-9 * span->macs;
    if (!span->family)
        return json_object();
    if (!(gmac > 0))
        return json_pack("{s:s, s:s}", "label", span->name, "family", span->family);
    if (!(span->seconds > 0))
        return json_pack("{s:s, s:s, s:f}", "label", span->name, "family", span->family, "gmac",
                         gmac);
    return json_pack("{s:s, s:s, s:f, s:f}", "label", span->name, "family", span->family, "gmac",
                     gmac, "gflops", 2 * gmac / span->seconds);
}

static json_t *span_json(const sl_trace *trace, const sl_span *span)
{
    double start = 1e6 * (span->start - trace->started);
    return json_pack("{s:s, s:s, s:s, s:f, s:f, s:i, s:i, s:o}", "name", span->name, "cat",
                     span->family ? span->family : "host", "ph", "X", "ts", start > 0 ? start : 0,
                     "dur", 1e6 * span->seconds, "pid", 1, "tid", (int)span->track, "args",
                     args_json(span));
}

static json_t *clocks_json(const sl_trace *trace)
{
    json_t *clocks = json_object();
    for (unsigned i = 0; i < trace->track_count; i++)
        if (json_object_set_new(clocks, trace->tracks[i].name,
                                json_string(trace->tracks[i].clock)) != 0) {
            json_decref(clocks);
            return NULL;
        }
    return clocks;
}

static json_t *trace_json(sl_trace *trace)
{
    json_t *events = json_array();
    bool ok = json_array_append_new(events, name_json("process_name", 0, "softlens")) == 0;
    for (unsigned i = 0; i < trace->track_count && ok; i++)
        ok = json_array_append_new(events,
                                   name_json("thread_name", (int)i, trace->tracks[i].name)) == 0;
    if (trace->count)
        qsort(trace->spans, trace->count, sizeof(*trace->spans), by_time);
    for (size_t i = 0; i < trace->count && ok; i++)
        ok = json_array_append_new(events, span_json(trace, &trace->spans[i])) == 0;
    if (ok)
        return json_pack("{s:s, s:{s:s, s:s, s:o, s:I}, s:o}", "displayTimeUnit", "ms", "metadata",
                         "program", "softlens", "version", sl_version(), "clocks",
                         clocks_json(trace), "dropped_spans", (json_int_t)trace->dropped,
                         "traceEvents", events);
    json_decref(events);
    return NULL;
}

sl_status sl_trace_write(sl_ctx *ctx)
{
    sl_trace *trace = ctx->trace;
    if (!trace)
        return sl_fail(ctx, SL_ERR_ARGUMENT, "no trace is being recorded; begin one first");
    ctx->trace = NULL;
    char *text = NULL;
    sl_status st =
        sl_json_text(ctx, trace_json(trace), JSON_COMPACT | JSON_REAL_PRECISION(12), &text);
    if (st == SL_OK)
        st = sl_file_write(ctx, trace->path, trace->overwrite, text, strlen(text));
    free(text);
    sl_trace_free(trace);
    return st;
}
