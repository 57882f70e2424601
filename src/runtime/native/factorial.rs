//! `math.factorial`: exact, on a pool thread, and stoppable between its steps.

use dashu_int::UBig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::JobError;

use super::Call;

/// Largest n: its factorial has 973,351 digits.
const N_MAX: i64 = 200_000;
/// Factors multiplied in a row before the halves of a product are joined: small enough that a cancel
/// is seen within a millisecond or so.
const RUN_LENGTH: u64 = 64;
/// The largest whole number that every JSON reader takes exactly (RFC 8259, section 6).
const EXACT_MAX: u64 = 1 << 53;

/// The arguments.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Factorial {
    n: i64,
}

/// A number while every reader takes it exactly, beyond that its decimal digits.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Exact {
    Number(u64),
    Digits(String),
}

/// n!, as Python's `math.factorial` has it.
pub(super) fn factorial(call: &Call, Factorial { n }: Factorial) -> Result<Exact, JobError> {
    let refused = |message: String| Err(JobError::new("ValueError", message));
    if n > N_MAX {
        return refused(format!("n is at most {N_MAX}"));
    }
    let Ok(n) = u64::try_from(n) else {
        return refused("factorial() not defined for negative values".to_owned());
    };
    let value = product(call, 1, n.max(1))?;
    match u64::try_from(&value) {
        Ok(small) if small <= EXACT_MAX => Ok(Exact::Number(small)),
        _ => Ok(Exact::Digits(value.to_string())),
    }
}

/// The product of `first..=last`, by halves: factors of like size multiply fastest.
fn product(call: &Call, first: u64, last: u64) -> Result<UBig, JobError> {
    if call.is_cancelled() {
        return Err(JobError::new("CancelledError", "asked to stop"));
    }
    if last - first < RUN_LENGTH {
        return Ok((first..=last).map(UBig::from).product());
    }
    let middle = first + (last - first) / 2;
    Ok(product(call, first, middle)? * product(call, middle + 1, last)?)
}
