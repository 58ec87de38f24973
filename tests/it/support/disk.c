/* A disk that fails on command, to be loaded before a program: LD_PRELOAD. What it does to the
 * files under DISK_FOLDER is the first letter of the file DISK_CONTROL: f is full, e fails to
 * flush, s flushes slowly, anything else works. Each fault adds a byte to DISK_FAULTS. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static char state(int fd) {
  const char *folder = getenv("DISK_FOLDER"), *control = getenv("DISK_CONTROL");
  char link[64], path[PATH_MAX], letter = 0;
  if (!folder || !control) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0 || strncmp(path, folder, strlen(folder)) != 0) return 0;
  int file = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0);
  if (file < 0) return 0;
  if (syscall(SYS_read, file, &letter, 1) != 1) letter = 0;
  syscall(SYS_close, file);
  return letter;
}

static int fault(int code) {
  int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC;
  int file = syscall(SYS_openat, AT_FDCWD, getenv("DISK_FAULTS"), flags, 0600);
  if (file >= 0) {
    syscall(SYS_write, file, "!", 1);
    syscall(SYS_close, file);
  }
  errno = code;
  return -1;
}

/* Saves errno, which a call that works leaves as it was. */
static int is_full(int fd) {
  int before = errno, full = state(fd) == 'f';
  errno = before;
  return full;
}

static int grows(int fd, off_t size) {
  struct stat now;
  return fstat(fd, &now) == 0 && size > now.st_size;
}

#define WRITE(name, number, given, ...)                                \
  ssize_t name given {                                                 \
    return is_full(fd) ? fault(ENOSPC) : syscall(number, __VA_ARGS__); \
  }
WRITE(write, SYS_write, (int fd, const void *bytes, size_t count), fd, bytes, count)
WRITE(writev, SYS_writev, (int fd, const struct iovec *parts, int count), fd, parts, count)
WRITE(pwrite, SYS_pwrite64, (int fd, const void *bytes, size_t count, off_t at), fd, bytes, count, at)
WRITE(pwrite64, SYS_pwrite64, (int fd, const void *bytes, size_t count, off64_t at), fd, bytes, count, at)

int ftruncate(int fd, off_t size) {
  return is_full(fd) && grows(fd, size) ? fault(ENOSPC) : syscall(SYS_ftruncate, fd, size);
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int fallocate(int fd, int mode, off_t at, off_t size) {
  return is_full(fd) ? fault(ENOSPC) : syscall(SYS_fallocate, fd, mode, at, size);
}
int fallocate64(int fd, int mode, off64_t at, off64_t size) { return fallocate(fd, mode, at, size); }
/* These two give the error instead of setting it. */
int posix_fallocate(int fd, off_t at, off_t size) { return fallocate(fd, 0, at, size) ? errno : 0; }
int posix_fallocate64(int fd, off64_t at, off64_t size) { return posix_fallocate(fd, at, size); }

static int flush(int fd, long number) {
  const struct timespec long_time = {.tv_nsec = 200000000};
  int before = errno;
  char now = state(fd);
  errno = before;
  if (now == 'e') return fault(EIO);
  if (now == 's') nanosleep(&long_time, NULL);
  return syscall(number, fd);
}
int fsync(int fd) { return flush(fd, SYS_fsync); }
int fdatasync(int fd) { return flush(fd, SYS_fdatasync); }
