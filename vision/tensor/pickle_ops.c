// SPDX-License-Identifier: MIT
// tensor/pickle_ops.c: what each opcode of a pickle does to the machine. Containers take
// references, globals stay names, calls stay notes of what would be called.
#include "tensor/pickle_machine.h"

static sl_status op_proto(sl_machine *m, uint8_t opcode)
{
    (void)opcode;
    uint64_t protocol;
    sl_status st = sl_machine_read_number(m, 1, &protocol);
    if (st == SL_OK && (protocol < 2 || protocol > 5))
        st = sl_fail(m->ctx, SL_ERR_UNSUPPORTED,
                     "%s: pickle of protocol %u; save it with protocols 2 to 5", m->path,
                     (unsigned)protocol);
    return st;
}

static sl_status op_frame(sl_machine *m, uint8_t opcode)
{
    (void)opcode;
    uint64_t length;
    sl_status st = sl_machine_read_number(m, 8, &length);
    if (st == SL_OK && length > m->size - m->at)
        st = sl_machine_malformed(m, "frame beyond its end");
    return st;
}

static sl_status op_stop(sl_machine *m, uint8_t opcode)
{
    (void)opcode;
    m->stopped = true;
    return m->mark_count || m->height != 1 ? sl_machine_malformed(m, "stops with an untidy stack")
                                           : SL_OK;
}

static sl_status op_mark(sl_machine *m, uint8_t opcode)
{
    (void)opcode;
    if (m->mark_count == SL_PICKLE_MAX_STACK)
        return sl_machine_limit(m, "marks", SL_PICKLE_MAX_STACK);
    sl_status st =
        sl_machine_grow(m, &m->marks, &m->mark_room, m->mark_count + 1, sizeof(*m->marks));
    if (st == SL_OK)
        m->marks[m->mark_count++] = m->height;
    return st;
}

static sl_status op_pop(sl_machine *m, uint8_t opcode)
{
    sl_pickle *const *first;
    size_t count;
    // On a stack that is empty above a mark, Python's POP takes the mark.
    if (opcode == '1' || (!sl_machine_top(m) && m->mark_count))
        return sl_machine_pop_mark(m, &first, &count);
    return sl_machine_pop(m) ? SL_OK : sl_machine_malformed(m, "empty stack");
}

static sl_status op_dup(sl_machine *m, uint8_t opcode)
{
    (void)opcode;
    return sl_machine_top(m) ? sl_machine_push(m, sl_machine_top(m))
                             : sl_machine_malformed(m, "empty stack");
}

static sl_status op_none(sl_machine *m, uint8_t opcode)
{
    (void)opcode;
    sl_pickle *value;
    return sl_machine_push_new(m, SL_PICKLE_NONE, &value);
}

static sl_status op_bool(sl_machine *m, uint8_t opcode)
{
    sl_pickle *value;
    sl_status st = sl_machine_push_new(m, SL_PICKLE_BOOL, &value);
    if (st == SL_OK)
        value->boolean = opcode == 0x88;
    return st;
}

static sl_status op_int(sl_machine *m, uint8_t opcode)
{
    uint64_t number;
    sl_pickle *value;
    sl_status st = sl_machine_read_number(m, opcode == 'J' ? 4 : opcode == 'M' ? 2 : 1, &number);
    if (st == SL_OK)
        st = sl_machine_push_new(m, SL_PICKLE_INT, &value);
    if (st == SL_OK)
        value->integer = opcode == 'J' ? (int32_t)(uint32_t)number : (int64_t)number;
    return st;
}

// LONG1, LONG4: two's complement of as many bytes as it takes.
static sl_status op_long(sl_machine *m, uint8_t opcode)
{
    uint64_t size;
    sl_pickle_text bytes;
    sl_pickle *value;
    sl_status st = sl_machine_read_number(m, opcode == 0x8a ? 1 : 4, &size);
    if (st == SL_OK)
        st = sl_machine_read_bytes(m, size, &bytes);
    if (st == SL_OK)
        st = sl_machine_push_new(m, size > 8 ? SL_PICKLE_LONG : SL_PICKLE_INT, &value);
    if (st != SL_OK || size > 8)
        return st;
    uint64_t number = size > 0 && (bytes.data[size - 1] & 0x80) ? UINT64_MAX : 0;
    memcpy(&number, bytes.data, size);
    value->integer = (int64_t)number;
    return SL_OK;
}

