//! Error numbers (errno(2)): NetBSD's number, its Linux twin and its text in one row.

/// An error of the rump kernel, by its NetBSD number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(i32);

/// The result of everything that can fail with an [`Errno`].
pub type Result<T> = core::result::Result<T, Errno>;

macro_rules! errnos {
    ($($number:literal $name:ident $arrow:tt $linux:literal, $text:literal;)*) => {
        impl Errno {
            $(#[doc = $text] pub const $name: Errno = Errno($number);)*

            /// Returns the name, or `None` for a number outside NetBSD's table.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($number => Some(stringify!($name)),)* _ => None }
            }

            /// Returns the message of strerror(3).
            pub const fn text(self) -> &'static str {
                match self.0 { $($number => $text,)* _ => "Unknown error" }
            }

            /// Returns the Linux number of the same name, or the nearest meaning for the few that Linux
            /// lacks (`ENOATTR` is `ENODATA`, `EFTYPE` is `EINVAL`); `EIO` for an extension, `EINVAL` for an unknown number.
            pub const fn to_linux(self) -> i32 {
                match self.0 { $($number => $linux,)* -103..=-101 => 5, _ => 22 }
            }

            /// Translates a Linux number by its name; `EINVAL` where NetBSD has no such name.
            pub const fn from_linux(linux: i32) -> Errno {
                $(errnos!(@from linux, $arrow $linux, $number);)*
                Errno::EINVAL
            }
        }
    };
    (@from $value:ident, => 95, 86) => {};
    (@from $value:ident, => $linux:literal, $number:literal) => {
        if $value == $linux { return Errno($number) }
    };
    (@from $value:ident, -> $linux:literal, $number:literal) => {};
}

// `=>` is the same name on both systems; `->` the nearest meaning, used in that direction only.
errnos! {
    1 EPERM => 1, "Operation not permitted";
    2 ENOENT => 2, "No such file or directory";
    3 ESRCH => 3, "No such process";
    4 EINTR => 4, "Interrupted system call";
    5 EIO => 5, "Input/output error";
    6 ENXIO => 6, "No such device or address";
    7 E2BIG => 7, "Argument list too long";
    8 ENOEXEC => 8, "Exec format error";
    9 EBADF => 9, "Bad file descriptor";
    10 ECHILD => 10, "No child processes";
    11 EDEADLK => 35, "Resource deadlock avoided";
    12 ENOMEM => 12, "Cannot allocate memory";
    13 EACCES => 13, "Permission denied";
    14 EFAULT => 14, "Bad address";
    15 ENOTBLK => 15, "Block device required";
    16 EBUSY => 16, "Device or resource busy";
    17 EEXIST => 17, "File exists";
    18 EXDEV => 18, "Invalid cross-device link";
    19 ENODEV => 19, "No such device";
    20 ENOTDIR => 20, "Not a directory";
    21 EISDIR => 21, "Is a directory";
    22 EINVAL => 22, "Invalid argument";
    23 ENFILE => 23, "Too many open files in system";
    24 EMFILE => 24, "Too many open files";
    25 ENOTTY => 25, "Inappropriate ioctl for device";
    26 ETXTBSY => 26, "Text file busy";
    27 EFBIG => 27, "File too large";
    28 ENOSPC => 28, "No space left on device";
    29 ESPIPE => 29, "Illegal seek";
    30 EROFS => 30, "Read-only file system";
    31 EMLINK => 31, "Too many links";
    32 EPIPE => 32, "Broken pipe";
    33 EDOM => 33, "Numerical argument out of domain";
    34 ERANGE => 34, "Numerical result out of range";
    35 EAGAIN => 11, "Resource temporarily unavailable";
    36 EINPROGRESS => 115, "Operation now in progress";
    37 EALREADY => 114, "Operation already in progress";
    38 ENOTSOCK => 88, "Socket operation on non-socket";
    39 EDESTADDRREQ => 89, "Destination address required";
    40 EMSGSIZE => 90, "Message too long";
    41 EPROTOTYPE => 91, "Protocol wrong type for socket";
    42 ENOPROTOOPT => 92, "Protocol not available";
    43 EPROTONOSUPPORT => 93, "Protocol not supported";
    44 ESOCKTNOSUPPORT => 94, "Socket type not supported";
    45 EOPNOTSUPP => 95, "Operation not supported";
    46 EPFNOSUPPORT => 96, "Protocol family not supported";
    47 EAFNOSUPPORT => 97, "Address family not supported by protocol";
    48 EADDRINUSE => 98, "Address already in use";
    49 EADDRNOTAVAIL => 99, "Cannot assign requested address";
    50 ENETDOWN => 100, "Network is down";
    51 ENETUNREACH => 101, "Network is unreachable";
    52 ENETRESET => 102, "Network dropped connection on reset";
    53 ECONNABORTED => 103, "Software caused connection abort";
    54 ECONNRESET => 104, "Connection reset by peer";
    55 ENOBUFS => 105, "No buffer space available";
    56 EISCONN => 106, "Transport endpoint is already connected";
    57 ENOTCONN => 107, "Transport endpoint is not connected";
    58 ESHUTDOWN => 108, "Cannot send after transport endpoint shutdown";
    59 ETOOMANYREFS => 109, "Too many references: cannot splice";
    60 ETIMEDOUT => 110, "Connection timed out";
    61 ECONNREFUSED => 111, "Connection refused";
    62 ELOOP => 40, "Too many levels of symbolic links";
    63 ENAMETOOLONG => 36, "File name too long";
    64 EHOSTDOWN => 112, "Host is down";
    65 EHOSTUNREACH => 113, "No route to host";
    66 ENOTEMPTY => 39, "Directory not empty";
    67 EPROCLIM -> 11, "Too many processes";
    68 EUSERS => 87, "Too many users";
    69 EDQUOT => 122, "Disk quota exceeded";
    70 ESTALE => 116, "Stale file handle";
    71 EREMOTE => 66, "Object is remote";
    72 EBADRPC -> 22, "RPC struct is bad";
    73 ERPCMISMATCH -> 22, "RPC version wrong";
    74 EPROGUNAVAIL -> 22, "RPC prog. not avail";
    75 EPROGMISMATCH -> 22, "Program version wrong";
    76 EPROCUNAVAIL -> 22, "Bad procedure for program";
    77 ENOLCK => 37, "No locks available";
    78 ENOSYS => 38, "Function not implemented";
    79 EFTYPE -> 22, "Inappropriate file type or format";
    80 EAUTH -> 1, "Authentication error";
    81 ENEEDAUTH -> 1, "Need authenticator";
    82 EIDRM => 43, "Identifier removed";
    83 ENOMSG => 42, "No message of desired type";
    84 EOVERFLOW => 75, "Value too large for defined data type";
    85 EILSEQ => 84, "Invalid or incomplete multibyte or wide character";
    86 ENOTSUP => 95, "Operation not supported";
    87 ECANCELED => 125, "Operation canceled";
    88 EBADMSG => 74, "Bad message";
    89 ENODATA => 61, "No data available";
    90 ENOSR => 63, "Out of streams resources";
    91 ENOSTR => 60, "Device not a stream";
    92 ETIME => 62, "Timer expired";
    93 ENOATTR -> 61, "Attribute not found";
    94 EMULTIHOP => 72, "Multihop attempted";
    95 ENOLINK => 67, "Link has been severed";
    96 EPROTO => 71, "Protocol error";
}

