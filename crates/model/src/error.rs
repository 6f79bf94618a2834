/// Why a configuration describes no model that can be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration is not the JSON that was expected.
    #[error("{file}: {reason}")]
    Syntax {
        /// The file.
        file: String,
        /// What the parser says, with line and column.
        reason: String,
    },
    /// A field that has no default is absent.
    #[error("{field} is missing; expected {expected}")]
    Missing {
        /// Name of the field or key.
        field: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// A field has a value that no model can have.
    #[error("{field} is {found}; expected {expected}")]
    Invalid {
        /// Name of the field or key.
        field: String,
        /// Its value.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A field asks for something this version does not compute.
    #[error("{field} is {found}, which is not supported; supported: {supported}")]
    Unsupported {
        /// Name of the field or key.
        field: String,
        /// Its value.
        found: String,
        /// What would be.
        supported: String,
    },
}

impl Error {
    pub(crate) fn missing(field: &str, expected: &'static str) -> Self {
        Self::Missing { field: field.into(), expected }
    }

    /// Puts the name of the file before the field, unless it is there.
    pub(crate) fn in_file(mut self, name: &str) -> Self {
        if let Self::Missing { field, .. } | Self::Invalid { field, .. } | Self::Unsupported { field, .. } = &mut self
            && !field.starts_with(&format!("{name}: "))
        {
            *field = format!("{name}: {field}");
        }
        self
    }

    /// A value out of range; also for the readers of containers, which report their own type errors this way.
    pub fn invalid(field: &str, found: impl ToString, expected: impl ToString) -> Self {
        Self::Invalid { field: field.into(), found: shown(found), expected: expected.to_string() }
    }

    pub(crate) fn unsupported(field: &str, found: impl ToString, supported: impl ToString) -> Self {
        Self::Unsupported { field: field.into(), found: shown(found), supported: supported.to_string() }
    }
}

/// A foreign value for a message: short, and no control characters for a terminal to obey.
fn shown(found: impl ToString) -> String {
    const MOST: usize = 80;
    let found = found.to_string();
    let mut shown: String = found.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if found.chars().nth(MOST).is_some() {
        shown.push_str("...");
    }
    shown
}
