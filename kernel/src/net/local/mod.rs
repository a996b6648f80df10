//! AF_LOCAL sockets: streams, datagrams and sequenced packets inside the kernel, with names in the file name space.
//!
//! A name that begins with a NUL is Linux's abstract name: it lives in a table of the kernel and goes with its socket.

mod call;
mod channel;
mod socket;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use abi::{Errno, Result};

pub use self::socket::{LocalSocket, owner};
use crate::Cx;
use crate::proc::lock;

/// What a name leads to. The socket may be gone: a name stays until it is unlinked.
struct Endpoint(Weak<LocalSocket>);

/// The abstract names of a kernel.
#[derive(Default)]
pub struct Names(Mutex<HashMap<Vec<u8>, Weak<LocalSocket>>>);

impl Names {
    /// Binds a name; `EADDRINUSE` if it exists.
    fn bind(&self, cx: &Cx<'_>, name: &[u8], socket: &Arc<LocalSocket>) -> Result<()> {
        if name.first() != Some(&0) {
            return cx.kernel.vfs.bind_socket(cx, name, Arc::new(Endpoint(Arc::downgrade(socket))));
        }
        let mut names = lock(&self.0);
        if names.get(name).is_some_and(|other| other.strong_count() > 0) {
            return Err(Errno::EADDRINUSE);
        }
        names.insert(name.to_vec(), Arc::downgrade(socket));
        Ok(())
    }

    /// Binds to an abstract name that nobody has: five hexadecimal digits, as on Linux. `ENOSPC` when all are taken.
    fn bind_to_any(&self, socket: &Arc<LocalSocket>) -> Result<Vec<u8>> {
        let mut names = lock(&self.0);
        let name = |number: u32| format!("\0{number:05x}").into_bytes();
        let taken = |name: &Vec<u8>| names.get(name).is_some_and(|other| other.strong_count() > 0);
        let free = (0..=0xf_ffff).map(name).find(|name| !taken(name)).ok_or(Errno::ENOSPC)?;
        names.insert(free.clone(), Arc::downgrade(socket));
        Ok(free)
    }

    /// Finds the socket of a name; `ECONNREFUSED` if it is gone.
    fn find(&self, cx: &Cx<'_>, name: &[u8]) -> Result<Arc<LocalSocket>> {
        if name.is_empty() {
            return Err(Errno::EINVAL);
        }
        if name.first() == Some(&0) {
            let socket = lock(&self.0).get(name).and_then(Weak::upgrade);
            return socket.ok_or(Errno::ECONNREFUSED);
        }
        let endpoint = cx.kernel.vfs.lookup_socket(cx, name)?;
        let endpoint = endpoint.downcast::<Endpoint>().map_err(|_| Errno::ECONNREFUSED)?;
        endpoint.0.upgrade().ok_or(Errno::ECONNREFUSED)
    }

    /// Forgets an abstract name.
    fn unbind(&self, name: &[u8]) {
        if name.first() == Some(&0) {
            lock(&self.0).remove(name);
        }
    }
}
