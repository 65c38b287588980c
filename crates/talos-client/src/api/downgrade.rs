//! etcd on its way back to an older minor version.
//!
//! etcd writes its data in the form of the oldest version that it may go back to only after it was told so.
//! That has to happen before the first node with an older etcd starts.

use crate::client::{Client, call};
use crate::error::Error;
use crate::proto::machine;

impl Client {
    /// Whether etcd may go back to a minor version, such as `3.5`; gives the version of the cluster.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::ErrorKind::InvalidArgument) for what is no minor version,
    /// [`Server`](crate::ErrorKind::Server) with etcd's words if it may not: only one minor version at a
    /// time, and no other such change under way. Else as for [`Client::etcd_members`].
    pub async fn etcd_downgrade_check(&self, version: &str) -> Result<String, Error> {
        let call = &call::ETCD_DOWNGRADE_CHECK;
        let request = machine::EtcdDowngradeValidateRequest { version: version.to_owned() };
        let answer = self.ask::<_, machine::EtcdDowngradeValidateResponse>(call, request).await?;
        Ok(answer.cluster_downgrade.unwrap_or_default().cluster_version)
    }

    /// Lets etcd go back to a minor version: its data takes the form of that one, and older members may
    /// join. Gives the version of the cluster.
    ///
    /// # Errors
    /// As for [`Client::etcd_downgrade_check`].
    pub async fn etcd_downgrade(&self, version: &str) -> Result<String, Error> {
        let call = &call::ETCD_DOWNGRADE;
        let request = machine::EtcdDowngradeEnableRequest { version: version.to_owned() };
        let answer = self.ask::<_, machine::EtcdDowngradeEnableResponse>(call, request).await?;
        Ok(answer.cluster_downgrade.unwrap_or_default().cluster_version)
    }

    /// Keeps etcd from going back after [`Client::etcd_downgrade`], while no member has. Without that nothing
    /// happens.
    ///
    /// # Errors
    /// As for [`Client::etcd_members`].
    pub async fn etcd_downgrade_cancel(&self) -> Result<String, Error> {
        let call = &call::ETCD_DOWNGRADE_CANCEL;
        let answer = self.ask::<_, machine::EtcdDowngradeCancelResponse>(call, ()).await?;
        Ok(answer.cluster_downgrade.unwrap_or_default().cluster_version)
    }
}
