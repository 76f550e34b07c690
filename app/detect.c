// SPDX-License-Identifier: MIT
// app/detect.c: softlens detect: what is in photographs and where, drawn over them and as data.
#include "detect.h"
#include "jobs.h"

#include <stdlib.h>
#include <string.h>

static const app_option rows[] = {
    { .name = "output",
      .letter = 'o',
      .kind = APP_FILE,
      .at = APP_AT(output),
      .value = "FILE|DIR",
      .help = "Write the picture to FILE and the data beside it, or all into DIR when it is a "
              "folder or ends in / (default: NAME.detected.EXT and NAME.json beside the picture); "
              "with --no-overlay FILE is the data; with --json - writes no files" },
    { .name = "format",
      .kind = APP_NAME,
      .at = APP_AT(format),
      .value = "LIST",
      .help = "Data to write: json, jsonl, coco, yolo, labelme, cvat, csv, or several with commas "
              "between (default: json)" },
    { .name = "overlay-style",
      .kind = APP_CHOICE,
      .at = APP_AT(overlay_style),
      .value = "STYLE",
      .choices = "boxes|labels|blur|crop",
      .help = "Draw boxes with labels, labels alone, blur what was found, or write every object as "
              "a picture of its own, NAME.N-LABEL.detected.EXT (default: boxes)" },
    { .name = "no-overlay", .at = APP_AT(no_overlay), .help = "Write the data alone" },
    APP_CLASSES_OPTION,
    APP_SCORE_OPTION,
    APP_NMS_OPTIONS,
    APP_REFINE_OPTION,
    { .name = "gallery",
      .kind = APP_FILE,
      .at = APP_AT(gallery),
      .value = "FILE",
      .help = "With --refine, or the installed classifier: also the classes enrolled in FILE" },
    APP_ONLY_GALLERY_OPTION,
    APP_UNKNOWN_RATE_OPTION(
        "Share of known objects that refining may call unknown (default: 0.05)"),
    { .name = "deblur", .at = APP_AT(deblur), .help = "Remove motion blur first" },
    APP_QUALITY_OPTION("92"),
    APP_STRIP_METADATA_OPTION,
    APP_OVERWRITE_OPTION,
    APP_RECURSIVE_OPTION,
    APP_MODEL_OPTION,
    APP_DEVICE_OPTION,
    APP_PRECISION_OPTION,
    APP_PROFILE_OPTION,
    APP_THREADS_OPTION,
    APP_MAX_PIXELS_OPTION,
    APP_ALLOW_TRUNCATED_OPTION,
    { .name = "json",
      .at = APP_AT(json),
      .help = "Print a JSON object per picture; with -o - that is all" },
    APP_COMMON_OPTIONS,
};

// What a run of the command keeps from picture to picture.
typedef struct work {
    app_session *session;
    app_pictures pictures;
    app_detect_out out;
    app_loader *loader;
    sl_model *model, *classifier, *deblurrer;
    sl_gallery *gallery;
    sl_detect *detect;
    sl_classify *classify; // NULL: not asked for
    sl_deblur *deblur;     // likewise
    size_t done, failed;
} work;

sl_detect_options app_detect_options(const app_session *session)
{
    static const char *const kinds[] = { "gaussian", "linear", "hard", "none" };
    const app_values *values = &session->values;
    sl_detect_options options = { .device = values->device,
                                  .precision = app_precision(session),
                                  .long_side = values->size[0],
                                  .short_side = values->size[1],
                                  .score = values->score,
                                  .iou = values->iou,
                                  .sigma = values->sigma,
                                  .most = (uint32_t)values->most,
                                  .flip = values->tta != NULL,
                                  .tile = (uint32_t)values->tile };
    for (size_t i = 0; values->nms && i < APP_LEN(kinds); i++)
        if (strcmp(values->nms, kinds[i]) == 0)
            options.nms = (sl_nms)i;
    if (options.long_side < options.short_side) {
        options.long_side = values->size[1];
        options.short_side = values->size[0];
    }
    return options;
}

// ---- made ready

app_exit app_detect_check(const app_session *session)
{
    const app_values *values = &session->values;
    const char *nms = values->nms ? values->nms : "gaussian";
    if (values->iou > 0 && strcmp(nms, "hard") != 0 && strcmp(nms, "linear") != 0)
        return app_usage(session->command, "--iou is of --nms hard and linear");
    if (values->sigma > 0 && strcmp(nms, "gaussian") != 0)
        return app_usage(session->command, "--sigma is of --nms gaussian");
    return APP_DONE;
}

