//! The environment: read here, once, and handed on as values.

use std::collections::BTreeMap;

/// The variables of the process, and what the terminal is like.
#[derive(Clone)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Standard input is a terminal: questions may be asked.
    pub can_ask: bool,
    /// Standard error is a terminal that lines can be drawn over on.
    pub can_draw: bool,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secret.
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Environment {
    /// Reads the environment of the process. Variables that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        use std::io::IsTerminal as _;
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            variables,
            can_ask: std::io::stdin().is_terminal(),
            can_draw: std::io::stderr().is_terminal()
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        }
    }

    /// One variable; one that is set but empty is `Some("")`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// All variables.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// Colour is wanted: a terminal, and `NO_COLOR` is not set.
    pub fn wants_colour(&self) -> bool {
        self.can_draw && self.get("NO_COLOR").is_none_or(str::is_empty)
    }
}
