/* A library that needs another one, and reads through its system calls while it is being loaded. */
#include <stdio.h>
#include <string.h>
extern long raw_open(const char*,long,long); extern long raw_read(long,void*,long); extern long raw_close(long);
__attribute__((constructor)) static void hello(void){ char b[64]; long fd=raw_open("/rump/tmp/plugin-data",0,0); long n=raw_read(fd,b,63); b[n>0?n:0]=0; printf("constructor read: %s\n",b); raw_close(fd);} 
int answer(void){return 42;}
