//! Compile-time checks of sizes and offsets.
