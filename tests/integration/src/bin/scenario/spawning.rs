//! vfork, posix_spawn and exec: what a new image finds.

use super::epoll::Set;
use super::forking::{ended, fresh, print_file, put};
use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[
    ("vfork_shares_memory", Processes, vfork_shares_memory),
    ("vfork_and_exec", Processes, vfork_and_exec),
    ("vfork_changes_nothing_here", Processes, vfork_changes_nothing_here),
    ("vfork_many_times", Processes, vfork_many_times),
    ("vfork_in_threads", Processes, vfork_in_threads),
    ("vfork_child_is_killed", Processes, vfork_child_is_killed),
    ("spawn_file_actions", Processes, spawn_file_actions),
    ("spawn_in_a_directory", Processes, spawn_in_a_directory),
    ("spawn_closes", Processes, spawn_closes),
    ("spawn_failures", Processes, spawn_failures),
    ("system_and_popen", Processes, system_and_popen),
    ("exec_family", Processes, exec_family),
    ("vfork_waits_by_epoll", Processes, vfork_waits_by_epoll),
    ("exec_closes_on_exec", Processes, exec_closes_on_exec),
    ("exec_fails_and_goes_on", Processes, exec_fails_and_goes_on),
    ("exec_without_environment", Processes, exec_without_environment),
    ("exec_of_many_descriptors", Processes, exec_of_many_descriptors),
    ("exec_with_threads", Processes, exec_with_threads),
    ("shell_redirections", Processes, shell_redirections),
    ("pipeline_over_a_file", Processes, pipeline_over_a_file),
];

unsafe extern "C" {
    #[link_name = "vfork"]
    fn make_vfork() -> pid_t;
}

/// Runs `child` in the child of a vfork. Not inlined, so that nothing of the parent's frame changes but what the child may change.
#[inline(never)]
unsafe fn vforked(child: &dyn Fn() -> c_int) -> pid_t {
    unsafe {
        let pid = make_vfork();
        if pid == 0 {
            _exit(child());
        }
        pid
    }
}

fn vfork_shares_memory(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let shared = std::cell::Cell::new(1);
        let child = vforked(&|| {
            shared.set(42);
            i32::from(!put(fd, b"child "))
        });
        // The parent does not run before the child has ended.
        println!("shared: {}", shared.get());
        ended("child", child);
        put(fd, b"parent");
        print_file(fd);
    }
}

fn vfork_and_exec(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        for _ in 0..3 {
            let child = vforked(&|| {
                dup2(fd, 1);
                close(fd);
                execlp(c"echo".as_ptr(), c"echo".as_ptr(), c"line".as_ptr(), null::<c_char>());
                127
            });
            ended("echo", child);
        }
        show("size", lseek(fd, 0, SEEK_CUR));
        let error = std::cell::Cell::new(0);
        let child = vforked(&|| {
            execl(c"/no/such".as_ptr(), c"x".as_ptr(), null::<c_char>());
            error.set(errno());
            99
        });
        ended("nothing", child);
        println!("error: {}", error.get() == ENOENT);
        let script = create(folder, "script", b"#!/bin/sh\necho script $1\n");
        chmod(script.as_ptr(), 0o755);
        let child = vforked(&|| {
            dup2(fd, 1);
            execl(script.as_ptr(), c"s".as_ptr(), c"one".as_ptr(), null::<c_char>());
            127
        });
        ended("script", child);
        print_file(fd);
    }
}

fn vfork_changes_nothing_here(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let null = open(c"/dev/null".as_ptr(), O_RDWR);
        let moved = path(folder, "sub");
        mkdir(moved.as_ptr(), 0o755);
        let child = vforked(&|| {
            close(fd);
            dup2(null, fd);
            dup2(null, 70);
            close(null);
            chdir(moved.as_ptr());
            let other = open(path(folder, "other").as_ptr(), O_CREAT | O_WRONLY, 0o600);
            i32::from(other < 0)
        });
        ended("child", child);
        show("here open", fcntl(fd, F_GETFD));
        show("null open", fcntl(null, F_GETFD));
        show("not here", fcntl(70, F_GETFD));
        println!("writes: {}", put(fd, b"12345"));
        show("size", lseek(fd, 0, SEEK_END));
        let next = dup(fd);
        println!("lowest: {}", next == null + 1);
    }
}

