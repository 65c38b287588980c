//! Where a redirection leads, and the way there.

use http::header;
use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::transport::{Request, Transport, shown};

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

/// Sends a request and follows redirections; a credential stays with its host.
pub(crate) async fn follow(transport: &Transport, request: &Request) -> Result<reqwest::Response> {
    let answer = transport.send(request).await?;
    onward(transport, request, answer).await
}

/// Follows the redirections that begin with an answer; a credential stays with its host.
pub(crate) async fn onward(
    transport: &Transport,
    request: &Request,
    mut answer: reqwest::Response,
) -> Result<reqwest::Response> {
    let mut url = request.url.clone();
    for _ in 0..5 {
        if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(answer);
        }
        let next = target(&url, &answer)?;
        let mut following = Request::new(request.method.clone(), next.clone());
        following.headers = request.headers.clone();
        // Each way on begins with what the first request had.
        if next.origin() != request.url.origin() {
            following.headers.remove(header::AUTHORIZATION);
        }
        url = next;
        answer = transport.send(&following).await?;
    }
    let text = format!("{}: too many redirections", shown(&request.url));
    Err(Error::new(ErrorKind::Protocol, text))
}
