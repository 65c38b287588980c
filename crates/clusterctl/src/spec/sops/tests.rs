use std::path::Path;

use super::*;

fn key() -> (String, String) {
    use age::secrecy::ExposeSecret as _;
    let identity = age::x25519::Identity::generate();
    (identity.to_string().expose_secret().to_owned(), identity.to_public().to_string())
}

fn identities(key: &str) -> Identities {
    let mut sources = IdentitySources::default();
    sources.variables.insert("SOPS_AGE_KEY".into(), key.into());
    Identities::gather(&sources)
}

fn rule(config: &str) -> Result<CreationRule, SopsError> {
    let options = EncryptOptions::default();
    rule_of(config.as_bytes(), Path::new("/r/.sops.yaml"), Path::new("/r/a/secrets.yaml"), &options)
}

const PLAIN: &str = "user: admin\nport: 5432\nratio: 0.5\non: true\nlist:\n    - a\n    - k: \"\"\nx_unencrypted: y\nmany: |\n    a\n    b\n";

#[test]
fn what_is_encrypted_reads_back_and_a_change_is_seen() {
    let (secret, public) = key();
    let rule =
        rule(&format!("creation_rules:\n  - path_regex: a/.*\n    age: {public}\n")).unwrap();
    for format in [Format::Yaml, Format::Json] {
        let tree = yaml::read(PLAIN.as_bytes()).unwrap();
        let now = "2026-11-24T00:00:00Z";
        let file = encrypt(Plain::Tree(tree.clone()), format, &rule, now).unwrap();
        let text = String::from_utf8(file.bytes.clone()).unwrap();
        assert!(!text.contains("admin") && text.contains("x_unencrypted"), "{text}");
        let opened = decrypt(&file.bytes, format, &mut identities(&secret)).unwrap();
        assert_eq!(opened, Decrypted::Tree(tree));
        let changed = text.replacen("x_unencrypted\": \"y", "x_unencrypted\": \"z", 1);
        let changed = changed.replacen("x_unencrypted: \"y\"", "x_unencrypted: z", 1);
        let error = decrypt(changed.as_bytes(), format, &mut identities(&secret)).unwrap_err();
        assert_eq!(error.class(), SopsClass::MacMismatch);
        let (other, _) = key();
        let error = decrypt(&file.bytes, format, &mut identities(&other)).unwrap_err();
        assert_eq!(error.class(), SopsClass::WrongIdentity);
    }
}

#[test]
fn binary_files_are_wholly_encrypted() {
    let (secret, public) = key();
    let rule = rule(&format!("creation_rules:\n  - age: {public}\n")).unwrap();
    let plain = b"locals {\n  a = 1\n}\n";
    let file = encrypt(Plain::Text(plain), Format::Binary, &rule, "2026-11-24T00:00:00Z").unwrap();
    let opened = decrypt(&file.bytes, Format::Binary, &mut identities(&secret)).unwrap();
    assert!(matches!(opened, Decrypted::Binary(bytes) if bytes.as_slice() == plain));
}

#[test]
fn two_groups_need_two_keys() {
    let ((one, a), (two, b)) = (key(), key());
    let config =
        format!("creation_rules:\n  - key_groups:\n      - age: [{a}]\n      - age: [{b}]\n");
    let rule = rule(&config).unwrap();
    let tree = yaml::read(b"a: b\n").unwrap();
    let file = encrypt(Plain::Tree(tree), Format::Yaml, &rule, "2026-11-24T00:00:00Z").unwrap();
    let error = decrypt(&file.bytes, Format::Yaml, &mut identities(&one)).unwrap_err();
    assert_eq!(error.class(), SopsClass::NotEnoughGroups);
    decrypt(&file.bytes, Format::Yaml, &mut identities(&format!("{one} {two}"))).unwrap();
}

#[test]
fn rules_are_refused_with_their_reason() {
    let class = |config: &str| rule(config).and_then(|rule| rule.check()).unwrap_err().class();
    assert_eq!(class("creation_rules: []\n"), SopsClass::NoConfig);
    assert_eq!(class("creation_rules:\n  - path_regex: nowhere\n"), SopsClass::NoMatchingRule);
    assert_eq!(class("creation_rules:\n  - path_regex: '['\n"), SopsClass::BadPathRegex);
    assert_eq!(class("creation_rules:\n  - age: hello\n"), SopsClass::BadRecipient);
    assert_eq!(class("creation_rules:\n  - pgp: ABCD\n"), SopsClass::UnsupportedKeyService);
    assert_eq!(class("creation_rules:\n  - {}\n"), SopsClass::NoRecipients);
}

#[test]
fn ini_is_refused_by_name() {
    let error = decrypt(b"[a]\nb=c\n", Format::Ini, &mut Identities::default()).unwrap_err();
    assert!(error.to_string().contains("INI"), "{error}");
}

#[test]
fn nothing_of_a_value_is_shown() {
    let tree = yaml::read(b"a: geheim\n").unwrap();
    assert!(!format!("{tree:?}").contains("geheim"));
}

#[test]
fn numbers_lose_their_form_and_stay_what_they_are() {
    let (secret, public) = key();
    let config = format!("creation_rules:\n  - age: {public}\n    encrypted_suffix: _secret\n");
    let rule = rule(&config).unwrap();
    for (format, plain, written) in [
        (Format::Yaml, "a: 1.0\nb: 1e3\nc: -0.0\nd: .nan\n", "a: 1\nb: 1000\nc: -0.0\nd: .nan\n"),
        (Format::Json, "{\"a\": 12345678901234567890}", "\"a\": 1.2345678901234567e+19,"),
    ] {
        let now = "2026-11-24T00:00:00Z";
        let file = encrypt(Plain::Text(plain.as_bytes()), format, &rule, now).unwrap();
        let text = String::from_utf8(file.bytes.clone()).unwrap();
        assert!(text.contains(written), "{text}");
        let opened = decrypt(&file.bytes, format, &mut identities(&secret)).unwrap();
        assert!(opened.same_as_text(plain.as_bytes(), format), "{text}");
        assert!(!opened.same_as_text(b"{\"a\": 2}", format));
    }
}