fn vfork_many_times(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let mut good = 0;
        for round in 0..60 {
            let child = vforked(&|| {
                if round % 3 == 0 {
                    return i32::from(!put(fd, b"."));
                }
                if round % 3 == 1 {
                    execlp(c"true".as_ptr(), c"true".as_ptr(), null::<c_char>());
                }
                0
            });
            let mut status = 0;
            waitpid(child, &mut status, 0);
            good += i32::from(status == 0);
        }
        println!("{good}");
        show("size", lseek(fd, 0, SEEK_END));
    }
}

fn vfork_in_threads(folder: &str) {
    let workers: Vec<_> = (0..4)
        .map(|i| {
            let folder = folder.to_owned();
            std::thread::spawn(move || unsafe {
                let fd = fresh(&folder, &format!("t{i}"));
                for _ in 0..10 {
                    let child = vforked(&|| {
                        dup2(fd, 1);
                        execlp(c"echo".as_ptr(), c"echo".as_ptr(), c"x".as_ptr(), null::<c_char>());
                        127
                    });
                    let mut status = 0;
                    assert_eq!(waitpid(child, &mut status, 0), child);
                    assert_eq!(status, 0);
                    assert!(put(fd, b"yz"));
                }
                lseek(fd, 0, SEEK_END)
            })
        })
        .collect();
    for worker in workers {
        println!("{}", worker.join().unwrap());
    }
}

fn vfork_child_is_killed(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let child = vforked(&|| {
            put(fd, b"x");
            kill(getpid(), SIGKILL);
            0
        });
        ended("child", child);
        println!("goes on: {}", put(fd, b"y"));
        let mut mask: sigset_t = zeroed();
        sigprocmask(SIG_BLOCK, null(), &mut mask);
        println!("blocked: {}", sigismember(&mask, SIGTERM));
        print_file(fd);
    }
}

/// Spawns a shell with file actions and says how it ended.
unsafe fn spawn(actions: &mut posix_spawn_file_actions_t, script: &CStr) {
    unsafe {
        let argv = [c"sh".as_ptr().cast_mut(), c"-c".as_ptr().cast_mut(), script.as_ptr().cast_mut(), null_mut()];
        let mut child = 0;
        unsafe extern "C" {
            static environ: *const *mut c_char;
        }
        let error = posix_spawn(&mut child, c"/bin/sh".as_ptr(), actions, null(), argv.as_ptr(), environ);
        println!("spawn: {}", CStr::from_ptr(strerror(error)).to_string_lossy());
        if error == 0 {
            ended("shell", child);
        }
        posix_spawn_file_actions_destroy(actions);
    }
}

unsafe fn actions() -> posix_spawn_file_actions_t {
    unsafe {
        let mut actions = zeroed();
        posix_spawn_file_actions_init(&mut actions);
        actions
    }
}

fn spawn_file_actions(folder: &str) {
    unsafe {
        let input = create(folder, "in", b"from a file\n");
        let fd = fresh(folder, "out");
        let mut list = actions();
        posix_spawn_file_actions_addopen(&mut list, 0, input.as_ptr(), O_RDONLY, 0);
        posix_spawn_file_actions_adddup2(&mut list, fd, 1);
        posix_spawn_file_actions_adddup2(&mut list, 1, 9);
        posix_spawn_file_actions_addclose(&mut list, fd);
        spawn(&mut list, c"cat; echo nine >&9; exec 3>&- 4>&-; echo last");
        print_file(fd);
        let made = path(folder, "made");
        let mut list = actions();
        posix_spawn_file_actions_addopen(&mut list, 1, made.as_ptr(), O_WRONLY | O_CREAT | O_EXCL, 0o640);
        spawn(&mut list, c"echo made");
        println!("{}", contents(&made));
    }
}

