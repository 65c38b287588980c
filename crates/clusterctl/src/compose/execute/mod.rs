//! Carries out the actions of a plan.
//!
//! Every action is safe to repeat: it looks first at what is there, and what it does twice has
//! the effect of doing it once.

mod artifact;
mod build;
mod claim;
mod cluster;
mod extension;
mod machine;
mod network;
mod node;
mod pin;
mod quorum;
mod verdict;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use self::claim::Claims;
use self::verdict::own;
use super::action::{Action, ApplyMode};
use super::crew::Crew;
use super::machine::Storages;
use crate::engine::{Check, Executor, Step, StepContext, StepError, StepId};
use crate::spec::site::Cluster;
use crate::state::LockFile;

/// Carries out actions with the clients of a crew.
#[derive(Debug, Clone)]
pub struct Hands {
    crew: Arc<Crew>,
    storages: Storages,
    /// Steps that an earlier run had begun and not ended, or this one in a way that it cannot tell:
    /// what they hold may be ours.
    interrupted: Arc<Mutex<BTreeSet<String>>>,
    claims: Arc<Mutex<Claims>>,
}

impl Hands {
    /// Hands for a crew; `interrupted` names steps that an earlier run had begun and not ended.
    pub fn new(crew: Arc<Crew>, storages: Storages, interrupted: Vec<String>) -> Self {
        let interrupted = Arc::new(Mutex::new(interrupted.into_iter().collect()));
        Self { crew, storages, interrupted, claims: Arc::default() }
    }

    fn was_interrupted(&self, step: &StepId) -> bool {
        let held = self.interrupted.lock().unwrap_or_else(PoisonError::into_inner);
        held.contains(step.as_str())
    }

    fn note_interrupted(&self, step: &StepId) {
        let mut held = self.interrupted.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(step.as_str().to_owned());
    }

    /// Writes down what a cluster is made with, before a node of it is configured. Control planes are
    /// given an image.
    fn claim(&self, cluster: &Cluster, image: Option<&str>) -> Result<(), StepError> {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claims.begin(&self.crew.lock_file(), &cluster.name, image.is_some());
        self.crew.pin(cluster, false, image).map_err(own)
    }

    /// Takes that back: the node refused it.
    fn disclaim(&self, cluster: &Cluster, image: Option<&str>) -> Result<(), StepError> {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = |lock: &mut LockFile| claims.refused(lock, &cluster.name, image.is_some());
        self.crew.update_lock_file(refused).map_err(own)
    }

    /// Clients, keys, places.
    pub fn crew(&self) -> &Crew {
        &self.crew
    }
}

impl Executor<Action> for Hands {
    async fn check(&self, step: &Step<Action>, _: &StepContext) -> Result<Check, StepError> {
        match &step.action {
            Action::Networks { plan } => self.check_networks(plan).await,
            Action::MakeExtension => self.check_extension(),
            Action::Schematic => Ok(Check::Ready),
            Action::FetchIso { version } => self.check_iso(version).await,
            Action::CopyInstaller { version } => self.check_installer(version),
            Action::PinImage { reference } => Ok(self.check_pin(reference)),
            Action::Upload { version, node, storage } => {
                self.check_upload(version, node, storage).await
            }
            Action::MakeSecrets { cluster } => self.check_secrets(cluster),
            Action::CreateMachine { cluster, node } => self.check_create(cluster, node).await,
            Action::ChangeMachine { cluster, node, .. } => {
                let found = self.check_change(step, cluster, node).await?;
                match found.runs {
                    true => self.unless_needed(step, (cluster, node), found.check).await,
                    false => Ok(found.check),
                }
            }
            Action::StartMachine { cluster, node } => self.check_start(cluster, node).await,
            Action::EjectMedium { cluster, node } => self.check_eject(cluster, node).await,
            Action::DestroyMachine { node, vmid, uuid, .. } => {
                self.check_destroy(node, *vmid, uuid).await
            }
            Action::Configure { cluster, node } => self.check_configure(cluster, node).await,
            Action::Reach { cluster, node } => self.check_reach(cluster, node).await,
            Action::Reconfigure { cluster, node, .. } => {
                let found = self.check_reconfigure(cluster, node).await?;
                self.unless_needed(step, (cluster, node), found).await
            }
            Action::Bootstrap { cluster } => self.check_bootstrap(cluster).await,
            Action::AwaitCluster { cluster, level } => self.check_level(cluster, *level).await,
            Action::WriteAccess { cluster } => self.check_access(cluster),
            Action::RemoveAccess { .. } => Ok(Check::Ready),
            Action::RemoveIso { file, node, storage } => {
                self.check_remove_iso(file, node, storage).await
            }
        }
    }

