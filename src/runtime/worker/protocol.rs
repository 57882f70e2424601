//! What a worker and the server say to each other: JSON-RPC 2.0, one object a line (jsonrpc.org/specification).

use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::domain::json::{Keys, check, explained, mended};
use crate::domain::{ErrorType, FunctionName, JobError, Json, Parameter, text};
use crate::runtime::Call;
use crate::runtime::parameters::Parameters;

use super::bad_line::BadLine;

/// The id of the first request; calls are numbered from 1.
pub(super) const INITIALIZE: u64 = 0;
/// The method is not there (JSON-RPC 2.0, section 5.1).
const METHOD_NOT_FOUND: i64 = -32_601;

/// Largest announcement, in bytes: all of it is kept, and shown to whoever asks for functions.
const ANNOUNCEMENT_BYTES_MAX: usize = 1024 * 1024;
/// Most functions of a worker.
const FUNCTIONS_MAX: usize = 1_024;
/// Longest description of a function, in bytes; what is longer is cut, and says so.
const DESCRIPTION_BYTES_MAX: usize = 4 * 1024;

/// The first request: what can you do?
pub(super) fn initialize(worker: &str) -> String {
    let params = json!({"protocol": 1, "worker": worker});
    line(&json!({"jsonrpc": "2.0", "id": INITIALIZE, "method": "initialize", "params": params}))
}

/// A call. `arguments` is `{"args":[…],"kwargs":{…}}`, and goes on as it is.
pub(super) fn call(id: u64, call: &Call, arguments: &Json) -> String {
    let arguments = arguments.as_str().trim_start_matches('{');
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"call\",\"params\":{{\"job\":\"{}\",\"attempt\":{},\"function\":\"{}\",\"idempotency_key\":\"{}\",{arguments}}}\n",
        call.id(),
        call.attempt(),
        call.function(),
        call.idempotency_key(),
    )
}

/// Asks the call of this job to stop.
pub(super) fn cancel(call: &Call) -> String {
    let params = json!({"job": call.id().to_string(), "attempt": call.attempt()});
    line(&json!({"jsonrpc": "2.0", "method": "cancel", "params": params}))
}

fn line(message: &Value) -> String {
    format!("{message}\n")
}

/// What a worker said.
#[derive(Debug)]
pub(super) enum Said {
    /// The answer to the request with this id.
    Answer(u64, Result<Json, RpcError>),
    /// How far a call is.
    Progress { fraction: Option<f64>, message: Option<String>, of: Of },
    /// A line of its log.
    Log { line: String, of: Of },
    /// It wants to make way for another process, after the call that it has.
    Retire,
}

/// The attempt that a notification is about.
#[derive(Debug, Deserialize)]
pub(super) struct Of {
    pub(super) job: String,
    pub(super) attempt: u32,
}

impl Of {
    pub(super) fn is(&self, call: &Call) -> bool {
        self.attempt == call.attempt() && self.job == call.id().to_string()
    }
}

/// An error that a worker answered with.
#[derive(Debug, Deserialize)]
pub(super) struct RpcError {
    code: i64,
    message: String,
    #[serde(default)]
    data: Option<ErrorData>,
}

#[derive(Debug, Default, Deserialize)]
struct ErrorData {
    r#type: Option<String>,
    traceback: Option<String>,
    details: Option<Box<RawValue>>,
    retryable: Option<bool>,
}

#[derive(Deserialize)]
struct Message<'a> {
    jsonrpc: &'a str,
    #[serde(default)]
    id: Option<u64>,
    #[serde(default)]
    method: Option<&'a str>,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<RpcError>,
}

/// A result that is `null` is one all the same.
fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// Reads a line of a worker.
/// One that is none of the protocol may name a call all the same.
pub(super) fn said(line: &[u8]) -> Result<Said, BadLine> {
    let text = std::str::from_utf8(line)
        .map_err(|error| BadLine::of(&String::from_utf8_lossy(line), error.to_string()))?;
    let read = match serde_json::from_str(text) {
        Ok(message) => told(message),
        // Texts that it repeats may hold what no text may: half of a surrogate pair, as Python decodes file names.
        Err(error) => match serde_json::from_str(&mended(text)) {
            Ok(message) => told(message),
            Err(_same) => Err(explained(text, &error)),
        },
    };
    read.map_err(|why| BadLine::of(text, why))
}

