//! The line that a server sends before anything else.

/// The longest banner that travels; the original's buffer has 96 bytes, NUL included.
pub const MAX: usize = 95;

/// Our server's banner: the original's line, with a mark behind it that the original's client does not look at.
pub const OURS: &str = "RUMPSP-0.4-NetBSD-7.99.34/amd64 rumphijack/1\n";

const MARK: &[u8] = b" rumphijack/";

/// Whether a client may go on after this banner: the original accepts any line.
pub fn valid(banner: &[u8]) -> bool {
    banner.len() <= MAX && banner.last() == Some(&b'\n')
}

/// Whether the server is ours, so that it understands the extended messages.
pub fn extended(banner: &[u8]) -> bool {
    banner.windows(MARK.len()).any(|window| window == MARK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_original_s_banner_is_valid_and_not_extended() {
        let original = b"RUMPSP-0.4-NetBSD-7.99.34/amd64\n";
        assert!(valid(original) && !extended(original));
        assert!(!valid(b"") && !valid(b"RUMPSP-0.4"));
    }

    #[test]
    fn our_banner_fits_and_is_known_as_ours() {
        assert!(valid(OURS.as_bytes()) && extended(OURS.as_bytes()));
    }
}
