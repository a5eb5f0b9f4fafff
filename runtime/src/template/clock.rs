//! `strftime_now`.

use std::time::{SystemTime, UNIX_EPOCH};

use super::error::TemplateError;

/// A date and a time of day, in no particular time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CivilTime {
    year: i64,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl CivilTime {
    /// Reads `2025-01-15T12:30:45`; fractions of a second and a zone are
    /// allowed after it and dropped.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::read(text).ok_or_else(|| TemplateError::Time(text.chars().take(64).collect()))
    }

    fn read(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let number = |from: usize, to: usize| -> Option<u16> {
            let digits = bytes.get(from..to)?;
            digits.iter().try_fold(0, |sum, digit| {
                digit
                    .is_ascii_digit()
                    .then(|| sum * 10 + u16::from(digit - b'0'))
            })
        };
        let part = |at: usize| number(at, at + 2).map(|n| n as u8);
        let separators = [(4, "-"), (7, "-"), (10, "T "), (13, ":"), (16, ":")];
        for (at, allowed) in separators {
            allowed.as_bytes().contains(bytes.get(at)?).then_some(())?;
        }
        let time = Self {
            year: number(0, 4)?.into(),
            month: part(5)?,
            day: part(8)?,
            hour: part(11)?,
            minute: part(14)?,
            second: part(17)?,
        };
        let valid = (1..=12).contains(&time.month)
            && (1..=days_in_month(time.year, time.month)).contains(&time.day)
            && time.hour < 24
            && time.minute < 60
            && time.second < 60;
        valid.then_some(time)
    }

    /// The present in UTC.
    pub fn now() -> Self {
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs() as i64);
        Self::from_unix(seconds)
    }

    fn from_unix(seconds: i64) -> Self {
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        // Hinnant, "chrono-compatible low-level date algorithms": years that
        // begin in March put the leap day last.
        let days = days + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 {
            shifted_month + 3
        } else {
            shifted_month - 9
        };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: month as u8,
            day: (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u8,
            hour: (rest / 3600) as u8,
            minute: (rest / 60 % 60) as u8,
            second: (rest % 60) as u8,
        }
    }

    /// Days since the year began, from 0.
    fn day_of_year(self) -> u16 {
        let before = (1..self.month).map(|month| u16::from(days_in_month(self.year, month)));
        before.sum::<u16>() + u16::from(self.day) - 1
    }

    /// 0 is Sunday.
    fn weekday(self) -> usize {
        let y = self.year - 1;
        let days = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400);
        (days + i64::from(self.day_of_year()) + 1).rem_euclid(7) as usize
    }

    /// ISO 8601 year and week.
    fn iso_week(self) -> (i64, i64) {
        let monday_based = (self.weekday() as i64 + 6) % 7;
        let week = (i64::from(self.day_of_year()) - monday_based + 10) / 7;
        let weeks_in = |year: i64| {
            let last = Self {
                year,
                month: 12,
                day: 31,
                ..self
            };
            let first = Self {
                year,
                month: 1,
                day: 1,
                ..self
            };
            if last.weekday() == 4 || first.weekday() == 4 {
                53
            } else {
                52
            }
        };
        if week < 1 {
            (self.year - 1, weeks_in(self.year - 1))
        } else if week > weeks_in(self.year) {
            (self.year + 1, 1)
        } else {
            (self.year, week)
        }
    }

    /// Formats as C's `strftime` does in the C locale, with glibc's `%-d`
    /// (no padding). A directive that C does not know is kept as it is.
    pub fn format(self, format: &str) -> String {
        let mut out = String::with_capacity(format.len() + 16);
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let directive = chars.as_str();
            let padded = !directive.starts_with('-');
            if !padded {
                chars.next();
            }
            match chars.next() {
                Some(c) => match self.directive(c, padded) {
                    Some(text) => out.push_str(&text),
                    None => {
                        out.push('%');
                        out.push_str(&directive[..directive.len() - chars.as_str().len()]);
                    }
                },
                None => {
                    out.push('%');
                    out.push_str(directive);
                }
            }
        }
        out
    }

    fn directive(self, directive: char, padded: bool) -> Option<String> {
        let number = |value: i64, width: usize| {
            if padded {
                format!("{value:0width$}")
            } else {
                value.to_string()
            }
        };
        let hour12 = i64::from((self.hour + 11) % 12 + 1);
        let weekday = self.weekday();
        let day_of_year = i64::from(self.day_of_year());
        let month_name = MONTHS[usize::from(self.month) - 1];
        Some(match directive {
            'a' => WEEKDAYS[weekday][..3].into(),
            'A' => WEEKDAYS[weekday].into(),
            'b' | 'h' => month_name[..3].into(),
            'B' => month_name.into(),
            'c' => self.format("%a %b %e %H:%M:%S %Y"),
            'C' => number(self.year / 100, 2),
            'd' => number(self.day.into(), 2),
            'D' | 'x' => self.format("%m/%d/%y"),
            'e' if padded => format!("{:2}", self.day),
            'e' => self.day.to_string(),
            'f' => "000000".into(),
            'F' => self.format("%Y-%m-%d"),
            'g' => number(self.iso_week().0 % 100, 2),
            'G' => number(self.iso_week().0, 4),
            'H' => number(self.hour.into(), 2),
            'I' => number(hour12, 2),
            'j' => number(day_of_year + 1, 3),
            'k' if padded => format!("{:2}", self.hour),
            'k' => self.hour.to_string(),
            'l' if padded => format!("{hour12:2}"),
            'l' => hour12.to_string(),
            'm' => number(self.month.into(), 2),
            'M' => number(self.minute.into(), 2),
            'n' => "\n".into(),
            'p' => if self.hour < 12 { "AM" } else { "PM" }.into(),
            'P' => if self.hour < 12 { "am" } else { "pm" }.into(),
            'r' => self.format("%I:%M:%S %p"),
            'R' => self.format("%H:%M"),
            'S' => number(self.second.into(), 2),
            't' => "\t".into(),
            'T' | 'X' => self.format("%H:%M:%S"),
            'u' => number(if weekday == 0 { 7 } else { weekday as i64 }, 1),
            'U' => number((day_of_year + 7 - weekday as i64) / 7, 2),
            'V' => number(self.iso_week().1, 2),
            'w' => number(weekday as i64, 1),
            'W' => number((day_of_year + 7 - (weekday as i64 + 6) % 7) / 7, 2),
            'y' => number(self.year.rem_euclid(100), 2),
            'Y' => number(self.year, 1),
            // Python's datetime.now() knows no zone.
            'z' | 'Z' => String::new(),
            '%' => "%".into(),
            _ => return None,
        })
    }
}

