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
    /// How keys and values are stored
    #[arg(long, value_name = "TYPE", value_parser = kv_type(), default_value = KvType::default().name())]
    pub(crate) kv: KvType,
}

impl DeviceArgs {
    /// Settings with what was given here.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::default();
        let Self { device, threads, cores, tier, kv } = self.clone();
        settings.device = device;
        (settings.cpu.threads, settings.cpu.cores, settings.cpu.tier, settings.cpu.kv) = (threads, cores, tier, kv);
        if settings.cpu != CpuOptions::default() && settings.device.cpu(&settings).is_none() {
            let device = settings.device.pick().0.name();
            output::note(&format!("warning: options of the processor: the backend on {device} has none"));
        }
        settings
    }
}

/// A number of things, at least 1.
pub(crate) fn at_most(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
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