static app_exit check_values(const app_session *session)
{
    const app_values *values = &session->values;
    if (values->no_overlay && values->overlay_style)
        return app_usage(session->command,
                         "--no-overlay and --overlay-style contradict each other");
    if (values->unknown_rate > 0 && !values->refine && !values->gallery)
        return app_usage(session->command, "--unknown-rate is of --refine; add it, or a --gallery");
    app_exit result = app_classify_check(session);
    return result == APP_DONE ? app_detect_check(session) : result;
}

app_exit app_detect_classes(const app_session *session, char *text, const char ***labels,
                            size_t *count)
{
    size_t most = 1;
    for (const char *at = text; *at; at++)
        most += *at == ',';
    const char **list = calloc(most, sizeof(*list));
    *count = 0;
    *labels = list;
    if (!list) {
        app_error("out of memory");
        return APP_FAILED;
    }
    for (char *rest = text, *label; (label = strsep(&rest, ","));) {
        label += strspn(label, " ");
        size_t length = strlen(label);
        while (length > 0 && label[length - 1] == ' ')
            label[--length] = '\0';
        if (length > 0)
            list[(*count)++] = label;
    }
    return *count ? APP_DONE : app_usage(session->command, "--classes: names none");
}

static app_exit make_detector(work *w)
{
    app_session *session = w->session;
    sl_detect_options options = app_detect_options(session);
    const char **labels = NULL;
    char *text = session->values.class_list ? strdup(session->values.class_list) : NULL;
    app_exit result = APP_DONE;
    if (text)
        result = app_detect_classes(session, text, &labels, &options.class_count);
    options.classes = labels;
    if (result == APP_DONE)
        result = app_open_model_for(session, session->values.model, "soft-retinanet", &w->model);
    if (result == APP_DONE) {
        sl_status status = sl_detect_new(session->ctx, w->model, &options, &w->detect);
        if (status != SL_OK)
            result = app_fail(session, status);
    }
    free(labels);
    free(text);
    return result;
}

static app_exit make_classifier(work *w)
{
    app_session *session = w->session;
    const app_values *values = &session->values;
    if (!values->refine && !values->gallery)
        return APP_DONE;
    app_exit result = app_open_model_for(session, values->refine, "soft", &w->classifier);
    if (result != APP_DONE)
        return result;
    const sl_classify_options options = app_classify_options(session);
    sl_status status = SL_OK;
    if (values->gallery)
        status = sl_gallery_open(session->ctx, values->gallery, w->classifier, &w->gallery);
    if (status == SL_OK)
        status = sl_classify_new(session->ctx, w->classifier, w->gallery, &options, &w->classify);
    return status == SL_OK ? APP_DONE : app_fail(session, status);
}

static app_exit make_deblurrer(work *w)
{
    app_session *session = w->session;
    if (!session->values.deblur)
        return APP_DONE;
    app_exit result = app_open_model_for(session, NULL, "lmd-vit", &w->deblurrer);
    if (result != APP_DONE)
        return result;
    const sl_deblur_options options = { .device = session->values.device,
                                        .precision = app_precision(session) };
    sl_status status = sl_deblur_new(session->ctx, w->deblurrer, &options, &w->deblur);
    return status == SL_OK ? APP_DONE : app_fail(session, status);
}

static app_exit prepare(work *w)
{
    size_t count;
    app_exit result = make_detector(w);
    if (result == APP_DONE)
        result = make_classifier(w);
    if (result == APP_DONE)
        result = make_deblurrer(w);
    if (result == APP_DONE && app_interrupted())
        result = app_fail(w->session, SL_ERR_CANCELLED);
    if (result == APP_DONE) {
        const char *const *labels = sl_detect_labels(w->detect, &count);
        result = app_detect_out_begin(&w->out, labels, count);
    }
    return result;
}

// ---- a picture

static sl_status write_crops(work *w, const char *path, const sl_image *image,
                             const sl_detections *found)
{
    sl_status status = SL_OK;
    for (size_t i = 0; i < found->count && status == SL_OK; i++) {
        sl_image *crop = NULL;
        status = sl_image_crop(w->session->ctx, image, &found->items[i], &crop);
        if (status == SL_OK)
            status = app_detect_out_crop(&w->out, path, i + 1, &found->items[i], crop);
        sl_image_free(crop);
    }
    return status;
}

