use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;

fn loader(dir: &Path) -> Rc<Loader> {
    Loader::new(Options {
        strictness: Strictness::Lazy,
        variables: BTreeMap::new(),
        cwd: dir.to_path_buf(),
        boundary: Some(dir.to_path_buf()),
        decrypt: Box::new(|_| Ok(DecryptedText::NoKey("no key is at hand".into()))),
    })
}

fn file(text: &str) -> (tempfile::TempDir, Rc<FileEval>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.hcl");
    fs_err::write(&path, text).unwrap();
    let file = loader(dir.path()).open(&path, None).unwrap();
    (dir, file)
}

#[test]
fn a_sensitive_value_stays_so_and_is_never_shown() {
    let (_dir, file) = file(
        "locals {\n  s = sensitive(\"geheim\")\n  t = \"a${local.s}b\"\n  m = { k = local.s }\n  \
         u = upper(local.m.k)\n  n = tonumber(local.s)\n  l = [for x in [local.s] : x]\n}\n",
    );
    for name in ["t", "u"] {
        let value = file.local(name).unwrap().unwrap();
        assert!(value.sensitive, "{name}");
        assert!(!format!("{value:?}").to_lowercase().contains("geheim"));
    }
    assert!(file.local("l").unwrap().unwrap().has_sensitive());
    let failure = file.local("n").unwrap().unwrap_err();
    assert!(!format!("{failure:?}").contains("geheim"), "{failure:?}");
}

#[test]
fn an_encrypted_value_without_a_key_is_not_known_and_sensitive() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("x.yaml"), "a: b\n").unwrap();
    let path = dir.path().join("a.hcl");
    let text =
        "locals {\n  all = yamldecode(sops_decrypt_file(\"x.yaml\"))\n  a = local.all.token\n}\n";
    fs_err::write(&path, text).unwrap();
    let file = loader(dir.path()).open(&path, None).unwrap();
    let value = file.local("a").unwrap().unwrap();
    assert_eq!(value.unknown_reason(), Some("no key is at hand"));
    assert!(value.sensitive);
}

#[test]
fn what_is_not_known_can_be_no_arguments_yet() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("x.yaml"), "a: b\n").unwrap();
    let path = dir.path().join("a.hcl");
    let text = "locals {\n  all = yamldecode(sops_decrypt_file(\"x.yaml\"))\n  \
                a = try(local.all...)\n  b = can(local.all...)\n  c = max(local.all...)\n}\n";
    fs_err::write(&path, text).unwrap();
    let file = loader(dir.path()).open(&path, None).unwrap();
    for name in ["a", "b", "c"] {
        assert!(file.local(name).unwrap().unwrap().is_unknown(), "{name}");
    }
}

#[test]
fn only_what_is_read_is_evaluated() {
    let (_dir, file) = file("locals {\n  good = 1\n  bad = 1 + \"x\"\n  also = local.bad\n}\n");
    assert_eq!(file.local("good").unwrap().unwrap(), Value::number(1));
    let failure = file.local("also").unwrap().unwrap_err();
    assert_eq!(failure.chain(), ["local.bad", "local.also"]);
}

#[test]
fn a_cycle_is_shown_as_a_path() {
    let (_dir, file) = file("locals {\n  a = local.b\n  b = local.c\n  c = local.a\n}\n");
    let failure = file.check().unwrap_err();
    assert_eq!(failure.class(), Class::Cycle);
    assert!(failure.message().contains("local.a -> local.b -> local.c -> local.a"), "{failure}");
}

#[test]
fn a_misspelt_local_is_told_with_the_near_one() {
    let (_dir, file) = file("locals {\n  cluster_name = \"a\"\n  x = local.cluster_nmae\n}\n");
    let failures = file.reference_failures();
    assert_eq!(failures[0].help_text(), Some("did you mean local.cluster_name?"));
}

#[test]
fn files_stay_inside_of_the_repository() {
    let (_dir, file) =
        file("locals {\n  a = file(\"../../../../etc/passwd\")\n  b = file(\"/etc/passwd\")\n}\n");
    for name in ["a", "b"] {
        let failure = file.local(name).unwrap().unwrap_err();
        assert!(failure.message().contains("outside of the repository"), "{failure}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_does_not_lead_out_of_the_repository() {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc/hostname", dir.path().join("link")).unwrap();
    let path = dir.path().join("a.hcl");
    fs_err::write(&path, "locals {\n  a = file(\"link\")\n}\n").unwrap();
    let file = loader(dir.path()).open(&path, None).unwrap();
    assert!(file.local("a").unwrap().is_err());
}

#[test]
fn an_origin_is_as_deep_as_objects_are_written() {
    let text =
        "locals {\n  net = { mtu = 1450, sub = local.other }\n  other = { vlan = 10 + 1 }\n}\n";
    let (_dir, file) = file(text);
    assert_eq!(file.origin(&["net", "mtu"]).unwrap().1, "1450");
    assert_eq!(file.origin(&["net", "sub", "vlan"]).unwrap().1, "10 + 1");
    assert_eq!(file.origin(&["net", "none"]).unwrap().1, "{ mtu = 1450, sub = local.other }");
}

#[test]
fn run_cmd_is_refused_with_the_reason() {
    let (_dir, file) = file("locals {\n  a = run_cmd(\"date\")\n}\n");
    assert_eq!(file.local("a").unwrap().unwrap_err().class(), Class::RunCmd);
}

#[test]
fn hostile_text_is_refused_quickly() {
    let deep = format!("locals {{\n  a = {}1{}\n}}\n", "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(parse_body(&deep).unwrap_err().class(), Class::Parse);
    for step in [".a", "[0]", ".*", "[*]"] {
        let long = format!("a{}", step.repeat(100_000));
        assert_eq!(parse_expression(&long).unwrap_err().class(), Class::Parse, "{step}");
    }
    let large = " ".repeat(LARGEST_FILE + 1);
    assert_eq!(parse_body(&large).unwrap_err().class(), Class::Parse);
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        drop(parse_body(&text));
        drop(parse_expression(&text));
    }

    #[test]
    fn no_expression_makes_evaluation_panic(
        text in r#"[a-z0-9 \[\]{}().,:?+*/%!=<>&|"$~-]{0,60}"#
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.hcl");
        fs_err::write(&path, format!("locals {{\n  a = {text}\n}}\n")).unwrap();
        if let Ok(file) = loader(dir.path()).open(&path, None) {
            drop(file.local("a"));
        }
    }

    #[test]
    fn numbers_read_back_as_they_are_printed(whole in any::<i64>(), part in 0_u32..1_000_000) {
        let text = format!("{whole}.{part}");
        let number = Number::parse(&text).unwrap();
        prop_assert_eq!(Number::parse(&number.to_string()).unwrap(), number);
    }

    #[test]
    fn json_reads_back_as_it_is_printed(text in "\\PC{0,40}", number in any::<i32>()) {
        let value = Value::object(BTreeMap::from([
            ("t".to_owned(), Value::string(&text)),
            ("n".to_owned(), Value::number(number)),
            ("l".to_owned(), Value::tuple(vec![Value::NULL, Value::bool(true)])),
        ]));
        let read = json::parse(&value.to_json().unwrap()).unwrap();
        prop_assert_eq!(read, value);
    }
}
