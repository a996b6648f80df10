//! What a kernel is booted with: the environment of rump(3), the components.

use std::collections::BTreeSet;
use std::fmt;

/// The most CPUs that a kernel has (`MAXCPUS` of amd64); more are clipped.
pub const MAXCPUS: usize = 256;
/// What the pager keeps of `RUMP_MEMLIMIT` for itself.
pub const PAGER_RESERVE_BYTES: u64 = 2 * 64 * 1024;

macro_rules! components {
    ($($(#[$doc:meta])* $component:ident $name:literal $($library:literal)*;)*) => {
        /// A part of the kernel that can be left out.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Component { $($(#[$doc])* $component),* }

        impl Component {
            /// All of them.
            pub const ALL: &[Component] = &[$(Component::$component),*];

            /// Its short name.
            pub fn name(self) -> &'static str {
                match self { $(Component::$component => $name),* }
            }

            /// Finds a component by its short name or by a library of the original (`rumpnet_netinet`).
            pub fn parse(text: &str) -> Option<Component> {
                match text { $($name $(| $library)* => Some(Component::$component),)* _ => None }
            }
        }
    };
}

components! {
    /// File name space, `tmpfs` as root.
    Vfs "vfs" "rumpvfs";
    /// `tmpfs` for mount(2).
    Tmpfs "tmpfs" "rumpfs_tmpfs";
    /// Device nodes.
    Dev "dev" "rumpdev";
    /// `/dev/random` and `/dev/urandom`.
    Rnd "rnd" "rumpdev_rnd";
    /// Sockets.
    Net "net" "rumpnet";
    /// Interfaces and routes.
    Interfaces "interfaces" "rumpnet_net";
    /// IPv4.
    Inet "inet" "rumpnet_netinet";
    /// IPv6.
    Inet6 "inet6" "rumpnet_netinet6";
    /// AF_LOCAL sockets.
    Local "local" "rumpnet_local";
}

/// Which components a kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Components(BTreeSet<Component>);

impl Components {
    /// Every component.
    pub fn all() -> Self {
        Self(Component::ALL.iter().copied().collect())
    }

    /// Only the base kernel.
    pub fn none() -> Self {
        Self(BTreeSet::new())
    }

    /// The components that libraries of the original name, with what they need; refuses an unknown name.
    pub fn from_libraries<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, ConfigError> {
        let mut set = Self::none();
        for name in names {
            let base = name.trim_start_matches("lib").trim_end_matches(".so");
            if matches!(base, "rump" | "rumpuser" | "rumpkern_sysproxy" | "base") {
                continue;
            }
            set.add(Component::parse(base).ok_or_else(|| ConfigError::Component(name.to_owned()))?);
        }
        Ok(set)
    }

    /// Adds a component and what it needs.
    pub fn add(&mut self, component: Component) {
        self.0.insert(component);
        match component {
            Component::Tmpfs | Component::Rnd => self.add(Component::Vfs),
            Component::Interfaces | Component::Local => self.add(Component::Net),
            Component::Inet | Component::Inet6 => self.add(Component::Interfaces),
            Component::Vfs | Component::Dev | Component::Net => {}
        }
    }

    /// Leaves out the network, which needs threads of the kernel's own (`RUMP_THREADS=0`).
    pub fn without_network(mut self) -> Self {
        use Component::{Inet, Inet6, Interfaces, Local, Net};
        self.0.retain(|component| !matches!(component, Net | Interfaces | Inet | Inet6 | Local));
        self
    }

    /// Whether the component is there.
    pub fn has(&self, component: Component) -> bool {
        self.0.contains(&component)
    }
}

/// What a value of the environment or the command line can have wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// A variable with a value that means nothing.
    Value { name: &'static str, value: String, expected: &'static str },
    /// A component that does not exist.
    Component(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { name, value, expected } => write!(f, "{name}={value}: expected {expected}"),
            Self::Component(name) => write!(f, "unknown component \"{name}\""),
        }
    }
}

impl std::error::Error for ConfigError {}

/// How disks that are host files behave (`RUMP_BLKFAIL`, `RUMP_BLKFAIL_SEED`, `RUMP_BLKSECTSHIFT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disks {
    /// Of 10000 requests so many fail with `EIO`; `None` injects no faults.
    pub fail: Option<u32>,
    /// Where the sequence of faults begins; random if `None`.
    pub seed: Option<u32>,
    /// Binary logarithm of a sector's length in bytes.
    pub sector_shift: u32,
}

