//! Secrets, etcd, Kubernetes, and the files that open a cluster.

use talos_client::Client;
use talos_client::api::Bootstrap;

use super::Hands;
use super::verdict::{own, talos};
use crate::compose::access::{Flaw, Kind};
use crate::compose::action::Level;
use crate::compose::draft::lacking;
use crate::compose::issue::{self, IssueError};
use crate::compose::observe::kubernetes_at;
use crate::compose::reach::Opened;
use crate::compose::world::Etcd;
use crate::engine::{Check, StepContext, StepError};
use crate::error::chain;
use crate::spec::site::{Cluster, Node, Role};
use crate::state::{Mode, read_text_if_present, remove_if_present, write};

fn controlplanes(cluster: &Cluster) -> impl Iterator<Item = &Node> {
    cluster.nodes.iter().filter(|node| node.role == Role::ControlPlane)
}

impl Hands {
    pub(super) fn check_secrets(&self, cluster: &str) -> Result<Check, StepError> {
        let cluster = self.crew.cluster(cluster).map_err(own)?;
        Ok(match self.crew.secrets(cluster).map_err(own)? {
            Some(_) => Check::Done("they are there".to_owned()),
            None => Check::Ready,
        })
    }

    pub(super) fn make_secrets(&self, cluster: &str) -> Result<(), StepError> {
        let cluster = self.crew.cluster(cluster).map_err(own)?;
        let (bundle, _) = self.crew.bundles.create(cluster).map_err(own)?;
        self.crew.remember(cluster, bundle).map(drop).map_err(own)
    }

    async fn clients(&self, cluster: &Cluster) -> Result<Vec<Client>, StepError> {
        let opened = self.opened(cluster)?;
        let mut clients = Vec::new();
        for node in controlplanes(cluster) {
            let address = self.crew.address(node).map_err(own)?;
            let what = format!("reach {}", node.name);
            clients.push(self.crew.talos(address, &opened).await.map_err(talos(&what))?);
        }
        Ok(clients)
    }

    /// How far etcd is on the control plane where it is farthest; all of them are asked.
    async fn etcd(&self, cluster: &Cluster) -> Result<Etcd, StepError> {
        let mut farthest = Etcd::None;
        for client in self.clients(cluster).await? {
            let phase = client.etcd_phase().await.map_err(talos("ask for etcd"))?;
            farthest = farthest.max(Etcd::of(&phase));
        }
        Ok(farthest)
    }

    pub(super) async fn check_bootstrap(&self, cluster: &str) -> Result<Check, StepError> {
        let cluster = self.crew.cluster(cluster).map_err(own)?;
        match self.etcd(cluster).await? {
            Etcd::None => {}
            Etcd::Starts => return Ok(Check::Done("etcd starts".to_owned())),
            Etcd::Runs => {
                self.crew.note_etcd(cluster, None).map_err(own)?;
                return Ok(Check::Done("etcd was started".to_owned()));
            }
        }
        self.never_started(cluster)?;
        Ok(Check::Ready)
    }

    pub(super) async fn bootstrap(
        &self,
        cluster: &str,
        context: &StepContext,
    ) -> Result<(), StepError> {
        let cluster = self.crew.cluster(cluster).map_err(own)?;
        self.never_started(cluster)?;
        let clients = self.clients(cluster).await?;
        context.mark("bootstrap", "asked")?;
        match Bootstrap::of_cluster(&clients).await {
            Ok(Bootstrap::Started | Bootstrap::AlreadyDone) => Ok(()),
            Err(error) => Err(talos(&format!("bootstrap cluster {}", cluster.name))(error)),
        }
    }

    pub(super) async fn verify_bootstrap(&self, cluster: &str) -> Result<(), StepError> {
        let cluster = self.crew.cluster(cluster).map_err(own)?;
        match self.etcd(cluster).await? {
            // A node that restarts before it runs has nothing on its disk, and is asked again.
            Etcd::None => Err(StepError::Later("etcd has not started yet".to_owned())),
            Etcd::Starts => Err(StepError::Later("etcd starts".to_owned())),
            Etcd::Runs => self.crew.note_etcd(cluster, None).map_err(own),
        }
    }

