//! `max_result_bytes`: the largest result that is shown where many are. Larger ones are left out, and say so.

use crate::domain::{BRIEF_BYTES_MAX, Invalid};

use super::Desk;
use super::extract::Query;
use super::fields::Fields;
use super::list::{parameter, whole};
use super::problem::Problem;

pub(super) const NAME: &str = "max_result_bytes";

/// Most bytes of a result that is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResultsMax(usize);

impl Default for ResultsMax {
    fn default() -> Self {
        Self(BRIEF_BYTES_MAX)
    }
}

impl ResultsMax {
    pub(super) fn bytes(self) -> usize {
        self.0
    }
}

/// As a field of a body.
pub(super) fn field(fields: &mut Fields<'_>, desk: &Desk) -> ResultsMax {
    let most = fields.checked(NAME, "a whole number", |bytes: usize| checked(bytes, desk));
    most.unwrap_or_default()
}

/// As a parameter of a query.
pub(super) fn of_query(query: &Query, desk: &Desk) -> Result<ResultsMax, Problem> {
    let read = |text: &str| checked(whole(text)?, desk);
    Ok(parameter(query, NAME, read)?.unwrap_or_default())
}

fn checked(bytes: usize, desk: &Desk) -> Result<ResultsMax, Invalid> {
    let most = desk.config.limits.result_bytes;
    match bytes <= most {
        true => Ok(ResultsMax(bytes)),
        false => {
            Err(Invalid::new(format!("must be from 0 to {most}, which is the largest result")))
        }
    }
}
