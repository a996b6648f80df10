//! A program that hands its rump process over as the original's clients do: in environment variables.

use std::os::unix::process::CommandExt;
use std::process::Stdio;

use abi::UserStr;
use client::{Handshake, Remote, Retry, stubs};
use integration::{Rump, Transport, built, limited, output, stdout};

#[test]
fn the_rump_process_of_an_original_image_goes_on() {
    let rump = Rump::start(Transport::Unix);
    stdout(rump.command("sh").args(["-c", "mkdir /rump/d; echo first > /rump/d/f; echo second > /rump/d/g"]));
    let before = Remote::connect(&rump.url(), Handshake::Guest(b"before".to_vec()), Retry::Never).unwrap();
    stubs::chdir(&before, UserStr::new(c"/d")).unwrap();
    let file = stubs::open(&before, UserStr::new(c"f"), 0, 0).unwrap();
    let other = stubs::open(&before, UserStr::new(c"g"), 0, 0).unwrap();
    assert_eq!((file.0, other.0), (3, 4));

    // 0 is an alias of 3, which is closed but for that; 4 has the number 100 above.
    let script = "cat; cat <&104; cat g; pwd; env | grep -c 'RUMP.*__'; ls /proc/self/fd/103 /proc/self/fd/777";
    let mut command = limited("bash");
    command.args(["-c", script]).stdin(Stdio::null());
    command.env("LD_PRELOAD", built("librumphijack.so")).env("RUMP_SERVER", "unix://elsewhere");
    command.env("RUMP__PARSEDSERVER", rump.url()).env("RUMPHIJACK", "path=/rump,fdoff=100");
    let socket = before.socket_fd().0;
    command.env("RUMPCLIENT__EXECFD", format!("{socket},777")).env("RUMPHIJACK__DUP2INFO", "2147483651,0,0");
    command.env("RUMPHIJACK__PWDINRUMP", "true");
    // SAFETY: two system calls. The connection goes on, and the number is open, so that its end can be seen.
    unsafe {
        command.pre_exec(move || match (libc::fcntl(socket, libc::F_SETFD, 0), libc::dup2(1, 777)) {
            (0, 777) => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let done = output(&mut command);
    let errors = String::from_utf8_lossy(&done.stderr);
    assert_eq!(String::from_utf8_lossy(&done.stdout), "first\nsecond\nsecond\n/rump/d\n1\n", "{errors}");
    assert_eq!(errors.lines().filter(|line| line.contains("No such file")).count(), 2, "{errors}");
    // The connection is the program's now.
    std::mem::forget(before);
}
