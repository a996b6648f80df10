//! What to do when the server is gone: RUMPHIJACK_RETRYCONNECT (rumphijack(3)).

use std::time::Duration;

/// Whether and how long to look for a server that is gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// Every call fails with `ENOTCONN`.
    #[default]
    Never,
    /// The process ends with status 1.
    Die,
    /// For ever.
    Forever,
    /// One attempt.
    Once,
    /// For so long.
    For(Duration),
}

/// A longer value counts as unset.
const VALUE_MAX: usize = 1023;

impl Retry {
    /// Reads the variable's value; the error is the line for the user.
    pub fn parse(value: Option<&[u8]>) -> Result<Self, String> {
        let Some(value) = value.filter(|value| value.len() <= VALUE_MAX) else { return Ok(Retry::Never) };
        let value = String::from_utf8_lossy(value);
        match (&*value, value.parse::<u64>()) {
            ("die", _) => Ok(Retry::Die),
            ("inftime", _) => Ok(Retry::Forever),
            ("once", _) => Ok(Retry::Once),
            // The manual page allows 0 seconds; the original's code refuses it.
            (_, Ok(0)) => Ok(Retry::Never),
            (_, Ok(seconds)) => Ok(Retry::For(Duration::from_secs(seconds))),
            _ => Err(format!("RUMPHIJACK_RETRYCONNECT must be keyword or integer, got: {value}")),
        }
    }
}

/// How long to wait before attempt `attempt`, the first being 0.
pub(crate) fn delay(attempt: u64) -> Duration {
    match attempt {
        0..10 => Duration::from_millis(attempt * 100),
        _ => Duration::from_secs((attempt - 9).min(10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_a_keyword_or_a_number() {
        assert_eq!(Retry::parse(None), Ok(Retry::Never));
        let known = [("die", Retry::Die), ("inftime", Retry::Forever), ("once", Retry::Once), ("0", Retry::Never)];
        for (value, retry) in known.into_iter().chain([("30", Retry::For(Duration::from_secs(30)))]) {
            assert_eq!(Retry::parse(Some(value.as_bytes())), Ok(retry), "{value}");
        }
        for bad in ["", "-1", "5s", "never"] {
            let line = format!("RUMPHIJACK_RETRYCONNECT must be keyword or integer, got: {bad}");
            assert_eq!(Retry::parse(Some(bad.as_bytes())), Err(line));
        }
    }

    #[test]
    fn attempts_become_rarer() {
        let delays: Vec<_> = [0, 1, 9, 10, 11, 30].map(|attempt| delay(attempt).as_millis()).into();
        assert_eq!(delays, [0, 100, 900, 1000, 2000, 10_000]);
    }
}
