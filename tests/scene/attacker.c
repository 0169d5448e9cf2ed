/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the ringfeed authors */
/*
 * Whoever has got a slot's descriptor tries every way to write it: through the descriptor, through a mapping, through
 * the kernel, and through the processes that may write it.
 *
 *   attacker SIZE PID... < SLOT
 *
 * Prints a line for each way: its name, and "written" or why it was not. Exit code 0: none wrote; 3: one did.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <liburing.h>

enum { N = 16, PAGE = 4096 }; /* N: bytes that each way tries to write */

static int slot;
static size_t size;
static volatile unsigned char *seen; /* the slot, mapped for reading */
static size_t spot; /* where: the front of a page that does not begin with zeros */
static unsigned char mark[N], before[N];
static bool has_written;
static pid_t victim;

/* r < 0: errno says why. Whatever r is, the bytes decide. */
static void judge(const char *way, long r)
{
	const int error = errno;
	bool is_changed = false;
	struct stat st;

	for (unsigned i = 0; i < N; i++)
		is_changed = is_changed || seen[spot + i] != before[i];
	if (fstat(slot, &st) == 0 && (size_t)st.st_size != size)
		is_changed = true;
	printf("%s: %s\n", way, is_changed ? "written" : r < 0 ? strerror(error) : "no effect");
	fflush(stdout);
	has_written = has_written || is_changed;
}

/* Before each way: what one wrote must not pass for the next one's. */
static void fresh(void)
{
	for (unsigned i = 0; i < N; i++) {
		before[i] = seen[spot + i];
		mark[i] = (unsigned char)(before[i] + 1 + i);
	}
}

static int store(void *base)
{
	char *at = (char *)base + spot;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		memcpy(at, mark, N);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	errno = EFAULT;
	return WIFEXITED(status) ? 0 : -1;
}

static void map_and_store(const char *way, int fd, int flags)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);

	judge(way, at == MAP_FAILED ? -1 : store(at));
	if (at != MAP_FAILED)
		munmap(at, size);
}

static void by_descriptor(void)
{
	int fd;

	fresh();
	map_and_store("mmap", slot, MAP_SHARED);
	fresh();
	map_and_store("mmap, private", slot, MAP_PRIVATE);
	fresh();
	judge("pwrite", pwrite(slot, mark, N, (off_t)spot));
	fresh();
	lseek(slot, (off_t)spot, SEEK_SET);
	judge("write", write(slot, mark, N));
	fresh();
	judge("pwritev2", pwritev2(slot, &(struct iovec){mark, N}, 1, (off_t)spot, RWF_NOWAIT));
	fresh();
	judge("fallocate, hole", fallocate(slot, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)spot, PAGE));
	fresh();
	judge("fallocate, zeros", fallocate(slot, FALLOC_FL_ZERO_RANGE, (off_t)spot, PAGE));
	fresh();
	judge("ftruncate, shorter", ftruncate(slot, (off_t)size - PAGE));
	fresh();
	judge("ftruncate, longer", ftruncate(slot, (off_t)size + PAGE));
	fresh();
	judge("chmod", fchmod(slot, 0777));
	fd = open("/proc/self/fd/0", O_RDWR);
	judge("open again", fd < 0 ? -1 : pwrite(fd, mark, N, (off_t)spot));
	fresh();
	if (fd >= 0)
		map_and_store("open again, mmap", fd, MAP_SHARED);
	judge("open again, truncate", open("/proc/self/fd/0", O_RDWR | O_TRUNC));
}

static void by_kernel(void)
{
	int in[2], file = memfd_create("attacker", 0);
	loff_t to = (loff_t)spot;

	if (pipe(in) < 0 || file < 0)
		exit(1);
	fresh();
	if (write(in[1], mark, N) != N)
		exit(1);
	judge("splice", splice(in[0], NULL, slot, &to, N, 0));
	fresh();
	judge("vmsplice", vmsplice(in[1], &(struct iovec){mark, N}, 1, SPLICE_F_GIFT) < 0
				  ? -1 : splice(in[0], NULL, slot, &(loff_t){(loff_t)spot}, N, SPLICE_F_MOVE));
	fresh();
	if (pwrite(file, mark, N, 0) != N)
		exit(1);
	lseek(slot, (off_t)spot, SEEK_SET);
	judge("sendfile", sendfile(slot, file, &(off_t){0}, N));
	fresh();
	judge("copy_file_range", copy_file_range(file, &(loff_t){0}, slot, &(loff_t){(loff_t)spot}, N, 0));
}

