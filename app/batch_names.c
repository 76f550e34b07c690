// SPDX-License-Identifier: MIT
// app/batch_names.c: where every picture goes: the same tree, no two to one name, whatever the
// kinds of file and whether or not the file system tells upper case from lower.
#include "batch.h"

#include "jobs.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <wchar.h>
#include <wctype.h>

#define UTF8_BYTES 6u
#define MAX_ROUNDS 1000 // of numbers behind names that still collide

typedef struct place {
    char *folded; // by which names are compared; the target itself, or in lower case
    size_t index;
} place;

typedef struct naming {
    batch_list *list;
    sl_image_format format; // asked for; SAME: the picture's own
    locale_t lower;         // 0: case is told apart
    bool is_data;           // what gets its name is not the target but the data
    place *places;
} naming;

// Lower case, character by character; bytes that are no UTF-8 stay.
static char *fold(const naming *n, const char *text)
{
    if (!n->lower)
        return strdup(text);
    char *out = malloc(UTF8_BYTES * strlen(text) + 1), *end = out;
    locale_t before = uselocale(n->lower);
    mbstate_t in = { 0 }, to = { 0 };
    size_t left = strlen(text);
    while (out && left) {
        wchar_t c;
        size_t used = mbrtowc(&c, text, left, &in);
        size_t put = used <= left ? wcrtomb(end, (wchar_t)towlower((wint_t)c), &to) : 0;
        if (used > left || put > UTF8_BYTES) {
            in = to = (mbstate_t) { 0 };
            *end = *text;
            used = put = 1;
        }
        text += used;
        left -= used;
        end += put;
    }
    if (out)
        *end = '\0';
    uselocale(before);
    return out;
}

static const char **place_of(const naming *n, size_t index)
{
    batch_picture *p = &n->list->picture[index];
    return n->is_data ? &p->data : &p->target;
}

// Data in the root that would be called as the table is, coco.json or coco.3-of-16.json.
static bool is_table(const char *name)
{
    return strncasecmp(name, "coco.", 5) == 0 && !strchr(name, '/');
}

static const char *ending_of(sl_image_format format)
{
    return format == SL_IMAGE_JPEG ? ".jpg" : ".png";
}

// The name with the ending of its format; with `whole`, behind the ending that it has.
static char *name_for(const naming *n, const batch_picture *p, bool whole)
{
    sl_image_format kind = app_format_of_name(p->name), want = n->format;
    char *out = NULL;
    if (n->is_data) {
        whole = whole || kind == SL_IMAGE_SAME || is_table(p->name);
        size_t length = whole ? strlen(p->name) : (size_t)(strrchr(p->name, '.') - p->name);
        return asprintf(&out, "%.*s.json", (int)length, p->name) < 0 ? NULL : out;
    }
    if (want == SL_IMAGE_SAME)
        want = kind != SL_IMAGE_SAME ? kind : app_format_of_file(p->path);
    if (want == SL_IMAGE_SAME)
        want = SL_IMAGE_PNG;
    if (kind == want)
        return strdup(p->name);
    size_t stem = strlen(p->name);
    if (kind != SL_IMAGE_SAME && !whole)
        stem = (size_t)(strrchr(p->name, '.') - p->name);
    return asprintf(&out, "%.*s%s", (int)stem, p->name, ending_of(want)) < 0 ? NULL : out;
}

// Takes `name`, malloc'ed or NULL.
static bool set_place(naming *n, size_t index, char *name)
{
    const char *own = n->list->picture[index].name, **at = place_of(n, index);
    if (name)
        *at = strcmp(name, own) == 0 ? own : batch_texts_add(&n->list->texts, name);
    bool ok = name && *at;
    free(name);
    return ok;
}

static int by_folded(const void *a, const void *b)
{
    const place *x = a, *y = b;
    int order = strcmp(x->folded, y->folded);
    return order ? order : x->index < y->index ? -1 : x->index > y->index;
}

static bool sort_places(naming *n)
{
    for (size_t i = 0; i < n->list->count; i++) {
        free(n->places[i].folded);
        n->places[i] = (place) { NULL, 0 };
    }
    for (size_t i = 0; i < n->list->count; i++) {
        n->places[i] = (place) { fold(n, *place_of(n, i)), i };
        if (!n->places[i].folded)
            return false;
    }
    qsort(n->places, n->list->count, sizeof(*n->places), by_folded);
    return true;
}

