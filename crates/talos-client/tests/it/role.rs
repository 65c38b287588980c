//! What each role may do, asked of a node.

use talos_client::api::{Deed, ImageStore, LogOptions, RebootMode, Role, Wipe};
use talos_client::sim::Pace;
use talos_client::{Client, Error, ErrorKind};

use super::lab::{Lab, eventually, value};

/// Calls that need a deed; those that would change the node are ones that it refuses for another reason.
async fn tried(client: &Client, deed: Deed) -> Vec<(&'static str, Result<(), Error>)> {
    match deed {
        Deed::Read => {
            let log = async {
                let mut log = client.logs("apid", &LogOptions::default()).await?;
                log.next().await.map_or(Ok(()), |chunk| chunk.map(drop))
            };
            vec![
                ("version", client.version().await.map(drop)),
                ("services", client.services().await.map(drop)),
                ("disks", client.disks().await.map(drop)),
                ("log", log.await),
                ("images", client.images(ImageStore::System).await.map(drop)),
            ]
        }
        Deed::ReadSecrets => vec![
            ("file", client.read_file("/etc/os-release").await.map(drop)),
            ("configuration", client.machine_config().await.map(drop)),
            ("kubeconfig", client.kubeconfig().await.map(drop)),
        ],
        Deed::ReadEtcd => vec![
            ("members", client.etcd_members().await.map(drop)),
            ("status", client.etcd_status().await.map(drop)),
            ("alarms", client.etcd_alarms().await.map(drop)),
        ],
        Deed::Change => vec![
            ("rollback", client.rollback().await),
            ("wipe", client.wipe(&["vda"], Wipe::Fast).await),
        ],
        Deed::Power => vec![("service", client.service_restart("nothing").await.map(drop))],
        Deed::SnapshotEtcd => {
            vec![("snapshot", client.etcd_snapshot(tokio::io::sink()).await.map(drop))]
        }
        Deed::TendEtcd => vec![
            ("defragment", client.etcd_defragment().await),
            ("disarm", client.etcd_disarm().await.map(drop)),
        ],
        Deed::ChangeEtcd => vec![
            ("forfeit", client.etcd_forfeit_leadership().await.map(drop)),
            ("remove", client.etcd_remove_member(1).await),
        ],
        Deed::PullImages => {
            let pulled =
                client.image_pull(ImageStore::Kubernetes, "registry.k8s.io/pause:3.10", |_| {});
            vec![("pull", pulled.await.map(drop))]
        }
        Deed::RemoveImages => {
            let removed = client.image_remove(ImageStore::Kubernetes, "registry.k8s.io/nothing:1");
            vec![("remove", removed.await.map(drop))]
        }
        Deed::WriteMeta => vec![
            ("write", client.meta_write(0x0c, b"x").await),
            ("delete", client.meta_delete(0x0d).await.map(drop)),
        ],
        other => panic!("{other:?} is not tried"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_may_what_the_table_says() {
    let mut lab = Lab::new("v1.13.9", Pace::quick());
    let (_node, admin) = lab.install("cp1", 11).await;
    eventually("the bootstrap", || admin.bootstrap()).await;
    value("a member", || admin.etcd_members(), |list: &Vec<_>| list.len() == 1).await;
    for role in Role::ALL {
        let client = Client::new(lab.role(11, &[role.name()])).unwrap();
        for deed in Deed::ALL {
            for (call, result) in tried(&client, deed).await {
                let denied =
                    result.as_ref().is_err_and(|e| e.kind() == ErrorKind::PermissionDenied);
                assert_eq!(!denied, role.may(deed), "{role}: {deed:?}: {call}: {result:?}");
            }
        }
    }
    // Several roles may what any of them may.
    let both = Client::new(lab.role(11, &["os:etcd:backup", "os:reader"])).unwrap();
    both.version().await.unwrap();
    both.etcd_snapshot(tokio::io::sink()).await.unwrap();
    assert_eq!(
        both.reboot(RebootMode::default()).await.unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
}
