//! Proving who calls: tokens, tickets, one-time passwords.

use std::time::{Duration, Instant};

use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::client::{Client, Credentials, Endpoint, Envelope, Sent, escape, parse, send};
use crate::config::Auth;
use crate::error::{Error, ErrorKind, Result};

/// A ticket lives two hours.
const TICKET_AGE: Duration = Duration::from_hours(1);
/// A ticket that is younger than this was refused for another reason than its age.
const FRESH: Duration = Duration::from_secs(5);
/// The path of a login.
const LOGIN: &str = "/access/ticket";

/// A ticket and what goes with it.
#[derive(Clone)]
pub(crate) struct Ticket {
    cookie: SecretString,
    csrf: SecretString,
    since: Instant,
    /// The server refused it.
    stale: bool,
}

#[derive(Deserialize)]
struct Login {
    ticket: String,
    #[serde(rename = "CSRFPreventionToken")]
    csrf: Option<String>,
    #[serde(rename = "NeedTFA", default, deserialize_with = "crate::loose::flag")]
    second_factor: bool,
}

impl Client {
    /// Whether the client is `root@pam` itself: with its password, not with a token of it. There is
    /// what only that may do: see
    /// [`Rights::root_only`](crate::plan::rights::Rights::root_only).
    pub fn is_root(&self) -> bool {
        matches!(self.auth(), Auth::Password { user, .. } if user == "root@pam")
    }

    /// Headers that prove who calls.
    pub(crate) async fn credentials(&self, endpoint: &Endpoint) -> Sent<Credentials> {
        Ok(match self.auth() {
            Auth::Token { id, secret } => {
                vec![("Authorization", format!("PVEAPIToken={id}={}", secret.expose_secret()))]
            }
            Auth::Password { user, password, otp } => {
                let ticket = self.ticket(endpoint, user, password, otp.as_ref()).await?;
                vec![
                    ("Cookie", format!("PVEAuthCookie={}", escape(ticket.cookie.expose_secret()))),
                    ("CSRFPreventionToken", ticket.csrf.expose_secret().to_owned()),
                ]
            }
        })
    }

    /// Notes that the ticket was refused. False where there is none that another could replace.
    pub(crate) async fn renew(&self) -> bool {
        if !matches!(self.auth(), Auth::Password { .. }) {
            return false;
        }
        if let Some(ticket) = self.held_ticket().lock().await.as_mut()
            && ticket.since.elapsed() > FRESH
        {
            ticket.stale = true;
        }
        true
    }

    async fn ticket(
        &self,
        endpoint: &Endpoint,
        user: &str,
        password: &SecretString,
        otp: Option<&SecretString>,
    ) -> Sent<Ticket> {
        let mut held = self.held_ticket().lock().await;
        if let Some(ticket) = held.as_ref() {
            if !ticket.stale && ticket.since.elapsed() < TICKET_AGE {
                return Ok(ticket.clone());
            }
            // A ticket stands in for the password, and for the second factor too.
            match login(
                endpoint,
                &[("username", user), ("password", ticket.cookie.expose_secret())],
            )
            .await
            {
                Ok(answer) if !answer.second_factor => {
                    let ticket = Ticket::new(answer);
                    *held = Some(ticket.clone());
                    return Ok(ticket);
                }
                Err((error, sent)) if error.kind() != ErrorKind::Auth => return Err((error, sent)),
                Ok(_) | Err(_) => *held = None,
            }
        }
        let form = [("username", user), ("password", password.expose_secret())];
        let mut answer = login(endpoint, &form).await?;
        if answer.second_factor {
            answer = second_factor(endpoint, user, &answer.ticket, otp).await?;
        }
        let ticket = Ticket::new(answer);
        *held = Some(ticket.clone());
        drop(held);
        Ok(ticket)
    }
}

impl Ticket {
    fn new(answer: Login) -> Self {
        Self {
            cookie: answer.ticket.into(),
            csrf: answer.csrf.unwrap_or_default().into(),
            since: Instant::now(),
            stale: false,
        }
    }
}

async fn login(endpoint: &Endpoint, form: &[(&str, &str)]) -> Sent<Login> {
    let answer = send(endpoint, &Method::POST, LOGIN, form, Vec::new()).await;
    // A login changes nothing that the caller asked for.
    let bytes = answer.map_err(|(error, sent)| (error.applied(false), sent))?;
    let whole: Result<Envelope<Login>> = parse(endpoint, &bytes, &format!("POST {LOGIN}"), false);
    whole.map(|whole| whole.data).map_err(|error| (error, true))
}

/// Answers the challenge that the first ticket holds.
async fn second_factor(
    endpoint: &Endpoint,
    user: &str,
    challenge: &str,
    otp: Option<&SecretString>,
) -> Sent<Login> {
    let refused = |text: String| {
        let error = Error::new(ErrorKind::Auth, format!("POST {LOGIN}"), text);
        (error.at(endpoint.name()), true)
    };
    let Some(otp) = otp else {
        let known = factors(challenge);
        let known = if known.is_empty() { "unknown".to_owned() } else { known.join(", ") };
        return Err(refused(format!(
            "the user needs a second factor ({known}): give a one-time password, or use an API token"
        )));
    };
    let code = otp.expose_secret();
    let code = if code.contains(':') { code.to_owned() } else { format!("totp:{code}") };
    let form = [("username", user), ("tfa-challenge", challenge), ("password", code.as_str())];
    let answer = login(endpoint, &form).await.map_err(|(error, sent)| {
        if error.kind() == ErrorKind::Auth {
            return refused(
                "the one-time password was refused: it holds once, for half a minute".into(),
            );
        }
        (error, sent)
    })?;
    if answer.second_factor {
        return Err(refused("the server asks for another second factor".to_owned()));
    }
    Ok(answer)
}

/// What a user can answer a challenge with: `PVE:!tfa!{"totp":true,…}:…`, percent-encoded.
fn factors(challenge: &str) -> Vec<String> {
    let encoded = challenge.split_once("!tfa!").map_or("", |(_, rest)| rest);
    let encoded = encoded.split(':').next().unwrap_or_default();
    let text = unescape(encoded);
    let parsed: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&text).unwrap_or_default();
    let is_there = |value: &serde_json::Value| match value {
        serde_json::Value::Null => false,
        serde_json::Value::Bool(flag) => *flag,
        serde_json::Value::String(text) => text != "unavailable",
        _ => true,
    };
    parsed.into_iter().filter(|(_, value)| is_there(value)).map(|(name, _)| name).collect()
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        let pair = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_tells_what_it_can_be_answered_with() {
        let ticket =
            "PVE:!tfa!%7B%22totp%22%3Atrue%2C%22recovery%22%3A%22unavailable%22%7D:6750::c2ln";
        assert_eq!(factors(ticket), ["totp"]);
        assert!(factors("PVE:root@pam:6750::x").is_empty());
        assert!(factors("PVE:!tfa!%7B%2").is_empty());
    }
}