impl Default for Disks {
    fn default() -> Self {
        Self { fail: None, seed: None, sector_shift: Self::SECTOR_SHIFT }
    }
}

impl Disks {
    /// Sectors of 512 bytes, the smallest there are.
    pub const SECTOR_SHIFT: u32 = 9;
    /// What `fail` is out of, and so its largest value.
    pub const REQUESTS: u32 = 10_000;

    fn from_environment(variable: impl Fn(&'static str) -> Option<String>) -> Result<Self, ConfigError> {
        let number = |name| {
            let value = variable(name);
            value
                .map(|value| value.parse().map_err(|_| ConfigError::Value { name, value, expected: "a number" }))
                .transpose()
        };
        let fail = number("RUMP_BLKFAIL")?.map(|fail: u32| fail.min(Self::REQUESTS));
        let shift = number("RUMP_BLKSECTSHIFT")?.unwrap_or(Self::SECTOR_SHIFT);
        // NetBSD says so on the console and goes on with 9; beyond 64 KiB no transfer would be whole.
        let sector_shift = shift.clamp(Self::SECTOR_SHIFT, 16);
        Ok(Self { fail, seed: number("RUMP_BLKFAIL_SEED")?, sector_shift })
    }
}

/// What a kernel is booted with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Virtual CPUs: `hw.ncpu`.
    pub ncpu: usize,
    /// Boot messages on the console.
    pub verbose: bool,
    /// Whether the kernel may start threads of its own.
    pub threads: bool,
    /// What the kernel may take from the host, in bytes.
    pub memlimit: Option<u64>,
    /// `kern.maxvnodes`.
    pub nvnodes: usize,
    /// Disks that are host files.
    pub disks: Disks,
    /// Which components there are.
    pub components: Components,
    /// Whether a client gets the credentials of its host process instead of the superuser's.
    pub creds_from_peer: bool,
    /// `kern.hostname`; made from the host's name if `None`.
    pub hostname: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ncpu: 2,
            verbose: false,
            threads: true,
            memlimit: None,
            nvnodes: 1024,
            disks: Disks::default(),
            components: Components::all(),
            creds_from_peer: false,
            hostname: None,
        }
    }
}

impl Config {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Config, String> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Config::from_environment(|name| std::env::var(name).ok(), cpus).map_err(|error| error.to_string())
    }

    /// Sets the number of CPUs from a number or `host`.
    pub fn set_ncpu(&mut self, value: &str) -> Result<(), String> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        self.ncpu = parse_ncpu(value, cpus).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Sets the limit of memory from bytes with an optional suffix.
    pub fn set_memlimit(&mut self, value: &str) -> Result<(), String> {
        self.memlimit = Some(parse_memlimit(value).map_err(|error| error.to_string())?);
        Ok(())
    }

    /// Sets whose credentials clients have: `root` or `peer`.
    pub fn set_creds(&mut self, value: &str) -> Result<(), String> {
        self.creds_from_peer = parse_creds(value).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// Leaves only the base and the named components; the error is the first name that is unknown.
    pub fn set_components(&mut self, libraries: &[String]) -> Result<(), String> {
        match Components::from_libraries(libraries.iter().map(String::as_str)) {
            Ok(components) if self.threads => self.components = components,
            Ok(components) => self.components = components.without_network(),
            Err(ConfigError::Component(name)) => return Err(name),
            Err(other) => return Err(other.to_string()),
        }
        Ok(())
    }

    /// Reads the variables of rump(3) through `variable`, with the host's number of CPUs for `RUMP_NCPU=host`.
    pub fn from_environment(
        variable: impl Fn(&'static str) -> Option<String>,
        host_cpus: usize,
    ) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        if let Some(value) = variable("RUMP_NCPU") {
            config.ncpu = parse_ncpu(&value, host_cpus)?;
        }
        config.verbose = variable("RUMP_VERBOSE").is_some_and(|value| !value.is_empty() && !value.starts_with('0'));
        config.threads = !variable("RUMP_THREADS").is_some_and(|value| value.starts_with('0'));
        if !config.threads {
            config.components = config.components.without_network();
        }
        config.disks = Disks::from_environment(&variable)?;
        if let Some(value) = variable("RUMP_CREDS") {
            config.creds_from_peer = parse_creds(&value)?;
        }
        config.memlimit = variable("RUMP_MEMLIMIT").map(|value| parse_memlimit(&value)).transpose()?;
        if let Some(value) = variable("RUMP_NVNODES") {
            let expected = "a number of at least 1";
            config.nvnodes = value.parse().ok().filter(|count| *count > 0).ok_or(ConfigError::Value {
                name: "RUMP_NVNODES",
                value,
                expected,
            })?;
        }
        Ok(config)
    }
}

