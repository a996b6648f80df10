//! What was found in an object, kept in a file by the object's build-id: a scan costs milliseconds, and every exec needs one.
//!
//! The folder must belong to the user, and nobody else may write to it. Even so a file is only a hint: it holds offsets and the bytes that
//! stood there, and both are checked against the object in memory before anything is changed. A file that is not
//! right is ignored and written anew; without a folder everything works, slower.

use super::frames::Frames;
use super::object::Object;
use super::own::Own;
use super::scan::{self, FARTHEST, JUMP, SHORT_JUMP, Site, Sites, Test};
use super::{Door, Forgets, Paths};
use core::mem::offset_of;
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::{fs, io};
use std::ffi::CString;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// Largest file that is believed.
const LARGEST: u64 = 4 << 20;
/// How many files there may be before the folder is emptied.
const MOST_FILES: usize = 1000;
/// First bytes of a file; the last counts versions of the format.
const MAGIC: [u8; 8] = *b"rhsites\x01";

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    /// Sum of all that follows.
    sum: u64,
    /// What the door wanted when the file was written.
    door: u64,
    text: u64,
    count: u32,
    missed: u32,
}

const _: () = assert!(size_of::<Header>() == 40);

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Record {
    /// From the start of the text.
    syscall: u32,
    /// From the start of the text; 0 for none.
    island: u32,
    /// How far before the `syscall` the window begins.
    back: u8,
    test: u8,
    forgets: u8,
    /// The bytes of the island.
    padding: [u8; JUMP],
    /// The bytes from the window to the end of the `syscall`, then zeros.
    bytes: [u8; FARTHEST + 2],
    unused: [u8; 6],
}

const _: () = assert!(size_of::<Record>() == 56);

const TESTS: [Test; 11] = [
    Test::Never,
    Test::FirstArgument,
    Test::FifthArgument,
    Test::Always,
    Test::Number,
    Test::Paths(Paths::First),
    Test::Paths(Paths::Second),
    Test::Paths(Paths::FirstAt),
    Test::Paths(Paths::SecondAt),
    Test::Paths(Paths::Two),
    Test::Paths(Paths::TwoAt),
];
const FORGETS: [Forgets; 5] = [Forgets::No, Forgets::Always, Forgets::Protected, Forgets::Fixed, Forgets::Guarded];

/// The folder, open, and what the door wants.
pub struct Cache {
    folder: Own,
    door: u64,
}

/// Why there is nothing for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Miss {
    /// There is no file, or no right one: what a scan finds is to be stored.
    Absent,
    /// The file is right, but not the memory: someone else changed the object, a debugger perhaps.
    Changed,
}

impl Cache {
    /// Opens the first of `places` that is the user's own; one that does not exist is made.
    pub fn open(places: &[CString], door: &Door) -> Option<Cache> {
        let folder = places.iter().find_map(open_own)?;
        Some(Cache { folder, door: fingerprint(door) })
    }

    /// Reads what is known of `object`.
    pub fn load(&self, object: &Object) -> Result<Sites, Miss> {
        let name = object.build_id.as_deref().ok_or(Miss::Absent)?;
        let bytes = read_own(self.folder.as_fd(), name).ok_or(Miss::Absent)?;
        let (header, records) = self.parse(&bytes, object).ok_or(Miss::Absent)?;
        let Some(frames) = Frames::of(object).filter(|_| !records.is_empty()) else {
            return if records.is_empty() { Ok(Sites::default()) } else { Err(Miss::Absent) };
        };
        let mut found = Vec::with_capacity(records.len());
        for record in records {
            found.push(site(record, object, &frames)?);
        }
        Ok(Sites { found, missed: header.missed as usize })
    }

