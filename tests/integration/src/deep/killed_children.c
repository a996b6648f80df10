/* Children of vfork are killed anywhere in their first calls on the rump kernel, which their parent has not connected to yet. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile pid_t *child;
static volatile int stop;

static void *killer(void *unused)
{
	unsigned state = 1;
	while (!stop) {
		pid_t pid = *child;
		if (pid > 0) {
			state = state * 1103515245 + 12345;
			struct timespec time = { 0, (state >> 8) % 900000 };
			nanosleep(&time, NULL);
			kill(pid, SIGKILL);
			*child = 0;
		} else {
			sched_yield();
		}
	}
	return unused;
}

static int descriptors(void)
{
	int count = 0;
	DIR *folder = opendir("/proc/self/fd");
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

int main(int argc, char **argv)
{
	child = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int before = descriptors(), wrong = 0, status;
	pthread_t thread;
	pthread_create(&thread, NULL, killer, NULL);
	for (int round = 0; round < 800; round++) {
		pid_t pid = vfork();
		if (pid == 0) {
			*child = getpid();
			int fd = open(argv[1], O_CREAT | O_RDWR, 0600);
			_exit(fd < 0 || write(fd, "x", 1) != 1 || dup2(fd, 20) != 20);
		}
		waitpid(pid, &status, 0);
		*child = 0;
		wrong += status != 0 && !WIFSIGNALED(status);
	}
	stop = 1;
	pthread_join(thread, NULL);
	printf("wrong %d, descriptors %d\n", wrong, descriptors() - before);
	/* And the parent is as ever. */
	int fd = open(argv[1], O_CREAT | O_RDWR, 0600);
	pid_t pid = fork();
	if (pid == 0)
		_exit(write(fd, "abc", 3) != 3);
	waitpid(pid, &status, 0);
	printf("parent %d, its child %d\n", fd >= 0, status);
	return argc != 2;
}
