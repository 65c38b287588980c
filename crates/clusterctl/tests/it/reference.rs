//! The reference names everything that the program can say.

use std::collections::BTreeSet;
use std::path::Path;

/// Codes such as `tree-0001` in a text.
fn codes(text: &str, found: &mut BTreeSet<String>) {
    for (at, _) in text.match_indices("tree-") {
        let code = text.get(at..at + 9).unwrap_or_default();
        if code.get(5..).is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit())) {
            found.insert(code.to_owned());
        }
    }
}

fn codes_below(dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs_err::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            codes_below(&path, found);
        } else {
            codes(&fs_err::read_to_string(&path).unwrap(), found);
        }
    }
}

#[test]
fn every_code_of_a_finding_has_its_line() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut said, mut written) = (BTreeSet::new(), BTreeSet::new());
    codes_below(&here.join("src"), &mut said);
    let reference = here.join("../../docs/reference/findings.md");
    codes(&fs_err::read_to_string(reference).unwrap(), &mut written);
    assert!(said.len() > 30);
    assert_eq!(said, written);
}