    /// Checks a file as a whole.
    fn parse<'a>(&self, bytes: &'a [u8], object: &Object) -> Option<(&'a Header, &'a [Record])> {
        let (header, rest) = Header::ref_from_prefix(bytes).ok()?;
        let records = <[Record]>::ref_from_bytes(rest).ok()?;
        let right = header.magic == MAGIC
            && header.sum == sum(bytes.get(offset_of!(Header, door)..)?)
            && header.door == self.door
            && header.text == object.text.len() as u64
            && header.count as usize == records.len();
        right.then_some((header, records))
    }

    /// Stores what was found in `object`; a failure is nobody's business.
    pub fn store(&self, object: &Object, sites: &Sites) {
        if let Some(name) = object.build_id.as_deref()
            && let Some(bytes) = self.file(object, sites)
            // A longer file would end the process, by SIGXFSZ.
            && sysproxy::host::file_limit() >= bytes.len() as u64
        {
            let _ = self.write(name, &bytes);
        }
    }

    fn file(&self, object: &Object, sites: &Sites) -> Option<Vec<u8>> {
        let mut header = Header {
            magic: MAGIC,
            sum: 0,
            door: self.door,
            text: object.text.len() as u64,
            count: sites.found.len() as u32,
            missed: sites.missed as u32,
        };
        let mut bytes = header.as_bytes().to_vec();
        for site in &sites.found {
            bytes.extend_from_slice(record(site, object)?.as_bytes());
        }
        header.sum = sum(bytes.get(offset_of!(Header, door)..)?);
        bytes.get_mut(..size_of::<Header>())?.copy_from_slice(header.as_bytes());
        Some(bytes)
    }

    /// Writes a file under another name first, so that nobody ever reads a part of it.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        // Writing beyond it would end the program (SIGXFSZ).
        if sysproxy::host::file_limit() < bytes.len() as u64 {
            return Err(io::Errno::FBIG);
        }
        self.make_room()?;
        let draft = format!("{name}.{}", sysproxy::host::getpid());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = Own::new(fs::openat(&self.folder, &draft, flags, Mode::RUSR | Mode::WUSR)?);
        let written = match io::write(&file, bytes) {
            Ok(count) if count == bytes.len() => fs::renameat(&self.folder, &draft, &self.folder, name),
            Ok(_) => Err(io::Errno::NOSPC),
            Err(error) => Err(error),
        };
        written.inspect_err(|_| self.remove(&draft))
    }

    /// Empties the folder when too much has gathered there: what is needed comes again.
    fn make_room(&self) -> io::Result<()> {
        let mut names: Vec<CString> = Vec::new();
        let mut buffer = Vec::with_capacity(8192);
        fs::seek(&self.folder, fs::SeekFrom::Start(0))?;
        let mut entries = fs::RawDir::new(&self.folder, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let name = entry?.file_name().to_owned();
            if !name.as_bytes().starts_with(b".") {
                names.push(name);
            }
        }
        if names.len() >= MOST_FILES {
            names.iter().for_each(|name| self.remove(name));
        }
        Ok(())
    }

    fn remove(&self, name: impl rustix::path::Arg) {
        // If it cannot be removed, it stays.
        let _ = fs::unlinkat(&self.folder, name, AtFlags::empty());
    }
}

/// Opens a folder that belongs to the user and that nobody else can write to.
fn open_own(place: &CString) -> Option<Own> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || fs::openat(fs::CWD, place, flags, Mode::empty()).map(Own::new);
    let folder = match open() {
        Err(io::Errno::NOENT) => {
            make(place)?;
            open()
        }
        opened => opened,
    };
    folder.ok().filter(|folder| is_own(folder.as_fd(), FileType::Directory))
}

/// Makes a folder, and the one above it if that is missing as well (`~/.cache`).
fn make(place: &CString) -> Option<()> {
    let mkdir = |path: &[u8]| fs::mkdir(path, Mode::RWXU);
    let path = place.as_bytes();
    if let Err(io::Errno::NOENT) = mkdir(path) {
        let slash = path.iter().rposition(|byte| *byte == b'/').filter(|slash| *slash > 0)?;
        mkdir(path.get(..slash)?).ok()?;
        mkdir(path).ok()?;
    }
    Some(())
}

fn is_own(fd: BorrowedFd<'_>, kind: FileType) -> bool {
    fs::fstat(fd).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == kind
            && stat.st_uid == rustix::process::geteuid().as_raw()
            && stat.st_mode & 0o022 == 0
    })
}

fn read_own(folder: BorrowedFd<'_>, name: &str) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = Own::new(fs::openat(folder, name, flags, Mode::empty()).ok()?);
    let size = fs::fstat(&file).ok().and_then(|stat| u64::try_from(stat.st_size).ok())?;
    if size > LARGEST || !is_own(file.as_fd(), FileType::RegularFile) {
        return None;
    }
    let mut bytes = vec![0; size as usize];
    (io::read(&file, &mut bytes).ok()? == bytes.len()).then_some(bytes)
}

/// A sum that a file with an accident in it does not have; whoever may write the file may compute it.
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word)).chain(rest.iter().map(|byte| u64::from(*byte)));
    words.fold(0xcbf2_9ce4_8422_2325, |sum, word| (sum ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23))
}

