//! How much is read and printed at once of what may be long.

/// What is read and printed at once, about. Whoever reads many jobs takes room for so much before each portion.
pub const PORTION_BYTES: usize = 512 * 1_024;
/// Jobs that are read at once, at most.
const PORTION_JOBS_MAX: usize = 256;

/// What a job without large values may take, about, as text.
pub const JOB_BYTES: usize = 64 * 1_024;

/// How many jobs the next portion has, by how large those were that came before.
#[derive(Clone, Copy, Debug)]
pub struct Portions {
    /// Bytes of one job, about.
    each: usize,
}

impl Default for Portions {
    /// Nothing is known of the jobs yet: they may be as large as they are shown in lists.
    fn default() -> Self {
        Self { each: JOB_BYTES }
    }
}

impl Portions {
    /// How many come next.
    #[must_use]
    pub fn next(self) -> usize {
        (PORTION_BYTES / self.each).clamp(1, PORTION_JOBS_MAX)
    }

    /// So many jobs took so many bytes. A few small ones do not tell that all are small.
    pub fn saw(&mut self, jobs: usize, bytes: usize) {
        if let Some(each) = bytes.checked_div(jobs) {
            self.each = each.max(self.each / 4).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_grow_while_jobs_are_small_and_shrink_at_once() {
        let mut portions = Portions::default();
        let mut counts = vec![portions.next()];
        for bytes in [1_000, 1_000, 1_000, 144 * 1_024, 10 * PORTION_BYTES] {
            portions.saw(portions.next(), portions.next() * bytes);
            counts.push(portions.next());
        }
        assert_eq!(counts, [8, 32, 128, 256, 3, 1]);
    }
}
