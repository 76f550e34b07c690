// SPDX-License-Identifier: MIT
// base/status.c: failures, log sentences and progress on their way to the caller.
#include "base/base.h"

#include <stdarg.h>

sl_status sl_fail(sl_ctx *ctx, sl_status status, const char *format, ...)
{
    if (!ctx)
        return status;
    // Composed aside: an argument may be the message of the failure below this one.
    char text[sizeof(ctx->message)];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    memcpy(ctx->message, text, strlen(text) + 1);
    return status;
}

void sl_log(sl_ctx *ctx, sl_log_level level, const char *format, ...)
{
    if (!ctx || !ctx->options.log)
        return;
    char text[sizeof(ctx->message)];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (char *at = text; *at; at++)
        if ((uint8_t)*at < 0x20 || *at == 0x7F)
            *at = ' ';
    ctx->options.log(ctx->options.log_user, level, text);
}

sl_status sl_progress(sl_ctx *ctx, size_t done, size_t total)
{
    if (!ctx || !ctx->options.progress)
        return SL_OK;
    if (ctx->options.progress(ctx->options.progress_user, done, total))
        return SL_OK;
    return sl_fail(ctx, SL_ERR_CANCELLED, "cancelled after %zu of %zu", done, total);
}