/// Parses `RUMP_NCPU`: a number of at least 1 (above 256 it is clipped), or `host`.
pub fn parse_ncpu(value: &str, host_cpus: usize) -> Result<usize, ConfigError> {
    if value == "host" {
        return Ok(host_cpus.clamp(1, MAXCPUS));
    }
    let count = value.parse().ok().filter(|count: &usize| *count > 0);
    let expected = "a number of at least 1, or \"host\"";
    count.map(|count| count.min(MAXCPUS)).ok_or(ConfigError::Value {
        name: "RUMP_NCPU",
        value: value.to_owned(),
        expected,
    })
}

/// Parses `RUMP_CREDS`: `peer` for the credentials of the host's process, `root` for the superuser's.
pub fn parse_creds(value: &str) -> Result<bool, ConfigError> {
    match value {
        "peer" => Ok(true),
        "root" => Ok(false),
        _ => Err(ConfigError::Value { name: "RUMP_CREDS", value: value.to_owned(), expected: "\"root\" or \"peer\"" }),
    }
}

/// Parses `RUMP_MEMLIMIT`: bytes with an optional suffix k, m or g; more than the pager's reserve.
pub fn parse_memlimit(value: &str) -> Result<u64, ConfigError> {
    let (digits, unit) = match value.as_bytes().last() {
        Some(b'k') => (&value[..value.len() - 1], 1u64 << 10),
        Some(b'm') => (&value[..value.len() - 1], 1 << 20),
        Some(b'g') => (&value[..value.len() - 1], 1 << 30),
        _ => (value, 1),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
    bytes.filter(|bytes| *bytes > PAGER_RESERVE_BYTES).ok_or(ConfigError::Value {
        name: "RUMP_MEMLIMIT",
        value: value.to_owned(),
        expected: "more than 131072 bytes, as a number with an optional suffix k, m or g",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> Result<Config, ConfigError> {
        Config::from_environment(|asked| (asked == name).then(|| value.to_owned()), 12)
    }

    #[test]
    fn the_number_of_cpus_is_two_unless_said() {
        assert_eq!(with("", "").map(|config| config.ncpu), Ok(2));
        assert_eq!(with("RUMP_NCPU", "host").map(|config| config.ncpu), Ok(12));
        assert_eq!(with("RUMP_NCPU", "1000").map(|config| config.ncpu), Ok(256));
        assert!(with("RUMP_NCPU", "0").is_err() && with("RUMP_NCPU", "many").is_err());
    }

    #[test]
    fn the_memory_limit_takes_a_lower_case_suffix() {
        assert_eq!(with("RUMP_MEMLIMIT", "2m").map(|config| config.memlimit), Ok(Some(2 << 20)));
        for bad in ["131072", "1M", "99999999999999g", "", "k"] {
            assert!(with("RUMP_MEMLIMIT", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn threads_and_verbosity_look_at_the_first_character() {
        assert_eq!(with("RUMP_THREADS", "0").map(|config| config.threads), Ok(false));
        assert_eq!(with("RUMP_THREADS", "0").map(|config| config.components.has(Component::Net)), Ok(false));
        assert_eq!(with("RUMP_THREADS", "no").map(|config| config.threads), Ok(true));
        assert_eq!(with("RUMP_VERBOSE", "yes").map(|config| config.verbose), Ok(true));
        assert_eq!(with("RUMP_VERBOSE", "0").map(|config| config.verbose), Ok(false));
    }

    #[test]
    fn a_component_brings_what_it_needs() {
        let set = Components::from_libraries(["rumpnet_netinet"]).unwrap();
        assert!(set.has(Component::Inet) && set.has(Component::Interfaces) && set.has(Component::Net));
        assert!(!set.has(Component::Vfs));
        assert!(Components::from_libraries(["rumpnet_appletalk"]).is_err());
    }
}
