// SPDX-License-Identifier: MIT
// tests/pipeline/classify.c: pictures through a small SOFT-Norm of random weights: what comes out
// is what network and classes say, with every kind of head, with galleries and without.
#include "cpu/cpu.h"
#include "scene.h"
#include "soft_model.h"

#define CLASSES 7

static sl_model *open_model(sl_soft_head head, unsigned seed)
{
    test_soft spec = { .head = head, .classes = CLASSES, .seed = seed };
    char name[32];
    sl_model *model;
    snprintf(name, sizeof(name), "soft-%d-%u.safetensors", (int)head, seed);
    ck_ok(test_soft_open(ctx, in_dir(name), &spec, &model));
    return model;
}

static sl_classify *open_classify(const sl_model *model, const sl_gallery *gallery)
{
    sl_classify *classify;
    ck_ok(sl_classify_new(ctx, model, gallery, NULL, &classify));
    return classify;
}

static sl_image *photo(uint32_t seed)
{
    return scene(100 + seed, 80, 3, 8, SCENE_MIXED, seed);
}

static double norm(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    return sqrt(sum);
}

START_TEST(answers_are_ranked)
{
    sl_model *model = open_model((sl_soft_head)_i, 3);
    sl_classify *classify = open_classify(model, NULL);
    sl_image *image = photo(1);
    sl_classification *all, *best;
    ck_assert(sl_classify_takes_gallery(classify) == (_i != SL_SOFT_HEAD_LINEAR));
    ck_ok(sl_classify_run(classify, image, 100, &all));
    ck_assert_uint_eq(all->count, CLASSES);
    double sum = 0;
    for (size_t i = 0; i < all->count; i++) {
        const sl_match *m = &all->matches[i];
        ck_assert(strncmp(m->label, "thing ", 6) == 0 && !m->is_enrolled);
        ck_assert(i == 0 || m->probability <= all->matches[i - 1].probability);
        if (_i != SL_SOFT_HEAD_LINEAR)
            ck_assert(fabsf(cosf(m->angle_degrees * 0.0174532925f) - m->cosine) < 1e-5f);
        sum += (double)m->probability;
    }
    ck_assert_msg(fabs(sum - 1) < 1e-5, "%g", sum);
    ck_assert_uint_eq(all->dimension,
                      _i == SL_SOFT_HEAD_LINEAR ? TEST_SOFT_CHANNELS : TEST_SOFT_EMBEDDING);
    ck_assert(fabs(norm(all->embedding, all->dimension) - 1) < 1e-6);
    ck_assert(!all->is_unknown && all->seconds > 0 && strncmp(all->device, "cpu", 3) == 0);
    ck_ok(sl_classify_run(classify, image, 2, &best));
    ck_assert_uint_eq(best->count, 2);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_str_eq(best->matches[i].label, all->matches[i].label);
        ck_assert(fabsf(best->matches[i].probability - all->matches[i].probability) < 1e-6f);
    }
    sl_classification_free(best);
    sl_classification_free(all);
    sl_image_free(image);
    sl_classify_free(classify);
    sl_model_free(model);
}
END_TEST

// What the network says when it is given the crop, or its mirror image, normalised in plain words.
static void expect(const sl_model *model, const sl_image *image, bool mirrored, const char *output,
                   float *want)
{
    const sl_soft_config *config = &model->soft;
    sl_soft_options options = { .height = TEST_SOFT_CROP, .width = TEST_SOFT_CROP };
    static uint8_t rgb[TEST_SOFT_CROP * TEST_SOFT_CROP * 3];
    static float pixels[TEST_SOFT_CROP * TEST_SOFT_CROP * 3];
    sl_graph *graph;
    sl_cpu_weights *weights;
    sl_plan *plan;
    ck_ok(sl_image_centre(ctx, image, TEST_SOFT_RESIZE, TEST_SOFT_CROP, rgb));
    for (size_t i = 0; i < SL_ARRAY_LEN(pixels); i++) {
        size_t y = i / (TEST_SOFT_CROP * 3), x = i / 3 % TEST_SOFT_CROP;
        size_t from = (y * TEST_SOFT_CROP + (mirrored ? TEST_SOFT_CROP - 1 - x : x)) * 3 + i % 3;
        pixels[i] = ((float)rgb[from] / 255.0f - config->mean[i % 3]) / config->std[i % 3];
    }
    ck_ok(sl_graph_new(ctx, &graph));
    ck_ok(sl_soft_build(graph, model, &options));
    ck_ok(sl_cpu_weights_new(ctx, &weights));
    ck_ok(sl_cpu_compile(ctx, graph, SL_F32, weights, &plan));
    ck_ok(sl_plan_write(plan, sl_graph_find_output(graph, "image"), pixels));
    ck_ok(sl_plan_run(plan));
    ck_ok(sl_plan_read(plan, sl_graph_find_output(graph, output), want));
    sl_plan_free(plan);
    sl_cpu_weights_free(weights);
    sl_graph_free(graph);
}

