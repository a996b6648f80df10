//! A rump kernel as a value: boots one, serves it on a socket, and lets two clients meet in its file system.
//!
//! `cargo run --release -p examples --bin two_clients`

use std::sync::Arc;

use abi::{Errno, In, Out, UserStr};
use client::{Handshake, Remote, Retry, stubs};
use kernel::Kernel;
use kernel::config::Config;
use kernel::rumpuser::linux::LinuxHost;
use kernel::server::Server;

fn main() -> anyhow::Result<()> {
    let config = Config::from_env().map_err(anyhow::Error::msg)?;
    let kernel = Kernel::boot(Arc::new(LinuxHost::server(&config)), config)?;
    let url = format!("unix://{}/rump-example-{}", std::env::temp_dir().display(), std::process::id());
    let server = Arc::new(Server::bind(kernel, &url).map_err(|error| anyhow::anyhow!("{error}"))?);
    let serving = {
        let server = server.clone();
        std::thread::spawn(move || server.run())
    };

    let writer = connect(&url, "writer")?;
    let path = UserStr::new(c"/tmp/note");
    let fd = stubs::open(&writer, path, abi::fcntl::O_CREAT | abi::fcntl::O_WRONLY, 0o644)?;
    let text = b"left by the writer";
    let written = stubs::write(&writer, fd, In::new(text), text.len())?;

    let reader = connect(&url, "reader")?;
    let fd = stubs::open(&reader, path, abi::fcntl::O_RDONLY, 0)?;
    let mut buffer = [0u8; 64];
    let size = buffer.len();
    let read = stubs::read(&reader, fd, Out::new(&mut buffer), size)?;
    println!("{written} bytes written, {read} read: {}", String::from_utf8_lossy(&buffer[..read]));
    assert_eq!(&buffer[..read], text);

    let missing = stubs::unlink(&reader, UserStr::new(c"/tmp/nothing"));
    println!("unlink of nothing: {}", missing.map_or_else(|errno: Errno| errno.text(), |()| "done"));

    drop((writer, reader));
    server.stop();
    serving.join().map_err(|_| anyhow::anyhow!("the server's thread panicked"))
}

fn connect(url: &str, name: &str) -> anyhow::Result<Remote> {
    Remote::connect(url, Handshake::Guest(name.into()), Retry::Never).map_err(|error| anyhow::anyhow!("{url}: {error}"))
}
