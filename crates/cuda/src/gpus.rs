//! Which GPUs a machine has, which of them is meant, and what the driver says about each.

use std::fmt;
use std::str::FromStr;

use cudarc::driver::CudaContext;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute};
use plimsoll_backend::Error;

use crate::gpu::{device_error, failed};

/// Of the driver: CUDA 13.0.
const VERSION: i32 = 13_000;
/// Compute capability.
const CAPABILITY: (i32, i32) = (7, 5);
/// Compute capabilities that the image has machine code for, as `cargo xtask kernels` compiles it, and that of its PTX.
const COMPILED: &[(i32, i32)] = &[(7, 5), (8, 0), (8, 9), (9, 0), (10, 0), (12, 0)];
const PTX: (i32, i32) = (8, 0);
/// Hexadecimal digits of a UUID.
const DIGITS: usize = 32;

/// Which GPU is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GpuId {
    /// By its number, counted from 0.
    Number(usize),
    /// By its UUID or the beginning of one.
    Uuid(Uuid),
}

/// A GPU's UUID, or the first digits of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uuid {
    /// With zeros for digits that were not given.
    bits: u128,
    digits: usize,
}

impl Uuid {
    fn begins(self, full: u128) -> bool {
        let rest = 4 * (DIGITS - self.digits);
        full >> rest == self.bits >> rest
    }
}

/// `GPU-` and digits in groups of 8, 4, 4, 4 and 12, as NVIDIA's tools print it.
impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GPU-")?;
        for (i, digit) in format!("{:032x}", self.bits).chars().take(self.digits).enumerate() {
            let dash = if matches!(i, 8 | 12 | 16 | 20) { "-" } else { "" };
            write!(f, "{dash}{digit}")?;
        }
        Ok(())
    }
}

impl fmt::Display for GpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GpuId::Number(number) => number.fmt(f),
            GpuId::Uuid(uuid) => uuid.fmt(f),
        }
    }
}

/// `0`, `GPU-3f2a…`.
impl FromStr for GpuId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("`{text}` is no GPU, expected its number, or `GPU-` and its UUID or the beginning of it");
        let Some(uuid) = text.strip_prefix("GPU-") else {
            return text.parse().map(GpuId::Number).map_err(|_| expected());
        };
        let hex: String = uuid.chars().filter(|c| *c != '-').collect();
        if hex.is_empty() || hex.len() > DIGITS || !hex.chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(expected());
        }
        let bits = u128::from_str_radix(&format!("{hex:0<DIGITS$}"), 16).map_err(|_| expected())?;
        Ok(GpuId::Uuid(Uuid { bits, digits: hex.len() }))
    }
}

/// The driver, and all GPUs it has.
#[derive(Clone, Debug)]
pub struct Gpus {
    /// The newest version of CUDA that the driver knows.
    pub cuda: (i32, i32),
    /// The driver's own version, where the system tells.
    pub release: Option<String>,
    /// In the driver's order.
    pub gpus: Vec<Description>,
}

/// What a GPU is.
#[derive(Clone, Debug)]
pub struct Description {
    /// Counted from 0.
    pub number: usize,
    /// As its maker calls it.
    pub name: String,
    /// It stays the same when GPUs are counted otherwise.
    pub uuid: Uuid,
    /// Compute capability.
    pub capability: (i32, i32),
    /// Multiprocessors.
    pub multiprocessors: usize,
    /// Bytes of memory.
    pub memory: usize,
    /// Bytes nobody uses, where the GPU can be opened.
    pub free: Option<usize>,
}

impl Gpus {
    /// Asks the driver.
    ///
    /// # Errors
    /// [`Error::Device`] without a driver that works, saying what was found.
    pub fn look() -> Result<Self, Error> {
        let cuda = driver()?;
        let gpus = (0..count()?).map(describe).collect::<Result<_, _>>();
        Ok(Self { cuda, release: release(), gpus: gpus.map_err(failed("asking the GPU what it is"))? })
    }
}

