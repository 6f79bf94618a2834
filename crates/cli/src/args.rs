//! The command line, as data.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use plimsoll::{RECIPES, Recipe};
use serde_json::Value;

use crate::commands::BenchArgs;
use crate::device::{DeviceArgs, at_most};
use crate::exit;
use crate::sampling::SamplingArgs;

/// Run language models on this machine: exactly the weights that models.lock names, and nothing else.
#[derive(Debug, Parser)]
#[command(name = "plimsoll", version, after_help = exit::help(), max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every subcommand.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// What is wanted [default: models.toml here or in the nearest folder above]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(crate) manifest: Option<PathBuf>,
    /// What is pinned [default: models.lock beside the manifest]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(crate) lock: Option<PathBuf>,
    /// Print one JSON object (`run`, `bench`: one a line) instead of text
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(RunArgs),
    Score(ScoreArgs),
    Bench(BenchArgs),
    Tokenize(TokenizeArgs),
    Render(RenderArgs),
    Lock(LockArgs),
    Verify(VerifyArgs),
    Quantize(QuantizeArgs),
    /// Show what models.lock pins: models, licences, files
    Tree,
    /// Show what this machine offers, which backend would be picked and why, and the state of the lock
    Doctor,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Which model.
#[derive(Clone, Debug, Default, Args)]
#[group(multiple = false)]
pub(crate) struct ModelArgs {
    /// A model of models.lock [default: the one that models.toml names]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// A folder or file, round the lock: nothing is verified, and the output says so
    #[arg(long, value_name = "PATH")]
    pub(crate) unlocked: Option<PathBuf>,
}

/// Answer a prompt; chat when there is none and stdin is a terminal
///
/// With --json: one object a line, `{"event":"prefill"|"token"|"text"|"finished",…}`; the last one is `finished` and holds
/// `token_ids`, every token chosen including the one that ended the answer.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// What to answer [default: stdin, if it is not a terminal]
    #[arg(conflicts_with = "ids")]
    pub(crate) prompt: Option<String>,
    /// Continue these token ids instead, as they are
    #[arg(long, value_name = "ID,ID,…", value_delimiter = ',')]
    pub(crate) ids: Option<Vec<u32>>,
    /// Continue the prompt as text, without the chat template
    #[arg(long, conflicts_with_all = ["ids", "system", "vars"])]
    pub(crate) raw: bool,
    /// The system message
    #[arg(long, value_name = "TEXT", conflicts_with = "ids")]
    pub(crate) system: Option<String>,
    /// Set a variable of the chat template, such as enable_thinking=false
    #[arg(long = "var", value_name = "NAME=JSON", value_parser = var, conflicts_with = "ids")]
    pub(crate) vars: Vec<(String, Value)>,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

/// Print how probable a model finds a text: log-likelihood, perplexity, bits per byte
///
/// With --json: `{"ids":[…],"logprobs":[null,-1.23,…],"top":[[[id,logprob],…],…],…}` where `logprobs[t]` is that of `ids[t]`
/// after those before it, and `top[t]` the most probable tokens after `ids[..=t]`.
#[derive(Debug, Args)]
pub(crate) struct ScoreArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// What to score [default: stdin]
    #[arg(conflicts_with = "ids")]
    pub(crate) text: Option<OsString>,
    /// Score these token ids instead, as they are
    #[arg(long, value_name = "ID,ID,…", value_delimiter = ',')]
    pub(crate) ids: Option<Vec<u32>>,
    /// With --json: the N most probable tokens at every position
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) top: usize,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

/// Print the token ids of a text, or with --decode the text of token ids
///
/// With --json: `{"ids":[…]}`, and with --decode also `"text"`.
#[derive(Debug, Args)]
pub(crate) struct TokenizeArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The text, or with --decode the ids [default: stdin, bytes as they are]
    pub(crate) text: Option<OsString>,
    /// Add no tokens (such as BOS) of the tokenizer's own, and with --decode print no control tokens
    #[arg(long)]
    pub(crate) no_special: bool,
    /// Read ids, separated by commas or spaces, or the object that --json prints
    #[arg(long)]
    pub(crate) decode: bool,
}

/// Print exactly the prompt that a chat template makes of a conversation, and nothing else
///
/// With --json: `{"prompt":"…"}`.
#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// A template on its own; what a model would give it (such as bos_token) comes by --var
    #[arg(long, value_name = "FILE", conflicts_with_all = ["model", "unlocked"])]
    pub(crate) template: Option<PathBuf>,
    /// The conversation: an array of {"role": …, "content": …}; `-` is stdin
    #[arg(long, value_name = "FILE.json")]
    pub(crate) messages: PathBuf,
    /// The tools: an array of JSON Schema functions
    #[arg(long, value_name = "FILE.json")]
    pub(crate) tools: Option<PathBuf>,
    /// Set a variable of the template
    #[arg(long = "var", value_name = "NAME=JSON", value_parser = var)]
    pub(crate) vars: Vec<(String, Value)>,
    /// Do not ask for an answer at the end
    #[arg(long)]
    pub(crate) no_generation_prompt: bool,
}