START_TEST(the_network_sees_the_normalised_crop)
{
    sl_model *model = open_model(SL_SOFT_HEAD_HYPERSPHERICAL, 4);
    sl_classify *classify = open_classify(model, NULL);
    for (uint32_t seed = 0; seed < 3; seed++) { // one plan for all of them
        sl_image *image =
            scene(90 + 40 * seed, 130, seed + 1, seed == 1 ? 16 : 8, SCENE_MIXED, seed);
        sl_classification *found;
        float want[TEST_SOFT_EMBEDDING];
        expect(model, image, false, "embedding", want);
        ck_ok(sl_classify_run(classify, image, 1, &found));
        for (size_t i = 0; i < TEST_SOFT_EMBEDDING; i++)
            ck_assert_msg(fabsf(found->embedding[i] - want[i]) < 1e-6f, "%zu: %g, not %g", i,
                          (double)found->embedding[i], (double)want[i]);
        sl_classification_free(found);
        sl_image_free(image);
    }
    sl_classify_free(classify);
    sl_model_free(model);
}
END_TEST

static void make_unit(float *x, size_t n)
{
    double length = norm(x, n);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(x[i] / length);
}

static sl_model *open_mirrored(sl_soft_head head)
{
    test_soft spec = { .head = head, .classes = CLASSES, .seed = 14, .mirror = true };
    sl_model *model;
    ck_ok(test_soft_open(ctx, in_dir("mirror.safetensors"), &spec, &model));
    return model;
}

// The mean of two embeddings, each of unit length before, and again of unit length. _i: the head.
START_TEST(the_mirror_image_is_seen_too)
{
    float want[2][TEST_SOFT_CHANNELS] = { 0 };
    sl_model *model = open_mirrored((sl_soft_head)_i);
    sl_classify *classify = open_classify(model, NULL);
    sl_image *image = photo(9);
    sl_classification *found;
    ck_ok(sl_classify_run(classify, image, 1, &found));
    for (int side = 0; side < 2; side++) {
        expect(model, image, side, "embedding", want[side]);
        make_unit(want[side], found->dimension);
    }
    float apart = 0;
    for (size_t i = 0; i < found->dimension; i++) {
        apart = fmaxf(apart, fabsf(want[0][i] - want[1][i]));
        want[0][i] += want[1][i];
    }
    ck_assert_float_gt(apart, 1e-3f);
    make_unit(want[0], found->dimension);
    for (size_t i = 0; i < found->dimension; i++)
        ck_assert_float_eq_tol(found->embedding[i], want[0][i], 1e-6f);
    sl_classification_free(found);
    sl_image_free(image);
    sl_classify_free(classify);
    sl_model_free(model);
}
END_TEST

