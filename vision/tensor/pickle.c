// SPDX-License-Identifier: MIT
// tensor/pickle.c: a pickle machine that builds a tree and executes nothing.
//
// Every opcode adds at most one node, nothing here recurses, and a container takes references, so
// time and memory grow with the length of the pickle and no faster.
#include "tensor/pickle_machine.h"

sl_status sl_machine_malformed(sl_machine *m, const char *what)
{
    return sl_fail(m->ctx, SL_ERR_FORMAT, "%s: damaged pickle: %s at byte %zu; save it again",
                   m->path, what, m->opcode_at);
}

sl_status sl_machine_limit(sl_machine *m, const char *what, size_t limit)
{
    return sl_fail(m->ctx, SL_ERR_LIMIT,
                   "%s: pickle with more than %zu %s; save the weights alone, as a state_dict",
                   m->path, limit, what);
}

sl_status sl_machine_grow(sl_machine *m, void *array, size_t *room, size_t needed, size_t size)
{
    if (needed <= *room)
        return SL_OK;
    size_t wanted = needed + needed / 2 + 64;
    void *grown, *old;
    memcpy(&old, array, sizeof(old));
    grown = realloc(old, wanted * size); // counts are bounded far below an overflow
    if (!grown)
        return sl_fail(m->ctx, SL_ERR_NOMEM, "%s: out of memory for the pickle", m->path);
    memset((char *)grown + *room * size, 0, (wanted - *room) * size);
    memcpy(array, &grown, sizeof(grown));
    *room = wanted;
    return SL_OK;
}

sl_status sl_machine_push(sl_machine *m, sl_pickle *value)
{
    if (m->height == SL_PICKLE_MAX_STACK)
        return sl_machine_limit(m, "values on its stack", SL_PICKLE_MAX_STACK);
    sl_status st = sl_machine_grow(m, &m->stack, &m->stack_room, m->height + 1, sizeof(*m->stack));
    if (st == SL_OK)
        m->stack[m->height++] = value;
    return st;
}

sl_pickle *sl_machine_pop(sl_machine *m)
{
    size_t floor = m->mark_count ? m->marks[m->mark_count - 1] : 0;
    return m->height > floor ? m->stack[--m->height] : NULL;
}

sl_status sl_machine_new_node(sl_machine *m, sl_pickle_kind kind, sl_pickle **out)
{
    if (m->nodes++ == SL_PICKLE_MAX_NODES)
        return sl_machine_limit(m, "values", SL_PICKLE_MAX_NODES);
    *out = sl_arena_alloc(m->ctx, m->arena, 1, sizeof(**out));
    if (!*out)
        return SL_ERR_NOMEM;
    (*out)->kind = kind;
    return SL_OK;
}

sl_status sl_machine_push_new(sl_machine *m, sl_pickle_kind kind, sl_pickle **out)
{
    sl_status st = sl_machine_new_node(m, kind, out);
    return st == SL_OK ? sl_machine_push(m, *out) : st;
}

sl_status sl_machine_add_items(sl_machine *m, sl_pickle *to, sl_pickle *const *items, size_t count)
{
    if (count == 0)
        return SL_OK;
    size_t needed = to->count + count; // both are bounded by the pickle's length
    if (needed > to->capacity) {
        size_t capacity = to->count ? needed + needed / 2 : needed;
        const sl_pickle **grown = sl_arena_alloc(m->ctx, m->arena, capacity, sizeof(*grown));
        if (!grown)
            return SL_ERR_NOMEM;
        if (to->count)
            memcpy(grown, to->items, to->count * sizeof(*grown));
        to->items = grown;
        to->capacity = capacity;
    }
    memcpy(to->items + to->count, items, count * sizeof(*items));
    to->count = needed;
    return SL_OK;
}

sl_status sl_machine_read_number(sl_machine *m, size_t bytes, uint64_t *out)
{
    *out = 0;
    if (m->size - m->at < bytes)
        return sl_machine_malformed(m, "ends within an opcode");
    memcpy(out, m->data + m->at, bytes);
    m->at += bytes;
    return SL_OK;
}

sl_status sl_machine_read_bytes(sl_machine *m, uint64_t size, sl_pickle_text *out)
{
    if (size > m->size - m->at)
        return sl_machine_malformed(m, "ends within a string");
    *out = (sl_pickle_text) { (const char *)m->data + m->at, (size_t)size };
    m->at += (size_t)size;
    return SL_OK;
}

