//! What an image of the original library, or of a program made with the original client, hands over at exec: environment variables.
//!
//! * `RUMPCLIENT__EXECFD=SOCKET,HOLY`: the connection, and a descriptor of the original that nobody needs.
//! * `RUMP__PARSEDSERVER`: the absolute form of a relative RUMP_SERVER. It stays in the environment for ever, so that without a
//!   connection it says nothing about this image and is not looked at.
//! * `RUMPHIJACK__DUP2INFO`: a word for each of the numbers 0, 1 and 2: a flag that it is a rump descriptor, a flag that the number which
//!   it was duplicated from is still open, and the rump descriptor.
//! * `RUMPHIJACK__PWDINRUMP`: relative paths go to the rump kernel.
//!
//! All other rump descriptors have the number `fdoff` above the kernel's; the original keeps none in the host.

use abi::{Fd, InOut, Result, fcntl};
use client::{Caller, Remote, stubs};
use rustix::fs::FileType;

use crate::fds::RumpFd;
use crate::{environment, fds, process, raw, trace};

/// What is taken out of the environment: it is true for one image only.
const ONCE: [&[u8]; 3] = [b"RUMPCLIENT__EXECFD=", b"RUMPHIJACK__DUP2INFO=", b"RUMPHIJACK__PWDINRUMP="];

/// The number is a rump descriptor.
const ACTIVE: u32 = 1 << 31;
/// So is still the one that it was duplicated from.
const ALIAS: u32 = 1 << 30;

/// `fdoff` of the original where nothing is said: half of glibc's FD_SETSIZE.
const OFFSET: i32 = 512;

/// The connection of the image before.
pub struct Connection {
    pub socket: i32,
    pub url: String,
    pub extended: bool,
}

/// What the original says of the descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    words: [u32; 3],
    offset: i32,
}

/// Takes up the connection that the environment names, if there is one. The variables are taken out of the environment.
pub fn connection<'a>(get: impl Fn(&str) -> Option<&'a [u8]>) -> Option<Connection> {
    let text = |name| std::str::from_utf8(get(name)?).ok();
    let (socket, holy) = text("RUMPCLIENT__EXECFD")?.split_once(',')?;
    let (socket, holy) = (socket.parse().ok()?, holy.parse().ok()?);
    environment::forget(&ONCE);
    if !is_socket(socket) {
        return None;
    }
    raw::close(holy);
    let url = text("RUMP__PARSEDSERVER").or_else(|| text("RUMP_SERVER"))?;
    // The image before has read the banner of this connection.
    match Remote::is_ours(url) {
        Ok(extended) => Some(Connection { socket, url: url.to_owned(), extended }),
        Err(_) => {
            raw::close(socket);
            None
        }
    }
}

fn is_socket(fd: i32) -> bool {
    fd >= 0 && fds::stat(fd).is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Socket)
}

impl Numbers {
    /// Understands RUMPHIJACK__DUP2INFO; without it, or if it is wrong, no number below the offset is a rump descriptor.
    pub fn parse(value: Option<&[u8]>, fdoff: i32) -> Self {
        let words = value.and_then(|value| {
            let mut words = std::str::from_utf8(value).ok()?.split(',').map_while(|word| word.parse().ok());
            let three = [words.next()?, words.next()?, words.next()?];
            words.next().is_none().then_some(three)
        });
        Self { words: words.unwrap_or_default(), offset: if fdoff == 0 { OFFSET } else { fdoff } }
    }

    /// Which number is to be which rump descriptor, `open` being those of the kernel. A descriptor that comes twice has to be duplicated.
    fn wanted(&self, open: &[i32]) -> Vec<(i32, i32)> {
        let slots = || {
            let active = self.words.iter().zip(0..).filter(|(word, _)| **word & ACTIVE != 0);
            active.map(|(word, number)| (number, (word & !(ACTIVE | ALIAS)) as i32, word & ALIAS != 0))
        };
        // close(2) of what the slots were made from takes the flag of the first only.
        let closed = |rump: i32| slots().any(|(_, other, alias)| other == rump && !alias);
        let above = open
            .iter()
            .filter(|rump| !closed(**rump))
            .filter_map(|rump| Some((self.offset.checked_add(*rump)?, *rump)));
        above.chain(slots().map(|(number, rump, _)| (number, rump)).filter(|(_, rump)| open.contains(rump))).collect()
    }

    /// Gives the numbers their placeholders.
    pub fn take(&self) {
        let Ok(kernel) = process::kernel() else { return };
        let open = open_in(kernel);
        let mut used = Vec::new();
        for (number, rump) in self.wanted(&open) {
            let own = if used.contains(&rump) { stubs::dup(kernel, Fd(rump)).map(|fd| fd.0) } else { Ok(rump) };
            used.push(rump);
            if let Err(error) = own.and_then(|own| place(kernel, number, own)) {
                trace::say(format_args!("exec: number {number} of the image before is lost: {error}"));
            }
        }
    }
}

/// The descriptors that are open in the kernel.
fn open_in(kernel: &dyn Caller) -> Vec<i32> {
    let ask = |fd, command| stubs::fcntl(kernel, Fd(fd), command, InOut::NULL);
    let highest = ask(0, fcntl::F_MAXFD).unwrap_or(-1);
    (0..=highest).filter(|fd| ask(*fd, fcntl::F_GETFD).is_ok()).collect()
}

/// Makes `number` the rump descriptor; closes that if another host descriptor has the number.
fn place(kernel: &dyn Caller, number: i32, rump: i32) -> Result<()> {
    if number < 3 {
        // What the host has there was out of the program's sight.
        raw::close(number);
    }
    let taken = raw::checked(fds::with_template(|template| raw::fcntl(template, libc::F_DUPFD, raw::word(number))));
    match taken {
        Ok(got) if got as i32 == number => {
            let _lock = fds::lock();
            fds::set(number, Some(RumpFd(rump)));
            Ok(())
        }
        taken => taken.map(|got| raw::close(got as i32)).map(drop).and(Err(abi::Errno::EMFILE)).inspect_err(|_| {
            let _ = stubs::close(kernel, Fd(rump));
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_say_which_numbers_are_rump_descriptors() {
        let numbers = |value: &str| Numbers::parse(Some(value.as_bytes()), 0);
        assert_eq!(numbers("3221225475,0,0").wanted(&[0, 1, 2, 3]), [(512, 0), (513, 1), (514, 2), (515, 3), (0, 3)]);
        // accept, three times dup2, close: the descriptor itself has no number any more.
        let inetd = format!("{},{},{}", ACTIVE | 4, ACTIVE | ALIAS | 4, ACTIVE | ALIAS | 4);
        assert_eq!(numbers(&inetd).wanted(&[3, 4]), [(515, 3), (0, 4), (1, 4), (2, 4)]);
        assert_eq!(Numbers::parse(None, 100).wanted(&[3]), [(103, 3)]);
        for bad in ["", "1,2", "1,2,3,4", "x,0,0"] {
            assert_eq!(numbers(bad).words, [0; 3], "{bad}");
        }
    }
}
