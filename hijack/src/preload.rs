//! The environment that carries the library over exec: LD_PRELOAD and the variables of ours.
//!
//! A program that scrubs the environment (`env -i`, a login) loses the library with it. That is reported; with
//! `RUMPHIJACK_STICKY=1` the variables are put back.

use std::ffi::CString;
use std::sync::atomic::{AtomicPtr, Ordering};

use abi::Result;
use sysproxy::host;

use crate::{trace, user};

/// Most variables of an environment that are looked at.
const MOST: usize = 1 << 16;

/// The file name of the library.
const LIBRARY: &[u8] = b"librumphijack.so";

const LD_PRELOAD: &[u8] = b"LD_PRELOAD=";

/// What is kept of the environment of this image.
struct Kept {
    /// The variables that carry the library, as `NAME=VALUE`.
    variables: Vec<CString>,
    /// The library as LD_PRELOAD named it; `None` if it was loaded without that variable, and so needs none.
    library: Option<Vec<u8>>,
    sticky: bool,
}

/// Null before the constructor.
static KEPT: AtomicPtr<Kept> = AtomicPtr::new(core::ptr::null_mut());

fn kept() -> Option<&'static Kept> {
    // SAFETY: what was stored is never freed.
    unsafe { KEPT.load(Ordering::Acquire).as_ref() }
}

/// Keeps what is needed of the environment, whose entries are `NAME=VALUE`.
pub fn init<'a>(environment: impl Iterator<Item = &'a [u8]> + Clone, sticky: bool) {
    let ours = |entry: &&[u8]| {
        // Two underscores: the original's, for one image only.
        !entry.starts_with(b"RUMPHIJACK__")
            && [LD_PRELOAD, b"RUMP_SERVER=", b"RUMPHIJACK=", b"RUMPHIJACK_"].iter().any(|name| entry.starts_with(name))
    };
    let value = environment.clone().find_map(|entry| entry.strip_prefix(LD_PRELOAD));
    let library = value.and_then(|value| elements(value).find(|name| is_library(name)).map(<[u8]>::to_vec));
    let variables = environment.filter(ours).flat_map(CString::new).collect();
    KEPT.store(Box::into_raw(Box::new(Kept { variables, library, sticky })), Ordering::Release);
}

/// The names in a value of LD_PRELOAD.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| matches!(byte, b':' | b' ')).filter(|name| !name.is_empty())
}

fn is_library(name: &[u8]) -> bool {
    name.rsplit(|byte| *byte == b'/').next() == Some(LIBRARY)
}

/// Whether the loader of a new image could not open the library. A name without a slash is looked for by the loader's own rules.
pub fn is_unreachable() -> bool {
    let library = kept().and_then(|kept| kept.library.as_deref());
    library.is_some_and(|name| name.contains(&b'/') && !host::may_read(name))
}

/// What exec is to do about an environment.
#[derive(Debug, PartialEq, Eq)]
pub enum Environment {
    /// It carries the library.
    Whole,
    /// It does not.
    Scrubbed,
    /// It did not; this one does.
    Restored(Restored),
}

/// An environment with the lost variables.
#[derive(Debug, PartialEq, Eq)]
pub struct Restored {
    /// Pointers to the program's variables and to ours, then null.
    pointers: Vec<usize>,
    /// LD_PRELOAD, where the program has one of its own.
    _preload: Option<CString>,
}

impl Restored {
    /// The address for execve(2).
    pub fn envp(&self) -> usize {
        self.pointers.as_ptr() as usize
    }
}

/// Looks at the environment of an exec, and puts the library back if that is asked for, or if it `must` be.
///
/// `EFAULT` if it cannot be read.
pub fn look(envp: usize, must: bool) -> Result<Environment> {
    let Some(kept) = kept() else { return Ok(Environment::Whole) };
    let Some(library) = kept.library.as_ref().filter(|_| kept.sticky || must || trace::on()) else {
        return Ok(Environment::Whole);
    };
    let pointers = if envp == 0 { Vec::new() } else { user::read_pointers(envp, MOST)? };
    let mut names = Vec::with_capacity(pointers.len());
    for pointer in &pointers {
        names.push(user::read_cstr(*pointer)?);
    }
    let scrubbed = !preload_of(&names).is_some_and(|(_, value)| elements(value).any(is_library));
    match (scrubbed, kept.sticky || must) {
        (false, false) => return Ok(Environment::Whole),
        (true, false) => return Ok(Environment::Scrubbed),
        (_, true) => {}
    }
    // A program that is fenced in does not choose how.
    let (pointers, names): (Vec<usize>, Vec<user::UserString>) = pointers
        .into_iter()
        .zip(names)
        .filter(|(_, given)| {
            let given = given.to_bytes();
            !must || given.starts_with(LD_PRELOAD) || !kept.variables.iter().any(|own| same_name(given, own.to_bytes()))
        })
        .unzip();
    let missing: Vec<&CString> = kept
        .variables
        .iter()
        .filter(|variable| !names.iter().any(|given| same_name(given.to_bytes(), variable.to_bytes())))
        .collect();
    if !scrubbed && missing.is_empty() {
        return Ok(Environment::Whole);
    }
    let mut pointers = pointers;
    pointers.extend(missing.iter().map(|variable| variable.as_ptr() as usize));
    let preload = preload_of(&names).filter(|_| scrubbed);
    let own = preload.and_then(|(_, value)| CString::new([LD_PRELOAD, library, b":", value].concat()).ok());
    if let (Some(own), Some(slot)) = (&own, preload.and_then(|(at, _)| pointers.get_mut(at))) {
        *slot = own.as_ptr() as usize;
    }
    pointers.push(0);
    Ok(Environment::Restored(Restored { pointers, _preload: own }))
}

