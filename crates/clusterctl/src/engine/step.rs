//! What one step of a plan is, and what can come of it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What a step does: a closed, serialisable type of the program that uses the engine.
pub trait Action:
    Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static
{
}

impl<T: Clone + fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static> Action for T {}

/// Names a step within a plan; unique, stable over runs, and readable: it is what a journal and
/// a report show.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(String);

impl StepId {
    /// Makes an id from its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a change costs whoever uses the thing that is changed; ordered from nothing to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Impact {
    /// Nothing that exists is touched.
    None,
    /// Takes effect while everything runs on.
    Live,
    /// A service restarts.
    RestartService,
    /// A machine reboots.
    Reboot,
    /// The thing is made anew; what it held is gone.
    Replace,
    /// The thing is removed.
    Destroy,
}

impl fmt::Display for Impact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Live => "live",
            Self::RestartService => "restart-service",
            Self::Reboot => "reboot",
            Self::Replace => "replace",
            Self::Destroy => "destroy",
        })
    }
}

/// A place of which only so many steps may hold one at a time: a VMID, a storage, a disruption
/// domain. How many is set per class in [`super::Limits`]; one unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The kind of thing, such as `vmid` or `storage`.
    pub class: String,
    /// Which one.
    pub key: String,
}

impl Token {
    /// Makes a token.
    pub fn new(class: impl Into<String>, key: impl Into<String>) -> Self {
        Self { class: class.into(), key: key.into() }
    }
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step<A> {
    /// Unique within the plan.
    pub id: StepId,
    /// The part of the whole that the step belongs to; summaries are per stage.
    pub stage: String,
    /// What the step does, for people: imperative, one line.
    pub title: String,
    /// What is done.
    pub action: A,
    /// What it costs.
    pub impact: Impact,
    /// Why it is in the plan.
    pub reasons: Vec<String>,
    /// Steps that must have succeeded before.
    pub after: BTreeSet<StepId>,
    /// What it must hold while it runs.
    pub tokens: BTreeSet<Token>,
    /// How long it usually takes, in milliseconds; long chains start first.
    pub estimate_ms: u64,
    /// How long it may take, waiting and retries included, in milliseconds.
    pub budget_ms: u64,
}

impl<A> Step<A> {
    /// How long the step may take in all.
    pub fn budget(&self) -> Duration {
        Duration::from_millis(self.budget_ms)
    }
}

/// What a look at the world says of a step before it is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// The step's effect is there already.
    Done(String),
    /// The step can be carried out.
    Ready,
    /// Not yet: the world is not as the step needs it, but will be.
    NotYet(String),
}

/// Why a step was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepError {
    /// Somebody else holds what is needed, or it is not there yet: try again later.
    Later(String),
    /// The request may or may not have had its effect: check, then decide.
    Uncertain(String),
    /// It failed, and trying again would not help.
    Failed {
        /// What happened, with its causes.
        message: String,
        /// What to do next.
        help: Option<String>,
    },
}

impl StepError {
    /// A failure without advice.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), help: None }
    }

    /// A failure with advice.
    pub fn failed_with_help(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), help: Some(help.into()) }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Later(message) | Self::Uncertain(message) | Self::Failed { message, .. } => {
                f.write_str(message)
            }
        }
    }
}

impl std::error::Error for StepError {}