static sl_status op_float(sl_machine *m, uint8_t opcode)
{
    (void)opcode;
    uint64_t number;
    sl_pickle *value;
    sl_status st = sl_machine_read_number(m, 8, &number);
    if (st == SL_OK)
        st = sl_machine_push_new(m, SL_PICKLE_FLOAT, &value);
    if (st == SL_OK) {
        number = __builtin_bswap64(number); // the one big-endian thing in a pickle
        memcpy(&value->real, &number, sizeof(number));
    }
    return st;
}

static sl_status push_text(sl_machine *m, sl_pickle_kind kind, size_t length_bytes)
{
    uint64_t size;
    sl_pickle_text text;
    sl_pickle *value;
    sl_status st = sl_machine_read_number(m, length_bytes, &size);
    if (st == SL_OK)
        st = sl_machine_read_bytes(m, size, &text);
    if (st == SL_OK)
        st = sl_machine_push_new(m, kind, &value);
    if (st == SL_OK)
        value->text = text;
    return st;
}

// Python 2's byte strings (T, U) are text: it names tensors with them.
static sl_status op_text(sl_machine *m, uint8_t opcode)
{
    return push_text(m, SL_PICKLE_TEXT,
                     opcode == 0x8c || opcode == 'U'  ? 1
                     : opcode == 'X' || opcode == 'T' ? 4
                                                      : 8);
}

static sl_status op_bytes(sl_machine *m, uint8_t opcode)
{
    return push_text(m, SL_PICKLE_BYTES, opcode == 'C' ? 1 : opcode == 'B' ? 4 : 8);
}

static sl_status op_empty(sl_machine *m, uint8_t opcode)
{
    sl_pickle *value;
    return sl_machine_push_new(m,
                               opcode == ']'   ? SL_PICKLE_LIST
                               : opcode == '}' ? SL_PICKLE_DICT
                               : opcode == ')' ? SL_PICKLE_TUPLE
                                               : SL_PICKLE_SET,
                               &value);
}

// TUPLE1, TUPLE2, TUPLE3
static sl_status op_short_tuple(sl_machine *m, uint8_t opcode)
{
    size_t count = opcode - 0x84u;
    size_t floor = m->mark_count ? m->marks[m->mark_count - 1] : 0;
    sl_pickle *value;
    if (m->height - floor < count)
        return sl_machine_malformed(m, "empty stack");
    sl_status st = sl_machine_new_node(m, SL_PICKLE_TUPLE, &value);
    if (st == SL_OK)
        st = sl_machine_add_items(m, value, m->stack + m->height - count, count);
    if (st != SL_OK)
        return st;
    m->height -= count;
    return sl_machine_push(m, value);
}

// TUPLE, LIST, DICT, FROZENSET: from the last mark upwards.
static sl_status op_collect(sl_machine *m, uint8_t opcode)
{
    sl_pickle *const *first;
    size_t count;
    sl_pickle *value;
    sl_status st = sl_machine_pop_mark(m, &first, &count);
    if (st == SL_OK && opcode == 'd' && count % 2)
        st = sl_machine_malformed(m, "key without a value");
    if (st == SL_OK)
        st = sl_machine_new_node(m,
                                 opcode == 't'   ? SL_PICKLE_TUPLE
                                 : opcode == 'l' ? SL_PICKLE_LIST
                                 : opcode == 'd' ? SL_PICKLE_DICT
                                                 : SL_PICKLE_SET,
                                 &value);
    if (st == SL_OK)
        st = sl_machine_add_items(m, value, first, count);
    return st == SL_OK ? sl_machine_push(m, value) : st;
}

static sl_status append(sl_machine *m, sl_pickle *const *items, size_t count)
{
    sl_pickle *to = sl_machine_top(m);
    if (to && (to->kind == SL_PICKLE_LIST || to->kind == SL_PICKLE_SET))
        return sl_machine_add_items(m, to, items, count);
    // What a foreign object does with it is its own affair.
    return to && to->kind == SL_PICKLE_OBJECT ? SL_OK
                                              : sl_machine_malformed(m, "appends to no list");
}

static sl_status op_append(sl_machine *m, uint8_t opcode)
{
    (void)opcode;
    sl_pickle *value = sl_machine_pop(m);
    return value ? append(m, &value, 1) : sl_machine_malformed(m, "empty stack");
}

// APPENDS, ADDITEMS
static sl_status op_appends(sl_machine *m, uint8_t opcode)
{
    (void)opcode;
    sl_pickle *const *first;
    size_t count;
    sl_status st = sl_machine_pop_mark(m, &first, &count);
    return st == SL_OK ? append(m, first, count) : st;
}

