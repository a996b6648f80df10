//! The copy of a process between prefork and claim, and how who claims it comes to the server.
//!
//! A child connects by itself, as a rule. One that has become another user, or has other names of files, cannot: where its parent could not either,
//! the server hands over a connection beside the token. Over tcp the parent makes it. Such a connection also tells the server when the child is gone
//! before it has claimed its copy; otherwise that is told by the child's number.

use sysproxy::Link;
use sysproxy::host::{self, IoSlice};
use sysproxy::link::Stream;
use sysproxy::message::{ClientRequest, Token};

use crate::fds::Kept;

/// A copy of a process that the server has made for a child.
#[derive(Clone, Copy, Debug)]
pub struct Heir {
    token: Token,
    /// The connection that is the child's, by its name ([`Kept::into_name`]).
    connection: Option<i32>,
}

impl Heir {
    /// Takes up what the server has answered, and a fresh connection to it that is to be the child's.
    pub(crate) fn new(token: Token, connection: Option<Kept>) -> Self {
        if let Some(connection) = &connection {
            // Only now that the child will have it for certain.
            let tie = ClientRequest::Forked { token, pid: 0 }.encode(0).encode();
            let _ = connection.with(|fd| host::sendmsg(fd, &[IoSlice::new(&tie)]));
        }
        Self { token, connection: connection.map(Kept::into_name) }
    }

    /// What the server knows it by.
    pub fn token(&self) -> Token {
        self.token
    }

    /// The connection that was handed over, if any: a duplicate, of which the library knows nothing.
    pub(crate) fn link(&self) -> Option<Box<dyn Link>> {
        let duplicate = Kept::duplicate_of(self.connection?).ok()?;
        Some(Box::new(Stream::new(duplicate)))
    }

    /// In the parent: lets the connection go, which is the child's now.
    #[must_use]
    pub fn let_go(self) -> Self {
        drop(self.connection.map(Kept::from_name));
        Self { connection: None, ..self }
    }
}
