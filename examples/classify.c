// SPDX-License-Identifier: MIT
// examples/classify.c: names what is in a photograph, with a class of its own if it is shown some.
//     cc classify.c -o classify $(pkg-config --cflags --libs softlens)
//     ./classify PHOTO.jpg [LABEL EXAMPLE.jpg...]
// $SOFTLENS_MODELS may name the model, or the directory where it lies.
#include <softlens.h>

#include <stdio.h>
#include <stdlib.h>

// Adds the pictures to a class of the gallery.
static sl_status enroll(sl_ctx *ctx, const sl_model *model, sl_gallery *gallery, const char *label,
                        char **paths, int count)
{
    sl_classify *teacher = NULL;
    sl_status st = sl_classify_new(ctx, model, NULL, NULL, &teacher); // NULL: the defaults
    for (int i = 0; i < count && st == SL_OK; i++) {
        sl_image *image = NULL;
        st = sl_image_load(ctx, paths[i], NULL, &image);
        if (st == SL_OK)
            st = sl_classify_enroll(teacher, gallery, label, image);
        sl_image_free(image); // every _free takes NULL
    }
    sl_classify_free(teacher);
    return st;
}

static void print(const char *path, const sl_classification *found)
{
    printf("%s: %s\n", path, found->is_unknown ? "unknown" : found->matches[0].label);
    for (size_t i = 0; i < found->count; i++) {
        const sl_match *match = &found->matches[i];
        printf("  %5.1f %% %s%s\n", 100 * (double)match->probability, match->label,
               match->is_enrolled ? ", enrolled" : "");
    }
}

static sl_status classify(sl_ctx *ctx, int argc, char **argv)
{
    char *path = NULL;
    sl_model *model = NULL;
    sl_gallery *gallery = NULL;
    sl_classify *classify = NULL;
    sl_image *image = NULL;
    sl_classification *found = NULL;

    sl_status st = sl_model_find(ctx, "soft", &path);
    if (st == SL_OK)
        st = sl_model_open(ctx, path, &model);
    if (st == SL_OK && argc > 3)
        st = sl_gallery_new(ctx, model, &gallery);
    if (st == SL_OK && argc > 3)
        st = enroll(ctx, model, gallery, argv[2], argv + 3, argc - 3);
    if (st == SL_OK)
        st = sl_classify_new(ctx, model, gallery, NULL, &classify);
    if (st == SL_OK)
        st = sl_image_load(ctx, argv[1], NULL, &image);
    if (st == SL_OK)
        st = sl_classify_run(classify, image, 5, &found);
    if (st == SL_OK)
        print(argv[1], found);

    sl_classification_free(found);
    sl_image_free(image);
    sl_classify_free(classify); // before what it stands on
    sl_gallery_free(gallery);
    sl_model_free(model);
    free(path);
    return st;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc == 3) {
        fprintf(stderr, "usage: classify PHOTO [LABEL EXAMPLE...]\n");
        return 2;
    }
    sl_ctx *ctx = NULL;
    if (sl_ctx_new(NULL, &ctx) != SL_OK) {
        fprintf(stderr, "classify: out of memory\n");
        return 1;
    }
    sl_status st = classify(ctx, argc, argv);
    if (st != SL_OK)
        fprintf(stderr, "classify: %s\n", sl_ctx_message(ctx));
    sl_ctx_free(ctx);
    return st == SL_OK ? 0 : 1;
}