/// The CUDA version of the driver, if it is there and new enough.
fn driver() -> Result<(i32, i32), Error> {
    // SAFETY: loads a library by its name.
    if !unsafe { sys::is_culib_present() } {
        return Err(device_error("found no NVIDIA driver (libcuda), expected one for CUDA 13.0 or newer"));
    }
    let mut version = 0;
    // SAFETY: every driver has this call, also those that are too old for the others.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(failed("asking the driver for its version"))?;
    let (major, minor) = (version / 1000, version % 1000 / 10);
    if version < VERSION {
        let found = format!("found an NVIDIA driver for CUDA {major}.{minor}, expected 13.0 or newer (driver 580)");
        return Err(device_error(found));
    }
    result::init().map_err(failed("starting the driver"))?;
    Ok((major, minor))
}

/// How many GPUs there are.
///
/// # Errors
/// [`Error::Device`] without a driver that works.
pub fn count() -> Result<usize, Error> {
    driver()?;
    let count = result::device::get_count().map_err(failed("counting GPUs"))?;
    Ok(count.max(0) as usize)
}

/// Version of the driver's part in the kernel, which says it in a line like `NVRM version: … 580.95.05  Release Build`.
fn release() -> Option<String> {
    release_in(&std::fs::read_to_string("/proc/driver/nvidia/version").ok()?)
}

fn release_in(text: &str) -> Option<String> {
    let number = |word: &&str| word.contains('.') && word.split('.').all(|part| part.parse::<u32>().is_ok());
    text.lines().next()?.split_whitespace().find(number).map(String::from)
}

fn uuid(device: sys::CUdevice) -> Result<Uuid, DriverError> {
    let bytes = result::device::get_uuid(device)?.bytes.map(|byte| byte as u8);
    Ok(Uuid { bits: u128::from_be_bytes(bytes), digits: DIGITS })
}

fn attribute(device: sys::CUdevice, attribute: CUdevice_attribute) -> Result<i32, DriverError> {
    // SAFETY: any number is answered, that of no device with an error.
    unsafe { result::device::get_attribute(device, attribute) }
}