    async fn perform(&self, step: &Step<Action>, context: &StepContext) -> Result<(), StepError> {
        match &step.action {
            Action::Networks { plan } => self.change_networks(&step.id, plan, context).await,
            Action::MakeExtension => self.make_extension(context).await,
            Action::Schematic => self.create_schematic().await,
            Action::FetchIso { version } => self.fetch_iso(version, context).await,
            Action::CopyInstaller { version } => self.copy_installer(version, context).await,
            Action::PinImage { reference } => {
                let remark = self.pin_image(reference).await?;
                remark.into_iter().for_each(|text| context.remark(text));
                Ok(())
            }
            Action::Upload { version, node, storage } => {
                self.upload(version, node, storage, context).await
            }
            Action::MakeSecrets { cluster } => self.make_secrets(cluster),
            Action::CreateMachine { cluster, node } => {
                self.create_machine(cluster, node, context).await
            }
            Action::ChangeMachine { cluster, node, .. } => {
                self.change_machine(step, (cluster, node), context).await
            }
            Action::StartMachine { cluster, node } => {
                self.start_machine(cluster, node, context).await
            }
            Action::EjectMedium { cluster, node } => self.eject_medium(cluster, node).await,
            Action::DestroyMachine { node, vmid, uuid, .. } => {
                self.destroy_machine(node, *vmid, uuid, context).await
            }
            Action::Configure { cluster, node } => self.configure(cluster, node, context).await,
            Action::Reconfigure { cluster, node, mode } => {
                self.reconfigure(cluster, node, *mode, context).await
            }
            Action::Bootstrap { cluster } => self.bootstrap(cluster, context).await,
            // Waiting is all there is to do.
            Action::AwaitCluster { .. } | Action::Reach { .. } => Ok(()),
            Action::WriteAccess { cluster } => self.write_access(cluster).await,
            Action::RemoveAccess { cluster } => self.remove_access(cluster),
            Action::RemoveIso { node, storage, file } => self.remove_iso(file, node, storage).await,
        }
    }

    async fn verify(&self, step: &Step<Action>, _: &StepContext) -> Result<(), StepError> {
        match &step.action {
            Action::CreateMachine { cluster, node } => self.verify_machine(cluster, node).await,
            Action::StartMachine { cluster, node } => self.verify_running(cluster, node).await,
            Action::Configure { cluster, node } | Action::Reach { cluster, node } => {
                self.verify_configured(cluster, node).await
            }
            // What runs stays as it is until the node reboots.
            Action::Reconfigure { mode: ApplyMode::Staged, .. } => Ok(()),
            Action::Reconfigure { cluster, node, .. } => {
                self.verify_configured(cluster, node).await?;
                self.verify_in_service(step, cluster, node).await
            }
            Action::Bootstrap { cluster } => self.verify_bootstrap(cluster).await,
            Action::AwaitCluster { cluster, level } => self.verify_level(cluster, *level).await,
            Action::DestroyMachine { node, vmid, uuid, .. } => {
                self.verify_destroyed(node, *vmid, uuid).await
            }
            Action::ChangeMachine { cluster, node, .. } => {
                match self.check_change(step, cluster, node).await?.check {
                    Check::Done(_) => self.verify_in_service(step, cluster, node).await,
                    Check::Ready => Err(StepError::Later("the change is not there yet".into())),
                    Check::NotYet(why) => Err(StepError::Later(why)),
                }
            }
            // What these made was read back as they were carried out.
            Action::Networks { .. }
            | Action::MakeExtension
            | Action::Schematic
            | Action::FetchIso { .. }
            | Action::CopyInstaller { .. }
            | Action::PinImage { .. }
            | Action::Upload { .. }
            | Action::MakeSecrets { .. }
            | Action::EjectMedium { .. }
            | Action::WriteAccess { .. }
            | Action::RemoveAccess { .. }
            | Action::RemoveIso { .. } => Ok(()),
        }
    }
}
