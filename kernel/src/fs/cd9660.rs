//! ISO 9660, read-only, with Rock Ridge and Joliet (ECMA-119; IEEE P1281 and P1282; Microsoft's "Joliet Specification").
//!
//! Rock Ridge's names and attributes count if the image has them, else Joliet's names, else the plain ones, in lower case and without
//! the version as on Linux. No crate is used: none reads sparingly, and from several threads.

mod zisofs;

use std::sync::Arc;

use abi::stat::makedev;
use abi::time::Timespec;
use abi::{Errno, Result};

use self::zisofs::Packed;
use super::Request;
use super::readonly::{self, Format, Inode, Name};
use super::volume::{Field, Volume};
use crate::vfs::{Attr, FileSystem, FsStat, Kind};

/// Bytes of a sector, which descriptors have whatever the blocks are.
const SECTOR: u64 = 2048;
/// Where the descriptors begin.
const DESCRIPTORS: u64 = 16 * SECTOR;
/// Bytes that the system use entries of one record have at most, with all continuations.
const SYSTEM_USE_MAX: usize = 64 * 1024;
/// Pieces of a file at most.
const EXTENTS_MAX: usize = 1 << 16;
/// The longest target of a symbolic link.
const TARGET_MAX: usize = 4096;
/// Bits of a number that tell where a record is; the others, how large the directory is that it is in.
const PLACE_BITS: u32 = 40;

/// What names are taken from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Plain,
    Joliet,
    RockRidge,
}

struct Iso {
    volume: Volume,
    block_bytes: u64,
    blocks: u64,
    root: u64,
    names: Names,
    /// Bytes of each system use area that are not Rock Ridge's.
    skip: usize,
}

/// The pieces of a file or directory: where each begins, and its length.
struct Own {
    extents: Vec<(u64, u64)>,
    target: Option<Vec<u8>>,
    /// How the content is compressed, if it is.
    packed: Option<Packed>,
}

/// A directory record.
struct Record {
    /// Where it is on the volume.
    place: u64,
    extent: u64,
    len: u64,
    flags: u8,
    time: Timespec,
    name: Vec<u8>,
    system_use: Vec<u8>,
    /// Bytes of the record.
    bytes: usize,
}

/// Flags of a record.
const IS_DIRECTORY: u8 = 2;
const IS_ASSOCIATED: u8 = 4;
const CONTINUES: u8 = 0x80;

/// Mounts an image; options: `norock`, `nojoliet`. `EINVAL` if it is none.
pub fn mount(request: &Request<'_>) -> Result<Arc<dyn FileSystem>> {
    let (mut rock, mut joliet) = (true, true);
    for (name, _) in request.options.iter() {
        match name {
            b"norock" | b"norrip" => rock = false,
            b"nojoliet" => joliet = false,
            _ => return Err(Errno::EINVAL),
        }
    }
    let volume = Volume::open(request)?;
    let (mut primary, mut supplementary) = (None, None);
    for at in (DESCRIPTORS..DESCRIPTORS + 64 * SECTOR).step_by(SECTOR as usize) {
        let descriptor: [u8; 190] = volume.bytes(at).map_err(|_| Errno::EINVAL)?;
        if &descriptor[1..6] != b"CD001" {
            return Err(Errno::EINVAL);
        }
        // The levels of UCS-2.
        let is_joliet = matches!(&descriptor[88..91], b"%/@" | b"%/C" | b"%/E");
        match descriptor[0] {
            1 if primary.is_none() => primary = Some((at, descriptor)),
            2 if is_joliet && supplementary.is_none() => supplementary = Some((at, descriptor)),
            255 => break,
            _ => {}
        }
    }
    let (at, descriptor) = primary.ok_or(Errno::EINVAL)?;
    let block_bytes = u64::from(descriptor.le16(128));
    let blocks = u64::from(descriptor.le32(80));
    if !matches!(block_bytes, 512 | 1024 | 2048) {
        return Err(Errno::EINVAL);
    }
    let mut iso = Iso { volume, block_bytes, blocks, root: at + 156, names: Names::Plain, skip: 0 };
    let root = iso.record(iso.root)?.ok_or(Errno::EINVAL)?;
    let first = iso.record(root.extent)?.ok_or(Errno::EINVAL)?;
    if rock && let Some(skip) = sharing(&first.system_use) {
        (iso.names, iso.skip) = (Names::RockRidge, skip);
    } else if joliet && let Some((at, _)) = supplementary {
        (iso.names, iso.root) = (Names::Joliet, at + 156);
    }
    readonly::mount(iso)
}

