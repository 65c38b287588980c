use super::*;
use crate::config::Mode;

const OLD: &str = r"
version: v1alpha1
machine:
    type: controlplane
    token: abcdef.0123456789abcdef
    ca: {crt: YQ==, key: YQ==}
    network:
        hostname: cp01
        nameservers: [10.0.0.1, 2001:db8::53]
        searchDomains: [example.org]
        disableSearchDomain: true
        extraHostEntries:
            - {ip: 10.0.0.9, aliases: [nas, nas.example.org]}
        kubespan: {enabled: true, mtu: 1400}
        interfaces:
            - interface: eth0
              addresses: [10.0.0.5/24, 2001:db8::5/64]
              routes:
                  - {network: 0.0.0.0/0, gateway: 10.0.0.1, metric: 100}
                  - {network: '::/0', gateway: '2001:db8::1'}
                  - {network: 10.9.0.0/16, gateway: 10.0.0.2, mtu: 1400}
              mtu: 1500
              vip: {ip: 10.0.0.100}
              vlans:
                  - vlanId: 7
                    addresses: [10.7.0.5/24]
                    dhcp: false
                  - {vlanId: 8, dhcp: true, dhcpOptions: {routeMetric: 200, ipv6: true}}
            - deviceSelector: {hardwareAddr: 'bc:24:11:*', driver: virtio_net}
              dhcp: true
            - interface: bond0
              bond: {interfaces: [eth1, eth2], mode: 802.3ad, lacpRate: fast, miimon: 100, updelay: 200, downdelay: 200, xmitHashPolicy: layer3+4}
              addresses: [192.168.0.1/24]
            - interface: br0
              bridge: {interfaces: [eth3], stp: {enabled: true}, vlan: {vlanFiltering: true}}
            - interface: dummy0
              dummy: true
              addresses: [10.255.0.1/32]
            - interface: wg0
              wireguard:
                  privateKey: ABEiM0RVZneImaq7zN3u/wARIjNEVWZ3iJmqu8zd7v8=
                  listenPort: 51820
                  peers:
                      - {publicKey: ABEiM0RVZneImaq7zN3u/wARIjNEVWZ3iJmqu8zd7v8=, endpoint: '10.0.0.7:51820', allowedIPs: [10.1.0.0/16]}
    time: {servers: [time.example.org], bootTimeout: 2m0s}
    env: {http_proxy: 'http://proxy:3128'}
    install: {disk: /dev/vda}
    registries:
        mirrors:
            docker.io: {endpoints: ['https://mirror.example.org/v2/x'], overridePath: true}
            ghcr.io: {endpoints: ['https://a.example.org', 'https://b.example.org'], skipFallback: true}
        config:
            mirror.example.org:
                auth: {username: u, password: p}
                tls: {ca: LS0tLS1CRUdJTgo=, insecureSkipVerify: true}
    systemDiskEncryption:
        ephemeral: {provider: luks2, keys: [{slot: 0, nodeID: {}}]}
cluster:
    id: a
    secret: b
    discovery: {enabled: true}
    controlPlane: {endpoint: 'https://10.0.0.100:6443'}
    etcd: {ca: {crt: YQ==, key: YQ==}}
---
apiVersion: v1alpha1
kind: KmsgLogConfig
name: remote
url: tcp://10.0.0.3:3333/
";

/// The configuration with a real certificate in it, and that one.
fn old() -> (MachineConfig, String) {
    use base64::Engine as _;
    let kind = crate::pki::KeyKind::Ed25519;
    let made = crate::pki::make_authority(kind, Some("a"), 1_780_000_000, 3600).unwrap();
    let pem = made.certificate.text().to_string();
    let encoded = base64::engine::general_purpose::STANDARD.encode(&pem);
    (parsed(&OLD.replace("LS0tLS1CRUdJTgo=", &encoded)), pem)
}

fn parsed(text: &str) -> MachineConfig {
    MachineConfig::load(text).unwrap()
}

#[test]
fn everything_moves_into_documents_and_back() {
    let (old, _) = old();
    assert_eq!(old.validate(Mode::Metal, 11, false).errors, []);
    for minor in [12, 13] {
        let new = old.split(minor);
        assert_eq!(new.left, []);
        // A node of that version takes it.
        let text = new.config.to_yaml();
        let read = MachineConfig::load_for(&text, minor).unwrap();
        let found = read.validate(Mode::Metal, minor, true);
        assert!(found.is_ok(), "{:?}\n{}", found.errors, *text);
        let sections = new.config.value("/machine/network");
        let rest = if minor == 12 {
            serde_json::json!({"kubespan": {"enabled": true, "mtu": 1400}})
        } else {
            Value::Null
        };
        assert_eq!(sections.cloned().unwrap_or_default(), rest);
        let back = new.config.joined();
        assert_eq!(back.left, []);
        // What is off by nature is not written back, and 1.11 has the document of the volume.
        let mut plain = old.documents().to_vec();
        let main = plain[0].pointer_mut("/machine").unwrap().as_object_mut().unwrap();
        main.remove("systemDiskEncryption");
        let vlan = plain[0].pointer_mut("/machine/network/interfaces/0/vlans/0").unwrap();
        vlan.as_object_mut().unwrap().remove("dhcp");
        plain.extend(new.config.document("VolumeConfig", "EPHEMERAL").cloned());
        assert_eq!(back.config.diff(&MachineConfig::of_documents(plain)), []);
        assert!(MachineConfig::load_for(&back.config.to_yaml(), 11).is_ok());
        assert_eq!(old.split(11).config, old);
    }
}