/// The environment for a program whose loader cannot load the library, and would refuse to go on for want of it: that of another C library
/// than glibc. `None` if it need not change.
pub fn without_library(envp: usize) -> Option<Restored> {
    kept()?.library.as_ref()?;
    let mut pointers = if envp == 0 { Vec::new() } else { user::read_pointers(envp, MOST).ok()? };
    let names: Vec<user::UserString> =
        pointers.iter().map(|pointer| user::read_cstr(*pointer)).collect::<Result<_>>().ok()?;
    let (at, value) = preload_of(&names).filter(|(_, value)| elements(value).any(is_library))?;
    let others: Vec<&[u8]> = elements(value).filter(|name| !is_library(name)).collect();
    let preload = CString::new([LD_PRELOAD, &others.join(&b':')].concat()).ok()?;
    match others.is_empty() {
        true => drop(pointers.remove(at)),
        false => pointers.get_mut(at).into_iter().for_each(|slot| *slot = preload.as_ptr() as usize),
    }
    pointers.push(0);
    Some(Restored { pointers, _preload: Some(preload) })
}

/// Where LD_PRELOAD stands, and its value.
fn preload_of(names: &[user::UserString]) -> Option<(usize, &[u8])> {
    names.iter().enumerate().find_map(|(at, entry)| Some((at, entry.to_bytes().strip_prefix(LD_PRELOAD)?)))
}

/// Whether two variables have the same name.
fn same_name(one: &[u8], two: &[u8]) -> bool {
    let name = |entry: &'_ [u8]| entry.iter().position(|byte| *byte == b'=').unwrap_or(entry.len());
    one.get(..name(one)) == two.get(..name(two))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    /// The environment as the new image would see it.
    fn seen(environment: Environment, given: &[CString]) -> Vec<String> {
        let Environment::Restored(restored) = environment else {
            return given.iter().map(|entry| entry.to_str().unwrap().to_owned()).collect();
        };
        let pointers = user::read_pointers(restored.envp(), MOST).unwrap();
        // SAFETY: pointers to strings of this test and of what is kept.
        pointers.iter().map(|p| unsafe { CStr::from_ptr(*p as *const _) }.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_scrubbed_environment_is_mended() {
        let all = [
            &b"PATH=/bin"[..],
            b"LD_PRELOAD=/x/other.so:/lib/librumphijack.so",
            b"RUMP_SERVER=unix://s",
            b"RUMPHIJACK_STICKY=1",
        ];
        init(all.into_iter(), false);
        let given = |words: &[&str]| words.iter().map(|word| CString::new(*word).unwrap()).collect::<Vec<_>>();
        let pointers =
            |given: &[CString]| given.iter().map(|word| word.as_ptr() as usize).chain([0]).collect::<Vec<_>>();

        let whole = given(&["LD_PRELOAD=/other/librumphijack.so /y.so"]);
        assert_eq!(look(pointers(&whole).as_ptr() as usize, false), Ok(Environment::Whole));
        assert_eq!(look(pointers(&whole).as_ptr() as usize, true).map(|e| seen(e, &whole).len()), Ok(3));
        let bare = given(&["A=1"]);
        let mended = look(pointers(&bare).as_ptr() as usize, true).unwrap();
        let kept = ["LD_PRELOAD=/x/other.so:/lib/librumphijack.so", "RUMP_SERVER=unix://s", "RUMPHIJACK_STICKY=1"];
        assert_eq!(seen(mended, &bare), [&["A=1"][..], &kept].concat());
        let own = given(&["LD_PRELOAD=/y.so", "RUMP_SERVER=tcp://t", "RUMPHIJACK_STICKY=0"]);
        let mended = look(pointers(&own).as_ptr() as usize, true).unwrap();
        assert_eq!(
            seen(mended, &own),
            ["LD_PRELOAD=/lib/librumphijack.so:/y.so", "RUMP_SERVER=unix://s", "RUMPHIJACK_STICKY=1"]
        );
        let glibc_only = |words: &[&str]| {
            let words = given(words);
            without_library(pointers(&words).as_ptr() as usize)
                .map(|restored| seen(Environment::Restored(restored), &words))
        };
        assert_eq!(glibc_only(&["A=1", "LD_PRELOAD=/lib/librumphijack.so", "B=2"]).unwrap(), ["A=1", "B=2"]);
        assert_eq!(glibc_only(&["LD_PRELOAD=/x.so:/lib/librumphijack.so /y.so"]).unwrap(), ["LD_PRELOAD=/x.so:/y.so"]);
        assert_eq!(glibc_only(&["LD_PRELOAD=/x.so"]), None);
        init(all.into_iter(), true);
        let mended = look(pointers(&own).as_ptr() as usize, false).unwrap();
        assert_eq!(
            seen(mended, &own),
            ["LD_PRELOAD=/lib/librumphijack.so:/y.so", "RUMP_SERVER=tcp://t", "RUMPHIJACK_STICKY=0"]
        );
    }
}
