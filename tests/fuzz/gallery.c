// SPDX-License-Identifier: MIT
// tests/fuzz/gallery.c: any bytes as a gallery. What is accepted has to be usable: described,
// checked, matched against, changed, and read again as it was saved.
#include "classify/gallery.h"

#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void match(sl_ctx *ctx, const sl_gallery *gallery)
{
    sl_tensor_set *model = NULL;
    sl_known *known = NULL;
    sl_matcher *matcher = NULL;
    sl_classification got;
    static const uint8_t bare[] = "\x02\0\0\0\0\0\0\0{}"; // a model without anything
    const sl_known_shape shape = { .dimension = gallery->dimension,
                                   .pool3_size = gallery->pool3_size,
                                   .pool4_size = gallery->pool4_size };
    if (sl_safetensors_parse(ctx, bare, sizeof(bare) - 1, "bare", &model) != SL_OK ||
        sl_known_new(ctx, model, &shape, &known) != SL_OK)
        abort();
    if (gallery->count > 0 && sl_matcher_new(ctx, known, gallery, 0.1f, &matcher) == SL_OK) {
        sl_features f = sl_gallery_picture(gallery, gallery->count - 1, 0);
        if (sl_matcher_rank(matcher, &f, 3, &got) != SL_OK || got.count < 1 || got.count > 3 ||
            !(got.matches[0].probability >= 0 && got.matches[0].probability <= 1))
            abort();
        sl_classification_clear(&got);
    }
    sl_matcher_free(matcher);
    sl_known_free(known);
    sl_tensor_set_free(model);
}

// The first class gets its first picture once more; the file is what it was with one more.
static void change_and_save(sl_ctx *ctx, sl_gallery *gallery)
{
    static char path[64];
    sl_gallery *again = NULL;
    size_t pictures = sl_gallery_pictures(gallery, 0);
    if (!*path)
        snprintf(path, sizeof(path), "/tmp/fuzz-gallery-%ld", (long)getpid());
    sl_features f = sl_gallery_picture(gallery, 0, 0);
    if (sl_gallery_add(ctx, gallery, sl_gallery_label(gallery, 0), &f) != SL_OK)
        return; // pictures that cancel each other out
    if (sl_gallery_save(ctx, gallery, path) != SL_OK ||
        sl_gallery_open(ctx, path, NULL, &again) != SL_OK ||
        sl_gallery_count(again) != sl_gallery_count(gallery) ||
        sl_gallery_pictures(again, 0) != pictures + 1)
        abort();
    sl_gallery_free(again);
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sl_ctx *ctx;
    if (!ctx && sl_ctx_new(&(sl_ctx_options) { .threads = 1 }, &ctx) != SL_OK)
        abort();
    sl_gallery *gallery = NULL;
    char *text = NULL;
    sl_status st = sl_gallery_parse(ctx, data, size, "fuzz", &gallery);
    if ((st == SL_OK) != (gallery != NULL) || (st != SL_OK && !*sl_ctx_message(ctx)))
        abort();
    if (!gallery)
        return 0;
    if (sl_gallery_describe(ctx, gallery, &text) != SL_OK)
        abort();
    free(text);
    (void)sl_gallery_check(ctx, gallery);
    match(ctx, gallery);
    if (sl_gallery_count(gallery) > 0)
        change_and_save(ctx, gallery);
    sl_gallery_free(gallery);
    return 0;
}
