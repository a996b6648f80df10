//! Rump descriptors in messages over the host's sockets (SCM_RIGHTS).
//!
//! The host would pass the placeholder, which says nothing about what is behind it. So a rump descriptor is parked in its
//! kernel under a token, and a memfd with the token travels in its place. A receiver with the library, on the same
//! kernel, claims the token and has the rump descriptor under the number that the memfd came with. Any other receiver has a
//! harmless memfd, and can pass it on.

use std::ffi::CStr;

use abi::linux::{MmsgHdr, MsgHdr};
use abi::{Errno, Fd, In, Out, Result};
use client::signals::Blocked;
use client::stubs;
use sysproxy::host::{self, Owned};

use super::kernel;
use crate::entry::{Call, Return, Word, c_return, errno, hooked, set_errno};
use crate::fds::{self, RumpFd};
use crate::{cancel, process, raw, trace, user};

/// Name of the memfds.
const NAME: &CStr = c"rumphijack-descriptor";

/// How `/proc/self/fd` shows one.
const LINK: &[u8] = b"/memfd:rumphijack-descriptor (deleted)";

/// No memfd of ours has other seals.
const SEALS: i32 = libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;

type Token = [u8; 16];

/// Most control data that is looked at: more than the most descriptors of a message (253) and its credentials take.
const CONTROL: usize = 2048;

/// Header of a control message: its length, level and kind.
const HEADER: usize = 16;

/// Calls `each` with the place of each descriptor in the control data.
fn rights(control: &mut [u8], mut each: impl FnMut(&mut [u8; 4])) {
    let mut rest = control;
    while let Some((length, _)) = rest.split_first_chunk::<8>() {
        let length = usize::try_from(u64::from_ne_bytes(*length)).unwrap_or(usize::MAX);
        let Some((message, _)) = rest.split_at_mut_checked(length.max(HEADER)) else { return };
        let is_rights = message.get(8..HEADER) == Some(&RIGHTS);
        if let (true, Some(data)) = (is_rights, message.get_mut(HEADER..)) {
            data.as_chunks_mut::<4>().0.iter_mut().for_each(&mut each);
        }
        rest = rest.get_mut(length.max(HEADER).next_multiple_of(8)..).unwrap_or_default();
    }
}

/// Level and kind of descriptors.
const RIGHTS: [u8; 8] = {
    let ([a, b, c, d], [e, f, g, h]) = (libc::SOL_SOCKET.to_ne_bytes(), libc::SCM_RIGHTS.to_ne_bytes());
    [a, b, c, d, e, f, g, h]
};

/// Control data with memfds in the place of rump descriptors.
struct Packed {
    control: Vec<u8>,
    memfds: Vec<(Owned, Token)>,
}

impl Packed {
    /// Makes one of a message of the program; `None` if it passes no rump descriptor.
    fn of(message: &MsgHdr) -> Result<Option<Self>> {
        let mut space = [0u8; CONTROL];
        let length = usize::try_from(message.msg_controllen).unwrap_or(usize::MAX);
        let Some(control) = space.get_mut(..length).filter(|_| message.msg_control != 0) else { return Ok(None) };
        user::read_bytes(message.msg_control as usize, control)?;
        let mut any = false;
        rights(control, |fd| any |= fds::lookup(i32::from_ne_bytes(*fd)).is_some());
        if !any {
            return Ok(None);
        }
        let mut packed = Self { control: control.to_vec(), memfds: Vec::new() };
        let (mut failed, memfds) = (None, &mut packed.memfds);
        rights(&mut packed.control, |fd| {
            let Some(rump) = fds::lookup(i32::from_ne_bytes(*fd)).filter(|_| failed.is_none()) else { return };
            match pack(rump) {
                Ok((memfd, token)) => {
                    *fd = memfd.fd().0.to_ne_bytes();
                    memfds.push((memfd, token));
                }
                Err(error) => failed = Some(error),
            }
        });
        match failed {
            Some(error) => {
                packed.unpack();
                Err(error)
            }
            None => Ok(Some(packed)),
        }
    }

    /// Takes the descriptors back that were not sent.
    fn unpack(self) {
        for (_, token) in &self.memfds {
            if let Ok(kernel) = kernel()
                && let Ok(fd) = stubs::claim(kernel, In::new(token), 1, 0)
            {
                let _ = stubs::close(kernel, fd);
            }
        }
    }
}

