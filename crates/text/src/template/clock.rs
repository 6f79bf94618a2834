//! `strftime_now`: the local time, which callers may set.

/// Directives that mean something else to Python: those of the C locale, and a zone that is not known.
const C_LOCALE: [(&str, &str); 5] =
    [("%x", "%m/%d/%y"), ("%X", "%H:%M:%S"), ("%c", "%a %b %e %H:%M:%S %Y"), ("%Z", ""), ("%z", "")];

/// A date and time of day on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime(jiff::civil::DateTime);

impl LocalTime {
    /// The time of the system, in its time zone.
    pub fn now() -> Self {
        Self(jiff::Zoned::now().datetime())
    }

    /// A given time; `None` if there is no such day or time.
    pub fn new(date: (i16, i8, i8), time: (i8, i8, i8)) -> Option<Self> {
        let ((year, month, day), (hour, minute, second)) = (date, time);
        jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).ok().map(Self)
    }

    /// Python's `strftime` of a time without a zone.
    pub(super) fn format(self, format: &str) -> Result<String, jiff::Error> {
        let mut format = format.to_owned();
        for (directive, meaning) in C_LOCALE {
            format = format.replace(directive, meaning);
        }
        jiff::fmt::strtime::format(format, self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let time = LocalTime::new((2024, 7, 4), (5, 6, 7)).unwrap();
        let cases = [
            ("%d %b %Y", "04 Jul 2024"),
            ("%Y-%m-%d", "2024-07-04"),
            ("%B %-d, %Y", "July 4, 2024"),
            ("%A %H:%M:%S %p %I %j", "Thursday 05:06:07 AM 05 186"),
            ("100%%|%y%Z", "100%|24"),
            ("%x %X|%c", "07/04/24 05:06:07|Thu Jul  4 05:06:07 2024"),
        ];
        for (format, text) in cases {
            assert_eq!(time.format(format).unwrap(), text);
        }
        assert_eq!(LocalTime::new((2023, 2, 29), (0, 0, 0)), None);
    }
}
