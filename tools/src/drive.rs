//! The drive specification of `rump_server -d`: `key=K,hostpath=P,size=N|host[,offset=O][,type=blk|chr|reg]`.

use std::str::FromStr;

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
