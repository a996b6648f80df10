//! `netem` and `pcap`: what is put around the device of an interface.

use abi::ioctl::{SIOCGDRVSPEC, SIOCSDRVSPEC};
use client::Caller;

use super::said;
use crate::net::Control;

/// Makes a link worse: delay, loss, and the like, for what is sent through an interface.
#[derive(clap::Args)]
pub struct Netem {
    /// The interface
    interface: String,
    /// off | [delay TIME] [jitter TIME] [loss %] [duplicate %] [reorder %] [corrupt %] [rate BITS] [limit FRAMES] [seed N];
    /// nothing to show it
    words: Vec<String>,
}

/// Writes the frames of an interface to a file of the host, as pcapng.
#[derive(clap::Args)]
pub struct Pcap {
    /// The interface
    interface: String,
    /// The file, or off; nothing to show it
    file: Option<String>,
}

fn shown(control: &Control<'_>, interface: &str, kind: &str) -> anyhow::Result<Vec<String>> {
    let all = control.take(SIOCGDRVSPEC, interface).map_err(said(interface))?;
    Ok(all.lines().filter(|line| line.split(' ').next() == Some(kind)).map(str::to_owned).collect())
}

impl Netem {
    /// Sets or shows it.
    pub fn run(&self, kernel: &dyn Caller) -> anyhow::Result<Vec<String>> {
        let control = Control::open(kernel)?;
        if self.words.is_empty() {
            return shown(&control, &self.interface, "netem");
        }
        let text = format!("netem {}", self.words.join(" "));
        control.give(SIOCSDRVSPEC, &self.interface, 0, &text).map_err(said(&self.interface))?;
        Ok(Vec::new())
    }
}

impl Pcap {
    /// Begins, ends, or shows it.
    pub fn run(&self, kernel: &dyn Caller) -> anyhow::Result<Vec<String>> {
        let control = Control::open(kernel)?;
        let text = match self.file.as_deref() {
            None => return shown(&control, &self.interface, "pcap"),
            Some("off") => "pcap off".to_owned(),
            // The server may stand elsewhere.
            Some(file) => format!("pcap {}", std::path::absolute(file)?.display()),
        };
        control.give(SIOCSDRVSPEC, &self.interface, 0, &text).map_err(said(&self.interface))?;
        Ok(Vec::new())
    }
}
