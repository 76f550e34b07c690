// SPDX-License-Identifier: MIT
// examples/deblur.c: the whole library in one page: deblurs a photograph.
//     cc deblur.c -o deblur $(pkg-config --cflags --libs softlens)
//     ./deblur IN.jpg OUT.jpg [MODEL.safetensors]
#include <softlens.h>

#include <stdio.h>
#include <stdlib.h>

static sl_status deblur(sl_ctx *ctx, const char *in, const char *out, const char *model_path)
{
    char *found = NULL;
    sl_model *model = NULL;
    sl_deblur *deblur = NULL;
    sl_image *image = NULL, *result = NULL;
    sl_deblur_report report;
    sl_status st = SL_OK;

    if (!model_path) {
        st = sl_model_find(ctx, "lmd-vit", &found);
        model_path = found;
    }
    if (st == SL_OK)
        st = sl_model_open(ctx, model_path, &model);
    if (st == SL_OK)
        st = sl_deblur_new(ctx, model, NULL, &deblur); // NULL: the defaults
    if (st == SL_OK)
        st = sl_image_load(ctx, in, NULL, &image);
    if (st == SL_OK)
        st = sl_deblur_run(deblur, image, &result, NULL, &report);
    if (st == SL_OK)
        st = sl_image_save(ctx, result, out, NULL);
    if (st == SL_OK)
        printf("%s: %u x %u, %.0f %% of the windows computed in %.2f s on %s\n", out, report.width,
               report.height, 100 * report.kept_share, report.seconds, report.device);

    sl_image_free(result); // every _free takes NULL
    sl_image_free(image);
    sl_deblur_free(deblur);
    sl_model_free(model);
    free(found);
    return st;
}

int main(int argc, char **argv)
{
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: deblur IN OUT [MODEL]\n");
        return 2;
    }
    sl_ctx *ctx = NULL;
    if (sl_ctx_new(NULL, &ctx) != SL_OK) {
        fprintf(stderr, "deblur: out of memory\n");
        return 1;
    }
    sl_status st = deblur(ctx, argv[1], argv[2], argc == 4 ? argv[3] : NULL);
    if (st != SL_OK)
        fprintf(stderr, "deblur: %s\n", sl_ctx_message(ctx));
    sl_ctx_free(ctx);
    return st == SL_OK ? 0 : 1;
}
