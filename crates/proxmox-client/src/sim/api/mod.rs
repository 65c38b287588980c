//! Handlers, one module for each part of the API.
#![expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]

mod access;
mod agent;
mod attributes;
mod cluster;
mod config;
mod content;
mod copy;
mod create;
mod disk;
mod fabricrules;
mod fabrics;
mod fabricview;
mod firewall;
mod ha;
mod hotplug;
mod ifaces;
pub(crate) mod import;
mod indexes;
mod ipam;
mod jobs;
mod lxc;
mod mapping;
mod migrate;
mod movedisk;
mod node;
mod pool;
mod power;
mod qemu;
mod routing;
mod sdn;
mod sdnnode;
mod sdnrules;
mod sdnview;
mod snapshot;
mod storage;
mod tasks;
pub(crate) mod volume;

use std::collections::HashMap;

use serde_json::Value;

pub(crate) use sdn::reload_node;

use super::fail::Fail;
use super::reply::Call;

/// A handler of an endpoint.
pub(crate) type Handler = fn(&mut Call<'_>) -> Result<Value, Fail>;

/// Handlers by method and path.
pub(crate) type Routes = HashMap<(&'static str, &'static str), Handler>;

/// A row of a module's table.
pub(crate) type Row = (&'static str, &'static str, Handler);

/// All handlers.
pub(crate) fn routes() -> Routes {
    let tables: [&[Row]; 28] = [
        agent::ROUTES,
        attributes::ROUTES,
        cluster::ROUTES,
        config::ROUTES,
        content::ROUTES,
        copy::ROUTES,
        create::ROUTES,
        disk::ROUTES,
        fabrics::ROUTES,
        fabricview::ROUTES,
        ifaces::ROUTES,
        indexes::ROUTES,
        ipam::ROUTES,
        jobs::ROUTES,
        lxc::ROUTES,
        mapping::ROUTES,
        migrate::ROUTES,
        movedisk::ROUTES,
        node::ROUTES,
        pool::ROUTES,
        power::ROUTES,
        qemu::ROUTES,
        routing::ROUTES,
        sdn::ROUTES,
        sdnnode::ROUTES,
        snapshot::ROUTES,
        storage::ROUTES,
        tasks::ROUTES,
    ];
    tables
        .into_iter()
        .flatten()
        .chain(access::routes())
        .chain(firewall::routes())
        .chain(ha::routes())
        .map(|(method, path, handler)| ((*method, *path), *handler))
        .collect()
}
