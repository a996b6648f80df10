//! The drive specification of `rump_server -d`: `key=K,hostpath=P,size=N|host[,offset=O][,type=blk|chr|reg]`, and what
//! it means for the host file.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::str::FromStr;

use rustix::io::Errno;

use crate::label::{self, Partition};

/// How a host file appears in the rump kernel (rump_etfs(3)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// A block device.
    #[default]
    Block,
    /// A character device.
    Character,
    /// A regular file.
    Regular,
}

/// How much of the host file is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// So many bytes.
    Bytes(u64),
    /// All of it, as it is when the server starts.
    Host,
    /// The partition of a disk label.
    Partition(char),
}

/// A host file or device to expose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    /// Path in the rump kernel; begins with a slash.
    pub key: String,
    /// Path on the host.
    pub hostpath: String,
    /// The window's length.
    pub size: Size,
    /// The window's begin in bytes.
    pub offset: u64,
    /// What it appears as.
    pub kind: Kind,
}

impl FromStr for Drive {
    type Err = String;

    /// Parses a specification, with the original's messages.
    fn from_str(spec: &str) -> Result<Self, String> {
        let (mut key, mut hostpath, mut size, mut offset, mut kind) = (None, None, None, None, None);
        for token in spec.split(',').filter(|token| !token.is_empty()) {
            let (name, value) = token.split_once('=').ok_or("invalid dtoken")?;
            let given = |already: bool, what: &str| if already { Err(format!("{what} already given")) } else { Ok(()) };
            match name {
                "key" => {
                    given(key.is_some(), name)?;
                    key = Some(value.to_owned());
                }
                "hostpath" => {
                    given(hostpath.is_some(), name)?;
                    hostpath = Some(value.to_owned());
                }
                "size" => {
                    given(size.is_some(), name)?;
                    size = Some(if value == "host" { Size::Host } else { Size::Bytes(number(value)?) });
                }
                "offset" => {
                    given(offset.is_some(), name)?;
                    offset = Some(number(value)?);
                }
                "disklabel" => {
                    let label = value.parse::<char>().ok().filter(char::is_ascii_lowercase);
                    let label = label.ok_or("invalid label part")?;
                    if size.is_some() || offset.is_some() {
                        return Err("disklabel needs to be used alone".into());
                    }
                    size = Some(Size::Partition(label));
                }
                "type" if kind.is_some() => return Err("type already specified".into()),
                "type" => {
                    kind = Some(match value {
                        "blk" => Kind::Block,
                        "chr" => Kind::Character,
                        "reg" => Kind::Regular,
                        _ => return Err(format!("invalid type {value}")),
                    });
                }
                _ => return Err("invalid dtoken".into()),
            }
        }
        match (size, offset) {
            (Some(Size::Host), Some(_)) => return Err("cannot specify offset with size=host".into()),
            (Some(Size::Partition(_)), Some(_)) => return Err("disklabel needs to be used alone".into()),
            _ => {}
        }
        let kind = kind.unwrap_or_default();
        let size = match size {
            Some(Size::Bytes(0)) | None if kind == Kind::Regular => Size::Bytes(0),
            Some(Size::Bytes(0)) | None => return Err("incomplete drivespec".into()),
            Some(size) => size,
        };
        match (key, hostpath) {
            (Some(key), Some(hostpath)) => Ok(Drive { key, hostpath, size, offset: offset.unwrap_or(0), kind }),
            _ => Err("incomplete drivespec".into()),
        }
    }
}

/// Why a host file cannot be exposed: what went wrong, and the host's error.
#[derive(Debug)]
pub struct Refused(pub &'static str, pub io::Error);

impl Refused {
    /// The host's number of the error.
    pub fn number(&self) -> i32 {
        self.1.raw_os_error().unwrap_or(Errno::IO.raw_os_error())
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.1.to_string();
        // The standard library appends the number.
        write!(f, "{}: {}", self.0, text.split(" (os error").next().unwrap_or_default())
    }
}

impl std::error::Error for Refused {}

impl Drive {
    /// Opens the host file, makes it if it is missing (unless its size is wanted), finds the part that is to be shown,
    /// and lengthens a regular file that ends before that.
    pub fn prepare(&self) -> Result<Partition, Refused> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(self.size != Size::Host).truncate(false).mode(0o644);
        let file = options.open(&self.hostpath).map_err(|error| Refused("etfs hostpath open", error))?;
        let metadata = file.metadata().map_err(|error| Refused("etfs hostpath open", error))?;
        let window = match self.size {
            Size::Bytes(size) => Partition { offset: self.offset, size },
            Size::Host => match all_of(&file, &metadata) {
                0 => return Err(refused("size=host, but cannot query non-zero size", Errno::INVAL)),
                size => Partition { offset: 0, size },
            },
            Size::Partition(letter) => partition(&file, letter)?,
        };
        let end = window.offset.saturating_add(window.size);
        if metadata.is_file() && metadata.len() < end {
            file.set_len(end).map_err(|error| Refused("truncate", error))?;
        }
        Ok(window)
    }
}