impl Errno {
    /// The same as `EAGAIN`, as on Linux.
    pub const EWOULDBLOCK: Errno = Errno::EAGAIN;

    /// An extension: what a process of a terminal's background must not do, since it reads. The client sends `SIGTTIN` to its group
    /// and tries again, or answers `EIO` if it ignores or blocks that signal.
    pub const EBACKGROUNDREAD: Errno = Errno(-101);

    /// An extension: the same for changing the terminal, or writing under `TOSTOP`. If the client ignores or blocks `SIGTTOU`, it
    /// tries again with [`IOC_ANYWAY`](crate::ioctl::IOC_ANYWAY) or [`RWF_ANYWAY`](crate::fcntl::RWF_ANYWAY).
    pub const EBACKGROUNDWRITE: Errno = Errno(-102);

    /// The same in an orphaned process group, where nobody could continue what the signal stops: `EIO` unless ignored or blocked.
    pub const EBACKGROUNDORPHAN: Errno = Errno(-103);

    /// Wraps a NetBSD number.
    pub const fn from_raw(number: i32) -> Errno {
        Errno(number)
    }

    /// Returns the NetBSD number.
    pub const fn raw(self) -> i32 {
        self.0
    }
}

impl core::fmt::Debug for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl core::fmt::Display for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_translate_by_name() {
        assert_eq!(Errno::EAGAIN.raw(), 35);
        assert_eq!(Errno::EAGAIN.to_linux(), 11);
        assert_eq!(Errno::from_linux(11), Errno::EAGAIN);
        assert_eq!(Errno::from_linux(98), Errno::EADDRINUSE);
    }

    #[test]
    fn operation_not_supported_is_never_enotsup_on_the_way_in() {
        assert_eq!(Errno::from_linux(95), Errno::EOPNOTSUPP);
        assert_eq!(Errno::ENOTSUP.to_linux(), 95);
    }

    #[test]
    fn a_linux_name_that_netbsd_lacks_becomes_einval() {
        assert_eq!(Errno::from_linux(77), Errno::EINVAL);
    }
}
