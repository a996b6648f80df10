//! The constructor: reads the environment, finds the rump kernel, opens the two front doors.
//!
//! Whatever goes wrong ends the program with one line and status 1: it never runs unhijacked by accident.

use std::ffi::CString;
use std::fmt::Display;
use std::sync::atomic::{AtomicPtr, Ordering};

use abi::Fd;
use client::signals::Blocked;
use client::way::{self, Way};
use client::{Copies, Retry, program_name, stubs};
use spec::sandbox::Sandbox;
use spec::{Deep, Spec};
use sysproxy::{Locator, Role};

use crate::environment::Environment;
use crate::exec::Inherited;
use crate::later::{self, Later};
use crate::local::Local;
use crate::process::{self, Rump};
use crate::{calls, deep, fds, first, handlers, pages, preload, quick, raw, sandbox, trace, user};

/// What the environment says.
struct Settings {
    spec: Spec,
    /// RUMP_SERVER, or what an image before was given; unset or `local:` for a kernel in this process.
    server: Option<String>,
}

/// Null until the constructor has read the environment.
static SETTINGS: AtomicPtr<Settings> = AtomicPtr::new(core::ptr::null_mut());

/// What the front doors ask.
static DOOR: deep::Door = deep::Door {
    wanted: calls::wanted,
    passes: first::passes_number,
    quick: Some(quick::Paths::function),
    dispatch: calls::dispatch,
    owned: &fds::OWNED,
    forgets: pages::forgets,
    generation: &quick::LINE.generation,
    report: loaded_later,
};

fn settings() -> Option<&'static Settings> {
    // SAFETY: what was stored is never freed.
    unsafe { SETTINGS.load(Ordering::Acquire).as_ref() }
}

/// What goes to the rump kernel; `None` before the constructor.
pub fn config() -> Option<&'static Spec> {
    settings().map(|settings| &settings.spec)
}

/// The server that the environment asks for.
pub fn server() -> Option<&'static str> {
    settings()?.server.as_deref()
}

/// Ends the program with a line.
fn die(message: impl Display) -> ! {
    later::die(&message.to_string())
}

/// Takes up work. Called once, by the loader.
pub fn start() {
    let blocked = Blocked::enter();
    pages::prepare();
    client::copy_by(Copies { read: user::read_bytes, write: user::write_bytes });
    way::listen(changed_way);
    let environment = Environment::read();
    let spec = Spec::parse(environment.get("RUMPHIJACK")).unwrap_or_else(|error| die(error));
    let retry = Retry::parse(environment.get("RUMPHIJACK_RETRYCONNECT")).unwrap_or_else(|error| die(error));
    let server = environment.text("RUMP_SERVER");
    let traces = [environment.get("RUMPHIJACK_TRACE").map(<[u8]>::to_vec), spec.trace.clone()];
    let sticky = environment.get("RUMPHIJACK_STICKY").is_some_and(|value| !matches!(value, b"" | b"0"));
    preload::init(environment.entries(), sticky);
    client::set_prefix(spec.prefix.as_deref().unwrap_or_default());
    client::speak_plainly(spec.plain_wire);
    let sandbox = environment.get("RUMPHIJACK_SANDBOX").map(|value| {
        Sandbox::parse(value)
            .unwrap_or_else(|element| die(format_args!("RUMPHIJACK_SANDBOX: no absolute path: {element}")))
    });
    let (fdoff, deeper) = (spec.fdoff, spec.deep);
    let mut inherited = Inherited::find().or_else(|| Inherited::from_original(|name| environment.get(name), fdoff));
    let lasting = server.clone().or_else(|| inherited.as_ref().map(|inherited| inherited.asked.clone()));
    SETTINGS.store(Box::into_raw(Box::new(Settings { spec, server: lasting })), Ordering::Release);
    let files = inherited.as_ref().map(Inherited::files).unwrap_or_default();
    traces.iter().flatten().filter(|value| !value.is_empty()).for_each(|value| begin_trace(value, files));
    if let Some(inherited) = &mut inherited {
        inherited.show_face();
        inherited.close_files();
    }
    let begun = begin(&environment, server.as_deref(), retry, inherited.as_ref());
    let known = inherited.filter(|_| begun.continued);
    let template = known.as_ref().and_then(Inherited::template);
    if let Err(error) = fds::init(fdoff, template) {
        die(format_args!("no placeholder for rump descriptors: {error}"));
    }
    process::init(begun.rump, known.as_ref().is_some_and(|known| known.cwd_in_rump));
    match known {
        Some(known) => known.take_numbers(),
        None => copy_umask(),
    }
    if let Some(spec) = config() {
        first::configure(spec);
    }
    trace::numbers_known();
    let complete = open_doors(deeper, &environment);
    if let Some(sandbox) = sandbox {
        // It fails closed: what cannot be taken here would go past the fence.
        complete.unwrap_or_else(|reason| die(format_args!("no sandbox: libc's inner calls are not taken: {reason}")));
        sandbox::begin(sandbox);
    }
    drop(blocked);
}

/// The rump process to begin with.
struct Begun {
    rump: Rump,
    /// Whether it is that of the image before exec.
    continued: bool,
}

