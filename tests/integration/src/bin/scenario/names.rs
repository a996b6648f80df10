//! Names of hosts, services, users and interfaces.

use super::prelude::*;

/// The family.
pub const TABLE: &[Row] = &[];
