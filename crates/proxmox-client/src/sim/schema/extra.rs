//! Endpoints that the reduced contracts leave out.

use serde_json::Value;

/// Endpoints that are answered although the reduced contracts leave them out.
pub(super) fn extras() -> Vec<Value> {
    use serde_json::json;
    let text = json!({"type": "string", "optional": 1});
    let node = json!({"type": "string", "format": "pve-node"});
    let indexes =
        ["/", "/access", "/cluster", "/nodes/{node}", "/cluster/config", "/nodes/{node}/sdn"];
    let mut rows: Vec<Value> = indexes
        .iter()
        .map(|path| json!({"m": "GET", "p": path, "c": {"user": "all"}, "o": u8::from(path.contains('{')), "a": {}}))
        .collect();
    rows.push(json!({"m": "POST", "p": "/access/vncticket", "c": {"user": "world"}, "a": {
        "authid": {"type": "string", "format": "pve-userid"}, "vncticket": {"type": "string"},
        "path": {"type": "string"}, "privs": {"type": "string", "format": "pve-priv-list"},
    }}));
    let mut config = json!({
        "node": node, "description": {"type": "string", "optional": 1, "maxLength": 65536}, "wakeonlan": text,
        "startall-onboot-delay": {"type": "integer", "optional": 1, "minimum": 0, "maximum": 300}, "acme": text,
        "ballooning-target": {"type": "integer", "optional": 1, "minimum": 0, "maximum": 100}, "location": text,
    });
    for number in 0..6 {
        if let Some(map) = config.as_object_mut() {
            map.insert(format!("acmedomain{number}"), text.clone());
        }
    }
    let property = json!({"type": "string", "optional": 1, "enum": config.as_object().map(|map| {
        map.keys().filter(|key| *key != "node").cloned().collect::<Vec<_>>()
    })});
    rows.push(json!({"m": "GET", "p": "/nodes/{node}/config", "n": "node", "a": {"node": node, "property": property},
        "c": {"check": ["perm", "/", ["Sys.Audit"]]}}));
    if let Some(map) = config.as_object_mut() {
        map.insert(
            "delete".to_owned(),
            json!({"type": "string", "format": "pve-configid-list", "optional": 1}),
        );
        map.insert("digest".to_owned(), json!({"type": "string", "maxLength": 64, "optional": 1}));
    }
    rows.push(json!({"m": "PUT", "p": "/nodes/{node}/config", "n": "node", "a": config,
        "c": {"check": ["perm", "/nodes/{node}", ["Sys.Modify"]]}}));
    rows.extend(usb_mappings());
    let audit = json!({"check": ["perm", "/", ["Sys.Audit"]]});
    let id = json!({"type": "string", "format": "pve-configid"});
    let job = json!({"type": "string", "pattern": r"\d+-\d+"});
    rows.push(json!({"m": "GET", "p": "/cluster/backup", "a": {}, "c": audit}));
    rows.push(json!({"m": "GET", "p": "/cluster/backup/{id}", "a": {"id": id}, "c": audit}));
    rows.push(json!({"m": "GET", "p": "/cluster/replication", "a": {}, "c": {"user": "all"}}));
    rows.push(json!({"m": "GET", "p": "/cluster/replication/{id}", "a": {"id": job}, "c": {"user": "all"}}));
    rows.push(
        json!({"m": "GET", "p": "/nodes/{node}/replication", "n": "node", "a": {"node": node,
        "guest": {"type": "integer", "format": "pve-vmid", "minimum": 100, "optional": 1}},
        "c": {"user": "all"}}),
    );
    let vmid =
        json!({"type": "integer", "format": "pve-vmid", "minimum": 100, "maximum": 999_999_999});
    rows.push(json!({"m": "GET", "p": "/nodes/{node}/lxc", "n": "node", "a": {"node": node},
        "c": {"user": "all"}}));
    rows.push(json!({"m": "GET", "p": "/nodes/{node}/lxc/{vmid}/pending", "n": "node",
        "a": {"node": node, "vmid": vmid}, "c": {"check": ["perm", "/vms/{vmid}", ["VM.Audit"]]}}));
    rows
}

/// Mappings of USB devices: those of PCI with other keys.
fn usb_mappings() -> Vec<Value> {
    use serde_json::json;
    let id = json!({"type": "string", "format": "pve-configid"});
    let note = json!({"type": "string", "optional": 1, "maxLength": 4096});
    let map = json!({"type": "array", "items": {"type": "string", "format": {
        "node": {"type": "string", "format": "pve-node"},
        "id": {"type": "string", "pattern": "(0x)?[0-9A-Fa-f]{4}:(0x)?[0-9A-Fa-f]{4}"},
        "path": {"type": "string", "optional": 1, "pattern": r"\d+-\d+(\.\d+)*"},
        "description": {"type": "string", "optional": 1, "maxLength": 4096},
    }}});
    let (all, one) = ("/cluster/mapping/usb", "/cluster/mapping/usb/{id}");
    let may = |privilege: &str| json!(["perm", "/mapping/usb/{id}", [privilege]]);
    let see =
        json!({"check": ["or", may("Mapping.Use"), may("Mapping.Modify"), may("Mapping.Audit")]});
    let change = json!({"check": may("Mapping.Modify")});
    vec![
        json!({"m": "GET", "p": all, "c": {"user": "all"}, "a": {
            "check-node": {"type": "string", "format": "pve-node", "optional": 1}}}),
        json!({"m": "POST", "p": all, "c": {"check": ["perm", "/mapping/usb", ["Mapping.Modify"]]},
            "a": {"id": id, "description": note, "map": map}}),
        json!({"m": "GET", "p": one, "c": see, "a": {"id": id}}),
        json!({"m": "PUT", "p": one, "c": change, "a": {"id": id, "description": note, "map": map,
            "delete": {"type": "string", "format": "pve-configid-list", "optional": 1},
            "digest": {"type": "string", "maxLength": 64, "optional": 1}}}),
        json!({"m": "DELETE", "p": one, "c": change, "a": {"id": id}}),
    ]
}

/// An endpoint of a machine's firewall as that of a container's: they are the same.
pub(super) fn of_container(row: &Value) -> Option<Value> {
    let rest = row.get("p")?.as_str()?.strip_prefix("/nodes/{node}/qemu/{vmid}/firewall")?;
    let path = format!("/nodes/{{node}}/lxc/{{vmid}}/firewall{rest}");
    let mut row = row.clone();
    row.as_object_mut()?.insert("p".to_owned(), Value::from(path));
    Some(row)
}
