//! The connection of this process, fork and spawn.

/// The rump kernel that serves this process.
pub fn kernel() -> abi::Result<&'static dyn client::Caller> {
    Err(abi::Errno::ENOSYS)
}
