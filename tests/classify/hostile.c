// SPDX-License-Identifier: MIT
// tests/classify/hostile.c: gallery files that are cut, edited, or made to mislead.
#include "classify/gallery.h"

#include "made.h"

#define D 4
#define C3 2
#define C4 3

// A gallery of two classes, of two pictures and one, whose parts a test may spoil.
typedef struct parts {
    float prototypes[2 * D], embedding[3 * D], pool3[3 * C3], pool4[3 * C4];
    sl_tensor tensors[5];
    sl_meta meta[5];
    size_t tensor_count, meta_count;
} parts;

static const char hash[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

static void make_parts(parts *p)
{
    *p = (parts) { .tensor_count = 4, .meta_count = 5 };
    for (size_t i = 0; i < 3; i++)
        p->embedding[i * D + i] = 1;
    p->prototypes[0] = p->prototypes[1] = (float)sqrt(0.5);
    p->prototypes[D + 2] = 1;
    for (size_t i = 0; i < 3 * C3; i++)
        p->pool3[i] = (float)i;
    for (size_t i = 0; i < 3 * C4; i++)
        p->pool4[i] = (float)i;
    p->tensors[0] = MADE_TENSOR("prototypes", p->prototypes, 2, { 2, D });
    p->tensors[1] = MADE_TENSOR("samples.embedding", p->embedding, 2, { 3, D });
    p->tensors[2] = MADE_TENSOR("samples.pool3", p->pool3, 2, { 3, C3 });
    p->tensors[3] = MADE_TENSOR("samples.pool4", p->pool4, 2, { 3, C4 });
    p->meta[0] = (sl_meta) { "format", "softlens-gallery" };
    p->meta[1] = (sl_meta) { "version", "1" };
    p->meta[2] = (sl_meta) { "backbone", hash };
    p->meta[3] = (sl_meta) { "model", "m.safetensors" };
    p->meta[4] =
        (sl_meta) { "classes",
                    "[{\"label\": \"a\", \"count\": 2}, {\"label\": \"b\", \"count\": 1}]" };
}

static sl_status open_parts(const parts *p, sl_gallery **out)
{
    ck_ok(sl_safetensors_write(ctx, in_dir("x.gallery"), true, p->tensors, p->tensor_count, p->meta,
                               p->meta_count));
    return sl_gallery_open(ctx, in_dir("x.gallery"), NULL, out);
}

static void refused(const parts *p, sl_status status, const char *what)
{
    sl_gallery *g = (sl_gallery *)p;
    ck_fails(open_parts(p, &g), status, what);
    ck_assert_ptr_nonnull(strstr(sl_ctx_message(ctx), "x.gallery"));
    ck_assert_ptr_null(g);
}

START_TEST(a_good_one)
{
    parts p;
    sl_gallery *g = NULL;
    make_parts(&p);
    ck_ok(open_parts(&p, &g));
    ck_assert_uint_eq(sl_gallery_count(g), 2);
    ck_ok(sl_gallery_check(ctx, g));
    sl_gallery_free(g);
    p.prototypes[0] = 1; // of norm 1, and wrong
    p.prototypes[1] = 0;
    ck_ok(open_parts(&p, &g));
    ck_fails(sl_gallery_check(ctx, g), SL_ERR_FORMAT, "prototype of \"a\"");
    sl_gallery_free(g);
}
END_TEST

START_TEST(numbers)
{
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    parts p;
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        make_parts(&p);
        p.prototypes[5] = bad[i];
        refused(&p, SL_ERR_FORMAT, "row 1 of tensor prototypes");
        make_parts(&p);
        p.embedding[2 * D] = bad[i];
        refused(&p, SL_ERR_FORMAT, "row 2 of tensor samples.embedding");
        make_parts(&p);
        p.pool3[0] = bad[i];
        refused(&p, SL_ERR_FORMAT, "row 0 of tensor samples.pool3");
        make_parts(&p);
        p.pool4[8] = bad[i];
        refused(&p, SL_ERR_FORMAT, "row 2 of tensor samples.pool4");
    }
    make_parts(&p);
    p.prototypes[0] *= 1.01f;
    refused(&p, SL_ERR_FORMAT, "norm 1");
    make_parts(&p);
    memset(p.embedding, 0, D * sizeof(float));
    refused(&p, SL_ERR_FORMAT, "row 0 of tensor samples.embedding");
}
END_TEST

