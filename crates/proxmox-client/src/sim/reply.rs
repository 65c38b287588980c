//! What a handler gets and gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::auth::Identity;
use super::fail::Fail;
use super::perm;
use super::schema::Input;
use super::server::Inner;
use super::state::State;
use super::task::Job;

/// A checked call with the state in hand.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) inner: &'a Arc<Inner>,
    pub(crate) params: BTreeMap<String, Input>,
    pub(crate) user: &'a Identity,
    /// The node that the call is executed on.
    pub(crate) node: String,
    /// Tasks that the call started.
    pub(crate) jobs: Vec<Job>,
    /// More keys of the envelope.
    pub(crate) envelope: Vec<(&'static str, Value)>,
}

impl Call<'_> {
    /// A parameter as text.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.params.get(name).and_then(Input::as_text)
    }

    /// A parameter as text, empty when it is absent.
    pub(crate) fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default().to_owned()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name) == Some("1")
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(|text| text.parse().ok())
    }

    pub(crate) fn vmid(&self) -> u32 {
        self.get("vmid").and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        match self.params.get(name) {
            Some(Input::Text(text)) => {
                super::schema::split_list(text).into_iter().map(str::to_owned).collect()
            }
            Some(Input::List(rows)) => rows.clone(),
            _ => Vec::new(),
        }
    }

    /// Requires a privilege on a path.
    pub(crate) fn require(&self, path: &str, privilege: &str) -> Result<(), Fail> {
        if self.may(path, privilege) {
            Ok(())
        } else {
            Err(Fail::denied(&format!("{path}, {privilege}")))
        }
    }

    pub(crate) fn may(&self, path: &str, privilege: &str) -> bool {
        perm::allows(self.state, self.user, path, &[privilege], true)
    }

    pub(crate) fn now(&self) -> u64 {
        self.inner.clock.now()
    }
}

impl Call<'_> {
    /// Requires one of several privileges on a path.
    pub(crate) fn require_any(&self, path: &str, privileges: &[&str]) -> Result<(), Fail> {
        if perm::allows(self.state, self.user, path, privileges, false) {
            return Ok(());
        }
        Err(Fail::denied(&format!("{path}, {}", privileges.join("|"))))
    }
}
