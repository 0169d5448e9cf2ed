/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Plain ECMA-48 sequences that every terminal of today knows. Signals are blocked but while it waits, so that
 * none is missed between a look at the flag and the wait. Without an open screen lines go to stdout as they are.
 */
#include "main/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { COLUMNS_MAX = 500, DRAWING_MAX = 256 << 10 };

static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
enum { N_ENDING = sizeof(ending) / sizeof(*ending) };

static const char *const looks[LOOK_COUNT] = {
	[LOOK_BOLD] = "\033[1m", [LOOK_DIM] = "\033[2m", [LOOK_RED] = "\033[31m"};

static struct {
	struct termios before;
	sigset_t mask; /* as it was: while it waits */
	bool is_open, has_looks;
	unsigned rows, columns, row;
	char *drawing;
	size_t n;
} screen;
static volatile sig_atomic_t ended_by, is_resized, is_stopped;

static void catch(int number)
{
	if (number == SIGWINCH)
		is_resized = 1;
	else if (number == SIGTSTP)
		is_stopped = 1;
	else
		ended_by = number;
}

static void measure(void)
{
	struct winsize size;

	screen.rows = 24;
	screen.columns = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col) {
		screen.rows = size.ws_row;
		screen.columns = size.ws_col < COLUMNS_MAX ? size.ws_col : COLUMNS_MAX;
	}
}

static void send(const char *bytes, size_t n)
{
	while (n > 0) {
		ssize_t sent = write(STDOUT_FILENO, bytes, n);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return; /* the terminal is gone: its hang-up ends the program */
		bytes += sent;
		n -= (size_t)sent;
	}
}

static void enter(void)
{
	static const char sequence[] = "\033[?1049h\033[?25l\033[2J";
	struct termios raw = screen.before;

	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
	send(sequence, sizeof(sequence) - 1);
}

static void leave(void)
{
	static const char sequence[] = "\033[0m\033[?25h\033[?1049l";

	send(sequence, sizeof(sequence) - 1);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &screen.before);
}

bool screen_open(void)
{
	const struct sigaction on_signal = {.sa_handler = catch};
	const char *kind = getenv("TERM"), *no_colour = getenv("NO_COLOR");
	sigset_t blocked;

	measure();
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || !kind || strcmp(kind, "dumb") == 0 ||
	    tcgetattr(STDIN_FILENO, &screen.before) < 0)
		return false;
	screen.drawing = malloc(DRAWING_MAX);
	if (!screen.drawing)
		return false;
	sigemptyset(&blocked);
	for (unsigned i = 0; i < N_ENDING; i++) {
		sigaddset(&blocked, ending[i]);
		sigaction(ending[i], &on_signal, NULL);
	}
	sigaddset(&blocked, SIGWINCH);
	sigaddset(&blocked, SIGTSTP);
	sigaction(SIGWINCH, &on_signal, NULL);
	sigaction(SIGTSTP, &on_signal, NULL);
	sigprocmask(SIG_BLOCK, &blocked, &screen.mask);
	screen.has_looks = !no_colour || !*no_colour;
	screen.is_open = true;
	enter();
	return true;
}

void screen_close(void)
{
	if (!screen.is_open)
		return;
	leave();
	screen.is_open = false;
	free(screen.drawing);
	sigprocmask(SIG_SETMASK, &screen.mask, NULL);
}

/* Ctrl-Z: the shell gets its terminal, and we get it again when we go on. */
static void stop(void)
{
	is_stopped = 0;
	leave();
	kill(getpid(), SIGSTOP);
	enter();
	measure();
}

enum screen_event screen_wait(int timeout_ms, char *ret_key)
{
	const struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
	int n = ppoll(&in, 1, &timeout, &screen.mask);

	if (is_stopped) {
		stop();
		return SCREEN_RESIZED;
	}
	if (ended_by)
		return SCREEN_END;
	if (is_resized) {
		is_resized = 0;
		measure();
		return SCREEN_RESIZED;
	}
	if (n <= 0)
		return SCREEN_TIME;
	if (read(STDIN_FILENO, ret_key, 1) != 1)
		return SCREEN_END; /* the terminal is gone */
	return SCREEN_KEY;
}

int screen_signal(void)
{
	return ended_by;
}

unsigned screen_columns(void)
{
	return screen.columns;
}

static void add(const char *bytes, size_t n)
{
	if (n > DRAWING_MAX - screen.n)
		return;
	memcpy(screen.drawing + screen.n, bytes, n);
	screen.n += n;
}

void screen_begin(void)
{
	screen.row = 0;
	screen.n = 0;
	if (screen.is_open)
		add("\033[H", 3);
}

/* Length of text in bytes up to so many characters. */
static size_t cut(const char *text, unsigned n_characters)
{
	size_t n = 0;

	for (; text[n]; n++)
		if (((unsigned char)text[n] & 0xc0) != 0x80 && n_characters-- == 0)
			return n;
	return n;
}

void screen_line(enum screen_look look, const char *format, ...)
{
	char text[4 * COLUMNS_MAX];
	bool is_looked = screen.is_open && screen.has_looks && looks[look];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	if (!screen.is_open) {
		puts(text);
		return;
	}
	if (screen.row >= screen.rows)
		return;
	if (screen.row++ > 0)
		add("\r\n", 2);
	if (is_looked)
		add(looks[look], strlen(looks[look]));
	add(text, cut(text, screen.columns - 1)); /* in the last column some terminals would wrap, or erase it */
	if (is_looked)
		add("\033[0m", 4);
	add("\033[K", 3);
}

void screen_end(void)
{
	if (!screen.is_open)
		return;
	add("\033[J", 3);
	send(screen.drawing, screen.n);
}
