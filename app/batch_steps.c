// SPDX-License-Identifier: MIT
// app/batch_steps.c: the table of what a batch can do with a picture, and chains of it.
#include "batch.h"

#include <string.h>

static const batch_step *const steps[] = { &batch_step_deblur, &batch_step_classify,
                                           &batch_step_detect };

static const batch_step *find(const char *name, size_t length)
{
    for (size_t i = 0; i < APP_LEN(steps); i++)
        if (strlen(steps[i]->name) == length && memcmp(steps[i]->name, name, length) == 0)
            return steps[i];
    return NULL;
}

bool batch_has_step(const batch *b, const batch_step *step)
{
    for (size_t i = 0; i < b->step_count; i++)
        if (b->step[i] == step)
            return true;
    return false;
}

static app_exit refuse(const batch *b, const char *text, size_t length)
{
    char known[256] = "";
    for (size_t i = 0; i < APP_LEN(steps); i++) {
        size_t used = strlen(known);
        snprintf(known + used, sizeof(known) - used, "%s%s", used ? ", " : "", steps[i]->name);
    }
    return app_usage(b->session->command,
                     "\"%.*s\" is nothing that a batch does; name what to do first, one of %s, or "
                     "several with commas between",
                     (int)(length < 64 ? length : 64), text, known);
}

app_exit batch_write_tables(const batch *b)
{
    app_exit result = APP_DONE;
    for (size_t i = 0; i < b->step_count && result == APP_DONE; i++)
        if (b->table[i])
            result = b->step[i]->table(b, b->table[i]);
    for (size_t i = 0; i < b->step_count && result == APP_DONE; i++)
        if (b->step[i]->tables)
            result = b->step[i]->tables(b);
    return result;
}

app_exit batch_read_steps(batch *b, const char *text)
{
    for (;;) {
        size_t length = strcspn(text, ",");
        const batch_step *step = find(text, length);
        if (!step || b->step_count == BATCH_MAX_STEPS)
            return refuse(b, text, length);
        for (size_t i = 0; i < b->step_count; i++)
            if (b->step[i] == step)
                return app_usage(b->session->command, "%s is named twice", step->name);
        b->step[b->step_count++] = step;
        b->writes_pictures = b->writes_pictures || step->changes_picture;
        if (!text[length])
            return APP_DONE;
        text += length + 1;
    }
}
