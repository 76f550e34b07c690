// SPDX-License-Identifier: MIT
// pipeline/detect_yolo.c: detections as a data set of YOLO, as of ultralytics' documentation
// ("Object detection datasets"): labels/NAME.txt with a line "class cx cy width height" for every
// object, from 0 to 1 of the picture's sides, and data.yaml, which names the classes.
#include "pipeline/detect_file.h"

#include <search.h>
#include <sys/stat.h>
#include <unistd.h>

static char *yaml_path(const sl_detect_file *file)
{
    return sl_format(file->ctx, "%s/data.yaml", file->path);
}

static char *labels_path(const sl_detect_file *file)
{
    return sl_format(file->ctx, "%s/labels", file->path);
}

static sl_status already_there(sl_detect_file *file, const char *path)
{
    return sl_fail(file->ctx, SL_ERR_EXISTS,
                   "%s: already exists; name another folder or ask to overwrite", path);
}

sl_status sl_yolo_open(sl_detect_file *file)
{
    struct stat info;
    if (!*file->path)
        return sl_fail(file->ctx, SL_ERR_ARGUMENT, "the name of the output folder is empty");
    if (stat(file->path, &info) == 0 && !S_ISDIR(info.st_mode))
        return sl_fail(file->ctx, SL_ERR_IO, "%s: is no folder; YOLO's files need one", file->path);
    char *path = yaml_path(file);
    sl_status st = path ? SL_OK : SL_ERR_NOMEM;
    if (st == SL_OK && !file->overwrite && sl_file_exists(path))
        st = already_there(file, path);
    free(path);
    return st;
}

static void free_nothing(void *name)
{
    (void)name; // of a note
}

void sl_yolo_free(sl_detect_file *file)
{
    if (file->note_names)
        tdestroy(file->note_names, free_nothing);
    for (size_t i = 0; file->notes && i < file->note_room; i++) {
        free(file->notes[i].path);
        sl_page_free(&file->notes[i].page);
    }
    free(file->notes);
}

