//! The MC146818 real-time clock with its CMOS memory, at ports 0x70 (index)
//! and 0x71 (data) in a PC.
//!
//! The clock shows the host's time of day in UTC. Registers 0x00 to 0x0d are
//! the clock's (MC146818 data sheet), 0x32 holds the century as in a PC, and
//! the rest is memory that forgets when the machine ends. What the guest
//! writes to the time of day is lost, since the host keeps the time; alarms
//! and periodic interrupts never come (there is no IRQ 8), and the interrupt
//! flags of register C read as zero, which says so.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::bus::BusDevice;

/// First port of the range.
pub const BASE: u64 = 0x70;
/// Number of ports.
pub const LEN: u64 = 2;

const INDEX_PORT: u64 = 0;
const DATA_PORT: u64 = 1;
/// Bit 7 of the index port masks the NMI; it is no part of the index.
const INDEX_MASK: u8 = 0x7f;

const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY_OF_WEEK: u8 = 0x06;
const DAY_OF_MONTH: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const REGISTER_A: u8 = 0x0a;
const REGISTER_B: u8 = 0x0b;
const REGISTER_C: u8 = 0x0c;
const REGISTER_D: u8 = 0x0d;
const CENTURY: u8 = 0x32;

/// Register A: an update is in progress or about to begin.
const UPDATE_IN_PROGRESS: u8 = 1 << 7;
/// Register A: 32.768 kHz time base, 1024 Hz periodic rate, as a BIOS leaves it.
const DIVIDER_AND_RATE: u8 = 0x26;
/// Register B: the time stands still while the guest sets it.
const SET: u8 = 1 << 7;
/// Register B: binary instead of binary-coded decimal.
const BINARY: u8 = 1 << 2;
/// Register B: hours run from 0 to 23 instead of 1 to 12 with an afternoon bit.
const HOURS_24: u8 = 1 << 1;
/// Hours register in 12-hour mode: afternoon.
const AFTERNOON: u8 = 1 << 7;
/// Register D: the battery is good, time and memory are valid.
const VALID: u8 = 1 << 7;

/// A guest that sees no update in progress has this long to read the time
/// (data sheet: at least 244 µs).
const UPDATE_WARNING: Duration = Duration::from_micros(244);

/// Where the time comes from.
type Clock = Box<dyn Fn() -> SystemTime + Send>;

/// The clock and its memory.
pub struct Rtc {
    clock: Clock,
    index: u8,
    register_b: u8,
    /// What the clock shows while the guest holds it.
    held: Option<Duration>,
    /// The whole index space; the clock's own registers are not used.
    memory: [u8; 128],
}

impl Default for Rtc {
    fn default() -> Self {
        Self::new()
    }
}

impl Rtc {
    /// A clock that shows the host's time in UTC.
    pub fn new() -> Self {
        Self::with_clock(Box::new(SystemTime::now))
    }

    fn with_clock(clock: Clock) -> Self {
        Self {
            clock,
            index: 0,
            register_b: HOURS_24,
            held: None,
            memory: [0; 128],
        }
    }

    /// Time since 1970-01-01 UTC; a host clock before that shows 1970.
    fn now(&self) -> Duration {
        let running = || (self.clock)().duration_since(UNIX_EPOCH);
        self.held.unwrap_or_else(|| running().unwrap_or_default())
    }

    fn read_register(&self) -> u8 {
        let date = || Date::of(self.now());
        match self.index {
            SECONDS => self.encode(date().second),
            MINUTES => self.encode(date().minute),
            HOURS => self.encode_hour(date().hour),
            DAY_OF_WEEK => self.encode(date().day_of_week),
            DAY_OF_MONTH => self.encode(date().day),
            MONTH => self.encode(date().month),
            YEAR => self.encode(date().year),
            CENTURY => self.encode(date().century),
            REGISTER_A => DIVIDER_AND_RATE | self.update_in_progress(),
            REGISTER_B => self.register_b,
            REGISTER_C => 0,
            REGISTER_D => VALID,
            // The alarm registers are memory too.
            index => self.memory[usize::from(index)],
        }
    }

    fn write_register(&mut self, value: u8) {
        match self.index {
            REGISTER_B => {
                self.held = (value & SET != 0).then(|| self.now());
                self.register_b = value;
            }
            SECONDS | MINUTES | HOURS | DAY_OF_WEEK | DAY_OF_MONTH | MONTH | YEAR | CENTURY
            | REGISTER_A | REGISTER_C | REGISTER_D => {}
            index => self.memory[usize::from(index)] = value,
        }
    }