fn spawn_in_a_directory(folder: &str) {
    unsafe extern "C" {
        fn posix_spawn_file_actions_addchdir_np(list: *mut posix_spawn_file_actions_t, path: *const c_char) -> c_int;
        fn posix_spawn_file_actions_addfchdir_np(list: *mut posix_spawn_file_actions_t, fd: c_int) -> c_int;
    }
    unsafe {
        let here = path(folder, "here");
        mkdir(here.as_ptr(), 0o755);
        let mut list = actions();
        posix_spawn_file_actions_addchdir_np(&mut list, here.as_ptr());
        spawn(&mut list, c"echo one > one");
        println!("{}", contents(&path(folder, "here/one")));
        let directory = open(here.as_ptr(), O_RDONLY | O_DIRECTORY);
        let mut list = actions();
        posix_spawn_file_actions_addfchdir_np(&mut list, directory);
        posix_spawn_file_actions_addopen(&mut list, 1, c"two".as_ptr(), O_WRONLY | O_CREAT, 0o644);
        spawn(&mut list, c"echo two");
        println!("{}", contents(&path(folder, "here/two")));
    }
}

fn spawn_closes(folder: &str) {
    unsafe extern "C" {
        fn posix_spawn_file_actions_addclosefrom_np(list: *mut posix_spawn_file_actions_t, from: c_int) -> c_int;
    }
    unsafe {
        let fd = fresh(folder, "out");
        dup2(fd, 8);
        let private = fcntl(fd, F_DUPFD_CLOEXEC, 9);
        println!("{private}");
        let mut list = actions();
        posix_spawn_file_actions_adddup2(&mut list, 8, 1);
        spawn(&mut list, c"echo eight >&8; (echo nine >&9) 2>/dev/null || echo no nine");
        print_file(fd);
        lseek(fd, 0, SEEK_SET);
        ftruncate(fd, 0);
        let mut list = actions();
        posix_spawn_file_actions_adddup2(&mut list, 8, 1);
        posix_spawn_file_actions_addclosefrom_np(&mut list, 3);
        spawn(&mut list, c"(echo eight >&8) 2>/dev/null || echo no eight");
        print_file(fd);
        show("still here", fcntl(8, F_GETFD));
    }
}

fn spawn_failures(folder: &str) {
    unsafe {
        let mut list = actions();
        posix_spawn_file_actions_addopen(&mut list, 1, path(folder, "no/such").as_ptr(), O_RDONLY, 0);
        spawn(&mut list, c"echo never");
        let mut list = actions();
        posix_spawn_file_actions_adddup2(&mut list, 99, 1);
        spawn(&mut list, c"echo never");
        let mut child = 0;
        let argv = [c"x".as_ptr().cast_mut(), null_mut()];
        let error = posix_spawn(&mut child, path(folder, "nothing").as_ptr(), null(), null(), argv.as_ptr(), null());
        println!("nothing: {}", error == ENOENT);
        let plain = create(folder, "plain", b"text");
        let error = posix_spawn(&mut child, plain.as_ptr(), null(), null(), argv.as_ptr(), null());
        println!("not executable: {}", error == EACCES);
        let fd = fresh(folder, "after");
        println!("goes on: {}", put(fd, b"x"));
    }
}