/// What the door wants of each call, in a number.
fn fingerprint(door: &Door) -> u64 {
    let number = |nr: usize| match scan::test(door, nr) {
        None => 0,
        Some((test, forgets)) => 1 + place(&TESTS, test) * 8 + place(&FORGETS, forgets),
    };
    let bytes: Vec<u8> = (0..512).map(number).chain(env!("CARGO_PKG_VERSION").bytes()).collect();
    sum(&bytes)
}

fn place<T: PartialEq>(all: &[T], one: T) -> u8 {
    all.iter().position(|other| *other == one).unwrap_or(all.len()) as u8
}

fn record(site: &Site, object: &Object) -> Option<Record> {
    let offset = |address: usize| u32::try_from(address.checked_sub(object.text.start)?).ok();
    let mut record = Record::new_zeroed();
    record.syscall = offset(site.syscall)?;
    record.back = u8::try_from(site.syscall - site.window).ok()?;
    record.test = place(&TESTS, site.test);
    record.forgets = place(&FORGETS, site.forgets);
    let bytes = object.bytes(site.window..site.syscall + 2)?;
    record.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
    if let Some(island) = site.island {
        record.island = offset(island)?;
        record.padding.copy_from_slice(object.bytes(island..island + JUMP)?);
    }
    Some(record)
}

/// Makes a site of its record if the object is as it was.
fn site(record: &Record, object: &Object, frames: &Frames<'_>) -> Result<Site, Miss> {
    let at = |offset: u32| object.text.start.checked_add(offset as usize).ok_or(Miss::Absent);
    let syscall = at(record.syscall)?;
    let island = if record.island == 0 { None } else { Some(at(record.island)?) };
    let back = usize::from(record.back);
    let shortest = if island.is_some() { SHORT_JUMP } else { JUMP };
    let window = syscall.checked_sub(back).filter(|_| (shortest..=FARTHEST).contains(&back)).ok_or(Miss::Absent)?;
    let (test, forgets) = (TESTS.get(usize::from(record.test)), FORGETS.get(usize::from(record.forgets)));
    let (Some(&test), Some(&forgets)) = (test, forgets) else { return Err(Miss::Absent) };
    let in_text = |start: usize, end: usize| object.text.start <= start && end <= object.text.end;
    if !in_text(window, syscall + 2) || island.is_some_and(|island| !in_text(island, island + JUMP)) {
        return Err(Miss::Absent);
    }
    let expected = record.bytes.get(..back + 2).filter(|bytes| bytes.ends_with(&[0x0f, 0x05])).ok_or(Miss::Absent)?;
    let same = object.bytes(window..syscall + 2) == Some(expected)
        && island.is_none_or(|island| object.bytes(island..island + JUMP) == Some(&record.padding[..]));
    if !same {
        return Err(Miss::Changed);
    }
    let function = frames.function_at(syscall).ok_or(Miss::Absent)?;
    Ok(Site { syscall, test, forgets, window, island, function, guarded: 0..0 })
}