    /// Set shortly before the time changes, unless it stands still.
    fn update_in_progress(&self) -> u8 {
        let into_second = Duration::from_nanos(self.now().subsec_nanos().into());
        let soon = into_second + UPDATE_WARNING >= Duration::from_secs(1);
        if soon && self.held.is_none() {
            UPDATE_IN_PROGRESS
        } else {
            0
        }
    }

    fn encode(&self, value: u8) -> u8 {
        if self.register_b & BINARY != 0 {
            value
        } else {
            ((value / 10) << 4) | (value % 10)
        }
    }

    fn encode_hour(&self, hour: u8) -> u8 {
        if self.register_b & HOURS_24 != 0 {
            return self.encode(hour);
        }
        let twelve = match hour % 12 {
            0 => 12,
            hour => hour,
        };
        let afternoon = if hour >= 12 { AFTERNOON } else { 0 };
        self.encode(twelve) | afternoon
    }
}

impl BusDevice for Rtc {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        for (at, byte) in (offset..=u64::MAX).zip(data) {
            *byte = match at {
                DATA_PORT => self.read_register(),
                _ => 0xff,
            };
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        for (at, &byte) in (offset..=u64::MAX).zip(data) {
            match at {
                INDEX_PORT => self.index = byte & INDEX_MASK,
                DATA_PORT => self.write_register(byte),
                _ => {}
            }
        }
    }
}

