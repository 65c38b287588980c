use super::*;

#[test]
fn keys_read_back_under_the_label_that_talos_gives_them() {
    for (kind, label) in
        [(KeyKind::Ed25519, "ED25519 PRIVATE KEY"), (KeyKind::EcdsaP256, "EC PRIVATE KEY")]
    {
        let key = PrivateKey::generate(kind).unwrap();
        let pem = key.to_pem().unwrap();
        assert_eq!(pem.label(), label);
        let again = PrivateKey::parse(&Pem::parse(&pem.text()).unwrap()).unwrap();
        assert_eq!(again.kind(), kind);
        assert_eq!(again.public_key(), key.public_key());
    }
    let seed = PrivateKey::generate(KeyKind::Ed25519).unwrap().to_pem().unwrap();
    assert_eq!(seed.der().len(), 48);
}

#[test]
fn a_broken_block_is_refused_and_a_key_is_never_shown() {
    for bad in ["", "-----BEGIN X-----", "-----BEGIN X-----\n@@\n-----END X-----\n"] {
        assert!(Pem::parse(bad).is_err(), "{bad}");
    }
    let key = PrivateKey::generate(KeyKind::Ed25519).unwrap();
    let text = key.to_pem().unwrap().text();
    let secret = text.lines().nth(1).unwrap().to_owned();
    assert!(!format!("{key:?} {:?}", key.to_pem().unwrap()).contains(&secret));
}
