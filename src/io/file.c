/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Opens without blocking, so that a FIFO in the place of a shard cannot hold the daemon, then takes
 * O_NONBLOCK away again: io_uring would answer EAGAIN for every read that has to wait.
 *
 * Where statx says nothing about direct reads (Linux before 6.1, many file systems) they are taken for granted: some
 * accept the flag at open and refuse the read, which the engine sees and then goes without. Nothing is read here to find
 * out.
 *
 * Any of these calls waits for the server of a file that has one, close included (FUSE sends a FLUSH): the daemon makes
 * them in the engine's threads.
 */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fault.h"

enum { ALIGNMENT = 4096, ALIGNMENT_MAX = 65536 };

static uint32_t larger(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* 0: direct reads do not work on this file. */
static uint32_t direct_alignment(int fd)
{
	struct statx sx;
	uint32_t n;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) < 0 || !(sx.stx_mask & STATX_DIOALIGN))
		return ALIGNMENT;
	n = larger(sx.stx_dio_mem_align, sx.stx_dio_offset_align);
	if (sx.stx_dio_mem_align == 0 || sx.stx_dio_offset_align == 0 || n > ALIGNMENT_MAX || (n & (n - 1)) != 0)
		return 0;
	return n;
}

/* By what the file system says it is: statfs(2), and for those outside of Linux what coreutils' stat -f knows. */
static bool is_behind_server(int fd)
{
	static const unsigned kinds[] = {
		0x65735546 /* FUSE */, 0x6969 /* NFS */, 0xfe534d42 /* SMB2 */, 0xff534d42 /* CIFS */,
		0x00c36400 /* Ceph */, 0x01021997 /* 9p */, 0x5346414f /* AFS */, 0x6b414653 /* kAFS */,
		0x0bd00bd0 /* Lustre */, 0x47504653 /* GPFS */, 0x19830326 /* BeeGFS */, 0xaad7aaea /* PanFS */,
		0xbeefdead /* StorNext */, 0x01161970 /* GFS2 */, 0x7461636f /* OCFS2 */,
	};
	struct statfs of;

	if (fstatfs(fd, &of) < 0)
		return false;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if ((unsigned)of.f_type == kinds[i])
			return true;
	return false;
}

static int open_plain(const char *path, bool direct, bool *ret_direct)
{
	const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	int fd = -1;

	if (direct)
		fd = open(path, flags | O_DIRECT);
	*ret_direct = fd >= 0;
	if (fd < 0 && (!direct || errno == EINVAL || errno == EOPNOTSUPP))
		fd = open(path, flags);
	return fd;
}

int io_file_open(const char *path, bool direct, struct io_file *ret)
{
	struct io_file f = {.alignment = ALIGNMENT};
	int r;

	f.fd = open_plain(path, direct, &f.is_direct);
	if (f.fd < 0)
		return fail(-errno);
	if (fstat(f.fd, &f.st) < 0) {
		r = fail(-errno);
		goto out;
	}
	if (!S_ISREG(f.st.st_mode)) {
		r = fail(S_ISDIR(f.st.st_mode) ? -EISDIR : -EOPNOTSUPP);
		goto out;
	}
	if (f.is_direct) {
		uint32_t alignment = direct_alignment(f.fd);

		f.is_direct = alignment != 0;
		f.alignment = f.is_direct ? alignment : ALIGNMENT;
	}
	f.is_remote = is_behind_server(f.fd);
	if (fcntl(f.fd, F_SETFL, f.is_direct ? O_DIRECT : 0) < 0) {
		r = fail(-errno);
		goto out;
	}
	*ret = f;
	return 0;
out:
	io_file_close(&f);
	return r;
}

int io_file_look(const struct io_file *f, struct stat *ret)
{
	struct statx sx;

	if (!f->is_remote)
		return fstat(f->fd, ret) < 0 ? fail(-errno) : 0;
	if (statx(f->fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_INO | STATX_SIZE | STATX_MTIME, &sx) < 0)
		return fail(-errno);
	*ret = (struct stat){.st_dev = makedev(sx.stx_dev_major, sx.stx_dev_minor), .st_ino = sx.stx_ino,
			     .st_size = (off_t)sx.stx_size, .st_mtim = {sx.stx_mtime.tv_sec, sx.stx_mtime.tv_nsec}};
	return 0;
}

void io_file_close(struct io_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}
