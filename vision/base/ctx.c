// SPDX-License-Identifier: MIT
// base/ctx.c: the context: options checked once, then read-only; one pool.
#include "base/base.h"

#include "base/version.h"

#define MAX_THREADS 256

const char *sl_version(void)
{
    return SL_VERSION;
}

static bool known_simd(const char *name)
{
    return strcmp(name, "portable") == 0 || strcmp(name, "avx2") == 0 ||
           strcmp(name, "avx512") == 0;
}

sl_status sl_ctx_new(const sl_ctx_options *options, sl_ctx **out)
{
    *out = NULL;
    if (options &&
        (options->threads > MAX_THREADS || (options->simd && !known_simd(options->simd))))
        return SL_ERR_ARGUMENT;
    sl_ctx *ctx = calloc(1, sizeof(*ctx));
    if (!ctx)
        return SL_ERR_NOMEM;
    if (options)
        ctx->options = *options;
    if (ctx->options.simd) {
        snprintf(ctx->simd_name, sizeof(ctx->simd_name), "%s", ctx->options.simd);
        ctx->options.simd = ctx->simd_name;
    }
    unsigned threads = ctx->options.threads ? ctx->options.threads : sl_processors();
    threads = threads < MAX_THREADS ? threads : MAX_THREADS;
    sl_status st = sl_pool_new(ctx, threads, &ctx->pool);
    if (st != SL_OK) {
        sl_ctx_free(ctx);
        return st;
    }
    ctx->options.threads = sl_pool_size(ctx->pool);
    *out = ctx;
    return SL_OK;
}

void sl_ctx_free(sl_ctx *ctx)
{
    if (!ctx)
        return;
    sl_trace_free(ctx->trace);
    sl_pool_free(ctx->pool);
    free(ctx);
}

const char *sl_ctx_message(const sl_ctx *ctx)
{
    return ctx ? ctx->message : "";
}
