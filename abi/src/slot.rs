//! One argument of a kernel call = one 64-bit slot of the argument block.
//!
//! A value narrower than 8 bytes sits in the low-order bytes of its slot and the rest is zero; the
//! reader looks only at the declared width (sysproxy has no sign extension). Client memory is a
//! number with a direction, [`In`], [`Out`], [`InOut`] or [`UserStr`]: it is never dereferenced here.
//! A stub gives each of them its length, so that the client library can hold a server to the
//! memory that the call named; a length does not travel.

/// Conversion between an argument and its slot.
pub trait Slot: Sized {
    /// Returns the 8 bytes that travel.
    fn to_slot(&self) -> u64;
    /// Reads the declared width of a slot.
    fn from_slot(slot: u64) -> Self;
    /// The client memory that the argument opens to the kernel, if any.
    fn region(&self) -> Option<Region> {
        None
    }
}

/// Which way the kernel may move bytes of a [`Region`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The kernel reads (copyin).
    In,
    /// The kernel writes (copyout).
    Out,
    /// Both.
    Both,
}

impl Direction {
    /// Whether copyin is allowed.
    pub const fn readable(self) -> bool {
        matches!(self, Direction::In | Direction::Both)
    }
    /// Whether copyout is allowed.
    pub const fn writable(self) -> bool {
        matches!(self, Direction::Out | Direction::Both)
    }
}

/// A piece of client memory that a call opens to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First byte, in the client's address space.
    pub addr: u64,
    /// Length in bytes.
    pub len: usize,
    /// Which way bytes may move.
    pub direction: Direction,
    /// Whether it is the client library's own, which is there as long as the call is under way; the program's may be bad.
    pub own: bool,
}

macro_rules! memory {
    ($($(#[$doc:meta])* $name:ident $direction:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            /// Client address.
            pub addr: u64,
            /// Bytes that the kernel may touch; 0 when read from a slot, where it is unknown.
            pub len: usize,
            /// See [`Region::own`].
            pub own: bool,
        }

        impl $name {
            /// A null pointer.
            pub const NULL: Self = Self { addr: 0, len: 0, own: false };
            /// `len` bytes of the program at `addr`.
            pub const fn at(addr: u64, len: usize) -> Self {
                Self { addr, len, own: false }
            }
            /// Whether the pointer is null.
            pub const fn is_null(&self) -> bool {
                self.addr == 0
            }
        }

        impl Slot for $name {
            fn to_slot(&self) -> u64 {
                self.addr
            }
            fn from_slot(slot: u64) -> Self {
                Self { addr: slot, len: 0, own: false }
            }
            fn region(&self) -> Option<Region> {
                let Self { addr, len, own } = *self;
                (addr != 0 && len != 0).then_some(Region { addr, len, direction: Direction::$direction, own })
            }
        }
    )*};
}

memory! {
    /// Memory that the kernel reads.
    In In;
    /// Memory that the kernel writes.
    Out Out;
    /// Memory that the kernel reads and writes.
    InOut Both;
    /// A NUL-terminated string that the kernel reads; `len` counts the NUL.
    UserStr In;
}

impl Region {
    /// Whether it holds all of `len` bytes at `addr`.
    pub fn holds(&self, addr: u64, len: usize) -> bool {
        let offset = addr.checked_sub(self.addr).and_then(|offset| usize::try_from(offset).ok());
        offset.is_some_and(|offset| offset.saturating_add(len) <= self.len)
    }
}

impl In {
    /// The bytes of a `value` of our own, which must stay where it is until the call returns.
    pub fn new<T: ?Sized>(value: &T) -> Self {
        Self { addr: std::ptr::from_ref(value).cast::<u8>() as u64, len: size_of_val(value), own: true }
    }
}

impl Out {
    /// The bytes of a `value` of our own, which must stay where it is until the call returns.
    pub fn new<T: ?Sized>(value: &mut T) -> Self {
        Self { addr: std::ptr::from_mut(value).cast::<u8>() as u64, len: size_of_val(value), own: true }
    }
}

