/* A disk that has become slow, for a process that is started with this in LD_PRELOAD: before each write that must be
 * durable and each sync it sleeps as many milliseconds as the file SLOW_DISK_FILE says (four bytes, little-endian,
 * mapped: whoever writes there slows the process down, and lets go of it again). */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile uint32_t *delay_ms;

__attribute__((constructor)) static void slow_disk_begin(void)
{
    const char *path = getenv("SLOW_DISK_FILE");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        abort();
    void *mapped = mmap(NULL, sizeof(*delay_ms), PROT_READ, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED)
        abort();
    delay_ms = mapped;
    close(fd);
}

static void be_slow(void)
{
    struct timespec left = {.tv_sec = *delay_ms / 1000, .tv_nsec = (long)(*delay_ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0)
        ;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t) =
        (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
    if ((fcntl(fd, F_GETFL) & O_DSYNC) != 0)
        be_slow();
    return real(fd, data, size, offset);
}

int fdatasync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    be_slow();
    return real(fd);
}

int fsync(int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    be_slow();
    return real(fd);
}
