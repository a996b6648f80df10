//! The routing socket (route(4)) and the lists of `net.route`: how BSD's route(8), arp(8), ndp(8), netstat(1) and getifaddrs(3) ask about
//! routes, neighbours and interfaces, change them, and hear of changes.

mod dump;
mod message;
mod request;
mod socket;
mod watch;

pub use self::dump::table;
pub use self::socket::RouteSocket;
pub use self::watch::Watch;