static sl_status set_items(sl_machine *m, sl_pickle *const *items, size_t count)
{
    sl_pickle *to = sl_machine_top(m);
    if (count % 2)
        return sl_machine_malformed(m, "key without a value");
    if (to && (to->kind == SL_PICKLE_DICT || to->kind == SL_PICKLE_OBJECT))
        return sl_machine_add_items(m, to, items, count);
    return sl_machine_malformed(m, "sets keys of no dict");
}

static sl_status op_setitem(sl_machine *m, uint8_t opcode)
{
    (void)opcode;
    sl_pickle *value = sl_machine_pop(m), *key = value ? sl_machine_pop(m) : NULL;
    return key ? set_items(m, (sl_pickle *[]) { key, value }, 2)
               : sl_machine_malformed(m, "empty stack");
}

static sl_status op_setitems(sl_machine *m, uint8_t opcode)
{
    (void)opcode;
    sl_pickle *const *first;
    size_t count;
    sl_status st = sl_machine_pop_mark(m, &first, &count);
    return st == SL_OK ? set_items(m, first, count) : st;
}

// BINGET, LONG_BINGET
static sl_status op_get(sl_machine *m, uint8_t opcode)
{
    uint64_t index;
    sl_status st = sl_machine_read_number(m, opcode == 'h' ? 1 : 4, &index);
    if (st != SL_OK)
        return st;
    if (index >= m->memo_room || !m->memo[index])
        return sl_machine_malformed(m, "refers to a value that was not kept");
    return sl_machine_push(m, m->memo[index]);
}

// BINPUT, LONG_BINPUT, MEMOIZE
static sl_status op_put(sl_machine *m, uint8_t opcode)
{
    uint64_t index = m->memo_count;
    sl_pickle *value = sl_machine_top(m);
    if (!value)
        return sl_machine_malformed(m, "empty stack");
    sl_status st = SL_OK;
    if (opcode != 0x94)
        st = sl_machine_read_number(m, opcode == 'q' ? 1 : 4, &index);
    if (st == SL_OK && index >= SL_PICKLE_MAX_MEMO)
        st = sl_machine_limit(m, "values kept", SL_PICKLE_MAX_MEMO);
    if (st == SL_OK)
        st = sl_machine_grow(m, &m->memo, &m->memo_room, (size_t)index + 1, sizeof(*m->memo));
    if (st != SL_OK)
        return st;
    m->memo_count += !m->memo[index]; // MEMOIZE numbers by what the memo holds
    m->memo[index] = value;
    return SL_OK;
}

static sl_status op_global(sl_machine *m, uint8_t opcode)
{
    (void)opcode;
    sl_pickle_text module, name;
    sl_pickle *value;
    sl_status st = sl_machine_read_line(m, &module);
    if (st == SL_OK)
        st = sl_machine_read_line(m, &name);
    if (st == SL_OK)
        st = sl_machine_push_new(m, SL_PICKLE_GLOBAL, &value);
    if (st == SL_OK) {
        value->global.module = module;
        value->global.name = name;
    }
    return st;
}

static sl_status op_stack_global(sl_machine *m, uint8_t opcode)
{
    (void)opcode;
    sl_pickle *name = sl_machine_pop(m), *module = name ? sl_machine_pop(m) : NULL, *value;
    if (!module || module->kind != SL_PICKLE_TEXT || name->kind != SL_PICKLE_TEXT)
        return sl_machine_malformed(m, "a global without a name");
    sl_status st = sl_machine_push_new(m, SL_PICKLE_GLOBAL, &value);
    if (st == SL_OK) {
        value->global.module = module->text;
        value->global.name = name->text;
    }
    return st;
}

// REDUCE, NEWOBJ, NEWOBJ_EX
static sl_status op_call(sl_machine *m, uint8_t opcode)
{
    if (opcode == 0x92 && !sl_machine_pop(m)) // keyword arguments
        return sl_machine_malformed(m, "empty stack");
    sl_pickle *argument = sl_machine_pop(m), *callee = argument ? sl_machine_pop(m) : NULL, *value;
    if (!callee)
        return sl_machine_malformed(m, "empty stack");
    sl_status st = sl_machine_push_new(m, SL_PICKLE_OBJECT, &value);
    if (st == SL_OK) {
        value->object.callee = callee;
        value->object.argument = argument;
    }
    return st;
}

