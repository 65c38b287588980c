//! Times of ISO 9660.

use super::super::raw::broken;
use crate::error::Result;

/// A time as a record and as the volume have it.
pub(super) struct Date {
    pub(super) short: [u8; 7],
    pub(super) long: [u8; 17],
}

impl Date {
    /// A time in UTC, by the algorithm of days since 1970 in the Gregorian calendar.
    pub(super) fn of(seconds: u64) -> Result<Self> {
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        let shifted = days + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month_shifted + 2) / 5 + 1;
        let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        let wrong = || broken("the ISO", "its time is out of range");
        let since_1900 = u8::try_from(year - 1900).map_err(|_| wrong())?;
        let mut short = [since_1900, 0, 0, 0, 0, 0, 0];
        let parts = [month, day, hour, minute, second];
        for (slot, part) in short.iter_mut().skip(1).zip(parts) {
            *slot = u8::try_from(part).map_err(|_| wrong())?;
        }
        let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}00\0");
        let long = text.into_bytes().try_into().map_err(|_| wrong())?;
        Ok(Self { short, long })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let long = |seconds| String::from_utf8(Date::of(seconds).unwrap().long.to_vec()).unwrap();
        assert_eq!(long(0), "1970010100000000\0");
        assert_eq!(long(1_700_000_000), "2023111422132000\0");
        assert_eq!(long(951_782_400), "2000022900000000\0");
        assert!(Date::of(u64::MAX / 4).is_err());
    }
}