START_TEST(shapes)
{
    parts p;
    for (size_t t = 0; t < 4; t++) {
        make_parts(&p);
        p.tensors[t] = p.tensors[3];
        p.tensor_count = 3;
        refused(&p, SL_ERR_FORMAT, t == 3 ? "samples.pool4" : "no tensor");
        make_parts(&p);
        p.tensors[t].shape.dim[0]--;
        p.tensors[t].bytes -= p.tensors[t].shape.dim[1] * sizeof(float);
        refused(&p, SL_ERR_FORMAT, "");
        make_parts(&p);
        p.tensors[t].shape = (sl_shape) { 1, { p.tensors[t].bytes / 4 } };
        refused(&p, SL_ERR_FORMAT, "no tensor");
        make_parts(&p);
        p.tensors[t].dtype = SL_I32;
        refused(&p, SL_ERR_FORMAT, "no tensor");
    }
    make_parts(&p);
    p.tensors[p.tensor_count++] = MADE_TENSOR("stowaway", p.pool3, 2, { 3, C3 });
    refused(&p, SL_ERR_FORMAT, "not a gallery's");
    make_parts(&p); // more prototypes than pictures
    p.tensors[0] = MADE_TENSOR("prototypes", p.embedding, 2, { 3, D });
    p.tensors[1].shape.dim[0] = p.tensors[2].shape.dim[0] = p.tensors[3].shape.dim[0] = 2;
    p.tensors[1].bytes = 2 * D * 4;
    p.tensors[2].bytes = 2 * C3 * 4;
    p.tensors[3].bytes = 2 * C4 * 4;
    refused(&p, SL_ERR_FORMAT, "contradict");
    make_parts(&p); // nothing at all, and a width beyond memory
    for (size_t t = 0; t < 4; t++) {
        p.tensors[t].shape = (sl_shape) { 2, { 0, INT64_MAX } };
        p.tensors[t].bytes = 0;
    }
    p.meta[4].value = "[]";
    refused(&p, SL_ERR_FORMAT, "wider than memory");
}
END_TEST

START_TEST(metadata)
{
    static const char *const bad[][2] = {
        { "[]", "does not fit" },
        { "{}", "does not fit" },
        { "[", "does not fit" },
        { "", "does not fit" },
        { "[{\"label\": \"a\", \"count\": 3}]", "does not fit" },
        { "[{\"label\": \"a\", \"count\": 2}, {\"label\": \"a\", \"count\": 1}]", "one label" },
        { "[{\"label\": \"a\", \"count\": 3}, {\"label\": \"b\", \"count\": 0}]", "counts other" },
        { "[{\"label\": \"a\", \"count\": 4}, {\"label\": \"b\", \"count\": -1}]", "counts other" },
        { "[{\"label\": \"a\", \"count\": 1}, {\"label\": \"b\", \"count\": 1}]", "no class" },
        { "[{\"label\": \"a\", \"count\": 2}, {\"label\": \"b\", \"count\": 1.0}]", "entry" },
        { "[{\"label\": \"a\", \"count\": 2}, {\"label\": \"\", \"count\": 1}]", "entry" },
        { "[{\"label\": \"a\", \"count\": 2}, {\"label\": \"b \", \"count\": 1}]", "entry" },
        { "[{\"label\": \"a\", \"count\": 2}, {\"label\": \"\\u001b[2J\", \"count\": 1}]",
          "entry" },
        { "[{\"label\": \"a\", \"count\": 2}, {\"label\": 7, \"count\": 1}]", "entry" },
        { "[{\"label\": \"a\", \"count\": 2}, 7]", "entry" },
        { "[[[[[[[[[[[[[[[[[[[[", "longer" },
        { "[{\"label\": \"a\", \"count\": 9223372036854775807}, {\"label\": \"b\", \"count\": 1}]",
          "counts other" },
    };
    parts p;
    for (size_t i = 0; i < SL_ARRAY_LEN(bad); i++) {
        make_parts(&p);
        p.meta[4].value = bad[i][0];
        refused(&p, SL_ERR_FORMAT, bad[i][1]);
    }
    make_parts(&p);
    p.meta_count = 4;
    refused(&p, SL_ERR_FORMAT, "no list of classes");
    make_parts(&p);
    p.meta[0].value = "something else";
    refused(&p, SL_ERR_FORMAT, "not a gallery");
    make_parts(&p);
    p.meta[1].value = "2";
    refused(&p, SL_ERR_UNSUPPORTED, "version \"2\"");
    make_parts(&p);
    p.meta[2].value = "0123";
    refused(&p, SL_ERR_FORMAT, "which model");
}
END_TEST

