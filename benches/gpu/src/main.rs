//! One stage of what a machine with a GPU is asked, as a process of its own: `run.sh` runs them all.
//!
//! Prints a JSON object a line. `--simulate` before the stage takes the simulated GPU instead, to try the stages without one;
//! `--kernels FILE` takes an image of kernels made elsewhere.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod bits;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod golden;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod speed;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod stages;
mod timed;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    stages::run(&std::env::args().skip(1).collect::<Vec<_>>())
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn main() {
    eprintln!("written for x86-64 Linux");
}
