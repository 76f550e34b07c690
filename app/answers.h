// SPDX-License-Identifier: MIT
// app/answers.h: what is in the pictures, as a table, JSON, JSON lines or CSV.
#ifndef SL_APP_ANSWERS_H
#define SL_APP_ANSWERS_H

#include "app.h"

typedef enum app_form { APP_TABLE, APP_JSON, APP_JSON_LINES, APP_CSV } app_form;

typedef struct app_answers {
    const app_session *session;
    app_form form;
    struct json_t *pictures; // of the one document of APP_JSON
} app_answers;

// By the session's values. APP_USAGE: they contradict each other; printed.
app_exit app_answers_form(const app_session *session, app_form *out);
// Prints the head of a CSV.
void app_answers_begin(const app_session *session, app_form form, app_answers *out);
// One picture: what is in it, or (found NULL) why that is not known. Printed and flushed at once,
// except as APP_JSON.
void app_answers_add(app_answers *answers, const char *input, const sl_classification *found,
                     const char *error);
// Prints the document of APP_JSON and frees.
void app_answers_end(app_answers *answers);

struct json_t;
// Sets unknown, confidence, threshold and matches of a JSON object.
void app_set_classification(struct json_t *object, const sl_classification *found);

#endif
