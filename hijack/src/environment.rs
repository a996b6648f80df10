//! The environment that the library begins with.
//!
//! It is read from memory: `/proc` is not mounted everywhere (a chroot, a container in the making).

use std::ffi::{CStr, c_char};

unsafe extern "C" {
    /// The loader's: where the host has put the number of arguments; behind it lie the arguments, a null, the environment's strings, a null.
    static __libc_stack_end: *mut usize;

    /// libc's; null until its own constructor has run.
    static mut environ: *mut *mut c_char;
}

/// The strings of an environment, one after the other, each with its NUL.
pub struct Environment(Vec<u8>);

impl Environment {
    /// Reads that of a program that begins, or, beside a program that runs already, what it has made of it.
    pub fn read() -> Self {
        // SAFETY: both point to strings that end in a null; nobody changes them while the library is loaded.
        unsafe {
            let libc_knows: *const *const c_char = environ.cast();
            Self::of(if libc_knows.is_null() { at_start().cast() } else { libc_knows })
        }
    }

    /// Copies the strings that `list` points to.
    ///
    /// # Safety
    /// They are C strings, and a null is the last.
    unsafe fn of(mut list: *const *const c_char) -> Self {
        let mut text = Vec::new();
        // SAFETY: as the caller says.
        unsafe {
            while !(*list).is_null() {
                text.extend_from_slice(CStr::from_ptr(*list).to_bytes_with_nul());
                list = list.add(1);
            }
        }
        Self(text)
    }

    /// Its entries, `NAME=VALUE` each.
    pub fn entries(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.0.split(|byte| *byte == 0)
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.entries().find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }

    /// The same as text.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

/// Where the environment stands that the host has made, and that libc is going to see.
fn at_start() -> *mut usize {
    // SAFETY: the words that are read lie there as is said above.
    unsafe {
        let mut word = __libc_stack_end.add(1);
        while *word != 0 {
            word = word.add(1);
        }
        word.add(1)
    }
}

/// Takes the variables that begin with one of `names` out of the environment that libc is going to see.
pub fn forget(names: &[&[u8]]) {
    // SAFETY: nobody else looks at it yet, the library is the first to run; the words stay where they are or move towards the beginning.
    unsafe {
        let mut from = at_start();
        let mut to = from;
        while *from != 0 {
            let entry = CStr::from_ptr(*from as *const c_char).to_bytes();
            if !names.iter().any(|name| entry.starts_with(name)) {
                *to = *from;
                to = to.add(1);
            }
            from = from.add(1);
        }
        *to = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_found_by_its_whole_name() {
        let strings = [c"RUMP_SERVERS=x", c"RUMP_SERVER=unix://s=1", c"EMPTY="];
        let mut list = strings.map(CStr::as_ptr).to_vec();
        list.push(core::ptr::null());
        // SAFETY: made so here.
        let environment = unsafe { Environment::of(list.as_ptr()) };
        assert_eq!(environment.get("RUMP_SERVER"), Some(b"unix://s=1".as_slice()));
        assert_eq!(environment.get("EMPTY"), Some(b"".as_slice()));
        assert_eq!(environment.get("RUMP"), None);
    }

    #[test]
    fn what_the_host_has_made_and_what_libc_knows_are_found() {
        // SAFETY: as `read` has it.
        let made = unsafe { Environment::of(at_start().cast()) };
        let path = std::env::var("PATH").unwrap();
        assert_eq!((made.text("PATH").as_ref(), Environment::read().text("PATH").as_ref()), (Some(&path), Some(&path)));
    }
}
