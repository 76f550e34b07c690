// SPDX-License-Identifier: MIT
// app/batch_names.c: where every picture goes: the same tree, no two to one name, whatever the
// kinds of file and whether or not the file system tells upper case from lower.
#include "batch.h"

#include "jobs.h"

#include <limits.h>
#include <locale.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <wchar.h>
#include <wctype.h>

#define UTF8_BYTES 6u
#define MOST_OF_ENDING 16 // bytes behind a name's last dot; with more it is none

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

// The first `stem` bytes of the name with that ending; the last part is cut, at a character, so
// that file systems take it.
static char *with_ending(const char *name, size_t stem, const char *ending)
{
    const char *slash = strrchr(name, '/');
    size_t last = slash ? (size_t)(slash + 1 - name) : 0, room = NAME_MAX - strlen(ending);
    char *out = NULL;
    if (stem - last > room)
        stem = last + app_cut(name + last, room);
    return asprintf(&out, "%.*s%s", (int)stem, name, ending) < 0 ? NULL : out;
}

// The name with the ending of its format; with `whole`, behind the ending that it has.
static char *name_for(const naming *n, const batch_picture *p, bool whole)
{
    sl_image_format kind = app_format_of_name(p->name), want = n->format;
    bool has_ending = app_is_picture_name(p->name);
    if (n->is_data) {
        whole = whole || !has_ending || is_table(p->name);
        size_t length = whole ? strlen(p->name) : (size_t)(strrchr(p->name, '.') - p->name);
        return with_ending(p->name, length, ".json");
    }
    if (want == SL_IMAGE_SAME)
        want = app_format_of_file(p->path); // whatever it is called, as softlens deblur does
    if (want == SL_IMAGE_SAME)
        want = SL_IMAGE_PNG;
    if (kind == want)
        return strdup(p->name);
    size_t stem = strlen(p->name);
    if (has_ending && !whole)
        stem = (size_t)(strrchr(p->name, '.') - p->name);
    return with_ending(p->name, stem, ending_of(want));
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
static char *numbered(const char *target, size_t number)
{
    const char *dot = strrchr(target, '.');
    char ending[MOST_OF_ENDING + 32];
    if (!dot || strchr(dot, '/') || strlen(dot) > MOST_OF_ENDING)
        dot = target + strlen(target);
    snprintf(ending, sizeof(ending), "~%zu%s", number, dot);
    return with_ending(target, (size_t)(dot - target), ending);
}

// Where the places [first, end) of one name end.
static size_t end_of_group(const naming *n, size_t first)
{
    size_t end = first + 1;
    while (end < n->list->count && strcmp(n->places[first].folded, n->places[end].folded) == 0)
        end++;
    return end;
}

// Those whose ending changed get their whole name. *any: whether there were two of one name.
static bool name_wholly(naming *n, bool *any)
{
    *any = false;
    for (size_t first = 0, end; first < n->list->count; first = end) {
        end = end_of_group(n, first);
        *any = *any || end - first > 1;
        for (size_t i = first; i < end && end - first > 1; i++) {
            size_t index = n->places[i].index;
            const batch_picture *p = &n->list->picture[index];
            if (*place_of(n, index) != p->name && !set_place(n, index, name_for(n, p, true)))
                return false;
        }
    }
    return true;
}

// Of pictures with one target, the first by name whose ending stays keeps it.
static size_t keeper_of(const naming *n, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++)
        if (*place_of(n, n->places[i].index) == n->list->picture[n->places[i].index].name)
            return i;
    return first;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

// Gives the place its name with the next number that makes it another than all that are taken.
static bool number(naming *n, void **taken, place *p, size_t *next)
{
    for (;;) {
        char *name = numbered(*place_of(n, p->index), (*next)++);
        char *folded = name ? fold(n, name) : NULL;
        char **found = folded ? tsearch(folded, taken, by_text) : NULL;
        if (found && *found == folded) {
            free(p->folded);
            p->folded = folded;
            return set_place(n, p->index, name);
        }
        free(name);
        free(folded);
        if (!found)
            return false;
    }
}

static bool number_groups(naming *n, void **taken)
{
    size_t count = n->list->count, end;
    for (size_t first = 0; first < count; first = end) {
        end = end_of_group(n, first);
        if (!tsearch(n->places[keeper_of(n, first, end)].folded, taken, by_text))
            return false;
    }
    for (size_t first = 0; first < count; first = end) {
        end = end_of_group(n, first); // before the places in it change
        size_t keeper = keeper_of(n, first, end), next = 2;
        for (size_t i = first; i < end; i++)
            if (i != keeper && !number(n, taken, &n->places[i], &next))
                return false;
    }
    return true;
}

static void keep(void *text)
{
    (void)text; // it belongs to the places
}

// First whole names, then numbers tell apart what is left.
static bool part_all(naming *n)
{
    bool any = false;
    void *taken = NULL;
    if (!sort_places(n) || !name_wholly(n, &any))
        return false;
    if (!any)
        return true;
    bool ok = sort_places(n) && number_groups(n, &taken);
    tdestroy(taken, keep);
    return ok;
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
        app_error("out of memory for the pictures' places; split them with --shard or --include");
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

static int own_first(const void *a, const void *b)
{
    const batch_picture *x = a, *y = b;
    if (x->is_of_others != y->is_of_others)
        return x->is_of_others ? 1 : -1;
    return strcmp(x->name, y->name);
}

void batch_keep_shard(const batch_shard *shard, batch_list *list)
{
    size_t kept = 0;
    list->total = list->count;
    list->sum = 0;
    for (size_t i = 0; i < list->count; i++) {
        batch_picture *p = &list->picture[i];
        uint64_t hash = batch_hash_text(p->name);
        list->sum += hash;
        p->is_of_others = hash % shard->count != shard->index - 1;
        kept += !p->is_of_others;
    }
    if (kept < list->count)
        qsort(list->picture, list->count, sizeof(*list->picture), own_first);
    list->count = kept;
}
