//! A long page of jobs, read and printed portion by portion: a thousand jobs are too many for the memory of one request.

use axum::body::{Body, Bytes};
use futures_util::stream;

use crate::domain::{Ordinal, State};
use crate::engine::{Engine, Error, PORTION_BYTES, Portion, Portions, Share};

use super::answer::to_json;
use super::job_body::{JobBody, View};
use super::members::Members;

/// The jobs of a page that are still to be printed.
pub(super) struct LongPage {
    pub(super) engine: Engine,
    pub(super) share: Share,
    /// Where they stand, the newest first.
    pub(super) places: Vec<Ordinal>,
    /// The state that was asked for. A job may leave it before it is read.
    pub(super) state: Option<State>,
    pub(super) members: Option<Members>,
}

struct Printing {
    page: LongPage,
    at: usize,
    portions: Portions,
    /// Whether a job is printed: the next one stands behind a comma.
    has_begun: bool,
    /// What stands behind the jobs; none once it is printed.
    rest: Option<String>,
}

impl LongPage {
    /// As the body of an answer.
    pub(super) fn into_body(self, next_page_token: Option<&str>) -> Body {
        let token =
            next_page_token.map(|token| format!(",\"next_page_token\":{}", to_json(&token)));
        let rest = Some(format!("]{}}}", token.unwrap_or_default()));
        let (page, portions) = (self, Portions::default());
        let printing = Printing { page, at: 0, portions, has_begun: false, rest };
        Body::from_stream(stream::unfold(printing, |mut it| async move {
            let portion = it.next().await?;
            Some((portion, it))
        }))
    }
}

impl Printing {
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        self.rest.as_ref()?;
        let LongPage { engine, share, places, state, members } = &self.page;
        let portion = &places[self.at..places.len().min(self.at + self.portions.next())];
        let held = share.take(PORTION_BYTES).await;
        let mut text = String::from(if self.at == 0 { "{\"jobs\":[" } else { "" });
        let Portion { jobs, places: count } = match engine.jobs_at(portion).await {
            Ok(portion) => portion,
            Err(error) => {
                tracing::error!(%error, "a list cannot be read; the answer is cut off");
                self.rest = None;
                return Some(Err(error));
            }
        };
        for job in jobs.iter().filter(|job| state.is_none_or(|state| job.state == state)) {
            if std::mem::replace(&mut self.has_begun, true) {
                text.push(',');
            }
            text.push_str(&JobBody::of(job, View::Brief).only(members.as_ref()).text());
        }
        self.at += count;
        self.portions.saw(count, text.len());
        if self.at == places.len() {
            text.push_str(&self.rest.take()?);
        }
        Some(Ok(held.counted(text)))
    }
}
