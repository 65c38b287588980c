//! Answers to `talos-defaults`.

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};
use talos_client::config::release::{self as facts, Release, release};
use talos_client::config::{kubernetes_range, talos_range};
use talos_client::talosconfig::DEFAULT_LIFETIME;

/// Contracts that a library was asked about.
const CONTRACTS: std::ops::RangeInclusive<u32> = 0..=15;

/// Our answer to a case.
pub(super) fn answer(case: &Value) -> anyhow::Result<Value> {
    let machinery = case["machinery"][0].as_str().context("no version of the library")?;
    let minor = machinery.split('.').nth(1).and_then(|minor| minor.parse().ok());
    let minor = minor.context("no minor version of the library")?;
    let release = release(minor).map_err(anyhow::Error::msg)?;
    Ok(match case["op"].as_str() {
        Some("constants") => constants(release),
        Some("compatibility") => compatibility(minor),
        Some("contracts") => contracts(release)?,
        other => bail!("no answers to {other:?}"),
    })
}

fn constants(release: &Release) -> Value {
    json!({
        "version": release.version,
        "etcd": { "image": release.etcd_image, "version": release.etcd },
        "kubernetes": {
            "version": release.kubernetes,
            "apiserver_image": facts::APISERVER_IMAGE,
            "controller_manager_image": facts::CONTROLLER_MANAGER_IMAGE,
            "scheduler_image": facts::SCHEDULER_IMAGE,
            "proxy_image": facts::PROXY_IMAGE,
            "kubelet_image": facts::KUBELET_IMAGE,
            "coredns_image": facts::COREDNS_IMAGE,
            "coredns_version": release.coredns,
            "flannel_version": release.flannel,
            "control_plane_port": facts::CONTROL_PLANE_PORT,
            "kubeprism_port": facts::KUBEPRISM_PORT,
            "certificate_hours": DEFAULT_LIFETIME / 3600,
        },
        "network": {
            "apid_port": talos_client::PORT,
            "trustd_port": facts::TRUSTD_PORT,
            "kubespan_port": facts::KUBESPAN_PORT,
            "kubespan_mtu": facts::KUBESPAN_MTU,
            "kubespan_mtu_minimum": facts::KUBESPAN_MTU_MIN,
            "discovery_endpoint": facts::DISCOVERY_ENDPOINT,
            "dns_domain": facts::DNS_DOMAIN,
            "ntp_server": facts::NTP_SERVER,
            "resolvers": facts::RESOLVERS,
            "grpc_message_size_max": facts::GRPC_MESSAGE_MAX,
            "pod_subnet_ipv4": facts::POD_SUBNETS[0],
            "pod_subnet_ipv6": facts::POD_SUBNETS[1],
            "service_subnet_ipv4": facts::SERVICE_SUBNETS[0],
            "service_subnet_ipv6": facts::SERVICE_SUBNETS[1],
        },
        "secrets": {
            "client_certificate_hours": DEFAULT_LIFETIME / 3600,
            "cluster_id_bytes": facts::CLUSTER_SECRET_BYTES,
            "cluster_secret_bytes": facts::CLUSTER_SECRET_BYTES,
        },
        "roles": release.roles().collect::<Vec<_>>(),
    })
}

/// The library of 1.11 speaks of 1.12 already; none of the later ones of what follows it.
fn compatibility(library: u32) -> Value {
    let rows = (0..=library.max(12)).filter_map(|minor| {
        let (kubernetes, talos) = (kubernetes_range(minor).ok()?, talos_range(minor).ok()?);
        let of = |number: &dyn std::fmt::Display| format!("1.{number}");
        let row = json!({
            "change_from": [of(talos.start()), of(talos.end())],
            "kubernetes": [of(kubernetes.start()), of(kubernetes.end())],
            "kubernetes_all": kubernetes.map(|minor| of(&minor)).collect::<Vec<_>>(),
        });
        Some((format!("1.{minor}"), row))
    });
    Value::Object(rows.collect::<Map<_, _>>())
}

fn contracts(release: &Release) -> anyhow::Result<Value> {
    let mut rows = Map::new();
    for minor in CONTRACTS {
        let contract = format!("1.{minor}").parse()?;
        let names: Vec<&str> = release.switches(contract).map(|switch| switch.name).collect();
        rows.insert(format!("1.{minor}"), json!(names));
    }
    Ok(Value::Object(rows))
}
