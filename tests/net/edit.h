// SPDX-License-Identifier: MIT
// tests/net/edit.h: model files that are changed a little, written, and opened again.
#ifndef TESTS_NET_EDIT_H
#define TESTS_NET_EDIT_H

#include "net/net.h"

#include <check.h>
#include <unistd.h>

#define GOLDEN(name) GOLDEN_DIR "/" name ".safetensors"

static sl_ctx *ctx;
static char path[64];

static inline void setup(void)
{
    ck_assert_int_eq(sl_ctx_new(NULL, &ctx), SL_OK);
    snprintf(path, sizeof path, "/tmp/softlens-model-XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static inline void teardown(void)
{
    unlink(path);
    sl_ctx_free(ctx);
}

// Takes what two configurations are as text: between their fields lie bytes that nothing sets.
static inline void same_text(char *a, char *b)
{
    ck_assert_ptr_nonnull(a);
    ck_assert_ptr_nonnull(b);
    ck_assert_str_eq(a, b);
    free(a);
    free(b);
}

// A golden model's tensors and metadata, to be changed and written to `path`.
typedef struct edit {
    sl_tensor_set *set;
    sl_tensor tensors[1000];
    size_t count;
    sl_meta meta[8];
    size_t meta_count;
} edit;

static inline void edit_open(edit *e, const char *file)
{
    memset(e, 0, sizeof *e);
    ck_assert_int_eq(sl_tensor_set_open(ctx, file, &e->set), SL_OK);
    e->count = sl_tensor_set_count(e->set);
    for (size_t i = 0; i < e->count; i++)
        e->tensors[i] = *sl_tensor_set_at(e->set, i);
    e->meta_count = sl_tensor_set_meta_count(e->set);
    for (size_t i = 0; i < e->meta_count; i++)
        sl_tensor_set_meta_at(e->set, i, &e->meta[i].key, &e->meta[i].value);
}

static inline sl_tensor *edit_find(edit *e, const char *name)
{
    for (size_t i = 0; i < e->count; i++)
        if (strcmp(e->tensors[i].name, name) == 0)
            return &e->tensors[i];
    ck_abort_msg("no tensor %s", name);
}

static inline void edit_set_meta(edit *e, const char *key, const char *value)
{
    for (size_t i = 0; i < e->meta_count; i++)
        if (strcmp(e->meta[i].key, key) == 0)
            e->meta[i].value = value;
}

static inline sl_model *open_model(const char *file, const char *architecture)
{
    sl_model *model;
    ck_assert_msg(sl_model_open(ctx, file, &model) == SL_OK, "%s", sl_ctx_message(ctx));
    ck_assert_str_eq(model->architecture, architecture);
    return model;
}

static inline void says(sl_status is, sl_status should, const char *part)
{
    ck_assert_msg(is == should && strstr(sl_ctx_message(ctx), part), "status %d: %s", (int)is,
                  sl_ctx_message(ctx));
}

// Writes the edited model and opens it again.
static inline sl_status edit_reopen(edit *e, sl_model **model)
{
    ck_assert_msg(sl_safetensors_write(ctx, path, true, e->tensors, e->count, e->meta,
                                       e->meta_count) == SL_OK,
                  "%s", sl_ctx_message(ctx));
    return sl_model_open(ctx, path, model);
}

static inline void expect_refusal(edit *e, sl_status status, const char *says)
{
    sl_model *model;
    ck_assert_int_eq(edit_reopen(e, &model), status);
    ck_assert_ptr_null(model);
    ck_assert_msg(strstr(sl_ctx_message(ctx), says), "%s", sl_ctx_message(ctx));
    sl_tensor_set_free(e->set);
}

#endif
