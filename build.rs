//! Tells the crate which interpreter it is built for.
//!
//! `opool_gil` is set when the interpreter's own lock serialises every caller, so that `src/sync/guarded.rs` can use it
//! instead of a mutex. The condition stands here and nowhere else.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "python")]
    {
        pyo3_build_config::use_pyo3_cfgs();
        let model_check = std::env::var_os("CARGO_CFG_LOOM").is_some();
        if !pyo3_build_config::get().is_free_threaded() && !model_check {
            println!("cargo:rustc-cfg=opool_gil");
        }
    }
}