START_TEST(unaligned)
{
    parts p;
    sl_gallery *g = NULL;
    sl_blob file;
    make_parts(&p);
    ck_ok(open_parts(&p, &g));
    sl_gallery_free(g);
    ck_ok(sl_file_read(ctx, in_dir("x.gallery"), 1 << 20, &file));
    uint64_t length;
    memcpy(&length, file.data, 8);
    uint8_t *moved = sl_alloc(ctx, file.size + 1, 1); // a header of one space more
    ck_assert_ptr_nonnull(moved);
    memcpy(moved + 8, file.data + 8, length);
    moved[8 + length] = ' ';
    memcpy(moved + 9 + length, file.data + 8 + length, file.size - 8 - length);
    length++;
    memcpy(moved, &length, 8);
    ck_ok(sl_gallery_parse(ctx, moved, file.size + 1, "moved", &g));
    ck_ok(sl_gallery_check(ctx, g));
    sl_gallery_free(g);
    free(moved);
    sl_blob_free(&file);
}
END_TEST

// Cut at every 4 KiB, and at every byte near the ends; with single bytes changed.
START_TEST(truncated_and_flipped)
{
    made_model model;
    sl_gallery *g = NULL;
    sl_blob file;
    made_defaults(&model);
    sl_tensor_set *set = made_open(&model, in_dir("model.safetensors"));
    ck_ok(sl_gallery_new_for(ctx, set, &g));
    for (uint64_t k = 0; k < 200; k++) {
        char label[16];
        made_picture p;
        uint64_t seed = k;
        made_draw(10 + k % 7, &seed, &p);
        snprintf(label, sizeof(label), "c%d", (int)(k % 7));
        ck_ok(sl_gallery_add(ctx, g, label, &p.f));
    }
    ck_ok(sl_gallery_save(ctx, g, in_dir("a.gallery")));
    sl_gallery_free(g);
    sl_tensor_set_free(set);
    ck_ok(sl_file_read(ctx, in_dir("a.gallery"), 1 << 24, &file));
    ck_assert_uint_gt(file.size, 16384);
    for (size_t at = 0; at < file.size;
         at += at < 1200 || file.size - at < 64 ? 1 : 4096 - at % 4096) {
        g = (sl_gallery *)&file;
        ck_assert_int_ne(sl_gallery_parse(ctx, file.data, at, "cut", &g), SL_OK);
        ck_assert_ptr_null(g);
    }
    for (size_t at = 0; at < 1200; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            file.data[at] = (uint8_t)(file.data[at] ^ 1u << bit);
            sl_status st = sl_gallery_parse(ctx, file.data, file.size, "flipped", &g);
            ck_assert((st == SL_OK) == (g != NULL));
            sl_gallery_free(g);
            file.data[at] = (uint8_t)(file.data[at] ^ 1u << bit);
        }
    sl_blob_free(&file);
}
END_TEST

START_TEST(files_that_are_none)
{
    sl_gallery *g = NULL;
    made_model model;
    made_defaults(&model);
    ck_ok(made_write(&model, in_dir("model.safetensors")));
    ck_fails(sl_gallery_open(ctx, in_dir("model.safetensors"), NULL, &g), SL_ERR_FORMAT,
             "not a gallery");
    ck_fails(sl_gallery_open(ctx, in_dir("nowhere"), NULL, &g), SL_ERR_IO, "nowhere");
    ck_fails(sl_gallery_open(ctx, dir, NULL, &g), SL_ERR_IO, "directory");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("hostile");
    tcase_add_test(tests, a_good_one);
    tcase_add_test(tests, numbers);
    tcase_add_test(tests, shapes);
    tcase_add_test(tests, metadata);
    tcase_add_test(tests, unaligned);
    tcase_add_test(tests, truncated_and_flipped);
    tcase_add_test(tests, files_that_are_none);
    return run_case("classify-hostile", tests);
}