/// Write models.lock: hash every file of every model of models.toml
#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// Write nothing; fail if the lock would change, and say what a person must know
    #[arg(long)]
    pub(crate) check: bool,
}

/// Hash the files of models and compare them with models.lock
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Models to verify [default: all of the lock]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Write a model of models.lock as one GGUF file with smaller weights
///
/// With --json: `{"model":"…","file":"…","recipe":"q4_k_m/1","result":"sha256:…","tensors":…,"bytes":…}`; `result` is what
/// models.lock records where models.toml says `quantize`.
#[derive(Debug, Args)]
pub(crate) struct QuantizeArgs {
    /// The model, of safetensors or of an unquantized GGUF; `default` is the one that models.toml names
    pub(crate) name: String,
    /// What to write; its name ends in .gguf
    #[arg(value_name = "OUT.gguf")]
    pub(crate) out: PathBuf,
    /// The recipe [default: what models.toml says by `quantize`]
    #[arg(long, value_name = "RECIPE", value_parser = recipe)]
    pub(crate) to: Option<&'static Recipe>,
    /// Replace a file that is there
    #[arg(long)]
    pub(crate) force: bool,
    /// Threads that quantize [default: one for each core]
    #[arg(short, long, value_name = "N", value_parser = at_most(1024))]
    pub(crate) threads: Option<usize>,
}

fn recipe(name: &str) -> Result<&'static Recipe, String> {
    let known = || RECIPES.iter().map(|recipe| recipe.name).collect::<Vec<_>>().join(", ");
    Recipe::find(name).ok_or_else(|| format!("expected one of {}", known()))
}

/// `NAME=JSON`.
fn var(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=JSON")?;
    let value = serde_json::from_str(value).map_err(|error| format!("{error}; a text is written '{name}=\"…\"'"))?;
    Ok((name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn parse(line: &str) -> Result<Command, ErrorKind> {
        let cli = Cli::try_parse_from(std::iter::once("plimsoll").chain(line.split(' ')));
        cli.map(|cli| cli.command).map_err(|error| error.kind())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_forms_that_scripts_rely_on() {
        let Ok(Command::Score(score)) = parse("score --model m --ids 3,17,42 --top 5 --json") else { panic!() };
        assert_eq!((score.ids, score.top, score.model.model), (Some(vec![3, 17, 42]), 5, Some("m".into())));
        let Ok(Command::Run(run)) =
            parse("run --unlocked p --ids 3,17 --max-tokens 40 --temperature 0 --ignore-eos --json")
        else {
            panic!()
        };
        assert_eq!((run.ids, run.sampling.max_tokens, run.sampling.ignore_eos), (Some(vec![3, 17]), Some(40), true));
        let Ok(Command::Tokenize(tokenize)) = parse("tokenize --unlocked p --no-special --decode --json") else {
            panic!()
        };
        assert!(tokenize.no_special && tokenize.decode && tokenize.text.is_none());
        let line = "render --template t --messages m --tools t --var a=1 --var b=[\"x\"] --no-generation-prompt";
        let Ok(Command::Render(render)) = parse(line) else { panic!() };
        assert_eq!(render.vars, [("a".to_owned(), 1.into()), ("b".to_owned(), serde_json::json!(["x"]))]);
        let Ok(Command::Lock(lock)) = parse("lock --check --manifest a.toml --lock a.lock") else { panic!() };
        assert!(lock.check);
        let Ok(Command::Quantize(quantize)) = parse("quantize m out.gguf --to q4_k_m --json") else { panic!() };
        assert_eq!((quantize.name.as_str(), quantize.to.map(|to| to.name)), ("m", Some("q4_k_m")));
    }

    #[test]
    fn what_does_not_go_together() {
        for line in [
            "run x --ids 1",
            "run --raw --system s x",
            "run --model a --unlocked b x",
            "score x --ids 1",
            "render --model a --template t --messages m",
            "render --unlocked a --template t --messages m",
        ] {
            assert_eq!(parse(line).unwrap_err(), ErrorKind::ArgumentConflict, "{line}");
        }
        for line in [
            "run --ids 1,x",
            "run --ids -1",
            "run --max-tokens -1 x",
            "run --temperature hot x",
            "render --messages m --var a",
            "quantize m out.gguf --to q5",
        ] {
            assert_eq!(parse(line).unwrap_err(), ErrorKind::ValueValidation, "{line}");
        }
        assert_eq!(parse("render --model a").unwrap_err(), ErrorKind::MissingRequiredArgument);
        assert_eq!(parse("run a b").unwrap_err(), ErrorKind::UnknownArgument);
    }
}
