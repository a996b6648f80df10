/* A path that ends where its memory ends: a memory checker sees a reader that goes farther. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>
int main(){ char*p=strdup("/rump/tmp/x"); char b[20]={0}; int fd=open(p,0); int n=read(fd,b,19); printf("%d %s",n,b); FILE*f=fopen(p,"r"); fgets(b,20,f); printf("%s",b); fclose(f); free(p); return 0;}