fn system_and_popen(folder: &str) {
    unsafe {
        let name = path(folder, "f");
        let script = CString::new(format!("echo from system > {folder}/f; exit 3")).unwrap();
        show("system", WEXITSTATUS(system(script.as_ptr())));
        println!("{}", contents(&name));
        let script = CString::new(format!("cat {folder}/f")).unwrap();
        let pipe = popen(script.as_ptr(), c"r".as_ptr());
        let mut line = [0u8; 64];
        fgets(line.as_mut_ptr().cast(), 64, pipe);
        println!("{}", CStr::from_bytes_until_nul(&line).unwrap().to_string_lossy());
        show("pclose", pclose(pipe));
        let script = CString::new(format!("cat > {folder}/g")).unwrap();
        let pipe = popen(script.as_ptr(), c"w".as_ptr());
        fputs(c"written".as_ptr(), pipe);
        show("pclose", pclose(pipe));
        println!("{}", contents(&path(folder, "g")));
    }
}

fn exec_family(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        dup2(fd, 5);
        let argv = [c"sh".as_ptr(), c"-c".as_ptr(), c"echo $0 $V >&5".as_ptr(), c"name".as_ptr(), null()];
        // What the environment says about the preload goes on; without it a program is the host's.
        let kept = ["LD_PRELOAD", "RUMP_SERVER", "PATH"];
        let mut strings = vec![CString::new("V=value").unwrap()];
        strings
            .extend(kept.iter().filter_map(|name| CString::new(format!("{name}={}", std::env::var(name).ok()?)).ok()));
        let envp: Vec<*const c_char> = strings.iter().map(|string| string.as_ptr()).chain([null()]).collect();
        let run = |what: &str, call: &dyn Fn()| {
            let child = fork();
            if child == 0 {
                call();
                _exit(100);
            }
            ended(what, child);
        };
        run("execve", &|| _ = execve(c"/bin/sh".as_ptr(), argv.as_ptr(), envp.as_ptr()));
        run("execv", &|| _ = execv(c"/bin/sh".as_ptr(), argv.as_ptr()));
        run("execvp", &|| _ = execvp(c"sh".as_ptr(), argv.as_ptr()));
        run("execvpe", &|| _ = execvpe(c"sh".as_ptr(), argv.as_ptr(), envp.as_ptr()));
        let program = open(c"/bin/sh".as_ptr(), O_RDONLY | O_CLOEXEC);
        run("fexecve", &|| _ = fexecve(program, argv.as_ptr(), envp.as_ptr()));
        run("execl", &|| {
            execl(c"/bin/sh".as_ptr(), argv[0], argv[1], argv[2], argv[3], null::<c_char>());
        });
        run("execle", &|| {
            execle(c"/bin/sh".as_ptr(), argv[0], argv[1], argv[2], argv[3], null::<c_char>(), envp.as_ptr());
        });
        let number = SYS_execve;
        run("syscall", &|| _ = syscall(number, c"/bin/sh".as_ptr(), argv.as_ptr(), envp.as_ptr()));
        print_file(fd);
    }
}

fn exec_closes_on_exec(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        dup3(fd, 6, O_CLOEXEC);
        dup2(fd, 7);
        fcntl(7, F_SETFD, FD_CLOEXEC);
        dup2(fd, 8);
        fcntl(8, F_SETFD, FD_CLOEXEC);
        fcntl(8, F_SETFD, 0);
        dup2(fd, 9);
        close_range(9, 9, CLOSE_RANGE_CLOEXEC as i32);
        let script =
            c"for n in 6 7 8 9; do if (true >&$n) 2>/dev/null; then echo $n open; else echo $n closed; fi; done";
        let child = fork();
        if child == 0 {
            dup2(fd, 1);
            execl(c"/bin/bash".as_ptr(), c"bash".as_ptr(), c"-c".as_ptr(), script.as_ptr(), null::<c_char>());
            _exit(127);
        }
        ended("shell", child);
        print_file(fd);
    }
}