#[cfg(test)]
mod tests {
    use super::super::{object, tests::DOOR_FOR_TESTS};
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rumphijack-test-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Self(path)
        }

        fn name(&self) -> CString {
            CString::new(self.0.as_os_str().as_bytes()).unwrap()
        }

        fn cache(&self) -> Cache {
            Cache::open(&[self.name()], &DOOR_FOR_TESTS).unwrap()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn libc() -> Object {
        object::loaded().into_iter().find(|object| object.name == object::NAMES[0]).unwrap()
    }

    /// What tells one site from another.
    fn shape(sites: &Sites) -> Vec<(usize, usize, Option<usize>, Test, Forgets)> {
        let shape = |site: &Site| (site.syscall, site.window, site.island, site.test, site.forgets);
        sites.found.iter().map(shape).collect()
    }

    #[test]
    fn what_was_stored_is_loaded() {
        let (place, object) = (Place::new("same"), libc());
        let cache = place.cache();
        assert_eq!(cache.load(&object).err(), Some(Miss::Absent));
        let scanned = scan::sites(&object, &DOOR_FOR_TESTS);
        cache.store(&object, &scanned);
        assert_eq!(shape(&cache.load(&object).unwrap()), shape(&scanned));
        let other = Door { wanted: |_| super::super::Wanted::No, ..DOOR_FOR_TESTS };
        let other = Cache::open(&[place.name()], &other).unwrap();
        assert_eq!(other.load(&object).err(), Some(Miss::Absent), "written for another table of calls");
    }

    #[test]
    fn a_file_that_is_not_right_is_ignored_and_written_anew() {
        let (place, object) = (Place::new("wrong"), libc());
        let cache = place.cache();
        let scanned = scan::sites(&object, &DOOR_FOR_TESTS);
        cache.store(&object, &scanned);
        let file = place.0.join(object.build_id.as_deref().unwrap());
        let good = std::fs::read(&file).unwrap();
        let mut wrong = vec![Vec::new(), good[..39].to_vec(), good[..good.len() - 1].to_vec(), vec![0xff; 4096]];
        for at in [0, 8, 16, 24, 32, 40, 41, 50, good.len() - 1] {
            let mut changed = good.clone();
            changed[at] ^= 1;
            wrong.push(changed);
        }
        for bytes in wrong {
            std::fs::write(&file, bytes).unwrap();
            assert_eq!(cache.load(&object).err(), Some(Miss::Absent));
        }
        cache.store(&object, &scanned);
        assert_eq!(std::fs::read(&file).unwrap(), good);
    }

    /// A file whose sum is right, but whose first record is `change`d.
    fn forged(cache: &Cache, object: &Object, good: &[u8], change: fn(&mut Record)) -> Option<Miss> {
        let mut bytes = good.to_vec();
        let at = size_of::<Header>()..size_of::<Header>() + size_of::<Record>();
        let mut record = Record::read_from_bytes(&bytes[at.clone()]).unwrap();
        change(&mut record);
        bytes[at].copy_from_slice(record.as_bytes());
        let all = sum(&bytes[offset_of!(Header, door)..]);
        bytes[offset_of!(Header, sum)..offset_of!(Header, door)].copy_from_slice(&all.to_le_bytes());
        let (_, records) = cache.parse(&bytes, object).unwrap();
        site(&records[0], object, &Frames::of(object).unwrap()).err()
    }

    #[test]
    fn a_forged_record_leads_nowhere() {
        let (place, object) = (Place::new("forged"), libc());
        let cache = place.cache();
        let good = cache.file(&object, &scan::sites(&object, &DOOR_FOR_TESTS)).unwrap();
        assert_eq!(forged(&cache, &object, &good, |_| {}), None);
        assert_eq!(forged(&cache, &object, &good, |record| record.syscall = u32::MAX), Some(Miss::Absent));
        assert_eq!(forged(&cache, &object, &good, |record| record.syscall = 0), Some(Miss::Absent));
        assert_eq!(forged(&cache, &object, &good, |record| record.syscall += 1), Some(Miss::Changed));
        assert_eq!(forged(&cache, &object, &good, |record| record.back = 255), Some(Miss::Absent));
        assert_eq!(forged(&cache, &object, &good, |record| record.back = 0), Some(Miss::Absent));
        assert_eq!(forged(&cache, &object, &good, |record| record.test = 99), Some(Miss::Absent));
        assert_eq!(forged(&cache, &object, &good, |record| record.island = u32::MAX), Some(Miss::Absent));
        assert_eq!(forged(&cache, &object, &good, |record| record.bytes[0] ^= 1), Some(Miss::Changed));
    }

    #[test]
    fn a_folder_or_file_that_others_can_write_to_is_not_used() {
        let (place, object) = (Place::new("open"), libc());
        let cache = place.cache();
        cache.store(&object, &scan::sites(&object, &DOOR_FOR_TESTS));
        let allow = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let file = place.0.join(object.build_id.as_deref().unwrap());
        allow(&file, 0o666);
        assert_eq!(cache.load(&object).err(), Some(Miss::Absent));
        allow(&file, 0o600);
        assert!(cache.load(&object).is_ok());
        allow(&place.0, 0o777);
        assert!(Cache::open(&[place.name()], &DOOR_FOR_TESTS).is_none());
        let link = Place::new("link");
        allow(&place.0, 0o700);
        std::os::unix::fs::symlink(&place.0, &link.0).unwrap();
        assert!(Cache::open(&[link.name()], &DOOR_FOR_TESTS).is_none());
        std::fs::remove_file(&link.0).unwrap();
        assert!(Cache::open(&[c"/proc/nowhere/at/all".into(), place.name()], &DOOR_FOR_TESTS).is_some());
    }
}
