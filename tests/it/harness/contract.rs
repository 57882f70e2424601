//! Holds every answer of the server against `openapi.yaml` with its strict parts.

mod answer;
mod compile;
mod overlay;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use jsonschema::Validator;
use serde_json::Value;

use answer::{Answers, Seen, fits};
use compile::Compiler;

/// Rejections from before the routing, which can meet any path: where `components.responses` describes them.
const UNROUTED: [(u16, &str); 7] = [
    (400, "BadRequest"),
    (401, "Unauthenticated"),
    (403, "Forbidden"),
    (404, "NotFound"),
    (414, "UriTooLong"),
    (421, "Misdirected"),
    (431, "HeadersTooLarge"),
];
const WRONG_METHOD: [(u16, &str); 7] = [
    (400, "BadRequest"),
    (401, "Unauthenticated"),
    (403, "Forbidden"),
    (405, "MethodNotAllowed"),
    (414, "UriTooLong"),
    (421, "Misdirected"),
    (431, "HeadersTooLarge"),
];

/// The contract that stands at the top of the repository.
pub fn contract() -> &'static Contract {
    static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
        let strict = overlay::strict().expect("the overlay fits");
        Contract::of(&strict).expect("openapi.yaml is usable")
    });
    &CONTRACT
}

pub struct Contract {
    routes: Vec<Route>,
    unrouted: Answers,
    wrong_method: Answers,
    /// Of jobs, and of batches.
    webhooks: [Arc<Validator>; 2],
}

struct Route {
    template: String,
    /// By lower-case method, as OpenAPI writes it.
    operations: BTreeMap<String, Answers>,
}

impl Contract {
    fn of(document: &Value) -> Result<Self, String> {
        let mut compiler = Compiler::new(document);
        Ok(Self {
            routes: compiler.routes()?,
            unrouted: compiler.shared(&UNROUTED)?,
            wrong_method: compiler.shared(&WRONG_METHOD)?,
            webhooks: [
                compiler.callback("/v1/jobs/{id}/callbacks", "jobDone")?,
                compiler.callback("/v1/batches/{id}/callbacks", "batchDone")?,
            ],
        })
    }

    /// Complains about the first thing in an answer that the contract does not allow. `path` may have a query.
    #[expect(
        clippy::too_many_arguments,
        reason = "an answer has these parts, whatever client saw it"
    )]
    pub fn check(
        &self,
        method: &str,
        path: &str,
        status: u16,
        content_type: Option<&str>,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<(), String> {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let head = method.eq_ignore_ascii_case("HEAD");
        let (shown, answers) = match self.route(path) {
            None => (path, &self.unrouted),
            Some(route) => {
                (route.template.as_str(), route.operation(method).unwrap_or(&self.wrong_method))
            }
        };
        let place = format!("{} {shown} {status}", method.to_ascii_uppercase());
        let answer = answers.get(&status).ok_or_else(|| {
            let listed: Vec<String> = answers.keys().map(u16::to_string).collect();
            format!("{place}: status not documented, only {}", listed.join(", "))
        })?;
        answer.check(&Seen { place, head, status, content_type, headers, body })
    }

    /// Complains about the first thing in a webhook's body that the contract does not allow.
    pub fn check_webhook(&self, body: &[u8]) -> Result<(), String> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| format!("webhook: body is not JSON: {error}"))?;
        let is_of_batch = body["type"].as_str().is_some_and(|it| it.starts_with("batch."));
        let webhook = &self.webhooks[usize::from(is_of_batch)];
        fits(webhook, &body).map_err(|wrong| format!("webhook: body {wrong}"))
    }

    /// Every documented operation, as (upper-case method, path template).
    pub fn operations(&self) -> Vec<(String, String)> {
        let of = |route: &Route| -> Vec<(String, String)> {
            let pair = |method: &String| (method.to_ascii_uppercase(), route.template.clone());
            route.operations.keys().map(pair).collect()
        };
        self.routes.iter().flat_map(of).collect()
    }

    /// The template with the fewest parameters wins, as in OpenAPI: a literal goes before a parameter.
    fn route(&self, path: &str) -> Option<&Route> {
        let matching = self.routes.iter().filter(|route| route.matches(path));
        matching.min_by_key(|route| route.template.matches('{').count())
    }
}