fn told(message: Message<'_>) -> Result<Said, String> {
    if message.jsonrpc != "2.0" {
        return Err(format!("jsonrpc is \"{}\", not \"2.0\"", message.jsonrpc));
    }
    match message {
        Message { id: Some(id), method: None, result: Some(result), error: None, .. } => {
            Ok(Said::Answer(id, Ok(Json::of(result))))
        }
        Message { id: Some(id), method: None, result: None, error: Some(error), .. } => {
            Ok(Said::Answer(id, Err(error)))
        }
        Message { id: None, method: Some("retire"), result: None, error: None, .. } => {
            Ok(Said::Retire)
        }
        Message { id: None, method: Some(method), params: Some(params), .. } => {
            notification(method, params)
        }
        _ => Err("neither an answer with a result or an error, nor a notification".to_owned()),
    }
}

fn notification(method: &str, params: &RawValue) -> Result<Said, String> {
    #[derive(Deserialize)]
    struct Fields {
        #[serde(default)]
        fraction: Option<f64>,
        #[serde(default)]
        message: Option<String>,
        #[serde(default)]
        line: Option<String>,
        #[serde(flatten)]
        of: Of,
    }
    let told: Fields =
        serde_json::from_str(params.get()).map_err(|error| format!("{method}: {error}"))?;
    match (method, told) {
        ("progress", Fields { fraction, message, of, .. }) => {
            Ok(Said::Progress { fraction, message, of })
        }
        ("log", Fields { line: Some(line), of, .. }) => Ok(Said::Log { line, of }),
        ("log", _) => Err("log: a line is missing".to_owned()),
        (other, _) => {
            Err(format!("there is no notification '{other}'; there are progress, log and retire"))
        }
    }
}

/// The job's error, as the worker tells it.
pub(super) fn raised(error: RpcError) -> JobError {
    let data = error.data.unwrap_or_default();
    let name = match (&data.r#type, error.code) {
        (Some(name), _) => name.as_str(),
        (None, METHOD_NOT_FOUND) => "LookupError",
        (None, _) => "RuntimeError",
    };
    // The names of our own are for what the server finds out itself.
    let kind = ErrorType::Named(name.into());
    let mut raised = JobError::of(kind, error.message);
    if let Some(traceback) = data.traceback {
        raised = raised.with_traceback(&traceback);
    }
    if let Some(details) = data.details {
        raised = raised.with_details(Json::from(details));
    }
    match data.retryable {
        Some(retryable) => raised.retryable(retryable),
        None => raised,
    }
}

/// A function that a worker has.
#[derive(Debug)]
pub(super) struct Announced {
    pub(super) name: FunctionName,
    pub(super) description: String,
    pub(super) parameters: Arc<Parameters>,
}

/// Reads what a worker has announced.
pub(super) fn announced(result: &Json) -> Result<Vec<Announced>, String> {
    #[derive(Deserialize)]
    struct Announcement {
        functions: Vec<FunctionText>,
    }
    #[derive(Deserialize)]
    struct FunctionText {
        name: String,
        #[serde(default)]
        description: String,
        #[serde(default)]
        parameters: Option<Vec<ParameterText>>,
    }
    if result.len() > ANNOUNCEMENT_BYTES_MAX {
        let bytes = result.len();
        return Err(format!("it announces {bytes} bytes; {ANNOUNCEMENT_BYTES_MAX} are the limit"));
    }
    check(result.as_str(), Keys::Any).map_err(|why| format!("what it announces {why}"))?;
    let announcement: Announcement =
        serde_json::from_str(result.as_str()).map_err(|error| error.to_string())?;
    if announcement.functions.len() > FUNCTIONS_MAX {
        let count = announcement.functions.len();
        return Err(format!("it announces {count} functions; {FUNCTIONS_MAX} are the limit"));
    }
    let function = |text: FunctionText| {
        let name =
            FunctionName::new(&text.name).map_err(|error| format!("'{}': {error}", text.name))?;
        let parameters = match text.parameters {
            None => Parameters::default(),
            Some(list) => Parameters::checked(list.into_iter().map(ParameterText::read).collect())
                .map_err(|error| format!("{name}: {error}"))?,
        };
        let parameters = Arc::new(parameters);
        let description = text::head(&text.description, DESCRIPTION_BYTES_MAX).into_owned();
        Ok(Announced { name, description, parameters })
    };
    announcement.functions.into_iter().map(function).collect()
}