impl InOut {
    /// The bytes of a `value` of our own, which must stay where it is until the call returns.
    pub fn new<T: ?Sized>(value: &mut T) -> Self {
        Self { addr: std::ptr::from_mut(value).cast::<u8>() as u64, len: size_of_val(value), own: true }
    }
}

impl UserStr {
    /// A C string of our own, which must stay where it is until the call returns.
    pub fn new(value: &std::ffi::CStr) -> Self {
        let bytes = value.to_bytes_with_nul();
        Self { addr: bytes.as_ptr() as u64, len: bytes.len(), own: true }
    }
}

/// A descriptor of the kernel's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fd(pub i32);

/// A slot that exists in the block, carries zero and is ignored (the alignment words in front of
/// some 64-bit arguments).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pad;

impl Slot for Fd {
    fn to_slot(&self) -> u64 {
        self.0.to_slot()
    }
    fn from_slot(slot: u64) -> Self {
        Fd(i32::from_slot(slot))
    }
}

impl Slot for Pad {
    fn to_slot(&self) -> u64 {
        0
    }
    fn from_slot(_: u64) -> Self {
        Pad
    }
}

macro_rules! numbers {
    ($($type:ty as $bits:ty),*) => {$(
        impl Slot for $type {
            fn to_slot(&self) -> u64 {
                *self as $bits as u64
            }
            fn from_slot(slot: u64) -> Self {
                slot as Self
            }
        }
    )*};
}

numbers!(i32 as u32, u32 as u32, i64 as u64, u64 as u64, usize as u64);

/// What a call returns: the two return registers.
pub trait Retval: Sized {
    /// Makes the registers.
    fn to_retval(self) -> [i64; 2];
    /// Reads the registers.
    fn from_retval(retval: [i64; 2]) -> Self;
}

impl Retval for () {
    fn to_retval(self) -> [i64; 2] {
        [0, 0]
    }
    fn from_retval(_: [i64; 2]) -> Self {}
}

impl Retval for Fd {
    fn to_retval(self) -> [i64; 2] {
        [i64::from(self.0), 0]
    }
    fn from_retval(retval: [i64; 2]) -> Self {
        Fd(retval[0] as i32)
    }
}

impl Retval for i32 {
    fn to_retval(self) -> [i64; 2] {
        [i64::from(self), 0]
    }
    fn from_retval(retval: [i64; 2]) -> Self {
        retval[0] as i32
    }
}

impl Retval for u32 {
    fn to_retval(self) -> [i64; 2] {
        [i64::from(self), 0]
    }
    fn from_retval(retval: [i64; 2]) -> Self {
        retval[0] as u32
    }
}

impl Retval for i64 {
    fn to_retval(self) -> [i64; 2] {
        [self, 0]
    }
    fn from_retval(retval: [i64; 2]) -> Self {
        retval[0]
    }
}

impl Retval for usize {
    fn to_retval(self) -> [i64; 2] {
        [self as i64, 0]
    }
    fn from_retval(retval: [i64; 2]) -> Self {
        retval[0] as usize
    }
}

/// Two values at once: getpid and its parent, the two ends of a pipe, real and effective ids.
impl<A: Retval, B: Retval> Retval for (A, B) {
    fn to_retval(self) -> [i64; 2] {
        [self.0.to_retval()[0], self.1.to_retval()[0]]
    }
    fn from_retval(retval: [i64; 2]) -> Self {
        (A::from_retval([retval[0], 0]), B::from_retval([retval[1], 0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_int_is_not_sign_extended() {
        assert_eq!((-1i32).to_slot(), 0xffff_ffff);
        assert_eq!(i32::from_slot(0xdead_beef_ffff_ff9c), -100);
    }

    #[test]
    fn a_null_pointer_opens_no_memory() {
        assert_eq!(In::NULL.region(), None);
        assert_eq!(Out::at(4096, 0).region(), None);
    }
}
