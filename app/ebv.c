// SPDX-License-Identifier: MIT
// app/ebv.c: softlens ebv: tables of Equiangular Basis Vectors.
#include "app.h"

#include <stdlib.h>

static const app_option rows[] = {
    { .name = "classes",
      .kind = APP_INTEGER,
      .at = APP_AT(classes),
      .value = "N",
      .min = 2,
      .max = 65536,
      .help = "Vectors, one for each class; required" },
    { .name = "dim",
      .kind = APP_INTEGER,
      .at = APP_AT(dim),
      .value = "D",
      .min = 2,
      .max = 65536,
      .help = "Dimensions of each vector; required" },
    { .name = "output",
      .letter = 'o',
      .kind = APP_FILE,
      .at = APP_AT(output),
      .value = "FILE",
      .help = "Write to FILE.safetensors; required" },
    { .name = "alpha",
      .kind = APP_REAL,
      .at = APP_AT(alpha),
      .value = "A",
      .min = 0,
      .max = 1,
      .help = "Stop when no two vectors have a |cosine| above A, between 0 and 1 (default: a tenth "
              "above the Welch bound)" },
    { .name = "steps",
      .kind = APP_INTEGER,
      .at = APP_AT(steps),
      .value = "S",
      .min = 1,
      .max = 1000000,
      .help = "Stop after S steps, and write the best set (default: 2000)" },
    { .name = "seed",
      .kind = APP_INTEGER,
      .at = APP_AT(seed),
      .value = "N",
      .min = 1,
      .max = UINT64_MAX,
      .help = "Begin with other random vectors (default: 42)" },
    APP_OVERWRITE_OPTION,
    APP_THREADS_OPTION,
    { .name = "json", .at = APP_AT(json), .help = "Print JSON" },
    APP_COMMON_OPTIONS,
};

static void print_json(const app_values *values, const sl_ebv_report *r)
{
    char text[512];
    snprintf(text, sizeof(text),
             "{\"classes\": %llu, \"dimension\": %llu, \"alpha\": %.6g, \"max_cosine\": %.6g, "
             "\"mean_cosine\": %.6g, \"bound\": %.6g, \"is_reached\": %s, \"steps\": %u, "
             "\"seconds\": %.3f}",
             (unsigned long long)values->classes, (unsigned long long)values->dim, r->alpha,
             r->max_cosine, r->mean_cosine, r->bound, r->is_reached ? "true" : "false", r->steps,
             r->seconds);
    app_put_line(text);
}

static int ebv(app_session *session, int count, char **operands)
{
    (void)count; // the table says none
    (void)operands;
    const app_values *values = &session->values;
    if (!values->classes || !values->dim)
        return app_usage(session->command, "ebv needs --classes N and --dim D");
    if (!values->output)
        return app_usage(session->command, "ebv needs --output FILE.safetensors");
    app_exit result = app_check_safetensors(session);
    if (result != APP_DONE)
        return result;
    const sl_ebv_options options = { .classes = (size_t)values->classes,
                                     .dimension = (size_t)values->dim,
                                     .alpha = values->alpha,
                                     .steps = (unsigned)values->steps,
                                     .seed = values->seed,
                                     .overwrite = values->overwrite };
    sl_ebv_report r;
    app_progress_begin(&session->progress, values->output);
    sl_status status = sl_ebv_write(session->ctx, values->output, &options, &r);
    app_progress_end(&session->progress);
    if (status != SL_OK)
        return app_fail(session, status);
    if (values->json)
        print_json(values, &r);
    else
        app_say(session,
                "%s: %llu vectors in %llu dimensions, |cosine| at most %.4f, mean %.4f (bound "
                "%.4f), %u steps, %.1f s",
                values->output, (unsigned long long)values->classes,
                (unsigned long long)values->dim, r.max_cosine, r.mean_cosine, r.bound, r.steps,
                r.seconds);
    return APP_DONE;
}

const app_command app_ebv = {
    .name = "ebv",
    .summary = "makes a table of Equiangular Basis Vectors to train with",
    .operands = "",
    .operands_min = 0,
    .operands_max = 0,
    .about = "Writes N unit vectors in D dimensions, any two of which are nearly orthogonal: fixed "
             "directions for a network to point at, one a class. Up to D + 1 they are constructed; "
             "more are pushed apart step by step. Below the Welch bound no set exists. Ctrl-C "
             "leaves no file.",
    .examples = "softlens ebv --classes 1000 --dim 512 --alpha 0.034 -o ebv.safetensors\n"
                "softlens ebv --classes 100 --dim 128 -o ebv.safetensors --json\n",
    .options = rows,
    .run = ebv,
};
