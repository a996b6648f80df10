//! Has the loader run the library's constructor before those of other libraries, which call hooked functions.

fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,initfirst");
    println!("cargo:rerun-if-changed=build.rs");
}
