//! Who takes part, and the turns they take.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

use plimsoll::bench::ReadProbe;

use crate::engines::{LINKED, Result};
use crate::job::{Answer, Job, Row, Speed};
use crate::report::{Figure, Outcome, Summary};

/// What engines read the number of their threads from where they are not told otherwise.
const THREADS: &[&str] = &["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS", "OMP_NUM_THREADS"];

/// An engine, and the program that runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contestant {
    pub(crate) name: String,
    program: PathBuf,
    settings: Vec<String>,
}

impl FromStr for Contestant {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let bad = || format!("peer: found '{text}', expected NAME=PROGRAM[:SETTING,...]");
        let (name, program) = text.split_once('=').ok_or_else(bad)?;
        let (program, settings) = program.split_once(':').unwrap_or((program, ""));
        if name.is_empty() || program.is_empty() {
            return Err(bad());
        }
        let settings = settings.split(',').map(str::to_owned).collect();
        Ok(Self { name: name.into(), program: program.into(), settings })
    }
}

/// Ours, the `asked` ones of those that are linked in, and the others.
pub(crate) fn contestants(asked: Option<&[String]>, others: Vec<Contestant>) -> Result<Vec<Contestant>> {
    for name in asked.unwrap_or_default() {
        if !LINKED.iter().any(|linked| linked.name == name) {
            let names: Vec<_> = LINKED.iter().map(|linked| linked.name).collect();
            return Err(format!("engines: found '{name}', expected some of {}", names.join(", ")).into());
        }
    }
    let program = env::current_exe()?;
    let wanted = |(i, name): (usize, &str)| i == 0 || asked.is_none_or(|asked| asked.iter().any(|other| other == name));
    let linked = LINKED.iter().enumerate().filter(|(i, linked)| wanted((*i, linked.name)));
    let linked = linked.map(|(_, linked)| Contestant {
        name: linked.name.into(),
        program: program.clone(),
        settings: linked.settings.iter().map(|setting| (*setting).into()).collect(),
    });
    Ok(linked.chain(others).collect())
}

/// Measures a row on a file: finds each engine's best setting, then lets them take turns.
pub(crate) fn hold(contestants: &[Contestant], file: &Path, row: Row, threads: usize, reps: usize) -> Result<Outcome> {
    let job = |contestant: &Contestant, setting: &str| Job {
        engine: contestant.name.clone(),
        setting: setting.into(),
        file: file.into(),
        threads,
        row,
    };
    let mut turns = Vec::new();
    for contestant in contestants {
        turns.push(Turns::best(contestant, contestant.settings.iter().map(|setting| job(contestant, setting))));
    }
    let probe = ReadProbe::new(threads, ReadProbe::BYTES)?;
    let mut reads = Vec::new();
    for rep in 0..reps {
        for i in 0..turns.len() {
            let at = (rep + i) % turns.len();
            turns[at].take();
        }
        reads.push(probe.measure()?);
    }
    let ours = turns.first().map(|turns| turns.speeds.clone()).unwrap_or_default();
    let figures = turns.iter().map(|turns| turns.figure(&ours)).collect();
    Ok(Outcome { file: file.into(), row, read_bytes_s: Summary::of(&reads), figures })
}

/// One engine's measurements of a row.
struct Turns<'a> {
    contestant: &'a Contestant,
    /// None where no setting works.
    job: Option<Job>,
    speeds: Vec<f64>,
    peak_bytes: Option<u64>,
    error: Option<String>,
}

impl<'a> Turns<'a> {
    /// Tries each setting once, unless there is only one.
    fn best(contestant: &'a Contestant, jobs: impl Iterator<Item = Job>) -> Self {
        let mut turns = Self { contestant, job: None, speeds: Vec::new(), peak_bytes: None, error: None };
        if let [_] = contestant.settings[..] {
            turns.job = jobs.last();
            return turns;
        }
        let mut best = 0.0;
        for job in jobs {
            match ask(contestant, &job) {
                Answer::Speed(speed) if speed.tok_s > best => (best, turns.job) = (speed.tok_s, Some(job)),
                Answer::Speed(_) => (),
                Answer::Error(error) => turns.error = Some(error),
            }
        }
        turns
    }

