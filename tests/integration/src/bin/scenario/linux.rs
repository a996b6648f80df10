//! Calls that only Linux has.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[];