// Where there is no gallery, a linear head goes by the mean of both logits.
START_TEST(the_mirror_image_counts_in_logits)
{
    float logits[2][CLASSES];
    sl_model *model = open_mirrored(SL_SOFT_HEAD_LINEAR);
    sl_classify *classify = open_classify(model, NULL);
    sl_image *image = photo(9);
    sl_classification *found;
    ck_ok(sl_classify_run(classify, image, CLASSES, &found));
    double sum = 0;
    for (int side = 0; side < 2; side++)
        expect(model, image, side, "logits", logits[side]);
    for (size_t k = 0; k < CLASSES; k++)
        sum += exp(((double)logits[0][k] + (double)logits[1][k]) / 2);
    for (size_t i = 0; i < found->count; i++) {
        unsigned k;
        ck_assert_int_eq(sscanf(found->matches[i].label, "thing %u", &k), 1);
        double mean = ((double)logits[0][k] + (double)logits[1][k]) / 2;
        ck_assert_double_eq_tol((double)found->matches[i].probability, exp(mean) / sum, 1e-5);
    }
    sl_classification_free(found);
    sl_image_free(image);
    sl_classify_free(classify);
    sl_model_free(model);
}
END_TEST

// A picture and its mirror image are the same to such a model.
START_TEST(either_side_is_the_same)
{
    sl_model *model = open_mirrored(SL_SOFT_HEAD_HYPERSPHERICAL);
    sl_classify *classify = open_classify(model, NULL);
    // Of sides that are not resized, so that the crop of the mirror image is the mirrored crop.
    sl_image *left = scene(TEST_SOFT_RESIZE, TEST_SOFT_RESIZE, 3, 8, SCENE_MIXED, 11);
    sl_image *right = turned(left, true, false);
    sl_classification *found[2];
    ck_ok(sl_classify_run(classify, left, 3, &found[0]));
    ck_ok(sl_classify_run(classify, right, 3, &found[1]));
    for (size_t i = 0; i < found[0]->dimension; i++)
        ck_assert_float_eq_tol(found[0]->embedding[i], found[1]->embedding[i], 1e-6f);
    for (size_t i = 0; i < 3; i++)
        ck_assert_str_eq(found[0]->matches[i].label, found[1]->matches[i].label);
    for (int i = 0; i < 2; i++)
        sl_classification_free(found[i]);
    sl_image_free(left);
    sl_image_free(right);
    sl_classify_free(classify);
    sl_model_free(model);
}
END_TEST

// _i: whether the statistics call everything unknown.
START_TEST(unknown_is_said)
{
    test_soft spec = { .head = SL_SOFT_HEAD_HYPERSPHERICAL,
                       .classes = CLASSES,
                       .has_reject = true,
                       .all_unknown = _i };
    sl_model *model;
    sl_image *image = photo(2);
    ck_ok(test_soft_open(ctx, in_dir("soft.safetensors"), &spec, &model));
    for (int never = 0; never < 2; never++) {
        sl_classify_options options = { .unknown_rate = never ? -1.0f : 0.1f };
        sl_classify *classify;
        sl_classification *found;
        ck_ok(sl_classify_new(ctx, model, NULL, &options, &classify));
        ck_ok(sl_classify_run(classify, image, 3, &found));
        ck_assert(found->is_unknown == (_i && !never));
        ck_assert(isfinite(found->confidence));
        ck_assert_uint_eq(found->count, 3);
        // So are the objects that it names for a detector.
        sl_detection object = { .x1 = 10, .y1 = 10, .x2 = 60, .y2 = 50, .label = "newt" };
        sl_detections one = { .count = 1, .items = &object };
        one.width = sl_image_width(image);
        one.height = sl_image_height(image);
        ck_ok(sl_detections_refine(classify, image, &one));
        ck_assert_int_eq(strcmp(object.label, "unknown") == 0, _i && !never);
        sl_classification_free(found);
        sl_classify_free(classify);
    }
    sl_image_free(image);
    sl_model_free(model);
}
END_TEST

