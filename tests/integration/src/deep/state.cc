// Signals, jumps out of handlers, cancellation and small stacks, while calls go to both kernels.
#include <atomic>
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#include <errno.h>

#define CHECK(what) do { if (!(what)) { printf("%s:%d: %s (errno %d)\n", __func__, __LINE__, #what, errno); exit(1); } } while (0)

static std::atomic<long> fired, in_handler; // calls of the timer, and failures in it
static const char *dir;
static char name[200];

static void on_timer(int) {
    if (fired++ % 8) return;
    int saved = errno;

    char text[8];
    // The handler makes calls to both kernels itself.
    int fd = open(name, O_RDONLY);
    if (fd < 0 || read(fd, text, 5) != 5 || memcmp(text, "hello", 5) || close(fd)) in_handler++;
    fd = open("/dev/zero", O_RDONLY);
    if (fd < 0 || read(fd, text, 8) != 8 || close(fd)) in_handler++;
    errno = saved;
}

static void timer(long us) {
    itimerval every = {{0, us}, {0, us}};
    CHECK(setitimer(ITIMER_REAL, &every, nullptr) == 0);
}

// A storm of timers while files and sockets of both kernels are used, all data being checked.
static void storm() {
    struct sigaction act = {};
    act.sa_handler = on_timer;
    act.sa_flags = SA_RESTART;
    CHECK(sigaction(SIGALRM, &act, nullptr) == 0);
    char path[220], host[] = "/tmp/deep-state-XXXXXX";
    snprintf(path, sizeof path, "%s/storm", dir);
    int h = mkstemp(host), r = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    CHECK(h >= 0 && r >= 0 && unlink(host) == 0);
    timer(100);
    for (int i = 0; i < 100 || fired < 200; i++) {
        char out[4096], in[4096];
        memset(out, i, sizeof out);
        int both[2] = {h, r};
        for (int fd : both) {
            CHECK(pwrite(fd, out, sizeof out, 0) == (ssize_t)sizeof out);
            CHECK(pread(fd, in, sizeof in, 0) == (ssize_t)sizeof in && !memcmp(in, out, sizeof in));
        }
        errno = 77;
        CHECK(access(name, F_OK) == 0 && access("/etc/passwd", F_OK) == 0 && errno == 77);
        CHECK(access("/nowhere", F_OK) == -1 && errno == ENOENT);
        FILE *f = fopen(name, "r");
        CHECK(f && fgets(in, 10, f) && !strcmp(in, "hello\n") && fclose(f) == 0);
    }
    timer(0);
    CHECK(in_handler == 0 && close(h) == 0 && close(r) == 0);
    printf("storm: data intact\n");
}

static sigjmp_buf back;
static volatile sig_atomic_t armed;
static void jump(int) { if (armed) { armed = 0; siglongjmp(back, 1); } }

// Jumps out of handlers that interrupt calls to either kernel.
static void jumps() {
    struct sigaction act = {};
    act.sa_handler = jump;
    CHECK(sigaction(SIGALRM, &act, nullptr) == 0);
    volatile int done = 0;
    int zero = open("/dev/zero", O_RDONLY);
    while (done < 500) {
        if (sigsetjmp(back, 1) == 0) {
            armed = 1;
            timer(150);
            char text[64];
            for (;;) {
                if (done % 2) { CHECK(read(zero, text, 64) == 64); }
                else { CHECK(access(name, F_OK) == 0); }
            }
        }
        timer(0);
        done = done + 1;
    }
    CHECK(access(name, F_OK) == 0);
    FILE *f = fopen(name, "r");
    char text[16];
    CHECK(f && fgets(text, 10, f) && !strcmp(text, "hello\n") && fclose(f) == 0);
    printf("jumps: %d\n", (int)done);
}

static std::atomic<int> destroyed, waiting;
struct Guard { ~Guard() { destroyed++; } };
static int pairs[2][2], fifo;
static FILE *stream;

static void *blocked(void *which) {
    Guard guard;
    char byte;
    waiting++;
    long got = 0;
    switch ((long)which) {
    case 0: got = read(pairs[0][0], &byte, 1); break;
    case 1: got = recv(pairs[1][0], &byte, 1, 0); break;
    case 2: got = read(fifo, &byte, 1); break;
    case 3: got = fgetc(stream); break;
    }
    return (void *)got;
}

static void cancellation() {
    CHECK(pipe(pairs[0]) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[1]) == 0);
    char path[220];
    snprintf(path, sizeof path, "%s/fifo", dir);
    CHECK(mkfifo(path, 0600) == 0 && (fifo = open(path, O_RDWR)) >= 0 && (stream = fdopen(dup(fifo), "r")));
    for (long which = 0; which < 4; which++) {
        pthread_t thread;
        int before = destroyed, wait = waiting;
        CHECK(pthread_create(&thread, nullptr, blocked, (void *)which) == 0);
        while (waiting == wait) sched_yield();
        // Whether it is in the call yet does not matter: a request that comes before is acted on by the call.
        CHECK(pthread_cancel(thread) == 0);
        void *result;
        CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED && destroyed == before + 1);
    }
    printf("cancellation: destructors ran\n");
}

static void on_alternate(int) { on_timer(0); }

static void *small(void *) {
    char text[16];
    int fd = open(name, O_RDONLY);
    long ok = fd >= 0 && read(fd, text, 5) == 5 && close(fd) == 0 && access("/etc/passwd", F_OK) == 0 && access(name, F_OK) == 0;
    return (void *)ok;
}

static void small_stacks() {
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    CHECK(pthread_attr_setstacksize(&attr, 16384) == 0);
    pthread_t thread;
    void *ok;
    CHECK(pthread_create(&thread, &attr, small, nullptr) == 0 && pthread_join(thread, &ok) == 0 && ok);
    // The size that the C library recommends: a signal's frame alone takes 3.5 KiB with AVX-512.
    size_t size = sysconf(_SC_SIGSTKSZ);
    if (size < 12288) size = 12288;
    char *memory = (char *)malloc(size);
    stack_t alternate = {};
    alternate.ss_sp = memory;
    alternate.ss_size = size;
    CHECK(sigaltstack(&alternate, nullptr) == 0);
    struct sigaction act = {};
    act.sa_handler = on_alternate;
    act.sa_flags = SA_ONSTACK;
    CHECK(sigaction(SIGUSR1, &act, nullptr) == 0);
    long before = in_handler;
    for (int i = 0; i < 20; i++) raise(SIGUSR1);
    CHECK(in_handler == before);
    printf("small stacks: enough\n");
}

int main(int, char **argv) {
    dir = argv[1];
    snprintf(name, sizeof name, "%s/name", dir);
    FILE *f = fopen(name, "w");
    CHECK(f && fputs("hello\n", f) >= 0 && fclose(f) == 0);
    storm();
    jumps();
    cancellation();
    small_stacks();
    return 0;
}