/// Looks for the mark of Rock Ridge's entries in the first record of the root directory; returns what is to be skipped elsewhere.
fn sharing(system_use: &[u8]) -> Option<usize> {
    // CD-XA images have theirs behind 14 bytes of their own.
    let mark = [0, 14]
        .into_iter()
        .find_map(|skip| system_use.get(skip..).filter(|rest| rest.starts_with(b"SP\x07\x01\xbe\xef")))?;
    mark.get(6).map(|skip| usize::from(*skip))
}

/// A date of seven bytes.
fn short_date(bytes: &[u8]) -> Timespec {
    let at = |index: usize| i64::from(bytes.get(index).copied().unwrap_or(0));
    date(1900 + at(0), at(1), at(2), at(3), at(4), at(5), bytes.get(6).copied().unwrap_or(0) as i8, 0)
}

/// A date of seventeen bytes, most of them digits.
fn long_date(bytes: &[u8]) -> Timespec {
    let number = |from: usize, to: usize| {
        let digits = bytes.get(from..to).unwrap_or_default().iter();
        digits.fold(0, |number, digit| number * 10 + i64::from(digit.wrapping_sub(b'0') % 10))
    };
    let zone = bytes.get(16).copied().unwrap_or(0) as i8;
    let hundredths = number(14, 16);
    date(number(0, 4), number(4, 6), number(6, 8), number(8, 10), number(10, 12), number(12, 14), zone, hundredths)
}

#[expect(clippy::too_many_arguments, reason = "the parts of a date")]
fn date(year: i64, month: i64, day: i64, hour: i64, minute: i64, second: i64, zone: i8, hundredths: i64) -> Timespec {
    let (year, month) = if month <= 2 { (year - 1, month + 12) } else { (year, month) };
    let days =
        365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month - 457) / 5 + day
            - 719_469;
    let tv_sec = days * 86_400 + hour * 3600 + minute * 60 + second - i64::from(zone) * 900;
    Timespec { tv_sec, tv_nsec: hundredths * 10_000_000 }
}

/// What Rock Ridge says of a file.
#[derive(Default)]
struct RockRidge {
    mode: Option<u32>,
    nlink: u32,
    uid: u32,
    gid: u32,
    rdev: u64,
    serial: Option<u64>,
    name: Vec<u8>,
    has_name: bool,
    target: Option<Vec<u8>>,
    child: Option<u64>,
    relocated: bool,
    birth: Option<Timespec>,
    modified: Option<Timespec>,
    accessed: Option<Timespec>,
    changed: Option<Timespec>,
    packed: Option<Packed>,
}

impl Iso {
    /// Reads the record at a place of the volume; `None` where the rest of the sector is empty.
    fn record(&self, place: u64) -> Result<Option<Record>> {
        let bytes = usize::from(self.volume.bytes::<1>(place)?[0]);
        if bytes == 0 {
            return Ok(None);
        }
        if bytes < 34 || place % SECTOR + bytes as u64 > SECTOR {
            return Err(Errno::EIO);
        }
        let mut raw = vec![0; bytes];
        self.volume.read_cached(place, &mut raw)?;
        let name_len = usize::from(raw[32]);
        let name = raw.get(33..33 + name_len).ok_or(Errno::EIO)?.to_vec();
        let system_use =
            raw.get(33 + name_len + usize::from(name_len.is_multiple_of(2))..).unwrap_or_default().to_vec();
        let extent = (u64::from(raw.le32(2)) + u64::from(raw[1])) * self.block_bytes;
        let time = short_date(&raw[18..25]);
        Ok(Some(Record { place, extent, len: u64::from(raw.le32(10)), flags: raw[25], time, name, system_use, bytes }))
    }

