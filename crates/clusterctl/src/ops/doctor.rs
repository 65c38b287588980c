//! `doctor`: looks for what would stop a plan, and says what to do about it.

use std::time::Duration;

use proxmox_client::probe_fingerprint;
use serde::Serialize;

use super::session::{Session, runtime};
use super::{Context, Error};
use crate::compose::draft::Wish;
use crate::compose::lock;
use crate::compose::observe::node_name;
use crate::compose::world::{NodeSeen, SecretsSeen, World};
use crate::error::chain;

/// A clock that is wrong by more makes certificates that are not valid yet, or not any more.
const CLOCK_FAIL: i64 = 300;
/// A clock that is wrong by more is worth a word.
const CLOCK_WARN: i64 = 5;
/// How long a name may take to be resolved.
const RESOLVE: Duration = Duration::from_secs(5);
/// A storage with less is worth a word, in percent.
const FREE_WARN: u64 = 10;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// Worth a word.
    Warn,
    /// It would stop a plan.
    Fail,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How bad it is.
    pub grade: Grade,
    /// What was found.
    pub text: String,
    /// What to do.
    pub help: Option<String>,
}

#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, check: &str, grade: Grade, text: impl Into<String>, help: Option<&str>) {
        self.0.push(Finding {
            check: check.to_owned(),
            grade,
            text: text.into(),
            help: help.map(str::to_owned),
        });
    }

    fn ok(&mut self, check: &str, text: impl Into<String>) {
        self.add(check, Grade::Ok, text, None);
    }

    /// A failure with its own advice.
    fn error(&mut self, check: &str, error: &Error) {
        let help = error.hints().first().cloned();
        self.add(check, Grade::Fail, chain(error), help.as_deref());
    }
}

/// Looks at everything that a plan for these targets needs.
///
/// # Errors
/// The tree cannot be read at all, or a target is none. What is found wrong is no error.
pub fn doctor(context: &Context, targets: &[String], lab: bool) -> Result<Vec<Finding>, Error> {
    let mut findings = Findings::default();
    let session = match Session::open(context, lab) {
        Ok(session) => session,
        Err(error) => {
            findings.error("tree", &error);
            return Ok(findings.0);
        }
    };
    let site = &session.crew.site;
    let nodes: usize = site.clusters.iter().map(|cluster| cluster.nodes.len()).sum();
    findings.ok("tree", format!("{} cluster(s), {nodes} node(s)", site.clusters.len()));
    for warning in &session.warnings {
        findings.add("credentials", Grade::Warn, warning.clone(), None);
    }
    let target = session.target(context, targets)?;
    runtime()?.block_on(async {
        if !lab {
            names(&session, &mut findings).await;
        }
        if !reach(&session, lab, &mut findings).await {
            return;
        }
        clocks(&session, &mut findings).await;
        holder(&session, &mut findings).await;
        match session.make(&Wish { target, allow_remove: false }).await {
            Err(error) => findings.error("site", &error),
            Ok(made) => {
                storages(&session, &made.world, &mut findings).await;
                clusters(&session, &made.world, &mut findings);
                if made.drafted.problems.is_empty() {
                    findings.ok(
                        "plan",
                        format!(
                            "nothing stands in its way, {} step(s)",
                            made.drafted.plan.steps.len()
                        ),
                    );
                }
                for problem in made.drafted.problems {
                    let check = if problem.text.starts_with("Proxmox does not allow") {
                        "privileges"
                    } else {
                        "plan"
                    };
                    findings.add(check, Grade::Fail, problem.text, Some(&problem.help));
                }
            }
        }
    });
    Ok(findings.0)
}