static void by_mapping(void)
{
	char *at = mmap(NULL, size, PROT_READ, MAP_SHARED, slot, 0);
	int file = memfd_create("attacker", 0), memory = open("/proc/self/mem", O_RDWR);
	struct iovec from = {mark, N}, to = {at + spot, N};

	if (at == MAP_FAILED || file < 0)
		exit(1);
	fresh();
	judge("mprotect", mprotect(at, size, PROT_READ | PROT_WRITE) < 0 ? -1 : store(at));
	mprotect(at, size, PROT_READ);
	fresh();
	judge("/proc/self/mem", memory < 0 ? -1 : pwrite(memory, mark, N, (off_t)(uintptr_t)(at + spot)));
	fresh();
	judge("process_vm_writev, self", process_vm_writev(getpid(), &from, 1, &to, 1, 0));
	fresh();
	if (pwrite(file, mark, N, 0) != N)
		exit(1);
	judge("read into it", pread(file, at + spot, N, 0));
	fresh();
	judge("remap", mremap(at, size, size, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : store(at));
	at = mmap(NULL, size, PROT_READ, MAP_SHARED, slot, 0);
	fresh();
	judge("MADV_REMOVE", madvise(at + spot, PAGE, MADV_REMOVE));
}

static long complete(struct io_uring *ring)
{
	struct io_uring_cqe *done;
	int r = io_uring_submit_and_wait(ring, 1);

	if (r < 0 || io_uring_wait_cqe(ring, &done) < 0)
		return -1;
	r = done->res;
	io_uring_cqe_seen(ring, done);
	errno = r < 0 ? -r : 0;
	return r < 0 ? -1 : r;
}

static void by_ring(void)
{
	char *at = mmap(NULL, size, PROT_READ, MAP_SHARED, slot, 0);
	struct iovec whole = {at + spot, PAGE};
	int file = memfd_create("attacker", 0), r;
	struct io_uring ring;

	r = io_uring_queue_init(4, &ring, 0);
	if (r < 0 || at == MAP_FAILED || file < 0) {
		printf("io_uring: not here: %s\n", strerror(-r));
		return;
	}
	fresh();
	io_uring_prep_write(io_uring_get_sqe(&ring), slot, mark, N, spot);
	judge("io_uring, write", complete(&ring));
	fresh();
	if (pwrite(file, mark, N, 0) != N)
		exit(1);
	io_uring_prep_read(io_uring_get_sqe(&ring), file, at + spot, N, 0);
	judge("io_uring, read into it", complete(&ring));
	r = io_uring_register_buffers(&ring, &whole, 1);
	errno = -r;
	if (r == 0)
		io_uring_prep_read_fixed(io_uring_get_sqe(&ring), file, at + spot, N, 0, 0);
	judge("io_uring, read into it, registered", r < 0 ? -1 : complete(&ring));
	io_uring_queue_exit(&ring);
}

/* Where the slot lies in that process, or 0. */
static uint64_t find_mapping(pid_t pid)
{
	char path[64], line[512];
	unsigned long long from = 0, inode;
	struct stat st;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	maps = fopen(path, "r");
	if (!maps || fstat(slot, &st) < 0)
		return 0;
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%llx-%*x %*s %*s %*s %llu", &from, &inode) == 2 && inode == st.st_ino)
			break;
		else
			from = 0;
	fclose(maps);
	return from;
}

static void by_its_descriptors(void)
{
	struct stat mine, st;
	char path[64];
	bool is_tried = false;

	fstat(slot, &mine);
	for (int i = 0; i < 4096; i++) {
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)victim, i);
		fd = open(path, O_RDWR | O_NONBLOCK);
		if (fd < 0 && errno == EACCES && i == 0) {
			judge("its descriptors", -1);
			return;
		}
		if (fd >= 0 && fstat(fd, &st) == 0 && st.st_ino == mine.st_ino && st.st_dev == mine.st_dev) {
			fresh();
			judge("its descriptors", pwrite(fd, mark, N, (off_t)spot));
			is_tried = true;
		}
		if (fd >= 0)
			close(fd);
	}
	if (!is_tried) {
		errno = ENOENT;
		judge("its descriptors", -1);
	}
}

static void by_process(void)
{
	const uint64_t at = find_mapping(victim);
	struct iovec from = {mark, N}, to = {(void *)(uintptr_t)(at + spot), N};
	char path[64];
	int memory;
	long r;

	snprintf(path, sizeof(path), "/proc/%d/mem", (int)victim);
	memory = open(path, O_RDWR);
	fresh();
	judge("its memory", memory < 0 ? -1 : pwrite(memory, mark, N, (off_t)(at + spot)));
	fresh();
	judge("process_vm_writev", process_vm_writev(victim, &from, 1, &to, 1, 0));
	by_its_descriptors();
	fresh();
	r = syscall(SYS_pidfd_open, victim, 0);
	r = r < 0 ? r : syscall(SYS_pidfd_getfd, r, 0, 0);
	judge("pidfd_getfd", r);
	has_written = has_written || r >= 0;
	r = ptrace(PTRACE_SEIZE, victim, 0, 0);
	printf("ptrace: %s\n", r < 0 ? strerror(errno) : "written");
	has_written = has_written || r == 0;
}

int main(int argc, char **argv)
{
	slot = 0;
	size = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
	seen = mmap(NULL, size, PROT_READ, MAP_SHARED, slot, 0);
	if (seen == MAP_FAILED) {
		perror("the slot cannot be read");
		return 1;
	}
	while (spot + 2 * PAGE <= size && !seen[spot])
		spot += PAGE;
	by_descriptor();
	by_kernel();
	by_mapping();
	by_ring();
	for (int i = 2; i < argc; i++) {
		victim = atoi(argv[i]);
		printf("-- process %d\n", (int)victim);
		by_process();
	}
	return has_written ? 3 : 0;
}
