//! Findings of derivation.

use crate::finding::{Code, Finding, Owner, Severity};
use crate::input::ClusterInput;
use crate::pattern::{Pattern, PatternError};

/// Collects what goes wrong while one cluster is derived.
pub(super) struct Report<'a> {
    pub(super) cluster: &'a ClusterInput,
    pub(super) findings: &'a mut Vec<Finding>,
}

impl Report<'_> {
    pub(super) fn push(&mut self, code: Code, subject: String, message: String, help: &str) {
        let cluster = self.cluster;
        self.findings.push(Finding {
            code,
            severity: Severity::Error,
            subject,
            message,
            help: help.to_owned(),
            owner: Owner {
                what: format!("cluster {}", cluster.name),
                cluster: Some(cluster.name.to_string()),
                origin: cluster.origin.clone(),
            },
            other: None,
        });
    }

    /// Takes a value out of a result; an error becomes a finding.
    pub(super) fn take<T>(
        &mut self,
        key: &str,
        pattern: &Pattern,
        result: Result<T, PatternError>,
    ) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let code = match error {
            PatternError::Octet { .. } | PatternError::Subnet { .. } => Code::Octet,
            PatternError::Host { .. } => Code::Suffix,
            _ => Code::Pattern,
        };
        let help = match code {
            Code::Octet => format!(
                "set `tenant_id` to a free number that fits, or `{key}` to \
                 `{{ base = \"10.0.0.0/8\", newbits = 16 }}` (the number chooses the subnet), or to \
                 `\"\"` for no such addresses (it is `{pattern}` now)"
            ),
            Code::Suffix => format!("lower the number of nodes, or give `{key}` a larger prefix"),
            _ => format!("correct `{key}` in network-infrastructure.hcl"),
        };
        let subject = format!("cluster {}", self.cluster.name);
        self.push(code, subject, format!("{key}: {error}"), &help);
        None
    }
}
