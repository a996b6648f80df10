//! Programs that work on files.

use super::*;

programs! { "files", network false, config None;
    "bash" on ALL uses "bash ps diff": "redirects in every form, substitutes processes, globs, waits for, stops and kills jobs, traps, runs coprocesses";
    "dash" on ALL uses "dash": "redirects, substitutes, reads here-documents, globs, traps signals and waits for jobs";
    "coreutils-names" on UNIX uses "ls awk": "make, link, list, touch, change, move (also between the kernels) and remove names of every kind, deep and long ones too";
    "coreutils-copies" on TCP uses "ls diff find awk fallocate": "copy trees with all attributes between the kernels and back, sparse, linked and updated; dd, truncate, install, shred, split, csplit, du, df";
    "coreutils-text" on UNIX uses "ls awk python3": "every filter from cat to wc on files; sums and their check, an external sort, tail -f and -F with a writer";
    "coreutils-running" on ALL uses "ls ps": "env, timeout, nohup, nice, stdbuf, setsid, chroot: run programs and scripts that lie on the kernel, in its directories, under their own names";
    "find" on TCP uses "find xargs grep": "finds by every attribute, executes, prints and deletes; xargs in parallel";
    "grep" on UNIX uses "grep": "searches trees, binary files and links, in all output forms";
    "sed" on TCP uses "sed": "edits in place with backups and through links, reads and writes other files, runs scripts that lie on the kernel";
    "awk" on UNIX uses "gawk mawk diff": "getline, print to files and pipes, system, many open files, by gawk and mawk; gawk's extensions";
    "compress" on TCP uses "gzip bzip2 xz zstd cmp": "gzip, bzip2, xz and zstd: there and back with attributes, refuse to overwrite, find damage";
    "tar" on TCP uses "tar gzip xz zstd diff": "packs and unpacks trees, compressed, with holes and hard links; appends, deletes, compares, incremental archives";
    "cpio" on UNIX uses "cpio find diff": "packs, lists, unpacks and passes trees through in three formats";
    "doc-copies" on UNIX uses "ls diff rsync find": "copy /usr/share/doc with cp -a, and with rsync --checksum there and back, and find no difference";
    "doc-tar" on UNIX uses "ls diff tar find": "pack /usr/share/doc and unpack it again, on the kernel and on the host, and find no difference";
    "many" on UNIX uses "ls find xargs": "make, count, list, find and remove 50,000 files";
    "git" on UNIX uses "git diff": "initialises, commits, branches, merges, stashes, clones, pushes, collects garbage and checks; work trees";
    "make" on TCP uses "make gcc ar awk": "build a program, a static one and libraries in parallel and again after changes; gcc, as, ld, ar, nm, objdump, strip; run them from there, dlopen";
    "python3" on UNIX uses "python3": "os, shutil, tempfile, mmap, locks, subprocess, fork, spawn, multiprocessing in three ways, threads, zipfile, tarfile, sqlite3, shelve, a virtual environment";
    "perl" on TCP uses "perl": "sysopen, flock, opendir, File::Find, File::Copy, File::Temp, fork, pipes, -i, POSIX, SDBM, modules that lie on the kernel";
    "sqlite3" on UNIX uses "sqlite3": "rollback journals of four kinds and WAL, three writers at once, locks, recovery after a kill, dump, backup to the host, attach, import, mmap";
    "vim" on UNIX uses "vim.tiny": "edits, filters, saves under other names, with backups and through links; recovers a killed session from its swap file";
    "nano" on TCP uses "nano python3": "inserts text and a file at a terminal, and saves with a backup";
    "ed" on UNIX uses "ed": "edits by a script, reads from and writes to a shell";
    "diff" on TCP uses "diff patch ed cmp": "compares trees; patch forth and back, with offsets, rejects and backups; cmp, diff3, sdiff; an ed script";
    "file" on UNIX uses "file find gzip tar git": "recognises files of every kind, compiles and uses its own magic";
    "less" on TCP uses "less gzip more": "less, zless and more show files, one through a preprocessor";
    "zip" on UNIX uses "zip unzip diff": "packs, updates, lists, tests and unpacks, with modes and links";
    "util-linux" on UNIX uses "flock fallocate script column prlimit taskset": "flock between processes, fallocate (keep size, punch and dig holes), script at a terminal, and small tools from column to taskset";
    "zsh" on TCP uses "zsh": "glob qualifiers, several outputs at once, =(…), its own stat, mkdir and sysopen, files as variables, zmv, coprocesses";
    "busybox" on UNIX uses "busybox xz": "fifty of its applets on trees, archives, links and filters; its shell runs scripts that lie on the kernel";
    "node" on TCP uses "node": "fs by calls, callbacks and promises, streams, child processes of every kind, workers, modules that lie on the kernel";
    "openssl" on UNIX uses "openssl ssh-keygen cmp": "openssl and ssh-keygen make keys and certificates, sign, encrypt and verify files";
    "rsync" on UNIX uses "rsync diff": "copies trees there and back with all attributes, deletes, compares by checksum, sends differences, links to a former copy";
    "musl" on UNIX uses "musl-gcc gcc": "runs programs of another C library, dynamic and static ones, which the library leaves to the host";
    "preloads" on UNIX uses "faketime eatmydata fakeroot tar": "run beside the library: libfaketime, libeatmydata, fakeroot, stdbuf";
    "languages" on UNIX uses "ruby php lua5.4 expect": "Ruby, PHP, Lua and Tcl: files, folders, locks, child processes, sockets, a dialogue at a terminal";
}
