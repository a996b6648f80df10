//! Devices: the console, network interfaces.

pub mod console;
pub mod loopback;
pub mod net;
