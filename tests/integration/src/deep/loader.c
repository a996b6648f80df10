/* Loads a library, unloads it and loads it again, and loads a second C library: all of them read a rump file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>
int main(int c,char**v){
 FILE*f=fopen("/rump/tmp/plugin-data","w");if(!f)return 1;fputs("from the rump kernel",f);fclose(f);
 void*h=dlopen(v[1],RTLD_NOW);if(!h){printf("dlopen: %s\n",dlerror());return 2;}
 int(*a)(void)=dlsym(h,"answer");printf("answer %d\n",a());
 long(*o)(const char*,long,long)=dlsym(h,"raw_open");long(*r)(long,void*,long)=dlsym(h,"raw_read");
 char b[64]={0};long fd=o("/rump/tmp/plugin-data",O_RDONLY,0);long n=r(fd,b,63);printf("raw: %ld %s\n",n,b);
 printf("close %d\n",dlclose(h));
 h=dlopen(v[1],RTLD_NOW);o=dlsym(h,"raw_open");printf("again %s\n",o("/rump/tmp/plugin-data",O_RDONLY,0)>=0?"ok":"failed");
 void*l=dlmopen(LM_ID_NEWLM,"libc.so.6",RTLD_NOW);if(!l){printf("dlmopen: %s\n",dlerror());return 3;}
 int(*op)(const char*,int,...)=dlsym(l,"open");ssize_t(*rd)(int,void*,size_t)=dlsym(l,"read");
 if(op==open)return 4;
 int g=op("/rump/tmp/plugin-data",O_RDONLY);memset(b,0,64);n=rd(g,b,63);printf("second libc: %zd %s\n",n,b);
 return 0;}