#[derive(Deserialize)]
struct ParameterText {
    name: String,
    #[serde(default, deserialize_with = "present_value")]
    default: Option<Value>,
    #[serde(default)]
    required: Option<bool>,
    #[serde(default)]
    schema: Option<Value>,
}

fn present_value<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(value).map(Some)
}

impl ParameterText {
    fn read(self) -> Parameter {
        Parameter {
            required: self.required.unwrap_or(self.default.is_none()),
            name: self.name,
            default: self.default,
            schema: self.schema.unwrap_or_else(|| json!({})),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_of_null_is_an_answer_and_none_is_not() {
        let read = |text: &str| said(text.as_bytes());
        let Ok(Said::Answer(3, Ok(result))) = read(r#"{"jsonrpc":"2.0","id":3,"result":null}"#)
        else {
            panic!("an answer")
        };
        assert_eq!(result.as_str(), "null");
        for text in [
            "",
            "[]",
            "print(1)",
            r#"{"jsonrpc":"1.0","id":3,"result":1}"#,
            r#"{"jsonrpc":"2.0","id":3}"#,
            r#"{"jsonrpc":"2.0","id":3,"result":1,"error":{"code":1,"message":""}}"#,
            r#"{"jsonrpc":"2.0","result":1}"#,
            r#"{"jsonrpc":"2.0","method":"shutdown","params":{"job":"a","attempt":1}}"#,
            r#"{"jsonrpc":"2.0","method":"log","params":{"job":"a","attempt":1}}"#,
            "{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":\"\u{0}\"}",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(said(b"\xff").is_err());
    }

    #[test]
    fn who_retires_need_not_say_more() {
        for params in ["", r#","params":{}"#, r#","params":[]"#] {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"retire"{params}}}"#);
            assert!(matches!(said(text.as_bytes()), Ok(Said::Retire)), "{text}");
        }
        assert!(said(br#"{"jsonrpc":"2.0","id":3,"method":"retire"}"#).is_err());
    }

    #[test]
    fn an_error_keeps_its_type_and_its_traceback_and_takes_no_name_of_ours() {
        let text = r#"{"code":-32000,"message":"no","data":{"type":"panic","traceback":"t","retryable":false,"details":{"a":1}}}"#;
        let error = raised(serde_json::from_str(text).unwrap());
        assert_eq!(error.kind(), &ErrorType::Named("panic".into()));
        assert_eq!((error.traceback(), error.is_permanent()), (Some("t"), true));
        assert_eq!(error.details().unwrap().as_str(), "{\"a\":1}");
        let missing = raised(serde_json::from_str(r#"{"code":-32601,"message":"no f"}"#).unwrap());
        assert_eq!(missing.kind(), &ErrorType::Named("LookupError".into()));
    }

    #[test]
    fn functions_are_announced_with_or_without_parameters() {
        let text = r#"{"functions":[{"name":"a","parameters":[{"name":"x"},{"name":"y","default":null}]},{"name":"b.c"}]}"#;
        let functions = announced(&Json::parse(text).unwrap()).unwrap();
        let signature = functions[0].parameters.signature().unwrap();
        let shown: Vec<_> =
            signature.parameters.iter().map(|it| (it.name.as_str(), it.required)).collect();
        assert_eq!(shown, [("x", true), ("y", false)]);
        assert!(functions[1].parameters.signature().is_none());
        for text in [
            "{}",
            r#"{"functions":[{"name":"A"}]}"#,
            r#"{"functions":[{"name":"a","parameters":[{"name":"x"},{"name":"x"}]}]}"#,
        ] {
            assert!(announced(&Json::parse(text).unwrap()).is_err(), "{text}");
        }
    }
}
