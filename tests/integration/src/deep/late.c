/* Loads the library late, while other threads are in all kinds of calls. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <poll.h>
static atomic_int stop; static atomic_long rounds, errors;
static void*work(void*x){ char b[8]; while(!stop){ int fd=open("/dev/zero",O_RDWR); if(fd<0){errors++;continue;} if(read(fd,b,8)!=8)errors++; if(write(fd,b,1)!=1)errors++; lseek(fd,0,0); if(access("/nowhere/x",0)!=-1)errors++; close(fd); FILE*f=fopen("/etc/passwd","r"); if(!f||!fgets((char[80]){0},80,f))errors++; if(f)fclose(f); free(malloc(300000)); rounds++; } return 0;}
static int ends[2];
static void*block(void*x){char b; return (void*)(long)read(ends[0],&b,1);} 
int main(int c,char**v){ pthread_t t[4]; pipe(ends); for(int i=0;i<3;i++)pthread_create(t+i,0,work,0); pthread_create(t+3,0,block,0);
 while(rounds<100) usleep(1000);
 void*h=dlopen(v[1],RTLD_NOW|RTLD_GLOBAL); if(!h){printf("%s\n",dlerror());return 2;}
 long at=rounds; while(rounds<at+300) usleep(1000);
 stop=1; for(int i=0;i<3;i++)pthread_join(t[i],0); write(ends[1],"x",1); void*r; pthread_join(t[3],&r);
 FILE*f=fopen("/rump/tmp/late","w"); int ok=f&&fputs("late",f)>=0&&fclose(f)==0; 
 printf("errors %ld blocked %ld stdio on rump %d\n",(long)errors,(long)r,ok); return errors||!ok||r!=(void*)1; }
