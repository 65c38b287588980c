//! Downloads: verified, continued, never half there.

use std::path::Path;

use imagefactory::sim::lab_iso::{LabMark, read_mark_of};
use imagefactory::sim::{Fault, Side, Sim};
use imagefactory::{
    Architecture, Asset, Digest, Downloaded, ErrorKind, Expected, FactoryClient, Result,
    talos_version,
};

use super::support::{Outcome, factory, guest_agent};

async fn asset(client: &FactoryClient) -> Result<Asset> {
    let id = client.create_schematic(&guest_agent()).await?.id;
    Ok(Asset::iso(&id, &talos_version("v1.11.5")?, "nocloud", Architecture::Amd64))
}

async fn get(client: &FactoryClient, asset: &Asset, path: &Path) -> Result<Downloaded> {
    client.download(asset, path, Expected::default(), &mut |_, _| {}).await
}

fn ranges(sim: &Sim) -> Vec<Option<String>> {
    let calls = sim.faults().calls().into_iter();
    calls.filter(|call| call.path.starts_with("/storage")).map(|call| call.range).collect()
}

#[tokio::test]
async fn an_iso_carries_the_mark_and_has_the_digest_of_its_bytes() -> Outcome {
    for direct in [false, true] {
        let builder = Sim::builder().iso_size(300_000);
        let sim = if direct { builder.direct() } else { builder }.start().await?;
        let client = factory(&sim)?;
        let asset = asset(&client).await?;
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("talos.iso");
        let mut seen = Vec::new();
        let got = client
            .download(&asset, &path, Expected::default(), &mut |have, total| {
                seen.push((have, total));
            })
            .await?;
        assert_eq!((got.size, seen.last()), (301_056, Some(&(301_056, Some(301_056)))));
        assert_eq!(got.digest, Digest::of(&fs_err::read(&path)?));
        let mark = LabMark {
            talos: "v1.11.5".to_owned(),
            schematic: asset.schematic.clone(),
            platform: "nocloud".to_owned(),
            architecture: "amd64".to_owned(),
        };
        assert_eq!(read_mark_of(&path)?, Some(mark));
        let left: Vec<_> = fs_err::read_dir(dir.path())?.collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cut_download_continues_where_it_broke_off() -> Outcome {
    let sim = Sim::builder().start().await?;
    let client = factory(&sim)?;
    let asset = asset(&client).await?;
    let dir = tempfile::tempdir()?;
    let whole = get(&client, &asset, &dir.path().join("a.iso")).await?;
    sim.faults().inject(Side::Factory, "/storage", Fault::CutAfter(1 << 20), 2);
    let pieces = get(&client, &asset, &dir.path().join("b.iso")).await?;
    assert_eq!((pieces.digest, pieces.size), (whole.digest, whole.size));
    let asked = ranges(&sim);
    let [None, None, Some(second), Some(third)] = asked.as_slice() else {
        return Err(format!("it did not continue: {asked:?}").into());
    };
    assert!(second != third && second.starts_with("bytes=") && second != "bytes=0-");
    Ok(())
}

#[tokio::test]
async fn another_process_continues_what_an_earlier_one_began() -> Outcome {
    let sim = Sim::builder().start().await?;
    let client = factory(&sim)?;
    let asset = asset(&client).await?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("a.iso");
    sim.faults().inject(Side::Factory, "/storage", Fault::CutAfter(1 << 20), 1);
    sim.faults().inject(Side::Factory, "/storage", Fault::Status(403), 1);
    let error = get(&client, &asset, &path).await.err().ok_or("it did not fail")?;
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(!path.exists() && dir.path().join("a.iso.part").exists());
    let got = get(&factory(&sim)?, &asset, &path).await?;
    assert_eq!(got.digest, Digest::of(&fs_err::read(&path)?));
    let last = ranges(&sim).pop().flatten().ok_or("it began anew")?;
    assert!(last.starts_with("bytes=") && last != "bytes=0-", "{last}");
    Ok(())
}

#[tokio::test]
async fn a_server_without_ranges_is_read_from_the_start() -> Outcome {
    let sim = Sim::builder().direct().start().await?;
    let client = factory(&sim)?;
    let asset = asset(&client).await?;
    let dir = tempfile::tempdir()?;
    sim.faults().inject(Side::Factory, "/image", Fault::CutAfter(1 << 20), 1);
    let path = dir.path().join("a.iso");
    let got = get(&client, &asset, &path).await?;
    assert_eq!((got.size, got.digest), (4 << 20, Digest::of(&fs_err::read(&path)?)));
    Ok(())
}

#[tokio::test]
async fn what_is_not_as_pinned_never_gets_its_name() -> Outcome {
    let sim = Sim::builder().start().await?;
    let client = factory(&sim)?;
    let asset = asset(&client).await?;
    let dir = tempfile::tempdir()?;
    let good = get(&client, &asset, &dir.path().join("good.iso")).await?;
    let expected = Expected { digest: Some(good.digest), size: Some(good.size) };
    let path = dir.path().join("bad.iso");
    sim.faults().inject(Side::Factory, "/storage", Fault::Corrupt, 1);
    let error = client.download(&asset, &path, expected, &mut |_, _| {}).await.err();
    let error = error.ok_or("a wrong bit was taken")?;
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(!path.exists() && !dir.path().join("bad.iso.part").exists());
    assert_eq!(client.download(&asset, &path, expected, &mut |_, _| {}).await?.digest, good.digest);
    Ok(())
}

#[tokio::test]
async fn two_downloads_to_one_file_do_not_mix() -> Outcome {
    let sim = Sim::builder().start().await?;
    let client = factory(&sim)?;
    let asset = asset(&client).await?;
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("a.iso");
    let slow = Fault::Delay(std::time::Duration::from_millis(300));
    sim.faults().inject(Side::Factory, "/image", slow, 1);
    let (first, second) = tokio::join!(get(&client, &asset, &path), async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        get(&client, &asset, &path).await
    });
    assert_eq!(first?.digest, Digest::of(&fs_err::read(&path)?));
    let error = second.err().ok_or("both wrote")?;
    assert_eq!((error.kind(), error.help().is_some()), (ErrorKind::Io, true));
    Ok(())
}
