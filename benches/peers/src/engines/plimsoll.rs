//! This project.

use std::time::Duration;

use plimsoll::bench::{Bench, Work};
use plimsoll::{Device, Settings, open_unlocked};

use super::{Engine, Linked, Result, warm_up};
use crate::job::Job;

pub(super) const LINKED: Linked = Linked { name: "plimsoll", settings: &[""], open };

fn open(job: &Job) -> Result<Box<dyn Engine>> {
    let mut settings = Settings::default();
    settings.device = Device::Cpu;
    settings.cpu.threads = Some(job.threads);
    let mut works = warm_up(&job.row.0).to_vec();
    works.push(job.row.0);
    Ok(Box::new(settings.bench(&open_unlocked(&job.file)?, &works, &|_, _| ())?))
}

impl Engine for Bench {
    fn run(&mut self, work: &Work) -> Result<Duration> {
        Ok(Bench::run(self, work)?)
    }
}
