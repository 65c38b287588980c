//! Who calls: API tokens, tickets and the token against cross-site requests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding_lite::decode;

use super::digest;
use super::fail::Fail;
use super::state::State;

/// A small decoder of percent escapes.
pub(crate) mod percent_encoding_lite {
    /// Decodes `%XX`; broken escapes stay as they are. Invalid UTF-8 is replaced.
    pub(crate) fn decode(text: &str, plus: bool) -> String {
        let bytes = text.as_bytes();
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some((first, tail)) = rest.split_first() {
            rest = tail;
            match *first {
                b'%' => {
                    let pair = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
                    match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
                        Some(byte) => {
                            out.push(byte);
                            rest = tail.get(2..).unwrap_or_default();
                        }
                        None => out.push(b'%'),
                    }
                }
                b'+' if plus => out.push(b' '),
                byte => out.push(byte),
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Identity {
    /// `user@realm`, empty for nobody.
    pub(crate) user: String,
    /// The token's id.
    pub(crate) token: Option<String>,
}

impl Identity {
    /// `user@realm` or `user@realm!token`.
    pub(crate) fn full(&self) -> String {
        match &self.token {
            Some(token) => format!("{}!{token}", self.user),
            None => self.user.clone(),
        }
    }
}

const LIFE: u64 = 2 * 3600;
const AHEAD: u64 = 300;

fn sign(state: &State, kind: &str, text: &str) -> String {
    STANDARD_NO_PAD
        .encode(digest::sha256(format!("{}\n{kind}\n{text}", state.ticket_key).as_bytes()))
}

/// Makes a ticket and its CSRF token.
pub(crate) fn ticket(state: &State, user: &str, now: u64) -> (String, String) {
    let plain = format!("PVE:{user}:{now:08X}");
    let ticket = format!("{plain}::{}", sign(state, "ticket", &plain));
    let csrf = format!("{now:08X}:{}", sign(state, "csrf", &format!("{now:08X}:{user}")));
    (ticket, csrf)
}

/// Makes what a user with a second factor gets in place of a ticket.
pub(crate) fn challenge(state: &State, user: &str, now: u64) -> String {
    let plain = format!("PVE:!tfa!%7B%22totp%22%3Atrue%7D:{now:08X}");
    format!("{plain}::{}", sign(state, "tfa", &format!("{plain}:{user}")))
}

/// Whether a challenge is one that this user got.
pub(crate) fn verify_challenge(state: &State, challenge: &str, user: &str, now: u64) -> bool {
    let Some((plain, signature)) = challenge.split_once("::") else { return false };
    let stamp = plain.rsplit_once(':').map_or("", |(_, stamp)| stamp);
    fresh(stamp, now) && signature == sign(state, "tfa", &format!("{plain}:{user}"))
}

fn fresh(stamp: &str, now: u64) -> bool {
    u64::from_str_radix(stamp, 16)
        .is_ok_and(|time| time <= now + AHEAD && now.saturating_sub(time) < LIFE)
}

/// The user of a valid ticket.
pub(crate) fn verify_ticket(state: &State, ticket: &str, now: u64) -> Option<String> {
    let (plain, signature) = ticket.split_once("::")?;
    let (user, stamp) = plain.strip_prefix("PVE:")?.rsplit_once(':')?;
    let known = state
        .users
        .get(user)
        .is_some_and(|user| user.enable && (user.expire == 0 || user.expire > now));
    (known && fresh(stamp, now) && signature == sign(state, "ticket", plain))
        .then(|| user.to_owned())
}

fn verify_csrf(state: &State, token: &str, user: &str, now: u64) -> bool {
    let Some((stamp, signature)) = token.split_once(':') else { return false };
    fresh(stamp, now) && signature == sign(state, "csrf", &format!("{stamp}:{user}"))
}

/// Whether the password is right, a valid ticket of the same user being one as well.
pub(crate) fn verify_password(state: &State, user: &str, password: &str, now: u64) -> bool {
    let Some(found) = state.users.get(user) else { return false };
    if !found.enable || (found.expire != 0 && found.expire <= now) {
        return false;
    }
    if password.starts_with("PVE:") {
        return verify_ticket(state, password, now)
            .is_some_and(|owner| owner == user || owner == "root@pam");
    }
    found.password_sha256.as_deref() == Some(digest::sha256(password.as_bytes()).as_str())
}

fn verify_token(state: &State, text: &str, now: u64) -> Option<Identity> {
    let (id, secret) = text.split_once('=').or_else(|| text.split_once(' '))?;
    let (user, token) = id.split_once('!')?;
    let owner = state.users.get(user)?;
    let found = owner.tokens.get(token)?;
    let live = |expire: u64| expire == 0 || expire > now;
    let good = found.secret_sha256 == digest::sha256(secret.trim().as_bytes());
    (owner.enable && live(owner.expire) && live(found.expire) && good)
        .then(|| Identity { user: user.to_owned(), token: Some(token.to_owned()) })
}

/// What is wrong with a token that was refused.
fn why_not(state: &State, text: &str) -> String {
    let id = text.split(['=', ' ']).next().unwrap_or_default();
    let (user, token) = id.split_once('!').unwrap_or((id, ""));
    let owner = state.users.get(user);
    match owner.map(|owner| owner.tokens.contains_key(token)) {
        None => format!("no such user ('{user}')"),
        Some(false) => format!("no such token '{token}' for user '{user}'"),
        Some(true) => "invalid token value!".to_owned(),
    }
}

/// Identifies the caller of a request.
///
/// # Errors
/// 401.
pub(crate) fn identify(
    state: &State,
    headers: &http::HeaderMap,
    write: bool,
    upload: bool,
    now: u64,
) -> Result<Identity, Fail> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = text("authorization").unwrap_or_default();
    let failed = |why: &str| {
        // Before 9.1.5 the server told what was wrong.
        let told = if state.tells_why { why } else { "Authentication failed!" };
        Fail::unauthorized(told)
    };
    if let Some(token) = authorization.strip_prefix("PVEAPIToken") {
        let token = token.strip_prefix(['=', ' ']).unwrap_or(token);
        return verify_token(state, token, now).ok_or_else(|| failed(&why_not(state, token)));
    }
    let cookies = text("cookie").unwrap_or_default();
    let cookie = cookies.split(';').find_map(|part| part.trim().strip_prefix("PVEAuthCookie="));
    let ticket = match cookie {
        Some(cookie) => decode(cookie, false),
        None if authorization.starts_with("PVE:") || authorization.starts_with("PVE%3A") => {
            decode(authorization, false)
        }
        None => return Err(Fail::unauthorized("No ticket")),
    };
    let refused = || failed("permission denied - invalid PVE ticket");
    let user = verify_ticket(state, &ticket, now).ok_or_else(refused)?;
    if write && !upload {
        let csrf = text("csrfpreventiontoken").unwrap_or_default();
        if !verify_csrf(state, csrf, &user, now) {
            return Err(Fail::unauthorized("Permission denied - invalid csrf token"));
        }
    }
    Ok(Identity { user, token: None })
}