/// Names that have to be resolved from here: Proxmox, the factory, the site's registry.
async fn names(session: &Session, findings: &mut Findings) {
    let site = &session.crew.site;
    let mut hosts: Vec<(&str, String)> = Vec::new();
    let host_of =
        |text: &str| url::Url::parse(text).ok().and_then(|url| url.host_str().map(str::to_owned));
    hosts.extend(host_of(session.crew.proxmox.base_url()).map(|host| ("proxmox", host)));
    hosts.extend(host_of(&site.images.factory_url).map(|host| ("factory", host)));
    if let Some(reference) = &site.images.installer_registry
        && let Ok(image) = format!("{reference}:v0").parse::<imagefactory::ImageReference>()
        && let Some(host) = host_of(&format!("https://{}", image.registry()))
    {
        hosts.push(("registry", host));
    }
    let resolver = hickory_resolver::Resolver::builder_tokio()
        .and_then(hickory_resolver::ResolverBuilder::build);
    let resolver = match resolver {
        Ok(resolver) => resolver,
        Err(error) => {
            findings.add(
                "names",
                Grade::Warn,
                format!("the system's resolver cannot be used: {error}"),
                Some("look at /etc/resolv.conf"),
            );
            return;
        }
    };
    for (what, host) in hosts {
        let check = format!("name of the {what}");
        if host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok() {
            continue;
        }
        match tokio::time::timeout(RESOLVE, resolver.lookup_ip(host.as_str())).await {
            Ok(Ok(found)) => {
                let addresses: Vec<String> = found.iter().map(|ip| ip.to_string()).collect();
                findings.ok(&check, format!("{host} is {}", addresses.join(", ")));
            }
            Ok(Err(error)) => findings.add(
                &check,
                Grade::Fail,
                format!("{host} has no address: {error}"),
                Some("look at the name and at the resolvers of this machine"),
            ),
            Err(_) => findings.add(
                &check,
                Grade::Fail,
                format!("{host}: no resolver answered in {} s", RESOLVE.as_secs()),
                Some("look at /etc/resolv.conf and the network of this machine"),
            ),
        }
    }
}

/// Whether Proxmox answers; false when it does not.
async fn reach(session: &Session, lab: bool, findings: &mut Findings) -> bool {
    let crew = &session.crew;
    match crew.proxmox.version().await {
        Ok(version) => {
            findings.ok(
                "proxmox",
                format!("{} answers, version {}", crew.proxmox.base_url(), version.version),
            );
        }
        Err(error) => {
            let help = error.help();
            findings.add("proxmox", Grade::Fail, chain(&error), help);
            if error.kind() == proxmox_client::ErrorKind::Tls && !lab {
                pin(crew.proxmox.base_url(), findings).await;
            }
            return false;
        }
    }
    let rows = match crew.proxmox.nodes().await {
        Ok(rows) => rows,
        Err(error) => {
            findings.add("nodes", Grade::Fail, chain(&error), error.help());
            return false;
        }
    };
    let offline: Vec<&str> = rows
        .iter()
        .filter(|row| row.status.as_deref() == Some("offline"))
        .map(|row| row.node.as_str())
        .collect();
    if offline.is_empty() {
        findings.ok("nodes", format!("{} of {} online", rows.len(), rows.len()));
    } else {
        findings.add(
            "nodes",
            Grade::Fail,
            format!("offline: {}", offline.join(", ")),
            Some(
                "bring them back, or remove them from the cluster: what runs there cannot be seen",
            ),
        );
    }
    true
}

/// Shows the fingerprint of a server whose certificate is not trusted.
async fn pin(endpoint: &str, findings: &mut Findings) {
    let Ok(url) = url::Url::parse(endpoint) else { return };
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return };
    if let Ok(fingerprint) = probe_fingerprint(host.trim_matches(['[', ']']), port).await {
        findings.add(
            "tls",
            Grade::Warn,
            format!("the server shows a certificate with SHA-256 fingerprint {fingerprint}"),
            Some("compare it with the one of the node (System, Certificates); if it is the same, set pve_fingerprint, or pve_ca_file to /etc/pve/pve-root-ca.pem"),
        );
    }
}