    fn take(&mut self) {
        let Some(job) = &self.job else { return };
        match ask(self.contestant, job) {
            Answer::Speed(Speed { tok_s, peak_bytes }) => {
                self.speeds.push(tok_s);
                self.peak_bytes = self.peak_bytes.max(peak_bytes);
            }
            Answer::Error(error) => {
                // One failure and the engine is out: what is left could not be paired any more.
                (self.job, self.error) = (None, Some(error));
                self.speeds.clear();
            }
        }
    }

    fn figure(&self, ours: &[f64]) -> Figure {
        let ratios: Vec<f64> = ours.iter().zip(&self.speeds).map(|(ours, theirs)| ours / theirs).collect();
        Figure {
            engine: self.contestant.name.clone(),
            setting: self.job.as_ref().map(|job| job.setting.clone()),
            tok_s: Summary::of(&self.speeds),
            ours_is: Summary::of(&ratios),
            peak_bytes: self.peak_bytes,
            error: self.error.clone().filter(|_| self.speeds.is_empty()),
        }
    }
}

/// Runs a child for one job.
fn ask(contestant: &Contestant, job: &Job) -> Answer {
    let answer = run(contestant, job).unwrap_or_else(|error| Answer::Error(error.to_string()));
    let (engine, row, setting) = (&job.engine, job.row, &job.setting);
    match &answer {
        Answer::Speed(speed) => eprintln!("{row} {engine} [{setting}]: {:.1} tok/s", speed.tok_s),
        Answer::Error(error) => eprintln!("{row} {engine} [{setting}]: {error}"),
    }
    answer
}

fn run(contestant: &Contestant, job: &Job) -> Result<Answer> {
    let mut command = Command::new(&contestant.program);
    command.arg("--job").arg(serde_json::to_string(job)?).stdin(Stdio::null());
    command.envs(THREADS.iter().map(|name| (name, job.threads.to_string())));
    command.envs(job.setting.split(' ').filter_map(|word| word.split_once('=')));
    let output = command.output()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    if let Some(answer) = stdout.lines().rev().find_map(|line| serde_json::from_str(line).ok()) {
        return Ok(answer);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!("no answer, {}: {}", output.status, stderr.lines().last().unwrap_or_default()).into())
}

/// Processes that take processor time for as long as this lives.
pub(crate) struct Busy(Vec<Child>);

impl Busy {
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let mut busy = Self(Vec::new());
        for _ in 0..count {
            busy.0.push(Command::new(env::current_exe()?).arg("--spin").spawn()?);
        }
        Ok(busy)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have been killed from outside.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_named_with_their_settings() {
        let parsed = "ik=/bin/ik:rtr fa,fa,".parse::<Contestant>().unwrap();
        assert_eq!((parsed.name.as_str(), parsed.program.to_str()), ("ik", Some("/bin/ik")));
        assert_eq!(parsed.settings, ["rtr fa", "fa", ""]);
        assert_eq!("ik=run".parse::<Contestant>().unwrap().settings, [""]);
        for bad in ["ik", "=run", "ik=", "ik=:fa"] {
            assert!(bad.parse::<Contestant>().unwrap_err().contains(bad));
        }
    }

    #[test]
    fn only_known_engines_are_asked_for() {
        let names = |asked: &[&str]| {
            let asked: Vec<_> = asked.iter().map(|name| (*name).to_owned()).collect();
            let chosen = contestants(Some(&asked), vec!["ik=run".parse().unwrap()]);
            chosen.map(|chosen| chosen.into_iter().map(|one| one.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap(), ["plimsoll", "ik"]);
        assert!(names(&["other"]).unwrap_err().to_string().contains("found 'other'"));
    }
}
