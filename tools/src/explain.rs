//! `rumphijack --explain`: what a configuration means, where a path would go, and whether a program can be hijacked.
//!
//! Nothing is run, and no server is asked.

use std::ffi::{CString, OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use spec::image::Image;
use spec::{Deep, FAMILIES, FAMILY_NAMES, PathClass, Spec, VFS_NAMES};

/// What was found out, and the exit status that fits it.
pub struct Explained {
    /// The words.
    pub text: String,
    /// 0; 126 if a program cannot be hijacked, 127 if one is not found.
    pub status: u8,
}

/// Explains a value of RUMPHIJACK and each of `names`: one with a slash as a path, and as a program if it is one; any other as a
/// program that is looked for in PATH.
///
/// The error is the parser's.
pub fn explain(config: Option<&OsStr>, names: &[OsString]) -> Result<Explained, spec::SpecError> {
    let spec = Spec::parse(config.map(OsStr::as_bytes))?;
    let mut text = String::new();
    let value = config.map_or_else(|| String::from_utf8_lossy(spec::DEFAULT), OsStr::to_string_lossy);
    let note = if config.is_none() { " (the default)" } else { "" };
    let _ = writeln!(text, "configuration \"{value}\"{note}");
    configuration(&mut text, &spec);
    let mut status = 0;
    for name in names {
        let has_slash = name.as_bytes().contains(&b'/');
        if has_slash {
            path(&mut text, &spec, name);
        }
        let file = if has_slash { Some(PathBuf::from(name)) } else { find(name) };
        let is_host = !has_slash || !spec.classify(name.as_bytes(), false).is_rump();
        let runnable = file.as_ref().filter(|_| is_host).map(|file| (file, inspect(file)));
        match runnable {
            Some((file, Ok(image))) => status = status.max(program(&mut text, file, &image)),
            // A path need not be that of a program.
            _ if has_slash => {}
            Some((file, Err(error))) => {
                status = status.max(126);
                let _ = writeln!(text, "program {}\n  cannot be executed: {error}", file.display());
            }
            None => {
                status = 127;
                let _ = writeln!(text, "program {}\n  not found in PATH", name.to_string_lossy());
            }
        }
    }
    Ok(Explained { text, status })
}

fn line(text: &mut String, item: &str, words: impl std::fmt::Display) {
    let _ = writeln!(text, "  {item:<10} {words}");
}

fn configuration(text: &mut String, spec: &Spec) {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match &spec.prefix {
        Some(prefix) => {
            let prefix = lossy(prefix);
            line(text, "path", format_args!("{prefix} is the rump kernel's /, and {prefix}/x its /x"));
        }
        None => line(text, "path", "no prefix: no name of the program stands for the rump kernel's root"),
    }
    for blanket in &spec.blankets {
        line(
            text,
            "blanket",
            format_args!("names that begin with {} are the rump kernel's, unchanged", lossy(blanket)),
        );
    }
    if let Some(expression) = &spec.pathre {
        line(text, "pathre", format_args!("names that match {expression} are the rump kernel's, unchanged"));
    }
    let (rump, host): (Vec<_>, Vec<_>) = FAMILY_NAMES.iter().partition(|(_, number)| spec.family(*number as i32));
    let names = |list: Vec<&(&str, u32)>| list.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
    let named = |number: u32| FAMILY_NAMES.iter().any(|(_, known)| *known == number);
    let others = (0..FAMILIES).filter(|number| !named(*number)).any(|number| spec.family(number as i32));
    let or_none = |names: String| if names.is_empty() { "none".to_owned() } else { names };
    line(
        text,
        "socket",
        format_args!("rump: {}{}", or_none(names(rump)), if others { ", and all others" } else { "" }),
    );
    line(text, "", format_args!("host: {}{}", or_none(names(host)), if others { "" } else { ", and all others" }));
    let vfs: Vec<_> = VFS_NAMES.iter().filter(|(_, bit)| spec.vfs(*bit)).map(|(name, _)| *name).collect();
    if !vfs.is_empty() {
        line(text, "vfs", format_args!("{}: calls of NetBSD that Linux programs do not make", vfs.join(" ")));
    }
    for (item, on) in [("sysctl", spec.sysctl), ("modctl", spec.modctl)] {
        if on {
            line(text, item, "a call of NetBSD that Linux programs do not make");
        }
    }
    match spec.fdoff {
        0 => line(text, "fdoff", "rump descriptors have the lowest free numbers"),
        least => line(text, "fdoff", format_args!("rump descriptors have the lowest free numbers from {least} on")),
    }
    line(
        text,
        "deep",
        match spec.deep {
            Deep::Auto => "the calls that libc makes inside itself are taken too (stdio, opendir, getaddrinfo, …)",
            Deep::Off => "off: the calls that libc makes inside itself are the host's (stdio, opendir, getaddrinfo, …)",
        },
    );
    if spec.plain_wire {
        line(text, "extended", "off: the original protocol, without extensions and shared memory");
    }
    if let Some(file) = &spec.trace {
        line(text, "trace", lossy(file));
    }
}

fn path(text: &mut String, spec: &Spec, name: &OsStr) {
    let _ = writeln!(text, "path {}", name.to_string_lossy());
    let bytes = name.as_bytes();
    if bytes.first() != Some(&b'/') {
        let class = spec.classify(bytes, false);
        let cwd = std::env::current_dir().unwrap_or_default();
        let words = match (class, spec.match_below(cwd.as_os_str().as_bytes(), bytes)) {
            (PathClass::Host, Some(full)) => format!("rump, as {} (pathre)", String::from_utf8_lossy(&full)),
            _ => "host here; rump in a rump working directory".to_owned(),
        };
        let _ = writeln!(text, "  {words}");
        return;
    }
    let words = match (spec.classify(bytes, false), CString::new(bytes)) {
        (PathClass::Host, _) | (_, Err(_)) => "host".to_owned(),
        (class, Ok(path)) => format!("rump, as {}", class.strip(&path).to_string_lossy()),
    };
    let _ = writeln!(text, "  {words}");
}

/// Describes a program and returns the status.
fn program(text: &mut String, file: &Path, image: &Image) -> u8 {
    let _ = writeln!(text, "program {}", file.display());
    if !image.interpreters.is_empty() {
        let names: Vec<_> = image.interpreters.iter().map(|name| name.to_string_lossy()).collect();
        let _ = writeln!(text, "  a script of {}", names.join(", a script of "));
    }
    if let Some(reason) = image.unhijackable {
        let _ = writeln!(text, "  cannot be hijacked: {reason}");
        return 126;
    }
    let _ = writeln!(text, "  can be hijacked: dynamically linked, without privileges of its own");
    match image.system_calls() {
        0 => {}
        count => {
            let _ =
                writeln!(text, "  may make system calls without libc, which are the host's: {count} such instructions");
        }
    }
    0
}

/// Looks at a program file.
pub fn inspect(file: &Path) -> std::io::Result<Image> {
    let path = CString::new(file.as_os_str().as_bytes())?;
    Ok(Image::inspect(&path)?)
}

/// Finds the program that `name` runs, as execvp(3) does: by its path if it has a slash, else in PATH.
pub fn find(name: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name));
    }
    let folders = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    std::env::split_paths(&folders)
        .map(|folder| folder.join(name))
        .find(|file| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(config: Option<&str>, names: &[&str]) -> String {
        let names: Vec<OsString> = names.iter().map(Into::into).collect();
        explain(config.map(OsStr::new), &names).unwrap().text
    }

    #[test]
    fn the_default_is_explained() {
        let text = text(None, &["/rump/etc/x", "/etc/x", "x/y"]);
        assert!(text.starts_with("configuration \"path=/rump,socket=all:nolocal\" (the default)\n"), "{text}");
        assert!(text.contains("rump: inet inet6 route mpls, and all others\n"), "{text}");
        assert!(text.contains("host: local\n"), "{text}");
        assert!(
            text.contains("path /rump/etc/x\n  rump, as /etc/x\npath /etc/x\n  host\npath x/y\n  host here;"),
            "{text}"
        );
    }

    #[test]
    fn each_part_of_a_configuration_is_explained() {
        let text = text(Some("blanket=/dev/bpf,pathre=\\.db$,socket=inet,fdoff=100,deep=off"), &["/dev/bpf0", "/x.db"]);
        assert!(text.contains("names that begin with /dev/bpf are"), "{text}");
        assert!(text.contains("names that match \\.db$ are"), "{text}");
        assert!(
            text.contains("rump: inet\n") && text.contains("host: local inet6 route mpls, and all others"),
            "{text}"
        );
        assert!(text.contains("from 100 on") && text.contains("off: the calls that libc makes"), "{text}");
        assert!(text.contains("path /dev/bpf0\n  rump, as /dev/bpf0\npath /x.db\n  rump, as /x.db"), "{text}");
        assert!(explain(Some(OsStr::new("sokcet=all")), &[]).is_err());
    }

    #[test]
    fn a_program_is_looked_for() {
        let found = explain(None, &["sh".into()]).unwrap();
        assert_eq!(found.status, 0);
        assert!(found.text.contains("can be hijacked"), "{}", found.text);
        let missing = explain(None, &["no-such-program".into()]).unwrap();
        assert_eq!(missing.status, 127);
    }
}
