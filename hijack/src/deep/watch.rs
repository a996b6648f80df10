//! Notices objects that are loaded later: by dlopen(3), or into a name space of their own by dlmopen(3).
//!
//! The loader calls an empty function whenever its list of objects has changed, for debuggers to break at: after an
//! object was mapped, and before it is relocated and any of its code runs. Its address is in `_r_debug` (`<link.h>`). That function
//! becomes a jump to [`super::changed`].

use super::object::Object;
use super::patch::Jump;
use super::trampoline;
use crate::pages::{self, Page};
use core::ffi::{CStr, c_char, c_int};

/// Bytes at the function that are looked at: functions begin at multiples of it.
const FUNCTION: usize = 16;
const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
const RET: u8 = 0xc3;
/// What no-operations of any length are made of, and `int3`.
const PADDING: [u8; 11] = [0x66, 0x2e, 0x0f, 0x1f, 0x40, 0x44, 0x80, 0x84, 0x00, 0x90, 0xcc];
/// Space for the way to Rust.
const ROOM: usize = 32;

/// `struct r_debug`, and what `struct r_debug_extended` adds from version 2 on.
#[repr(C)]
struct Debug {
    version: c_int,
    map: *const LinkMap,
    brk: usize,
    state: c_int,
    base: usize,
    next: *const Debug,
}

/// `struct link_map`.
#[repr(C)]
struct LinkMap {
    base: usize,
    name: *const c_char,
    dynamic: usize,
    next: *const LinkMap,
    previous: *const LinkMap,
}

/// An object of another name space.
pub struct Map {
    pub name: &'static CStr,
    pub base: usize,
    pub headers: &'static [libc::Elf64_Phdr],
}

fn debug() -> Option<&'static Debug> {
    // SAFETY: the loader's own structure of this name, if it has one, lives for ever; only the loader changes it.
    unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_r_debug".as_ptr()).cast::<Debug>().as_ref() }
}

/// Lists the objects of name spaces but the first.
pub fn other_name_spaces() -> Vec<Map> {
    let mut maps = Vec::new();
    let mut space = debug().filter(|debug| debug.version >= 2).map_or(core::ptr::null(), |debug| debug.next);
    // SAFETY: both lists are the loader's, which does not change them meanwhile: this runs in the constructor or inside the loader.
    while let Some(debug) = unsafe { space.as_ref() } {
        let mut map = debug.map;
        // SAFETY: as above.
        while let Some(link) = unsafe { map.as_ref() } {
            maps.extend(headers(link));
            map = link.next;
        }
        space = debug.next;
    }
    maps
}

/// Finds the program headers of a shared object: its first page begins with its file's header.
fn headers(link: &LinkMap) -> Option<Map> {
    if link.base == 0 || link.name.is_null() || pages::look(link.base) != Page::Readable {
        return None;
    }
    // SAFETY: the page is readable, and longer than the header.
    let header = unsafe { &*(link.base as *const libc::Elf64_Ehdr) };
    let (start, count) = (header.e_phoff as usize, usize::from(header.e_phnum));
    let fits = start.checked_add(count * size_of::<libc::Elf64_Phdr>()).is_some_and(|end| end <= pages::PAGE);
    if !header.e_ident.starts_with(b"\x7fELF") || !fits || !start.is_multiple_of(8) {
        return None;
    }
    // SAFETY: within the same page; the name is the loader's string.
    unsafe {
        let headers = core::slice::from_raw_parts((link.base + start) as *const libc::Elf64_Phdr, count);
        Some(Map { name: CStr::from_ptr(link.name), base: link.base, headers })
    }
}

/// Makes the jump from the loader's function to `changed`; `None` if the function is not the empty one that is expected, as under
/// a debugger that has put its breakpoint there.
pub fn jump(loader: &Object, changed: extern "C" fn()) -> Option<Jump> {
    let function = debug()?.brk;
    let bytes = loader.bytes(function..function.checked_add(FUNCTION)?)?;
    let rest = bytes.strip_prefix(&ENDBR64).unwrap_or(bytes).strip_prefix(&[RET])?;
    if !function.is_multiple_of(FUNCTION) || !rest.iter().all(|byte| PADDING.contains(byte)) {
        return None;
    }
    let mut code = vec![0x49, 0xbb]; // movabs r11, changed; jmp r11
    code.extend_from_slice(&(changed as *const () as usize).to_le_bytes());
    code.extend_from_slice(&[0x41, 0xff, 0xe3]);
    let base = trampoline::map_near(&loader.text, ROOM)?;
    trampoline::seal(base, ROOM, &code).ok()?;
    Jump::long(function, base)
}
