//! The loaded objects whose text may be patched: the C library, the dynamic loader, and all others but this library.

use core::ffi::{CStr, c_int, c_void};
use core::ops::Range;

/// File names of the objects that hold libc's inner system calls.
pub const NAMES: [&str; 2] = ["libc.so.6", LOADER];

/// The dynamic loader.
pub const LOADER: &str = "ld-linux-x86-64.so.2";

/// Longest build-id that makes a file name.
const LONGEST_ID: usize = 32;

/// One loaded object, as its program headers describe it. All addresses are run-time addresses.
pub struct Object {
    /// The last part of its file's name.
    pub name: String,
    /// The executable segment.
    pub text: Range<usize>,
    /// Whether the executable segment may be written as well.
    pub writable: bool,
    /// The segments that may be read but not written, `text` among them.
    constant: Vec<Range<usize>>,
    pub eh_frame_hdr: usize,
    /// In hexadecimal digits.
    pub build_id: Option<String>,
}

impl Object {
    /// Returns the constant bytes from `address` to the end of their segment.
    pub fn bytes_from(&self, address: usize) -> Option<&[u8]> {
        let segment = self.constant.iter().find(|segment| segment.contains(&address))?;
        // SAFETY: the segment is mapped readable, and nothing is unloaded meanwhile: this runs in the constructor or inside
        // the loader. Only `patch` writes to it, and it holds no reference into an object while it does.
        Some(unsafe { core::slice::from_raw_parts(address as *const u8, segment.end - address) })
    }

    /// Returns the constant bytes of `range`.
    pub fn bytes(&self, range: Range<usize>) -> Option<&[u8]> {
        self.bytes_from(range.start)?.get(..range.end.checked_sub(range.start)?)
    }
}

/// Returns all objects of the first name space that have text and an index of unwind tables, this library excepted, and after
/// them those of other name spaces (dlmopen(3)).
pub fn loaded() -> Vec<Object> {
    let mut found: Vec<Object> = Vec::new();
    // SAFETY: `visit` has the signature that dl_iterate_phdr(3) asks for, and `found` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut found).cast()) };
    for map in super::watch::other_name_spaces() {
        add(&mut found, map.name, map.base, map.headers);
    }
    found
}

/// Adds one object to the `Vec<Object>` at `data`.
unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: both pointers are those that `loaded` and the loader pass, valid for this call.
    let (info, found) = unsafe { (&*info, &mut *data.cast::<Vec<Object>>()) };
    if info.dlpi_name.is_null() || info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the loader keeps a terminated string here, and `dlpi_phnum` program headers.
    let (path, headers) = unsafe {
        (CStr::from_ptr(info.dlpi_name), core::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)))
    };
    add(found, path, info.dlpi_addr as usize, headers);
    0
}

/// Adds an object, but for this library and what the kernel itself maps.
fn add(found: &mut Vec<Object>, path: &CStr, base: usize, headers: &[libc::Elf64_Phdr]) {
    let path = path.to_bytes();
    let file = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    let name = if file.is_empty() { "the program".into() } else { String::from_utf8_lossy(file).into_owned() };
    if let Some(object) = describe(name, base, headers)
        && !object.text.contains(&(loaded as *const () as usize))
        && object.name != "linux-vdso.so.1"
        && found.iter().all(|other| other.text != object.text)
    {
        found.push(object);
    }
}

/// Builds an object from its program headers, if it has text and an index of unwind tables.
fn describe(name: String, base: usize, headers: &[libc::Elf64_Phdr]) -> Option<Object> {
    let range = |header: &libc::Elf64_Phdr| {
        let start = base.wrapping_add(header.p_vaddr as usize);
        start..start.wrapping_add(header.p_memsz as usize)
    };
    let loads = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    let text = loads().find(|header| header.p_flags & libc::PF_X != 0)?;
    let index = headers.iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME)?;
    let constant = loads().filter(|header| header.p_flags & (libc::PF_R | libc::PF_W) == libc::PF_R).map(range);
    let mut object = Object {
        name,
        text: range(text),
        writable: text.p_flags & libc::PF_W != 0,
        constant: constant.collect(),
        eh_frame_hdr: range(index).start,
        build_id: None,
    };
    let notes = headers.iter().filter(|header| header.p_type == libc::PT_NOTE).map(range);
    object.build_id = notes.filter_map(|note| build_id(object.bytes(note)?)).next();
    Some(object)
}

/// Finds the build-id among notes: sizes of name and data, type, name, data, each padded to four bytes.
fn build_id(notes: &[u8]) -> Option<String> {
    const NT_GNU_BUILD_ID: u32 = 3;
    let mut reader = super::frames::Reader(notes);
    loop {
        let (name, data, kind) = (reader.u32()? as usize, reader.u32()? as usize, reader.u32()?);
        let name = reader.take(name.checked_next_multiple_of(4)?)?;
        let padded = reader.take(data.checked_next_multiple_of(4)?.min(reader.0.len()))?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            let id = padded.get(..data).filter(|id| (8..=LONGEST_ID).contains(&id.len()))?;
            return Some(id.iter().map(|byte| format!("{byte:02x}")).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libc_and_the_loader_are_found() {
        let objects = loaded();
        for name in NAMES {
            let object = objects.iter().find(|object| object.name == name).unwrap();
            assert_eq!(object.build_id.as_ref().unwrap().len(), 40);
        }
        for object in &objects {
            assert!(object.bytes(object.text.clone()).is_some());
            assert!(object.bytes_from(object.eh_frame_hdr).is_some());
            assert!(object.bytes_from(8).is_none());
        }
    }
}
