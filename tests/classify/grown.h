// SPDX-License-Identifier: MIT
// tests/classify/grown.h: galleries for a made model that is open throughout a test.
#ifndef TESTS_CLASSIFY_GROWN_H
#define TESTS_CLASSIFY_GROWN_H

#include "made.h"

static made_model model;
static sl_tensor_set *set;

static void begin(void)
{
    set_up();
    made_defaults(&model);
    set = made_open(&model, in_dir("model.safetensors"));
}

static void end(void)
{
    sl_tensor_set_free(set);
    tear_down();
}

static void add(sl_gallery *gallery, const char *label, size_t c, uint64_t seed)
{
    made_picture p;
    made_draw(c, &seed, &p);
    ck_ok(sl_gallery_add(ctx, gallery, label, &p.f));
}

static sl_gallery *new_gallery(void)
{
    sl_gallery *gallery = NULL;
    ck_ok(sl_gallery_new_for(ctx, set, &gallery));
    return gallery;
}

static sl_gallery *reopen(sl_gallery *gallery, const char *name)
{
    ck_ok(sl_gallery_save(ctx, gallery, in_dir(name)));
    sl_gallery_free(gallery);
    ck_ok(sl_gallery_open_for(ctx, in_dir(name), set, &gallery));
    return gallery;
}

#endif
