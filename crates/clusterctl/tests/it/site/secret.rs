//! Nothing secret reaches a plan, a log, a journal, an argument list or a file of others.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use clusterctl::spec::sops::{EncryptOptions, Format, Plain, encrypt, rule_of, time_text};
use talos_client::secrets::Bundle;

use super::{Said, Site, pause};

/// Every secret of a bundle in the forms in which it could leak.
fn secrets(bundle: &Bundle) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in bundle.to_yaml().lines() {
        let Some((key, value)) = line.split_once(": ") else { continue };
        let is_secret = ["key", "secret", "token", "bootstraptoken", "secretboxencryptionsecret"]
            .contains(&key.trim());
        if is_secret && value.trim().len() > 8 {
            let value = value.trim().trim_matches('"');
            found.insert(value.to_owned());
            // Keys are base64 of PEM: their own lines could leak too.
            use base64::Engine as _;
            if let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(value)
                && let Ok(text) = String::from_utf8(bytes)
            {
                found.extend(
                    text.lines()
                        .filter(|l| l.len() > 30 && !l.starts_with("--"))
                        .map(str::to_owned),
                );
            }
        }
    }
    found
}

fn files(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs_err::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn secrets_stay_where_they_belong() {
    let site = Site::new();
    let plan = site.dir.path().join("plan.json");
    let mut said = String::new();
    let mut hear = |one: Said| {
        said.push_str(&one.out);
        said.push_str(&one.err);
    };
    let trace = |args: &[&str]| {
        let args = [&["-vvv"], args].concat();
        Said::of(site.command(&args).env("RUST_LOG", "trace").output().unwrap())
    };
    hear(trace(&["plan", "terra", "--out", plan.to_str().unwrap()]).expect(0));
    let child =
        site.command(&["-vvv", "-y", "--log-format", "json", "apply", "terra"]).spawn().unwrap();
    // Argument lists of all processes while it works.
    let mut arguments = String::new();
    let pid = child.id();
    while fs_err::metadata(format!("/proc/{pid}")).is_ok() && arguments.len() < 4096 {
        for path in [format!("/proc/{pid}/cmdline"), format!("/proc/{pid}/comm")] {
            arguments.push_str(&fs_err::read_to_string(path).unwrap_or_default());
        }
        pause(50);
    }
    hear(Said::of(child.wait_with_output().unwrap()).expect(0));
    for args in [
        &["plan", "-o", "json"][..],
        &["plan", "-o", "markdown", "luna"],
        &["status", "-o", "json"],
        &["health", "terra", "-o", "json"],
        &["doctor", "terra"],
        &["output", "clusters/cluster-103"],
        &["inventory", "-o", "wide"],
        &["destroy", "terra", "--dry-run", "-o", "json"],
    ] {
        let one = trace(args);
        assert!(one.code != 70, "{}", one.err);
        hear(one);
    }
    // A change of a secret field shows as a fingerprint.
    site.edit("clusters/cluster-103/cluster.hcl", "workers", "config_patches = { all = [yamlencode({ cluster = { token = \"abcdef.0123456789abcdef\" } })] }\n  workers");
    let change = trace(&["plan", "terra"]);
    change.says("sha256:");
    assert!(!change.out.contains("0123456789abcdef"), "{}", change.out);
    hear(change);

    let lab = site.lab();
    let tree = lab.tree_dir();
    let opened = clusterctl::compose::bundle::BundleStore::new(
        clusterctl::state::Layout::new(&site.live(), true),
        std::collections::BTreeMap::default(),
    );
    let (_, loaded) = clusterctl::ops::Context {
        cwd: site.live(),
        live: None,
        variables: std::collections::BTreeMap::default(),
    }
    .load_valid_as(true)
    .unwrap();
    let cluster =
        loaded.site.unwrap().clusters.into_iter().find(|one| one.name == "terra").unwrap();
    let mut secrets = secrets(&opened.open(&cluster).unwrap().unwrap());
    assert!(secrets.len() > 12, "{}", secrets.len());
    {
        use secrecy::ExposeSecret as _;
        let token = lab.proxmox_token();
        secrets.insert(token.expose_secret().split('=').next_back().unwrap().to_owned());
    }
    let own = site.live().join(".clusterctl/lab");
    let mut journals = String::new();
    let mut all = Vec::new();
    files(&own, &mut all);
    for path in &all {
        let mode = fs_err::metadata(path).unwrap().permissions().mode() & 0o777;
        let is_shared = path.ends_with("clusterctl.lock") || path.starts_with(own.join("cache"));
        let is_private = [0o600, 0o400, 0o700].contains(&mode);
        assert!(is_shared || is_private, "{} has mode {mode:o}", path.display());
        let name = path.to_string_lossy();
        if name.contains("/journal/") || name.ends_with(".log") || name.ends_with(".lock") {
            journals.push_str(&fs_err::read_to_string(path).unwrap_or_default());
        }
    }
    let saved = fs_err::read_to_string(&plan).unwrap();
    for (place, text) in [
        ("output", &said),
        ("journals and logs", &journals),
        ("arguments", &arguments),
        ("plan", &saved),
    ] {
        assert!(!text.is_empty(), "{place} is empty");
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "a secret is in the {place}");
        }
    }
    // The bundle itself is sealed where it lies.
    let bundle =
        fs_err::read_to_string(tree.join("clusters/cluster-103/secrets.sops.yaml")).unwrap();
    assert!(secrets.iter().all(|secret| !bundle.contains(secret.as_str())));
}

