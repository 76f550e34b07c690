// SPDX-License-Identifier: MIT
// pipeline/detect_text.c: detections as CSV, as of RFC 4180, and as the XML of "CVAT for images
// 1.1" (CVAT's documentation, "XML annotation format").
#include "pipeline/detect_file.h"

// ---- CSV

static sl_status put_field(sl_ctx *ctx, sl_page *page, const char *text)
{
    if (!strpbrk(text, ",\"\r\n"))
        return sl_page_put(ctx, page, text);
    sl_status st = sl_page_put(ctx, page, "\"");
    for (; *text && st == SL_OK; text++) {
        if (*text == '"')
            st = sl_page_put(ctx, page, "\"");
        if (st == SL_OK)
            st = sl_blob_append(ctx, &page->text, &page->room, text, 1);
    }
    return st == SL_OK ? sl_page_put(ctx, page, "\"") : st;
}

static sl_status begin_csv(sl_detect_file *file)
{
    return sl_page_put(file->ctx, &file->page,
                       "picture,width,height,rank,label,class,score,refined,x1,y1,x2,y2\r\n");
}

static sl_status put_object(sl_detect_file *file, const sl_finding *f, size_t i)
{
    sl_ctx *ctx = file->ctx;
    sl_page *page = &file->page;
    const sl_detection *d = &f->found->items[i];
    sl_status st = sl_page_print(ctx, page, ",%zu,", i + 1);
    if (st == SL_OK)
        st = put_field(ctx, page, file->labels[f->categories[i]]);
    if (st == SL_OK)
        st = sl_page_put(ctx, page, ",");
    if (st == SL_OK)
        st = put_field(ctx, page, file->labels[d->category]);
    if (st == SL_OK)
        st = sl_page_number(ctx, page, ",", (double)d->score, ",");
    if (st == SL_OK && sl_detection_is_refined(d))
        st = sl_page_number(ctx, page, "", (double)d->refined, "");
    const float corners[] = { d->x1, d->y1, d->x2, d->y2 };
    for (size_t k = 0; k < SL_ARRAY_LEN(corners) && st == SL_OK; k++)
        st = sl_page_number(ctx, page, ",", (double)corners[k], "");
    return st;
}

// A picture without detections has a line as well, whose fields of an object are empty: that it was
// looked at is a result.
static sl_status add_csv(sl_detect_file *file, const sl_finding *f)
{
    sl_status st = SL_OK;
    for (size_t i = 0; (i < f->found->count || i == 0) && st == SL_OK; i++) {
        st = put_field(file->ctx, &file->page, f->name);
        if (st == SL_OK)
            st = sl_page_print(file->ctx, &file->page, ",%u,%u", f->found->width, f->found->height);
        if (st == SL_OK)
            st = i < f->found->count ? put_object(file, f, i)
                                     : sl_page_put(file->ctx, &file->page, ",,,,,,,,,");
        if (st == SL_OK)
            st = sl_page_put(file->ctx, &file->page, "\r\n");
    }
    return st;
}

const sl_detect_writer sl_detect_csv = { .begin = begin_csv, .add = add_csv, .is_stream = true };

// ---- CVAT

// XML 1.0 has no way to write most control characters.
static bool is_xml(uint32_t c)
{
    return c >= 0x20 ? c != 0xFFFE && c != 0xFFFF : c == '\t' || c == '\n' || c == '\r';
}

static sl_status put_escaped(sl_ctx *ctx, sl_page *page, const char *text)
{
    static const char special[] = "&<>\"'\t\n\r";
    uint32_t c = 0;
    sl_status st = SL_OK;
    for (size_t length; st == SL_OK && (length = sl_utf8_next(text, &c)) > 0; text += length) {
        if (!is_xml(c))
            st = sl_page_put(ctx, page, "\xEF\xBF\xBD");
        else if (c < 0x80 && strchr(special, (int)c)) // white space too: attributes lose it
            st = sl_page_print(ctx, page, "&#%u;", (unsigned)c);
        else
            st = sl_blob_append(ctx, &page->text, &page->room, text, length);
    }
    return st;
}

