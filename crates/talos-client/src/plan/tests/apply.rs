//! Ways to apply a configuration.

use std::time::Duration;

use super::super::*;
use crate::api::ApplyMode;

fn predicted(effect: Effect, is_taken_live: bool) -> Prediction {
    Prediction { effect, is_taken_live }
}

#[test]
fn the_version_says_who_reboots() {
    let way = |prediction: &Prediction, minor, when| {
        application(prediction, minor, false, when)
            .map(|found| (found.mode, found.node_reboots, found.reboot_after))
            .map_err(|why| why.reason)
    };
    let live = predicted(Effect::Live, true);
    let later = predicted(Effect::Reboot, true);
    let heavy = predicted(Effect::Reboot, false);
    let again = predicted(Effect::Reinstall, true);
    let minute = Duration::from_mins(1);
    assert_eq!(way(&live, 13, When::Now), Ok((ApplyMode::NoReboot, false, false)));
    assert_eq!(way(&again, 13, When::Now), Ok((ApplyMode::NoReboot, false, false)));
    assert_eq!(way(&later, 13, When::Now), Ok((ApplyMode::NoReboot, false, true)));
    assert_eq!(way(&heavy, 13, When::Now), Ok((ApplyMode::Reboot, true, false)));
    assert_eq!(way(&later, 14, When::Now), Ok((ApplyMode::NoReboot, false, true)));
    assert_eq!(way(&heavy, 14, When::Now), Ok((ApplyMode::NoReboot, false, true)));
    for minor in 11..=14 {
        let staged = way(&heavy, minor, When::NextBoot);
        assert_eq!(staged, Ok((ApplyMode::Staged, false, false)));
        let tried = way(&live, minor, When::Try(minute));
        assert_eq!(tried, Ok((ApplyMode::Try(minute), false, false)));
        assert!(way(&heavy, minor, When::Try(minute)).unwrap_err().contains("takes a reboot"));
        assert!(way(&later, minor, When::Try(minute)).is_err());
    }
}

#[test]
fn maintenance_mode_takes_what_its_version_takes() {
    let heavy = predicted(Effect::Reboot, false);
    let way = |minor, when| application(&heavy, minor, true, when);
    for minor in 11..=14 {
        let now = way(minor, When::Now).unwrap();
        assert_eq!((now.mode, now.node_reboots), (ApplyMode::Auto, true));
        assert!(way(minor, When::Try(Duration::ZERO)).is_ok());
        assert_eq!(way(minor, When::NextBoot).is_ok(), minor >= 13);
    }
}