    /// Reads Rock Ridge's entries of a record, those of continuations too.
    fn rock_ridge(&self, record: &Record) -> RockRidge {
        let mut rock = RockRidge { nlink: 1, ..RockRidge::default() };
        let mut link = Target::default();
        let mut area = record.system_use.get(self.skip..).unwrap_or_default().to_vec();
        let mut seen = 0;
        loop {
            let mut more = None;
            let mut rest = area.as_slice();
            while let [first, second, len, _, ..] = *rest
                && let Some(entry) = rest.get(..usize::from(len)).filter(|entry| entry.len() >= 4)
            {
                match &[first, second] {
                    b"CE" => {
                        more = Some((u64::from(entry.le32(4)), u64::from(entry.le32(12)), entry.le32(20) as usize))
                    }
                    b"ST" => break,
                    b"SL" => link.take(entry),
                    _ => rock.take(entry, self.block_bytes),
                }
                rest = &rest[usize::from(len)..];
            }
            let Some((block, offset, len)) = more else { break };
            seen += len.max(4);
            area = vec![0; len.min(SYSTEM_USE_MAX)];
            let at = block * self.block_bytes + offset;
            if seen > SYSTEM_USE_MAX || self.volume.read_cached(at, &mut area).is_err() {
                break;
            }
        }
        rock.target = link.text;
        rock
    }

    /// Shows the records of a directory from `cookie` on, a file of several pieces by its first; `each` gets the cookie of what follows.
    fn records(&self, own: &Own, cookie: u64, each: &mut dyn FnMut(Record, u64) -> Result<bool>) -> Result<()> {
        let &(begin, len) = own.extents.first().ok_or(Errno::EIO)?;
        let mut at = cookie;
        let mut continues = false;
        while at < len {
            let Some(record) = self.record(begin + at)? else {
                at = (at / SECTOR + 1) * SECTOR;
                continue;
            };
            at += record.bytes as u64;
            let is_piece = std::mem::replace(&mut continues, record.flags & CONTINUES != 0);
            let dots = matches!(record.name.as_slice(), [0 | 1]);
            if is_piece || dots || record.flags & IS_ASSOCIATED != 0 {
                continue;
            }
            if !each(record, at)? {
                break;
            }
        }
        Ok(())
    }

    /// The name that a record shows, and what its inode is found by.
    fn name(&self, record: &Record, rock: &RockRidge) -> Vec<u8> {
        match self.names {
            Names::RockRidge if rock.has_name => rock.name.clone(),
            Names::Joliet => {
                let letters: Vec<u16> =
                    record.name.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
                let text = String::from_utf16_lossy(&letters);
                text.split(';').next().unwrap_or_default().as_bytes().to_vec()
            }
            _ => {
                let plain = record.name.split(|byte| *byte == b';').next().unwrap_or_default();
                let plain = plain.strip_suffix(b".").unwrap_or(plain);
                plain.to_ascii_lowercase()
            }
        }
    }

    /// What a record's inode is found by: a directory by its own first record, anything else by the record that names it.
    fn key(&self, record: &Record, rock: &RockRidge) -> u64 {
        match rock.child {
            Some(extent) => extent,
            None if record.flags & IS_DIRECTORY != 0 => record.extent,
            None => record.place,
        }
    }
}

impl RockRidge {
    fn take(&mut self, entry: &[u8], block_bytes: u64) {
        match &entry[..2] {
            b"PX" if entry.len() >= 36 => {
                self.mode = Some(entry.le32(4));
                (self.nlink, self.uid, self.gid) = (entry.le32(12), entry.le32(20), entry.le32(28));
                self.serial = (entry.len() >= 44).then(|| u64::from(entry.le32(36)));
            }
            b"PN" if entry.len() >= 20 => {
                let (high, low) = (entry.le32(4), entry.le32(12));
                // Some write both parts into the low word, as it was once.
                self.rdev = if high == 0 { makedev(low >> 8, low & 0xff) } else { makedev(high, low) };
            }
            b"NM" if entry.len() >= 5 && entry[4] & 6 == 0 && self.name.len() < 1024 => {
                self.has_name = true;
                self.name.extend_from_slice(&entry[5..]);
            }
            b"CL" if entry.len() >= 12 => self.child = Some(u64::from(entry.le32(4)) * block_bytes),
            b"RE" => self.relocated = true,
            b"ZF" => self.packed = Packed::new(entry),
            b"TF" if entry.len() >= 5 => {
                let size = if entry[4] & 0x80 != 0 { 17 } else { 7 };
                let mut dates = entry[5..].chunks_exact(size).map(if size == 17 { long_date } else { short_date });
                let fields = [&mut self.birth, &mut self.modified, &mut self.accessed, &mut self.changed];
                for (bit, field) in fields.into_iter().enumerate() {
                    if entry[4] & 1 << bit != 0 {
                        *field = dates.next();
                    }
                }
            }
            _ => {}
        }
    }
}

