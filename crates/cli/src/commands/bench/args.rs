//! Options of `plimsoll bench`.

use clap::Args;
use plimsoll::bench::Work;

use crate::args::ModelArgs;
use crate::device::{DeviceArgs, at_most};

/// Time a model's steps: tokens per second of prompts and answers, and the share of the memory's bandwidth
///
/// Token ids are random, the same in every run. Everything is done once off the clock, then N times in turns, after each a
/// reading of 1 GiB of memory with as many threads. The share is weights (as stored, but for an embedding that is not the
/// head too) times steps per second, divided by that reading. Peak memory is the process's without that GiB.
///
/// With --json: one object a line; `{"event":"measured",…}` for each row of the table, and the last one is
/// `{"event":"finished","prefill_tok_s":…,"decode_tok_s":…,…}`, medians of the first of each list.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Tokens of a prompt; lists give a row each, and 0 gives none
    #[arg(short, long, value_name = "N,…", value_delimiter = ',', default_value = "512")]
    pub(crate) prefill: Vec<usize>,
    /// Tokens of an answer, one a step; 0 as well
    #[arg(short = 'n', long, value_name = "N,…", value_delimiter = ',', default_value = "64")]
    pub(crate) decode: Vec<usize>,
    /// Tokens in the cache before either
    #[arg(short, long, value_name = "N,…", value_delimiter = ',', default_value = "0")]
    pub(crate) depth: Vec<usize>,
    /// Sequences that are answered side by side
    #[arg(short, long, value_name = "N,…", value_delimiter = ',', default_value = "1")]
    pub(crate) batch: Vec<usize>,
    /// Tokens of a prompt in a step at most [default: 512, on a GPU 1024]
    #[arg(long, value_name = "N")]
    pub(crate) chunk: Option<usize>,
    /// Repetitions, of which the median counts
    #[arg(long, value_name = "N", default_value = "5", value_parser = at_most(100_000))]
    pub(crate) reps: usize,
    /// Do not read memory in between
    #[arg(long)]
    pub(crate) no_bandwidth: bool,
    /// Time whole answers instead, of texts that are not worth guessing, without and with `run --speculate` in turns
    #[arg(long, conflicts_with_all = ["prefill", "batch", "chunk", "no_bandwidth"])]
    pub(crate) speculate: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

impl BenchArgs {
    /// The rows of the table: what is done in turns.
    pub(crate) fn works(&self) -> Vec<Work> {
        let lengths = |list: &[usize]| list.iter().copied().filter(|tokens| *tokens > 0).collect::<Vec<_>>();
        let depths = |tokens: usize| self.depth.iter().map(move |depth| (tokens, *depth));
        let prefill = lengths(&self.prefill).into_iter().flat_map(depths);
        let prefill = prefill.map(|(tokens, depth)| Work::prefill(tokens, depth));
        let decode = lengths(&self.decode).into_iter().flat_map(depths).flat_map(|(tokens, depth)| {
            self.batch.iter().map(move |sequences| Work::decode(tokens, depth, *sequences))
        });
        prefill.chain(decode).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn parse(line: &str) -> BenchArgs {
        let Command::Bench(args) = Cli::parse_from(line.split(' ')).command else { panic!() };
        args
    }

    #[test]
    fn the_form_that_scripts_rely_on() {
        let line = "plimsoll bench --unlocked m -p 512 -n 64 -d 0 --threads 2 --reps 5 --json";
        let (args, default) = (parse(line), parse("plimsoll bench"));
        assert_eq!((args.device.threads, args.reps, default.device.threads, default.reps), (Some(2), 5, None, 5));
        assert_eq!(args.works(), [Work::prefill(512, 0), Work::decode(64, 0, 1)]);
        assert_eq!(args.works(), default.works());
    }

    #[test]
    fn lists_give_a_row_each() {
        let works = parse("plimsoll bench -p 8,16 -n 4 -d 0,32 -b 1,2").works();
        let prefill = [(8, 0), (8, 32), (16, 0), (16, 32)].map(|(tokens, depth)| Work::prefill(tokens, depth));
        let decode = [(0, 1), (0, 2), (32, 1), (32, 2)].map(|(depth, sequences)| Work::decode(4, depth, sequences));
        assert_eq!(works, [&prefill[..], &decode].concat());
    }
    #[test]
    fn no_tokens_are_no_row() {
        assert_eq!(parse("plimsoll bench -p 0 -n 4").works(), [Work::decode(4, 0, 1)]);
        assert_eq!(parse("plimsoll bench -p 8 -n 0").works(), [Work::prefill(8, 0)]);
        assert_eq!(parse("plimsoll bench -p 0 -n 0").works(), []);
    }
}