sl_status sl_machine_read_line(sl_machine *m, sl_pickle_text *out)
{
    const uint8_t *end = memchr(m->data + m->at, '\n', m->size - m->at);
    if (!end)
        return sl_machine_malformed(m, "ends within a line");
    sl_status st = sl_machine_read_bytes(m, (uint64_t)(end - m->data) - m->at, out);
    m->at++;
    return st;
}

sl_status sl_machine_pop_mark(sl_machine *m, sl_pickle *const **first, size_t *count)
{
    if (m->mark_count == 0)
        return sl_machine_malformed(m, "no mark");
    size_t floor = m->marks[--m->mark_count];
    *first = m->stack ? m->stack + floor : NULL;
    *count = m->height - floor;
    m->height = floor;
    return SL_OK;
}

sl_pickle *sl_machine_top(sl_machine *m)
{
    size_t floor = m->mark_count ? m->marks[m->mark_count - 1] : 0;
    return m->height > floor ? m->stack[m->height - 1] : NULL;
}

static sl_status run(sl_machine *m)
{
    while (!m->stopped) {
        m->opcode_at = m->at;
        if (m->at == m->size)
            return sl_machine_malformed(m, "ends without STOP");
        uint8_t opcode = m->data[m->at++];
        if (!sl_pickle_opcodes[opcode].run)
            return sl_fail(m->ctx, SL_ERR_UNSUPPORTED,
                           "%s: pickle with opcode %s (0x%02x) at byte %zu, which checkpoints do "
                           "not have; save the weights alone, as a state_dict",
                           m->path,
                           sl_pickle_opcodes[opcode].name ? sl_pickle_opcodes[opcode].name
                                                          : "unknown",
                           opcode, m->opcode_at);
        sl_status st = sl_pickle_opcodes[opcode].run(m, opcode);
        if (st != SL_OK)
            return st;
    }
    return SL_OK;
}

sl_status sl_pickle_check_size(sl_ctx *ctx, size_t size, const char *path)
{
    sl_machine m = { .ctx = ctx, .path = path };
    return size > SL_PICKLE_MAX_BYTES ? sl_machine_limit(&m, "bytes", SL_PICKLE_MAX_BYTES) : SL_OK;
}

sl_status sl_pickle_parse(sl_ctx *ctx, const void *data, size_t size, const char *path,
                          sl_arena *arena, const sl_pickle **out)
{
    sl_machine m = { .ctx = ctx, .path = path, .arena = arena, .data = data, .size = size };
    *out = NULL;
    sl_status st = sl_pickle_check_size(ctx, size, path);
    if (st != SL_OK)
        return st;
    if (size < 2 || m.data[0] != 0x80)
        return sl_machine_malformed(&m, "no pickle of protocol 2 to 5");
    st = run(&m);
    if (st == SL_OK)
        *out = m.stack[0];
    free(m.stack);
    free(m.marks);
    free(m.memo);
    return st;
}

// ---- questions to the tree

static bool text_equal(sl_pickle_text text, const char *other)
{
    return text.size == strlen(other) && memcmp(text.data, other, text.size) == 0;
}

bool sl_pickle_is_text(const sl_pickle *value, const char *text)
{
    return value->kind == SL_PICKLE_TEXT && text_equal(value->text, text);
}

bool sl_pickle_is_global(const sl_pickle *value, const char *module, const char *name)
{
    return value->kind == SL_PICKLE_GLOBAL && text_equal(value->global.module, module) &&
           text_equal(value->global.name, name);
}

bool sl_pickle_is_dict(const sl_pickle *value)
{
    return value->kind == SL_PICKLE_DICT ||
           (value->kind == SL_PICKLE_OBJECT &&
            sl_pickle_is_global(value->object.callee, "collections", "OrderedDict"));
}

const sl_pickle *sl_pickle_get(const sl_pickle *dict, const char *key)
{
    if (!sl_pickle_is_dict(dict))
        return NULL;
    for (size_t i = dict->count; i >= 2; i -= 2)
        if (sl_pickle_is_text(dict->items[i - 2], key))
            return dict->items[i - 1];
    return NULL;
}