/// Finds the rump process: that of the image before, one that is still to be made on the server, or a kernel in this process.
fn begin(environment: &Environment, server: Option<&str>, retry: Retry, inherited: Option<&Inherited>) -> Begun {
    let name = program_name();
    if let Some(inherited) = inherited {
        if let Some(url) = inherited.unconnected_to(server) {
            let later = Later::new(url, retry).unwrap_or_else(|error| die(error));
            return Begun { rump: Rump::Later(later), continued: true };
        }
        if let Some(remote) = inherited.adopt_if(server, &name, retry) {
            return Begun { rump: Rump::Remote(remote), continued: true };
        }
        trace::say(format_args!("exec: the rump process of the image before cannot be taken over"));
        inherited.refuse();
    }
    let rump = match server {
        None | Some("local:") => {
            Rump::Local(Local::boot(&name, |name| environment.text(name)).unwrap_or_else(|error| die(error)))
        }
        Some(url) => Rump::Later(Later::new(url, retry).unwrap_or_else(|error| die(error))),
    };
    Begun { rump, continued: false }
}

/// Whether `server` leads to the server of the image before: `asked` is what that was given, `url` its absolute form. An
/// environment that says nothing (`env -i`) means the same server.
pub fn same_server(server: Option<&str>, asked: &str, url: Option<&str>) -> bool {
    let Some(server) = server else { return true };
    let absolute = match Locator::parse(server, Role::Client) {
        Ok(Locator::Remote(endpoint)) => Some(endpoint.url()),
        _ => None,
    };
    server == asked || absolute.is_some() && absolute.as_deref() == url
}

/// Gives a fresh rump process the umask of this one.
fn copy_umask() {
    if let Some(Rump::Later(_)) = process::rump() {
        // It brings its own.
        return;
    }
    let mask = raw::call(libc::SYS_umask, [0]) as usize;
    raw::call(libc::SYS_umask, [mask]);
    if mask != 0o022 {
        let _ = process::kernel().and_then(|kernel| stubs::umask(kernel, mask as u32));
    }
}

fn begin_trace(value: &[u8], before: [Option<i32>; 2]) {
    if let Err(error) = trace::begin(value, before) {
        die(format_args!("trace file {}: {error}", String::from_utf8_lossy(value)));
    }
}

/// Opens the front doors: from here on calls are looked at. The error says which of libc's inner calls are not.
fn open_doors(deeper: Deep, environment: &Environment) -> Result<(), String> {
    #[cfg(not(test))]
    crate::symbols::resolve();
    pages::remember();
    let opened = match deeper {
        Deep::Off => Err("off".to_owned()),
        Deep::Auto => {
            deep::install(&DOOR, cache_places(environment)).map_err(|reason| format!("not possible here: {reason}"))
        }
    };
    let report = opened.inspect_err(|reason| trace::say(format_args!("deep: {reason}")))?;
    report.objects.iter().for_each(|(object, done)| say_changed(object, *done));
    if report.complete() {
        first::set_all_inside(true);
    }
    if !report.watching {
        trace::say(format_args!("deep: objects that are loaded later stay as they are"));
    }
    let gap = report.gap.or((!report.complete()).then_some("some of libc stays as it is"));
    if let Some(gap) = gap {
        trace::say(format_args!("deep: {gap}"));
    }
    trace::second_door(gap.is_none());
    if gap.is_none() && report.watching && report.objects.iter().all(|(_, done)| deep::is_whole(done)) {
        handlers::are_seen();
    }
    if let Some(Rump::Local(_)) = process::rump() {
        handlers::begin();
    }
    gap.map_or(Ok(()), |gap| Err(gap.to_owned()))
}

/// Where what was found in objects may be kept, the best place first.
fn cache_places(environment: &Environment) -> Vec<CString> {
    let below = |variable: &str, rest: &str| {
        let value = environment.get(variable).filter(|value| value.starts_with(b"/"))?;
        CString::new([value, rest.as_bytes()].concat()).ok()
    };
    let own = format!("/tmp/rumphijack-{}", rustix::process::geteuid().as_raw());
    let places = [below("XDG_CACHE_HOME", "/rumphijack"), below("HOME", "/.cache/rumphijack"), CString::new(own).ok()];
    places.into_iter().flatten().collect()
}

/// Takes note of the way that the bytes of a descriptor go from now on.
fn changed_way(fd: Fd, way: Way) {
    if way == Way::Shared {
        // Calls without the server are so short that to block the signals would cost more.
        handlers::begin();
    }
    trace::changed_way(fd, way);
}

/// Says what front door 2 did to an object.
fn say_changed(object: &str, done: Result<deep::Changed, &'static str>) {
    match done {
        Ok(deep::Changed { sites, missed: 0 }) => trace::say(format_args!("deep: {sites} system calls of {object}")),
        Ok(deep::Changed { sites, missed }) => {
            trace::say(format_args!("deep: {sites} system calls of {object}, and {missed} stay the host's"));
        }
        Err(reason) => trace::say(format_args!("deep: none of {object}: {reason}")),
    }
}

/// The same of one that dlopen(3) or dlmopen(3) has loaded.
fn loaded_later(object: &str, done: Result<deep::Changed, &'static str>) {
    if deep::is_libc(object) && !deep::is_whole(&done) {
        first::set_all_inside(false);
    }
    if !deep::is_whole(&done) {
        handlers::end();
    }
    say_changed(object, done);
}

/// The loader runs this before the constructors of other libraries (`-z initfirst`).
#[cfg(not(test))]
#[ctor::ctor]
fn constructor() {
    start();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_the_same_by_its_name_or_its_absolute_form() {
        assert!(same_server(Some("unix://s"), "unix://s", Some("unix:///tmp/s")));
        assert!(same_server(Some("unix:///tmp/s"), "unix://s", Some("unix:///tmp/s")));
        assert!(!same_server(Some("unix:///tmp/t"), "unix://s", Some("unix:///tmp/s")));
        assert!(!same_server(Some("local:"), "unix://s", Some("unix:///tmp/s")));
        assert!(same_server(None, "unix://s", None));
    }
}
