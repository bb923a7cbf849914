//! Times of certificates and revocation lists in seconds since 1970.
//!
//! timegm(3) would read the file of the time zone at its first use, which a server's sandbox forbids:
//! OpenSSL up to 3.6 has mostly done so before, and 4.0 has not. No locks of ours.

use super::table::Libssl;
use openssl_sys::ASN1_TIME;
use std::mem::MaybeUninit;

/// None if there is no such time, or it is none.
pub(super) fn seconds(libssl: &'static Libssl, time: *const ASN1_TIME) -> Option<i64> {
    if time.is_null() {
        return None;
    }
    let mut broken_down = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: the time of an object that the caller holds, and a place for the result.
    if unsafe { libssl.ASN1_TIME_to_tm?(time, broken_down.as_mut_ptr()) } != 1 {
        return None;
    }
    // SAFETY: zeroed and then filled.
    Some(seconds_of(&unsafe { broken_down.assume_init() }))
}

/// Of a time of UTC. The years begin in March, so that a leap day is the last of its year.
fn seconds_of(time: &libc::tm) -> i64 {
    const DAYS_OF_400_YEARS: i64 = 146_097;
    const DAYS_TO_MARCH_OF_YEAR_0: i64 = 719_468;
    let months = i64::from(time.tm_year) * 12 + i64::from(time.tm_mon) + (1900 * 12 - 2);
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12));
    let (cycle, of_cycle) = (year.div_euclid(400), year.rem_euclid(400));
    // From March on, five months have 153 days.
    let day = (153 * month + 2) / 5 + i64::from(time.tm_mday) - 1;
    let days = cycle * DAYS_OF_400_YEARS + of_cycle * 365 + of_cycle / 4 - of_cycle / 100 + day
        - DAYS_TO_MARCH_OF_YEAR_0;
    let minutes = (days * 24 + i64::from(time.tm_hour)) * 60 + i64::from(time.tm_min);
    minutes * 60 + i64::from(time.tm_sec)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `date -u -d ... +%s` says.
    #[test]
    fn seconds_are_those_of_the_calendar() {
        for (date, clock, expected) in [
            ([1970, 1, 1], [0, 0, 0], 0),
            ([2000, 2, 29], [12, 34, 56], 951_827_696),
            ([1999, 3, 1], [1, 2, 3], 920_250_123),
            ([2099, 12, 31], [23, 59, 59], 4_102_444_799),
            ([2100, 3, 1], [0, 0, 0], 4_107_542_400),
            ([9999, 12, 31], [23, 59, 59], 253_402_300_799),
            ([1950, 1, 1], [0, 0, 0], -631_152_000),
            ([1600, 2, 29], [0, 0, 0], -11_670_998_400),
            ([0, 1, 1], [0, 0, 0], -62_167_219_200),
        ] {
            // SAFETY: numbers and a pointer that may be NULL.
            let mut time = unsafe { MaybeUninit::<libc::tm>::zeroed().assume_init() };
            [time.tm_year, time.tm_mon, time.tm_mday] = [date[0] - 1900, date[1] - 1, date[2]];
            [time.tm_hour, time.tm_min, time.tm_sec] = clock;
            assert_eq!(seconds_of(&time), expected, "{date:?}");
        }
    }
}