/// Writes an encrypted file for the key of the example tree.
fn seal(site: &Site, path: &Path, text: &str, format: Format) {
    let key = fs_err::read_to_string(site.live().join("common/example-age-key.txt")).unwrap();
    let recipient = key.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    let rules = format!("creation_rules:\n  - age: {recipient}\n");
    let config = site.live().join(".sops.yaml");
    let rule = rule_of(rules.as_bytes(), &config, path, &EncryptOptions::default()).unwrap();
    let sealed =
        encrypt(Plain::Text(text.as_bytes()), format, &rule, &time_text(1_780_000_000)).unwrap();
    fs_err::write(path, &sealed.bytes).unwrap();
}

#[test]
fn secrets_of_patches_come_from_encrypted_files_and_are_never_told() {
    let site = Site::new();
    let file = site.live().join("clusters/cluster-103/own.sops.yaml");
    let write = |password: &str, pin: u32| {
        seal(&site, &file, &format!("password: {password}\npin: {pin}\n"), Format::Yaml);
    };
    write("first-secret-word", 47_110_815);
    site.edit(
        "clusters/cluster-103/cluster.hcl",
        "  controlplanes",
        r#"  own = yamldecode(sops_decrypt_file("own.sops.yaml"))
  config_patches = {
    all = [
      { machine = { registries = { config = { "ghcr.io" = { auth = { username = "bot", password = local.own.password } } } } } },
      { machine = { nodeAnnotations = { "example.org/pin" = tostring(local.own.pin) } } },
    ]
    worker = <<-EOT
      machine:
        sysctls:
          net.core.somaxconn: "4096"
          kernel.domainname: ${local.own.password}
    EOT
  }
  controlplanes"#,
    );
    let mut said = String::new();
    let mut run = |args: &[&str]| {
        let one = Said::of(site.command(&[&["-vvv", "-y"], args].concat()).output().unwrap());
        said.push_str(&one.out);
        said.push_str(&one.err);
        one
    };
    run(&["validate"]).expect(0);
    run(&["inventory", "-o", "json"]).expect(0);
    run(&["apply", "terra"]).expect(0);
    run(&["plan", "terra", "--detailed-exitcode"]).expect(0);
    // What the nodes were given, from where the lab keeps it.
    let given = |word: &str| {
        let mut all = Vec::new();
        files(&site.live().join(".clusterctl/lab"), &mut all);
        let texts = all.iter().filter_map(|path| fs_err::read_to_string(path).ok());
        texts.map(|text| text.matches(word).count()).sum::<usize>()
    };
    assert_eq!((given("first-secret-word"), given("47110815")), (3, 2));

    // Other secrets are a change, told by fingerprints; a saved plan is about the files it saw.
    write("second-secret-word", 47_110_816);
    let changed = run(&["plan", "terra", "--detailed-exitcode", "--out", "saved.plan"]);
    for text in ["auth.password", "example.org/pin", "kernel.domainname"] {
        changed.says(text);
    }
    changed.expect(2);
    let saved = fs_err::read_to_string(site.live().join("saved.plan")).unwrap();
    write("third-secret-word", 47_110_817);
    run(&["apply", "--plan", "saved.plan"]).expect(6).says("stale");
    run(&["apply", "terra"]).expect(0);
    let words = ["first", "second", "third"].map(|word| given(&format!("{word}-secret-word")));
    assert_eq!(words, [0, 0, 3]);

    // What has left the tree is told no more than what comes into it.
    site.edit(
        "clusters/cluster-103/cluster.hcl",
        "    worker = <<-EOT",
        "    controlplane = <<-EOT",
    );
    run(&["plan", "terra"]).expect(0).says("kernel.domainname");

    // Without a key they are not known, and that is told.
    site.edit("common/credentials.hcl", "  age_key_file", "  # age_key_file");
    run(&["validate"]).expect(0);
    let shut = run(&["plan", "terra"]);
    shut.says("cluster.hcl:").says("is encrypted").says("SOPS_AGE_KEY_FILE");
    assert_ne!(shut.code, 0);
    // Also of a cluster that is not there yet, once for each kind of node.
    let sealed = "  own = yamldecode(sops_decrypt_file(\"../cluster-103/own.sops.yaml\"))\n  config_patches = { all = { machine = { sysctls = { a = local.own.password } } } }\n  controlplanes";
    site.edit("clusters/cluster-102/cluster.hcl", "  controlplanes", sealed);
    let shut = run(&["plan", "luna"]).expect(6);
    assert_eq!(shut.err.matches("the patch at").count(), 2, "{}", shut.err);
    for secret in ["secret-word", "4711081"] {
        assert!(!said.contains(secret), "{secret} was told");
        assert!(!saved.contains(secret), "{secret} is in the plan");
    }
}

