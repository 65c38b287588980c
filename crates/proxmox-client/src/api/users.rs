//! Users, groups, tokens and roles, made and removed.

use http::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

use crate::api::{Access, UserRow};
use crate::client::{Parameters, escape};
use crate::config::Auth;
use crate::error::{Error, ErrorKind, Result};

/// A group of users.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct GroupRow {
    /// Its id.
    pub groupid: String,
    /// What is written on it.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub comment: Option<String>,
    /// Its users, where they may be seen.
    #[serde(default, deserialize_with = "crate::loose::text")]
    pub users: Option<String>,
}

/// A token that was made. Its secret is shown this once.
#[derive(Debug)]
#[non_exhaustive]
pub struct NewToken {
    /// `user@realm!name`.
    pub id: String,
    /// The secret.
    pub secret: SecretString,
}

impl NewToken {
    /// What a client needs to be this token.
    pub fn auth(&self) -> Auth {
        Auth::Token { id: self.id.clone(), secret: self.secret.clone() }
    }
}

/// What answers a call that makes a secret.
#[derive(Deserialize)]
struct Made {
    value: String,
}

fn user_path(user: &str) -> String {
    format!("/access/users/{}", escape(user))
}

fn token_path(user: &str, token: &str) -> String {
    format!("{}/token/{}", user_path(user), escape(token))
}

impl Access<'_> {
    /// A user with its groups, none when it is not there or may not be seen: from the list, since
    /// of one that is not there the server only says that it may not be read.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn user(&self, user: &str) -> Result<Option<UserRow>> {
        let rows: Vec<UserRow> = self.client.get("/access/users", &[("full", "1")]).await?;
        Ok(rows.into_iter().find(|row| row.userid == user))
    }

    async fn write(&self, method: Method, path: &str, keys: &Parameters<'_>) -> Result<()> {
        self.client.call::<Option<Value>>(method, path, keys).await.map(drop)
    }

    /// `POST /access/users`: `user@realm`, with keys such as `comment`, `email`, `groups`,
    /// `enable`, `expire`, `password`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn create_user(&self, user: &str, keys: &Parameters<'_>) -> Result<()> {
        let mut all = vec![("userid", user)];
        all.extend_from_slice(keys);
        self.write(Method::POST, "/access/users", &all).await
    }

    /// `PUT /access/users/{userid}`: keys that are not named stay, but for `groups` without
    /// `append`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn set_user(&self, user: &str, keys: &Parameters<'_>) -> Result<()> {
        self.write(Method::PUT, &user_path(user), keys).await
    }

    /// `DELETE /access/users/{userid}`, with its tokens.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call); [`ErrorKind::Invalid`] for `root@pam`, which the
    /// server would strip of its tokens.
    pub async fn delete_user(&self, user: &str) -> Result<()> {
        if user == "root@pam" {
            let text = "root@pam cannot be removed: the server would only remove its tokens";
            return Err(Error::new(ErrorKind::Invalid, "DELETE /access/users", text));
        }
        self.write(Method::DELETE, &user_path(user), &[]).await
    }

    /// `POST /access/users/{userid}/token/{tokenid}`, with keys such as `privsep`, `expire`,
    /// `comment`. Without `privsep=0` it may do nothing until it is granted something.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn create_token(
        &self,
        user: &str,
        token: &str,
        keys: &Parameters<'_>,
    ) -> Result<NewToken> {
        let path = token_path(user, token);
        let made: Made = self.client.call(Method::POST, &path, keys).await?;
        Ok(NewToken { id: format!("{user}!{token}"), secret: made.value.into() })
    }

    /// `PUT /access/users/{userid}/token/{tokenid}`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn set_token(&self, user: &str, token: &str, keys: &Parameters<'_>) -> Result<()> {
        self.write(Method::PUT, &token_path(user, token), keys).await
    }

    /// `PUT /access/users/{userid}/token/{tokenid}` with `regenerate` (9.2): another secret. The one
    /// before stops working.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn regenerate_token(&self, user: &str, token: &str) -> Result<NewToken> {
        let path = token_path(user, token);
        let made: Made = self.client.call(Method::PUT, &path, &[("regenerate", "1")]).await?;
        Ok(NewToken { id: format!("{user}!{token}"), secret: made.value.into() })
    }

    /// `DELETE /access/users/{userid}/token/{tokenid}`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn delete_token(&self, user: &str, token: &str) -> Result<()> {
        self.write(Method::DELETE, &token_path(user, token), &[]).await
    }

    /// `GET /access/groups`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn groups(&self) -> Result<Vec<GroupRow>> {
        self.client.get("/access/groups", &[]).await
    }

    /// `POST /access/groups`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn create_group(&self, group: &str, comment: &str) -> Result<()> {
        let keys = [("groupid", group), ("comment", comment)];
        self.write(Method::POST, "/access/groups", &keys).await
    }

    /// `PUT /access/groups/{groupid}`: writes another comment on a group.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn set_group(&self, group: &str, comment: &str) -> Result<()> {
        let path = format!("/access/groups/{}", escape(group));
        self.write(Method::PUT, &path, &[("comment", comment)]).await
    }

    /// `DELETE /access/groups/{groupid}`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn delete_group(&self, group: &str) -> Result<()> {
        self.write(Method::DELETE, &format!("/access/groups/{}", escape(group)), &[]).await
    }

    /// `DELETE /access/roles/{roleid}`.
    ///
    /// # Errors
    /// As [`Client::call`](crate::Client::call).
    pub async fn delete_role(&self, role: &str) -> Result<()> {
        self.write(Method::DELETE, &format!("/access/roles/{}", escape(role)), &[]).await
    }
}
