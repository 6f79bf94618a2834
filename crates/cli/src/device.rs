//! Where models run, and options of the processor. What a machine has is checked here, so that a mistake is one of the
//! command line.

use clap::Args;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use plimsoll::{CpuOptions, Device, KvType, Settings, Tier};

use crate::output;

/// What computes, and how the processor does.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Device")]
pub(crate) struct DeviceArgs {
    /// Where the model runs: auto, cpu, or what else this build has
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(crate) device: Device,
    /// Threads that compute [default: one for each of --cores, or for each core there is]
    #[arg(short, long, value_name = "N", value_parser = at_most(1024))]
    pub(crate) threads: Option<usize>,
    /// Pin the threads to these cores, in turn
    #[arg(long, value_name = "CORE,…", value_delimiter = ',', value_parser = core)]
    pub(crate) cores: Vec<usize>,
    /// Instruction set [default: the fastest of this processor]
    #[arg(long, value_name = "TIER", value_parser = tier)]
    pub(crate) tier: Option<Tier>,
    /// Memory of a GPU that a model may take, such as 8GiB: as many of its last layers as fit, the others run on the processor
    /// [default: what is free; with --device auto for as many layers, else for all or none]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) gpu_memory: Option<u64>,
    /// Have cublasLt compute prompts on a GPU: quicker, but not with the same bits in every batch
    #[arg(long)]
    pub(crate) fast_prefill: bool,
    /// How keys and values are stored
    #[arg(long, value_name = "TYPE", value_parser = kv_type(), default_value = KvType::default().name())]
    pub(crate) kv: KvType,
}

impl DeviceArgs {
    /// Settings with what was given here.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        let Self { device, threads, cores, tier, gpu_memory, fast_prefill, kv } = self.clone();
        (settings.device, settings.gpu_bytes, settings.fast_prefill) = (device, gpu_memory, fast_prefill);
        (settings.cpu.threads, settings.cpu.cores, settings.cpu.tier, settings.cpu.kv) = (threads, cores, tier, kv);
        let (picked, all_on_cpu) = (settings.device.pick().0.name(), settings.device.cpu(&settings).is_some());
        let may_share = device == Device::Auto || gpu_memory.is_some();
        if settings.cpu != CpuOptions::default() && !all_on_cpu && !may_share {
            output::note(&format!("warning: options of the processor: the backend on {picked} has none"));
        }
        if gpu_memory.is_some() && all_on_cpu {
            output::note(&format!("warning: --gpu-memory: {picked} has no memory of its own"));
        }
        if fast_prefill && all_on_cpu {
            output::note(&format!("warning: --fast-prefill: it is for GPUs, not for {picked}"));
        }
        settings
    }
}

/// A number of things, at least 1.
pub(crate) fn at_most(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
}

/// A size: bytes, or so many KiB, MiB or GiB.
fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let bits = match &text[digits.len()..] {
        "" => Some(0),
        "K" | "KiB" => Some(10),
        "M" | "MiB" => Some(20),
        "G" | "GiB" => Some(30),
        _ => None,
    };
    let bytes = digits.parse::<u64>().ok().zip(bits).and_then(|(number, bits)| number.checked_mul(1 << bits));
    bytes.ok_or_else(|| "expected bytes, or a number with K, M or G (KiB, MiB, GiB)".into())
}

fn core(text: &str) -> Result<usize, String> {
    let allowed = CpuOptions::allowed_cores();
    let core = text.parse().ok().filter(|core| allowed.contains(core));
    core.ok_or_else(|| match &allowed[..] {
        [] => "threads cannot be pinned on this system".into(),
        _ => format!("this process may use {}", joined(allowed.iter())),
    })
}

fn tier(name: &str) -> Result<Tier, String> {
    let tier = Tier::by_name(name).filter(|tier| tier.available());
    tier.ok_or_else(|| format!("this processor has {}", joined(Tier::here())))
}

fn kv_type() -> impl TypedValueParser<Value = KvType> {
    let name = |name: String| KvType::by_name(&name).ok_or("no such type");
    PossibleValuesParser::new(KvType::ALL.map(KvType::name)).try_map(name)
}

fn joined(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_their_units() {
        let cases = [("0", 0), ("77", 77), ("3K", 3 << 10), ("512MiB", 512 << 20), ("8G", 8 << 30), ("8GiB", 8 << 30)];
        cases.into_iter().for_each(|(text, size)| assert_eq!(bytes(text), Ok(size), "{text}"));
        for text in ["", "G", "8iB", "8GB", "1.5G", "-1", "8 G", "99999999999G", "8GiBiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
