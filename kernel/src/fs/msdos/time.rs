//! Times as FAT has them: local, from 1980 to 2107, to two seconds (a file's birth to ten milliseconds, its last access to a day).

use abi::time::Timespec;

/// Seconds of a day.
const DAY: i64 = 86_400;
/// Seconds from 1970 to 1980.
const EPOCH: i64 = 3652 * DAY;
/// The last moment that can be stored: the end of 2107.
const LAST: i64 = 4_354_819_198;

/// Days since 1970 of a day in the calendar, and back (Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms").
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) =
        (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Reads date, time and hundredths of a second; `offset` is how many seconds local time is ahead.
pub fn decode(date: u16, time: u16, hundredths: u8, offset: i64) -> Timespec {
    let (year, month, day) = (1980 + i64::from(date >> 9), i64::from(date >> 5 & 15), i64::from(date & 31));
    let (hour, minute, second) = (i64::from(time >> 11), i64::from(time >> 5 & 63), i64::from(time & 31) * 2);
    let days = days(year, month.clamp(1, 12), day.max(1));
    let seconds = days * DAY + hour * 3600 + minute * 60 + second + i64::from(hundredths / 100) - offset;
    Timespec { tv_sec: seconds, tv_nsec: i64::from(hundredths % 100) * 10_000_000 }
}

/// Makes date, time and hundredths of a second; what lies outside becomes the nearest there is.
pub fn encode(time: Timespec, offset: i64) -> (u16, u16, u8) {
    let local = time.tv_sec.saturating_add(offset);
    let seconds = local.clamp(EPOCH, LAST);
    let (year, month, day) = civil(seconds / DAY);
    let rest = seconds % DAY;
    let date = ((year - 1980) << 9) | (month << 5) | day;
    let clock = ((rest / 3600) << 11) | ((rest / 60 % 60) << 5) | (rest % 60 / 2);
    let hundredths = if seconds == local { rest % 2 * 100 + time.tv_nsec / 10_000_000 } else { 0 };
    (date as u16, clock as u16, hundredths as u8)
}

/// The moment as it can be stored as a time of change.
pub fn to_two_seconds(time: Timespec, offset: i64) -> Timespec {
    let (date, time, _) = encode(time, offset);
    decode(date, time, 0, offset)
}

/// The moment as it can be stored as a birth.
pub fn to_hundredths(time: Timespec, offset: i64) -> Timespec {
    let (date, time, hundredths) = encode(time, offset);
    decode(date, time, hundredths, offset)
}

/// The moment as it can be stored as a time of access: the beginning of its day.
pub fn to_day(time: Timespec, offset: i64) -> Timespec {
    decode(encode(time, offset).0, 0, 0, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tv_sec: i64, tv_nsec: i64) -> Timespec {
        Timespec { tv_sec, tv_nsec }
    }

    #[test]
    fn moments_keep_what_fat_can_keep() {
        let moment = at(1_000_000_001, 987_654_321);
        assert_eq!(to_two_seconds(moment, 0), at(1_000_000_000, 0));
        assert_eq!(to_hundredths(moment, 7200), at(1_000_000_001, 980_000_000));
        assert_eq!(to_day(moment, 0), at(999_993_600, 0));
        // One o'clock in the morning is still the day before, two hours to the west.
        assert_eq!(to_day(at(999_993_600 + 3600, 0), -7200), at(999_993_600 - 86_400 + 7200, 0));
    }

    #[test]
    fn what_lies_outside_becomes_the_nearest() {
        assert_eq!(to_two_seconds(at(0, 5), 0), at(315_532_800, 0));
        assert_eq!(to_two_seconds(at(i64::MAX, 5), 3600), at(4_354_819_198 - 3600, 0));
        assert_eq!(to_two_seconds(at(4_354_819_198, 0), 0), at(4_354_819_198, 0));
    }

    #[test]
    fn every_day_is_its_own_inverse() {
        for day in (3652..50_000).step_by(17) {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
        assert_eq!(civil(11_016), (2000, 2, 29));
    }

    #[test]
    fn hostile_dates_are_dates() {
        for date in [0, u16::MAX, 0x000f] {
            decode(date, u16::MAX, 255, i64::from(i32::MIN));
        }
    }
}
