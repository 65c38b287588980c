//! `destroy`: removes what a target has made, and nothing else.

use std::sync::Arc;

use super::apply::{Applied, AtWork, Console, unless_stopped};
use super::plan::Report;
use super::session::{Session, runtime};
use super::{Context, Error, ErrorKind};
use crate::compose::execute::Hands;
use crate::compose::target::{Extent, Stage, Target};

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Paths of the tree; the working folder when there are none.
    pub targets: Vec<String>,
    /// Work in the lab.
    pub lab: bool,
    /// Steps at once.
    pub parallelism: usize,
}

/// The plan of a removal, without carrying it out.
///
/// # Errors
/// The tree has errors, a target is none or has nothing that could be removed, or Proxmox cannot
/// be seen.
pub fn plan(context: &Context, options: &Options) -> Result<Report, Error> {
    let session = Session::open(context, options.lab)?;
    let target = removable(session.target(context, &options.targets)?)?;
    let made = runtime()?.block_on(session.unmake(&target))?;
    Ok(Report::of(&session, made))
}

/// Removes what a target has made. A run that was cut goes on where it was: what is gone already
/// is not in the next plan.
///
/// # Errors
/// Something stands in the way, another operator is at work, nobody confirmed it, or steps failed.
pub fn destroy(
    context: &Context,
    options: &Options,
    console: &(impl Console + Sync),
) -> Result<Applied, Error> {
    let session = Session::open(context, options.lab)?;
    let target = removable(session.target(context, &options.targets)?)?;
    runtime()?.block_on(async {
        let at_work = AtWork::begin(context, &session, console).await?;
        let done = carry_out(&session, &at_work, &target, options.parallelism, console).await;
        at_work.end(console).await;
        done
    })
}

async fn carry_out(
    session: &Session,
    at_work: &AtWork,
    target: &Target,
    parallelism: usize,
    console: &(impl Console + Sync),
) -> Result<Applied, Error> {
    let made = unless_stopped(console, Box::pin(session.unmake(target))).await?;
    let (storages, networks) = (made.world.storages.clone(), made.world.sdn.clone());
    let report = Report::of(session, made);
    if let Some(refusal) = report.refusal() {
        return Err(refusal);
    }
    // One cluster is confirmed by its name, more than that by the site's.
    let word = match report.clusters.as_slice() {
        [only] if target.sdn != Extent::Full => only.clone(),
        _ => session.crew.site.name.clone(),
    };
    if !console.confirm_removal(&report, &word)? {
        return Err(Error::new(ErrorKind::Interrupted, "nothing was removed"));
    }
    session.forget_vanished(&networks).await?;
    if report.plan.is_empty() {
        return Ok(Applied { summary: None, target: report.plan.target });
    }
    let hands = Hands::new(Arc::clone(&session.crew), storages, at_work.interrupted.clone());
    at_work.run(report.plan, hands, parallelism, console).await
}

/// A target that has something which could be removed.
fn removable(target: Target) -> Result<Target, Error> {
    let clusters = target.clusters.keys().any(|folder| {
        [Stage::Compute, Stage::Bootstrap]
            .iter()
            .any(|stage| target.stage(folder, *stage) == Extent::Full)
    });
    if clusters || target.registry == Extent::Full || target.sdn == Extent::Full {
        return Ok(target);
    }
    Err(Error::usage(format!("{} has nothing that could be removed", target.names.join(", ")))
        .hint("machines belong to a cluster or its compute, ISO files to artifacts/registry, networks to common/0-sdn-setup"))
}
