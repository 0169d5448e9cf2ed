/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/* Questions on stdin, one a line, answers on stdout: what compare.py drives. */
#include "answer.h"

#include <stdio.h>
#include <string.h>

int main(void)
{
	static char question[QUESTION_MAX], text[ANSWER_MAX];

	while (fgets(question, sizeof(question), stdin)) {
		question[strcspn(question, "\n")] = 0;
		if (answer(question, text) < 0) {
			fprintf(stderr, "no such question: %s\n", question);
			return 1;
		}
		puts(text);
	}
	return 0;
}
