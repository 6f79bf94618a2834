//! Compiles the kernels as they are, with every access to memory reported, and what runs them.

use std::path::PathBuf;

/// Every access calls the runtime; undefined behaviour traps.
const CHECKED: &[&str] = &[
    "-fsanitize=kernel-address,undefined",
    "-fsanitize-undefined-trap-on-error",
    "--param=asan-instrumentation-with-call-threshold=0",
    "--param=asan-stack=0",
    "--param=asan-globals=0",
];

fn main() {
    let target = |key: &str| std::env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default();
    if (target("OS").as_str(), target("ARCH").as_str()) != ("linux", "x86_64") {
        return;
    }
    let kernels = PathBuf::from("../cuda/kernels");
    println!("cargo::rerun-if-changed=../cuda/kernels");
    println!("cargo::rerun-if-changed=runtime");
    let build = || {
        let mut build = cc::Build::new();
        build.cpp(true).std("c++17").opt_level(2).flag("-ffp-contract=off").include("runtime").warnings(true);
        // How far loops are unrolled is NVIDIA's compiler's business.
        build.flag("-Wno-unknown-pragmas");
        build
    };
    build().file("runtime/shim.cpp").compile("plimsoll_shim");
    let mut checked = build();
    CHECKED.iter().for_each(|flag| {
        checked.flag(flag);
    });
    // Kernels enter themselves in a list: none may be left out for want of a call.
    checked.flag("-xc++").flag("-include").flag("shim.h").link_lib_modifier("+whole-archive");
    checked
        .file(kernels.join("all.cu"))
        .file("runtime/library.cu")
        .file("runtime/faults.cu")
        .file("runtime/mma.cu")
        .include(&kernels)
        .compile("plimsoll_kernels");
}
