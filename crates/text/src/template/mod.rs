//! Chat templates: Jinja2 as transformers sets it up, byte for byte.
//!
//! minijinja parses and runs them. Where it differs from Python, or knows no limits, its instructions are lowered to
//! our own operators, filters and methods.

mod args;
mod checks;
mod clock;
mod conversation;
mod filters;
mod given;
mod globals;
mod json;
mod limits;
mod lower;
mod methods;
mod operators;
mod priced;
mod python;
mod rendered;
mod select;
mod source;
mod strings;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use minijinja::machinery::{CodeGenerator, eval, make_string_output, parse};
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, Value, escape_formatter};

pub use self::clock::LocalTime;
pub use self::conversation::Conversation;
pub use self::rendered::Rendered;
pub use self::select::Templates;

use crate::error::Error;

/// The name errors carry; also keeps minijinja from escaping HTML.
const NAME: &str = "chat_template";

/// A chat template.
#[derive(Clone, Debug)]
pub struct Template {
    source: String,
    prepared: String,
}

impl Template {
    /// Checks a template.
    ///
    /// # Errors
    /// [`Error::Syntax`] with the line.
    pub fn new(source: impl Into<String>) -> Result<Self, Error> {
        let source = source.into();
        let prepared = source::prepare(&source)?;
        let syntax = source::syntax().map_err(|error| syntax_error(&error))?;
        parse(&prepared, NAME, syntax).map_err(|error| syntax_error(&error))?;
        Ok(Self { source, prepared })
    }

    /// The template as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Renders a conversation to exactly the text that Jinja2 gives.
    ///
    /// # Errors
    /// [`Error::Refused`] where the template raises, [`Error::Render`] where it fails, [`Error::Endless`] where it
    /// takes too long or too much memory.
    pub fn render(&self, conversation: &Conversation) -> Result<String, Error> {
        self.run(conversation.context(None)?)
    }

    /// Compiles and runs. Compiling takes a fraction of a millisecond; what it makes borrows from the source.
    ///
    /// minijinja has panicked on odd templates before (a backward slice of an empty list, `cycle()` of nothing). Those
    /// found are replaced; one that is still to be found fails this rendering and nothing else.
    fn run(&self, context: Value) -> Result<String, Error> {
        let run = std::panic::AssertUnwindSafe(|| self.evaluate(context));
        let panicked = |_| Err(Error::Render { line: 1, message: "the template engine panicked".to_owned() });
        std::panic::catch_unwind(run).unwrap_or_else(panicked)
    }

    fn evaluate(&self, context: Value) -> Result<String, Error> {
        let syntax = source::syntax().map_err(|error| syntax_error(&error))?;
        let ast = parse(&self.prepared, NAME, syntax).map_err(|error| syntax_error(&error))?;
        let mut generator = CodeGenerator::new(NAME, &self.prepared);
        generator.compile_stmt(&ast);
        let (program, blocks) = generator.finish();
        let program = lower::lower(&program);
        let blocks: BTreeMap<_, _> = blocks.iter().map(|(name, block)| (*name, lower::lower(block))).collect();
        let mut text = String::new();
        let mut out = make_string_output(&mut text);
        match eval(&ENVIRONMENT, &program, context, &blocks, &mut out, AutoEscape::None) {
            Ok(_) => Ok(text),
            Err(error) => Err(render_error(&error)),
        }
    }
}

/// What all templates share; it never changes.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut env = Environment::new();
    env.set_fuel(Some(limits::FUEL));
    // Errors then name the variable that is undefined.
    env.set_debug(true);
    env.set_auto_escape_callback(|_| AutoEscape::None);
    env.set_formatter(print);
    env.set_unknown_method_callback(methods::call);
    operators::register(&mut env);
    priced::register(&mut env);
    filters::register(&mut env);
    checks::register(&mut env);
    globals::register(&mut env);
    env
});

/// Prints a value as Python does, paying for it.
fn print(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    if !matches!(state.auto_escape(), AutoEscape::None) {
        limits::charge_tree(state, value)?;
        return escape_formatter(out, state, value);
    }
    if let Some(text) = value.as_str() {
        limits::charge(state, text.len())?;
        return out.write_str(text).map_err(Into::into);
    }
    limits::charge_tree(state, value)?;
    let text = python::str(value);
    limits::charge(state, text.len())?;
    out.write_str(&text).map_err(Into::into)
}

fn message(error: &minijinja::Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match std::error::Error::source(error) {
        Some(source) => format!("{detail}: {source}"),
        None => detail,
    }
}

fn syntax_error(error: &minijinja::Error) -> Error {
    Error::Syntax { line: error.line().unwrap_or(1), message: message(error) }
}

/// Finds out why a rendering stopped: our own errors may lie under those of macros and loops.
fn render_error(error: &minijinja::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(raised) = error.downcast_ref::<globals::Raised>() {
            return Error::Refused { message: raised.0.clone() };
        }
        if let Some(exhausted) = error.downcast_ref::<limits::Exhausted>() {
            return Error::Endless(exhausted.0.clone());
        }
        match error.downcast_ref::<minijinja::Error>().map(minijinja::Error::kind) {
            Some(ErrorKind::OutOfFuel) => return Error::Endless(format!("more than {} instructions", limits::FUEL)),
            Some(ErrorKind::InvalidOperation) if error.to_string().contains("recursion limit") => {
                return Error::Endless("too many macros inside each other".to_owned());
            }
            _ => {}
        }
        cause = error.source();
    }
    Error::Render { line: error.line().unwrap_or(1), message: message(error) }
}