static sl_status find(work *w, sl_image **image, sl_detections **found)
{
    sl_status status = SL_OK;
    if (w->deblur) {
        sl_image *sharp = NULL;
        status = sl_deblur_run(w->deblur, *image, &sharp, NULL, NULL);
        if (status == SL_OK) {
            sl_image_free(*image);
            *image = sharp;
        }
    }
    if (status == SL_OK)
        status = sl_detect_run(w->detect, *image, found);
    if (status == SL_OK && w->classify)
        status = sl_detections_refine(w->classify, *image, *found);
    return status == SL_OK && app_interrupted() ? SL_ERR_CANCELLED : status;
}

static sl_status write_results(work *w, const char *path, sl_image *image,
                               const sl_detections *found)
{
    const app_values *values = &w->session->values;
    bool is_cut = values->overlay_style && strcmp(values->overlay_style, "crop") == 0;
    bool is_drawn = !is_cut && !values->no_overlay;
    sl_status status = SL_OK;
    if (w->out.is_printed)
        return SL_OK;
    if (is_cut)
        status = write_crops(w, path, image, found);
    if (is_drawn)
        status = app_detect_draw(values, w->session->ctx, image, found);
    if (status == SL_OK)
        status = app_detect_out_add(&w->out, path, found, is_drawn ? image : NULL);
    if (status != SL_OK)
        app_detect_out_undo(&w->out);
    return status;
}

static app_exit detect_picture(work *w, app_loaded *loaded)
{
    sl_detections *found = NULL;
    sl_status status = loaded->status;
    const char *message = loaded->message;
    app_exit result = APP_DONE;
    app_loader_warn(w->session, loaded);
    if (status == SL_OK) {
        app_detect_out_next(&w->out);
        app_progress_begin(&w->session->progress, loaded->path);
        status = find(w, &loaded->image, &found);
        if (status != SL_OK) {
            app_loaded_fail(loaded, sl_ctx_message(w->session->ctx));
        } else {
            status = write_results(w, loaded->path, loaded->image, found);
            message = w->out.refusal ? w->out.refusal : sl_ctx_message(w->session->ctx);
        }
        app_progress_end(&w->session->progress);
    }
    if (status == SL_ERR_CANCELLED) {
        result = app_fail(w->session, status);
    } else if (status != SL_OK) {
        w->failed++;
        app_error("%s%s", *message ? message : "the library failed without saying why",
                  app_how(message));
        if (w->session->values.json)
            app_detect_print_json(&w->out, loaded->path, NULL, message);
    } else if (w->session->values.json) {
        app_detect_print_json(&w->out, loaded->path, found, NULL);
    } else {
        app_detect_print_table(&w->out, loaded->path, found);
    }
    sl_detections_free(found);
    return result;
}

// What later pictures would be computed for is gone; those that are done have their own files.
static app_exit stop_lost(const work *w)
{
    app_error("the data of all pictures is lost; make room, and run the same again%s",
              w->session->values.overwrite ? "" : " with --overwrite");
    return APP_FAILED;
}

// Whoever reads along may have had enough, and what is printed alone need not be found then.
static bool is_over(const work *w)
{
    return app_interrupted() || (w->out.is_printed && app_stdout_is_lost());
}

static app_exit detect_all(work *w)
{
    app_exit result = APP_DONE;
    app_loaded loaded;
    while (result == APP_DONE && !is_over(w) && app_loader_next(w->loader, &loaded)) {
        if (is_over(w)) {
            sl_image_free(loaded.image);
            break;
        }
        result = detect_picture(w, &loaded);
        w->done += result == APP_DONE;
        sl_image_free(loaded.image);
        if (result == APP_DONE && w->out.is_lost)
            result = stop_lost(w);
    }
    if (result == APP_DONE && app_interrupted())
        result = app_fail(w->session, SL_ERR_CANCELLED);
    return result;
}

// Nothing more is done: whoever reads the JSON learns it of each picture that has had no turn.
static void report_undone(const work *w, app_exit result)
{
    char why[512];
    app_why_undone(w->session, result, why, sizeof(why));
    for (size_t i = w->done; i < w->pictures.count && w->session->values.json; i++)
        app_detect_print_json(&w->out, w->pictures.path[i], NULL, why);
}