impl Route {
    fn matches(&self, path: &str) -> bool {
        let (mut wanted, mut given) = (self.template.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some(name), Some(value)) if name.starts_with('{') && !value.is_empty() => {}
                (Some(literal), Some(value)) if literal == value => {}
                _ => return false,
            }
        }
    }

    fn operation(&self, method: &str) -> Option<&Answers> {
        let method = method.to_ascii_lowercase();
        // Every GET answers HEAD as well, documented apart or not.
        let stand_in = if method == "head" { "get" } else { method.as_str() };
        self.operations.get(&method).or_else(|| self.operations.get(stand_in))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use answer::PROBLEM;

    const JOB: &str = "/v1/jobs/0199a3c2-7d5e-7cc1-9d1a-2f5b3c4d5e6f";
    const JSON: Option<&str> = Some("application/json");

    fn example(name: &str) -> Value {
        overlay::strict().expect("the overlay fits")["components"]["examples"][name]["value"]
            .clone()
    }

    fn headers() -> Vec<(String, String)> {
        let of_a_done_job = [
            ("x-request-id", "r1"),
            ("etag", "\"3\""),
            ("cache-control", "private, max-age=3600, immutable"),
            ("futurity-state", "succeeded"),
            ("futurity-done", "true"),
            ("vary", "Prefer"),
            ("allow", "GET, HEAD"),
        ];
        of_a_done_job.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn problem(status: u16, code: &str) -> Value {
        json!({"type": format!("/problems/{code}"), "title": "T", "status": status, "detail": "d",
            "code": code, "instance": "/x", "request_id": "r1"})
    }

    fn get_job(body: &Value) -> Result<(), String> {
        contract().check("GET", JOB, 200, JSON, &headers(), body.to_string().as_bytes())
    }

    fn get(path: &str, status: u16, media_type: &str, body: &Value) -> Result<(), String> {
        let body = body.to_string();
        contract().check("GET", path, status, Some(media_type), &headers(), body.as_bytes())
    }

    /// The complaint names the operation, the status, and all of `words`.
    fn refused(checked: Result<(), String>, words: &[&str]) {
        let complaint = checked.expect_err("the contract refuses it");
        for word in words {
            assert!(complaint.contains(word), "no {word:?} in: {complaint}");
        }
    }

    #[test]
    fn operations_name_method_and_template() {
        let operations = contract().operations();
        assert_eq!(operations.len(), 46, "{operations:?}");
        assert!(operations.contains(&("HEAD".to_owned(), "/v1/jobs/{id}".to_owned())));
    }

    #[test]
    fn a_job_as_described_passes() {
        assert_eq!(get_job(&example("Succeeded")), Ok(()));
    }

    #[test]
    fn an_extra_a_renamed_and_a_missing_field_are_caught() {
        let mut extra = example("Succeeded");
        extra["colour"] = json!("red");
        refused(get_job(&extra), &["GET /v1/jobs/{id} 200", "at the top", "colour"]);

        let mut renamed = example("Succeeded");
        let job = renamed.as_object_mut().expect("an object");
        let queue = job.remove("queue").expect("a queue");
        job.insert("lane".to_owned(), queue);
        refused(get_job(&renamed), &["GET /v1/jobs/{id} 200"]);

        let mut missing = example("Succeeded");
        missing["urls"].as_object_mut().expect("an object").remove("cancel");
        refused(get_job(&missing), &["at /urls", "cancel", "required"]);
    }

    #[test]
    fn wrong_values_are_caught() {
        for (pointer, value) in [
            ("/state", json!("finished")),
            ("/done", json!(false)),
            ("/created_at", json!("2026-01-05T09:30:00Z")),
            ("/finished_at", json!(null)),
            ("/error", json!({"type": "ValueError", "message": "m", "retryable": 0, "attempt": 1})),
            ("/args", json!(null)),
            ("/id", json!("17")),
        ] {
            let mut job = example("Succeeded");
            *job.pointer_mut(pointer).expect("a field") = value;
            refused(get_job(&job), &["GET /v1/jobs/{id} 200", pointer]);
        }
    }

    #[test]
    fn what_was_left_out_is_null_and_only_where_it_may_be() {
        let mut job = example("Succeeded");
        job["args"] = json!(null);
        job["args_omitted"] = json!(true);
        let list = json!({"jobs": [job]});
        assert_eq!(get("/v1/jobs?page_size=1", 200, "application/json", &list), Ok(()));
        refused(get_job(&job), &["at /args_omitted"]);
    }

    #[test]
    fn an_undocumented_status_media_type_or_body_is_caught() {
        let job = example("Succeeded");
        refused(get(JOB, 204, "application/json", &job), &["GET /v1/jobs/{id} 204", "status"]);
        refused(get(JOB, 200, "text/plain", &job), &["media type text/plain"]);
        refused(contract().check("GET", JOB, 200, None, &headers(), b"{}"), &["no media type"]);
        refused(contract().check("GET", JOB, 200, JSON, &headers(), b"{"), &["not JSON"]);
    }

    #[test]
    fn a_missing_and_a_wrong_header_are_caught() {
        let job = example("Succeeded").to_string();
        let check =
            |headers: &[_]| contract().check("GET", JOB, 200, JSON, headers, job.as_bytes());
        let mut given = headers();
        given.retain(|(name, _)| name != "etag");
        refused(check(&given), &["GET /v1/jobs/{id} 200", "header ETag is missing"]);
        given = headers();
        given[4].1 = "yes".to_owned();
        refused(check(&given), &["header Futurity-Done"]);
    }

    #[test]
    fn a_problem_repeats_the_status_the_code_and_the_request() {
        assert_eq!(get(JOB, 404, PROBLEM, &problem(404, "not_found")), Ok(()));
        refused(get(JOB, 404, PROBLEM, &problem(400, "not_found")), &["/status"]);
        refused(get(JOB, 404, PROBLEM, &problem(404, "cancelled")), &["at /code"]);
        refused(get(JOB, 404, PROBLEM, &problem(404, "gone")), &["at /code"]);
        let mut other = problem(404, "not_found");
        other["request_id"] = json!("r2");
        refused(get(JOB, 404, PROBLEM, &other), &["/request_id"]);
    }

    #[test]
    fn an_unknown_path_is_404_and_an_unknown_method_405() {
        let not_found = problem(404, "not_found");
        assert_eq!(get("/nowhere", 404, PROBLEM, &not_found), Ok(()));
        refused(get("/nowhere", 200, "application/json", &json!({})), &["GET /nowhere 200"]);
        let delete = |status, code| {
            let body = problem(status, code).to_string();
            contract().check("DELETE", "/livez", status, Some(PROBLEM), &headers(), body.as_bytes())
        };
        assert_eq!(delete(405, "method_not_allowed"), Ok(()));
        refused(delete(404, "not_found"), &["DELETE /livez 404"]);
    }

    #[test]
    fn head_answers_as_get_does_without_a_body() {
        let head = |path, body| contract().check("HEAD", path, 200, JSON, &headers(), body);
        assert_eq!(head(JOB, b""), Ok(()));
        assert_eq!(head("/livez", b""), Ok(()));
        refused(head("/livez", b"{}"), &["HEAD /livez 200", "body"]);
    }

    #[test]
    fn any_result_passes_if_it_is_json() {
        let mut given = headers();
        given.push(("x-content-type-options".to_owned(), "nosniff".to_owned()));
        let policy = "sandbox; default-src 'none'".to_owned();
        given.push(("content-security-policy".to_owned(), policy));
        let path = format!("{JOB}/result?wait=1");
        for body in ["null", "1e999", "[{}]"] {
            let checked = contract().check("GET", &path, 200, JSON, &given, body.as_bytes());
            assert_eq!(checked, Ok(()), "{body}");
        }
        refused(contract().check("GET", &path, 200, JSON, &given, b"None"), &["not JSON"]);
    }

    #[test]
    fn a_webhook_says_how_the_job_ended() {
        let body = |kind: &str| json!({"type": kind, "timestamp": "2026-01-05T09:30:00.004Z", "data": example("Succeeded")});
        let check = |kind| contract().check_webhook(body(kind).to_string().as_bytes());
        assert_eq!(check("job.succeeded"), Ok(()));
        refused(check("job.failed"), &["webhook"]);
        refused(check("job.done"), &["webhook"]);
    }
}
