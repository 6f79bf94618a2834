//! `plimsoll doctor`: what this machine offers, and what that means here.

use plimsoll::{Device, Tier};
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
    if global.json {
        let devices: Vec<_> = Device::ALL
            .iter()
            .map(|device| json!({ "name": device.to_string(), "problem": problem(*device) }))
            .collect();
        return output::json(&json!({
            "version": env!("CARGO_PKG_VERSION"),
            "machine": machine,
            "tiers": Tier::here().map(Tier::name).collect::<Vec<_>>(),
            "devices": devices,
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
    Device::ALL.iter().try_for_each(|device| output::line(&format!("device    {device}: {}", state(device))))?;
    output::line(&format!("picked    {device}: {why}"))?;
    output::line(&format!("lock      {}", describe_lock(&lock)))
}

/// Why a device of this build cannot be used here.
fn problem(device: Device) -> Option<String> {
    device.probe().err().map(|error| error.to_string())
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
