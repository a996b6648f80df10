//! Programs that work on files.

use super::*;

programs! { "files", network false;
    "bash" on ALL uses "bash ps diff": "redirects in every form, substitutes processes, globs, waits for, stops and kills jobs, traps, runs coprocesses";
    "dash" on ALL uses "dash": "redirects, substitutes, reads here-documents, globs, traps signals and waits for jobs";
    "coreutils-names" on UNIX uses "ls awk": "make, link, list, touch, change, move (also between the kernels) and remove names of every kind, deep and long ones too";
    "coreutils-copies" on TCP uses "ls diff find awk fallocate": "copy trees with all attributes between the kernels and back, sparse, linked and updated; dd, truncate, install, shred, split, csplit, du, df";
    "coreutils-text" on UNIX uses "ls awk python3": "every filter from cat to wc on files; sums and their check, an external sort, tail -f and -F with a writer";
    "coreutils-running" on ALL uses "ls": "env, timeout, nohup, nice, stdbuf, setsid, chroot: run programs and scripts that lie on the kernel, in its directories";
    "find" on TCP uses "find xargs grep": "finds by every attribute, executes, prints and deletes; xargs in parallel";
    "grep" on UNIX uses "grep": "searches trees, binary files and links, in all output forms";
    "sed" on TCP uses "sed": "edits in place with backups and through links, reads and writes other files, runs scripts that lie on the kernel";
    "awk" on UNIX uses "gawk mawk diff": "getline, print to files and pipes, system, many open files, by gawk and mawk; gawk's extensions";
    "compress" on TCP uses "gzip bzip2 xz zstd cmp": "gzip, bzip2, xz and zstd: there and back with attributes, refuse to overwrite, find damage";
    "tar" on TCP uses "tar gzip xz zstd diff": "packs and unpacks trees, compressed, with holes and hard links; appends, deletes, compares, incremental archives";
    "cpio" on UNIX uses "cpio find diff": "packs, lists, unpacks and passes trees through in three formats";
    "git" on UNIX uses "git diff": "initialises, commits, branches, merges, stashes, clones, pushes, collects garbage and checks; work trees";
}