#[test]
fn a_whole_file_of_credentials_may_be_encrypted() {
    use secrecy::ExposeSecret as _;

    let site = Site::new();
    site.run(&["lab", "up"]).expect(0);
    let (lab, common) = (site.lab(), site.live().join("common"));
    fs_err::write(common.join("ca.pem"), lab.ca_pem()).unwrap();
    let token = lab.proxmox_token().expose_secret().to_owned();
    let text = format!(
        "locals {{\n  pve_endpoint  = \"{}\"\n  pve_api_token = \"{token}\"\n  pve_ca_file   = \"ca.pem\"\n}}\n",
        lab.proxmox_endpoint()
    );
    seal(&site, &common.join("credentials.hcl"), &text, Format::Binary);

    // As with a real site: no lab on the command line.
    let run = |args: &[&str], key: Option<&str>| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_clusterctl"));
        command.args(args).current_dir(site.live()).env_clear();
        command.env("HOME", site.dir.path()).env("USER", "tester");
        command.envs(key.map(|file| ("SOPS_AGE_KEY_FILE", file)));
        Said::of(command.output().unwrap())
    };
    run(&["validate"], None).expect(0);
    let shut = run(&["plan", "common/0-sdn-setup"], None).expect(1);
    shut.says("open common/credentials.hcl").says("SOPS_AGE_KEY_FILE");
    let opened = run(&["-vv", "plan", "common/0-sdn-setup"], Some("common/example-age-key.txt"));
    opened.says("create zone evpnz1");
    assert!(!format!("{opened:?}").contains(token.rsplit('=').next().unwrap()));
    opened.expect(0);
}