fn exec_fails_and_goes_on(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        let plain = create(folder, "plain", b"text");
        let argv = [c"x".as_ptr(), null()];
        show("no such", execv(path(folder, "no").as_ptr(), argv.as_ptr()));
        show("not executable", execv(plain.as_ptr(), argv.as_ptr()));
        show("a directory", execv(path(folder, "").as_ptr(), argv.as_ptr()));
        chmod(plain.as_ptr(), 0o755);
        show("no format", execv(plain.as_ptr(), argv.as_ptr()));
        println!("writes: {}", put(fd, b"x"));
        show("flag", fcntl(fd, F_GETFD));
        let child = fork();
        if child == 0 {
            _exit(i32::from(!put(fd, b"y")));
        }
        ended("forks", child);
    }
}

fn exec_without_environment(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let child = fork();
        if child == 0 {
            dup2(fd, 1);
            let script =
                CString::new("env -i PATH=\"$PATH\" LD_PRELOAD=\"$LD_PRELOAD\" sh -c 'echo through env'").unwrap();
            execlp(c"sh".as_ptr(), c"sh".as_ptr(), c"-c".as_ptr(), script.as_ptr(), null::<c_char>());
            _exit(127);
        }
        ended("env", child);
        print_file(fd);
    }
}

fn exec_of_many_descriptors(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        for number in 200..600 {
            dup2(fd, number);
        }
        let child = fork();
        if child == 0 {
            dup2(fd, 1);
            let script = c"for n in 200 201 399 598 599; do echo $n >&$n; done";
            execl(c"/bin/bash".as_ptr(), c"bash".as_ptr(), c"-c".as_ptr(), script.as_ptr(), null::<c_char>());
            _exit(127);
        }
        ended("shell", child);
        print_file(fd);
    }
}

fn exec_with_threads(folder: &str) {
    unsafe {
        let fd = fresh(folder, "f");
        let child = fork();
        if child == 0 {
            let (c, a) = connected();
            for _ in 0..3 {
                std::thread::spawn(move || {
                    let mut byte = 0u8;
                    recv(a, (&raw mut byte).cast(), 1, 0)
                });
            }
            let folder = folder.to_owned();
            let busy = move || {
                loop {
                    let mut st: stat = zeroed();
                    stat(path(&folder, "f").as_ptr(), &mut st);
                }
            };
            std::thread::spawn(busy);
            dup2(fd, 1);
            let _ = c;
            execlp(c"echo".as_ptr(), c"echo".as_ptr(), c"alone".as_ptr(), null::<c_char>());
            _exit(127);
        }
        ended("echo", child);
        print_file(fd);
    }
}

fn shell_redirections(folder: &str) {
    unsafe {
        for shell in [c"bash", c"dash", c"sh"] {
            let script = format!(
                "cd {folder}; echo one > a; echo two >> a; exec 3<>b; echo three >&3; exec 3>&-; cat < a > c; \
                 {{ echo four; echo five >&2; }} > d 2>&1; (echo six) >> d; cat <<END >> d\nseven\nEND\n\
                 x=$(cat a); echo \"$x\" | cat >> d; while read l; do echo \"<$l>\"; done < d > e; exec 1> f; echo end"
            );
            let child = fork();
            if child == 0 {
                let script = CString::new(script).unwrap();
                execlp(shell.as_ptr(), shell.as_ptr(), c"-c".as_ptr(), script.as_ptr(), null::<c_char>());
                _exit(127);
            }
            ended("shell", child);
            for name in ["a", "b", "c", "d", "e", "f"] {
                println!("{name}: {}", contents(&path(folder, name)));
                unlink(path(folder, name).as_ptr());
            }
        }
    }
}

fn pipeline_over_a_file(folder: &str) {
    unsafe {
        let script = format!(
            "cd {folder}; seq 1 2000 > numbers; sort -rn < numbers | head -n 3 > top; \
             find . -name 'num*' -exec wc -l {{}} + > count; ls numbers top | xargs -n 1 echo > names; \
             printf 'all: x\\nx:\\n\\techo made > x\\n' > Makefile; make -s; cat x >> top; \
             (sleep 0.05; echo late >> top) & wait; env -u NOTHING nohup cat top 2>/dev/null > final"
        );
        let script = CString::new(script).unwrap();
        show("system", system(script.as_ptr()));
        for name in ["count", "names", "final"] {
            println!("{name}: {}", contents(&path(folder, name)));
        }
    }
}