/// The target of a symbolic link, made of components.
#[derive(Default)]
struct Target {
    text: Option<Vec<u8>>,
    /// Whether the next piece belongs to the component before.
    joins: bool,
}

impl Target {
    fn take(&mut self, entry: &[u8]) {
        let text = self.text.get_or_insert_default();
        let mut rest = entry.get(5..).unwrap_or_default();
        while let [flags, len, ..] = *rest
            && let Some(piece) = rest.get(2..2 + usize::from(len))
            && text.len() + piece.len() <= TARGET_MAX
        {
            if !self.joins && !text.is_empty() && !text.ends_with(b"/") {
                text.push(b'/');
            }
            match flags & 0xe {
                2 => text.push(b'.'),
                4 => text.extend_from_slice(b".."),
                8 => *text = b"/".to_vec(),
                _ => text.extend_from_slice(piece),
            }
            self.joins = flags & 1 != 0;
            rest = &rest[2 + usize::from(len)..];
        }
    }
}

impl Format for Iso {
    type Own = Own;
    const KIND: &'static str = "cd9660";

    fn root(&self) -> u64 {
        self.volume
            .bytes::<34>(self.root)
            .map_or(0, |raw| (u64::from(raw.le32(2)) + u64::from(raw[1])) * self.block_bytes)
    }

    fn stat(&self) -> FsStat {
        FsStat { block_size: self.block_bytes, blocks: self.blocks, ..FsStat::default() }
    }

    fn inode(&self, place: u64, _: Option<u64>) -> Result<Inode<Own>> {
        if place >> PLACE_BITS != 0 {
            return Err(Errno::EIO);
        }
        let record = self.record(place)?.ok_or(Errno::EIO)?;
        let rock = if self.names == Names::RockRidge { self.rock_ridge(&record) } else { RockRidge::default() };
        let is_directory = record.flags & IS_DIRECTORY != 0;
        let by_flag = if is_directory { Kind::Directory } else { Kind::Regular };
        let mode = rock.mode.filter(|mode| mode & 0o170000 != 0);
        let kind = mode.and_then(Kind::from_mode).unwrap_or(by_flag);
        // Only the root of a tree of records can be a directory.
        if (kind == Kind::Directory) != is_directory {
            return Err(Errno::EIO);
        }
        let mut extents = vec![(record.extent, record.len)];
        let (mut at, mut continues) = (place, record.flags & CONTINUES != 0);
        let mut bytes = record.bytes as u64;
        while continues && extents.len() < EXTENTS_MAX {
            at += bytes;
            let next = match self.record(at)? {
                Some(next) => next,
                None => {
                    at = (at / SECTOR + 1) * SECTOR;
                    self.record(at)?.ok_or(Errno::EIO)?
                }
            };
            extents.push((next.extent, next.len));
            (bytes, continues) = (next.bytes as u64, next.flags & CONTINUES != 0);
        }
        let mut above = None;
        if is_directory {
            // What `..` says, unless the directory was moved where it is because it lay too deep.
            let up = self.record(place + record.bytes as u64)?.ok_or(Errno::EIO)?;
            if record.name != [0] || up.name != [1] || record.extent != place {
                return Err(Errno::EIO);
            }
            let entries = up.system_use.get(self.skip..).unwrap_or_default();
            let parent = position(entries, b"PL").map(|at| u64::from(entries.le32(at + 4)) * self.block_bytes);
            above = Some(parent.filter(|_| self.names == Names::RockRidge).unwrap_or(up.extent));
        }
        let stored: u64 = extents.iter().map(|(_, len)| len).sum();
        let packed = rock.packed.filter(|_| kind == Kind::Regular);
        let size = packed.as_ref().map_or(stored, |packed| packed.size);
        let size = rock.target.as_ref().filter(|_| kind == Kind::Symlink).map_or(size, |target| target.len() as u64);
        let modified = rock.modified.unwrap_or(record.time);
        let attr = Attr {
            mode: mode.map_or(0o555, |mode| mode & 0o7777),
            nlink: if rock.mode.is_some() { rock.nlink.max(1) } else { 1 + u32::from(is_directory) },
            uid: rock.uid,
            gid: rock.gid,
            rdev: if matches!(kind, Kind::Character | Kind::Block) { rock.rdev } else { 0 },
            size,
            blocks: stored.div_ceil(512),
            atime: rock.accessed.unwrap_or(modified),
            mtime: modified,
            ctime: rock.changed.unwrap_or(modified),
            birthtime: rock.birth.unwrap_or(modified),
        };
        let ino = self.ino(place, &rock, is_directory);
        Ok(Inode { kind, ino, attr, above, own: Own { extents, target: rock.target, packed } })
    }