// FOLDER/labels/NAME.txt: the picture's name without its ending, byte for byte.
static char *note_path(const sl_detect_file *file, const char *picture)
{
    const char *slash = strrchr(picture, '/'), *name = slash ? slash + 1 : picture;
    const char *dot = strrchr(name, '.');
    size_t length = dot && dot > name ? (size_t)(dot - name) : strlen(name);
    if (length > 4096)
        length = 4096; // no file system has such names: writing it will fail
    return sl_format(file->ctx, "%s/labels/%.*s.txt", file->path, (int)length, name);
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static sl_status check(sl_detect_file *file, const sl_finding *f)
{
    char *path = note_path(file, f->path);
    sl_status st = path ? SL_OK : SL_ERR_NOMEM;
    if (st == SL_OK && tfind(path, &file->note_names, compare))
        st = sl_fail(file->ctx, SL_ERR_EXISTS,
                     "%s: another picture has the labels %s already; give the pictures names that "
                     "differ before the ending",
                     f->path, path);
    else if (st == SL_OK && !file->overwrite && sl_file_exists(path))
        st = already_there(file, path);
    free(path);
    return st;
}

static double part(double v, double side)
{
    return v < 0 ? 0 : v > side ? 1 : v / side;
}

// Boxes end at the picture: readers refuse what is beyond 1.
static sl_status put_object(sl_detect_file *file, sl_page *page, const sl_finding *f, size_t i)
{
    const sl_detection *d = &f->found->items[i];
    const double x1 = part((double)d->x1, f->found->width),
                 x2 = part((double)d->x2, f->found->width);
    const double y1 = part((double)d->y1, f->found->height);
    const double y2 = part((double)d->y2, f->found->height);
    sl_status st = sl_page_print(file->ctx, page, "%zu", f->categories[i]);
    if (st == SL_OK)
        st = sl_page_number(file->ctx, page, " ", (x1 + x2) / 2, "");
    if (st == SL_OK)
        st = sl_page_number(file->ctx, page, " ", (y1 + y2) / 2, "");
    if (st == SL_OK)
        st = sl_page_number(file->ctx, page, " ", x2 - x1, "");
    return st == SL_OK ? sl_page_number(file->ctx, page, " ", y2 - y1, "\n") : st;
}

static sl_status add(sl_detect_file *file, const sl_finding *f)
{
    if (file->pictures == file->note_room) {
        size_t room = file->note_room ? 2 * file->note_room : 64, bytes = 0;
        sl_note *notes = sl_mul(room, sizeof(*notes), &bytes) ? realloc(file->notes, bytes) : NULL;
        if (!notes)
            return sl_fail(file->ctx, SL_ERR_NOMEM, "%s: out of memory for labels", file->path);
        memset(notes + file->note_room, 0, (room - file->note_room) * sizeof(*notes));
        file->notes = notes;
        file->note_room = room;
    }
    sl_note *note = &file->notes[file->pictures];
    note->path = note_path(file, f->path);
    if (!note->path)
        return SL_ERR_NOMEM;
    if (!tsearch(note->path, &file->note_names, compare))
        return sl_fail(file->ctx, SL_ERR_NOMEM, "%s: out of memory for labels", file->path);
    sl_status st = SL_OK;
    for (size_t i = 0; i < f->found->count && st == SL_OK; i++)
        st = put_object(file, &note->page, f, i);
    return st;
}

// ---- data.yaml

// YAML's double-quoted form; what it does not count as printable is escaped.
static sl_status put_quoted(sl_ctx *ctx, sl_page *page, const char *text)
{
    uint32_t c = 0;
    sl_status st = sl_page_put(ctx, page, "\"");
    for (size_t length; st == SL_OK && (length = sl_utf8_next(text, &c)) > 0; text += length) {
        if (c == '"' || c == '\\')
            st = sl_page_print(ctx, page, "\\%c", (char)c);
        else if (c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029 || c == 0xFEFF ||
                 c == 0xFFFE || c == 0xFFFF)
            st = sl_page_print(ctx, page, "\\u%04X", (unsigned)c);
        else
            st = sl_blob_append(ctx, &page->text, &page->room, text, length);
    }
    return st == SL_OK ? sl_page_put(ctx, page, "\"") : st;
}

static sl_status compose_yaml(sl_detect_file *file, sl_page *page)
{
    sl_ctx *ctx = file->ctx;
    sl_status st = sl_page_put(ctx, page,
                               "# Detections by softlens; the pictures belong into images/.\n"
                               "train: images\nval: images\n");
    if (st == SL_OK)
        st = sl_page_print(ctx, page, "nc: %zu\nnames:%s\n", file->label_count,
                           file->label_count ? "" : " {}");
    for (size_t i = 0; i < file->label_count && st == SL_OK; i++) {
        st = sl_page_print(ctx, page, "  %zu: ", i);
        if (st == SL_OK)
            st = put_quoted(ctx, page, file->labels[i]);
        if (st == SL_OK)
            st = sl_page_put(ctx, page, "\n");
    }
    return st;
}

static sl_status write_notes(sl_detect_file *file, const char *labels)
{
    sl_status st = sl_make_dir(file->ctx, labels);
    for (size_t i = 0; i < file->pictures && st == SL_OK; i++) {
        sl_note *note = &file->notes[i];
        const bool was_there = sl_file_exists(note->path);
        st = sl_file_write(file->ctx, note->path, file->overwrite, note->page.text.data,
                           note->page.text.size);
        note->is_new = st == SL_OK && !was_there;
    }
    return st;
}

// data.yaml comes last: where it is, all is there. After a failure what is new goes again.
static sl_status end(sl_detect_file *file)
{
    sl_page page = { 0 };
    char *path = yaml_path(file), *labels = labels_path(file);
    const bool was_there = sl_file_exists(file->path);
    sl_status st = path && labels ? compose_yaml(file, &page) : SL_ERR_NOMEM;
    if (st == SL_OK)
        st = write_notes(file, labels);
    if (st == SL_OK)
        st = sl_file_write(file->ctx, path, file->overwrite, page.text.data, page.text.size);
    for (size_t i = 0; i < file->pictures && st != SL_OK; i++)
        if (file->notes[i].is_new)
            unlink(file->notes[i].path);
    if (st != SL_OK && labels && !was_there) {
        rmdir(labels);
        rmdir(file->path);
    }
    sl_page_free(&page);
    free(labels);
    free(path);
    return st;
}

const sl_detect_writer sl_detect_yolo = { .check = check, .add = add, .end = end };
