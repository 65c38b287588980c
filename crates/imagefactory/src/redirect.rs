//! Where a redirection leads.

use http::header;
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::transport::shown;

/// The URL that a redirection names; it never leads from HTTPS to plain HTTP.
pub(crate) fn target(from: &Url, answer: &reqwest::Response) -> Result<Url> {
    let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
    let wrong = |why: &str| Error::new(ErrorKind::Protocol, format!("{}: {why}", shown(from)));
    let location = location.ok_or_else(|| wrong("a redirection that leads nowhere"))?;
    let next = from
        .join(location)
        .map_err(|source| wrong("a redirection that leads nowhere").with_source(source))?;
    if from.scheme() == "https" && next.scheme() != "https" {
        return Err(wrong("a redirection that leads out of TLS"));
    }
    Ok(next)
}
