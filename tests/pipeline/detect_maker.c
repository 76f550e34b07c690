// SPDX-License-Identifier: MIT
// tests/pipeline/detect_maker.c: writes detections in every format into the directory it is given,
// for detect_readers.py to read: of three pictures, of one without any, and of no picture.
#include "image/image.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const labels[] = { "person", "say \"a,b\" <&>'", "tab\tline\nend \x01\x7f",
                                      "bad \xC3( \xF0\x9F\x98\x80" };

static sl_detection three[] = {
    { 10.5f, 20.25f, 110.5f, 220.25f, 0.9375f, 0, "person", "person", NAN },
    { 0, 0, 640, 480, 0.5f, 1, NULL, "say \"a,b\" <&>'", NAN },
    { 300, 200, 300, 200, 0.25f, 0, "M\xC3\xBCller \xE2\x98\x83", "person", 0.75f },
};
static sl_detection beyond[] = {
    { -5, -6, 70, 40, 0.125f, 3, "person", "bad", 1 },
    { 10, 10, 20, 20, 0.0625f, 2, NULL, NULL, NAN },
};

typedef struct picture {
    const char *path;
    sl_detections found;
} picture;

static const picture pictures[] = {
    { "pics/plain.png",
      { .count = 3,
        .items = three,
        .width = 640,
        .height = 480,
        .seconds = 0.5,
        .device = "cpu" } },
    { "pics/none.jpg", { .width = 100, .height = 50, .device = "cpu" } },
    { "pics/b\377d\tname.tar.png", { .count = 2, .items = beyond, .width = 64, .height = 32 } },
};

static sl_ctx *ctx;

static void need(sl_status st)
{
    if (st == SL_OK)
        return;
    fprintf(stderr, "%s\n", sl_ctx_message(ctx));
    exit(1);
}

static void write_file(const char *path, sl_detect_format format, size_t first, size_t count)
{
    sl_detect_file *file = NULL;
    need(sl_detect_file_new(ctx, path, format, labels, SL_ARRAY_LEN(labels), false, &file));
    for (size_t i = first; i < first + count; i++)
        need(sl_detect_file_add(file, pictures[i].path, &pictures[i].found));
    need(sl_detect_file_finish(file));
    sl_detect_file_free(file);
}

int main(int argc, char **argv)
{
    sl_image *image = NULL;
    if (argc != 2 || chdir(argv[1]) != 0 || mkdir("pics", 0777) != 0 || mkdir("out", 0777) != 0)
        return 2;
    if (sl_ctx_new(&(sl_ctx_options) { .threads = 1 }, &ctx) != SL_OK)
        return 2;
    need(sl_image_new(ctx, 640, 480, 3, 8, &image));
    need(sl_image_save(ctx, image, "pics/plain.png", NULL));
    sl_image_free(image);
    write_file("out/one.json", SL_DETECT_JSON, 0, 1);
    write_file("out/none.json", SL_DETECT_JSON, 1, 1);
    write_file("out/labelme.json", SL_DETECT_LABELME, 0, 1);
    write_file("pics/none-labelme.json", SL_DETECT_LABELME, 1, 1);
    write_file("out/odd-labelme.json", SL_DETECT_LABELME, 2, 1);
    for (size_t count = 0; count <= 3; count += 3) {
        static const char *const names[][5] = {
            { "out/no.jsonl", "out/no.coco.json", "out/no.yolo", "out/no.xml", "out/no.csv" },
            { "out/all.jsonl", "out/all.coco.json", "out/all.yolo", "out/all.xml", "out/all.csv" },
        };
        static const sl_detect_format formats[] = { SL_DETECT_JSONL, SL_DETECT_COCO, SL_DETECT_YOLO,
                                                    SL_DETECT_CVAT, SL_DETECT_CSV };
        for (size_t k = 0; k < 5; k++)
            write_file(names[count / 3][k], formats[k], 0, count);
    }
    sl_ctx_free(ctx);
    return 0;
}
