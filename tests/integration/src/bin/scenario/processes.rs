//! Processes: fork, exec, spawn, threads.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[("pipes_and_fork", Processes, pipes_and_fork), ("threads", Processes, threads)];

fn pipes_and_fork(folder: &str) {
    unsafe {
        let fd = open(path(folder, "shared").as_ptr(), O_RDWR | O_CREAT, 0o644);
        let mut ends = [0; 2];
        show("pipe", pipe(ends.as_mut_ptr()));
        let child = fork();
        if child == 0 {
            write(fd, b"child".as_ptr().cast(), 5);
            write(ends[1], b"!".as_ptr().cast(), 1);
            _exit(3);
        }
        let mut byte = 0u8;
        show("from the child", read(ends[0], (&raw mut byte).cast(), 1) as i64);
        let mut status = 0;
        waitpid(child, &mut status, 0);
        show("status", WEXITSTATUS(status));
        show("offset moved by the child", lseek(fd, 0, SEEK_CUR));
        close(ends[1]);
        show("end of file", read(ends[0], (&raw mut byte).cast(), 1) as i64);
        // A pipeline of three with redirections onto the file, as a shell makes it.
        let child = fork();
        if child == 0 {
            dup2(fd, 1);
            close(fd);
            execlp(c"echo".as_ptr(), c"echo".as_ptr(), c"from".as_ptr(), c"exec".as_ptr(), null::<c_char>());
            _exit(127);
        }
        waitpid(child, &mut status, 0);
        show("echo", WEXITSTATUS(status));
        show("size", lseek(fd, 0, SEEK_END));
        for _ in 0..20 {
            let child = fork();
            if child == 0 {
                let grandchild = fork();
                if grandchild == 0 {
                    _exit(i32::from(write(fd, b".".as_ptr().cast(), 1) != 1));
                }
                waitpid(grandchild, &mut status, 0);
                _exit(WEXITSTATUS(status));
            }
            waitpid(child, &mut status, 0);
            assert_eq!(WEXITSTATUS(status), 0);
        }
        show("size", lseek(fd, 0, SEEK_END));
        show("exec of nothing", execl(c"/no/such".as_ptr(), c"x".as_ptr(), null::<c_char>()));
        show("still works", lseek(fd, 0, SEEK_END));
    }
}

fn threads(folder: &str) {
    let workers: Vec<_> = (0..8)
        .map(|i| {
            let folder = folder.to_owned();
            std::thread::spawn(move || unsafe {
                let name = path(&folder, &format!("thread-{i}"));
                for round in 0..50u8 {
                    let fd = open(name.as_ptr(), O_RDWR | O_CREAT, 0o644);
                    assert!(fd >= 0);
                    let data = [round; 100];
                    assert_eq!(pwrite(fd, data.as_ptr().cast(), 100, i64::from(round) * 100), 100);
                    assert_eq!(close(fd), 0);
                }
                let (c, a) = connected();
                let mut byte = [0u8];
                for round in 0..50 {
                    assert_eq!(send(c, [round].as_ptr().cast(), 1, 0), 1);
                    assert_eq!(recv(a, byte.as_mut_ptr().cast(), 1, 0), 1);
                    assert_eq!(byte[0], round);
                }
                close(c);
                close(a);
                let mut st: stat = zeroed();
                stat(name.as_ptr(), &mut st);
                st.st_size
            })
        })
        .collect();
    for worker in workers {
        println!("{}", worker.join().unwrap());
    }
}