#[test]
fn documents_say_what_fields_said() {
    let (old, pem) = old();
    let new = old.split(13).config;
    let get = |kind: &str, name: &str| new.document(kind, name).unwrap().clone();
    assert_eq!(
        get("LinkConfig", "eth0")["routes"][0],
        serde_json::json!({"gateway": "10.0.0.1", "metric": 100})
    );
    assert_eq!(get("Layer2VIPConfig", "10.0.0.100")["link"], "eth0");
    assert_eq!(get("VLANConfig", "eth0.7")["parent"], "eth0");
    assert_eq!(get("DHCPv6Config", "eth0.8")["routeMetric"], 200);
    let alias = get("LinkAliasConfig", "net1");
    let expression =
        "glob(\"bc:24:11:*\", mac(link.hardware_addr)) && link.driver == \"virtio_net\"";
    assert_eq!(alias["selector"]["match"], expression);
    assert_eq!(get("RegistryTLSConfig", "mirror.example.org")["ca"], pem);
    assert_eq!(get("VolumeConfig", "EPHEMERAL")["encryption"]["provider"], "luks2");
    assert_eq!(get("EnvironmentConfig", "")["variables"]["http_proxy"], "http://proxy:3128");
}

#[test]
fn what_cannot_be_moved_stays_and_is_told() {
    let old = parsed(
        "machine: {type: worker, network: {hostname: a, interfaces: [{interface: eth0, ignore: true}, \
         {deviceSelector: {physical: true}, dhcp: true}, {interface: eth2, bridgePort: {master: br0}}, \
         {interface: eth3, routes: [{network: '::/0', metric: 9}]}]}}\n---\n\
         apiVersion: v1alpha1\nkind: HostnameConfig\nauto: stable\n",
    );
    let new = old.split(13);
    let places: Vec<&str> = new.left.iter().map(|one| one.place.as_str()).collect();
    let interface = |index| format!("machine.network.interfaces[{index}]");
    assert_eq!(places[0], "machine.network.hostname");
    assert_eq!(places[1..], [interface(0), interface(1), interface(2), interface(3)]);
    assert_eq!(new.config, old);

    let newer = parsed(
        "apiVersion: v1alpha1\nkind: LinkAliasConfig\nname: net0\nselector: {match: 'link.mtu > 1500u'}\n---\n\
         apiVersion: v1alpha1\nkind: LinkConfig\nname: net0\n---\n\
         apiVersion: v1alpha1\nkind: OOMConfig\nsampleInterval: 1s\n",
    );
    let back = newer.joined();
    let mut places: Vec<&str> = back.left.iter().map(|one| one.place.as_str()).collect();
    places.sort_unstable();
    assert_eq!(places, ["LinkAliasConfig/net0", "LinkConfig/net0", "OOMConfig"]);
    assert_eq!(back.config.documents().len(), 4);
}

fn places(converted: &Converted) -> Vec<&str> {
    converted.left.iter().map(|one| one.place.as_str()).collect()
}

#[test]
fn host_entries_of_one_address_are_one_document() {
    let old = parsed(
        "machine: {network: {extraHostEntries: [{ip: 10.0.0.9, aliases: [a, b]}, {ip: 10.0.0.8, aliases: [d]}, \
         {ip: 10.0.0.9, aliases: [b, c]}, {ip: 10.0.0.7, aliases: [e]}, {ip: 10.0.0.6, aliases: []}]}}\n---\n\
         apiVersion: v1alpha1\nkind: StaticHostConfig\nname: 10.0.0.7\nhostnames: [x]\n",
    );
    let new = old.split(12);
    let path = "machine.network.extraHostEntries";
    assert_eq!(places(&new), [format!("{path}[3]"), format!("{path}[4]")]);
    let names = |ip| new.config.document("StaticHostConfig", ip).unwrap()["hostnames"].clone();
    assert_eq!(names("10.0.0.9"), serde_json::json!(["a", "b", "c"]));
    assert_eq!(names("10.0.0.8"), serde_json::json!(["d"]));
    assert_eq!(names("10.0.0.7"), serde_json::json!(["x"]));
    let rest = new.config.value("/machine/network/extraHostEntries").unwrap();
    assert_eq!(
        *rest,
        serde_json::json!([
            {"ip": "10.0.0.7", "aliases": ["e"]}, {"ip": "10.0.0.6", "aliases": []}
        ])
    );
}

