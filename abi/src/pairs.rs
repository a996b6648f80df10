//! Constants as rows: NetBSD's number beside its Linux twin.
//!
//! A module lists its constants with `pairs!`; each row makes a public constant of NetBSD's number and an
//! entry of a [`Pairs`] table, which the conversions walk.

/// A constant and its Linux twin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The name on NetBSD.
    pub name: &'static str,
    /// NetBSD's number.
    pub netbsd: i32,
    /// Linux's number, if Linux has the thing.
    pub linux: Option<i32>,
    /// Whether Linux's number means this row on the way in; otherwise it is only the nearest meaning on the way out.
    pub twin: bool,
}

/// A table of constants, all numbers of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Pairs(pub &'static [Pair]);

impl Pairs {
    /// Returns NetBSD's number for one of Linux.
    pub fn from_linux(&self, linux: i32) -> Option<i32> {
        self.0.iter().find(|pair| pair.twin && pair.linux == Some(linux)).map(|pair| pair.netbsd)
    }

    /// Returns Linux's number for one of NetBSD.
    pub fn to_linux(&self, netbsd: i32) -> Option<i32> {
        self.0.iter().find(|pair| pair.netbsd == netbsd).and_then(|pair| pair.linux)
    }

    /// Returns the name of one of NetBSD's numbers.
    pub fn name(&self, netbsd: i32) -> Option<&'static str> {
        self.0.iter().find(|pair| pair.netbsd == netbsd).map(|pair| pair.name)
    }

    /// Translates a word of flags; returns NetBSD's flags and the Linux bits that no row explains.
    pub fn flags_from_linux(&self, mut linux: i32) -> (i32, i32) {
        let mut netbsd = 0;
        for pair in self.0.iter().filter(|pair| pair.twin) {
            let Some(bits) = pair.linux.filter(|&bits| bits != 0 && linux & bits == bits) else { continue };
            netbsd |= pair.netbsd;
            linux &= !bits;
        }
        (netbsd, linux)
    }

    /// Translates a word of flags; what Linux lacks is dropped.
    pub fn flags_to_linux(&self, netbsd: i32) -> i32 {
        self.0
            .iter()
            .filter(|pair| pair.netbsd != 0 && netbsd & pair.netbsd == pair.netbsd)
            .filter_map(|pair| pair.linux)
            .fold(0, |flags, bits| flags | bits)
    }
}

/// Makes the constants and the table of a list of rows: `NAME number;` has no twin, `NAME number => linux;` has
/// one, `NAME number -> linux;` has a nearest meaning that is used towards Linux only.
macro_rules! pairs {
    ($(#[$doc:meta])* $table:ident: $type:ty {
        $($name:ident $value:literal $(-> $near:expr)? $(=> $twin:expr)?;)*
    }) => {
        $(
            #[doc = concat!("`", stringify!($name), "`, NetBSD's number.")]
            pub const $name: $type = $value;
        )*
        $(#[$doc])*
        pub const $table: $crate::pairs::Pairs = $crate::pairs::Pairs(&[$(
            $crate::pairs::Pair {
                name: stringify!($name),
                netbsd: $value as i32,
                linux: $crate::pairs::pairs!(@linux $(-> $near)? $(=> $twin)?),
                twin: $crate::pairs::pairs!(@twin $(=> $twin)?),
            },
        )*]);
    };
    (@linux) => { None };
    (@linux => $twin:expr) => { Some($twin as i32) };
    (@linux -> $near:expr) => { Some($near as i32) };
    (@twin) => { false };
    (@twin => $twin:expr) => { true };
}
pub(crate) use pairs;

/// Makes the structures plain data with C's layout that start out as zeros.
macro_rules! plain {
    ($($(#[$doc:meta])* pub struct $name:ident { $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]
        #[repr(C)]
        #[allow(missing_docs, reason = "the fields carry the names of the manual page")]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                zerocopy::FromZeros::new_zeroed()
            }
        }
    )*};
}
pub(crate) use plain;

#[cfg(test)]
mod tests {
    pairs! {
        SAMPLE: i32 {
            WIDE 0x100 => 0x3;
            NARROW 0x200 => 0x1;
            LONELY 0x400;
            NEAR 0x800 -> 0x1;
        }
    }

    #[test]
    fn a_wide_twin_takes_its_bits_before_a_narrow_one() {
        assert_eq!(SAMPLE.flags_from_linux(0x3), (WIDE, 0));
        assert_eq!(SAMPLE.flags_from_linux(0x1), (NARROW, 0));
        assert_eq!(SAMPLE.flags_from_linux(0x10), (0, 0x10));
    }

    #[test]
    fn a_nearest_meaning_goes_one_way() {
        assert_eq!(SAMPLE.flags_to_linux(NEAR | LONELY), 0x1);
        assert_eq!(SAMPLE.to_linux(NEAR), Some(1));
        assert_eq!(SAMPLE.to_linux(LONELY), None);
        assert_eq!(SAMPLE.name(WIDE), Some("WIDE"));
    }
}