static sl_status put_box(sl_detect_file *file, const sl_finding *f, size_t i)
{
    static const char *const names[] = { "xtl", "ytl", "xbr", "ybr" };
    sl_ctx *ctx = file->ctx;
    sl_page *page = &file->page;
    const sl_detection *d = &f->found->items[i];
    const float corners[] = { d->x1, d->y1, d->x2, d->y2 };
    sl_status st = sl_page_put(ctx, page, "    <box label=\"");
    if (st == SL_OK)
        st = put_escaped(ctx, page, file->labels[f->categories[i]]);
    if (st == SL_OK)
        st = sl_page_put(ctx, page, "\" source=\"auto\" occluded=\"0\"");
    for (size_t k = 0; k < SL_ARRAY_LEN(corners) && st == SL_OK; k++) {
        st = sl_page_print(ctx, page, " %s", names[k]);
        if (st == SL_OK)
            st = sl_page_number(ctx, page, "=\"", (double)corners[k], "\"");
    }
    if (st == SL_OK)
        st = sl_page_put(ctx, page, " z_order=\"0\">\n");
    if (st == SL_OK)
        st = sl_page_number(ctx, page, "      <attribute name=\"score\">", (double)d->score,
                            "</attribute>\n");
    return st == SL_OK ? sl_page_put(ctx, page, "    </box>\n") : st;
}

static sl_status add_cvat(sl_detect_file *file, const sl_finding *f)
{
    sl_ctx *ctx = file->ctx;
    sl_page *page = &file->page;
    sl_status st = sl_page_print(ctx, page, "  <image id=\"%zu\" name=\"", file->pictures);
    if (st == SL_OK)
        st = put_escaped(ctx, page, f->name);
    if (st == SL_OK)
        st = sl_page_print(ctx, page, "\" width=\"%u\" height=\"%u\">\n", f->found->width,
                           f->found->height);
    for (size_t i = 0; i < f->found->count && st == SL_OK; i++)
        st = put_box(file, f, i);
    return st == SL_OK ? sl_page_put(ctx, page, "  </image>\n") : st;
}

static sl_status put_label(sl_detect_file *file, sl_page *page, const char *label)
{
    sl_status st = sl_page_put(file->ctx, page, "        <label>\n          <name>");
    if (st == SL_OK)
        st = put_escaped(file->ctx, page, label);
    if (st == SL_OK)
        st = sl_page_put(file->ctx, page,
                         "</name>\n          <attributes>\n            <attribute>\n"
                         "              <name>score</name>\n"
                         "              <mutable>False</mutable>\n"
                         "              <input_type>text</input_type>\n"
                         "              <default_value></default_value>\n"
                         "              <values></values>\n"
                         "            </attribute>\n          </attributes>\n        </label>\n");
    return st;
}

// Labels stand on top, and are known in the end.
static sl_status end_cvat(sl_detect_file *file)
{
    sl_page all = { 0 };
    sl_ctx *ctx = file->ctx;
    sl_status st = sl_page_put(ctx, &all,
                               "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotations>\n"
                               "  <version>1.1</version>\n  <meta>\n    <task>\n");
    if (st == SL_OK)
        st = sl_page_print(ctx, &all,
                           "      <size>%zu</size>\n      <mode>annotation</mode>\n"
                           "      <labels>\n",
                           file->pictures);
    for (size_t i = 0; i < file->label_count && st == SL_OK; i++)
        st = put_label(file, &all, file->labels[i]);
    if (st == SL_OK)
        st = sl_page_put(ctx, &all, "      </labels>\n    </task>\n  </meta>\n");
    if (st == SL_OK)
        st = sl_blob_append(ctx, &all.text, &all.room, file->page.text.data, file->page.text.size);
    if (st == SL_OK)
        st = sl_page_put(ctx, &all, "</annotations>\n");
    sl_page_free(&file->page);
    file->page = all;
    return st;
}

const sl_detect_writer sl_detect_cvat = { .add = add_cvat, .end = end_cvat };
