//! What this machine offers.

use serde::Serialize;

/// CPU and memory, as far as the system tells.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) arch: &'static str,
    pub(crate) os: &'static str,
    /// Logical cores that this process may use.
    pub(crate) cores: usize,
    /// Instruction sets that kernels may ask for, those that are there.
    pub(crate) features: Vec<&'static str>,
    pub(crate) memory: Option<Memory>,
}

/// In bytes.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    pub(crate) total: u64,
    pub(crate) available: u64,
}

impl Machine {
    pub(crate) fn look() -> Self {
        Self {
            arch: std::env::consts::ARCH,
            os: std::env::consts::OS,
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            features: features(),
            memory: std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| memory(&text)),
        }
    }
}

/// The macro wants each name as a literal.
#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    macro_rules! detected {
        ($($name:tt)*) => { [$(($name, std::arch::is_x86_feature_detected!($name))),*] };
    }
    let all = detected!("sse4.2" "avx" "f16c" "fma" "avx2" "avxvnni" "avx512f" "avx512bw" "avx512vl" "avx512vnni" "avx512bf16" "sha");
    all.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
}

/// The macro wants each name as a literal.
#[cfg(target_arch = "aarch64")]
fn features() -> Vec<&'static str> {
    macro_rules! detected {
        ($($name:tt)*) => { [$(($name, std::arch::is_aarch64_feature_detected!($name))),*] };
    }
    let all = detected!("neon" "fp16" "dotprod" "i8mm" "bf16" "sve" "sha2");
    all.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<&'static str> {
    Vec::new()
}

/// Bytes of memory that this process has held at most, where Linux tells.
pub(crate) fn peak_rss() -> Option<u64> {
    bytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM")
}

/// Reads Linux' `/proc/meminfo`.
fn memory(text: &str) -> Option<Memory> {
    Some(Memory { total: bytes(text, "MemTotal")?, available: bytes(text, "MemAvailable")? })
}

/// A field of a file under `/proc`.
fn bytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read() {
        let text = "MemTotal:       16303428 kB\nMemFree:  1 kB\nMemAvailable:   9000000 kB\n";
        assert_eq!(memory(text), Some(Memory { total: 16303428 * 1024, available: 9000000 * 1024 }));
        for bad in [
            "",
            "MemTotal: 1 kB",
            "MemTotal: x kB\nMemAvailable: 1 kB",
            "MemTotal: 99999999999999999999 kB\nMemAvailable: 1 kB",
        ] {
            assert_eq!(memory(bad), None, "{bad}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_holds_memory() {
        assert!(peak_rss().unwrap() > 1 << 16);
    }

    #[test]
    fn there_is_a_core() {
        assert!(Machine::look().cores > 0);
    }
}
