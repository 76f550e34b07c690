// SPDX-License-Identifier: MIT
// examples/detect.c: finds objects in a photograph, prints them and draws them over it.
//     cc detect.c -o detect $(pkg-config --cflags --libs softlens)
//     ./detect PHOTO.jpg FOUND.jpg
// $SOFTLENS_MODELS may name the model, or the directory where it lies.
#include <softlens.h>

#include <stdio.h>
#include <stdlib.h>

static void print(const sl_detections *found)
{
    for (size_t i = 0; i < found->count; i++) {
        const sl_detection *o = &found->items[i];
        printf("%s %.2f: %.0f,%.0f to %.0f,%.0f\n", o->label, (double)o->score, (double)o->x1,
               (double)o->y1, (double)o->x2, (double)o->y2);
    }
}

static sl_status detect(sl_ctx *ctx, const char *from, const char *to)
{
    char *path = NULL;
    sl_model *model = NULL;
    sl_detect *detector = NULL;
    sl_image *image = NULL;
    sl_detections *found = NULL;

    sl_status st = sl_model_find(ctx, "soft-retinanet", &path);
    if (st == SL_OK)
        st = sl_model_open(ctx, path, &model);
    if (st == SL_OK)
        st = sl_detect_new(ctx, model, NULL, &detector); // NULL: the defaults
    if (st == SL_OK)
        st = sl_image_load(ctx, from, NULL, &image);
    if (st == SL_OK)
        st = sl_detect_run(detector, image, &found);
    if (st == SL_OK)
        st = sl_detections_draw(ctx, image, found, NULL);
    if (st == SL_OK)
        st = sl_image_save(ctx, image, to, NULL);
    if (st == SL_OK)
        print(found);

    sl_detections_free(found); // every _free takes NULL
    sl_image_free(image);
    sl_detect_free(detector); // before what it stands on
    sl_model_free(model);
    free(path);
    return st;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: detect PHOTO FOUND\n");
        return 2;
    }
    sl_ctx *ctx = NULL;
    if (sl_ctx_new(NULL, &ctx) != SL_OK) {
        fprintf(stderr, "detect: out of memory\n");
        return 1;
    }
    sl_status st = detect(ctx, argv[1], argv[2]);
    if (st != SL_OK)
        fprintf(stderr, "detect: %s\n", sl_ctx_message(ctx));
    sl_ctx_free(ctx);
    return st == SL_OK ? 0 : 1;
}