/// Bytes of a host file; a block device has them, but no `st_size`.
fn all_of(mut file: &File, metadata: &Metadata) -> u64 {
    use std::io::{Seek, SeekFrom};
    use std::os::unix::fs::FileTypeExt;
    if !metadata.file_type().is_block_device() {
        return metadata.len();
    }
    file.seek(SeekFrom::End(0)).unwrap_or(0)
}

fn refused(what: &'static str, error: Errno) -> Refused {
    Refused(what, error.into())
}

/// Finds the partition with this letter in a disk image.
fn partition(file: &File, letter: char) -> Result<Partition, Refused> {
    let mut head = Vec::new();
    let read = file.take(2 * label::SEARCHED_BYTES as u64).read_to_end(&mut head);
    read.map_err(|error| Refused("could not read disk device", error))?;
    let partitions = label::partitions(&head).ok_or_else(|| refused("disklabel not found", Errno::NOENT))?;
    let index = letter as usize - 'a' as usize;
    partitions.get(index).copied().ok_or_else(|| refused("partition not available", Errno::NOENT))
}

/// Parses a number of bytes as dd(1) takes it: factors joined by `x`, each with a multiplier suffix.
fn number(text: &str) -> Result<u64, String> {
    let bad = || format!("invalid number {text}");
    text.split('x').try_fold(1u64, |product, factor| {
        let digits = factor.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let multiplier = match &factor[digits.len()..] {
            "" => 1,
            "b" => 512,
            "w" => 4,
            "k" => 1 << 10,
            "m" => 1 << 20,
            "g" => 1 << 30,
            "t" => 1u64 << 40,
            _ => return Err(bad()),
        };
        let value: u64 = digits.parse().map_err(|_| bad())?;
        value.checked_mul(multiplier).and_then(|value| product.checked_mul(value)).ok_or_else(bad)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_host_file_is_a_block_device() {
        let drive: Drive = "key=/img,hostpath=ffs.img,size=host".parse().unwrap();
        assert_eq!((drive.size, drive.kind, drive.offset), (Size::Host, Kind::Block, 0));
    }

    #[test]
    fn sizes_take_the_suffixes_of_dd() {
        let drive: Drive = "key=/i,hostpath=i,size=2x3k,offset=1b,type=chr".parse().unwrap();
        assert_eq!((drive.size, drive.offset), (Size::Bytes(6144), 512));
    }

    #[test]
    fn the_host_file_is_made_and_lengthened_unless_its_size_counts() {
        let folder = std::env::temp_dir().join(format!("drive-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let drive = |name: &str, rest: &str| -> Drive {
            format!("key=/d,hostpath={},{rest}", folder.join(name).display()).parse().unwrap()
        };
        let message = |drive: Drive| drive.prepare().unwrap_err().to_string();
        assert_eq!(message(drive("img", "size=host")), "etfs hostpath open: No such file or directory");
        let window = drive("img", "size=1k,offset=512").prepare().unwrap();
        assert_eq!(window, Partition { offset: 512, size: 1024 });
        assert_eq!(std::fs::metadata(folder.join("img")).unwrap().len(), 1536);
        assert_eq!(drive("img", "size=host").prepare().unwrap(), Partition { offset: 0, size: 1536 });
        assert_eq!(message(drive("img", "disklabel=a")), "disklabel not found: No such file or directory");
        assert_eq!(drive("empty", "type=reg").prepare().unwrap(), Partition { offset: 0, size: 0 });
        assert_eq!(message(drive("empty", "size=host")), "size=host, but cannot query non-zero size: Invalid argument");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_bad_specification_is_named() {
        for (spec, message) in [
            ("key=/a,key=/b", "key already given"),
            ("key=/a", "incomplete drivespec"),
            ("key=/a,hostpath=b,size=host,offset=3", "cannot specify offset with size=host"),
            ("key=/a,hostpath=b,size=1,disklabel=a", "disklabel needs to be used alone"),
            ("key=/a,hostpath=b,disklabel=A", "invalid label part"),
            ("key=/a,hostpath=b,type=dir", "invalid type dir"),
            ("colour=red", "invalid dtoken"),
        ] {
            assert_eq!(spec.parse::<Drive>().unwrap_err(), message, "{spec}");
        }
    }
}
