/* Let one call that changes files go wrong: preloaded into a process, which chooses the call by its number.

     cc -O1 -shared -fPIC faults.c -o faults.so -ldl

   faults_arm(below, mode, nth, error) counts the calls that change anything below a path, from 1; at the nth the process
   is killed before it (KILL) or after it (AFTER), a write is cut in half and the process killed (TORN), the call fails
   with an error, once (FAIL) or as every later one does (ALL), or Ctrl-C is pressed (STOP). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT = 1, KILL, AFTER, TORN, FAIL, ALL, STOP };
enum { GO_ON, FAILED, CUT, DIE };

static char below[PATH_MAX];
static int mode, failure;
static long nth, count;

void faults_arm(const char *path, int what, long number, int error) {
  strncpy(below, path, sizeof below - 1);
  count = 0, nth = number, failure = error, mode = what;
}
long faults_count(void) { return count; }
void faults_disarm(void) { mode = 0; }

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/* Whole path of a name that is relative to a folder's descriptor, or of a descriptor where there is no name. */
static void whole(int folder, const char *name, char *path) {
  char link[64];
  ssize_t size;
  if (name && name[0] == '/') {
    snprintf(path, PATH_MAX, "%s", name);
    return;
  }
  if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
  else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
  size = readlink(link, path, PATH_MAX - 1);
  path[size < 0 ? 0 : size] = 0;
  if (name) {
    strncat(path, "/", PATH_MAX - strlen(path) - 1);
    strncat(path, name, PATH_MAX - strlen(path) - 1);
  }
}

static int hit(int folder, const char *name) {
  char path[PATH_MAX];
  if (!mode) return GO_ON;
  whole(folder, name, path);
  if (strncmp(path, below, strlen(below))) return GO_ON;
  long number = __sync_add_and_fetch(&count, 1);
  if (mode == ALL && number >= nth) return errno = failure, FAILED;
  if (number != nth) return GO_ON;
  switch (mode) {
    case KILL: die();
    case AFTER: return DIE;
    case TORN: return CUT;
    case FAIL: return errno = failure, FAILED;
    case STOP: kill(getpid(), SIGINT);
  }
  return GO_ON;
}

#define REAL(result, name, ...)                               \
  static result (*real)(__VA_ARGS__);                         \
  if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name);
#define CALL(folder, name, call)                              \
  int what = hit(folder, name);                               \
  if (what == FAILED) return -1;                              \
  if (what == CUT) die();                                     \
  __typeof__(call) result = call;                             \
  if (what == DIE) die();                                     \
  return result;
#define OPENED(first, ...)                                    \
  va_list rest;                                               \
  va_start(rest, flags);                                      \
  int bits = va_arg(rest, int);                               \
  va_end(rest);                                               \
  if (!(flags & (O_CREAT | O_TRUNC))) return real(__VA_ARGS__, flags, bits); \
  CALL(first, name, real(__VA_ARGS__, flags, bits))
#define WRITTEN(call, half)                                   \
  int what = hit(file, NULL);                                 \
  if (what == FAILED) return -1;                              \
  if (what == CUT) { if (half) die(); die(); }                \
  ssize_t result = call;                                      \
  if (what == DIE) die();                                     \
  return result;

int open(const char *name, int flags, ...) { REAL(int, open, const char *, int, ...) OPENED(AT_FDCWD, name) }
int open64(const char *name, int flags, ...) { REAL(int, open64, const char *, int, ...) OPENED(AT_FDCWD, name) }
int openat(int folder, const char *name, int flags, ...) {
  REAL(int, openat, int, const char *, int, ...) OPENED(folder, folder, name)
}
int openat64(int folder, const char *name, int flags, ...) {
  REAL(int, openat64, int, const char *, int, ...) OPENED(folder, folder, name)
}
ssize_t write(int file, const void *bytes, size_t size) {
  REAL(ssize_t, write, int, const void *, size_t) WRITTEN(real(file, bytes, size), real(file, bytes, size / 2))
}
ssize_t pwrite(int file, const void *bytes, size_t size, off_t at) {
  REAL(ssize_t, pwrite, int, const void *, size_t, off_t)
  WRITTEN(real(file, bytes, size, at), real(file, bytes, size / 2, at))
}
ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t at) {
  REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t)
  WRITTEN(real(file, bytes, size, at), real(file, bytes, size / 2, at))
}
ssize_t writev(int file, const struct iovec *parts, int size) {
  REAL(ssize_t, writev, int, const struct iovec *, int)
  WRITTEN(real(file, parts, size), write(file, parts[0].iov_base, parts[0].iov_len / 2))
}
ssize_t sendfile(int file, int from, off_t *at, size_t size) {
  REAL(ssize_t, sendfile, int, int, off_t *, size_t) WRITTEN(real(file, from, at, size), real(file, from, at, size / 2))
}
ssize_t sendfile64(int file, int from, off64_t *at, size_t size) {
  REAL(ssize_t, sendfile64, int, int, off64_t *, size_t)
  WRITTEN(real(file, from, at, size), real(file, from, at, size / 2))
}
ssize_t copy_file_range(int from, off64_t *out, int file, off64_t *at, size_t size, unsigned flags) {
  REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned)
  WRITTEN(real(from, out, file, at, size, flags), real(from, out, file, at, size / 2, flags))
}
int fsync(int file) { REAL(int, fsync, int) CALL(file, NULL, real(file)) }
int fdatasync(int file) { REAL(int, fdatasync, int) CALL(file, NULL, real(file)) }
int ftruncate(int file, off_t size) { REAL(int, ftruncate, int, off_t) CALL(file, NULL, real(file, size)) }
int ftruncate64(int file, off64_t size) { REAL(int, ftruncate64, int, off64_t) CALL(file, NULL, real(file, size)) }
int fchmod(int file, mode_t bits) { REAL(int, fchmod, int, mode_t) CALL(file, NULL, real(file, bits)) }
int chmod(const char *name, mode_t bits) { REAL(int, chmod, const char *, mode_t) CALL(AT_FDCWD, name, real(name, bits)) }
int fchmodat(int folder, const char *name, mode_t bits, int flags) {
  REAL(int, fchmodat, int, const char *, mode_t, int) CALL(folder, name, real(folder, name, bits, flags))
}
int mkdir(const char *name, mode_t bits) { REAL(int, mkdir, const char *, mode_t) CALL(AT_FDCWD, name, real(name, bits)) }
int mkdirat(int folder, const char *name, mode_t bits) {
  REAL(int, mkdirat, int, const char *, mode_t) CALL(folder, name, real(folder, name, bits))
}
int rmdir(const char *name) { REAL(int, rmdir, const char *) CALL(AT_FDCWD, name, real(name)) }
int unlink(const char *name) { REAL(int, unlink, const char *) CALL(AT_FDCWD, name, real(name)) }
int unlinkat(int folder, const char *name, int flags) {
  REAL(int, unlinkat, int, const char *, int) CALL(folder, name, real(folder, name, flags))
}
int rename(const char *from, const char *name) {
  REAL(int, rename, const char *, const char *) CALL(AT_FDCWD, name, real(from, name))
}
int renameat(int one, const char *from, int folder, const char *name) {
  REAL(int, renameat, int, const char *, int, const char *) CALL(folder, name, real(one, from, folder, name))
}
int link(const char *from, const char *name) {
  REAL(int, link, const char *, const char *) CALL(AT_FDCWD, name, real(from, name))
}
int utimensat(int folder, const char *name, const struct timespec times[2], int flags) {
  REAL(int, utimensat, int, const char *, const struct timespec[2], int)
  CALL(folder, name, real(folder, name, times, flags))
}
