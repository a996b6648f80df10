//! The loaded objects whose text is patched: the C library and the dynamic loader.

use core::ffi::{CStr, c_int, c_void};
use core::ops::Range;

/// File names of the objects that hold libc's inner system calls.
pub const NAMES: [&str; 2] = ["libc.so.6", "ld-linux-x86-64.so.2"];

/// One loaded object, as its program headers describe it. All addresses are run-time addresses.
pub struct Object {
    pub name: &'static str,
    /// The executable segment.
    pub text: Range<usize>,
    /// The segments that may be read but not written, `text` among them.
    constant: Vec<Range<usize>>,
    pub eh_frame_hdr: usize,
}

impl Object {
    /// Returns the constant bytes from `address` to the end of their segment.
    pub fn bytes_from(&self, address: usize) -> Option<&[u8]> {
        let segment = self.constant.iter().find(|segment| segment.contains(&address))?;
        // SAFETY: the segment is mapped readable; libc and the loader are never unloaded. Only `patch` writes
        // to it, and it holds no reference into an object while it does.
        Some(unsafe { core::slice::from_raw_parts(address as *const u8, segment.end - address) })
    }

    /// Returns the constant bytes of `range`.
    pub fn bytes(&self, range: Range<usize>) -> Option<&[u8]> {
        self.bytes_from(range.start)?.get(..range.end.checked_sub(range.start)?)
    }
}

/// Returns the C library and the loader of the first name space, as far as they are loaded and complete.
pub fn loaded() -> Vec<Object> {
    let mut found: Vec<Object> = Vec::new();
    // SAFETY: `visit` has the signature that dl_iterate_phdr(3) asks for, and `found` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut found).cast()) };
    found
}

/// Adds one object to the `Vec<Object>` at `data` if it is one of [`NAMES`] and not there yet.
unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _size: usize, data: *mut c_void) -> c_int {
    // SAFETY: both pointers are those that `loaded` and the loader pass, valid for this call.
    let (info, found) = unsafe { (&*info, &mut *data.cast::<Vec<Object>>()) };
    if info.dlpi_name.is_null() || info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the loader keeps a terminated string here.
    let path = unsafe { CStr::from_ptr(info.dlpi_name) }.to_bytes();
    let file = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    let Some(&name) = NAMES.iter().find(|name| name.as_bytes() == file) else { return 0 };
    // SAFETY: `dlpi_phnum` program headers stand at `dlpi_phdr`.
    let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    if let Some(object) = describe(name, info.dlpi_addr as usize, headers)
        && found.iter().all(|other| other.name != name)
    {
        found.push(object);
    }
    0
}

/// Builds an object from its program headers, if it has text and an index of unwind tables.
fn describe(name: &'static str, base: usize, headers: &[libc::Elf64_Phdr]) -> Option<Object> {
    let range = |header: &libc::Elf64_Phdr| {
        let start = base.wrapping_add(header.p_vaddr as usize);
        start..start.wrapping_add(header.p_memsz as usize)
    };
    let loads = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    let text = loads().find(|header| header.p_flags & libc::PF_X != 0)?;
    let index = headers.iter().find(|header| header.p_type == libc::PT_GNU_EH_FRAME)?;
    let constant = loads().filter(|header| header.p_flags & (libc::PF_R | libc::PF_W) == libc::PF_R).map(range);
    Some(Object { name, text: range(text), constant: constant.collect(), eh_frame_hdr: range(index).start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libc_and_the_loader_are_found() {
        let objects = loaded();
        assert_eq!(objects.len(), 2);
        for object in &objects {
            assert!(object.bytes(object.text.clone()).is_some());
            assert!(object.bytes_from(object.eh_frame_hdr).is_some());
            assert!(object.bytes_from(8).is_none());
        }
    }
}