/// Parks a descriptor and makes the memfd for it; `EFBIG` if the program's RLIMIT_FSIZE leaves no room in one.
fn pack(rump: RumpFd) -> Result<(Owned, Token)> {
    let mut token = Token::default();
    if host::file_limit() < token.len() as u64 {
        return Err(Errno::EFBIG);
    }
    stubs::park(kernel()?, rump.fd(), Out::new(&mut token)).inspect_err(|error| {
        if *error == Errno::ENOSYS {
            trace::say(format_args!("sendmsg: this server cannot pass rump descriptors over a socket of the host"));
        }
    })?;
    let memfd = host::memfd(NAME).and_then(|low| client::fds::raise(low.fd())).map_err(host::errno)?;
    host::write(memfd.fd(), &token).map_err(host::errno)?;
    raw::fcntl(memfd.fd().0, libc::F_ADD_SEALS, raw::word(SEALS));
    Ok((memfd, token))
}

/// The token in a descriptor that was received, if it is one of these memfds.
fn token(fd: i32) -> Option<Token> {
    if raw::fcntl(fd, libc::F_GET_SEALS, 0) != SEALS as isize {
        return None;
    }
    let name = format!("/proc/self/fd/{fd}\0");
    let mut link = [0u8; LINK.len() + 1];
    let args = [name.as_ptr() as usize, link.as_mut_ptr() as usize, link.len()];
    // Without /proc there are no names; a token that is none is nothing that the server knows.
    let named =
        raw::checked(raw::call(libc::SYS_readlink, args)).map_or(true, |length| link.get(..length) == Some(LINK));
    let mut token = Token::default();
    let args = [raw::word(fd), token.as_mut_ptr() as usize, token.len(), 0];
    let whole = named && raw::call(libc::SYS_pread64, args) == token.len() as isize;
    whole.then_some(token)
}

/// Puts the rump descriptor behind a received memfd under its number.
fn adopt(fd: i32, keep: bool) {
    let Some(token) = token(fd) else { return };
    let cloexec = raw::fcntl(fd, libc::F_GETFD, 0) & libc::FD_CLOEXEC as isize != 0;
    let claimed = kernel().and_then(|kernel| stubs::claim(kernel, In::new(&token), cloexec.into(), keep.into()));
    let Ok(Fd(rump)) = claimed else {
        return trace::say(format_args!("recvmsg: {fd} is a rump descriptor of another server, or came too late"));
    };
    let _lock = fds::lock();
    let flags = if cloexec { libc::O_CLOEXEC } else { 0 };
    if fds::with_template(|template| raw::dup3(template, fd, flags)) >= 0 {
        fds::set(fd, Some(RumpFd(rump)));
    }
}

/// Looks for rump descriptors in a message that the host has given to the program.
fn unpack(header: usize, flags: i32) -> Result<()> {
    let message: MsgHdr = user::read(header)?;
    let mut space = [0u8; CONTROL];
    let length = usize::try_from(message.msg_controllen).unwrap_or(usize::MAX).min(CONTROL);
    let control = space.get_mut(..length).unwrap_or_default();
    user::read_bytes(message.msg_control as usize, control)?;
    rights(control, |fd| adopt(i32::from_ne_bytes(*fd), flags & libc::MSG_PEEK != 0));
    Ok(())
}

/// Whether a message of the host's sockets may have rump descriptors in it.
fn concerns(args: &[usize; 6]) -> bool {
    let [fd, ..] = *args;
    process::ready() && fds::lookup(fd as i32).is_none()
}

/// A message to be sent in the place of the program's.
struct Parcel {
    /// The host fills in how much it took.
    message: MmsgHdr,
    packed: Packed,
}

impl Parcel {
    /// Makes one that [`Parcel::finish`] gets rid of.
    fn new(mut header: MsgHdr, packed: Packed) -> *mut Self {
        header.msg_control = packed.control.as_ptr() as u64;
        Box::into_raw(Box::new(Self { message: MmsgHdr { msg_hdr: header, ..MmsgHdr::default() }, packed }))
    }

    /// Lets go of one that was `sent`, or was not; returns how much of it was.
    fn finish(parcel: *mut Self, sent: bool) -> u32 {
        let _blocked = Blocked::enter();
        // SAFETY: `new` has made it, and this is the end of it.
        let Self { message, packed } = *unsafe { Box::from_raw(parcel) };
        if !sent {
            packed.unpack();
        }
        message.msg_len
    }
}