#[test]
fn what_a_registry_cannot_say_in_a_document_stays_where_it_stood() {
    let text = "machine:\n  registries:\n    mirrors:\n      a: {endpoints: ['https://a']}\n      \
                b: {endpoints: ['https://b']}\n      c: {endpoints: [], overridePath: true}\n    config:\n      \
                a: {auth: {username: u}, tls: {ca: '-no base64-'}}\n      \
                b: {auth: {username: u}, tls: {clientIdentity: {crt: YQ==, key: '%'}}}\n      \
                c: {}\n---\n\
                apiVersion: v1alpha1\nkind: RegistryMirrorConfig\nname: a\nendpoints: [{url: 'https://x'}]\n---\n\
                apiVersion: v1alpha1\nkind: RegistryAuthConfig\nname: b\nusername: x\n";
    let old = MachineConfig::parse(text).unwrap();
    let new = old.split(12);
    let section = "machine.registries";
    assert_eq!(
        places(&new),
        [
            format!("{section}.mirrors.a"),
            format!("{section}.mirrors.c"),
            format!("{section}.config.a.tls.ca"),
            format!("{section}.config.b.auth"),
            format!("{section}.config.b.tls.clientIdentity.key"),
        ]
    );
    let rest = new.config.value("/machine/registries").unwrap();
    let was = |pointer: &str| {
        (rest.pointer(pointer), old.value(&format!("/machine/registries{pointer}")))
    };
    for pointer in ["/mirrors/a", "/mirrors/c", "/config/a/tls", "/config/b", "/config/c"] {
        let (is, was) = was(pointer);
        assert!(was.is_some() && is == was, "{pointer}: {is:?}");
    }
    assert_eq!(rest.pointer("/mirrors/b"), None);
    assert_eq!(rest.pointer("/config/a/auth"), None);
    assert_eq!(new.config.document("RegistryAuthConfig", "a").unwrap()["username"], "u");
    assert_eq!(
        new.config.document("RegistryMirrorConfig", "a").unwrap()["endpoints"][0]["url"],
        "https://x"
    );
    assert_eq!(
        new.config.document("RegistryMirrorConfig", "b").unwrap()["endpoints"][0]["url"],
        "https://b"
    );
}

/// Sections that can be moved, and some that cannot, one of each pair at a time.
const SECTIONS: [(&str, &str); 9] = [
    ("/network/hostname", "a"),
    ("/network/nameservers", "[10.0.0.1]"),
    ("/network/extraHostEntries", "[{ip: 10.0.0.9, aliases: [a]}, {ip: '::9', aliases: [b, c]}]"),
    (
        "/network/interfaces",
        "[{interface: eth0, dhcp: true, mtu: 1400}, {interface: eth1, ignore: true}]",
    ),
    ("/time", "{servers: [a], disabled: false}"),
    (
        "/registries/mirrors",
        "{a: {endpoints: ['https://a'], skipFallback: true}, b: {endpoints: ['https://b', 'https://c'], overridePath: false}}",
    ),
    (
        "/registries/config",
        "{a: {auth: {username: u, password: p}, tls: {ca: YQ==, clientIdentity: {crt: YQ==, key: YQ==}}}}",
    ),
    ("/registries/config", "{b: {tls: {ca: '!', insecureSkipVerify: true}}, c: {}}"),
    ("/env", "{a: '', b: c}"),
];

proptest::proptest! {
    #[test]
    fn what_is_moved_whole_comes_back_whole(chosen in proptest::collection::vec(proptest::bool::ANY, SECTIONS.len()), minor in 12_u32..15) {
        let mut document = serde_json::json!({"version": "v1alpha1", "machine": {"type": "worker"}});
        for ((pointer, text), _) in SECTIONS.iter().zip(&chosen).filter(|(_, is_chosen)| **is_chosen) {
            let value = MachineConfig::parse(&format!("x: {text}\n")).unwrap().documents()[0]["x"].clone();
            let path: Vec<&str> = pointer.split('/').skip(1).collect();
            put(document["machine"].as_object_mut().unwrap(), &path, value);
        }
        let old = MachineConfig::of_documents(vec![document]);
        let new = old.split(minor);
        let back = new.config.joined();
        proptest::prop_assert_eq!(&back.left, &[]);
        if new.left.is_empty() {
            proptest::prop_assert_eq!(back.config, old);
        } else {
            // What was left comes back as well, if not in its order.
            let sorted = |config: &MachineConfig| sorted(&config.documents()[0]);
            proptest::prop_assert_eq!(sorted(&back.config), sorted(&old));
        }
    }
}

/// A value with its lists in an order of their own.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            items.sort_by_key(ToString::to_string);
            items.into()
        }
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), sorted(value))).collect(),
        other => other.clone(),
    }
}