// The state of an object means nothing here.
static sl_status op_build(sl_machine *m, uint8_t opcode)
{
    (void)opcode;
    return sl_machine_pop(m) && sl_machine_top(m) ? SL_OK : sl_machine_malformed(m, "empty stack");
}

static sl_status op_persistent(sl_machine *m, uint8_t opcode)
{
    (void)opcode;
    sl_pickle *argument = sl_machine_pop(m), *value;
    if (!argument)
        return sl_machine_malformed(m, "empty stack");
    sl_status st = sl_machine_push_new(m, SL_PICKLE_PERSISTENT, &value);
    if (st == SL_OK)
        value->object.argument = argument;
    return st;
}

const sl_pickle_opcode sl_pickle_opcodes[256] = {
    ['('] = { "MARK", op_mark },
    ['.'] = { "STOP", op_stop },
    ['0'] = { "POP", op_pop },
    ['1'] = { "POP_MARK", op_pop },
    ['2'] = { "DUP", op_dup },
    ['B'] = { "BINBYTES", op_bytes },
    ['C'] = { "SHORT_BINBYTES", op_bytes },
    ['F'] = { "FLOAT", NULL },
    ['G'] = { "BINFLOAT", op_float },
    ['I'] = { "INT", NULL },
    ['J'] = { "BININT", op_int },
    ['K'] = { "BININT1", op_int },
    ['L'] = { "LONG", NULL },
    ['M'] = { "BININT2", op_int },
    ['N'] = { "NONE", op_none },
    ['P'] = { "PERSID", NULL },
    ['Q'] = { "BINPERSID", op_persistent },
    ['R'] = { "REDUCE", op_call },
    ['S'] = { "STRING", NULL },
    ['T'] = { "BINSTRING", op_text },
    ['U'] = { "SHORT_BINSTRING", op_text },
    ['V'] = { "UNICODE", NULL },
    ['X'] = { "BINUNICODE", op_text },
    ['a'] = { "APPEND", op_append },
    ['b'] = { "BUILD", op_build },
    ['c'] = { "GLOBAL", op_global },
    ['d'] = { "DICT", op_collect },
    ['e'] = { "APPENDS", op_appends },
    ['g'] = { "GET", NULL },
    ['h'] = { "BINGET", op_get },
    ['i'] = { "INST", NULL },
    ['j'] = { "LONG_BINGET", op_get },
    ['l'] = { "LIST", op_collect },
    ['o'] = { "OBJ", NULL },
    ['p'] = { "PUT", NULL },
    ['q'] = { "BINPUT", op_put },
    ['r'] = { "LONG_BINPUT", op_put },
    ['s'] = { "SETITEM", op_setitem },
    ['t'] = { "TUPLE", op_collect },
    ['u'] = { "SETITEMS", op_setitems },
    [']'] = { "EMPTY_LIST", op_empty },
    ['}'] = { "EMPTY_DICT", op_empty },
    [')'] = { "EMPTY_TUPLE", op_empty },
    [0x80] = { "PROTO", op_proto },
    [0x81] = { "NEWOBJ", op_call },
    [0x82] = { "EXT1", NULL },
    [0x83] = { "EXT2", NULL },
    [0x84] = { "EXT4", NULL },
    [0x85] = { "TUPLE1", op_short_tuple },
    [0x86] = { "TUPLE2", op_short_tuple },
    [0x87] = { "TUPLE3", op_short_tuple },
    [0x88] = { "NEWTRUE", op_bool },
    [0x89] = { "NEWFALSE", op_bool },
    [0x8a] = { "LONG1", op_long },
    [0x8b] = { "LONG4", op_long },
    [0x8c] = { "SHORT_BINUNICODE", op_text },
    [0x8d] = { "BINUNICODE8", op_text },
    [0x8e] = { "BINBYTES8", op_bytes },
    [0x8f] = { "EMPTY_SET", op_empty },
    [0x90] = { "ADDITEMS", op_appends },
    [0x91] = { "FROZENSET", op_collect },
    [0x92] = { "NEWOBJ_EX", op_call },
    [0x93] = { "STACK_GLOBAL", op_stack_global },
    [0x94] = { "MEMOIZE", op_put },
    [0x95] = { "FRAME", op_frame },
    [0x96] = { "BYTEARRAY8", op_bytes },
    [0x97] = { "NEXT_BUFFER", NULL },
    [0x98] = { "READONLY_BUFFER", NULL },
};
