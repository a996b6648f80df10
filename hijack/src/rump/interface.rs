//! if_nametoindex(3) and if_indextoname(3): the interfaces are those of the kernel that has the IPv4 sockets.

use core::ffi::{c_char, c_uint};

use abi::linux::Ifreq;
use abi::socket::{AF_INET, SOCK_DGRAM};
use abi::{Errno, Result};
use client::stubs;
use linux_raw_sys::ioctl::{SIOCGIFINDEX, SIOCGIFNAME};

use super::ioctl::ioctl;
use super::kernel;
use crate::calls::{self, Outcome};
use crate::fds::RumpFd;
use crate::{entry, route, user};

/// See if_nametoindex(3): 0 and `ENODEV` if there is no such interface.
pub fn name_to_index(name: usize, real: Option<impl FnOnce() -> c_uint>) -> c_uint {
    if let (false, Some(real)) = (route::family(libc::AF_INET), real) {
        return real();
    }
    let index = || {
        let name = user::read_cstr(name)?;
        let mut request = Ifreq::default();
        // A byte is left for the NUL.
        let room = request.ifr_name.split_last_mut().map(|(_, room)| room).unwrap_or_default();
        room.get_mut(..name.to_bytes().len()).ok_or(Errno::ENODEV)?.copy_from_slice(name.to_bytes());
        ask(SIOCGIFINDEX, &mut request)?;
        Ok(index_of(&mut request).map_or(0, |index| u32::from_ne_bytes(*index) as usize))
    };
    match calls::serve(true, index) {
        Outcome::Done(index @ 0..) => index as c_uint,
        outcome => {
            fail(outcome);
            0
        }
    }
}

/// See if_indextoname(3): null and `ENXIO` if there is no such interface. There is room for 16 bytes at `name`.
pub fn index_to_name(index: c_uint, name: *mut c_char, real: Option<impl FnOnce() -> *mut c_char>) -> *mut c_char {
    if let (false, Some(real)) = (route::family(libc::AF_INET), real) {
        return real();
    }
    let find = || {
        let mut request = Ifreq::default();
        if let Some(place) = index_of(&mut request) {
            *place = index.to_ne_bytes();
        }
        ask(SIOCGIFNAME, &mut request).map_err(|error| if error == Errno::ENODEV { Errno::ENXIO } else { error })?;
        let length = request.ifr_name.iter().position(|byte| *byte == 0).map_or(request.ifr_name.len(), |nul| nul + 1);
        user::write_bytes(name as usize, request.ifr_name.get(..length).unwrap_or_default())?;
        Ok(0usize)
    };
    match calls::serve(true, find) {
        Outcome::Done(0) => name,
        outcome => {
            fail(outcome);
            std::ptr::null_mut()
        }
    }
}

/// Where a request has the number of an interface.
fn index_of(request: &mut Ifreq) -> Option<&mut [u8; 4]> {
    request.ifr_ifru.first_chunk_mut()
}

/// Asks on a socket of the rump kernel that the program never sees.
fn ask(command: u32, request: &mut Ifreq) -> Result<()> {
    let kernel = kernel()?;
    let socket = stubs::socket(kernel, AF_INET, SOCK_DGRAM, 0)?;
    let asked = ioctl(RumpFd(socket.0), -1, command, std::ptr::from_mut(request) as usize);
    let _ = stubs::close(kernel, socket);
    asked.map(drop)
}

fn fail(outcome: Outcome) {
    if let Outcome::Done(error) = outcome {
        entry::set_errno(-error as i32);
    }
}