fn capability(device: sys::CUdevice) -> Result<(i32, i32), DriverError> {
    let major = attribute(device, CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    Ok((major, attribute(device, CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?))
}

fn describe(number: usize) -> Result<Description, DriverError> {
    let device = result::device::get(number as i32)?;
    let multiprocessors = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
    Ok(Description {
        number,
        name: result::device::get_name(device)?,
        uuid: uuid(device)?,
        capability: capability(device)?,
        multiprocessors: attribute(device, multiprocessors)?.max(0) as usize,
        // SAFETY: as for attributes.
        memory: unsafe { result::device::total_mem(device) }?,
        free: CudaContext::new(number).and_then(|context| context.mem_get_info()).ok().map(|(free, _)| free),
    })
}

/// The number of a GPU that there are kernels for.
pub(crate) fn select(id: GpuId) -> Result<usize, Error> {
    let devices = (0..count()?).map(|number| result::device::get(number as i32)).collect::<Result<Vec<_>, _>>();
    let devices = devices.map_err(failed("counting GPUs"))?;
    let asked = || failed("asking the GPU what it is");
    let uuids = devices.iter().map(|device| uuid(*device)).collect::<Result<Vec<_>, _>>().map_err(asked())?;
    let number = chosen(id, &uuids)?;
    supported(capability(devices[number]).map_err(asked())?)?;
    Ok(number)
}

fn chosen(id: GpuId, uuids: &[Uuid]) -> Result<usize, Error> {
    let meant = |number: &usize| match id {
        GpuId::Number(asked) => *number == asked,
        GpuId::Uuid(beginning) => beginning.begins(uuids[*number].bits),
    };
    match (0..uuids.len()).filter(meant).collect::<Vec<_>>()[..] {
        [number] => Ok(number),
        [] => {
            let list: String = uuids.iter().enumerate().map(|(i, uuid)| format!(", {i} is {uuid}")).collect();
            let expected = match id {
                GpuId::Number(number) => format!("number {number}"),
                GpuId::Uuid(beginning) => format!("one whose UUID begins with {beginning}"),
            };
            Err(device_error(format!("found {} GPUs{list}; expected {expected}", uuids.len())))
        }
        ref several => Err(device_error(format!("the UUIDs of {} GPUs begin with {id}", several.len()))),
    }
}

fn supported((major, minor): (i32, i32)) -> Result<(), Error> {
    if (major, minor) >= CAPABILITY {
        return Ok(());
    }
    let found = format!("found a GPU of compute capability {major}.{minor}");
    Err(device_error(format!("{found}, expected {}.{} or newer", CAPABILITY.0, CAPABILITY.1)))
}

/// Which of the compiled kernels a GPU runs: machine code runs where the major number is its own and the minor one not less.
pub fn kernels(capability: (i32, i32)) -> String {
    let (major, minor) = capability;
    let runs = |code: &&(i32, i32)| match **code {
        // Compiled with what only this one has.
        (9, 0) => capability == (9, 0),
        (of, from) => of == major && from <= minor,
    };
    match COMPILED.iter().rev().find(runs) {
        Some((9, 0)) => "machine code for sm_90a".into(),
        Some((major, minor)) => format!("machine code for sm_{major}{minor}"),
        None if capability > PTX => format!("PTX for compute_{}{}, which the driver compiles", PTX.0, PTX.1),
        None => "none".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uuid(text: &str) -> Uuid {
        let GpuId::Uuid(uuid) = text.parse().unwrap() else { panic!("{text}") };
        uuid
    }

    #[test]
    fn a_gpu_is_chosen_by_number_or_uuid() {
        let names = ["GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-8932a000-0000-0000-0000-000000000001"];
        let uuids = names.map(uuid);
        assert_eq!(uuids.map(|uuid| uuid.to_string()), names);
        let choose = |text: &str| chosen(text.parse().unwrap(), &uuids).map_err(|error| error.to_string());
        assert_eq!(choose("1"), Ok(1));
        assert_eq!(choose(names[0]), Ok(0));
        assert_eq!(choose("GPU-8932A"), Ok(1));
        assert_eq!(choose("GPU-8932f937-d72"), Ok(0));
        assert!(choose("GPU-8932").unwrap_err().contains("the UUIDs of 2 GPUs begin with GPU-8932"));
        let missing = choose("2").unwrap_err();
        assert!(missing.contains(&format!("found 2 GPUs, 0 is {}, 1 is {}; expected number 2", names[0], names[1])));
        assert!(choose("GPU-0").unwrap_err().contains("expected one whose UUID begins with GPU-0"));
        for wrong in ["", "x", "-1", "GPU-", "GPU-xyz", "GPU-+1", &format!("{}0", names[0])] {
            assert!(wrong.parse::<GpuId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn kernels_are_those_of_the_processor_or_compiled_by_the_driver() {
        let cases = [
            ((7, 5), "sm_75"),
            ((8, 0), "sm_80"),
            ((8, 6), "sm_80"),
            ((8, 9), "sm_89"),
            ((9, 0), "sm_90a"),
            ((10, 0), "sm_100"),
            ((10, 3), "sm_100"),
            ((11, 0), "PTX for compute_80"),
            ((12, 1), "sm_120"),
            ((13, 0), "PTX for compute_80"),
        ];
        for (capability, expected) in cases {
            assert!(kernels(capability).contains(expected), "{capability:?}: {}", kernels(capability));
        }
        assert!(supported((7, 0)).unwrap_err().to_string().contains("compute capability 7.0, expected 7.5 or newer"));
    }

    #[test]
    fn the_release_of_the_driver_is_read() {
        let text = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (a@b)\nGCC version: 12.2.0";
        assert_eq!(release_in(text).as_deref(), Some("580.95.05"));
        assert_eq!(release_in("NVRM version: none"), None);
    }
}
