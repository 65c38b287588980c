use super::{CelError, Environment, Wanted, check};

/// Expressions of every kind, with what Talos itself says to them.
#[test]
fn expressions_are_taken_and_refused_as_a_node_does() {
    let file = std::fs::File::open("tests/fixtures/cel/expressions.json").unwrap();
    let cases: Vec<(String, String, bool)> = serde_json::from_reader(file).unwrap();
    assert!(cases.len() > 1000);
    let mut wrong = Vec::new();
    for (environment, text, taken) in &cases {
        let (environment, wanted) = match environment.as_str() {
            "disk" => (Environment::Disk, Wanted::Bool),
            "volume" => (Environment::Volume, Wanted::Bool),
            "link" => (Environment::Link, Wanted::Bool),
            "trigger" => (Environment::OomTrigger, Wanted::Bool),
            _ => (Environment::OomRanking, Wanted::Double),
        };
        let found = check(text, environment, 13, wanted);
        if found.is_ok() != *taken {
            wrong.push(format!("{text}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn refused(text: &str) -> String {
    check(text, Environment::Disk, 13, Wanted::Bool).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    assert_eq!(refused("disk.size >"), "column 12: the end where a value should be");
    assert_eq!(refused("disk.size"), "the expression is of type uint, not bool");
    assert_eq!(refused("disk.size > 10"), "column 11: \">\" does not take (uint, int)");
    assert_eq!(refused("dsk.size > 10u"), "column 1: there is no \"dsk\"");
    assert_eq!(
        refused("disk.sizes > 10u"),
        "column 5: talos.resource.definitions.block.DiskSpec has no field \"sizes\""
    );
    assert_eq!(refused("'a"), "column 1: a text without an end");
    assert_eq!(refused("true && let"), "column 9: `let` is reserved");
}

#[test]
fn a_field_is_there_from_its_version_on() {
    let check = |text: &str, environment, minor| check(text, environment, minor, Wanted::Bool);
    let firmware = "disk.firmware_version == ''";
    assert!(check(firmware, Environment::Disk, 13).is_err());
    assert!(check(firmware, Environment::Disk, 14).is_ok());
    let vrf = "has(link.vrf_master.table)";
    assert!(check(vrf, Environment::Link, 12).is_err());
    assert!(check(vrf, Environment::Link, 13).is_ok());
}

#[test]
fn nothing_makes_the_parser_fall() {
    let deep = |open: &str, close: &str| open.repeat(5000) + "1" + &close.repeat(5000);
    let hostile = [
        deep("(", ")"),
        deep("[", "]"),
        deep("{1: ", "}"),
        deep("-", ""),
        deep("size(", ")"),
        deep("a ? ", " : b"),
        "1+".repeat(50_000) + "1",
        "a.b".repeat(20_000),
        "[1]".to_owned() + &".map(x, x)".repeat(5000),
        "optional.of(1)".to_owned() + &".optMap(x, x)".repeat(100),
        "'".repeat(3),
        "b".to_owned(),
        "\u{0}\u{feff}".to_owned(),
        "0x".to_owned(),
        "'\\".to_owned(),
        "'\\u".to_owned(),
    ];
    for text in hostile {
        let found: Result<(), CelError> = check(&text, Environment::OomTrigger, 13, Wanted::Bool);
        assert!(found.is_err(), "{}", text.chars().take(40).collect::<String>());
    }
}
