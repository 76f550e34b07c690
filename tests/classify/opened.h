// SPDX-License-Identifier: MIT
// tests/classify/opened.h: a made model that is open throughout a test.
#ifndef TESTS_CLASSIFY_OPENED_H
#define TESTS_CLASSIFY_OPENED_H

#include "made.h"

static made_model model;
static sl_tensor_set *set;
static sl_known *known;

static void begin(void)
{
    set_up();
    made_defaults(&model);
    set = made_open(&model, in_dir("model.safetensors"));
    sl_known_shape shape = made_shape(&model);
    ck_ok(sl_known_new(ctx, set, &shape, &known));
}

static void end(void)
{
    sl_known_free(known);
    sl_tensor_set_free(set);
    tear_down();
}

static void reopen_model(void)
{
    sl_known_free(known);
    sl_tensor_set_free(set);
    sl_known_shape shape = made_shape(&model);
    set = made_open(&model, in_dir("model.safetensors"));
    ck_ok(sl_known_new(ctx, set, &shape, &known));
}

#endif
