//! Virtual machines of all nodes.

use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::api::VmRow;
use crate::client::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{NodeName, VmId};
use crate::plan::vm::VmObserved;

/// Virtual machines wherever they are.
#[derive(Debug, Clone, Copy)]
pub struct Vms<'a> {
    pub(crate) client: &'a Client,
}

impl Client {
    /// Virtual machines wherever they are.
    pub fn vms(&self) -> Vms<'_> {
        Vms { client: self }
    }
}

impl Vms<'_> {
    /// The names of the nodes that are online.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn nodes(&self) -> Result<Vec<NodeName>> {
        let rows = self.client.nodes().await?;
        let online = rows.into_iter().filter(|row| row.status.as_deref() != Some("offline"));
        online
            .map(|row| {
                row.node.parse().map_err(|source| {
                    let text = format!("{:?} is no name of a node", row.node);
                    Error::new(ErrorKind::Protocol, "GET /nodes", text).because(source)
                })
            })
            .collect()
    }

    /// The machines of these nodes, as they are listed: one call for each node.
    ///
    /// # Errors
    /// As [`Client::call`]. A node that does not answer is an error: what runs there is not known.
    pub async fn list(&self, nodes: &[NodeName]) -> Result<Vec<(NodeName, VmRow)>> {
        // Of futures, not of what they are made from: so a task of any thread can hold this one.
        let calls = nodes.iter().map(|node| async move {
            let rows = self.client.qemu(node).list().await?;
            Ok::<_, Error>(rows.into_iter().map(|row| (node.clone(), row)).collect())
        });
        let calls: Vec<_> = calls.collect();
        let lists: Vec<Vec<(NodeName, VmRow)>> = futures_util::stream::iter(calls)
            .buffered(self.client.concurrency())
            .try_collect()
            .await?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// The machines of these nodes that are asked for, by number: one call for each node and one
    /// for each machine. A machine that goes meanwhile is left out.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn observe_all(
        &self,
        nodes: &[NodeName],
        wanted: impl Fn(VmId, &VmRow) -> bool,
    ) -> Result<Vec<VmObserved>> {
        let rows = self.list(nodes).await?;
        let asked = rows.iter().filter_map(|(node, row)| {
            let id = VmId::try_from(u32::try_from(row.vmid?).ok()?).ok()?;
            wanted(id, row).then_some((node, id, row))
        });
        let calls = asked.map(|(node, id, row)| async move {
            self.client.qemu(node).observe_row(id, row).await
        });
        let calls: Vec<_> = calls.collect();
        let mut seen: Vec<VmObserved> = futures_util::stream::iter(calls)
            .buffer_unordered(self.client.concurrency())
            .try_filter_map(|found| async move { Ok(found) })
            .try_collect()
            .await?;
        seen.sort_by_key(|vm| vm.vmid);
        Ok(seen)
    }

    /// One machine wherever it is, none when no node that is online has it.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub async fn find(&self, id: VmId) -> Result<Option<VmObserved>> {
        let nodes = self.nodes().await?;
        Ok(self.observe_all(&nodes, |other, _| other == id).await?.pop())
    }
}