async fn clocks(session: &Session, findings: &mut Findings) {
    let crew = &session.crew;
    let mut worst: Option<(i64, &str)> = None;
    for name in &crew.site.proxmox.nodes {
        let Ok(node) = node_name(name) else { continue };
        // What it takes to answer counts as skew: a slow answer must not look like a wrong clock.
        let before = jiff::Timestamp::now().as_second();
        let Ok(Some(time)) = crew.proxmox.node(&node).time().await else { continue };
        let after = jiff::Timestamp::now().as_second();
        let time = i64::try_from(time).unwrap_or(i64::MAX);
        let skew = if time < before { time - before } else { (time - after).max(0) };
        if worst.is_none_or(|(other, _)| skew.abs() > other.abs()) {
            worst = Some((skew, name));
        }
    }
    match worst {
        None => findings.add("clock", Grade::Warn, "no node tells its time", None),
        Some((skew, node)) => {
            let text = format!("{node} differs by {skew} s from this machine");
            match skew.abs() {
                0..=CLOCK_WARN => findings.ok("clock", text),
                difference => findings.add(
                    "clock",
                    if difference > CLOCK_FAIL { Grade::Fail } else { Grade::Warn },
                    text,
                    Some("certificates made here would be of another time there: set both clocks by NTP"),
                ),
            }
        }
    }
}

async fn holder(session: &Session, findings: &mut Findings) {
    match lock::owner(&session.crew.proxmox, &session.crew.site_key).await {
        Ok(None) => findings.ok("lock", "nobody holds it"),
        Ok(Some(owner)) => findings.add("lock", Grade::Warn, format!("it is held by {owner}"), Some("wait; if nobody is at work any more, `clusterctl unlock`")),
        Err(error) => findings.add("lock", Grade::Warn, chain(&error), Some("without Pool.Audit the lock is local: two operators on two machines are not kept apart")),
    }
}

async fn storages(session: &Session, world: &World, findings: &mut Findings) {
    let crew = &session.crew;
    for name in &crew.site.proxmox.nodes {
        let Ok(node) = node_name(name) else { continue };
        for storage in [&world.storages.iso, &world.storages.vm] {
            let check = format!("storage {storage} on {name}");
            match crew.proxmox.storage(&node).status(storage).await {
                Err(error) => findings.add(&check, Grade::Fail, chain(&error), error.help()),
                Ok(status) => {
                    let (free, all) = (status.avail.unwrap_or(0), status.total.unwrap_or(0));
                    let text = format!("{} of {} GiB free", free >> 30, all >> 30);
                    if !status.active {
                        findings.add(
                            &check,
                            Grade::Fail,
                            "it is not active",
                            Some("look at the storage on that node"),
                        );
                    } else if all > 0 && free * 100 / all < FREE_WARN {
                        findings.add(
                            &check,
                            Grade::Warn,
                            text,
                            Some("make room before new machines are made there"),
                        );
                    } else {
                        findings.ok(&check, text);
                    }
                }
            }
        }
    }
}

fn clusters(session: &Session, world: &World, findings: &mut Findings) {
    for cluster in &session.crew.site.clusters {
        let check = format!("cluster {}", cluster.name);
        if let Some(seen) = world.clusters.get(&cluster.folder)
            && let SecretsSeen::Sealed(why) = &seen.secrets
        {
            findings.add(
                &check,
                Grade::Fail,
                format!("its secrets cannot be opened: {why}"),
                Some("the key of one of its recipients is needed: SOPS_AGE_KEY, SOPS_AGE_KEY_FILE"),
            );
            continue;
        }
        let running: Vec<_> = cluster
            .nodes
            .iter()
            .filter(|node| !matches!(world.nodes.get(&node.name), None | Some(NodeSeen::Off)))
            .collect();
        let unseen: Vec<String> = running
            .iter()
            .filter_map(|node| match world.nodes.get(&node.name) {
                Some(NodeSeen::Unknown(why)) => Some(format!("{}: {why}", node.name)),
                _ => None,
            })
            .collect();
        if let Some(first) = unseen.first() {
            findings.add(
                &check,
                Grade::Warn,
                format!("{} of {} running node(s) cannot be reached, {first}", unseen.len(), running.len()),
                Some("nodes are dialled from here at port 50000: look at the exit node, routes and firewalls between this machine and their network"),
            );
        } else {
            findings.ok(
                &check,
                format!("{} of {} node(s) run and answer", running.len(), cluster.nodes.len()),
            );
        }
    }
}
