/* Runs a program whose memory is never both writable and executable (PR_SET_MDWE). */
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>
int main(int c,char**v){ if(prctl(65,1,0,0,0)){perror("mdwe");return 77;} execvp(v[1],v+1);perror("exec");return 1;}