/// A date of the Gregorian calendar and a time of day, each field in the
/// clock's range.
#[derive(Debug, PartialEq, Eq)]
struct Date {
    century: u8,
    /// Within the century.
    year: u8,
    /// From 1.
    month: u8,
    /// From 1.
    day: u8,
    /// 1 is Sunday.
    day_of_week: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

impl Date {
    /// The date that lies `elapsed` after 1970-01-01 UTC.
    fn of(elapsed: Duration) -> Self {
        const DAY: u64 = 24 * 60 * 60;
        // The clock has two digits for the century: it ends with year 9999.
        const LAST_DAY: u64 = 2_932_896;
        let seconds = elapsed.as_secs();
        let days = (seconds / DAY).min(LAST_DAY);
        let (year, month, day) = civil(days);
        Self {
            century: small(year / 100),
            year: small(year % 100),
            month: small(month),
            day: small(day),
            // 1970-01-01 was a Thursday.
            day_of_week: small((days + 4) % 7 + 1),
            hour: small(seconds % DAY / 3600),
            minute: small(seconds % 3600 / 60),
            second: small(seconds % 60),
        }
    }
}

/// Year, month and day of the day that lies `days` after 1970-01-01.
///
/// Counts in years that begin on 1 March, so that the leap day is a year's
/// last: a day's number in the year then follows from its month alone.
fn civil(days: u64) -> (u64, u64, u64) {
    const YEAR: u64 = 365;
    const FOUR_YEARS: u64 = 4 * YEAR + 1;
    const CENTURY: u64 = 25 * FOUR_YEARS - 1;
    const ERA: u64 = 4 * CENTURY + 1;
    /// Days from 0000-03-01 to 1970-01-01.
    const EPOCH: u64 = 719_468;

    let days = days + EPOCH;
    let (era, day) = (days / ERA, days % ERA);
    // Only the last of an era's four centuries, and of a century's 25 groups
    // of four years, and of a group's four years, is not cut short.
    let century = (day / CENTURY).min(3);
    let day = day - century * CENTURY;
    let (group, day) = (day / FOUR_YEARS, day % FOUR_YEARS);
    let year = (day / YEAR).min(3);
    let day = day - year * YEAR;

    // March to July, and August to December, have 31 30 31 30 31 days.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = 400 * era + 100 * century + 4 * group + year;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

/// A field of a date.
fn small(value: u64) -> u8 {
    u8::try_from(value).expect("the fields of a date up to year 9999 are below 100")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-20 13:37:59.5 UTC, a Friday.
    const FRIDAY: Duration = Duration::from_millis(1_795_181_879_500);

    fn rtc_at(elapsed: Duration) -> Rtc {
        Rtc::with_clock(Box::new(move || UNIX_EPOCH + elapsed))
    }

    fn read(rtc: &mut Rtc, index: u8) -> u8 {
        rtc.write(INDEX_PORT, &[index]);
        let mut byte = [0];
        rtc.read(DATA_PORT, &mut byte);
        byte[0]
    }

    fn write(rtc: &mut Rtc, index: u8, value: u8) {
        rtc.write(INDEX_PORT, &[index]);
        rtc.write(DATA_PORT, &[value]);
    }

    const TIME: [u8; 8] = [
        CENTURY,
        YEAR,
        MONTH,
        DAY_OF_MONTH,
        DAY_OF_WEEK,
        HOURS,
        MINUTES,
        SECONDS,
    ];

    #[test]
    fn the_time_is_decimal_coded_and_in_24_hours_at_first() {
        let mut rtc = rtc_at(FRIDAY);
        let time = TIME.map(|index| read(&mut rtc, index));
        assert_eq!(time, [0x20, 0x26, 0x11, 0x20, 0x06, 0x13, 0x37, 0x59]);
    }

    #[test]
    fn register_b_chooses_binary_and_12_hours() {
        let mut rtc = rtc_at(FRIDAY);
        write(&mut rtc, REGISTER_B, BINARY);
        let time = TIME.map(|index| read(&mut rtc, index));
        assert_eq!(time, [20, 26, 11, 20, 6, 1 | AFTERNOON, 37, 59]);
    }

    #[test]
    fn midnight_and_noon_are_twelve_in_12_hours() {
        let rtc = |hour: u64| {
            let mut rtc = rtc_at(Duration::from_secs(hour * 3600));
            write(&mut rtc, REGISTER_B, 0);
            read(&mut rtc, HOURS)
        };
        assert_eq!(rtc(0), 0x12);
        assert_eq!(rtc(11), 0x11);
        assert_eq!(rtc(12), 0x12 | AFTERNOON);
        assert_eq!(rtc(23), 0x11 | AFTERNOON);
    }

    #[test]
    fn an_update_is_announced_at_the_end_of_a_second_only() {
        let uip = |micros| {
            let mut rtc = rtc_at(Duration::from_micros(micros));
            read(&mut rtc, REGISTER_A) & UPDATE_IN_PROGRESS
        };
        assert_eq!(uip(0), 0);
        assert_eq!(uip(999_755), 0);
        assert_eq!(uip(999_756), UPDATE_IN_PROGRESS);
        assert_eq!(uip(999_999), UPDATE_IN_PROGRESS);
    }

    #[test]
    fn the_time_stands_still_while_it_is_set_and_then_is_the_hosts() {
        use std::sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        };
        let host = Arc::new(AtomicU64::new(30));
        let seconds = Arc::clone(&host);
        let mut rtc = Rtc::with_clock(Box::new(move || {
            UNIX_EPOCH + Duration::from_secs(seconds.load(Ordering::Relaxed))
        }));
        write(&mut rtc, REGISTER_B, SET | BINARY | HOURS_24);
        host.store(40, Ordering::Relaxed);
        write(&mut rtc, SECONDS, 5);
        assert_eq!(read(&mut rtc, SECONDS), 30);
        write(&mut rtc, REGISTER_B, BINARY | HOURS_24);
        assert_eq!(read(&mut rtc, SECONDS), 40);
    }

    #[test]
    fn memory_keeps_what_is_written_and_the_nmi_bit_is_no_part_of_the_index() {
        let mut rtc = rtc_at(FRIDAY);
        write(&mut rtc, 0x0f, 0x0a);
        write(&mut rtc, 0x7f, 0x55);
        assert_eq!(read(&mut rtc, 0x0f), 0x0a);
        assert_eq!(read(&mut rtc, 0xff), 0x55);
        assert_eq!(read(&mut rtc, REGISTER_D), VALID);
        assert_eq!(read(&mut rtc, REGISTER_C), 0);
    }

    #[test]
    fn dates_around_leap_days_and_centuries_are_right() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (789, (1972, 2, 29)),
            (790, (1972, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_322, (2000, 12, 31)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
            (2_932_896, (9999, 12, 31)),
        ] {
            assert_eq!(civil(days), date, "day {days}");
        }
    }

    #[test]
    fn a_host_clock_beyond_the_calendar_does_not_panic() {
        let date = Date::of(Duration::MAX);
        assert_eq!((date.century, date.year), (99, 99));
    }

    proptest! {
        #[test]
        fn each_day_follows_the_one_before(days in 0u64..2_932_896) {
            let (today, tomorrow) = (civil(days), civil(days + 1));
            let (year, month, day) = today;
            let next_day = (year, month, day + 1);
            let next_month = (year, month + 1, 1);
            let next_year = (year + 1, 1, 1);
            prop_assert!(
                tomorrow == next_day && day < 31
                    || tomorrow == next_month && day >= 28 && month < 12
                    || tomorrow == next_year && (month, day) == (12, 31)
            );
        }
    }
}