// ---- the command

// What an earlier run drew in the same folder is no new picture.
static bool is_own(const char *path, int count, char **operands)
{
    static const char infix[] = ".detected";
    const char *dot = strrchr(path, '.');
    size_t length = dot ? (size_t)(dot - path) : 0, own = sizeof(infix) - 1;
    bool is_own = length > own && memcmp(dot - own, infix, own) == 0;
    for (int k = 0; k < count && is_own; k++)
        is_own = strcmp(operands[k], path) != 0;
    return is_own;
}

static void skip_own(const app_session *session, app_pictures *pictures, int count, char **operands)
{
    size_t kept = 0, all = pictures->count;
    for (size_t i = 0; i < all; i++) {
        char *path = pictures->path[i];
        if (is_own(path, count, operands))
            free(path);
        else
            pictures->path[kept++] = path;
    }
    pictures->count = kept;
    size_t skipped = all - kept;
    if (skipped && (!kept || !session->values.quiet))
        app_error("%zu %s by an earlier run (NAME.detected.EXT), skipped%s", skipped,
                  app_plural(skipped, "picture was drawn", "pictures were drawn"),
                  kept ? "" : "; name one to look at it");
}

static void free_work(work *w)
{
    app_loader_stop(w->loader);
    app_detect_out_free(&w->out);
    sl_detect_free(w->detect);
    sl_classify_free(w->classify);
    sl_gallery_free(w->gallery);
    sl_deblur_free(w->deblur);
    sl_model_free(w->model);
    sl_model_free(w->classifier);
    sl_model_free(w->deblurrer);
    app_pictures_free(&w->pictures);
}

static void report_failures(work *w)
{
    w->failed = w->pictures.failed;
    for (size_t i = 0; i < w->pictures.failed && w->session->values.json; i++)
        app_detect_print_json(&w->out, w->pictures.failures[i].path, NULL,
                              w->pictures.failures[i].why);
}

static int detect(app_session *session, int count, char **operands)
{
    work w = { .session = session };
    app_exit result = check_values(session);
    if (result == APP_DONE)
        result = app_pictures_find(session, count, operands, &w.pictures);
    if (result != APP_DONE)
        return result;
    skip_own(session, &w.pictures, count, operands);
    size_t named = w.pictures.count + w.pictures.failed;
    if (w.pictures.count)
        result = app_detect_out_plan(session, &w.pictures, &w.out);
    if (result == APP_DONE)
        report_failures(&w);
    if (result == APP_DONE && w.pictures.count) {
        w.loader = app_loader_start(session, &w.pictures); // while the model is made ready
        result = w.loader ? prepare(&w) : APP_FAILED;
        if (result == APP_DONE)
            result = detect_all(&w);
        if (result != APP_DONE && result != APP_USAGE)
            report_undone(&w, result);
        if (result == APP_DONE)
            result = app_detect_out_finish(&w.out);
    }
    if (result == APP_DONE && w.failed == named) // of nothing, too
        result = APP_FAILED;
    else if (result == APP_DONE && w.failed)
        result = APP_SOME_FAILED;
    free_work(&w);
    return result;
}

const app_command app_detect = {
    .name = "detect",
    .summary = "finds objects in photographs, draws them and lists them as data",
    .operands = "IMAGE|FOLDER...",
    .operands_min = 1,
    .operands_max = INT32_MAX,
    .about =
        "Reads PNG, JPEG, WebP and, where libtiff and libheif are installed, TIFF, HEIC and AVIF "
        "images and writes each with boxes around what was found, as NAME.detected.EXT, and the "
        "boxes as NAME.json. Coordinates are pixels of the upright "
        "picture from its upper left corner. Of a folder all images are taken, by name. - reads "
        "an image from standard input.",
    .examples = "softlens detect photo.jpg\n"
                "softlens detect --classes person,dog --score 0.4 photo.jpg\n"
                "softlens detect pics/ --format coco -o out/\n"
                "softlens detect --overlay-style blur --classes person street.jpg\n"
                "softlens detect --gallery my.gallery --deblur photo.jpg -o found.png\n"
                "curl -s https://example.org/photo.jpg | softlens detect - --json -o -\n",
    .options = rows,
    .run = detect,
};
