//! Texts: property strings, task ids, names, sizes, rules.

use proxmox_client::plan::firewall::{Rule, apply, diff, normal};
use proxmox_client::wire::{Format, PropertyString, Size, split_list};
use proxmox_client::{Fingerprint, NodeName, PrefixRule, Release, Upid};

use super::texts;

#[test]
fn property_strings() {
    let examples = [
        "rbd-vm:vm-100-disk-0,cache=none,discard=on,iothread=1,size=32G,serial=a%20b",
        "local:iso/talos.iso,media=cdrom,size=4M",
        "virtio=BC:24:11:00:00:01,bridge=vmbr0,firewall=1,mtu=1450,tag=7,trunks=1;2,rate=1.5",
        "order=scsi0;ide2;net0",
        "host,flags=+aes;-pcid,phys-bits=48",
        "0000:00:02.1,pcie=1,rombar=0",
        "mapping=gpu,pcie=1,x-vga=on",
        "uuid=11111111-2222-3333-4444-555555555555,base64=1,serial=eA==",
        "source=/dev/urandom,max_bytes=1024,period=1000",
        "model=i6300esb,action=reset",
        "q35,viommu=intel",
        "user=local:snippets/u.yaml,network=local:snippets/n.yaml",
        "1,fstrim_cloned_disks=1,freeze-fs-on-backup=0",
        "enabled=1,guest-fsfreeze=0,type=virtio",
        "serial0,memory=16",
        "ip=10.0.0.2/24,gw=10.0.0.1,ip6=fd00::2/64,gw6=fd00::1",
        "rbd-vm:1,efitype=4m,pre-enrolled-keys=0",
        "rbd-vm:1,version=v2.0",
        "host=1-2.3,usb3=1",
    ];
    texts("property strings", &examples, |text| {
        for format in Format::ALL {
            let Ok(first) = PropertyString::parse(format, text) else { continue };
            let printed = first.to_string();
            let again = PropertyString::parse(format, &printed);
            assert_eq!(again.as_ref(), Ok(&first), "{format:?}: {text:?} prints {printed:?}");
            assert_eq!(again.expect("a value").to_string(), printed, "{format:?}: {text:?}");
        }
    });
}

#[test]
fn task_ids() {
    let examples = [
        "UPID:pve01:0000ABCD:0012D687:65F0A1B2:qmcreate:101011:root@pam:",
        "UPID:pve-2:0000ABCD:100000000:65F0A1B2:qmmove:7041-scsi1>7042-scsi4:u@pve!token:",
        "UPID:n:00000001:00000001:00000001:reloadnetworkall::root@pam!lab:",
    ];
    texts("task ids", &examples, |text| {
        if let Ok(upid) = text.parse::<Upid>() {
            assert_eq!(upid.to_string().parse::<Upid>(), Ok(upid), "{text:?}");
        }
    });
}

#[test]
fn names_numbers_and_sizes() {
    let pins = ["AB"; 32].join(":");
    let examples =
        ["pve01", "100", "999999999", "61440M", "1.5T", "9.2.11", "8.4-beta~1", pins.as_str()];
    texts("names, numbers and sizes", &examples, |text| {
        if let Ok(name) = text.parse::<NodeName>() {
            assert_eq!(name.to_string(), text);
        }
        if let Some(size) = Size::parse(text) {
            assert_eq!(Size::parse(&size.to_string()), Some(size));
        }
        if let Ok(release) = text.parse::<Release>() {
            assert_eq!(release.to_string().parse::<Release>().expect("a release"), release);
        }
        if let Ok(pin) = text.parse::<Fingerprint>() {
            assert_eq!(pin.to_string().parse::<Fingerprint>().expect("a pin"), pin);
        }
        assert!(split_list(text).iter().all(|part| !part.is_empty()));
    });
}

#[test]
fn rules_of_firewalls_and_prefix_lists() {
    let examples = [
        "action=permit,prefix=10.0.0.0/8,le=24,ge=16,seq=5",
        "action=deny,prefix=fd00::/8",
        "10.0.0.1 - 10.0.0.9",
        "fd00::1,FD00::2/128, 10.0.0.0/8",
        "+dc/office",
        "22,80:90,https",
        "a comment\nof two lines",
        "nolog",
    ];
    texts("rules", &examples, |text| {
        if let Ok(rule) = text.parse::<PrefixRule>() {
            assert_eq!(rule.to_string().parse::<PrefixRule>().expect("a rule"), rule);
        }
        assert_eq!(normal(&normal(text)), normal(text), "{text:?}");
        let keys = ["source", "dest", "dport", "comment", "macro", "log", "iface", "proto"];
        let rules: Vec<Rule> =
            keys.iter().map(|key| Rule::new("in", "ACCEPT").with(key, text)).collect();
        for rule in &rules {
            assert_eq!(rule.normal().normal(), rule.normal(), "{rule:?}");
        }
        assert_eq!(diff(&rules, &rules), []);
        let other: Vec<Rule> = rules.iter().rev().take(5).cloned().collect();
        let done = apply(&diff(&rules, &other), &rules);
        let all = |rules: &[Rule]| rules.iter().map(Rule::normal).collect::<Vec<_>>();
        assert_eq!(all(&done), all(&other));
    });
}
