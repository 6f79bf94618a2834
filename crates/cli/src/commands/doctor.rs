//! `plimsoll doctor`: what this machine offers, and what that means here.

use plimsoll::{Device, GpuInfo, Gpus, Tier};
use serde_json::{Value, json};

use crate::args::Global;
use crate::exit::Result;
use crate::machine::Machine;
use crate::output;
use crate::project::Files;

/// Never fails over what it finds: what is wrong is what it is there to say.
pub(crate) fn run(global: &Global) -> Result<()> {
    let machine = Machine::look();
    let lock = lock_state(global);
    let (device, why) = Device::Auto.pick();
    let (devices, gpus) = (Device::here(), Gpus::look().map(|gpus| gpus.map_err(|error| error.to_string())));
    if global.json {
        let devices: Vec<_> =
            devices.iter().map(|device| json!({ "name": device.to_string(), "problem": problem(*device) })).collect();
        return output::json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "machine": machine,
            "tiers": Tier::here().map(Tier::name).collect::<Vec<_>>(),
            "devices": devices,
            "gpus": gpus.map(json_of),
            "pick": { "device": device.to_string(), "why": why },
            "lock": lock,
        }));
    }
    let memory = machine.memory.as_ref();
    let memory = memory.map_or("unknown".into(), |memory| {
        format!("{}, {} available", output::size(memory.total), output::size(memory.available))
    });
    output::line(&format!("plimsoll  {}", env!("CARGO_PKG_VERSION")))?;
    output::line(&format!("machine   {} {}, {} cores", machine.os, machine.arch, machine.cores))?;
    output::line(&format!("features  {}", machine.features.join(" ")))?;
    output::line(&format!("tiers     {}", Tier::here().map(Tier::name).collect::<Vec<_>>().join(" ")))?;
    output::line(&format!("memory    {memory}"))?;
    let state = |device: &Device| problem(*device).map_or("usable".into(), |problem| format!("not usable: {problem}"));
    match gpus {
        Some(Ok(gpus)) => describe(&gpus)?,
        Some(Err(problem)) => output::line(&format!("driver    {problem}"))?,
        None => {}
    }
    devices.iter().try_for_each(|device| output::line(&format!("device    {device}: {}", state(device))))?;
    output::line(&format!("picked    {device}: {why}"))?;
    output::line(&format!("lock      {}", describe_lock(&lock)))
}

/// Why a device of this build cannot be used here.
fn problem(device: Device) -> Option<String> {
    device.probe().err().map(|error| error.to_string())
}

fn describe(gpus: &Gpus) -> Result<()> {
    let release = gpus.release.as_ref().map_or(String::new(), |release| format!(", release {release}"));
    output::line(&format!("driver    CUDA {}{release}, {}", gpus.cuda, output::count(gpus.gpus.len(), "GPU")))?;
    gpus.gpus.iter().try_for_each(|gpu| {
        let GpuInfo { number, name, uuid, capability, multiprocessors, kernels, .. } = gpu;
        let free = gpu.free.map_or("unknown".into(), output::size);
        let memory = format!("{}, {free} free", output::size(gpu.memory));
        output::line(&format!("gpu {number:<5} {name}, {uuid}"))?;
        output::line(&format!(
            "          compute capability {capability}, {multiprocessors} multiprocessors; {memory}"
        ))?;
        output::line(&format!("          kernels: {kernels}"))
    })
}

fn json_of(gpus: std::result::Result<Gpus, String>) -> Value {
    let gpus = match gpus {
        Ok(gpus) => gpus,
        Err(problem) => return json!({ "problem": problem, "gpus": [] }),
    };
    let gpu = |gpu: &GpuInfo| {
        json!({
            "number": gpu.number,
            "name": gpu.name,
            "uuid": gpu.uuid,
            "compute_capability": gpu.capability,
            "multiprocessors": gpu.multiprocessors,
            "memory": gpu.memory,
            "free": gpu.free,
            "kernels": gpu.kernels,
        })
    };
    let list: Vec<_> = gpus.gpus.iter().map(gpu).collect();
    json!({ "problem": null, "cuda": gpus.cuda, "release": gpus.release, "gpus": list })
}

/// Reads the lock and looks whether models.toml agrees with it; hashes nothing.
fn lock_state(global: &Global) -> Value {
    let files = match Files::find(global) {
        Ok(files) => files,
        Err(error) => return json!({ "file": null, "state": "none", "message": error.to_string() }),
    };
    let file = files.lock.display().to_string();
    let bad = |state: &str, message: String| json!({ "file": file, "state": state, "message": message });
    let project = match files.open() {
        Ok(project) => project,
        Err(error) => return bad("unusable", error.to_string()),
    };
    let names: Vec<_> = project.lock().models().iter().map(|model| model.name.to_string()).collect();
    match names.iter().find_map(|name| project.model(name).err()) {
        Some(error) => bad("out of date", error.to_string()),
        None => {
            json!({ "file": file, "state": "ok", "digest": project.lock().digest(), "default": project.default_model().ok(), "models": names })
        }
    }
}

fn describe_lock(lock: &Value) -> String {
    let text = |key: &str| lock[key].as_str().unwrap_or("none");
    match lock["message"].as_str() {
        Some(message) => format!("{}: {message}", text("state")),
        None => {
            let models = output::count(lock["models"].as_array().map_or(0, Vec::len), "model");
            format!("{}, {models}, default {}; `plimsoll verify` hashes their files", text("file"), text("default"))
        }
    }
}
