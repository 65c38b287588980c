//! Tokens that end as they should. A secret is shown once, with the answer that makes it: where
//! that answer is lost, nobody has the secret, and that is told or mended, never passed over.

use super::{ATTEMPTS, may_work, pause, until};
use crate::api::{Access, NewToken, TokenRow};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::access::{TokenChange, TokenState, diff_token};

/// What is done about a token that was made without anybody getting its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostSecret {
    /// It is an error, and the token stays.
    Tell,
    /// The token gets a new secret, or is removed and made anew before 9.2. Only right where nobody
    /// else makes the token at the same time: theirs would stop working.
    Renew,
}

/// A token that is as it should be.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct TokenDone {
    /// The token with its secret where it was made. None where it was there before: its secret is
    /// with whoever made it, and [`Access::renew_secret`] gives it another one.
    pub made: Option<NewToken>,
    /// Changes to one that was there.
    pub changes: Vec<TokenChange>,
}

/// What a look at a token led to.
enum Step {
    Made(NewToken),
    /// It was there before.
    There,
    /// A call that made it was not answered.
    Unseen,
}

impl Access<'_> {
    /// Gets a token to be so. Its secret is in the answer where it is made here.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call); [`ErrorKind::SecretLost`] where the token was made
    /// and its secret got lost, with [`LostSecret::Tell`]; [`ErrorKind::NotFound`] for a user that
    /// does not exist, or [`ErrorKind::Forbidden`] where the caller may not see which ones do.
    pub async fn ensure_token(&self, desired: &TokenState, lost: LostSecret) -> Result<TokenDone> {
        let (mut attempt, mut unanswered) = (0, false);
        loop {
            let error = match self.token_step(desired, &mut unanswered).await {
                Ok(Step::Made(made)) => {
                    return Ok(TokenDone { made: Some(made), ..TokenDone::default() });
                }
                Ok(Step::There) => {
                    let changes = self.change_token(desired).await?;
                    return Ok(TokenDone { made: None, changes });
                }
                Ok(Step::Unseen) if lost == LostSecret::Tell => return Err(secret_lost(desired)),
                Ok(Step::Unseen) => {
                    let renewed = self.renewed(desired).await;
                    if let Some(made) = renewed.map_err(|error| not_mended(error, desired))? {
                        return Ok(TokenDone { made: Some(made), ..TokenDone::default() });
                    }
                    unanswered = false;
                    continue;
                }
                Err(error) => error,
            };
            let again = may_work(&error) || error.may_have_been_applied();
            if !again || attempt >= ATTEMPTS {
                return Err(if unanswered { not_mended(error, desired) } else { error });
            }
            attempt += 1;
            pause(attempt, &error).await;
        }
    }

    async fn token_step(&self, desired: &TokenState, unanswered: &mut bool) -> Result<Step> {
        match (self.token(desired).await?, *unanswered) {
            (Some(_), true) => return Ok(Step::Unseen),
            (Some(_), false) => return Ok(Step::There),
            (None, _) => {}
        }
        let expire = desired.expire.to_string();
        let mut keys =
            vec![("privsep", if desired.privsep { "1" } else { "0" }), ("expire", expire.as_str())];
        if !desired.comment.is_empty() {
            keys.push(("comment", &desired.comment));
        }
        let made = self.create_token(&desired.user, &desired.name, &keys).await;
        *unanswered |= made.as_ref().is_err_and(Error::may_have_been_applied);
        made.map(Step::Made)
    }

    /// A token that was made a moment ago, with a secret; none where it was removed instead.
    async fn renewed(&self, desired: &TokenState) -> Result<Option<NewToken>> {
        let (user, name) = (desired.user.as_str(), desired.name.as_str());
        if self.client.release().await?.renews_tokens() {
            return self.renew_secret(user, name).await.map(Some);
        }
        // Nothing is granted to it yet that would be lost.
        self.ensure_no_token(user, name).await.map(|_| None)
    }

    async fn token(&self, desired: &TokenState) -> Result<Option<TokenState>> {
        let Some(rows) = self.tokens_of(&desired.user).await? else {
            let text = format!("there is no user {}", desired.user);
            return Err(Error::new(ErrorKind::NotFound, "make a token", text));
        };
        let row = rows.into_iter().find(|row| row.tokenid == desired.name);
        Ok(row.map(|row| state(&desired.user, row)))
    }

    /// Changes to a token that is there.
    async fn change_token(&self, desired: &TokenState) -> Result<Vec<TokenChange>> {
        const OPERATION: &str = "change a token";
        until::done(
            OPERATION,
            || {
                Box::pin(async move {
                    let Some(now) = self.token(desired).await? else {
                        let name = format!("{}!{}", desired.user, desired.name);
                        let text = format!("{name} was removed meanwhile");
                        return Err(Error::new(ErrorKind::NotFound, OPERATION, text));
                    };
                    Ok((diff_token(desired, Some(&now)).into_iter().collect(), ()))
                })
            },
            |change, ()| Box::pin(self.set_token_keys(change)),
        )
        .await
    }

    async fn set_token_keys(&self, change: TokenChange) -> Result<()> {
        match &change {
            TokenChange::Set { token, keys } => {
                let keys = keys.iter().map(|(key, _, after)| (key.as_str(), after.as_str()));
                self.set_token(&token.user, &token.name, &keys.collect::<Vec<_>>()).await
            }
            TokenChange::Create { .. } => Ok(()),
        }
    }

    /// Gives a token another secret (9.2): the one before stops working at once. Where the answer
    /// is lost it is given yet another one.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call); [`ErrorKind::SecretLost`] where an answer was lost
    /// and then none came: the secret before may be dead; [`ErrorKind::Unsupported`] before 9.2,
    /// where a token is removed and made anew, and granted anew what it had.
    pub async fn renew_secret(&self, user: &str, token: &str) -> Result<NewToken> {
        let renewed = until::answered(|| Box::pin(self.regenerate_token(user, token))).await;
        renewed.answer.map_err(|error| {
            if !renewed.lost && !error.may_have_been_applied() {
                return error;
            }
            let text = format!(
                "{user}!{token} may have been given another secret, whose answer was lost, and then none came: the secret before it may not work any more"
            );
            Error::new(ErrorKind::SecretLost, "renew the secret of a token", text)
                .applied(true)
                .because(error)
        })
    }

    /// Removes a token with what was granted to it, and gives whether it was there.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call); [`ErrorKind::Forbidden`] where the caller may not
    /// see the tokens of the user, nor whether the user is there.
    pub async fn ensure_no_token(&self, user: &str, token: &str) -> Result<bool> {
        until::gone(
            || {
                Box::pin(async move {
                    let rows = self.tokens_of(user).await?.unwrap_or_default();
                    Ok(rows.iter().any(|row| row.tokenid == token))
                })
            },
            || Box::pin(self.delete_token(user, token)),
        )
        .await
    }

    /// The tokens of a user, none where it is certain that there is no such user: of one the server
    /// says the same as of one that may not be seen.
    async fn tokens_of(&self, user: &str) -> Result<Option<Vec<TokenRow>>> {
        match self.tokens(user).await {
            Err(error) if error.kind() == ErrorKind::Forbidden => {
                match self.has_user(user).await? {
                    Some(false) => Ok(None),
                    _ => Err(error),
                }
            }
            rows => rows.map(Some),
        }
    }
}

fn state(user: &str, row: TokenRow) -> TokenState {
    TokenState {
        user: user.to_owned(),
        name: row.tokenid,
        privsep: row.privsep,
        expire: row.expire.unwrap_or(0),
        comment: row.comment.unwrap_or_default(),
    }
}

fn secret_lost(desired: &TokenState) -> Error {
    let text = format!(
        "{}!{} was made, but the answer with its secret was lost",
        desired.user, desired.name
    );
    Error::new(ErrorKind::SecretLost, "make a token", text).applied(true)
}

/// What is told where the loss could not be mended.
fn not_mended(error: Error, desired: &TokenState) -> Error {
    if error.kind() == ErrorKind::SecretLost {
        return error;
    }
    let text = format!(
        "the answer with the secret of {}!{} was lost, and then something else went wrong: look whether the token is there",
        desired.user, desired.name
    );
    Error::new(ErrorKind::SecretLost, "make a token", text).applied(true).because(error)
}