// The gallery's classes alone: no trained one is ranked, cosines say how sure it is, and the
// enrolled pictures themselves where "unknown" begins.
START_TEST(a_gallery_may_stand_alone)
{
    test_soft spec = { .head = SL_SOFT_HEAD_HYPERSPHERICAL,
                       .classes = CLASSES,
                       .has_reject = true,
                       .all_unknown = true };
    sl_model *model;
    sl_gallery *gallery;
    sl_classify *classify;
    sl_classification *found;
    ck_ok(test_soft_open(ctx, in_dir("soft.safetensors"), &spec, &model));
    sl_classify *teacher = open_classify(model, NULL);
    ck_ok(sl_gallery_new(ctx, model, &gallery));
    for (uint32_t seed = 0; seed < 6; seed++) {
        sl_image *image = photo(seed);
        ck_ok(sl_classify_enroll(teacher, gallery, seed % 2 ? "odd" : "even", image));
        sl_image_free(image);
    }
    sl_classify_options options = { .gallery_only = true };
    ck_fails(sl_classify_new(ctx, model, NULL, &options, &classify), SL_ERR_ARGUMENT, "no gallery");
    ck_ok(sl_classify_new(ctx, model, gallery, &options, &classify));
    sl_image *image = photo(2);
    ck_ok(sl_classify_run(classify, image, 9, &found));
    ck_assert_uint_eq(found->count, 2);
    ck_assert_float_eq(found->matches[0].probability + found->matches[1].probability, 1);
    ck_assert(found->matches[0].is_enrolled && found->matches[1].is_enrolled);
    ck_assert_float_eq(found->confidence, found->matches[0].cosine);
    ck_assert(isfinite(found->threshold) && fabsf(found->threshold) <= 1);
    ck_assert(found->is_unknown == (found->confidence < found->threshold));
    sl_classification_free(found);
    sl_image_free(image);
    sl_classify_free(classify);
    sl_classify_free(teacher);
    sl_gallery_free(gallery);
    sl_model_free(model);
}
END_TEST

START_TEST(enrolled_pictures_are_found_again)
{
    sl_model *model = open_model(_i ? SL_SOFT_HEAD_EBV : SL_SOFT_HEAD_NONE, 5);
    sl_classify *teacher = open_classify(model, NULL), *classify;
    sl_image *images[2] = { photo(3), photo(30) };
    static const char *const labels[] = { "raccoon", "our cat" };
    sl_gallery *gallery; // never a file
    ck_ok(sl_gallery_new(ctx, model, &gallery));
    for (size_t n = 1; n <= 2; n++) {
        ck_ok(sl_classify_enroll(teacher, gallery, labels[n - 1], images[n - 1]));
        classify = open_classify(model, gallery);
        for (size_t i = 0; i < n; i++) {
            sl_classification *found;
            ck_ok(sl_classify_run(classify, images[i], 100, &found));
            ck_assert_uint_eq(found->count, (_i ? CLASSES : 0) + n);
            ck_assert_str_eq(found->matches[0].label, labels[i]);
            ck_assert(found->matches[0].is_enrolled && found->matches[0].cosine > 0.9999f);
            sl_classification_free(found);
        }
        sl_classify_free(classify);
    }
    for (int i = 0; i < 2; i++)
        sl_image_free(images[i]);
    sl_classify_free(teacher);
    sl_gallery_free(gallery);
    sl_model_free(model);
}
END_TEST

// A classifier's own gallery lies in memory as it was: what grew would be called by other labels.
START_TEST(the_gallery_that_is_ranked_by_does_not_grow)
{
    sl_model *model = open_model(SL_SOFT_HEAD_EBV, 5);
    sl_classify *teacher = open_classify(model, NULL);
    sl_image *image = photo(3);
    sl_gallery *gallery, *other;
    ck_ok(sl_gallery_new(ctx, model, &gallery));
    ck_ok(sl_gallery_new(ctx, model, &other));
    ck_ok(sl_classify_enroll(teacher, gallery, "a", image));
    sl_classify *classify = open_classify(model, gallery);
    ck_fails(sl_classify_enroll(classify, gallery, "b", image), SL_ERR_ARGUMENT,
             "this classifier ranks by");
    ck_assert_uint_eq(sl_gallery_count(gallery), 1);
    ck_ok(sl_classify_enroll(classify, other, "b", image));
    sl_classify_free(classify);
    sl_classify_free(teacher);
    sl_gallery_free(other);
    sl_gallery_free(gallery);
    sl_image_free(image);
    sl_model_free(model);
}
END_TEST