    /// A second bootstrap would make a second cluster of those who still have the first one's data:
    /// a node that boots shows no etcd for a while, whatever lies on its disk.
    fn never_started(&self, cluster: &Cluster) -> Result<(), StepError> {
        if !self.crew.lock_file().cluster(cluster.id).is_some_and(|pin| pin.etcd_started) {
            return Ok(());
        }
        Err(StepError::failed_with_help(
            format!("etcd of cluster {} was started before, and runs nowhere now", cluster.name),
            "start the control planes that have its data: the others join them; a cluster whose \
             data is lost is destroyed and made anew",
        ))
    }

    /// What a cluster lacks; none when it is at the level.
    async fn what_lacks(&self, cluster: &str, level: Level) -> Result<Option<String>, StepError> {
        let cluster = self.crew.cluster(cluster).map_err(own)?;
        let opened = self.opened(cluster)?;
        let path = self.crew.layout.kubeconfig(&cluster.folder);
        let file = read_text_if_present(&path).map_err(|error| StepError::failed(chain(&error)))?;
        let mut last = "no control plane can be asked".to_owned();
        for node in controlplanes(cluster) {
            let found = match kubernetes_at(&self.crew, node, &opened, file.as_deref()).await {
                Ok(kubernetes) => kubernetes.nodes().await,
                Err(error) => Err(error),
            };
            match found {
                Ok(nodes) => return Ok(lacking(cluster, level, Ok(&nodes))),
                Err(error) => last = chain(&error),
            }
        }
        Ok(lacking(cluster, level, Err(&last)))
    }

    pub(super) async fn check_level(
        &self,
        cluster: &str,
        level: Level,
    ) -> Result<Check, StepError> {
        Ok(match self.what_lacks(cluster, level).await? {
            None => Check::Done(format!("it is at {level}")),
            Some(_) => Check::Ready,
        })
    }

    pub(super) async fn verify_level(&self, cluster: &str, level: Level) -> Result<(), StepError> {
        match self.what_lacks(cluster, level).await? {
            None => Ok(()),
            Some(why) => Err(StepError::Later(why)),
        }
    }

    /// The files that an apply writes: those that do not serve, but for those of another authority.
    fn lacking_access(&self, cluster: &Cluster, opened: &Opened) -> Result<Vec<Kind>, StepError> {
        let mut found = Vec::new();
        for kind in Kind::ALL {
            let file = kind.look(&self.crew.layout, cluster, Some(&opened.bundle));
            let flaw = file.map_err(|error| StepError::failed(chain(&error)))?.flaw;
            if flaw.is_some_and(|flaw| flaw != Flaw::Foreign) {
                found.push(kind);
            }
        }
        Ok(found)
    }

    pub(super) fn check_access(&self, cluster: &str) -> Result<Check, StepError> {
        let cluster = self.crew.cluster(cluster).map_err(own)?;
        let opened = self.opened(cluster)?;
        Ok(match self.lacking_access(cluster, &opened)?.as_slice() {
            [] => Check::Done("nothing of it is to be written".to_owned()),
            _ => Check::Ready,
        })
    }

    pub(super) async fn write_access(&self, cluster: &str) -> Result<(), StepError> {
        let cluster = self.crew.cluster(cluster).map_err(own)?;
        let opened = self.opened(cluster)?;
        for kind in self.lacking_access(cluster, &opened)? {
            let text = match kind {
                Kind::Talosconfig => issue::talosconfig(cluster, &opened).map_err(own)?,
                Kind::Kubeconfig => {
                    let made = issue::kubeconfig(&self.crew, cluster, &opened).await;
                    made.map_err(|error| match error {
                        IssueError::Node { what, error } => talos(&what)(error),
                        IssueError::Own(error) => own(error),
                    })?
                }
            };
            let path = kind.path(&self.crew.layout, &cluster.folder);
            write(&path, text.as_bytes(), Mode::Private)
                .map_err(|error| StepError::failed(chain(&error)))?;
        }
        Ok(())
    }

    pub(super) fn remove_access(&self, cluster: &str) -> Result<(), StepError> {
        let layout = &self.crew.layout;
        for path in [layout.kubeconfig(cluster), layout.talosconfig(cluster)] {
            remove_if_present(&path).map_err(|error| StepError::failed(chain(&error)))?;
        }
        // A cluster that is made anew is not bound to what the old one ran.
        let id = self.crew.cluster(cluster).map_err(own)?.id;
        self.crew
            .update_lock_file(|lock| lock.clusters.retain(|_, pin| pin.cluster_id != id))
            .map_err(own)
    }
}
