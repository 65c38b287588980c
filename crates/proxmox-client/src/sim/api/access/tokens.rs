//! Tokens of users.

use serde_json::{Map, Value, json};

use crate::sim::api::Row;
use crate::sim::digest;
use crate::sim::fail::Fail;
use crate::sim::reply::Call;
use crate::sim::state::Token;

pub(super) const ROUTES: &[Row] = &[
    ("GET", "/access/users/{userid}/token", tokens),
    ("GET", "/access/users/{userid}/token/{tokenid}", read_token),
    ("POST", "/access/users/{userid}/token/{tokenid}", create_token),
    ("PUT", "/access/users/{userid}/token/{tokenid}", update_token),
    ("DELETE", "/access/users/{userid}/token/{tokenid}", delete_token),
];

fn missing_token(call: &Call<'_>) -> Fail {
    Fail::die(format!(
        "no such token '{}' for user '{}'",
        call.text("tokenid"),
        call.text("userid")
    ))
}

fn token_of<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Token, Fail> {
    let (user, id) = (call.text("userid"), call.text("tokenid"));
    let absent = missing_token(call);
    if !call.state.users.contains_key(&user) {
        return Err(Fail::denied(""));
    }
    call.state.users.get_mut(&user).and_then(|user| user.tokens.get_mut(&id)).ok_or(absent)
}

fn tokens(call: &mut Call<'_>) -> Result<Value, Fail> {
    let id = call.text("userid");
    let user = call.state.users.get(&id).ok_or_else(|| Fail::denied(""))?;
    let rows = user.tokens.iter().map(|(id, token)| {
        let mut row = token_row(token);
        row.insert("tokenid".to_owned(), json!(id));
        Value::Object(row)
    });
    Ok(rows.collect())
}

pub(super) fn token_row(token: &Token) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("privsep".to_owned(), json!(u8::from(token.privsep)));
    map.insert("expire".to_owned(), json!(token.expire));
    if let Some(comment) = &token.comment {
        map.insert("comment".to_owned(), json!(comment));
    }
    map
}

fn read_token(call: &mut Call<'_>) -> Result<Value, Fail> {
    Ok(Value::Object(token_row(token_of(call)?)))
}

/// What was sent, echoed as it came.
fn echo(call: &Call<'_>, map: &mut Map<String, Value>) {
    for key in ["privsep", "expire", "comment"] {
        if let Some(text) = call.get(key) {
            map.insert(key.to_owned(), json!(text));
        }
    }
}

fn create_token(call: &mut Call<'_>) -> Result<Value, Fail> {
    let (user, id) = (call.text("userid"), call.text("tokenid"));
    let Some(owner) = call.state.users.get(&user) else { return Err(Fail::denied("")) };
    if owner.tokens.contains_key(&id) {
        return Err(Fail::param("tokenid", "Token already exists."));
    }
    let secret = uuid::Uuid::new_v4().to_string();
    let token = Token {
        privsep: call.get("privsep") != Some("0"),
        expire: call.number("expire").unwrap_or(0),
        comment: call.get("comment").map(str::to_owned),
        secret_sha256: digest::sha256(secret.as_bytes()),
    };
    let mut info = Map::new();
    info.insert("privsep".to_owned(), json!(u8::from(token.privsep)));
    echo(call, &mut info);
    if let Some(owner) = call.state.users.get_mut(&user) {
        owner.tokens.insert(id.clone(), token);
    }
    Ok(json!({"full-tokenid": format!("{user}!{id}"), "value": secret, "info": info}))
}

fn update_token(call: &mut Call<'_>) -> Result<Value, Fail> {
    let mut token = token_of(call)?.clone();
    if let Some(flag) = call.get("privsep") {
        token.privsep = flag == "1";
    }
    token.expire = call.number("expire").unwrap_or(token.expire);
    if let Some(comment) = call.get("comment") {
        token.comment = Some(comment.to_owned());
    }
    for key in call.list("delete") {
        match key.as_str() {
            "comment" => token.comment = None,
            "expire" => token.expire = 0,
            _ => {}
        }
    }
    let mut map = token_row(&token);
    echo(call, &mut map);
    if call.flag("regenerate") {
        let secret = uuid::Uuid::new_v4().to_string();
        token.secret_sha256 = digest::sha256(secret.as_bytes());
        map.insert("value".to_owned(), json!(secret));
        map.insert(
            "full-tokenid".to_owned(),
            json!(format!("{}!{}", call.text("userid"), call.text("tokenid"))),
        );
    }
    *token_of(call)? = token;
    Ok(Value::Object(map))
}

fn delete_token(call: &mut Call<'_>) -> Result<Value, Fail> {
    token_of(call)?;
    let (user, id) = (call.text("userid"), call.text("tokenid"));
    if let Some(owner) = call.state.users.get_mut(&user) {
        owner.tokens.remove(&id);
    }
    let full = format!("{user}!{id}");
    call.state.acl.retain(|row| row.id != full);
    Ok(Value::Null)
}