// "a/b.png" with 2: "a/b~2.png".
static char *numbered(const char *target, unsigned number)
{
    const char *dot = strrchr(target, '.');
    char *out = NULL;
    size_t stem = dot ? (size_t)(dot - target) : strlen(target);
    if (asprintf(&out, "%.*s~%u%s", (int)stem, target, number, dot ? dot : "") < 0)
        return NULL;
    return out;
}

// First those whose ending changed get their whole name, then numbers tell apart what is left. Of
// pictures with one target, the first by name whose ending stays keeps it.
static bool part(naming *n, size_t first, size_t end, unsigned round)
{
    const batch_picture *pictures = n->list->picture;
    size_t keeper = first;
    for (size_t i = end; i-- > first;)
        if (*place_of(n, n->places[i].index) == pictures[n->places[i].index].name)
            keeper = i;
    for (size_t i = first; i < end; i++) {
        size_t index = n->places[i].index;
        const batch_picture *p = &pictures[index];
        const char *before = *place_of(n, index);
        if (round == 1 && before != p->name && !set_place(n, index, name_for(n, p, true)))
            return false;
        if (round > 1 && i != keeper && !set_place(n, index, numbered(before, round)))
            return false;
    }
    return true;
}

static bool part_all(naming *n)
{
    for (unsigned round = 1; round < MAX_ROUNDS; round++) {
        bool any = false;
        if (!sort_places(n))
            return false;
        for (size_t first = 0, end; first < n->list->count; first = end) {
            for (end = first + 1; end < n->list->count; end++)
                if (strcmp(n->places[first].folded, n->places[end].folded) != 0)
                    break;
            if (end - first > 1 && !part(n, first, end, round))
                return false;
            any = any || end - first > 1;
        }
        if (!any)
            return true;
    }
    return false;
}

static app_exit name_all(naming *n, bool ignore_case)
{
    size_t count = n->list->count;
    if (ignore_case)
        n->lower = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    n->places = calloc(count + 1, sizeof(*n->places));
    bool ok = n->places != NULL;
    for (size_t i = 0; i < count && ok; i++)
        ok = set_place(n, i, name_for(n, &n->list->picture[i], false));
    ok = ok && part_all(n);
    for (size_t i = 0; i < count && n->places; i++)
        free(n->places[i].folded);
    free(n->places);
    if (n->lower)
        freelocale(n->lower);
    if (!ok)
        app_error("the pictures' places in the output cannot be told apart, or memory ran out");
    return ok ? APP_DONE : APP_FAILED;
}

app_exit batch_name_targets(const app_session *session, bool ignore_case, batch_list *list)
{
    const char *format = session->values.format;
    naming n = { .list = list };
    if (format)
        n.format = strcmp(format, "png") == 0 ? SL_IMAGE_PNG : SL_IMAGE_JPEG;
    return name_all(&n, ignore_case);
}

app_exit batch_name_data(bool ignore_case, batch_list *list)
{
    naming n = { .list = list, .is_data = true };
    return name_all(&n, ignore_case);
}

app_exit batch_read_shard(const app_session *session, batch_shard *out)
{
    const char *text = session->values.shard;
    char *end = NULL;
    *out = (batch_shard) { 1, 1 };
    if (!text)
        return APP_DONE;
    bool ok = *text >= '1' && *text <= '9';
    out->index = ok ? strtoull(text, &end, 10) : 0;
    ok = ok && *end == '/' && end[1] >= '1' && end[1] <= '9';
    out->count = ok ? strtoull(end + 1, &end, 10) : 0;
    if (ok && !*end && out->index <= out->count && out->count <= BATCH_MAX_SHARDS)
        return APP_DONE;
    return app_usage(session->command,
                     "--shard %s: give which of how many, such as 3/16, from 1/1 to %u/%u", text,
                     BATCH_MAX_SHARDS, BATCH_MAX_SHARDS);
}

void batch_keep_shard(const batch_shard *shard, batch_list *list)
{
    size_t kept = 0;
    list->total = list->count;
    list->sum = 0;
    for (size_t i = 0; i < list->count; i++) {
        uint64_t hash = batch_hash_text(list->picture[i].name);
        list->sum += hash;
        if (hash % shard->count == shard->index - 1)
            list->picture[kept++] = list->picture[i];
    }
    list->count = kept;
}
