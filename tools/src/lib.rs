//! What the command lines share: the program's own messages, and the hand-shake between a starter and the
//! server that it starts.

pub mod commands;
pub mod ctl;
pub mod drive;
pub mod explain;
pub mod inside;
pub mod label;
pub mod net;
pub mod rc;
pub mod starter;

/// Returns the program's name, for messages.
pub fn program() -> String {
    let arg0 = std::env::args_os().next().unwrap_or_default();
    std::path::Path::new(&arg0).file_name().unwrap_or(&arg0).to_string_lossy().into_owned()
}

/// Prints `PROGRAM: message` on stderr and ends with `status`.
pub fn fail(status: u8, message: impl std::fmt::Display) -> std::process::ExitCode {
    eprintln!("{}: {message}", program());
    status.into()
}
