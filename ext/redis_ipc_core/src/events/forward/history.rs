//! Where the time lines of a server's log branch off.

use crate::foundation::postgres::pgoutput::lsn::Lsn;

/// The time lines before the present one, and where each of them was left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History(Vec<(u32, Lsn)>);

impl History {
    /// Reads the file that `TIMELINE_HISTORY` shows.
    pub fn read(file: &str) -> Self {
        let line = |line: &str| {
            let mut parts = line.split_whitespace();
            Some((parts.next()?.parse().ok()?, Lsn::parse(parts.next()?)?))
        };
        Self(file.lines().filter_map(line).collect())
    }

    /// Returns up to where the present log is the same as that of `timeline`. `None` if it does not come from that.
    pub fn left(&self, timeline: u32) -> Option<Lsn> {
        self.0.iter().find(|(number, _)| *number == timeline).map(|(_, lsn)| *lsn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_line_is_left_where_the_file_says() {
        let history =
            History::read("1\t0/3000158\tno recovery target specified\n\n# x\n2\t1/A0\tbefore 2026\n");
        assert_eq!(
            [1, 2, 3].map(|line| history.left(line)),
            [Some(Lsn(0x300_0158)), Some(Lsn(0x1_0000_00A0)), None]
        );
        assert_eq!(History::read("").left(1), None);
    }
}