// The same weights with one view and with two are two models to a gallery.
START_TEST(a_gallery_belongs_to_the_views)
{
    test_soft spec = { .head = SL_SOFT_HEAD_EBV, .classes = CLASSES, .seed = 15 };
    sl_model *one, *both;
    sl_gallery *gallery;
    sl_classify *classify;
    sl_image *image = photo(5);
    ck_ok(test_soft_open(ctx, in_dir("one.safetensors"), &spec, &one));
    spec.mirror = true;
    ck_ok(test_soft_open(ctx, in_dir("both.safetensors"), &spec, &both));
    ck_ok(sl_gallery_new(ctx, one, &gallery));
    classify = open_classify(one, NULL);
    ck_ok(sl_classify_enroll(classify, gallery, "a", image));
    sl_classify_free(classify);
    ck_fails(sl_classify_new(ctx, both, gallery, NULL, &classify), SL_ERR_ARGUMENT,
             "one.safetensors");
    sl_gallery_free(gallery);
    sl_image_free(image);
    sl_model_free(both);
    sl_model_free(one);
}
END_TEST

// Writes a gallery's file as it was before it said by which config the model saw.
static void forget_sight(const char *path)
{
    sl_tensor_set *set;
    sl_tensor tensors[8];
    sl_meta meta[8];
    size_t metas = 0;
    ck_ok(sl_tensor_set_open(ctx, path, &set));
    for (size_t i = 0; i < sl_tensor_set_count(set); i++)
        tensors[i] = *sl_tensor_set_at(set, i);
    for (size_t i = 0; i < sl_tensor_set_meta_count(set); i++) {
        sl_tensor_set_meta_at(set, i, &meta[metas].key, &meta[metas].value);
        metas += strcmp(meta[metas].key, "sight") != 0;
    }
    ck_ok(sl_safetensors_write(ctx, path, true, tensors, sl_tensor_set_count(set), meta, metas));
    sl_tensor_set_free(set);
}

// Nor are the same weights one model where the configs differ.
START_TEST(a_gallery_belongs_to_the_config)
{
    test_soft spec = { .head = SL_SOFT_HEAD_EBV, .classes = CLASSES, .seed = 16 };
    sl_model *norm, *other;
    sl_gallery *gallery, *theirs;
    sl_classify *classify;
    sl_image *image = photo(5);
    ck_ok(test_soft_open(ctx, in_dir("norm.safetensors"), &spec, &norm));
    spec.is_soft = true;
    ck_ok(test_soft_open(ctx, in_dir("other.safetensors"), &spec, &other));
    ck_ok(sl_gallery_new(ctx, norm, &gallery));
    classify = open_classify(norm, NULL);
    ck_ok(sl_classify_enroll(classify, gallery, "a", image));
    sl_classify_free(classify);
    ck_fails(sl_classify_new(ctx, other, gallery, NULL, &classify), SL_ERR_ARGUMENT, "\"config\"");
    ck_ok(sl_gallery_new(ctx, other, &theirs));
    ck_fails(sl_gallery_merge(ctx, theirs, gallery), SL_ERR_ARGUMENT, "\"config\"");
    sl_gallery_free(theirs);
    ck_ok(sl_gallery_save(ctx, gallery, in_dir("a.gallery")));
    ck_fails(sl_gallery_open(ctx, in_dir("a.gallery"), other, &theirs), SL_ERR_ARGUMENT,
             "made with the model norm.safetensors; other.safetensors has its weights");
    ck_ok(sl_gallery_open(ctx, in_dir("a.gallery"), norm, &theirs));
    sl_gallery_free(theirs);
    forget_sight(in_dir("a.gallery"));
    ck_ok(sl_gallery_open(ctx, in_dir("a.gallery"), other, &theirs));
    ck_ok(sl_gallery_merge(ctx, theirs, gallery));
    sl_gallery_free(theirs);
    sl_gallery_free(gallery);
    sl_image_free(image);
    sl_model_free(other);
    sl_model_free(norm);
}
END_TEST

