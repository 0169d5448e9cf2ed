/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* One question about order, pass, token or draws -> its answer, as one line of text each. The
 * second implementation answers the same questions (answers.py, which explains them); the lines
 * must be equal. */
#ifndef TESTS_ORDER_ANSWER_H
#define TESTS_ORDER_ANSWER_H

#include <stddef.h>

enum { QUESTION_MAX = 1 << 16, ANSWER_MAX = 1 << 16 };

/* question is cut up on the way. -1 when it is no question this program knows. */
int answer(char *question, char ret_text[ANSWER_MAX]);

#endif
