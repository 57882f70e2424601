//! Where the lines of a request come from, for the answers that each of them has of its own.

use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri};

use super::lines::unbroken;
use super::problem::Problem;

/// By what the problems of a stream's lines are known: the request that they are part of.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    path: String,
    request_id: String,
}

/// The id of a request whose lines have answers of their own. It travels with the request.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) HeaderValue);

impl Origin {
    /// Of a request with lines.
    pub(super) fn of(parts: &Parts) -> Self {
        let id = parts.extensions.get::<RequestId>();
        let request_id = id.and_then(|id| id.0.to_str().ok()).unwrap_or_default().to_owned();
        Self { path: Uri::path(&parts.uri).to_owned(), request_id }
    }

    /// The answer to a line that cannot be taken.
    pub(super) fn refuse(&self, out: &mut String, index: usize, problem: &Problem) {
        let body = unbroken(problem.text(&self.path, &self.request_id));
        out.push_str(&format!("{{\"index\":{index},\"problem\":{body}}}\n"));
        tracing::debug!(
            request.id = self.request_id,
            index,
            code = problem.in_short().0,
            "a line was refused"
        );
    }
}