START_TEST(what_does_not_fit_is_refused)
{
    sl_model *model = open_model(SL_SOFT_HEAD_HYPERSPHERICAL, 6);
    sl_model *other = open_model(SL_SOFT_HEAD_HYPERSPHERICAL, 7);
    sl_model *backbone = open_model(SL_SOFT_HEAD_NONE, 8);
    sl_model *lmd = model_of(1, 1, 1, TEST_KEEPS_BRIGHT, 9);
    sl_image *image = photo(4);
    sl_gallery *gallery;
    sl_classify *classify;
    sl_classification *found;
    ck_fails(sl_classify_new(ctx, lmd, NULL, NULL, &classify), SL_ERR_UNSUPPORTED,
             "architecture lmd-vit cannot classify");
    ck_assert_ptr_null(classify);
    ck_ok(sl_gallery_new(ctx, other, &gallery));
    ck_fails(sl_classify_new(ctx, model, gallery, NULL, &classify), SL_ERR_ARGUMENT,
             "soft-3-7.safetensors");
    ck_assert_ptr_null(classify);
    classify = open_classify(model, NULL);
    ck_fails(sl_classify_enroll(classify, gallery, "a", image), SL_ERR_ARGUMENT,
             "soft-3-7.safetensors");
    sl_classify_free(classify);
    classify = open_classify(backbone, NULL);
    ck_fails(sl_classify_run(classify, image, 1, &found), SL_ERR_ARGUMENT, "give a gallery");
    ck_assert_ptr_null(found);
    sl_classify_free(classify);
    sl_classify_options deep = { .device = "cpu", .precision = SL_PRECISION_F16 };
    ck_fails(sl_classify_new(ctx, model, NULL, &deep, &classify), SL_ERR_ARGUMENT, "f16");
    sl_gallery_free(gallery);
    sl_image_free(image);
    sl_model_free(lmd);
    sl_model_free(backbone);
    sl_model_free(other);
    sl_model_free(model);
}
END_TEST

START_TEST(embeddings_are_saved)
{
    static const float rows[2][3] = { { 1, 2, 3 }, { 4, 5, 6 } };
    sl_blob storage;
    sl_tensor t;
    const char *path = in_dir("e.npy");
    ck_ok(sl_embeddings_save(ctx, path, false, rows[0], 2, 3));
    ck_ok(sl_npy_read(ctx, path, &storage, &t));
    ck_assert(t.dtype == SL_F32 && t.shape.rank == 2 && t.shape.dim[0] == 2 && t.shape.dim[1] == 3);
    ck_assert_mem_eq(t.data, rows, sizeof(rows));
    sl_blob_free(&storage);
    ck_fails(sl_embeddings_save(ctx, path, false, rows[0], 2, 3), SL_ERR_EXISTS, "e.npy");
    ck_ok(sl_embeddings_save(ctx, path, true, rows[0], 1, 3));
    ck_fails(sl_embeddings_save(ctx, path, true, rows[0], SIZE_MAX / 2, 3), SL_ERR_LIMIT, "e.npy");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("classify");
    tcase_add_loop_test(tests, answers_are_ranked, SL_SOFT_HEAD_LINEAR,
                        SL_SOFT_HEAD_HYPERSPHERICAL + 1);
    tcase_add_test(tests, the_network_sees_the_normalised_crop);
    tcase_add_loop_test(tests, the_mirror_image_is_seen_too, SL_SOFT_HEAD_LINEAR,
                        SL_SOFT_HEAD_HYPERSPHERICAL + 1);
    tcase_add_test(tests, the_mirror_image_counts_in_logits);
    tcase_add_test(tests, either_side_is_the_same);
    tcase_add_loop_test(tests, unknown_is_said, 0, 2);
    tcase_add_test(tests, a_gallery_may_stand_alone);
    tcase_add_loop_test(tests, enrolled_pictures_are_found_again, 0, 2);
    tcase_add_test(tests, the_gallery_that_is_ranked_by_does_not_grow);
    tcase_add_test(tests, a_gallery_belongs_to_the_views);
    tcase_add_test(tests, a_gallery_belongs_to_the_config);
    tcase_add_test(tests, what_does_not_fit_is_refused);
    tcase_add_test(tests, embeddings_are_saved);
    return run_case("pipeline/classify", tests);
}