    fn entries(&self, inode: &Inode<Own>, cookie: u64, each: &mut dyn FnMut(Name<'_>) -> bool) -> Result<()> {
        self.records(&inode.own, cookie, &mut |record, next| {
            let rock = if self.names == Names::RockRidge { self.rock_ridge(&record) } else { RockRidge::default() };
            if rock.relocated {
                // It is shown where it was before it was moved.
                return Ok(true);
            }
            let (name, key) = (self.name(&record, &rock), self.key(&record, &rock));
            let is_directory = rock.child.is_some() || record.flags & IS_DIRECTORY != 0;
            let kind = match rock.mode.and_then(Kind::from_mode) {
                _ if is_directory => Kind::Directory,
                Some(kind) => kind,
                None => Kind::Regular,
            };
            let ino = self.ino(key, &rock, is_directory);
            Ok(each(Name { name: &name, inode: key, ino, kind, next }))
        })
    }

    fn read(&self, inode: &Inode<Own>, offset: u64, buf: &mut [u8]) -> Result<()> {
        match &inode.own.packed {
            None => self.read_stored(&inode.own, offset, buf),
            Some(packed) => packed.read(offset, buf, |offset, buf| self.read_stored(&inode.own, offset, buf)),
        }
    }

    fn target(&self, inode: &Inode<Own>) -> Result<Vec<u8>> {
        inode.own.target.clone().ok_or(Errno::EIO)
    }
}

impl Iso {
    /// Reads what a file has on the volume.
    fn read_stored(&self, own: &Own, offset: u64, buf: &mut [u8]) -> Result<()> {
        let (mut begin, mut done) = (0, 0);
        for &(place, len) in &own.extents {
            let at = offset + done as u64;
            if at < begin + len && done < buf.len() {
                let into = at - begin;
                let piece = usize::try_from(len - into).map_or(buf.len() - done, |room| room.min(buf.len() - done));
                self.volume.read(place + into, &mut buf[done..done + piece])?;
                done += piece;
            }
            begin += len;
        }
        if done == buf.len() { Ok(()) } else { Err(Errno::EIO) }
    }

    /// The number that is shown: Rock Ridge's own if it has one, so that links show as such; else where the record is.
    fn ino(&self, key: u64, rock: &RockRidge, is_directory: bool) -> u64 {
        match rock.serial.filter(|serial| *serial != 0 && !is_directory) {
            Some(serial) => serial | 1 << PLACE_BITS,
            None => key,
        }
    }
}

/// Finds an entry of the system use area.
fn position(area: &[u8], wanted: &[u8; 2]) -> Option<usize> {
    let mut at = 0;
    while at + 4 <= area.len() && area[at + 2] >= 4 {
        if area[at..at + 2] == *wanted && at + 8 <= area.len() {
            return Some(at);
        }
        at += usize::from(area[at + 2]);
    }
    None
}
