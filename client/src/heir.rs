//! The copy of a process between prefork and claim, and how who claims it comes to the server.
//!
//! A child connects by itself, as a rule. One that has become another user, or has other names of files, cannot: where its parent could not either,
//! the server hands over a connection beside the token.

use sysproxy::Link;
use sysproxy::host::Owned;
use sysproxy::link::Stream;
use sysproxy::message::Token;

use crate::fds::Kept;

/// A copy of a process that the server has made for a child.
#[derive(Clone, Copy, Debug)]
pub struct Heir {
    token: Token,
    /// The connection that the server has handed over, by its name ([`Kept::into_name`]).
    connection: Option<i32>,
}

impl Heir {
    /// Takes up what the server has answered.
    pub(crate) fn new(token: Token, connection: Option<Owned>) -> Self {
        let kept = connection.and_then(|fd| Kept::new(fd).ok());
        Self { token, connection: kept.map(Kept::into_name) }
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