fn days_in_month(year: i64, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives() {
        let at = |text| CivilTime::parse(text).unwrap();
        let t = at("2025-01-05T09:03:07.5Z");
        assert_eq!(
            t.format("%d %b %Y, %A %-d.%-m. %I:%M %p %j"),
            "05 Jan 2025, Sunday 5.1. 09:03 AM 005"
        );
        assert_eq!(
            t.format("%F %T %y %e %% %Q %"),
            "2025-01-05 09:03:07 25  5 % %Q %"
        );
        assert_eq!(t.format("%U %W %V %G %u %w"), "01 00 01 2025 7 0");
        assert_eq!(at("2027-01-01T00:00:00").format("%G-%V"), "2026-53");
        assert_eq!(at("2024-12-30T00:00:00").format("%G-%V %j"), "2025-01 365");
        assert_eq!(at("2024-02-29 23:59:59").format("%a %I%p"), "Thu 11PM");
    }

    #[test]
    fn epoch_seconds() {
        let format = |seconds| CivilTime::from_unix(seconds).format("%F %T %a");
        assert_eq!(format(0), "1970-01-01 00:00:00 Thu");
        assert_eq!(format(951_782_399), "2000-02-28 23:59:59 Mon");
        assert_eq!(format(951_782_400), "2000-02-29 00:00:00 Tue");
        assert_eq!(format(1_736_944_245), "2025-01-15 12:30:45 Wed");
    }

    #[test]
    fn dates_that_do_not_exist() {
        for text in [
            "",
            "2025-02-29T00:00:00",
            "2025-13-01T00:00:00",
            "2025-01-01",
            "２025-01-01T00:00:00",
        ] {
            assert!(CivilTime::parse(text).is_err(), "{text}");
        }
    }
}
