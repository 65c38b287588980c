//! The published schema's verdict on one request.

use std::collections::BTreeMap;

use super::{Input, Schema, check};
use crate::sim::builder::{Dialect, SimError};
use crate::sim::decode::{decode_form, decode_json};

/// What the schema says of a request, before anything is looked up or done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its parameters are valid.
    Valid,
    /// 400: texts by parameter.
    Invalid(BTreeMap<String, String>),
    /// 400: the body cannot be decoded.
    Unreadable,
    /// 501: there is no such method on that path.
    NoMethod,
}

impl Verdict {
    /// Asks the schema of a version. `path` is without `/api2/json`; `json` says that the body is
    /// JSON, else it is a form.
    ///
    /// # Errors
    /// The schema that is built in cannot be loaded.
    pub fn of(
        dialect: Dialect,
        method: &str,
        path: &str,
        json: bool,
        body: &str,
    ) -> Result<Self, SimError> {
        let schema = Schema::load(dialect)?;
        let parts: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let Some((endpoint, places)) = schema.find(method, &parts) else {
            return Ok(Self::NoMethod);
        };
        let mut params = if json {
            match decode_json(body.as_bytes()) {
                Ok(params) => params,
                Err(_) => return Ok(Self::Unreadable),
            }
        } else {
            decode_form(body)
        };
        params.extend(places.into_iter().map(|(key, value)| (key, Input::Text(value))));
        Ok(check(endpoint, &mut params).map_or_else(Self::Invalid, |()| Self::Valid))
    }
}