/// Makes sets in a child of vfork, of descriptors that it has from its parent and of its own, and says how much was as it should.
unsafe fn watched_by_child(parents: c_int, a: c_int, c: c_int) -> c_int {
    unsafe {
        let mut right = 0;
        let mut expect = |right_one: bool| right += c_int::from(right_one);
        let (set, mut ends) = (Set(epoll_create1(0)), [0; 2]);
        let other = dup(set.0);
        expect(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.as_mut_ptr()) == 0);
        let (x, y) = connected();
        for (fd, tag) in [(a, 1), (ends[0], 2), (x, 3)] {
            expect(set.ctl(EPOLL_CTL_ADD, fd, EPOLLIN, tag) == 0);
        }
        expect(set.ctl(EPOLL_CTL_ADD, a, EPOLLIN, 1) == -1 && errno() == EEXIST);
        expect(set.events(8, 0).is_empty());
        put(c, b"1");
        put(ends[1], b"2");
        put(y, b"3");
        while set.events(8, -1).len() < 3 {}
        // By its other number, when the first is something else.
        close(set.0);
        let again = Set(epoll_create1(0));
        expect(again.0 == set.0 && again.events(8, 0).is_empty());
        let other = Set(other);
        expect(other.events(8, -1) == [(1, EPOLLIN as u32), (2, EPOLLIN as u32), (3, EPOLLIN as u32)]);
        expect(other.ctl(EPOLL_CTL_DEL, a, 0, 0) == 0 && other.ctl(EPOLL_CTL_MOD, x, EPOLLIN | EPOLLET, 4) == 0);
        expect(other.events(8, -1) == [(2, EPOLLIN as u32), (4, EPOLLIN as u32)]);
        expect(other.events(8, -1) == [(2, EPOLLIN as u32)]);
        // The parent's set, which has members already.
        expect(Set(parents).events(8, -1) == [(9, EPOLLIN as u32)]);
        close(parents);
        let in_its_place = Set(epoll_create1(0));
        expect(in_its_place.0 == parents && in_its_place.ctl(EPOLL_CTL_ADD, a, EPOLLIN, 5) == 0);
        expect(in_its_place.events(8, -1) == [(5, EPOLLIN as u32)]);
        let mut byte = 0u8;
        expect(read(a, (&raw mut byte).cast(), 1) == 1);
        right
    }
}

/// Epoll sets of a child of vfork leave nothing behind in its parent.
fn vfork_waits_by_epoll(_: &str) {
    unsafe {
        let ((c, a), parents) = (connected(), Set(epoll_create1(0)));
        let mut ends = [0; 2];
        socketpair(AF_UNIX, SOCK_STREAM, 0, ends.as_mut_ptr());
        let (x, y) = connected();
        parents.add(x, EPOLLIN, 9);
        put(y, b"9");
        // More often than a process has places for sets in a row, and some of the children are killed.
        for round in 0..40 {
            let child = vforked(&|| {
                let right = watched_by_child(parents.0, a, c);
                if round % 8 == 3 {
                    kill(getpid(), SIGKILL);
                }
                right
            });
            if round % 8 < 4 {
                ended("child", child);
            } else {
                waitpid(child, null_mut(), 0);
            }
        }
        println!("the parent's: {:?}", parents.events(8, -1));
        let next = Set(epoll_create1(0));
        next.add(a, EPOLLIN, 1);
        println!("a new one: {:?}", next.events(8, 0));
        put(c, b"1");
        println!("and then: {:?}", next.events(8, -1));
    }
}