/// Makes the host's call that sends a parcel, under the program's own signal mask. No frame from here to the program has a destructor: the
/// thread may be cancelled.
#[inline(always)]
fn send_parcel<R: Return + Word + Copy>(parcel: *mut Parcel, send: impl FnOnce(usize) -> R) -> R {
    extern "C" fn cancelled(parcel: usize) {
        Parcel::finish(parcel as *mut Parcel, false);
    }
    // The header stands first in the message of sendmmsg, too.
    let message = parcel as usize + core::mem::offset_of!(Parcel, message);
    cancel::with_cleanup(cancelled, parcel as usize, || send(message))
}

/// Makes a parcel of a message that passes rump descriptors; nothing of any other.
fn parcel_of(fits: bool, message: usize) -> Result<Option<*mut Parcel>> {
    if !fits {
        return Ok(None);
    }
    let _blocked = Blocked::enter();
    let made = user::read(message).and_then(|header| Ok((header, Packed::of(&header)?)));
    match made {
        Ok((header, packed)) => Ok(packed.map(|packed| Parcel::new(header, packed))),
        // What cannot be read is the host's to refuse.
        Err(Errno::EFAULT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// See sendmsg(2).
#[inline(never)]
pub fn sendmsg<R: Return + Word + Copy>(
    Call { nr, wanted }: Call,
    args: [usize; 6],
    real: Option<impl Fn([usize; 6]) -> R + Copy>,
) -> R {
    let [fd, message, flags, ..] = args;
    match parcel_of(fds::any_entry() && concerns(&args), message) {
        Ok(None) => hooked(nr, wanted, args, real.map(|real| move || real(args))),
        Ok(Some(parcel)) => {
            let sent = send_parcel(parcel, |message| match real {
                Some(real) => real([fd, message, flags, 0, 0, 0]),
                None => c_return(raw::call(nr, [fd, message, flags])),
            });
            finished(parcel, sent)
        }
        Err(error) => c_return(-(error.to_linux() as isize)),
    }
}

/// Gets rid of a parcel, and leaves what its call has answered.
fn finished<R: Return + Word + Copy>(parcel: *mut Parcel, sent: R) -> R {
    let error = errno();
    Parcel::finish(parcel, sent.word() as isize >= 0);
    set_errno(error);
    sent
}

/// See sendmmsg(2): messages go one by one where one of them passes a rump descriptor.
#[inline(never)]
pub fn sendmmsg<R: Return + Word + Copy>(
    Call { nr, wanted }: Call,
    args: [usize; 6],
    real: Option<impl Fn([usize; 6]) -> R + Copy>,
) -> R {
    let [fd, vector, count, flags, ..] = args;
    let count = (count as u32 as usize).min(1024);
    if !(fds::any_entry() && concerns(&args) && any_passes(vector, count)) {
        return hooked(nr, wanted, args, real.map(|real| move || real(args)));
    }
    let one = |message: usize| match real {
        Some(real) => real([fd, message, 1, flags, 0, 0]),
        None => c_return(raw::call(nr, [fd, message, 1, flags])),
    };
    for at in 0..count {
        let place = vector.wrapping_add(at * size_of::<MmsgHdr>());
        let sent = match parcel_of(true, place) {
            Ok(None) => one(place),
            Ok(Some(parcel)) => {
                let sent = send_parcel(parcel, one);
                let error = errno();
                let length = Parcel::finish(parcel, sent.word() as isize >= 0);
                set_errno(error);
                match user::write(place + core::mem::offset_of!(MmsgHdr, msg_len), &length) {
                    Ok(()) => sent,
                    Err(error) => c_return(-(error.to_linux() as isize)),
                }
            }
            Err(error) => c_return(-(error.to_linux() as isize)),
        };
        match sent.word() as isize {
            1.. => {}
            _ if at == 0 => return sent,
            _ => return R::of(at as isize),
        }
    }
    R::of(count as isize)
}

/// Whether one of the messages passes a rump descriptor.
fn any_passes(vector: usize, count: usize) -> bool {
    let _blocked = Blocked::enter();
    let headers = |at: usize| user::read::<MmsgHdr>(vector.wrapping_add(at * size_of::<MmsgHdr>()));
    (0..count).any(|at| headers(at).is_ok_and(|header| names_rump(&header.msg_hdr)))
}

/// Whether a message passes a rump descriptor.
fn names_rump(message: &MsgHdr) -> bool {
    let mut space = [0u8; CONTROL];
    let length = usize::try_from(message.msg_controllen).unwrap_or(usize::MAX);
    let Some(control) = space.get_mut(..length).filter(|_| message.msg_control != 0) else { return false };
    let mut any = false;
    if user::read_bytes(message.msg_control as usize, control).is_ok() {
        rights(control, |fd| any |= fds::lookup(i32::from_ne_bytes(*fd)).is_some());
    }
    any
}

/// See recvmsg(2).
#[inline(never)]
pub fn recvmsg<R: Return + Word + Copy>(
    Call { nr, wanted }: Call,
    args: [usize; 6],
    real: Option<impl Fn([usize; 6]) -> R + Copy>,
) -> R {
    let got = hooked(nr, wanted, args, real.map(|real| move || real(args)));
    let [_, message, flags, ..] = args;
    if got.word() as isize >= 0 && concerns(&args) && has_control(message) {
        let _blocked = Blocked::enter();
        let _ = unpack(message, flags as i32);
    }
    got
}

/// See recvmmsg(2).
#[inline(never)]
pub fn recvmmsg<R: Return + Word + Copy>(
    Call { nr, wanted }: Call,
    args: [usize; 6],
    real: Option<impl Fn([usize; 6]) -> R + Copy>,
) -> R {
    let got = hooked(nr, wanted, args, real.map(|real| move || real(args)));
    let [_, vector, _, flags, ..] = args;
    let count = usize::try_from(got.word() as isize).unwrap_or(0);
    if count > 0 && concerns(&args) {
        let places = (0..count).map(|at| vector.wrapping_add(at * size_of::<MmsgHdr>()));
        for place in places.filter(|place| has_control(*place)) {
            let _blocked = Blocked::enter();
            let _ = unpack(place, flags as i32);
        }
    }
    got
}

/// Whether a message that was received has control data. The host has just stored its length there.
fn has_control(message: usize) -> bool {
    let length = core::mem::offset_of!(MsgHdr, msg_controllen);
    // SAFETY: the header of a message that was received is mapped.
    let length = unsafe { core::ptr::read_unaligned((message + length) as *const u64) };
    length > HEADER as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_found_wherever_they_stand() {
        let mut control = Vec::new();
        let mut message = |kind: i32, data: &[i32]| {
            control.extend((HEADER as u64 + 4 * data.len() as u64).to_ne_bytes());
            control.extend(libc::SOL_SOCKET.to_ne_bytes());
            control.extend(kind.to_ne_bytes());
            data.iter().for_each(|fd| control.extend(fd.to_ne_bytes()));
            control.resize(control.len().next_multiple_of(8), 0);
        };
        message(libc::SCM_CREDENTIALS, &[1, 2, 3]);
        message(libc::SCM_RIGHTS, &[4, 5, 6]);
        message(libc::SCM_RIGHTS, &[7]);
        let found = |control: &mut [u8]| {
            let mut found = Vec::new();
            rights(control, |fd| found.push(i32::from_ne_bytes(*fd)));
            found
        };
        assert_eq!(found(&mut control), [4, 5, 6, 7]);
        assert_eq!(found(&mut control[..40]), Vec::<i32>::new());
        control[0] = 0;
        assert!(found(&mut control).len() <= 4 && found(&mut []).is_empty());
    }

    #[test]
    fn a_memfd_of_another_name_is_left_alone() {
        let memfd = host::memfd(c"rumphijack-descriptors").unwrap();
        host::write(memfd.fd(), &[1; 16]).unwrap();
        raw::fcntl(memfd.fd().0, libc::F_ADD_SEALS, raw::word(SEALS));
        assert_eq!(token(memfd.fd().0), None);
        let ours = host::memfd(NAME).unwrap();
        host::write(ours.fd(), &[7; 16]).unwrap();
        assert_eq!(token(ours.fd().0), None);
        raw::fcntl(ours.fd().0, libc::F_ADD_SEALS, raw::word(SEALS));
        assert_eq!(token(ours.fd().0), Some([7; 16]));
        assert_eq!(token(-1), None);
    }
}
