//! `drive`: host files and devices under names in the root directory, as `rump_server -d` shows them.

use std::ffi::CString;

use abi::UserStr;
use abi::stat::{S_IFBLK, S_IFCHR, S_IFREG};
use anyhow::Context;
use client::{Caller, stubs};

use super::said;
use crate::drive::{Drive, Kind};

/// Shows a host file, or takes one away.
#[derive(clap::Args)]
pub struct Change {
    /// Take KEY away: what is still open then fails
    #[arg(short = 'r', value_name = "KEY", conflicts_with = "spec", required_unless_present = "spec")]
    remove: Option<String>,
    /// What to show: key=K,hostpath=P,size=N|host[,offset=O][,type=blk|chr|reg], or disklabel=LETTER in place of size
    #[arg(value_name = "DRIVESPEC")]
    spec: Option<Drive>,
}

impl Change {
    /// Registers or removes.
    pub fn run(&self, kernel: &dyn Caller) -> anyhow::Result<Vec<String>> {
        if let Some(key) = &self.remove {
            let text = CString::new(key.as_str())?;
            return stubs::etfs_remove(kernel, UserStr::new(&text)).map(|()| Vec::new()).map_err(said(key));
        }
        let drive = self.spec.as_ref().context("which? give a DRIVESPEC")?;
        let part = drive.prepare()?;
        // The server may stand elsewhere.
        let hostpath = std::path::absolute(&drive.hostpath)?.into_os_string().into_encoded_bytes();
        let (key, hostpath) = (CString::new(drive.key.as_str())?, CString::new(hostpath)?);
        let kind = match drive.kind {
            Kind::Block => S_IFBLK,
            Kind::Character => S_IFCHR,
            Kind::Regular => S_IFREG,
        };
        let (key_text, hostpath) = (UserStr::new(&key), UserStr::new(&hostpath));
        let done = stubs::etfs_register(kernel, key_text, hostpath, kind, part.offset, part.size);
        done.map(|()| Vec::new()).map_err(said(&drive.key))
    }
}
