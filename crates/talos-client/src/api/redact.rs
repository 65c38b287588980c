//! Texts of a node about a configuration, without values of the configuration.

/// Names of keys whose values are secret.
const SECRET: [&str; 11] = [
    "key",
    "token",
    "secret",
    "password",
    "auth",
    "identityToken",
    "aescbcEncryptionSecret",
    "secretboxEncryptionSecret",
    "bootstraptoken",
    "privateKey",
    "passphrase",
];

/// A message about a configuration: a difference is cut off, of YAML only the keys are left, and
/// no secret of the configuration that was sent stands in it.
pub(super) fn message(text: &str, config: &[u8]) -> String {
    let text = text.split("\ndiff:").next().unwrap_or(text);
    let text = match text.split_once("unknown keys found during decoding:\n") {
        Some((before, yaml)) => {
            format!("{before}unknown keys found during decoding:\n{}", keys(yaml))
        }
        None => text.to_owned(),
    };
    let mut text = unquoted(&text);
    let config = String::from_utf8_lossy(config);
    for value in secrets(&config) {
        if text.contains(value) {
            text = text.replace(value, "(secret)");
        }
    }
    text
}

/// Lines of YAML, or of a difference of YAML, with what stands behind a key left out. Lines
/// without a key are left out whole.
pub(super) fn keys(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let is_head = ["--- a", "+++ b"].contains(&line) || line.starts_with("@@ ");
        let kept = if is_head { Some(line.to_owned()) } else { key_of(line) };
        match kept {
            Some(line) => out.push_str(&line),
            None if line.trim_matches(['+', '-', ' ']).is_empty() => continue,
            None => {
                let head = line.len() - line.trim_start_matches(['+', '-', ' ']).len();
                out.push_str(line.get(..head).unwrap_or_default());
                out.push('…');
            }
        }
        out.push('\n');
    }
    out
}

/// `  - name: …` of `  - name: value`.
fn key_of(line: &str) -> Option<String> {
    let body = line.trim_start_matches(['+', '-', ' ']);
    let (key, rest) = body.split_once(':')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    if key.is_empty()
        || key.len() > 60
        || !key.chars().all(plain)
        || !(rest.is_empty() || rest.starts_with(' '))
    {
        return None;
    }
    let head = line.len() - body.len();
    let value = if rest.trim().is_empty() { "" } else { " …" };
    Some(format!("{}{key}:{value}", line.get(..head)?))
}

/// Without what a YAML reader quotes from the text: a tag, then the value between backquotes.
fn unquoted(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('`') {
        let Some((_, tail)) = after.split_once('`') else { break };
        out.push_str(before);
        let quoted =
            before.trim_end().rsplit(' ').next().is_some_and(|word| word.starts_with("!!"));
        if quoted {
            out.push('…');
        } else {
            let value = after.get(..after.len() - tail.len() - 1).unwrap_or_default();
            out.push('`');
            out.push_str(value);
            out.push('`');
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// Values behind the names of secrets in YAML text, one-line values only: the long ones are base64
/// without a break.
fn secrets(config: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for line in config.lines() {
        let body = line.trim_start_matches(['-', ' ']);
        let Some((key, value)) = body.split_once(": ") else { continue };
        let key = key.trim_matches('"');
        let value = value.trim().trim_matches(['"', '\'']);
        if SECRET.contains(&key) && value.len() >= 6 && value != "|" {
            found.push(value);
        }
    }
    // The longest first: one may be a part of another.
    found.sort_by_key(|value| std::cmp::Reverse(value.len()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_of_the_configuration_is_shown() {
        let config = b"machine:\n    token: abcdef.0123456789abcdef\n    ca:\n        key: LS0tLS1CRUdJTg==\n";
        let refused =
            "this config change can't be applied in immediate mode\ndiff:\n-  token: abc\n";
        assert_eq!(
            message(refused, config),
            "this config change can't be applied in immediate mode"
        );
        let unknown = "error: unknown keys found during decoding:\nmachine:\n    tokn: my-secret\n    list:\n        - other-secret\n";
        let shown = message(unknown, config);
        assert!(shown.contains("tokn: …") && !shown.contains("secret"), "{shown}");
        let quoted = "cannot unmarshal !!str `my-secr...` into bool";
        assert_eq!(message(quoted, config), "cannot unmarshal !!str … into bool");
        let echoed = "bad token \"abcdef.0123456789abcdef\" and `kind`";
        assert_eq!(message(echoed, config), "bad token \"(secret)\" and `kind`");
    }

    #[test]
    fn a_difference_keeps_its_shape() {
        let text = "--- a\n+++ b\n@@ -1,3 +1,3 @@\n machine:\n-    token: abc\n+    token: def\n     files:\n+        - content: |\n+            my: secret words: here\n+            plain words\n";
        assert_eq!(
            keys(text),
            "--- a\n+++ b\n@@ -1,3 +1,3 @@\n machine:\n-    token: …\n+    token: …\n     files:\n+        - content: …\n+            my: …\n+            …\n"
        );
    }
}
